#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/mem.h"
#include "stats/profile.h"

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
}

/* -1 and *ret_absent when there is no such file. A step may have put anything there: only a regular file is read. */
static int open_file(const char *folder, const char *name, bool *ret_absent, struct err *err) {
  CLEANUP(mem_free_p) char *path = mem_printf("%s/%s", folder, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  struct stat st;
  *ret_absent = fd < 0 && errno == ENOENT;
  if (*ret_absent) return -1;
  if (fd < 0) {
    err_errno(err, errno, "cannot read %s", name);
    return -1;
  }
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    close(fd);
    err_set(err, ERR_INVALID, "%s is not a regular file", name);
    return -1;
  }
  return fd;
}

struct check {
  size_t numbers;
  struct err *err;
};

static bool check_value(struct check *check, const char *key, json_t *value, unsigned depth) {
  if (strlen(key) > METRICS_NAME_MAX) return err_set(check->err, ERR_LIMIT, "metrics.json: a name is too long");
  if (json_is_number(value)) {
    if (!isfinite(json_number_value(value)))
      return err_set(check->err, ERR_INVALID, "metrics.json: '%s' is not a finite number", key);
    if (++check->numbers > METRICS_NUMBERS_MAX)
      return err_set(check->err, ERR_LIMIT, "metrics.json holds more than %d numbers", METRICS_NUMBERS_MAX);
    return true;
  }
  if (!json_is_object(value))
    return err_set(check->err, ERR_INVALID, "metrics.json: '%s' is neither a number nor a map of numbers", key);
  if (depth >= METRICS_DEPTH_MAX) return err_set(check->err, ERR_LIMIT, "metrics.json is nested too deeply");
  const char *name;
  json_t *member;
  json_object_foreach(value, name, member) {
    if (!check_value(check, name, member, depth + 1)) return false;
  }
  return true;
}

bool metrics_check(const char *text, size_t len, struct err *err) {
  json_error_t where;
  json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
  if (!root) {
    err_set(err, ERR_INVALID, "metrics.json line %d column %d: %s", where.line, where.column, where.text);
    return err_hint(err, "NaN and Infinity are no JSON: leave such a metric out");
  }
  struct check check = {.err = err};
  bool fine = json_is_object(root) ? check_value(&check, "", root, 0)
                                   : err_set(err, ERR_INVALID, "metrics.json must hold a map of numbers");
  json_decref(root);
  return fine;
}

bool metrics_read(const char *folder, char **ret, struct err *err) {
  bool absent;
  CLEANUP(close_fd) int fd = open_file(folder, "metrics.json", &absent, err);
  if (absent) *ret = NULL;
  if (fd < 0) return absent;
  CLEANUP(mem_free_p) char *text = mem_alloc(METRICS_BYTES_MAX + 1);
  size_t len = 0;
  for (;;) {
    ssize_t got = read(fd, text + len, METRICS_BYTES_MAX + 1 - len);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return err_errno(err, errno, "cannot read metrics.json");
    if (got == 0) break;
    len += (size_t)got;
    if (len > METRICS_BYTES_MAX)
      return err_set(err, ERR_LIMIT, "metrics.json is larger than %d bytes", METRICS_BYTES_MAX);
  }
  if (!metrics_check(text, len, err)) return false;
  *ret = text;
  text = NULL;
  return true;
}

static bool feed_all(struct profile_csv *csv, int fd, struct err *err) {
  char chunk[16384];
  for (;;) {
    ssize_t got = read(fd, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return err_errno(err, errno, "cannot read the file");
    if (got == 0) return true;
    if (!profile_csv_feed(csv, chunk, (size_t)got, err)) return false;
  }
}

bool metrics_profile(const char *folder, char **ret, struct err *err) {
  bool absent;
  CLEANUP(close_fd) int fd = open_file(folder, "profile.csv", &absent, err);
  if (absent) *ret = NULL;
  if (fd < 0) return absent;
  struct profile_csv *csv = profile_csv_new();
  struct profile *profile = feed_all(csv, fd, err) ? profile_csv_finish(csv, err) : NULL;
  profile_csv_free(csv);
  if (!profile) return err_prefix(err, "profile.csv");
  CLEANUP(strbuf_fini_p) struct strbuf bytes;
  strbuf_init(&bytes, PROFILE_ENCODED_MAX);
  profile_encode(profile, &bytes);
  profile_free(profile);
  if (bytes.failed) return err_set(err, ERR_LIMIT, "profile.csv makes too large a profile");
  char *text = mem_alloc(4 * ((bytes.len + 2) / 3) + 1);
  digest_base64((const uint8_t *)strbuf_text(&bytes), bytes.len, text);
  *ret = text;
  return true;
}
