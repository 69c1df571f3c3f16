/* orch proposals */
#include "cli/verbs.h"

static bool proposals_run(struct cli *cli, struct err *err) {
  static const char *const names[] = {"pipeline", "state", "limit", "after", NULL};
  const char *filter = NULL;
  json_t *document = NULL, *q;
  size_t i;
  if (!cli_filter(cli, names, &filter, err)) return false;
  struct db_value value = db_text(filter);
  if (!cli_call(cli, "select orch.api_proposals($1::jsonb)", 1, &value, &document, err)) return false;
  if (cli->json) {
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  struct cli_table *table = cli_table_new(
      cli, (const char *const[]){">ID", "VERSION", "STATE", "SINCE", "BY", "~REASON", "~ENDED BECAUSE", NULL});
  json_array_foreach(json_object_get(document, "proposals"), i, q) {
    const char *state = json_string_value(json_object_get(q, "state"));
    cli_table_row(table);
    cli_table_cell_printf(table, "#%s", cli_member(cli, q, "proposal"));
    cli_table_cell_printf(table, "%s@%s", cli_member(cli, q, "pipeline"), cli_member(cli, q, "version"));
    cli_table_cell_color(table, cli_state_color(state), state);
    cli_table_cell(table, cli_ago(cli, json_string_value(json_object_get(q, "state_at"))));
    cli_table_cell(table, json_string_value(json_object_get(q, "opened_by")));
    cli_table_cell(table, json_string_value(json_object_get(q, "reason")));
    cli_table_cell(table, json_string_value(json_object_get(q, "end_reason")));
  }
  cli_table_print(table, "No proposals.");
  cli_print_next(cli, document);
  json_decref(document);
  return true;
}

static const struct cli_option options[] = {
    {"pipeline", 'p', "NAME", "only of this pipeline"},
    {"state", 's', "STATE", "only in this state, as in awaiting_approval"},
    {"limit", 'n', "N", "at most so many rows, 1 to 500 (50)"},
    {"after", 0, "ID", "the page after this row, as the last line said"},
    {0},
};

const struct cli_verb verb_proposals = {
    .name = "proposals",
    .group = CLI_GROUP_PROPOSAL,
    .summary = "List the proposals, newest first",
    .usage = "proposals [--pipeline NAME] [--state STATE]",
    .help = "A proposal is \"retrain this, for these reasons\". States: proposed, training,\n"
            "evaluating, awaiting_approval, rolling_out; in the end promoted, rolled_back,\n"
            "failed, blocked, rejected, aborted, expired, superseded or cancelled.",
    .examples = "orch proposals\norch proposals --state awaiting_approval\norch proposals -p housing -n 5 --json",
    .options = options,
    .run = proposals_run,
};
