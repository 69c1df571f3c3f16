/* Unpacking a bundle without trusting it: every name is checked here and libarchive's own guards stay on. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/bundle_list.h"

#define BLOCK_BYTES ((size_t)64 << 10)

struct unpacking {
  struct archive *in;
  int folder;
  int64_t bytes;
  unsigned entries;
};

static bool name_is_safe(const char *path) {
  if (path == NULL || path[0] == '/' || path[0] == '\0' || strlen(path) > BUNDLE_PATH_MAX) return false;
  unsigned depth = 0;
  for (const char *at = path; *at != '\0';) {
    size_t len = strcspn(at, "/");
    if (len == 0 || len > 255 || (len == 1 && *at == '.') || (len == 2 && strncmp(at, "..", 2) == 0)) return false;
    if (++depth > BUNDLE_DEPTH_MAX + 1) return false;
    at += len + (at[len] == '/');
  }
  return true;
}

static bool refused(const char *path, const char *why, struct err *err) {
  return err_set(err, ERR_INVALID, "the bundle is refused: '%.200s' %s", path != NULL ? path : "(no name)", why);
}

/* Opens the folder that holds `path`, making those in between; a link on the way is refused by O_NOFOLLOW. */
static int open_parent(int folder, const char *path, const char **ret_name, struct err *err) {
  int at = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (const char *slash; at >= 0 && (slash = strchr(path, '/')) != NULL && slash[1] != '\0'; path = slash + 1) {
    CLEANUP(mem_free_p) char *part = mem_strndup(path, (size_t)(slash - path));
    int inner = -1;
    if (mkdirat(at, part, 0755) == 0 || errno == EEXIST) {
      inner = openat(at, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    }
    int errnum = errno;
    close(at);
    errno = errnum;
    at = inner;
  }
  if (at < 0) {
    err_errno(err, errno, "cannot make the folder of %s", path);
  } else {
    *ret_name = path;
  }
  return at;
}

static bool copy_content(struct unpacking *u, int out, const char *path, struct err *err) {
  for (;;) {
    const void *block;
    size_t len;
    la_int64_t offset;
    int got = archive_read_data_block(u->in, &block, &len, &offset);
    if (got == ARCHIVE_EOF) return true;
    if (got != ARCHIVE_OK) return refused(path, "cannot be read", err);
    u->bytes += (int64_t)len;
    if (u->bytes > BUNDLE_BYTES_MAX || offset > BUNDLE_BYTES_MAX) {
      return err_set(err, ERR_LIMIT, "the bundle unpacks to more than %lld MiB", (long long)(BUNDLE_BYTES_MAX >> 20));
    }
    for (size_t done = 0; done < len;) {
      ssize_t put = pwrite(out, (const char *)block + done, len - done, offset + (la_int64_t)done);
      if (put < 0 && errno != EINTR) return err_errno(err, errno, "cannot write %s", path);
      if (put > 0) done += (size_t)put;
    }
  }
}

static bool unpack_file(struct unpacking *u, int parent, const char *name, const char *path, mode_t mode,
                        struct err *err) {
  int out = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (out < 0 && errno == EEXIST) return refused(path, "comes twice", err);
  if (out < 0) return err_errno(err, errno, "cannot make %s", path);
  bool fine = copy_content(u, out, path, err);
  if (close(out) != 0 && fine) fine = err_errno(err, errno, "cannot write %s", path);
  return fine;
}

static bool unpack_entry(struct unpacking *u, struct archive_entry *entry, struct err *err) {
  const char *path = archive_entry_pathname(entry), *link = archive_entry_symlink(entry), *name = NULL;
  mode_t type = archive_entry_filetype(entry);
  if (++u->entries > BUNDLE_FILES_MAX) return err_set(err, ERR_LIMIT, "the bundle has over %d files", BUNDLE_FILES_MAX);
  if (!name_is_safe(path)) return refused(path, "is no path inside the folder", err);
  if (archive_entry_hardlink(entry) != NULL) return refused(path, "is a hard link", err);
  if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK) return refused(path, "is no file or folder", err);
  if (type == AE_IFLNK && (link == NULL || !bundle_link_stays(path, link))) {
    return refused(path, "is a link that leaves the folder", err);
  }
  int parent = open_parent(u->folder, path, &name, err);
  if (parent < 0) return false;
  bool fine = true;
  if (type == AE_IFREG) {
    fine = unpack_file(u, parent, name, path, (archive_entry_perm(entry) & 0111) != 0 ? 0755 : 0644, err);
  } else if (type == AE_IFLNK && symlinkat(link, parent, name) != 0) {
    fine = errno == EEXIST ? refused(path, "comes twice", err) : err_errno(err, errno, "cannot make %s", path);
  } else if (type == AE_IFDIR && mkdirat(parent, name, 0755) != 0 && errno != EEXIST) {
    fine = err_errno(err, errno, "cannot make %s", path);
  }
  close(parent);
  return fine;
}

static bool unpack_all(struct unpacking *u, int fd, struct err *err) {
  archive_read_support_format_tar(u->in); /* and no compression: a small file cannot become a large one */
  archive_read_set_options(u->in, "hdrcharset=BINARY");
  if (archive_read_open_fd(u->in, fd, BLOCK_BYTES) != ARCHIVE_OK) return refused("it", "is no tar archive", err);
  for (;;) {
    struct archive_entry *entry;
    int got = archive_read_next_header(u->in, &entry);
    if (got == ARCHIVE_EOF) return true;
    if (got != ARCHIVE_OK) return refused("it", "is damaged or no tar archive", err);
    if (!unpack_entry(u, entry, err)) return false;
  }
}

bool bundle_extract(int fd, const char *folder, struct err *err) {
  struct unpacking u = {.folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (u.folder < 0) return err_errno(err, errno, "cannot open the folder %s", folder);
  u.in = archive_read_new();
  ORCH_ASSERT(u.in != NULL);
  bool fine = unpack_all(&u, fd, err);
  archive_read_free(u.in);
  close(u.folder);
  return fine;
}
