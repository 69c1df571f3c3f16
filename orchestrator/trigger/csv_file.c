#include "trigger/csv_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "stats/hash.h"

#define RANGE_BYTES (256 * 1024) /* stays in the processor's cache between the copy and the parsing */
#define TAIL_BYTES 1024          /* read behind a range for the end of its last record; more when it is longer */
#define COPY_BYTES (64 * 1024)

/* Up to `len` bytes from `offset`; fewer only at the end of the file. Negative after an error. */
static ssize_t read_at(const struct csv_file *file, uint64_t offset, char *ret, size_t len, struct err *err) {
  size_t got = 0;
  while (got < len) {
    ssize_t n = pread(file->fd, ret + got, len - got, (off_t)(offset + got));
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      err_errno(err, errno, "%s: reading failed", file->name);
      return -1;
    }
    got += (size_t)n;
  }
  return (ssize_t)got;
}

/* ---- opening ---- */

static const char *temporary_folder(void) {
  const char *folder = getenv("TMPDIR");
  return folder && *folder ? folder : "/tmp";
}

static int nameless_file(struct err *err) {
  const char *folder = temporary_folder();
  char path[4096];
  int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  snprintf(path, sizeof path, "%s/orch-XXXXXX", folder);
  fd = mkostemp(path, O_CLOEXEC);
  if (fd >= 0) {
    unlink(path);
    return fd;
  }
  err_errno(err, errno, "no temporary file can be made in %s", folder);
  err_hint(err, "set TMPDIR to a folder that can be written to");
  return -1;
}

static bool write_all(int fd, const char *bytes, size_t len) {
  while (len) {
    ssize_t n = write(fd, bytes, len);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes += n;
    len -= (size_t)n;
  }
  return true;
}

static bool copy_failed(const struct csv_file *file, uint64_t written, struct err *err) {
  err_errno(err, errno, "the copy of %s in %s failed after %llu bytes", file->name, temporary_folder(),
            (unsigned long long)written);
  return err_hint(err, "set TMPDIR to a folder with more room, or name a file instead of a pipe");
}

/* A pipe can be read once and in order only: its copy takes its place. */
static bool spool(struct csv_file *file, struct err *err) {
  int copy = nameless_file(err);
  if (copy < 0) return false;
  char *chunk = mem_alloc(COPY_BYTES);
  uint64_t written = 0;
  bool fine = true;
  for (ssize_t n; fine; written += (uint64_t)n) {
    n = read(file->fd, chunk, COPY_BYTES);
    if (n == 0) break;
    if (n < 0 && errno == EINTR) {
      n = 0;
      continue;
    }
    if (n < 0)
      fine = err_errno(err, errno, "%s: reading failed", file->name);
    else if (!write_all(copy, chunk, (size_t)n))
      fine = copy_failed(file, written, err);
  }
  mem_free(chunk);
  close(file->fd);
  file->fd = copy;
  return fine;
}

/* What is not separated by commas would be one column of texts that nobody meant. */
static bool check_separator(const struct csv_file *file, uint64_t line, struct err *err) {
  const char *name = file->columns[0], *other = strpbrk(name, ";\t|");
  if (file->n_columns > 1 || !other) return true;
  err_set(err, ERR_INVALID, "line %llu: one column \"%.100s\"", (unsigned long long)line, name);
  return err_hint(err, "fields must be separated by commas, not by %s",
                  *other == '\t'  ? "tabs"
                  : *other == '|' ? "bars"
                                  : "semicolons");
}

/* Old Macs end lines with CR alone: all of the file is then one line. */
static bool check_line_ends(const char *name, uint64_t line, struct err *err) {
  const char *cr = strchr(name, '\r');
  if (!cr || cr[1] == '\n') return true;
  err_set(err, ERR_INVALID, "line %llu: a carriage return inside of the header", (unsigned long long)line);
  return err_hint(err, "lines must end with a line feed: tr '\\r' '\\n' makes them so");
}

static bool take_header(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct csv_file *file = arg;
  file->columns = mem_calloc(n, sizeof file->columns[0]);
  file->n_columns = n;
  for (size_t i = 0; i < n; i++) {
    const char *name = fields[i].text;
    for (size_t j = 0; *name && j < i; j++)
      if (strcmp(file->columns[j], name) == 0)
        return err_set(err, ERR_INVALID, "line %llu: column \"%.100s\" is named twice", (unsigned long long)line, name);
    file->columns[i] = mem_strdup(name);
    if (!check_line_ends(name, line, err)) return false;
  }
  return check_separator(file, line, err);
}

static bool is_gzip(const struct csv_file *file) {
  unsigned char magic[2];
  return pread(file->fd, magic, sizeof magic, 0) == sizeof magic && magic[0] == 0x1f && magic[1] == 0x8b;
}

/* Feeds line by line until the header is whole; then it is known where the body begins. */
static bool read_header(struct csv_file *file, struct err *err) {
  struct csv_reader *reader = csv_reader_new(take_header, file);
  char *chunk = mem_alloc(COPY_BYTES);
  bool fine = true;
  while (fine && file->columns == NULL) {
    ssize_t got = read_at(file, file->body, chunk, COPY_BYTES, err);
    if (got <= 0) {
      fine = got == 0 && csv_reader_finish(reader, err);
      break;
    }
    for (const char *at = chunk, *end = chunk + got; fine && at < end && file->columns == NULL;) {
      const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline + 1 : end;
      fine = csv_reader_feed(reader, at, (size_t)(stop - at), err);
      file->body += (uint64_t)(stop - at);
      at = stop;
    }
  }
  csv_reader_free(reader);
  mem_free(chunk);
  if (!fine && err->code != ERR_IO) return err_prefix(err, "%s", file->name);
  if (fine && file->columns == NULL)
    return err_set(err, ERR_INVALID, "%s is empty: a header line with the names of the columns was expected",
                   file->name);
  return fine;
}

bool csv_file_open(struct csv_file *file, const char *path, struct err *err) {
  bool is_stdin = strcmp(path, "-") == 0;
  struct stat status;
  *file = (struct csv_file){.name = is_stdin ? "standard input" : path, .fd = -1};
  file->fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
  if (file->fd < 0 && errno == ENOENT) return err_set(err, ERR_NOT_FOUND, "there is no file %s", path);
  if (file->fd < 0 || fstat(file->fd, &status) != 0) return err_errno(err, errno, "%s cannot be opened", file->name);
  if (S_ISDIR(status.st_mode)) return err_set(err, ERR_INVALID, "%s is a folder, not a CSV file", file->name);
  /* Standard input may be a file that somebody has read from already. */
  if ((is_stdin || !S_ISREG(status.st_mode)) && !spool(file, err)) return false;
  if (fstat(file->fd, &status) != 0) return err_errno(err, errno, "%s cannot be read", file->name);
  file->size = (uint64_t)status.st_size;
  if (is_gzip(file)) {
    err_set(err, ERR_INVALID, "%s is compressed", file->name);
    return err_hint(err, "unpack it: zcat %s | orch drift …, with - in its place", is_stdin ? "FILE" : file->name);
  }
  return read_header(file, err);
}

void csv_file_close(struct csv_file *file) {
  for (size_t i = 0; file->columns && i < file->n_columns; i++) mem_free(file->columns[i]);
  mem_free(file->columns);
  if (file->fd >= 0) close(file->fd);
  *file = (struct csv_file){.fd = -1};
}

/* ---- ranges ---- */

static uint64_t body_bytes(const struct csv_file *file) {
  return file->size > file->body ? file->size - file->body : 0;
}

void csv_ranges_all(struct csv_ranges *ranges, const struct csv_file *file) {
  *ranges = (struct csv_ranges){
      .n = (body_bytes(file) + RANGE_BYTES - 1) / RANGE_BYTES, .step = RANGE_BYTES, .width = RANGE_BYTES};
}

void csv_ranges_sample(struct csv_ranges *ranges, const struct csv_file *file, uint64_t n, uint64_t width,
                       uint64_t seed) {
  uint64_t step = body_bytes(file) / n;
  if (step <= width) {
    csv_ranges_all(ranges, file);
    return;
  }
  *ranges = (struct csv_ranges){.n = n, .step = step, .width = width, .seed = seed};
}

/* One thread's buffer, with FASTCSV_PADDING bytes before and behind it. */
struct window {
  char *memory, *bytes;
  size_t size;
};

/* Makes `window` hold the file from `from` up to the first newline at or behind `until` (a newline is added to a last
 * record that has none). Returns the length; 0 after an error (`err` set) or when there is no such newline within a
 * record's largest size (odd). */
static size_t window_fill(const struct csv_file *file, struct window *window, uint64_t from, uint64_t until,
                          struct err *err) {
  size_t least = (size_t)(until - from), have = 0;
  for (size_t want = least + TAIL_BYTES;; want *= 2) {
    if (want > window->size) {
      window->size = want;
      window->memory = mem_realloc(window->memory, want + 1 + 2 * FASTCSV_PADDING);
      window->bytes = window->memory + FASTCSV_PADDING;
    }
    ORCH_ASSERT(window->bytes != NULL);
    ssize_t got = read_at(file, from + have, window->bytes + have, want - have, err);
    if (got < 0) return 0;
    have += (size_t)got;
    const char *newline = have > least ? memchr(window->bytes + least, '\n', have - least) : NULL;
    if (newline) return (size_t)(newline + 1 - window->bytes);
    if (have < want) {
      window->bytes[have++] = '\n';
      return have;
    }
    if (want - least > 2 * CSV_RECORD_MAX) return 0;
  }
}

/* The records that begin in [from, until). */
static enum csv_outcome read_range(const struct csv_file *file, struct window *window, uint64_t from, uint64_t until,
                                   struct fastcsv *csv, struct err *err) {
  bool first = from == file->body;
  if (until > file->size) until = file->size;
  if (from >= until) return CSV_DONE;
  err->code = ERR_NONE;
  uint64_t begin = first ? from : from - 1; /* a newline just before the range makes a record begin with it */
  size_t len = window_fill(file, window, begin, until - 1, err);
  if (len == 0) return err->code == ERR_NONE ? CSV_ODD : CSV_FAILED;
  const char *text = window->bytes;
  if (!first) {
    const char *newline = memchr(text, '\n', len);
    text = newline ? newline + 1 : text + len;
  }
  return fastcsv_feed(csv, text, (size_t)(window->bytes + len - text)) ? CSV_DONE : CSV_ODD;
}

enum csv_outcome csv_file_read(const struct csv_file *file, struct csv_ranges *ranges, struct fastcsv *csv,
                               struct err *err) {
  struct window window = {0};
  enum csv_outcome outcome = CSV_DONE;
  while (outcome == CSV_DONE && !atomic_load_explicit(&ranges->stop, memory_order_relaxed)) {
    uint64_t number = atomic_fetch_add_explicit(&ranges->next, 1, memory_order_relaxed);
    if (number >= ranges->n) break;
    uint64_t from = file->body + number * ranges->step;
    if (ranges->step > ranges->width) from += hash_more(ranges->seed, number) % (ranges->step - ranges->width + 1);
    outcome = read_range(file, &window, from, from + ranges->width, csv, err);
  }
  if (outcome != CSV_DONE) atomic_store(&ranges->stop, true);
  mem_free(window.memory);
  return outcome;
}

/* ---- the exact reader ---- */

struct exact {
  const struct csv_file *file;
  struct fastcsv *csv;
  uint64_t seed, record, chance; /* chance of 2^64 */
  bool header_done;
};

static bool take_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct exact *exact = arg;
  if (!exact->header_done) {
    exact->header_done = true;
    return true;
  }
  if (n != exact->file->n_columns)
    return err_set(err, ERR_INVALID, "line %llu: %zu fields, but the header names %zu columns",
                   (unsigned long long)line, n, exact->file->n_columns);
  if (exact->chance == UINT64_MAX || hash_more(exact->seed, exact->record) < exact->chance)
    fastcsv_take(exact->csv, fields);
  exact->record++;
  return true;
}

bool csv_file_read_exact(const struct csv_file *file, double share, uint64_t seed, struct fastcsv *csv,
                         struct err *err) {
  struct exact exact = {.file = file, .csv = csv, .seed = seed};
  exact.chance = share >= 1 ? UINT64_MAX : (uint64_t)(share * 0x1p64);
  struct csv_reader *reader = csv_reader_new(take_record, &exact);
  char *chunk = mem_alloc(COPY_BYTES);
  bool fine = true;
  uint64_t at = 0;
  for (ssize_t got; fine && (got = read_at(file, at, chunk, COPY_BYTES, err)) != 0; at += (uint64_t)got) {
    fine = got > 0;
    if (fine && !csv_reader_feed(reader, chunk, (size_t)got, err)) fine = err_prefix(err, "%s", file->name);
  }
  if (fine && !csv_reader_finish(reader, err)) fine = err_prefix(err, "%s", file->name);
  csv_reader_free(reader);
  mem_free(chunk);
  return fine;
}
