#include "io/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/store_private.h"

#define LEFTOVER_SECONDS 86400
#define LOG_SECONDS (32 * 86400) /* a job may run for 30 days, and be silent all the while */

void store_close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
}

bool store_make_folder(const char *path, unsigned mode, struct err *err) {
  if (mkdir(path, mode) == 0) return true;
  int why = errno;
  struct stat st;
  if (why == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return true;
  return err_errno(err, why, "cannot make the folder %s", path);
}

bool store_sync_path(const char *path, struct err *err) {
  CLEANUP(store_close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0) return err_errno(err, errno, "cannot sync %s", path);
  return true;
}

/* The folder itself with its missing parents. */
static bool make_parents(const char *location, struct err *err) {
  CLEANUP(mem_free_p) char *path = mem_strdup(location);
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    if (!store_make_folder(path, 0755, err)) return false;
    *slash = '/';
  }
  return store_make_folder(path, 0750, err);
}

/* All 256 folders at once: later writers never have to make one durable first. */
static bool make_layout(const char *folder, struct err *err) {
  static const char *const parts[] = {"tmp", "logs", "sha256"};
  for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s/%s", folder, parts[i]);
    if (!store_make_folder(path, 0750, err)) return false;
  }
  CLEANUP(mem_free_p) char *last = mem_printf("%s/sha256/ff", folder);
  if (access(last, F_OK) == 0) return true;
  for (unsigned i = 0; i < 256; i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s/sha256/%02x", folder, i);
    if (!store_make_folder(path, 0750, err)) return false;
  }
  CLEANUP(mem_free_p) char *objects = mem_printf("%s/sha256", folder);
  return store_sync_path(objects, err) && store_sync_path(folder, err);
}

/* What a killed writer left; a living one writes, so that its file is young. */
static void sweep(const char *folder, const char *part, int64_t older_seconds) {
  CLEANUP(mem_free_p) char *path = mem_printf("%s/%s", folder, part);
  DIR *dir = opendir(path);
  if (!dir) return;
  int64_t now = clock_wall_us() / 1000000;
  for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
    struct stat st;
    if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(st.st_mode) && now - (int64_t)st.st_mtime > older_seconds) unlinkat(dirfd(dir), entry->d_name, 0);
  }
  closedir(dir);
}

struct store *store_open(const char *location, struct err *err) {
  if (!location || !*location || strstr(location, "://") || strlen(location) > PATH_MAX / 2) {
    err_set(err, ERR_USAGE, "the store must be a local folder, not '%s'", location ? location : "");
    err_hint(err, "set ORCH_STORE to the path of a folder");
    return NULL;
  }
  if (!make_parents(location, err)) return NULL;
  char *folder = realpath(location, NULL);
  if (!folder) {
    err_errno(err, errno, "cannot open the store %s", location);
    return NULL;
  }
  if (!make_layout(folder, err)) {
    free(folder);
    return NULL;
  }
  sweep(folder, "tmp", LEFTOVER_SECONDS);
  sweep(folder, "logs", LOG_SECONDS);
  struct store *store = mem_alloc(sizeof *store);
  store->folder = folder;
  return store;
}

void store_close(struct store *store) {
  if (!store) return;
  mem_free(store->folder);
  mem_free(store);
}

const char *store_folder(const struct store *store) {
  return store->folder;
}

char *store_object_path(const struct store *store, const char *digest) {
  ORCH_ASSERT(digest_is_text(digest));
  return mem_printf("%s/sha256/%.2s/%s", store->folder, digest + 7, digest + 9);
}

char *store_log_path(const struct store *store, int64_t job, int64_t lease) {
  return mem_printf("%s/logs/%" PRId64 "-%" PRId64 ".log", store->folder, job, lease);
}

bool store_corrupt(struct err *err, const char *digest) {
  err_set(err, ERR_INTERNAL, "%s is corrupt in the store: its bytes are not what its name says", digest);
  return err_hint(err, "restore it from a backup, or store the same bytes again");
}

int store_object_fd(struct store *store, const char *digest, int64_t *ret_size, struct err *err) {
  if (!digest_is_text(digest)) {
    err_set(err, ERR_INVALID, "'%s' is no digest", digest ? digest : "");
    return -1;
  }
  CLEANUP(mem_free_p) char *path = store_object_path(store, digest);
  CLEANUP(store_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) {
    err_set(err, ERR_NOT_FOUND, "%s is not in the store %s", digest, store->folder);
    return -1;
  }
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) {
    err_errno(err, errno, "cannot open %s in the store", digest);
    return -1;
  }
  if (ret_size) *ret_size = st.st_size;
  int taken = fd;
  fd = -1;
  return taken;
}

int store_open_object(struct store *store, const char *digest, int64_t *ret_size, struct err *err) {
  return store_object_fd(store, digest, ret_size, err);
}

bool store_has(struct store *store, const char *digest, int64_t *ret_size) {
  if (!digest_is_text(digest)) return false;
  CLEANUP(mem_free_p) char *path = store_object_path(store, digest);
  struct stat st;
  if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) return false;
  if (ret_size) *ret_size = st.st_size;
  return true;
}
