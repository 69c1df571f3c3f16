/* Objects of the store: writing, reading, verifying. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/store_private.h"

struct store_writer {
  struct store *store;
  char *path; /* below tmp/ */
  int fd;
  struct digest_state *digest;
  int64_t size, max;
  bool failed;
  struct err err;
};

bool store_write_all(int fd, const void *bytes, size_t len, struct err *err) {
  for (const char *at = bytes; len > 0;) {
    ssize_t done = write(fd, at, len);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) {
      bool full = errno == ENOSPC || errno == EDQUOT;
      err_errno(err, errno, "cannot write");
      return full ? err_hint(err, "free some space there, then try again") : false;
    }
    at += done;
    len -= (size_t)done;
  }
  return true;
}

struct store_writer *store_writer_new(struct store *store, int64_t max_bytes) {
  struct store_writer *writer = mem_alloc(sizeof *writer);
  *writer = (struct store_writer){.store = store, .max = max_bytes, .digest = digest_new()};
  writer->path = mem_printf("%s/tmp/%d-%016" PRIx64, store->folder, (int)getpid(), clock_random_u64());
  writer->fd = open(writer->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (writer->fd < 0) {
    err_errno(&writer->err, errno, "cannot make a file in %s/tmp", store->folder);
    writer->failed = true;
  }
  return writer;
}

void store_writer_add(struct store_writer *writer, const void *bytes, size_t len) {
  if (writer->failed) return;
  if (writer->size > writer->max - (int64_t)len) {
    err_set(&writer->err, ERR_LIMIT, "more than %" PRId64 " bytes", writer->max);
    writer->failed = true;
    return;
  }
  if (!store_write_all(writer->fd, bytes, len, &writer->err)) {
    err_prefix(&writer->err, "store %s", writer->store->folder);
    writer->failed = true;
    return;
  }
  digest_add(writer->digest, bytes, len);
  writer->size += (int64_t)len;
}

static void writer_free(struct store_writer *writer, bool placed) {
  if (writer->fd >= 0) {
    close(writer->fd);
    if (!placed) unlink(writer->path);
  }
  digest_discard(writer->digest);
  mem_free(writer->path);
  mem_free(writer);
}

void store_writer_discard(struct store_writer *writer) {
  if (writer) writer_free(writer, false);
}

/* Renames over what is there: the name says that the bytes are the same, and if they are not, they are now. */
static bool place(struct store_writer *writer, const char *digest, struct err *err) {
  CLEANUP(mem_free_p) char *path = store_object_path(writer->store, digest);
  CLEANUP(mem_free_p) char *folder = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
  if (fchmod(writer->fd, 0444) != 0 || fsync(writer->fd) != 0)
    return err_errno(err, errno, "cannot sync a file in the store");
  if (rename(writer->path, path) != 0) return err_errno(err, errno, "cannot put %s into the store", digest);
  return store_sync_path(folder, err);
}

bool store_writer_commit(struct store_writer *writer, struct store_ref *ret_ref, struct err *err) {
  if (writer->failed) {
    if (err) *err = writer->err;
    writer_free(writer, false);
    return false;
  }
  struct store_ref ref = {.size = writer->size};
  uint8_t bytes[DIGEST_BYTES];
  digest_finish(writer->digest, bytes);
  writer->digest = NULL;
  digest_to_text(bytes, ref.digest);
  bool placed = place(writer, ref.digest, err);
  writer_free(writer, placed);
  if (placed && ret_ref) *ret_ref = ref;
  return placed;
}

bool store_put_bytes(struct store *store, const void *bytes, size_t len, struct store_ref *ret_ref, struct err *err) {
  struct store_writer *writer = store_writer_new(store, STORE_NO_LIMIT);
  store_writer_add(writer, bytes, len);
  return store_writer_commit(writer, ret_ref, err);
}

bool store_put_fd(struct store *store, int fd, int64_t max_bytes, struct store_ref *ret_ref, struct err *err) {
  struct store_writer *writer = store_writer_new(store, max_bytes);
  char chunk[STORE_CHUNK];
  while (!writer->failed) {
    ssize_t got = read(fd, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      err_errno(&writer->err, errno, "cannot read what is to be stored");
      writer->failed = true;
    }
    if (got <= 0) break;
    store_writer_add(writer, chunk, (size_t)got);
  }
  return store_writer_commit(writer, ret_ref, err);
}

bool store_hash_fd(int from, int to, char ret_digest[DIGEST_TEXT_SIZE], int64_t *ret_size, struct err *err) {
  struct digest_state *digest = digest_new();
  int64_t size = 0;
  char chunk[STORE_CHUNK];
  for (;;) {
    ssize_t got = read(from, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) err_errno(err, errno, "cannot read");
    if (got < 0 || (to >= 0 && !store_write_all(to, chunk, (size_t)got, err))) {
      digest_discard(digest);
      return false;
    }
    if (got == 0) break;
    digest_add(digest, chunk, (size_t)got);
    size += got;
  }
  uint8_t bytes[DIGEST_BYTES];
  digest_finish(digest, bytes);
  digest_to_text(bytes, ret_digest);
  if (ret_size) *ret_size = size;
  return true;
}

/* The same bytes are in the store already, intact: reading them is far cheaper than writing and syncing them again. */
static bool is_there(struct store *store, int fd, struct store_ref *ret_ref) {
  struct err ignored = {0}; /* whatever is wrong, writing will say it */
  struct store_ref ref;
  int64_t stored;
  if (!store_hash_fd(fd, -1, ref.digest, &ref.size, &ignored)) return false;
  if (!store_has(store, ref.digest, &stored) || stored != ref.size) return false;
  if (!store_verify(store, ref.digest, &ignored)) return false;
  if (ret_ref) *ret_ref = ref;
  return true;
}

bool store_put_file(struct store *store, const char *path, int64_t max_bytes, struct store_ref *ret_ref,
                    struct err *err) {
  CLEANUP(store_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0 && errno == ENOENT) return err_set(err, ERR_NOT_FOUND, "%s does not exist", path);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) return err_errno(err, errno, "cannot read %s", path);
  if (!S_ISREG(st.st_mode)) return err_set(err, ERR_INVALID, "%s is not a regular file", path);
  if (st.st_size <= max_bytes && is_there(store, fd, ret_ref)) return true;
  if (lseek(fd, 0, SEEK_SET) != 0) return err_errno(err, errno, "cannot read %s", path);
  if (!store_put_fd(store, fd, max_bytes, ret_ref, err)) return err_prefix(err, "%s", path);
  return true;
}

bool store_verify(struct store *store, const char *digest, struct err *err) {
  CLEANUP(store_close_fd) int fd = store_object_fd(store, digest, NULL, err);
  char found[DIGEST_TEXT_SIZE];
  if (fd < 0 || !store_hash_fd(fd, -1, found, NULL, err)) return false;
  return strcmp(found, digest) == 0 || store_corrupt(err, digest);
}

bool store_read(struct store *store, const char *digest, size_t max_bytes, char **ret_bytes, size_t *ret_len,
                struct err *err) {
  int64_t size;
  CLEANUP(store_close_fd) int fd = store_object_fd(store, digest, &size, err);
  if (fd < 0) return false;
  if ((uint64_t)size > max_bytes) return err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", digest, max_bytes);
  CLEANUP(mem_free_p) char *bytes = mem_alloc((size_t)size + 1);
  size_t len = 0;
  while (len < (size_t)size) {
    ssize_t got = read(fd, bytes + len, (size_t)size - len);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return err_errno(err, errno, "cannot read %s from the store", digest);
    if (got == 0) break;
    len += (size_t)got;
  }
  uint8_t hash[DIGEST_BYTES];
  char found[DIGEST_TEXT_SIZE];
  digest_bytes(bytes, len, hash);
  digest_to_text(hash, found);
  if (strcmp(found, digest) != 0) return store_corrupt(err, digest);
  *ret_bytes = bytes;
  if (ret_len) *ret_len = len;
  bytes = NULL;
  return true;
}

bool store_get_file(struct store *store, const char *digest, const char *path, unsigned mode, struct err *err) {
  CLEANUP(store_close_fd) int from = store_object_fd(store, digest, NULL, err);
  if (from < 0) return false;
  CLEANUP(store_close_fd) int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (to < 0) return err_errno(err, errno, "cannot make %s", path);
  char found[DIGEST_TEXT_SIZE];
  bool fine = store_hash_fd(from, to, found, NULL, err);
  if (fine && strcmp(found, digest) != 0) fine = store_corrupt(err, digest);
  if (fine && fchmod(to, mode) != 0) fine = err_errno(err, errno, "cannot set the mode of %s", path);
  if (!fine) unlink(path);
  return fine;
}
