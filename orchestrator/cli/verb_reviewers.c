/* orch reviewers */
#include "cli/verbs.h"

static bool reviewers_run(struct cli *cli, struct err *err) {
  json_t *document = NULL, *r;
  size_t i;
  if (!cli_call(cli, "select orch.api_reviewers()", 0, NULL, &document, err)) return false;
  if (cli->json) {
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"REVIEWER", "GROUPS", "EMAIL", "SLACK", ">TOKENS", "ACTIVE", NULL});
  json_array_foreach(json_object_get(document, "reviewers"), i, r) {
    bool active = json_is_true(json_object_get(r, "active"));
    cli_table_row(table);
    cli_table_cell(table, json_string_value(json_object_get(r, "name")));
    cli_table_cell(table, cli_join(cli, json_object_get(r, "groups")));
    cli_table_cell(table, json_string_value(json_object_get(r, "email")));
    cli_table_cell(table, json_string_value(json_object_get(r, "slack")));
    cli_table_cell(table, cli_member(cli, r, "tokens"));
    cli_table_cell_color(table, active ? CLI_PLAIN : CLI_DIM, active ? "yes" : "no");
  }
  cli_table_print(table, "No reviewers: orch apply orch.yaml brings them.");
  json_decref(document);
  return true;
}

const struct cli_verb verb_reviewers = {
    .name = "reviewers",
    .group = CLI_GROUP_ADMIN,
    .summary = "List the people who may decide, and their groups",
    .usage = "reviewers",
    .help = "They come from orch.yaml by 'orch apply'. Who is no longer in it is kept as\n"
            "inactive: decisions belong to people for good.",
    .examples = "orch reviewers\norch reviewers --json",
    .run = reviewers_run,
};
