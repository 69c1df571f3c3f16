/* Walking a folder for the store: listing, syncing, removing; never through a symbolic link. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "io/store_private.h"

struct walk {
  const char *root; /* real path */
  struct store_list *list;
  int64_t files, bytes; /* what may still come */
  struct err *err;
};

static bool name_is_utf8(const char *name) {
  /* The escape replaces what is not UTF-8, so a changed text was not: one rule for both. */
  CLEANUP(strbuf_fini_p) struct strbuf text;
  strbuf_init(&text, 4 * NAME_MAX);
  strbuf_add_mrkdwn(&text, name);
  return !strstr(strbuf_text(&text), "\xef\xbf\xbd");
}

/* A link counts as the file that it leads to, as long as that lies inside. */
static bool link_target(struct walk *walk, const char *path, struct stat *ret_st) {
  char *real = realpath(path, NULL);
  if (!real) return err_set(walk->err, ERR_INVALID, "%s is a symbolic link that leads nowhere", path);
  size_t len = strlen(walk->root);
  bool inside = strncmp(real, walk->root, len) == 0 && real[len] == '/';
  bool found = inside && stat(real, ret_st) == 0;
  free(real);
  if (!inside) return err_set(walk->err, ERR_INVALID, "%s is a symbolic link that leads out of its folder", path);
  if (!found || !S_ISREG(ret_st->st_mode))
    return err_set(walk->err, ERR_INVALID, "%s is a symbolic link to something else than a file", path);
  return true;
}

static bool walk_folder(struct walk *walk, const char *relative, unsigned depth);

static bool walk_entry(struct walk *walk, const char *relative, unsigned depth) {
  CLEANUP(mem_free_p) char *path = mem_printf("%s/%s", walk->root, relative);
  struct stat st;
  if (lstat(path, &st) != 0) return err_errno(walk->err, errno, "cannot look at %s", path);
  if (S_ISDIR(st.st_mode)) return walk_folder(walk, relative, depth + 1);
  if (S_ISLNK(st.st_mode) && !link_target(walk, path, &st)) return false;
  if (!S_ISREG(st.st_mode)) return err_set(walk->err, ERR_INVALID, "%s is neither a file nor a folder", path);
  if (walk->files-- <= 0) return err_set(walk->err, ERR_LIMIT, "%s holds too many files", walk->root);
  if (st.st_size > walk->bytes) return err_set(walk->err, ERR_LIMIT, "%s holds too many bytes", walk->root);
  walk->bytes -= st.st_size;
  struct store_entry *entry = store_list_add(walk->list, relative);
  entry->size = st.st_size;
  entry->executable = (st.st_mode & 0100) != 0;
  return true;
}

static bool walk_folder(struct walk *walk, const char *relative, unsigned depth) {
  CLEANUP(mem_free_p) char *path = mem_printf("%s%s%s", walk->root, *relative ? "/" : "", relative);
  if (depth > STORE_DEPTH_MAX) return err_set(walk->err, ERR_LIMIT, "%s is nested too deeply", path);
  DIR *dir = opendir(path);
  if (!dir) return err_errno(walk->err, errno, "cannot read the folder %s", path);
  bool fine = true;
  for (struct dirent *entry = readdir(dir); fine && entry; entry = readdir(dir)) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    if (!name_is_utf8(name)) {
      fine = err_set(walk->err, ERR_INVALID, "%s holds a name that is not UTF-8", path);
      break;
    }
    CLEANUP(mem_free_p) char *below = mem_printf("%s%s%s", relative, *relative ? "/" : "", name);
    fine = strlen(below) <= STORE_PATH_MAX ? walk_entry(walk, below, depth)
                                           : err_set(walk->err, ERR_LIMIT, "%s holds too long a path", walk->root);
  }
  closedir(dir);
  return fine;
}

bool store_walk(const char *folder, const struct store_limits *limits, struct store_list *list, struct err *err) {
  char *root = realpath(folder, NULL);
  if (!root) return err_errno(err, errno, "cannot read the folder %s", folder);
  struct walk walk = {.root = root, .list = list, .err = err};
  walk.files = limits && limits->files ? limits->files : STORE_FILES_DEFAULT;
  walk.bytes = limits && limits->bytes ? limits->bytes : STORE_BYTES_DEFAULT;
  bool fine = walk_folder(&walk, "", 0);
  free(root);
  if (fine) store_list_sort(list);
  return fine;
}

/* Calls itself for folders inside; `fd` is closed. */
static bool sync_below(int fd, unsigned depth, struct err *err) {
  DIR *dir = fdopendir(fd);
  if (!dir) {
    close(fd);
    return err_errno(err, errno, "cannot sync a folder");
  }
  bool fine = depth <= STORE_DEPTH_MAX || err_set(err, ERR_LIMIT, "folders are nested too deeply");
  for (struct dirent *entry = readdir(dir); fine && entry; entry = readdir(dir)) {
    const char *name = entry->d_name;
    struct stat st;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    if (fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) != 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
      continue;
    int below = openat(dirfd(dir), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (below < 0) {
      fine = err_errno(err, errno, "cannot sync %s", name);
    } else if (S_ISDIR(st.st_mode)) {
      fine = sync_below(below, depth + 1, err);
    } else {
      if (fsync(below) != 0) fine = err_errno(err, errno, "cannot sync %s", name);
      close(below);
    }
  }
  if (fine && fsync(dirfd(dir)) != 0) fine = err_errno(err, errno, "cannot sync a folder");
  closedir(dir);
  return fine;
}

bool store_sync_folder(const char *folder, struct err *err) {
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return err_errno(err, errno, "cannot sync %s", folder);
  return sync_below(fd, 0, err) || err_prefix(err, "%s", folder);
}

static bool remove_at(int parent, const char *name, unsigned depth, struct err *err) {
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return true;
  if (errno != EISDIR && errno != EPERM) return err_errno(err, errno, "cannot remove %s", name);
  if (depth > 4 * STORE_DEPTH_MAX) return err_set(err, ERR_LIMIT, "%s is nested too deeply to remove", name);
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0)
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return err_errno(err, errno, "cannot remove %s", name);
  int changed = fchmod(fd, 0700); /* a step may have made it read-only; a foreign folder will tell below */
  (void)changed;
  DIR *dir = fdopendir(fd);
  ORCH_ASSERT(dir != NULL);
  bool fine = true;
  for (struct dirent *entry = readdir(dir); fine && entry; entry = readdir(dir))
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      fine = remove_at(dirfd(dir), entry->d_name, depth + 1, err);
  closedir(dir);
  if (fine && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
    return err_errno(err, errno, "cannot remove %s", name);
  return fine;
}

bool store_remove_folder(const char *folder, struct err *err) {
  return remove_at(AT_FDCWD, folder, 0, err);
}
