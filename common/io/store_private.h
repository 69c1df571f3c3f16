/* What the store's own files share: paths, the copy loop, walking a folder, manifests. */
#ifndef ORCH_IO_STORE_PRIVATE_H
#define ORCH_IO_STORE_PRIVATE_H

#include <sys/types.h>

#include "base/mem.h"
#include "io/store.h"

#define STORE_CHUNK (32 * 1024)
#define STORE_DEPTH_MAX 64
#define STORE_PATH_MAX 4000
#define STORE_MANIFEST_MAX ((size_t)64 << 20)
#define STORE_FILES_DEFAULT 100000
#define STORE_BYTES_DEFAULT ((int64_t)1 << 40)

struct store {
  char *folder; /* absolute; never changes after store_open(), hence any thread may read it */
};

/* For CLEANUP(). */
void store_close_fd(int *fd);

/* Writes all; ERR_IO. */
ORCH_MUST_CHECK bool store_write_all(int fd, const void *bytes, size_t len, struct err *err);
/* Opens an object for reading; the digest is checked to be one. */
ORCH_MUST_CHECK int store_object_fd(struct store *store, const char *digest, int64_t *ret_size, struct err *err);
/* Reads `from` to its end, hashing, and writes to `to` unless that is -1. */
ORCH_MUST_CHECK bool store_hash_fd(int from, int to, char ret_digest[DIGEST_TEXT_SIZE], int64_t *ret_size,
                                   struct err *err);
bool store_corrupt(struct err *err, const char *digest);
/* Syncs a folder's entries. */
ORCH_MUST_CHECK bool store_sync_path(const char *path, struct err *err);
/* mkdir that is content with a folder being there. */
ORCH_MUST_CHECK bool store_make_folder(const char *path, unsigned mode, struct err *err);

/* One file of a tree. */
struct store_entry {
  char *path; /* relative, slashes, no "." or ".." */
  char digest[DIGEST_TEXT_SIZE];
  int64_t size;
  bool executable;
};

struct store_list {
  struct store_entry *items;
  size_t count, room;
};
struct store_entry *store_list_add(struct store_list *list, const char *path);
void store_list_sort(struct store_list *list); /* by the bytes of the path */
void store_list_fini(struct store_list *list);

/* Every file below `folder`, sorted, without digests; the rules of store_put_tree(). */
ORCH_MUST_CHECK bool store_walk(const char *folder, const struct store_limits *limits, struct store_list *list,
                                struct err *err);

/* A manifest's canonical text; mem_free() it. */
char *store_manifest_text(const struct store_list *list);
/* Reads and checks the manifest object of a tree. */
ORCH_MUST_CHECK bool store_manifest_read(struct store *store, const char *digest, struct store_list *list,
                                         struct err *err);

#endif
