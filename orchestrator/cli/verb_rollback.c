/* orch rollback: back to the last good version, at once, also when no orchestrator runs. */
#include "cli/cli.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rollout/rollback.h"

static void print_ended(struct cli *cli, const json_t *answer) {
  size_t at;
  json_t *id;
  json_array_foreach(json_object_get(answer, "ended"), at, id)
      cli_printf("  ended       proposal #%lld\n", (long long)json_integer_value(id));
}

static void print(struct cli *cli, const json_t *answer) {
  const char *pipeline = cli_member(cli, answer, "pipeline"), *version = cli_member(cli, answer, "version");
  if (json_is_true(json_object_get(answer, "skipped"))) {
    cli_printf("skipped rollback (already at %s): %s\n", version, cli_member(cli, answer, "why"));
    return;
  }
  bool dry = json_is_true(json_object_get(answer, "dry_run"));
  const char *from = cli_member(cli, answer, "from");
  if (dry) {
    cli_printf("would roll back %s to version %s%s%s: %s\n", pipeline, version, *from ? " from " : "", from,
               cli_member(cli, answer, "why"));
    bool intact = json_is_true(json_object_get(answer, "artifact_intact"));
    cli_printf("its artifact is %s\n", intact ? "intact" : cli_paint(cli, CLI_RED, "missing or damaged"));
    return;
  }
  cli_printf("%s is back at version %s%s%s (%.0f ms)\n", pipeline, cli_paint(cli, CLI_GREEN, version),
             *from ? ", was " : "", from, json_real_value(json_object_get(answer, "took_ms")));
  cli_printf("  because     %s\n", cli_member(cli, answer, "reason"));
  if (*from && strcmp(from, version) != 0) cli_printf("  quarantined %s@%s\n", pipeline, from);
  print_ended(cli, answer);
  cli_printf("  on hold     until 'orch release %s'\n", pipeline);
}

static bool run(struct cli *cli, struct err *err) {
  struct rollback_request request = {
      .pipeline = cli->argv[0], .reason = cli_opt(cli, "reason"), .dry_run = cli_flag(cli, "dry-run")};
  const char *to = cli_opt(cli, "to"), *url = NULL;
  char base[PATH_MAX];
  if (to != NULL && !cli_parse_int(to, "--to", 1, INT32_MAX, &request.to, err)) return false;
  if (!cli_rollout_base(cli, base, err) || !cli_database_url(cli, &url, err)) return false;
  if (!cli_actor(cli, "operate", &request.actor, err)) return false;
  CLEANUP(db_sync_close_p) struct db_sync *db = db_sync_open(url, "orch rollback", err);
  if (db == NULL) return false;
  struct store *store = store_open(cli_store_location(cli), err);
  if (store == NULL) return false;
  struct rollout_options options = {.store = store, .base = base};
  json_t *answer = NULL;
  bool ok = rollback_run(db, &options, &request, &answer, err);
  store_close(store);
  if (!ok) return false;
  if (cli->json)
    cli_print_json(cli, answer);
  else
    print(cli, answer);
  json_decref(answer);
  return true;
}

static const struct cli_option options[] = {
    {"to", 0, "N", "return to this version; it must have been live before and not be quarantined"},
    {"reason", 'r', "TEXT", "why; it goes to the audit trail and to everybody who is told"},
    {"dry-run", 'n', NULL, "say what it would do and whether the artifact is intact; change nothing"},
    {"base", 0, "DIR", "what relative paths of rollout drivers are below (else where .orch/ is, else here)"},
    {0},
};

const struct cli_verb verb_rollback = {
    .name = "rollback",
    .group = CLI_GROUP_ROLLOUT,
    .summary = "Return to the last good version, at once",
    .usage = "rollback PIPELINE [--to N] [--reason TEXT] [--dry-run]",
    .help = "Moves the live pointer back to the last version that was live and good: no\n"
            "questions, no gate, no orchestrator needed. The artifact is verified first.\n"
            "What it leaves is quarantined, so that doing it twice never returns to it;\n"
            "what was in flight is ended, and the pipeline is put on hold until\n"
            "'orch release'. Killed half way, run it again: it resumes.",
    .examples = "orch rollback housing --reason \"errors doubled since 10:00\"\n"
                "orch rollback housing --dry-run\n"
                "orch rollback housing --to 3",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
