/* The content-addressed store: every artifact, snapshot, bundle and log is a file named by the SHA-256 of its bytes.
 *
 * Layout of the folder (ORCH_STORE):
 *     sha256/ab/cdef…   objects, mode 0444; the two parts of the path are the 64 digits of the digest
 *     tmp/              files being written; leftovers of a crash are removed by store_open() after a day
 *     logs/             output of running jobs, see store_log_path(); logs of attempts that were lost with their worker
 *                       stay here and are removed by store_open() after 32 days
 *
 * An object is hashed while it is written beside its place, synced, and renamed into it, so a reader sees all of it or
 * nothing, whatever is killed. Reading functions hash again and refuse what does not match (ERR_INTERNAL, "corrupt").
 *
 * A folder becomes a tree: a manifest object (canonical JSON, sorted by path) that lists path, mode, size and digest of
 * every file; the manifest's digest names the whole tree. Empty folders are not recorded.
 *
 * All functions are synchronous, keep no state between calls and may run in any thread, also several at once on one
 * store: use uv_queue_work() for anything of size. `digest` arguments are text, "sha256:…". */
#ifndef ORCH_IO_STORE_H
#define ORCH_IO_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"

struct store;

/* Opens the folder and makes it when it is missing. Errors: ERR_USAGE for a location that is not a folder's path
 * (s3://…, https://…), ERR_IO. Free with store_close(). */
ORCH_MUST_CHECK struct store *store_open(const char *location, struct err *err);
void store_close(struct store *store);               /* NULL is fine */
const char *store_folder(const struct store *store); /* absolute */

/* ---- objects ---- */

#define STORE_NO_LIMIT INT64_MAX

/* A digest as it travels through the interfaces: always complete text. */
struct store_ref {
  char digest[DIGEST_TEXT_SIZE];
  int64_t size; /* bytes of the object; of a tree: of all its files together */
};

/* Durable when true is returned. Errors: ERR_IO, ERR_LIMIT when there are more than max_bytes. */
ORCH_MUST_CHECK bool store_put_bytes(struct store *store, const void *bytes, size_t len, struct store_ref *ret_ref,
                                     struct err *err);
/* Reads a regular file (and writes nothing when the store holds these bytes already, intact), or with `_fd` any
 * descriptor up to its end (it stays open). */
ORCH_MUST_CHECK bool store_put_file(struct store *store, const char *path, int64_t max_bytes, struct store_ref *ret_ref,
                                    struct err *err);
ORCH_MUST_CHECK bool store_put_fd(struct store *store, int fd, int64_t max_bytes, struct store_ref *ret_ref,
                                  struct err *err);

/* Writing piece by piece. Errors are kept until store_writer_commit(), which frees in every case. */
struct store_writer;
struct store_writer *store_writer_new(struct store *store, int64_t max_bytes);
void store_writer_add(struct store_writer *writer, const void *bytes, size_t len);
ORCH_MUST_CHECK bool store_writer_commit(struct store_writer *writer, struct store_ref *ret_ref, struct err *err);
void store_writer_discard(struct store_writer *writer); /* NULL is fine */

/* Whether an object with this name is there (its bytes are not looked at). */
bool store_has(struct store *store, const char *digest, int64_t *ret_size);
/* Hashes the object again. ERR_NOT_FOUND; ERR_INTERNAL when it is corrupt. */
ORCH_MUST_CHECK bool store_verify(struct store *store, const char *digest, struct err *err);
/* All bytes, verified, with a NUL behind them; mem_free() them. ERR_NOT_FOUND, ERR_LIMIT beyond max_bytes. */
ORCH_MUST_CHECK bool store_read(struct store *store, const char *digest, size_t max_bytes, char **ret_bytes,
                                size_t *ret_len, struct err *err);
/* A descriptor to read from (close it), NOT verified: for sending large objects on. -1 on error. */
ORCH_MUST_CHECK int store_open_object(struct store *store, const char *digest, int64_t *ret_size, struct err *err);
/* A verified copy at `path`, which must not exist yet; `mode` is usually 0444. Nothing is left at `path` on error.
 * Copies, never links: a step may run as root and write through any mode, and the store must not notice. */
ORCH_MUST_CHECK bool store_get_file(struct store *store, const char *digest, const char *path, unsigned mode,
                                    struct err *err);
/* Where the object lies in the file system; for tests and messages. mem_free() it. */
char *store_object_path(const struct store *store, const char *digest);

/* ---- trees ---- */

struct store_limits {
  int64_t files; /* 0 = 100 000 */
  int64_t bytes; /* 0 = 1 TiB */
};

/* Stores every file below `folder` and the manifest last. Symbolic links to files inside the folder are stored as the
 * file they lead to; ERR_INVALID for links that lead outside or to folders, for devices, sockets and pipes, and for
 * names that are not UTF-8; ERR_LIMIT beyond `limits` (NULL for the defaults). */
ORCH_MUST_CHECK bool store_put_tree(struct store *store, const char *folder, const struct store_limits *limits,
                                    struct store_ref *ret_ref, struct err *err);
/* Hashes the manifest and every file of the tree again. */
ORCH_MUST_CHECK bool store_verify_tree(struct store *store, const char *digest, struct err *err);
/* Builds the tree as `folder`, which must not exist yet (its parent must): read-only files, verified while copied, in
 * a folder beside it that is renamed at the end, so `folder` is complete or absent. */
ORCH_MUST_CHECK bool store_get_tree(struct store *store, const char *digest, const char *folder, struct err *err);
/* Compares an existing folder with the tree: same files, same bytes, same modes, nothing more. ERR_REFUSED and the
 * first difference otherwise. For what was materialised earlier and is about to be relied on. */
ORCH_MUST_CHECK bool store_compare_tree(struct store *store, const char *digest, const char *folder, struct err *err);
/* Makes everything below a folder durable; for a materialised tree that must survive a power cut. */
ORCH_MUST_CHECK bool store_sync_folder(const char *folder, struct err *err);
/* Removes a folder and all below it; never follows links. Fine when it is not there. */
ORCH_MUST_CHECK bool store_remove_folder(const char *folder, struct err *err);

/* ---- logs of running jobs ---- */

/* The file that a worker appends a running job's output to: logs/JOB-LEASE.log. When the job ends, the worker seals
 * the log as an object, names its digest in the job's result, and removes the file only after that was committed. A
 * follower therefore opens this file while the job runs, keeps reading what it opened, and once the job has ended
 * reads to the end of what it holds; without the file it reads the sealed object. mem_free() the path. */
char *store_log_path(const struct store *store, int64_t job, int64_t lease);

#endif
