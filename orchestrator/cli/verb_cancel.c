/* orch cancel PROPOSAL */
#include "cli/verbs.h"

static bool cancel_run(struct cli *cli, struct err *err) {
  int64_t id;
  const char *actor, *reason = cli_opt(cli, "reason");
  json_t *answer = NULL;
  if (!cli_parse_id(cli->argv[0], "the proposal", &id, err) || !cli_actor(cli, "operate", &actor, err)) return false;
  struct db_value values[] = {db_i64(id), db_text(reason != NULL ? reason : "cancelled from the shell"),
                              db_text(actor)};
  if (!cli_call(cli, "select orch.proposal_cancel($1, $2, $3)", ARRAY_LEN(values), values, &answer, err)) return false;
  if (cli->json) {
    cli_print_json(cli, answer);
  } else {
    cli_printf("proposal #%lld is cancelled: its jobs stop, its gate is withdrawn\n", (long long)id);
  }
  json_decref(answer);
  return true;
}

static const struct cli_option options[] = {{"reason", 'r', "TEXT", "why; people will read it"}, {0}};

const struct cli_verb verb_cancel = {
    .name = "cancel",
    .group = CLI_GROUP_PROPOSAL,
    .summary = "Stop a proposal: its jobs end, its gate is withdrawn",
    .usage = "cancel PROPOSAL [--reason TEXT]",
    .help = "Works in every state before the candidate is rolled out. Running steps get\n"
            "SIGTERM, then SIGKILL; chat messages of the gate lose their buttons.",
    .examples = "orch cancel 42 --reason \"the labels of March are wrong\"",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = cancel_run,
};
