/* Trees of the store: a folder and its manifest. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/store_private.h"

bool store_put_tree(struct store *store, const char *folder, const struct store_limits *limits,
                    struct store_ref *ret_ref, struct err *err) {
  CLEANUP(store_list_fini) struct store_list list = {0};
  if (!store_walk(folder, limits, &list, err)) return false;
  int64_t left = limits && limits->bytes ? limits->bytes : STORE_BYTES_DEFAULT, total = 0;
  for (size_t i = 0; i < list.count; i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s/%s", folder, list.items[i].path);
    struct store_ref ref;
    if (!store_put_file(store, path, left - total, &ref, err)) return false;
    memcpy(list.items[i].digest, ref.digest, sizeof ref.digest);
    list.items[i].size = ref.size;
    total += ref.size;
  }
  CLEANUP(mem_free_p) char *text = store_manifest_text(&list);
  struct store_ref ref;
  if (strlen(text) > STORE_MANIFEST_MAX) return err_set(err, ERR_LIMIT, "%s: too many files for one tree", folder);
  if (!store_put_bytes(store, text, strlen(text), &ref, err)) return false;
  ref.size = total;
  *ret_ref = ref;
  return true;
}

bool store_verify_tree(struct store *store, const char *digest, struct err *err) {
  CLEANUP(store_list_fini) struct store_list list = {0};
  if (!store_manifest_read(store, digest, &list, err)) return false;
  for (size_t i = 0; i < list.count; i++)
    if (!store_verify(store, list.items[i].digest, err)) return err_prefix(err, "%s", list.items[i].path);
  return true;
}

/* The folders above a file, below `folder`. */
static bool make_folders(const char *folder, const char *path, struct err *err) {
  for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
    CLEANUP(mem_free_p) char *part = mem_printf("%s/%.*s", folder, (int)(slash - path), path);
    if (!store_make_folder(part, 0755, err)) return false;
  }
  return true;
}

static bool fill(struct store *store, const struct store_list *list, const char *folder, struct err *err) {
  for (size_t i = 0; i < list->count; i++) {
    const struct store_entry *entry = &list->items[i];
    if (!make_folders(folder, entry->path, err)) return false;
    CLEANUP(mem_free_p) char *path = mem_printf("%s/%s", folder, entry->path);
    if (!store_get_file(store, entry->digest, path, entry->executable ? 0555 : 0444, err))
      return err_prefix(err, "%s", entry->path);
  }
  return true;
}

bool store_get_tree(struct store *store, const char *digest, const char *folder, struct err *err) {
  CLEANUP(store_list_fini) struct store_list list = {0};
  if (!store_manifest_read(store, digest, &list, err)) return false;
  CLEANUP(mem_free_p) char *partial = mem_printf("%s.partial-%016" PRIx64, folder, clock_random_u64());
  if (mkdir(partial, 0755) != 0) return err_errno(err, errno, "cannot make the folder %s", partial);
  bool fine = fill(store, &list, partial, err);
  /* Not plain rename(): that would replace an empty folder. */
  if (fine && renameat2(AT_FDCWD, partial, AT_FDCWD, folder, RENAME_NOREPLACE) != 0)
    fine = err_errno(err, errno, "cannot make the folder %s", folder);
  struct err ignored = {0};
  if (!fine && !store_remove_folder(partial, &ignored)) err_hint(err, "remove %s", partial);
  return fine;
}

static bool compare_file(const struct store_entry *want, const char *path, struct err *err) {
  CLEANUP(store_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  char found[DIGEST_TEXT_SIZE];
  if (fd < 0 && errno == ELOOP) return err_set(err, ERR_REFUSED, "%s was changed: it is a symbolic link", path);
  if (fd < 0) return err_errno(err, errno, "cannot read %s", path);
  if (!store_hash_fd(fd, -1, found, NULL, err)) return err_prefix(err, "%s", path);
  if (strcmp(found, want->digest) != 0)
    return err_set(err, ERR_REFUSED, "%s was changed: it is %s, not %s", path, found, want->digest);
  return true;
}

bool store_compare_tree(struct store *store, const char *digest, const char *folder, struct err *err) {
  CLEANUP(store_list_fini) struct store_list want = {0}, have = {0};
  if (!store_manifest_read(store, digest, &want, err) || !store_walk(folder, NULL, &have, err)) return false;
  for (size_t i = 0; i < want.count || i < have.count; i++) {
    int order = i >= want.count ? 1 : i >= have.count ? -1 : strcmp(want.items[i].path, have.items[i].path);
    if (order < 0) return err_set(err, ERR_REFUSED, "%s/%s is missing", folder, want.items[i].path);
    if (order > 0) return err_set(err, ERR_REFUSED, "%s/%s does not belong there", folder, have.items[i].path);
    if (want.items[i].executable != have.items[i].executable)
      return err_set(err, ERR_REFUSED, "%s/%s has another mode", folder, want.items[i].path);
    CLEANUP(mem_free_p) char *path = mem_printf("%s/%s", folder, want.items[i].path);
    if (!compare_file(&want.items[i], path, err)) return false;
  }
  return true;
}
