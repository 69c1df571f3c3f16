/* What surrounds the command: environment, secrets in files, the database, who is at the keyboard; and words parsed. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MAX ((size_t)64 << 10)
#define FOLDERS_UP_MAX 32

/* The file's first line, into the arena. */
static bool first_line(struct cli *cli, const char *path, const char **ret_text, struct err *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return err_errno(err, errno, "cannot open %s", path);
  CLEANUP(mem_free_p) char *text = mem_alloc(SECRET_MAX + 2);
  size_t len = 0;
  for (ssize_t got; len <= SECRET_MAX && (got = read(fd, text + len, SECRET_MAX + 1 - len)) != 0;) {
    if (got > 0) len += (size_t)got;
    if (got < 0 && errno != EINTR) {
      int errnum = errno;
      close(fd);
      return err_errno(err, errnum, "cannot read %s", path);
    }
  }
  close(fd);
  if (len > SECRET_MAX) return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, SECRET_MAX);
  text[len] = '\0';
  *ret_text = arena_strndup(&cli->arena, text, strcspn(text, "\r\n"));
  explicit_bzero(text, len);
  return true;
}

bool cli_env(struct cli *cli, const char *name, const char **ret_value, struct err *err) {
  const char *value = getenv(name);
  if (value == NULL || value[0] == '\0') {
    const char *variable = arena_printf(&cli->arena, "%s_FILE", name);
    const char *path = variable != NULL ? getenv(variable) : NULL;
    value = NULL;
    if (path != NULL && path[0] != '\0' && !first_line(cli, path, &value, err)) return err_prefix(err, "%s", variable);
  }
  *ret_value = value != NULL && value[0] != '\0' ? value : NULL;
  return true;
}

/* `orch up` leaves the URL of its cluster in .orch/database-url; look here and above, as git does. A folder that
 * belongs to somebody else is not believed: its owner would choose our database. */
static bool private_cluster(struct cli *cli, const char **ret_url, struct err *err) {
  char folder[4096];
  if (getcwd(folder, sizeof folder) == NULL) return err_errno(err, errno, "cannot tell the current folder");
  for (int up = 0; up < FOLDERS_UP_MAX; up++) {
    const char *path = arena_printf(&cli->arena, "%s/.orch/database-url", strcmp(folder, "/") == 0 ? "" : folder);
    struct stat info;
    if (path != NULL && stat(path, &info) == 0 && (info.st_uid == geteuid() || info.st_uid == 0 || geteuid() == 0)) {
      return first_line(cli, path, ret_url, err);
    }
    char *slash = strrchr(folder, '/');
    if (slash == NULL || strcmp(folder, "/") == 0) break;
    slash[slash == folder ? 1 : 0] = '\0';
  }
  err_set(err, ERR_DB_DOWN,
          "no database: neither --database nor ORCH_DATABASE_URL is given and there is no .orch/ here");
  return err_hint(err, "'orch up' makes a private one in this folder");
}

bool cli_database_url(struct cli *cli, const char **ret_url, struct err *err) {
  const char *url = cli->database;
  if (url == NULL && !cli_env(cli, "ORCH_DATABASE_URL", &url, err)) return false;
  if (url == NULL && !private_cluster(cli, &url, err)) return false;
  *ret_url = url;
  return true;
}

const char *cli_actor(struct cli *cli) {
  const struct passwd *entry = getpwuid(geteuid());
  const char *name = entry != NULL ? entry->pw_name : NULL;
  const char *actor = name != NULL ? arena_printf(&cli->arena, "user:%s", name)
                                   : arena_printf(&cli->arena, "user:%ld", (long)geteuid());
  return actor != NULL ? actor : "user:unknown";
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
