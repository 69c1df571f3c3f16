/* orch versions PIPELINE */
#include <inttypes.h>

#include "cli/verbs.h"

/* "accuracy 0.81, brier 0.2": the first few numbers of a metrics document. */
static const char *metrics_text(struct cli *cli, const json_t *metrics) {
  struct strbuf text;
  const char *name;
  json_t *value;
  unsigned count = 0;
  strbuf_init(&text, 500);
  json_object_foreach((json_t *)(uintptr_t)metrics, name, value) {
    if (!json_is_number(value) || count == 4) continue;
    strbuf_printf(&text, "%s%s %.4g", count > 0 ? ", " : "", name, json_number_value(value));
    count++;
  }
  const char *kept = arena_strdup(&cli->arena, strbuf_text(&text));
  strbuf_fini(&text);
  return kept != NULL ? kept : "";
}

static bool versions_run(struct cli *cli, struct err *err) {
  json_t *document = NULL, *v;
  size_t i;
  struct db_value name = db_text(cli->argv[0]);
  if (!cli_call(cli, "select orch.api_versions($1)", 1, &name, &document, err)) return false;
  if (cli->json) {
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){">VERSION", "STATE", "TRAINED", ">PROPOSAL", "METRICS", "ARTIFACT",
                                               "~QUARANTINED BECAUSE", NULL});
  json_array_foreach(json_object_get(document, "versions"), i, v) {
    const char *state = json_string_value(json_object_get(v, "state"));
    cli_table_row(table);
    cli_table_cell_printf(table, "%s@%s", cli_member(cli, v, "pipeline"), cli_member(cli, v, "version"));
    cli_table_cell_color(table, cli_state_color(state), state);
    cli_table_cell(table, cli_ago(cli, json_string_value(json_object_get(v, "created_at"))));
    cli_table_cell_printf(table, "#%s", cli_member(cli, v, "proposal"));
    cli_table_cell(table, metrics_text(cli, json_object_get(v, "metrics")));
    cli_table_cell(table, cli_digest(cli, json_string_value(json_object_get(v, "artifact"))));
    cli_table_cell(table, json_string_value(json_object_get(json_object_get(v, "quarantined"), "reason")));
  }
  cli_table_print(table, "No versions yet.");
  json_decref(document);
  return true;
}

const struct cli_verb verb_versions = {
    .name = "versions",
    .group = CLI_GROUP_ROLLOUT,
    .summary = "List the versions of a pipeline, newest first",
    .usage = "versions PIPELINE",
    .help = "A version is a trained candidate, live or not: its metrics, its artifact by\n"
            "digest, and whether it is quarantined.",
    .examples = "orch versions housing\norch versions housing --json",
    .min_args = 1,
    .max_args = 1,
    .run = versions_run,
};
