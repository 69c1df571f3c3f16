/* orch show PROPOSAL */
#include <string.h>

#include "base/units.h"
#include "cli/cli_show.h"
#include "cli/verbs.h"
#include "conf/canonical.h"

struct show {
  int64_t id;
  bool watching, drawn;
  char seen[DIGEST_TEXT_SIZE]; /* off a terminal: what was drawn last, so that only changes are */
};

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static bool is_final(const char *state) {
  static const char *const open[] = {"proposed", "training", "evaluating", "awaiting_approval", "rolling_out"};
  for (size_t i = 0; i < ARRAY_LEN(open); i++) {
    if (strcmp(open[i], state) == 0) return false;
  }
  return true;
}

/* The exit code of --watch: what became of it. */
static int outcome_code(const char *state) {
  if (strcmp(state, "promoted") == 0) return 0;
  return strcmp(state, "failed") == 0 || strcmp(state, "aborted") == 0 ? 1 : err_exit_code(ERR_REFUSED);
}

static void draw_head(struct cli *cli, const json_t *q) {
  const char *state = cli_member(cli, q, "state");
  const json_t *revision = json_object_get(q, "revision");
  cli_printf("%s  %s  %s\n",
             cli_paint(cli, CLI_BOLD,
                       arena_printf(&cli->arena, "#%s %s@%s", cli_member(cli, q, "proposal"),
                                    cli_member(cli, q, "pipeline"), cli_member(cli, q, "version"))),
             cli_paint(cli, cli_state_color(state), state), cli_ago(cli, text_of(q, "state_at")));
  cli_field(cli, "reason", cli_member(cli, q, "reason"));
  cli_field(cli, "opened by", cli_member(cli, q, "opened_by"));
  cli_field(cli, "proposers", cli_join(cli, json_object_get(q, "proposers")));
  cli_field(cli, "ended", cli_member(cli, q, "end_reason"));
  cli_field(cli, "data up to", cli_when(cli, text_of(q, "as_of")));
  cli_field(cli, "code",
            arena_printf(&cli->arena, "revision %s%s%.10s%s", cli_digest(cli, text_of(revision, "digest")),
                         text_of(revision, "git_commit") != NULL ? ", commit " : "",
                         cli_member(cli, revision, "git_commit"),
                         json_is_true(json_object_get(revision, "git_dirty")) ? " with changes" : ""));
}

static void draw_next(struct cli *cli, const json_t *q, const json_t *gate) {
  const char *state = cli_member(cli, q, "state"), *id = cli_member(cli, q, "proposal");
  if (strcmp(state, "awaiting_approval") != 0 || !json_is_object(gate)) return;
  cli_printf("\nWaits for %s.\n", cli_gate_waits(cli, gate));
  cli_printf("  orch approve %s --digest %s\n  orch reject %s --comment \"why\"\n", id,
             cli_digest(cli, text_of(gate, "digest")), id);
}

static void draw_all(struct cli *cli, const json_t *q) {
  const json_t *gate = json_object_get(q, "gate"), *deployment = json_object_get(q, "deployment");
  draw_head(cli, q);
  if (json_is_object(json_object_get(q, "diagnosis"))) {
    cli_heading(cli, "Why");
    cli_show_diagnosis(cli, json_object_get(q, "diagnosis"));
  }
  if (json_array_size(json_object_get(q, "signals")) > 0) {
    cli_heading(cli, "Signals");
    cli_show_signals(cli, json_object_get(q, "signals"));
  }
  cli_heading(cli, "Steps");
  cli_show_steps(cli, json_object_get(q, "steps"), "  ");
  if (json_object_size(json_object_get(q, "evaluations")) > 0) {
    cli_heading(cli, "Evaluation");
    cli_show_metrics(cli, json_object_get(q, "evaluations"));
  }
  if (json_is_array(json_object_get(q, "checks"))) {
    cli_heading(cli, "Checks");
    cli_show_checks(cli, json_object_get(q, "checks"));
  }
  if (json_is_object(gate)) {
    cli_heading(cli, "Gate");
    cli_show_gate(cli, gate);
  }
  if (json_is_object(deployment)) {
    cli_heading(cli, "Rollout");
    cli_show_deployment(cli, deployment);
  }
  draw_next(cli, q, gate);
}

/* Off a terminal a watched proposal is drawn when its state or that of a step has changed. */
static bool is_news(struct cli *cli, struct show *show, const json_t *q) {
  char digest[DIGEST_TEXT_SIZE];
  size_t i;
  json_t *step, *states;
  if (!show->watching || cli->terminal) return true;
  states = json_array();
  json_array_append(states, json_object_get(q, "state"));
  json_array_append(states, json_object_get(json_object_get(q, "gate"), "decisions"));
  json_array_foreach(json_object_get(q, "steps"), i, step) json_array_append(states, json_object_get(step, "state"));
  canonical_digest(states, digest);
  json_decref(states);
  bool news = strcmp(digest, show->seen) != 0;
  memcpy(show->seen, digest, sizeof digest);
  return news;
}

static bool draw(struct cli *cli, void *arg, bool *ret_done, struct err *err) {
  struct show *show = arg;
  json_t *document = NULL;
  struct db_value id = db_i64(show->id);
  if (!cli_call(cli, "select orch.api_proposal($1)", 1, &id, &document, err)) return false;
  const char *state = cli_member(cli, document, "state");
  if (is_news(cli, show, document)) {
    if (show->drawn && !cli->terminal && !cli->json) cli_printf("\n");
    show->drawn = true;
    if (cli->json) cli_print_json(cli, document);
    if (!cli->json) draw_all(cli, document);
  }
  *ret_done = is_final(state);
  if (show->watching && *ret_done) cli->exit_code = outcome_code(state);
  json_decref(document);
  return true;
}

static bool show_run(struct cli *cli, struct err *err) {
  struct show show = {.watching = cli_flag(cli, "watch")};
  const char *timeout = cli_opt(cli, "timeout");
  int64_t timeout_ms = 0;
  bool done;
  if (!cli_parse_id(cli->argv[0], "the proposal", &show.id, err)) return false;
  if (timeout != NULL && !units_parse_duration_ms(timeout, &timeout_ms)) {
    return err_set(err, ERR_USAGE, "--timeout is '%.60s', expected a duration such as 30s or 10m", timeout);
  }
  return show.watching ? cli_watch(cli, timeout_ms, draw, &show, err) : draw(cli, &show, &done, err);
}

static const struct cli_option options[] = {
    {"watch", 'w', NULL, "redraw until the proposal has ended; the exit code tells how"},
    {"timeout", 't', "TIME", "with --watch: give up after this time, exit code 6"},
    {0},
};

const struct cli_verb verb_show = {
    .name = "show",
    .group = CLI_GROUP_PROPOSAL,
    .summary = "Show a proposal: why, how far, with what numbers, who decides",
    .usage = "show PROPOSAL [--watch [--timeout TIME]]",
    .help = "The reason in words and numbers, the steps and their progress, the evaluation\n"
            "of candidate and champion, the checks, the gate with its votes, the rollout.\n"
            "\n"
            "With --watch the exit code tells the outcome: 0 promoted; 1 failed or aborted;\n"
            "4 blocked, rejected, expired, superseded, cancelled or rolled back; 6 not ended\n"
            "in time.",
    .examples = "orch show 42\norch show 42 --watch --timeout 30m\norch show 42 --json",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = show_run,
};
