#include "conf/bundle_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/yaml.h"

#define IGNORE_BYTES_MAX ((size_t)64 << 10)
#define PATTERNS_MAX 500
#define ARENA_MAX ((size_t)32 << 20)

bool bundle_link_stays(const char *path, const char *target) {
  if (target[0] == '/' || target[0] == '\0') return false;
  int depth = 0;
  for (const char *c = path; *c != '\0'; c++) depth += *c == '/';
  for (const char *at = target; *at != '\0';) {
    size_t len = strcspn(at, "/");
    if (len == 2 && strncmp(at, "..", 2) == 0) {
      if (--depth < 0) return false;
    } else if (len > 0 && !(len == 1 && *at == '.')) {
      depth++;
    }
    at += len + (at[len] == '/');
  }
  return true;
}

static bool add_pattern(struct bundle_list *list, const char *line, size_t len, unsigned number, struct err *err) {
  while (len > 0 && strchr(" \t\r", line[len - 1]) != NULL) len--;
  if (len == 0 || line[0] == '#') return true;
  if (line[0] == '!') {
    return err_set(err, ERR_INVALID, ".orchignore:%u: '!' is not supported yet, expected a glob to leave out", number);
  }
  if (list->pattern_count == PATTERNS_MAX) {
    return err_set(err, ERR_LIMIT, ".orchignore has more than %d patterns", PATTERNS_MAX);
  }
  list->patterns[list->pattern_count++] = arena_strndup(&list->arena, line, len);
  return true;
}

bool bundle_list_read_patterns(struct bundle_list *list, const char *folder, struct err *err) {
  *list = (struct bundle_list){0};
  arena_init(&list->arena, ARENA_MAX);
  list->patterns = mem_calloc(PATTERNS_MAX, sizeof *list->patterns);
  CLEANUP(mem_free_p) char *path = mem_printf("%s/.orchignore", folder);
  CLEANUP(mem_free_p) char *text = NULL;
  size_t len = 0;
  struct err missing = {0};
  if (!yaml_tree_read_file(path, IGNORE_BYTES_MAX, &text, &len, &missing)) {
    if (missing.code == ERR_NOT_FOUND) return true;
    if (err != NULL) *err = missing;
    return false;
  }
  unsigned number = 1;
  for (const char *at = text; at < text + len; number++) {
    size_t line = strcspn(at, "\n");
    if (!add_pattern(list, at, line, number, err)) return false;
    at += line + 1;
  }
  return true;
}

void bundle_list_fini(struct bundle_list *list) {
  arena_fini(&list->arena);
  mem_free(list->patterns);
  mem_free(list->entries);
}

static bool always_ignored(const char *name, bool is_folder) {
  if (is_folder) return strcmp(name, ".git") == 0 || strcmp(name, ".orch") == 0 || strcmp(name, "__pycache__") == 0;
  return fnmatch("*.pyc", name, 0) == 0 || strcmp(name, ".git") == 0; /* a worktree's .git is a file */
}

bool bundle_list_ignores(const struct bundle_list *list, const char *path, bool is_folder) {
  const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
  if (always_ignored(name, is_folder)) return true;
  for (size_t i = 0; i < list->pattern_count; i++) {
    char pattern[BUNDLE_PATH_MAX + 1];
    size_t len = strlen(list->patterns[i]);
    if (len > BUNDLE_PATH_MAX) continue;
    memcpy(pattern, list->patterns[i], len + 1);
    bool folders_only = pattern[len - 1] == '/';
    if (folders_only) pattern[--len] = '\0';
    if (folders_only && !is_folder) continue;
    const char *glob = pattern[0] == '/' ? pattern + 1 : pattern;
    bool whole = strchr(pattern, '/') != NULL;
    if (fnmatch(glob, whole ? path : name, whole ? FNM_PATHNAME : 0) == 0) return true;
  }
  return false;
}

static bool add_entry(struct bundle_list *list, const struct bundle_entry *entry, struct err *err) {
  if (list->count == BUNDLE_FILES_MAX) {
    err_set(err, ERR_LIMIT, "the folder has more than %d files", BUNDLE_FILES_MAX);
    return err_hint(err, "leave out what the steps do not need by .orchignore");
  }
  list->bytes += entry->size;
  if (list->bytes > BUNDLE_BYTES_MAX) {
    err_set(err, ERR_LIMIT, "the folder's files have more than %lld MiB, at %.200s",
            (long long)(BUNDLE_BYTES_MAX >> 20), entry->path);
    return err_hint(err, "leave out what the steps do not need by .orchignore");
  }
  if (list->count == list->room) {
    list->room = list->room > 0 ? 2 * list->room : 64;
    list->entries = mem_realloc(list->entries, list->room * sizeof *list->entries);
  }
  list->entries[list->count++] = *entry;
  return true;
}

/* A link must stay inside by its text and, where it points now, in fact. */
static bool add_link(struct bundle_list *list, int folder, const char *name, const char *path, const char *root,
                     struct err *err) {
  char target[BUNDLE_PATH_MAX + 1], real[PATH_MAX];
  ssize_t len = readlinkat(folder, name, target, sizeof target - 1);
  if (len < 0) return err_errno(err, errno, "cannot read the link %s", path);
  if (len >= BUNDLE_PATH_MAX) return err_set(err, ERR_LIMIT, "the link %.200s is too long", path);
  target[len] = '\0';
  CLEANUP(mem_free_p) char *full = mem_printf("%s/%s", root, path);
  size_t root_len = strlen(root);
  if (!bundle_link_stays(path, target) || realpath(full, real) == NULL || strncmp(real, root, root_len) != 0 ||
      real[root_len] != '/') {
    err_set(err, ERR_INVALID, "the link %.200s leaves the folder or leads nowhere (to %.100s)", path, target);
    return err_hint(err, "put the file itself there, or leave the link out by .orchignore");
  }
  struct bundle_entry entry = {.path = path, .link = arena_strdup(&list->arena, target)};
  return entry.link != NULL ? add_entry(list, &entry, err) : err_set(err, ERR_LIMIT, "too many files");
}

static bool walk(struct bundle_list *list, int folder, const char *prefix, const char *root, unsigned depth,
                 struct err *err);

static bool add_name(struct bundle_list *list, int folder, const char *prefix, const char *name, const char *root,
                     unsigned depth, struct err *err) {
  struct stat info;
  const char *path = arena_printf(&list->arena, "%s%s", prefix, name);
  if (path == NULL || strlen(path) > BUNDLE_PATH_MAX) {
    return err_set(err, ERR_LIMIT, "a path is longer than %d bytes or there are too many: %.200s", BUNDLE_PATH_MAX,
                   prefix);
  }
  if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return err_errno(err, errno, "cannot look at %s", path);
  if (bundle_list_ignores(list, path, S_ISDIR(info.st_mode))) return true;
  if (S_ISLNK(info.st_mode)) return add_link(list, folder, name, path, root, err);
  if (S_ISREG(info.st_mode)) {
    struct bundle_entry entry = {.path = path, .size = info.st_size, .executable = (info.st_mode & 0111) != 0};
    return add_entry(list, &entry, err);
  }
  if (!S_ISDIR(info.st_mode)) {
    err_set(err, ERR_INVALID, "%.200s is no file, folder or link", path);
    return err_hint(err, "leave it out by .orchignore");
  }
  if (depth == BUNDLE_DEPTH_MAX) return err_set(err, ERR_LIMIT, "%.200s is too deep a folder", path);
  int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (inner < 0) return err_errno(err, errno, "cannot open %s", path);
  const char *inner_prefix = arena_printf(&list->arena, "%s/", path);
  if (inner_prefix == NULL) {
    close(inner);
    return err_set(err, ERR_LIMIT, "too many files");
  }
  return walk(list, inner, inner_prefix, root, depth + 1, err);
}

/* Takes `folder` over and closes it. */
static bool walk(struct bundle_list *list, int folder, const char *prefix, const char *root, unsigned depth,
                 struct err *err) {
  DIR *dir = fdopendir(folder);
  if (dir == NULL) {
    int errnum = errno;
    close(folder);
    return err_errno(err, errnum, "cannot read the folder %s", prefix);
  }
  bool fine = true;
  while (fine) {
    errno = 0;
    const struct dirent *entry = readdir(dir);
    if (entry == NULL) {
      if (errno != 0) fine = err_errno(err, errno, "cannot read the folder %s", prefix);
      break;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    fine = add_name(list, dirfd(dir), prefix, entry->d_name, root, depth, err);
  }
  closedir(dir);
  return fine;
}

static int by_path(const void *a, const void *b) {
  return strcmp(((const struct bundle_entry *)a)->path, ((const struct bundle_entry *)b)->path);
}

bool bundle_list_read(struct bundle_list *list, const char *folder, struct err *err) {
  char root[PATH_MAX];
  if (!bundle_list_read_patterns(list, folder, err)) return false;
  if (realpath(folder, root) == NULL) return err_errno(err, errno, "cannot find the folder %s", folder);
  int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return err_errno(err, errno, "cannot open the folder %s", folder);
  if (!walk(list, fd, "", root, 0, err)) return false;
  if (list->count > 1) qsort(list->entries, list->count, sizeof list->entries[0], by_path);
  return true;
}
