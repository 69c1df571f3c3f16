/* orch approve, orch reject: one person's answer at a gate. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli_show.h"
#include "cli/verbs.h"

#define PREFIX_LEAST (7 + 8) /* "sha256:" and eight digits */

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

/* "gate:12" is a gate; a number is a proposal, whose newest gate is meant. */
static bool find_gate(struct cli *cli, const char *word, json_t **ret, struct err *err) {
  int64_t id;
  json_t *document = NULL;
  if (strncmp(word, "gate:", 5) == 0) {
    if (!cli_parse_id(word + 5, "the gate", &id, err)) return false;
    struct db_value value = db_i64(id);
    return cli_call(cli, "select orch.api_gate($1)", 1, &value, ret, err);
  }
  if (!cli_parse_id(word, "the proposal", &id, err)) return false;
  struct db_value value = db_i64(id);
  if (!cli_call(cli, "select orch.api_proposal($1)", 1, &value, &document, err)) return false;
  json_t *gate = json_object_get(document, "gate");
  if (json_is_object(gate)) {
    *ret = json_incref(gate);
  } else {
    err_set(err, ERR_REFUSED, "proposal #%lld is %s: there is no gate to decide", (long long)id,
            cli_member(cli, document, "state"));
    err_hint(err, "orch show %lld", (long long)id);
  }
  json_decref(document);
  return *ret != NULL;
}

/* The digest that the decision is for: what --digest names, or what the gate has now. */
static bool chosen_digest(struct cli *cli, const json_t *gate, const char **ret, struct err *err) {
  const char *digest = text_of(gate, "digest"), *asked = cli_opt(cli, "digest");
  if (asked == NULL) {
    *ret = digest;
    return true;
  }
  size_t len = strlen(asked);
  if (len < PREFIX_LEAST || strncmp(asked, "sha256:", 7) != 0) {
    return err_set(err, ERR_USAGE, "--digest is '%.80s', expected sha256: and at least 8 digits", asked);
  }
  if (digest == NULL || strncmp(digest, asked, len) != 0) {
    err_set(err, ERR_REFUSED, "the evidence of this gate is %.19s, not %.80s", digest != NULL ? digest : "?", asked);
    return err_hint(err, "look at it anew: orch show %s", cli_member(cli, gate, "proposal"));
  }
  *ret = digest;
  return true;
}

static bool refused(struct cli *cli, const json_t *answer, struct err *err) {
  const char *code = cli_member(cli, answer, "code"), *message = cli_member(cli, answer, "message");
  bool identity = strcmp(code, "unproven") == 0 || strcmp(code, "not_reviewer") == 0 || strcmp(code, "stranger") == 0;
  err_set(err, identity ? ERR_DENIED : ERR_REFUSED, "refused: %s", message);
  if (strcmp(code, "stale") == 0) return err_hint(err, "look at the new evidence: orch show PROPOSAL");
  if (strcmp(code, "hold") == 0) return err_hint(err, "orch release lifts the hold");
  if (strcmp(code, "not_eligible") == 0) return err_hint(err, "orch reviewers shows who is in which group");
  return false;
}

static bool send_decision(struct cli *cli, const json_t *gate, const char *verdict, json_t **ret, struct err *err) {
  const char *digest = NULL, *token_hash = NULL, *comment = cli_opt(cli, "comment");
  if (!chosen_digest(cli, gate, &digest, err) || !cli_token_hash(cli, &token_hash, err)) return false;
  json_t *decision = json_pack("{s:s, s:s, s:s?, s:s}", "verdict", verdict, "comment", comment != NULL ? comment : "",
                               "digest", digest, "via", "cli");
  if (decision == NULL) return err_set(err, ERR_USAGE, "the comment is no UTF-8 text");
  if (token_hash != NULL) json_object_set_new(decision, "token_hash", json_string(token_hash));
  char *text = json_dumps(decision, JSON_COMPACT);
  json_decref(decision);
  struct db_value values[] = {db_i64(json_integer_value(json_object_get(gate, "gate"))), db_text(text)};
  bool fine = cli_call(cli, "select orch.gate_decide($1, $2::jsonb)", ARRAY_LEN(values), values, ret, err);
  free(text); /* jansson's own allocation */
  return fine;
}

static bool decide(struct cli *cli, const char *verdict, struct err *err) {
  json_t *gate = NULL, *answer = NULL;
  if (!find_gate(cli, cli->argv[0], &gate, err)) return false;
  bool fine = send_decision(cli, gate, verdict, &answer, err);
  if (fine && cli->json) cli_print_json(cli, answer);
  if (fine && strcmp(cli_member(cli, answer, "outcome"), "refused") == 0) {
    fine = refused(cli, answer, err);
  } else if (fine && !cli->json) {
    const json_t *now = json_object_get(answer, "gate");
    cli_printf("%s@%s, evidence %s\n  %s\n", cli_member(cli, now, "pipeline"), cli_member(cli, now, "version"),
               cli_digest(cli, text_of(now, "digest")), cli_member(cli, answer, "message"));
    if (strcmp(cli_member(cli, now, "state"), "open") == 0) cli_printf("  waits for %s\n", cli_gate_waits(cli, now));
  }
  json_decref(answer);
  json_decref(gate);
  return fine;
}

static bool approve_run(struct cli *cli, struct err *err) {
  return decide(cli, "approve", err);
}

static bool reject_run(struct cli *cli, struct err *err) {
  const char *comment = cli_opt(cli, "comment");
  if (comment == NULL || comment[strspn(comment, " \t\n")] == '\0') {
    err_set(err, ERR_USAGE, "a rejection needs a comment that says why");
    return err_hint(err, "orch reject %.40s --comment \"why\"", cli->argv[0]);
  }
  return decide(cli, "reject", err);
}

static const struct cli_option options[] = {
    {"comment", 'm', "TEXT", "what the record says about it; required to reject"},
    {"digest", 'd', "DIGEST", "only if the evidence is this (sha256: and 8 or more digits)"},
    {0},
};

#define WHO                                                                                                            \
  "Who you are must be proven: by ORCH_TOKEN (or ORCH_TOKEN_FILE) with a token that\n"                                 \
  "was made for you with the scope decide, or by a database login that is named\n"                                     \
  "like a reviewer. Whoever proposed the retraining cannot approve it.\n"                                              \
  "\n"                                                                                                                 \
  "A number is a proposal, whose gate is meant; gate:12 is a gate. A decision is\n"                                    \
  "bound to the evidence: with --digest it counts only if nothing has changed\n"                                       \
  "since you looked. Exit code 4: refused, with the reason."

const struct cli_verb verb_approve = {
    .name = "approve",
    .group = CLI_GROUP_GATE,
    .summary = "Approve the candidate that waits at a gate",
    .usage = "approve PROPOSAL [--comment TEXT] [--digest DIGEST]",
    .help = WHO,
    .examples = "orch approve 42 --digest sha256:1a2b3c4d5e6f\norch approve gate:12 --comment \"checked the slices\"",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = approve_run,
};

const struct cli_verb verb_reject = {
    .name = "reject",
    .group = CLI_GROUP_GATE,
    .summary = "Reject the candidate that waits at a gate",
    .usage = "reject PROPOSAL --comment TEXT [--digest DIGEST]",
    .help = WHO,
    .examples = "orch reject 42 --comment \"Dallas got worse\"",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = reject_run,
};
