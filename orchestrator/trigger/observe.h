/* Observations as they come in: NDJSON, one row of a model's inputs a line, judged line by line.
 *
 * A bad line is reported with its number and does not spoil the batch; accepted lines are kept byte for byte, so what
 * is stored is what was sent. A row is one JSON object of columns. The keys `at` and `timestamp` (RFC 3339) say when
 * the row happened; everything else is a column. Pure: no I/O. */
#ifndef ORCH_TRIGGER_OBSERVE_H
#define ORCH_TRIGGER_OBSERVE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "trigger/row.h"

#define OBSERVE_BODY_MAX (8 * 1024 * 1024) /* bytes of one request's body */
#define OBSERVE_ERRORS_MAX 100             /* rejected lines that are named; all are counted */

struct observe_error {
  uint64_t line; /* from 1 */
  char text[160];
};

struct observe_batch {
  struct strbuf accepted; /* the accepted lines, each with one newline */
  int rows;               /* lines in it */
  uint64_t rejected;      /* lines refused */
  size_t n_errors;        /* the first of them, named */
  struct observe_error errors[OBSERVE_ERRORS_MAX];
};

/* Judges a whole body. Blank lines are skipped but numbered; CRLF is taken. ERR_LIMIT when the body is over
 * OBSERVE_BODY_MAX, nothing else fails: look at rows and rejected. `batch` must be given to observe_fini(). */
bool observe_parse(struct observe_batch *batch, const char *body, size_t len, struct err *err) ORCH_MUST_CHECK;
void observe_fini(struct observe_batch *batch);

/* {"accepted": 3, "rejected": [{"line": 2, "error": "…"}], "rejected_count": 1}; rejected names at most
 * OBSERVE_ERRORS_MAX. */
void observe_answer(const struct observe_batch *batch, struct strbuf *out);

/* One line as a row, or NULL with the reason in `err` (ERR_INVALID or ERR_LIMIT). The line needs no newline. */
json_t *observe_row(const char *line, size_t len, struct err *err) ORCH_MUST_CHECK;
/* The row's own time in microseconds; false when it carries none that can be read. */
bool observe_row_time(const json_t *row, int64_t *ret_wall_us);

#endif
