/* orch webhooks [retry ID] */
#include <string.h>

#include "cli/verbs.h"

static bool retry(struct cli *cli, struct err *err) {
  int64_t id;
  const char *actor = NULL;
  json_t *answer = NULL;
  if (cli->argc != 2) return err_set(err, ERR_USAGE, "webhooks retry: expected one id; 'orch webhooks' lists them");
  if (!cli_parse_id(cli->argv[1], "the id", &id, err) || !cli_actor(cli, "operate", &actor, err)) return false;
  struct db_value values[] = {db_i64(id), db_text(actor)};
  if (!cli_call(cli, "select orch.outbox_revive($1, $2)", ARRAY_LEN(values), values, &answer, err)) return false;
  if (cli->json) {
    cli_print_json(cli, answer);
  } else {
    cli_printf("%lld will be sent again\n", (long long)id);
  }
  json_decref(answer);
  return true;
}

static bool list(struct cli *cli, struct err *err) {
  static const char *const names[] = {"state", "limit", "after", NULL};
  const char *filter = NULL;
  json_t *document = NULL, *o;
  size_t i;
  if (!cli_filter(cli, names, &filter, err)) return false;
  struct db_value value = db_text(filter);
  if (!cli_call(cli, "select orch.api_outbox($1::jsonb)", 1, &value, &document, err)) return false;
  if (cli->json) {
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  struct cli_table *table = cli_table_new(cli, (const char *const[]){">ID", "TO", "EVENT", ">GATE", "STATE", ">TRIES",
                                                                     "CREATED", "NEXT TRY", "~ERROR", NULL});
  json_array_foreach(json_object_get(document, "outbox"), i, o) {
    const char *state = json_string_value(json_object_get(o, "state"));
    bool pending = state != NULL && strcmp(state, "pending") == 0;
    cli_table_row(table);
    cli_table_cell(table, cli_member(cli, o, "id"));
    cli_table_cell_printf(table, "%s %s", cli_member(cli, o, "channel"), cli_member(cli, o, "endpoint"));
    cli_table_cell(table, json_string_value(json_object_get(o, "type")));
    cli_table_cell(table, cli_member(cli, o, "gate"));
    cli_table_cell_color(table, cli_state_color(state), state);
    cli_table_cell(table, cli_member(cli, o, "attempts"));
    cli_table_cell(table, cli_ago(cli, json_string_value(json_object_get(o, "created_at"))));
    const char *due = pending ? cli_ago(cli, json_string_value(json_object_get(o, "due_at"))) : "";
    cli_table_cell(table, pending && strncmp(due, "in ", 3) != 0 ? "now" : due);
    cli_table_cell(table, json_string_value(json_object_get(o, "error")));
  }
  cli_table_print(table, "Nothing to deliver.");
  cli_print_next(cli, document);
  json_decref(document);
  return true;
}

static bool webhooks_run(struct cli *cli, struct err *err) {
  if (cli->argc == 0) return list(cli, err);
  if (strcmp(cli->argv[0], "retry") == 0) return retry(cli, err);
  err_set(err, ERR_USAGE, "webhooks: unknown word '%.60s'", cli->argv[0]);
  return err_hint(err, "usage: orch webhooks [retry ID]");
}

static const struct cli_option options[] = {
    {"state", 's', "STATE", "only pending, delivered or dead"},
    {"limit", 'n', "N", "at most so many rows, 1 to 500 (50)"},
    {"after", 0, "ID", "the page after this row, as the last line said"},
    {0},
};

const struct cli_verb verb_webhooks = {
    .name = "webhooks",
    .group = CLI_GROUP_ADMIN,
    .summary = "Show what goes out to webhooks and chat, and retry dead letters",
    .usage = "webhooks [--state STATE] | webhooks retry ID",
    .help = "Events wait in an outbox until their receiver has taken them; what was tried\n"
            "for days or was refused for good is dead, with the last error. 'retry' gives a\n"
            "dead letter another chance. What belongs to one gate goes out in order, so a\n"
            "message may wait for the one before it.",
    .examples = "orch webhooks --state dead\norch webhooks retry 118\norch webhooks --json",
    .options = options,
    .max_args = 2,
    .run = webhooks_run,
};
