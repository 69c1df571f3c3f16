#include "joblog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "stats/number.h"

#define PROGRESS_MARK "orch:progress "

struct stream {
  char text[JOBLOG_LINE_MAX + 1];
  size_t len;
};

struct joblog {
  int fd;
  int64_t left; /* bytes until the cap */
  struct stream streams[2];
  char *secrets[JOBLOG_SECRETS_MAX];
  size_t secret_count, longest;
  joblog_progress_fn *progress;
  void *arg;
  char last_error[JOBLOG_TEXT_MAX + 1];
};

struct joblog *joblog_open(const char *path, joblog_progress_fn *progress, void *arg, struct err *err) {
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd < 0) {
    err_errno(err, errno, "cannot write the log %s", path);
    return NULL;
  }
  struct joblog *log = mem_alloc(sizeof *log);
  log->fd = fd;
  log->left = JOBLOG_BYTES_MAX;
  log->progress = progress;
  log->arg = arg;
  return log;
}

void joblog_hide(struct joblog *log, const char *secret) {
  for (const char *at = secret; *at;) {
    size_t len = strcspn(at, "\r\n");
    if (len >= JOBLOG_SECRET_LEAST && len < JOBLOG_LINE_MAX / 2 && log->secret_count < JOBLOG_SECRETS_MAX) {
      log->secrets[log->secret_count++] = mem_strndup(at, len);
      if (len > log->longest) log->longest = len;
    }
    at += len + strspn(at + len, "\r\n");
  }
}

/* Losing a line of a log (a full disk) must not end a training that may go on. */
static void put(struct joblog *log, const char *bytes, size_t len) {
  static const char notice[] = "\norch: the log is full, what follows is dropped\n";
  if (log->left <= 0) return;
  size_t part = (int64_t)len < log->left ? len : (size_t)log->left;
  log->left -= (int64_t)part;
  for (size_t done = 0; done < part;) {
    ssize_t wrote = write(log->fd, bytes + done, part - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return;
    done += (size_t)wrote;
  }
  if (log->left == 0 && write(log->fd, notice, sizeof notice - 1) < 0) return;
}

/* Overwrites secrets in place: "***" is shorter than any of them. Returns the new length. */
static size_t redact(const struct joblog *log, char *text, size_t len) {
  for (size_t i = 0; i < log->secret_count; i++) {
    size_t secret_len = strlen(log->secrets[i]);
    for (char *at = memmem(text, len, log->secrets[i], secret_len); at;) {
      size_t rest = len - (size_t)(at - text) - secret_len;
      memcpy(at, "***", 3);
      memmove(at + 3, at + secret_len, rest);
      len -= secret_len - 3;
      at = memmem(at + 3, rest, log->secrets[i], secret_len);
    }
  }
  return len;
}

/* Valid UTF-8 without control characters, cut between two characters: it goes to a jsonb and to terminals. */
static void plain(const char *line, char ret_text[JOBLOG_TEXT_MAX + 1]) {
  CLEANUP(strbuf_fini_p) struct strbuf text;
  strbuf_init(&text, 5 * JOBLOG_LINE_MAX);
  strbuf_add_terminal(&text, line);
  size_t end = text.len < JOBLOG_TEXT_MAX ? text.len : JOBLOG_TEXT_MAX;
  while (end < text.len && end > 0 && ((unsigned char)strbuf_text(&text)[end] & 0xc0) == 0x80) end--;
  memcpy(ret_text, strbuf_text(&text), end);
  ret_text[end] = 0;
}

static void end_line(struct joblog *log, struct stream *stream, const char *end) {
  stream->text[stream->len] = 0;
  double fraction;
  char text[JOBLOG_TEXT_MAX + 1];
  size_t len = redact(log, stream->text, stream->len);
  stream->text[len] = 0;
  if (stream == &log->streams[0] && log->progress && strlen(stream->text) == len &&
      joblog_parse_progress(stream->text, &fraction, text))
    log->progress(log->arg, fraction, text);
  if (stream == &log->streams[1] && stream->text[strspn(stream->text, " \t")]) plain(stream->text, log->last_error);
  put(log, stream->text, len);
  put(log, end, strlen(end));
  stream->len = 0;
}

/* A line longer than the buffer: all but what could be the start of a secret goes out. */
static void spill(struct joblog *log, struct stream *stream) {
  stream->len = redact(log, stream->text, stream->len);
  size_t keep = log->longest ? log->longest - 1 : 0;
  if (stream->len <= keep) return;
  put(log, stream->text, stream->len - keep);
  memmove(stream->text, stream->text + stream->len - keep, keep);
  stream->len = keep;
}

void joblog_add(struct joblog *log, unsigned which, const char *bytes, size_t len) {
  struct stream *stream = &log->streams[which ? 1 : 0];
  for (size_t i = 0; i < len; i++) {
    if (bytes[i] == '\n' || bytes[i] == '\r') {
      end_line(log, stream, bytes[i] == '\n' ? "\n" : "\r");
      continue;
    }
    if (stream->len == JOBLOG_LINE_MAX) spill(log, stream);
    stream->text[stream->len++] = bytes[i];
  }
}

void joblog_flush(struct joblog *log) {
  for (size_t i = 0; i < ARRAY_LEN(log->streams); i++)
    if (log->streams[i].len) end_line(log, &log->streams[i], "\n");
}

void joblog_say(struct joblog *log, const char *fmt, ...) {
  char text[1024] = "orch: ";
  joblog_flush(log);
  va_list args;
  va_start(args, fmt);
  vsnprintf(text + 6, sizeof text - 7, fmt, args);
  va_end(args);
  size_t len = redact(log, text, strlen(text));
  put(log, text, len);
  put(log, "\n", 1);
}

const char *joblog_last_error(const struct joblog *log) {
  return log->last_error;
}

void joblog_close(struct joblog *log) {
  if (!log) return;
  joblog_flush(log);
  close(log->fd);
  for (size_t i = 0; i < log->secret_count; i++) mem_free_secret(log->secrets[i]);
  explicit_bzero(log->streams, sizeof log->streams);
  mem_free(log);
}

bool joblog_parse_progress(const char *line, double *ret_fraction, char ret_text[JOBLOG_TEXT_MAX + 1]) {
  if (strncmp(line, PROGRESS_MARK, sizeof PROGRESS_MARK - 1) != 0) return false;
  const char *number = line + sizeof PROGRESS_MARK - 1;
  size_t len = strcspn(number, " ");
  double fraction;
  if (!number_parse(number, len, &fraction) || !(fraction >= 0 && fraction <= 1)) return false;
  const char *rest = number + len + strspn(number + len, " ");
  plain(rest, ret_text);
  *ret_fraction = fraction;
  return true;
}
