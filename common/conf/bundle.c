/* Packing: the list of files becomes a tar whose bytes depend on names, modes and contents alone. */
#include "conf/bundle.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "conf/bundle_list.h"

struct packing {
  bundle_sink *sink;
  void *arg;
  struct digest_state *digest;
  int64_t bytes;
  struct err *err;
  bool sink_failed;
};

static la_ssize_t take_bytes(struct archive *archive, void *arg, const void *bytes, size_t len) {
  struct packing *p = arg;
  digest_add(p->digest, bytes, len);
  p->bytes += (int64_t)len;
  if (p->sink != NULL && !p->sink(p->arg, bytes, len, p->err)) {
    p->sink_failed = true;
    return -1;
  }
  return (la_ssize_t)len;
}

static bool archive_failed(struct packing *p, struct archive *archive, const char *path, struct err *err) {
  if (p->sink_failed) return false; /* the sink has filled `err` */
  const char *why = archive_error_string(archive);
  return err_set(err, ERR_IO, "cannot pack %.200s: %s", path, why != NULL ? why : "unknown");
}

static bool pack_content(struct packing *p, struct archive *archive, int folder, const struct bundle_entry *entry,
                         struct err *err) {
  int fd = openat(folder, entry->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return err_errno(err, errno, "cannot open %s", entry->path);
  int64_t left = entry->size;
  bool fine = true;
  char buffer[65536];
  while (fine && left > 0) {
    size_t want = left < (int64_t)sizeof buffer ? (size_t)left : sizeof buffer;
    ssize_t got = read(fd, buffer, want);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      fine = err_errno(err, errno, "cannot read %s", entry->path);
    } else if (got == 0) {
      fine = err_set(err, ERR_IO, "%.200s became shorter while it was packed", entry->path);
    } else if (archive_write_data(archive, buffer, (size_t)got) != got) {
      fine = archive_failed(p, archive, entry->path, err);
    } else {
      left -= got;
    }
  }
  close(fd);
  return fine;
}

static bool pack_entry(struct packing *p, struct archive *archive, int folder, const struct bundle_entry *entry,
                       struct err *err) {
  struct archive_entry *header = archive_entry_new();
  ORCH_ASSERT(header != NULL);
  archive_entry_set_pathname(header, entry->path);
  archive_entry_set_mtime(header, 0, 0);
  archive_entry_set_uid(header, 0);
  archive_entry_set_gid(header, 0);
  if (entry->link != NULL) {
    archive_entry_set_filetype(header, AE_IFLNK);
    archive_entry_set_symlink(header, entry->link);
    archive_entry_set_perm(header, 0777);
    archive_entry_set_size(header, 0);
  } else {
    archive_entry_set_filetype(header, AE_IFREG);
    archive_entry_set_perm(header, entry->executable ? 0755 : 0644);
    archive_entry_set_size(header, entry->size);
  }
  bool fine = archive_write_header(archive, header) == ARCHIVE_OK || archive_failed(p, archive, entry->path, err);
  archive_entry_free(header);
  return fine && (entry->link != NULL || pack_content(p, archive, folder, entry, err));
}

static bool pack_all(struct packing *p, int folder, const struct bundle_list *list, struct err *err) {
  struct archive *archive = archive_write_new();
  ORCH_ASSERT(archive != NULL);
  /* Names are bytes: the locale must not decide what the tar holds. */
  archive_write_set_format_pax_restricted(archive);
  archive_write_set_options(archive, "hdrcharset=BINARY");
  archive_write_set_bytes_per_block(archive, 10240);
  bool fine = archive_write_open(archive, p, NULL, take_bytes, NULL) == ARCHIVE_OK ||
              archive_failed(p, archive, "the folder", err);
  for (size_t i = 0; fine && i < list->count; i++) fine = pack_entry(p, archive, folder, &list->entries[i], err);
  if (fine) fine = archive_write_close(archive) == ARCHIVE_OK || archive_failed(p, archive, "the end", err);
  if (!fine) archive_write_fail(archive);
  archive_write_free(archive);
  return fine;
}

bool bundle_pack(const char *folder, bundle_sink *sink, void *arg, struct bundle_info *ret, struct err *err) {
  struct bundle_list list;
  struct packing p = {.sink = sink, .arg = arg, .err = err};
  bool fine = bundle_list_read(&list, folder, err);
  int fd = fine ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (fine && fd < 0) fine = err_errno(err, errno, "cannot open the folder %s", folder);
  if (fine) {
    uint8_t bytes[DIGEST_BYTES];
    p.digest = digest_new();
    fine = pack_all(&p, fd, &list, err);
    digest_finish(p.digest, bytes);
    if (fine) {
      digest_to_text(bytes, ret->digest);
      ret->bytes = p.bytes;
      ret->files = (unsigned)list.count;
    }
  }
  if (fd >= 0) close(fd);
  bundle_list_fini(&list);
  return fine;
}

/* A folder above that is left out takes the file with it. */
bool bundle_leaves_out(const char *folder, const char *path, bool *ret_left_out, struct err *err) {
  struct bundle_list list;
  bool fine = bundle_list_read_patterns(&list, folder, err), left_out = false;
  for (const char *slash = path; fine && (slash = strchr(slash, '/')) != NULL; slash++) {
    CLEANUP(mem_free_p) char *above = mem_strndup(path, (size_t)(slash - path));
    left_out = left_out || bundle_list_ignores(&list, above, true);
  }
  if (fine) *ret_left_out = left_out || bundle_list_ignores(&list, path, false);
  bundle_list_fini(&list);
  return fine;
}
