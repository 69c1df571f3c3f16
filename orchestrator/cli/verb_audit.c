/* orch audit [verify] */
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

static bool verify(struct cli *cli, struct err *err) {
  json_t *answer = NULL, *b;
  size_t i;
  const char *pipeline = cli->argc > 1 ? cli->argv[1] : cli_opt(cli, "pipeline");
  struct db_value name = db_text(pipeline);
  if (!cli_call(cli, "select orch.audit_verify($1)", 1, &name, &answer, err)) return false;
  bool sound = json_is_true(json_object_get(answer, "ok"));
  if (!sound) cli->exit_code = 1;
  if (cli->json) {
    cli_print_json(cli, answer);
  } else if (sound) {
    cli_printf("%s: %s rows in %s chains follow from each other\n", cli_paint(cli, CLI_GREEN, "sound"),
               cli_member(cli, answer, "rows"), cli_member(cli, answer, "chains"));
  } else {
    json_array_foreach(json_object_get(answer, "broken"), i, b) {
      cli_printf("%s: %s, row %s: %s\n", cli_paint(cli, CLI_RED, "broken"), cli_member(cli, b, "scope"),
                 cli_member(cli, b, "seq"), cli_member(cli, b, "what"));
    }
  }
  json_decref(answer);
  return true;
}

/* The few words of a detail that say most; the whole is in --json. */
static const char *detail_text(struct cli *cli, const json_t *detail) {
  char *dumped = json_dumps(detail, JSON_COMPACT | JSON_ENCODE_ANY);
  const char *kept = dumped != NULL ? arena_strndup(&cli->arena, dumped, 200) : "";
  free(dumped); /* jansson's own allocation */
  return kept != NULL ? kept : "";
}

static bool list(struct cli *cli, struct err *err) {
  static const char *const names[] = {"pipeline", "limit", "after", NULL};
  const char *filter = NULL;
  json_t *document = NULL, *a;
  size_t i;
  if (!cli_filter(cli, names, &filter, err)) return false;
  struct db_value value = db_text(filter);
  if (!cli_call(cli, "select orch.api_audit($1::jsonb)", 1, &value, &document, err)) return false;
  if (cli->json) {
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"WHEN", "SCOPE", ">ROW", "WHO", "DID", "~DETAIL", NULL});
  json_array_foreach(json_object_get(document, "audit"), i, a) {
    cli_table_row(table);
    cli_table_cell(table, cli_when(cli, json_string_value(json_object_get(a, "at"))));
    cli_table_cell(table, json_string_value(json_object_get(a, "scope")));
    cli_table_cell(table, cli_member(cli, a, "seq"));
    cli_table_cell(table, json_string_value(json_object_get(a, "actor")));
    cli_table_cell_printf(table, "%s %s %s", cli_member(cli, a, "action"), cli_member(cli, a, "object"),
                          cli_member(cli, a, "object_id"));
    cli_table_cell(table, detail_text(cli, json_object_get(a, "detail")));
  }
  cli_table_print(table, "Nothing has happened yet.");
  if (cli_opt(cli, "pipeline") != NULL) cli_print_next(cli, document);
  json_decref(document);
  return true;
}

static bool audit_run(struct cli *cli, struct err *err) {
  if (cli->argc == 0) return list(cli, err);
  if (strcmp(cli->argv[0], "verify") == 0) return verify(cli, err);
  err_set(err, ERR_USAGE, "audit: unknown word '%.60s'", cli->argv[0]);
  return err_hint(err, "usage: orch audit [verify [PIPELINE]]");
}

static const struct cli_option options[] = {
    {"pipeline", 'p', "NAME", "only of this pipeline"},
    {"limit", 'n', "N", "at most so many rows, 1 to 500 (50)"},
    {"after", 0, "ROW", "the page after this row; with --pipeline"},
    {0},
};

const struct cli_verb verb_audit = {
    .name = "audit",
    .group = CLI_GROUP_ADMIN,
    .summary = "Show who changed what, or verify that the record is whole",
    .usage = "audit [verify [PIPELINE]]",
    .help = "Every change of a proposal, gate, decision, deployment, hold, policy, reviewer\n"
            "or token writes a row in the same transaction, and the rows of each pipeline\n"
            "form a chain of hashes. 'verify' walks the chains; exit code 1 when one is\n"
            "broken, with the first row that does not fit.",
    .examples = "orch audit --pipeline housing\norch audit verify\norch audit verify housing --json",
    .options = options,
    .max_args = 2,
    .run = audit_run,
};
