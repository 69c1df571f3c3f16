/* orch propose PIPELINE */
#include "base/clock.h"
#include "cli/verbs.h"

static bool propose_run(struct cli *cli, struct err *err) {
  const char *reason = cli_opt(cli, "reason"), *mode = cli_opt(cli, "mode"), *as_of = cli_opt(cli, "as-of");
  const char *actor = NULL;
  int64_t at_us;
  json_t *answer = NULL;
  if (reason == NULL) {
    err_set(err, ERR_USAGE, "a proposal needs a reason: the people at the gate will read it");
    return err_hint(err, "orch propose %.60s --reason \"why this model should be retrained\"", cli->argv[0]);
  }
  if (as_of != NULL && !clock_parse_rfc3339(as_of, &at_us)) {
    return err_set(err, ERR_USAGE, "--as-of is '%.60s', expected a time such as 2026-01-05T09:00:00Z", as_of);
  }
  if (!cli_actor(cli, "propose", &actor, err)) return false;
  struct db_value values[] = {db_text(cli->argv[0]), db_text(reason), db_text(mode != NULL ? mode : "keep"),
                              db_text(actor),        db_text(as_of),  db_text(cli_opt(cli, "key"))};
  if (!cli_call(cli, "select orch.proposal_create($1, $2, $3, $4, $5::timestamptz, $6)", ARRAY_LEN(values), values,
                &answer, err)) {
    return false;
  }
  if (cli->json) {
    cli_print_json(cli, answer);
  } else {
    const char *id = cli_member(cli, answer, "proposal");
    cli_printf("proposal #%s %s\n", id, cli_member(cli, answer, "disposition"));
    if (json_is_integer(json_object_get(answer, "superseded"))) {
      cli_printf("  instead of #%s\n", cli_member(cli, answer, "superseded"));
    }
    cli_printf("  watch it: orch show %s --watch\n", id);
  }
  json_decref(answer);
  return true;
}

static const struct cli_option options[] = {
    {"reason", 'r', "TEXT", "why; required"},
    {"mode", 'm', "MODE", "when one is open: keep (join it), replace, cancel_and_replace (keep)"},
    {"as-of", 0, "TIME", "use data up to this time, as in 2026-01-05T09:00:00Z (now)"},
    {"key", 0, "TEXT", "the same key again within a day asks once"},
    {0},
};

const struct cli_verb verb_propose = {
    .name = "propose",
    .group = CLI_GROUP_PROPOSAL,
    .summary = "Ask for a retraining",
    .usage = "propose PIPELINE --reason TEXT [--mode MODE] [--as-of TIME]",
    .help = "Opens a proposal, or joins the open one of the pipeline. Whoever proposes\n"
            "cannot approve: with ORCH_TOKEN set that is the token's reviewer, otherwise a\n"
            "reviewer who is named like the user of this shell.",
    .examples = "orch propose housing --reason \"first version\"\n"
                "orch propose housing --reason \"new labels\" --mode cancel_and_replace\n"
                "orch propose housing --reason replay --as-of 2003-01-01T00:00:00Z",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = propose_run,
};
