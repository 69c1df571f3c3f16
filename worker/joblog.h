/* The log of a running attempt: output goes line by line to a file, without secrets, and progress is picked out.
 *
 * A line ends at a newline or a carriage return; what is longer than JOBLOG_LINE_MAX goes on in pieces. Every text of
 * a secret is replaced by "***", also across the chunks that a pipe delivers. The file is capped; its end says so. */
#ifndef ORCH_WORKER_JOBLOG_H
#define ORCH_WORKER_JOBLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define JOBLOG_LINE_MAX 8192
#define JOBLOG_BYTES_MAX ((int64_t)64 << 20)
#define JOBLOG_SECRETS_MAX 64
#define JOBLOG_SECRET_LEAST 6 /* a shorter secret would hide words that say nothing */
#define JOBLOG_TEXT_MAX 200

/* "orch:progress 0.4 epoch 4 of 10": fraction in 0..1; the text is plain UTF-8, cut at JOBLOG_TEXT_MAX. */
typedef void joblog_progress_fn(void *arg, double fraction, const char *text);

struct joblog;
/* Creates the file (append; it may be there). `progress` may be NULL. NULL and ERR_IO. */
ORCH_MUST_CHECK struct joblog *joblog_open(const char *path, joblog_progress_fn *progress, void *arg, struct err *err);
/* Each line of the secret counts for itself, so that a key in PEM is hidden as well. */
void joblog_hide(struct joblog *log, const char *secret);
/* stream 0 is stdout, where progress is looked for; 1 is stderr. */
void joblog_add(struct joblog *log, unsigned stream, const char *bytes, size_t len);
/* Writes what stands without a newline yet: at the end of a process. */
void joblog_flush(struct joblog *log);
/* A line of the worker's own: "orch: …". */
void joblog_say(struct joblog *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The last line on stderr that was not blank, plain and cut at JOBLOG_TEXT_MAX: often says why a step failed. */
const char *joblog_last_error(const struct joblog *log);
void joblog_close(struct joblog *log); /* NULL is fine; flushes */

/* Whether a line (NUL-terminated, without its end) reports progress. */
bool joblog_parse_progress(const char *line, double *ret_fraction, char ret_text[JOBLOG_TEXT_MAX + 1]);

#endif
