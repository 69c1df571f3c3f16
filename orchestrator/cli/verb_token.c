/* orch token create|list|revoke */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "cli/verbs.h"

#define SECRET_BYTES 32
#define SCOPES_MAX 8

/* "orch_" and 32 random bytes in url-safe base64 without padding. Wipe it after use. */
static void make_token(char out[64]) {
  uint8_t bytes[SECRET_BYTES];
  char text[4 * ((SECRET_BYTES + 2) / 3) + 1];
  clock_random(bytes, sizeof bytes);
  digest_base64(bytes, sizeof bytes, text);
  for (char *c = text; *c != '\0'; c++) *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
  text[strcspn(text, "=")] = '\0';
  snprintf(out, 64, "orch_%s", text);
  explicit_bzero(bytes, sizeof bytes);
  explicit_bzero(text, sizeof text);
}

/* Several --scope, each one word or several with commas between. */
static bool scopes_array(struct cli *cli, struct strbuf *out, struct err *err) {
  const char *scopes[SCOPES_MAX], *given;
  size_t count = 0;
  for (size_t nth = 0; (given = cli_opt_nth(cli, "scope", nth)) != NULL; nth++) {
    for (size_t len; *given != '\0'; given += len + (given[len] == ',')) {
      len = strcspn(given, ",");
      if (len == 0) continue;
      if (count == SCOPES_MAX) return err_set(err, ERR_USAGE, "more than %d scopes", SCOPES_MAX);
      scopes[count++] = arena_strndup(&cli->arena, given, len);
    }
  }
  if (count == 0) {
    err_set(err, ERR_USAGE, "a token needs at least one scope");
    return err_hint(err, "--scope signal, observe, read, propose, decide, operate, admin or work");
  }
  db_add_text_array(out, scopes, count);
  return true;
}

static void print_created(struct cli *cli, json_t *answer, const char *token) {
  if (cli->json) {
    json_object_set_new(answer, "secret", json_string(token));
    cli_print_json(cli, answer);
    return;
  }
  cli_printf("%s\n", token);
  fflush(stdout);
  if (cli->terminal)
    fprintf(stderr, "This is shown once. Put it into ORCH_TOKEN, or into a file that ORCH_TOKEN_FILE names.\n");
}

static bool create(struct cli *cli, struct err *err) {
  const char *actor = NULL;
  if (cli->argc != 2) {
    err_set(err, ERR_USAGE, "token create: expected one name");
    return err_hint(err, "orch token create ci --scope signal");
  }
  struct strbuf scopes;
  strbuf_init(&scopes, 1000);
  if (!scopes_array(cli, &scopes, err) || !cli_actor(cli, "admin", &actor, err)) {
    strbuf_fini(&scopes);
    return false;
  }
  char token[64], hash[DIGEST_TEXT_SIZE];
  uint8_t bytes[DIGEST_BYTES];
  make_token(token);
  digest_bytes(token, strlen(token), bytes);
  digest_to_text(bytes, hash);
  json_t *answer = NULL;
  struct db_value values[] = {db_text(cli->argv[1]), db_text(hash), db_text(strbuf_text(&scopes)),
                              db_text(cli_opt(cli, "reviewer")), db_text(actor)};
  bool fine =
      cli_call(cli, "select orch.token_create($1, $2, $3::text[], $4, $5)", ARRAY_LEN(values), values, &answer, err);
  if (fine) print_created(cli, answer, token);
  explicit_bzero(token, sizeof token);
  json_decref(answer);
  strbuf_fini(&scopes);
  return fine;
}

static bool list(struct cli *cli, struct err *err) {
  json_t *document = NULL, *t;
  size_t i;
  if (!cli_call(cli, "select orch.api_tokens()", 0, NULL, &document, err)) return false;
  if (cli->json) {
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"TOKEN", "SCOPES", "REVIEWER", "CREATED", "BY", "REVOKED", NULL});
  json_array_foreach(json_object_get(document, "tokens"), i, t) {
    cli_table_row(table);
    cli_table_cell(table, json_string_value(json_object_get(t, "token")));
    cli_table_cell(table, cli_join(cli, json_object_get(t, "scopes")));
    cli_table_cell(table, json_string_value(json_object_get(t, "reviewer")));
    cli_table_cell(table, cli_when(cli, json_string_value(json_object_get(t, "created_at"))));
    cli_table_cell(table, json_string_value(json_object_get(t, "created_by")));
    cli_table_cell_color(table, CLI_DIM, cli_when(cli, json_string_value(json_object_get(t, "revoked_at"))));
  }
  cli_table_print(table, "No tokens.");
  json_decref(document);
  return true;
}

static bool revoke_token(struct cli *cli, struct err *err) {
  const char *actor = NULL;
  json_t *answer = NULL;
  if (cli->argc != 2) return err_set(err, ERR_USAGE, "token revoke: expected one name");
  if (!cli_actor(cli, "admin", &actor, err)) return false;
  struct db_value values[] = {db_text(cli->argv[1]), db_text(actor)};
  if (!cli_call(cli, "select orch.token_revoke($1, $2)", ARRAY_LEN(values), values, &answer, err)) return false;
  if (cli->json) {
    cli_print_json(cli, answer);
  } else {
    cli_printf("token %s is revoked\n", cli_member(cli, answer, "token"));
  }
  json_decref(answer);
  return true;
}

static bool token_run(struct cli *cli, struct err *err) {
  const char *word = cli->argv[0];
  if (strcmp(word, "create") == 0) return create(cli, err);
  if (strcmp(word, "list") == 0) return list(cli, err);
  if (strcmp(word, "revoke") == 0) return revoke_token(cli, err);
  err_set(err, ERR_USAGE, "token: unknown word '%.60s'", word);
  return err_hint(err, "expected create, list or revoke");
}

static const struct cli_option options[] = {
    {"scope", 's', "SCOPE", "what it may do; several with commas, or given several times"},
    {"reviewer", 'r', "NAME", "the person it speaks for; required for the scope decide"},
    {0},
};

const struct cli_verb verb_token = {
    .name = "token",
    .group = CLI_GROUP_ADMIN,
    .summary = "Make, list and revoke bearer tokens",
    .usage = "token create NAME --scope SCOPE[,SCOPE...] [--reviewer NAME] | list | revoke NAME",
    .help = "A token is printed once and stored as a hash. Scopes: signal (send signals),\n"
            "observe (send observations), read, propose, decide (approve and reject: needs\n"
            "--reviewer), operate (cancel, hold, release, rollback), work (fetch and store\n"
            "artifacts), admin (all of these).",
    .examples = "orch token create alertmanager --scope signal\n"
                "orch token create dana --scope decide,read --reviewer dana\n"
                "orch token revoke alertmanager",
    .options = options,
    .min_args = 1,
    .max_args = 2,
    .run = token_run,
};
