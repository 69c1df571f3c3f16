/* Calls of SQL functions, who makes them, filters of lists. */
#include "cli/cli.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"

static bool connect_once(struct cli *cli, struct err *err) {
  if (cli->db != NULL && db_sync_is_lost(cli->db)) {
    db_sync_close(cli->db);
    cli->db = NULL;
  }
  if (cli->db != NULL) return true;
  const char *url;
  char name[64];
  if (!cli_database_url(cli, &url, err)) return false;
  snprintf(name, sizeof name, "orch %s", cli->verb != NULL ? cli->verb->name : "");
  cli->db = db_sync_open(url, name, err);
  return cli->db != NULL;
}

bool cli_call(struct cli *cli, const char *sql, size_t count, const struct db_value *values, json_t **ret,
              struct err *err) {
  if (!connect_once(cli, err)) return false;
  CLEANUP(mem_free_p) char *text = db_sync_call(cli->db, sql, count, values, err);
  if (text == NULL) {
    bool no_schema = strcmp(err->sqlstate, "3F000") == 0 || strcmp(err->sqlstate, "42883") == 0;
    return no_schema ? err_hint(err, "the database lacks what this orch calls: run 'orch migrate'") : false;
  }
  json_error_t why;
  json_t *document = json_loads(text, JSON_DECODE_ANY, &why);
  if (document == NULL) return err_set(err, ERR_INTERNAL, "the database answered no JSON: %.200s", why.text);
  *ret = document;
  return true;
}

bool cli_token_hash(struct cli *cli, const char **ret, struct err *err) {
  const char *token = NULL;
  if (!cli_env(cli, "ORCH_TOKEN", &token, err)) return false;
  *ret = NULL;
  if (token == NULL) return true;
  uint8_t bytes[DIGEST_BYTES];
  char hash[DIGEST_TEXT_SIZE];
  digest_bytes(token, strlen(token), bytes);
  digest_to_text(bytes, hash);
  *ret = arena_strdup(&cli->arena, hash);
  return true;
}

/* The token says who; which scope it carries does not matter here: the database login decides what may be called. */
static bool token_actor(struct cli *cli, const char *hash, const char *scope, const char **ret, struct err *err) {
  const char *const scopes[] = {scope, "decide", "propose", "operate", "read"};
  for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
    json_t *answer = NULL;
    *err = (struct err){0};
    if (!cli_call(cli, "select orch.token_check($1, $2)", 2, (struct db_value[]){db_text(hash), db_text(scopes[i])},
                  &answer, err)) {
      if (err->code == ERR_DENIED) continue;
      return false;
    }
    *ret = arena_strdup(&cli->arena, json_string_value(json_object_get(answer, "actor")));
    json_decref(answer);
    return true;
  }
  return err_prefix(err, "ORCH_TOKEN");
}

bool cli_actor(struct cli *cli, const char *scope, const char **ret, struct err *err) {
  const char *hash = NULL;
  if (!cli_token_hash(cli, &hash, err)) return false;
  if (hash != NULL) return token_actor(cli, hash, scope, ret, err);
  const struct passwd *entry = getpwuid(geteuid());
  const char *actor = entry != NULL ? arena_printf(&cli->arena, "user:%s", entry->pw_name)
                                    : arena_printf(&cli->arena, "user:%ld", (long)geteuid());
  *ret = actor != NULL ? actor : "user:unknown";
  return true;
}

const struct cli_option cli_option_limit = {"limit", 'n', "N", "at most so many rows, 1 to 500 (50)"};
const struct cli_option cli_option_after = {"after", 0, "ID", "the page after this row, as the last line said"};

bool cli_filter(struct cli *cli, const char *const *names, const char **ret, struct err *err) {
  json_t *filter = json_object();
  for (; *names != NULL; names++) {
    const char *value = cli_opt(cli, *names);
    bool number = strcmp(*names, "limit") == 0 || strcmp(*names, "after") == 0;
    int64_t parsed = 0;
    if (value == NULL) continue;
    if (number && !cli_parse_int(value, *names, 1, strcmp(*names, "limit") == 0 ? 500 : INT64_MAX, &parsed, err)) {
      json_decref(filter);
      return false;
    }
    json_object_set_new(filter, *names, number ? json_integer(parsed) : json_string(value));
  }
  char *text = json_dumps(filter, JSON_COMPACT);
  json_decref(filter);
  if (text == NULL) return err_set(err, ERR_INVALID, "an option's value is no UTF-8 text");
  *ret = arena_strdup(&cli->arena, text);
  free(text); /* jansson's own allocation */
  return true;
}

void cli_print_next(struct cli *cli, const json_t *document) {
  const json_t *next = json_object_get(document, "next");
  if (json_is_integer(next)) cli_printf("More: --after %" JSON_INTEGER_FORMAT "\n", json_integer_value(next));
}
