#include "rollout/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

static const int artifacts_kept = 5;
static const unsigned copies_max = 8; /* of one artifact, when earlier ones turned out damaged */
static const size_t state_max = 4096;

/* ---- the folder ---- */

static bool make_folders(const char *path, struct err *err) {
  char *copy = mem_strdup(path);
  bool ok = true;
  for (char *p = copy + 1; ok; p++) {
    if (*p && *p != '/') continue;
    char kept = *p;
    *p = '\0';
    if (mkdir(copy, 0755) != 0 && errno != EEXIST) ok = err_errno(err, errno, "cannot make the folder %s", copy);
    *p = kept;
    if (!kept) break;
  }
  mem_free(copy);
  return ok;
}

static bool find_link(struct place *place, const struct rollout_options *options, const char *path, struct err *err) {
  size_t len = strlen(path);
  while (len > 1 && path[len - 1] == '/') len--;
  char *name = mem_strndup(path, len);
  place->link = name[0] == '/' ? mem_strdup(name) : mem_printf("%s/%s", options->base, name);
  mem_free(name);
  char *slash = strrchr(place->link, '/');
  const char *last = slash + 1;
  if (!*last || strcmp(last, ".") == 0 || strcmp(last, "..") == 0 || strlen(place->link) > PATH_MAX - 200)
    return err_set(err, ERR_INVALID, "the driver's path '%.200s' does not name a link", path);
  place->parent = mem_strndup(place->link, slash > place->link ? (size_t)(slash - place->link) : 1);
  place->folder = mem_printf("%s/.%s.orch", strcmp(place->parent, "/") == 0 ? "" : place->parent, last);
  struct stat info;
  if (lstat(place->link, &info) == 0 && !S_ISLNK(info.st_mode)) {
    err_set(err, ERR_INVALID, "%s exists and is no symbolic link", place->link);
    return err_hint(err, "move it away: orch replaces only links");
  }
  return true;
}

static bool name_is_sane(const char *pipeline) {
  return *pipeline && strlen(pipeline) <= 63 &&
         strspn(pipeline, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(pipeline);
}

bool place_open(struct place *place, const struct rollout_options *options, const struct rollout_move *move,
                struct err *err) {
  *place = (struct place){.lock_fd = -1};
  const char *path = json_string_value(json_object_get(json_object_get(move->driver, "symlink"), "path"));
  bool command = json_is_array(json_object_get(json_object_get(move->driver, "command"), "run"));
  if (!name_is_sane(move->pipeline)) return err_set(err, ERR_INVALID, "not a pipeline's name");
  if (!digest_is_text(move->artifact)) return err_set(err, ERR_INVALID, "the version has no artifact");
  if (!path == !command) return err_set(err, ERR_INVALID, "the rollout driver is neither a symlink nor a command");
  bool ok = true;
  if (path)
    ok = find_link(place, options, path, err);
  else
    place->folder = mem_printf("%s/.orch/rollout/%s", options->base, move->pipeline);
  if (ok) {
    char *versions = mem_printf("%s/versions", place->folder);
    ok = make_folders(versions, err);
    mem_free(versions);
  }
  if (!ok) place_close(place);
  return ok;
}

void place_close(struct place *place) {
  if (place->lock_fd >= 0) close(place->lock_fd);
  mem_free(place->folder);
  mem_free(place->link);
  mem_free(place->parent);
  mem_free(place->artifact);
  *place = (struct place){.lock_fd = -1};
}

/* ---- the artifact ---- */

static bool exists(const char *path) {
  struct stat info;
  return lstat(path, &info) == 0;
}

bool place_materialise(struct place *place, const struct rollout_options *options, const struct rollout_move *move,
                       struct err *err) {
  const char *hex = move->artifact + strlen("sha256:");
  for (unsigned copy = 0; copy < copies_max; copy++) {
    char *folder = copy ? mem_printf("%s/versions/%s.%u", place->folder, hex, copy)
                        : mem_printf("%s/versions/%s", place->folder, hex);
    bool there = exists(folder);
    bool ok = there ? store_compare_tree(options->store, move->artifact, folder, err)
                    : store_get_tree(options->store, move->artifact, folder, err) && store_sync_folder(folder, err);
    if (!ok && !there && exists(folder)) { /* another process was faster */
      there = true;
      ok = store_compare_tree(options->store, move->artifact, folder, err);
    }
    if (ok) {
      utimensat(AT_FDCWD, folder, NULL, 0); /* in use: tidying looks at the time */
      place->artifact = folder;
      place->copied = !there;
      return true;
    }
    mem_free(folder);
    /* A damaged copy may be what is live: it is left alone and another is made. */
    if (!there || err->code != ERR_REFUSED) return false;
  }
  return err_set(err, ERR_IO, "every copy of the artifact below %s is damaged", place->folder);
}

static int64_t modified_ns(const char *folder, const char *name) {
  char *path = mem_printf("%s/%s", folder, name);
  struct stat info;
  int64_t at = lstat(path, &info) == 0 ? (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec : 0;
  mem_free(path);
  return at;
}

struct aged {
  char name[NAME_MAX + 1];
  int64_t at_ns;
};

static int newest_first(const void *a, const void *b) {
  int64_t left = ((const struct aged *)a)->at_ns, right = ((const struct aged *)b)->at_ns;
  return left < right ? 1 : left > right ? -1 : 0;
}

void place_tidy(struct place *place) {
  char *folder = mem_printf("%s/versions", place->folder);
  DIR *dir = opendir(folder);
  struct aged *found = mem_calloc(64, sizeof(*found));
  size_t count = 0;
  const char *live = strrchr(place->artifact, '/') + 1;
  for (struct dirent *entry = dir ? readdir(dir) : NULL; entry && count < 64; entry = readdir(dir)) {
    /* Only finished copies: what the store is writing has another shape of name, and belongs to somebody. */
    if (strspn(entry->d_name, "0123456789abcdef") < 64 || strcmp(entry->d_name, live) == 0) continue;
    snprintf(found[count].name, sizeof(found[count].name), "%s", entry->d_name);
    found[count].at_ns = modified_ns(folder, entry->d_name);
    count++;
  }
  if (dir) closedir(dir);
  qsort(found, count, sizeof(*found), newest_first);
  for (size_t i = (size_t)artifacts_kept - 1; i < count; i++) {
    char *path = mem_printf("%s/%s", folder, found[i].name);
    struct err ignored = {0};
    if (!store_remove_folder(path, &ignored)) count = 0;
    mem_free(path);
  }
  mem_free(found);
  mem_free(folder);
}

/* ---- the lock and the fence ---- */

static void name_holder(int fd, char *out, size_t size) {
  char text[32] = {0};
  ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
  if (got > 0)
    snprintf(out, size, "process %ld", strtol(text, NULL, 10));
  else
    snprintf(out, size, "another process");
}

bool place_lock(struct place *place, int64_t wait_ms, struct err *err) {
  char *path = mem_printf("%s/lock", place->folder);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  int errnum = errno;
  mem_free(path);
  if (fd < 0) return err_errno(err, errnum, "cannot open the lock in %s", place->folder);
  int64_t until_us = clock_mono_us() + wait_ms * 1000;
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if ((errno != EWOULDBLOCK && errno != EINTR) || clock_mono_us() >= until_us) {
      char holder[64];
      name_holder(fd, holder, sizeof(holder));
      close(fd);
      err_set(err, ERR_TIMEOUT, "%s holds the rollout lock in %s", holder, place->folder);
      return err_hint(err, "if it hangs, end it: the lock goes with it");
    }
    usleep(5000);
  }
  char pid[32];
  int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
  if (ftruncate(fd, 0) == 0 && pwrite(fd, pid, (size_t)len, 0) < 0) errno = 0; /* for people only */
  place->lock_fd = fd;
  return true;
}

static bool write_durably(const char *folder, const char *name, const char *text, struct err *err) {
  char *path = mem_printf("%s/%s", folder, name), *temporary = mem_printf("%s/%s.tmp", folder, name);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fsync(fd) == 0 &&
            rename(temporary, path) == 0;
  if (!ok) err_errno(err, errno, "cannot write %s", path);
  if (fd >= 0) close(fd);
  int dir = ok ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (ok && (dir < 0 || fsync(dir) != 0)) ok = err_errno(err, errno, "cannot sync %s", folder);
  if (dir >= 0) close(dir);
  mem_free(path);
  mem_free(temporary);
  return ok;
}

/* NULL without an error when nothing was recorded yet. */
static bool read_state(const struct place *place, json_t **ret, struct err *err) {
  char *path = mem_printf("%s/state.json", place->folder);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  int errnum = errno;
  char *text = mem_alloc(state_max);
  ssize_t got = fd >= 0 ? read(fd, text, state_max - 1) : 0;
  if (fd >= 0) close(fd);
  json_t *state = got > 0 ? json_loadb(text, (size_t)got, JSON_REJECT_DUPLICATES, NULL) : NULL;
  mem_free(text);
  bool ok = true;
  if (fd < 0 && errnum != ENOENT)
    ok = err_errno(err, errnum, "cannot read %s", path);
  else if (fd >= 0 && !json_is_integer(json_object_get(state, "generation"))) {
    /* It is written by rename, so this was not us; guessing could let an old process win. */
    err_set(err, ERR_INVALID, "%s is damaged", path);
    ok = err_hint(err, "look at what is live, then remove the file");
  }
  mem_free(path);
  if (ok)
    *ret = state;
  else
    json_decref(state);
  return ok;
}

bool place_claim(struct place *place, const struct rollout_move *move, struct err *err) {
  json_t *state = NULL;
  if (!read_state(place, &state, err)) return false;
  int64_t newest = json_integer_value(json_object_get(state, "generation"));
  bool converged = json_is_true(json_object_get(state, "converge"));
  long long version = json_integer_value(json_object_get(state, "version"));
  bool first = state == NULL;
  json_decref(state);
  if (!first && (newest > move->generation || (newest == move->generation && converged && !move->converge)))
    return err_set(err, ERR_LEASE_LOST, "deployment %lld came too late: deployment %lld has set version %lld since",
                   (long long)move->generation, (long long)newest, version);
  char at[CLOCK_RFC3339_SIZE];
  clock_format_rfc3339(clock_wall_us(), at);
  state = json_pack("{s:I, s:b, s:s, s:I, s:s, s:s}", "generation", (json_int_t)move->generation, "converge",
                    move->converge, "pipeline", move->pipeline, "version", (json_int_t)move->version, "artifact",
                    move->artifact, "at", at);
  char *text = json_dumps(state, JSON_INDENT(2));
  bool ok = write_durably(place->folder, "state.json", text, err);
  free(text);
  json_decref(state);
  return ok;
}
