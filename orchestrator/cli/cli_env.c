/* What surrounds the command: environment, secrets, where database and store are; and words parsed. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/secret.h"
#include "conf/yaml.h"

#define LINE_MAX_BYTES ((size_t)8 << 10)
#define FOLDERS_UP_MAX 32

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

/* Ours, root's, or, under sudo, the user's who called it. */
static bool is_ours(uid_t owner) {
  const char *sudo = geteuid() == 0 ? getenv("SUDO_UID") : NULL;
  return owner == geteuid() || owner == 0 || (sudo != NULL && strtoll(sudo, NULL, 10) == (long long)owner);
}

/* The nearest `.orch/NAME` here or above, as git looks for its folder; NULL when there is none. A folder that belongs
 * to somebody else is not believed: its owner would choose our database. */
static const char *find_private(struct cli *cli, const char *name) {
  char folder[4096];
  if (getcwd(folder, sizeof folder) == NULL) return NULL;
  for (int up = 0; up < FOLDERS_UP_MAX; up++) {
    const char *path = arena_printf(&cli->arena, "%s/.orch/%s", strcmp(folder, "/") == 0 ? "" : folder, name);
    struct stat info;
    if (path != NULL && stat(path, &info) == 0 && is_ours(info.st_uid)) return path;
    char *slash = strrchr(folder, '/');
    if (slash == NULL || strcmp(folder, "/") == 0) break;
    slash[slash == folder ? 1 : 0] = '\0';
  }
  return NULL;
}

static bool private_cluster(struct cli *cli, const char **ret_url, struct err *err) {
  const char *path = find_private(cli, "database-url");
  if (path != NULL) return first_line(cli, path, ret_url, err);
  err_set(err, ERR_DB_DOWN,
          "no database: neither --database nor ORCH_DATABASE_URL is given and there is no .orch/ here");
  return err_hint(err, "'orch up' makes a private one in this folder");
}

const char *cli_store_location(struct cli *cli) {
  if (cli->store != NULL) return cli->store;
  return cli_private_folder(cli, "store");
}

const char *cli_private_folder(struct cli *cli, const char *name) {
  const char *found = find_private(cli, name);
  if (found == NULL) found = arena_printf(&cli->arena, ".orch/%s", name);
  return found != NULL ? found : ".";
}

bool cli_rollout_base(struct cli *cli, char out[PATH_MAX], struct err *err) {
  const char *given = cli_opt(cli, "base");
  if (given != NULL) {
    if (realpath(given, out) == NULL) return err_set(err, ERR_USAGE, "--base: there is no folder %s", given);
    return true;
  }
  char here[PATH_MAX];
  if (getcwd(here, sizeof here) == NULL) return err_set(err, ERR_IO, "cannot tell the current folder");
  memcpy(out, here, strlen(here) + 1);
  for (;;) {
    const char *mark = arena_printf(&cli->arena, "%s/.orch", out);
    if (mark != NULL && access(mark, F_OK) == 0) return true;
    char *slash = strrchr(out, '/');
    if (slash == NULL || slash == out) break;
    *slash = '\0';
  }
  memcpy(out, here, strlen(here) + 1);
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
