/* orch hold PIPELINE, orch release PIPELINE */
#include "cli/verbs.h"

static bool call(struct cli *cli, const char *sql, json_t **ret, struct err *err) {
  const char *actor = NULL;
  if (!cli_actor(cli, "operate", &actor, err)) return false;
  struct db_value values[] = {db_text(cli->argv[0]), db_text(cli_opt(cli, "reason")), db_text(actor)};
  return cli_call(cli, sql, ARRAY_LEN(values), values, ret, err);
}

static bool hold_run(struct cli *cli, struct err *err) {
  json_t *answer = NULL;
  if (cli_opt(cli, "reason") == NULL) {
    err_set(err, ERR_USAGE, "a hold needs a reason: the next person on call will read it");
    return err_hint(err, "orch hold %.60s --reason \"why\"", cli->argv[0]);
  }
  if (!call(cli, "select orch.hold_set($1, $2, $3)", &answer, err)) return false;
  if (cli->json) {
    cli_print_json(cli, answer);
  } else if (json_is_true(json_object_get(answer, "changed"))) {
    cli_printf("%s is on hold: nothing automatic happens until 'orch release %s'\n",
               cli_member(cli, answer, "pipeline"), cli_member(cli, answer, "pipeline"));
  } else {
    cli_printf("%s is on hold already, by %s: %s\n", cli_member(cli, answer, "pipeline"), cli_member(cli, answer, "by"),
               cli_member(cli, answer, "reason"));
  }
  json_decref(answer);
  return true;
}

static bool release_run(struct cli *cli, struct err *err) {
  json_t *answer = NULL;
  if (!call(cli, "select orch.hold_release($1, $2, $3)", &answer, err)) return false;
  if (cli->json) {
    cli_print_json(cli, answer);
  } else if (json_is_true(json_object_get(answer, "changed"))) {
    cli_printf("%s is released; it was held by %s: %s\n", cli_member(cli, answer, "pipeline"),
               cli_member(cli, answer, "held_by"), cli_member(cli, answer, "reason"));
  } else {
    cli_printf("%s is not on hold\n", cli_member(cli, answer, "pipeline"));
  }
  json_decref(answer);
  return true;
}

static const struct cli_option options[] = {{"reason", 'r', "TEXT", "why; people will read it"}, {0}};

const struct cli_verb verb_hold = {
    .name = "hold",
    .group = CLI_GROUP_ROLLOUT,
    .summary = "Stop everything automatic on a pipeline",
    .usage = "hold PIPELINE --reason TEXT",
    .help = "No retraining starts and nothing is promoted until the hold is released. What\n"
            "is live stays live; signals are recorded and looked at again afterwards.",
    .examples = "orch hold housing --reason \"price feed is being migrated\"",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = hold_run,
};

const struct cli_verb verb_release = {
    .name = "release",
    .group = CLI_GROUP_ROLLOUT,
    .summary = "Lift the hold of a pipeline",
    .usage = "release PIPELINE [--reason TEXT]",
    .help = "Signals that were held back meanwhile are looked at again.",
    .examples = "orch release housing --reason \"the feed is back\"",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = release_run,
};
