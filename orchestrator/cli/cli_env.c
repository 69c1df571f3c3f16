/* What surrounds the command: environment, secrets, where database and store are; and words parsed. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/home.h"
#include "conf/secret.h"
#include "conf/yaml.h"

#define LINE_MAX_BYTES ((size_t)8 << 10)

/* The file's first line, into the arena. */
static bool first_line(struct cli *cli, const char *path, const char **ret_text, struct err *err) {
  char *text = NULL;
  size_t len = 0;
  if (!yaml_tree_read_file(path, LINE_MAX_BYTES, &text, &len, err)) return false;
  *ret_text = arena_strndup(&cli->arena, text, strcspn(text, "\r\n"));
  mem_free(text);
  return true;
}

bool cli_env(struct cli *cli, const char *name, const char **ret_value, struct err *err) {
  const char *kept = NULL;
  if (secret_is_set(name)) {
    char *value = secret_get(name, err);
    if (value == NULL) return false;
    kept = arena_strdup(&cli->arena, value);
    mem_free_secret(value);
  }
  *ret_value = kept;
  return true;
}

static bool private_cluster(struct cli *cli, const char **ret_url, struct err *err) {
  char home[PATH_MAX];
  if (!home_find(home, err)) return false;
  const char *path = home_path(cli, home, "database-url");
  if (access(path, F_OK) == 0) return first_line(cli, path, ret_url, err);
  err_set(err, ERR_DB_DOWN,
          "no database: neither --database nor ORCH_DATABASE_URL is given and there is no .orch/ here");
  return err_hint(err, "'orch up' makes a private one in this folder");
}

const char *cli_store_location(struct cli *cli) {
  return cli->store != NULL ? cli->store : cli_private_folder(cli, "store");
}

const char *cli_private_folder(struct cli *cli, const char *name) {
  char home[PATH_MAX];
  struct err unheard = {0}; /* who cannot tell where they are will hear it when they use the folder */
  if (home_find(home, &unheard)) return home_path(cli, home, name);
  const char *path = arena_printf(&cli->arena, ".orch/%s", name);
  return path != NULL ? path : ".";
}

bool cli_rollout_base(struct cli *cli, char out[PATH_MAX], struct err *err) {
  const char *given = cli_opt(cli, "base");
  if (given == NULL) return home_find(out, err);
  if (realpath(given, out) == NULL) return err_set(err, ERR_USAGE, "--base: there is no folder %s", given);
  return true;
}

bool cli_database_url(struct cli *cli, const char **ret_url, struct err *err) {
  const char *url = cli->database;
  if (url == NULL && !cli_env(cli, "ORCH_DATABASE_URL", &url, err)) return false;
  if (url == NULL && !private_cluster(cli, &url, err)) return false;
  *ret_url = url;
  return true;
}

bool cli_parse_int(const char *text, const char *what, int64_t min, int64_t max, int64_t *ret, struct err *err) {
  char *end = NULL;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (end == text || *end != '\0' || text[0] == ' ' || text[0] == '+') {
    return err_set(err, ERR_USAGE, "%s is '%.60s', expected a whole number", what, text);
  }
  if (errno == ERANGE || value < min || value > max) {
    return err_set(err, ERR_USAGE, "%s is %.60s, expected %lld to %lld", what, text, (long long)min, (long long)max);
  }
  *ret = value;
  return true;
}

bool cli_parse_id(const char *text, const char *what, int64_t *ret, struct err *err) {
  return cli_parse_int(text[0] == '#' ? text + 1 : text, what, 1, INT64_MAX, ret, err);
}

bool cli_parse_version(struct cli *cli, const char *text, const char **ret_pipeline, int64_t *ret_version,
                       struct err *err) {
  const char *at = strchr(text, '@');
  if (at == NULL || at == text || at - text > 63) {
    err_set(err, ERR_USAGE, "'%.80s' is not a version", text);
    return err_hint(err, "write it as housing@3");
  }
  if (!cli_parse_int(at + 1, "the version's number", 1, INT32_MAX, ret_version, err)) return false;
  *ret_pipeline = arena_strndup(&cli->arena, text, (size_t)(at - text));
  return true;
}
