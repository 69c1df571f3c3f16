/* orch history PIPELINE */
#include "cli/verbs.h"

static void failed(struct cli *cli, const json_t *list) {
  size_t i;
  json_t *d;
  if (json_array_size(list) == 0) return;
  cli_heading(cli, "Did not arrive");
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){">DEPLOYMENT", ">VERSION", "ENDED", ">TRIES", "~BECAUSE", NULL});
  json_array_foreach(list, i, d) {
    cli_table_row(table);
    cli_table_cell(table, cli_member(cli, d, "deployment"));
    cli_table_cell(table, cli_member(cli, d, "version"));
    cli_table_cell(table, cli_when(cli, json_string_value(json_object_get(d, "ended_at"))));
    cli_table_cell(table, cli_member(cli, d, "attempts"));
    cli_table_cell(table, json_string_value(json_object_get(json_object_get(d, "detail"), "aborted")));
  }
  cli_table_print(table, NULL);
}

static bool history_run(struct cli *cli, struct err *err) {
  json_t *document = NULL, *h;
  size_t i;
  struct db_value name = db_text(cli->argv[0]);
  if (!cli_call(cli, "select orch.api_history($1)", 1, &name, &document, err)) return false;
  if (cli->json) {
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){">VERSION", "LIVE SINCE", "UNTIL", "HOW", ">PROPOSAL", "APPROVED BY",
                                               "GOOD", "~REASON", NULL});
  json_array_foreach(json_object_get(document, "history"), i, h) {
    const char *until = json_string_value(json_object_get(h, "until")), *how = cli_member(cli, h, "how");
    cli_table_row(table);
    cli_table_cell(table, cli_member(cli, h, "version"));
    cli_table_cell(table, cli_when(cli, json_string_value(json_object_get(h, "since"))));
    cli_table_cell_color(table, until == NULL ? CLI_GREEN : CLI_PLAIN,
                         until == NULL ? "live now" : cli_when(cli, until));
    cli_table_cell_color(table, how[0] == 'r' ? CLI_YELLOW : CLI_PLAIN, how);
    cli_table_cell_printf(table, "%s%s", json_is_integer(json_object_get(h, "proposal")) ? "#" : "",
                          cli_member(cli, h, "proposal"));
    cli_table_cell(table, cli_join(cli, json_object_get(h, "approved_by")));
    cli_table_cell_color(table, json_is_false(json_object_get(h, "good")) ? CLI_RED : CLI_PLAIN,
                         cli_member(cli, h, "good"));
    cli_table_cell(table, json_string_value(json_object_get(h, "reason")));
  }
  cli_table_print(table, "Nothing of this pipeline was ever live.");
  failed(cli, json_object_get(document, "failed"));
  json_decref(document);
  return true;
}

const struct cli_verb verb_history = {
    .name = "history",
    .group = CLI_GROUP_ROLLOUT,
    .summary = "Show what was live, from when to when, and why it ended",
    .usage = "history PIPELINE",
    .help = "Newest first: each time the live pointer moved, by promotion or rollback, who\n"
            "approved it, and whether the version is still considered good. Below it the\n"
            "deployments that did not arrive.",
    .examples = "orch history housing\norch history housing --json",
    .min_args = 1,
    .max_args = 1,
    .run = history_run,
};
