/* Observations as they come in: NDJSON, one row of a model's inputs a line, judged line by line.
 *
 * A bad line is reported with its number and does not spoil the batch; accepted lines are kept byte for byte, so what
 * is stored is what was sent. What a row is: row.h. The keys `at` and `timestamp` (RFC 3339) say when the row happened,
 * `id`, `prediction`, `score` and `version` what a label is joined with; a pipeline may name them otherwise. Pure: no
 * I/O. */
#ifndef ORCH_TRIGGER_OBSERVE_H
#define ORCH_TRIGGER_OBSERVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "trigger/observe_plan.h"
#include "trigger/row.h"

#define OBSERVE_BODY_MAX (8 * 1024 * 1024) /* bytes of one request's body, unpacked */
#define OBSERVE_ROWS_MAX 1000000           /* rows of one request */
#define OBSERVE_ERRORS_MAX 100             /* rejected lines that are named; all are counted */
#define OBSERVE_ID_MAX 200                 /* bytes of an id, a prediction or a label */
#define OBSERVE_PART_BYTES (256 * 1024)    /* accepted lines are cut into parts of about this size */

struct observe_error {
  uint64_t line; /* from 1 */
  char text[160];
};

/* A run of accepted lines, and when their rows happened. */
struct observe_part {
  size_t from, bytes;
  int rows;
  bool timed, untimed; /* some rows say when, some do not */
  int64_t min_us, max_us;
};

/* What labels are joined with, of the rows that have an id: array literals without their closing brace. */
struct observe_predictions {
  size_t n;
  struct strbuf row, id, at, version, prediction, score;
};

struct observe_batch {
  const char *lines; /* the accepted lines, each with one newline: the body itself, or `copy` */
  size_t bytes;
  struct strbuf copy; /* only when the body holds anything else than accepted lines */
  bool copied;
  int rows;          /* lines in it */
  int times_unread;  /* of them, with a time that cannot be read: they are as old as their arrival */
  uint64_t rejected; /* lines refused */
  size_t n_errors;   /* the first of them, named */
  struct observe_error errors[OBSERVE_ERRORS_MAX];
  size_t n_parts, parts_size;
  struct observe_part *parts;
  struct observe_predictions predictions; /* empty unless the plan asks for them */
};

/* Judges a whole body, which must stay as long as the batch. Blank lines are skipped but numbered; CRLF is taken.
 * ERR_LIMIT when the body is over OBSERVE_BODY_MAX or has too many rows, nothing else fails: look at rows and rejected.
 * `batch` must be given to observe_fini() in any case. Uses the plan's parser: one thread at a time. */
bool observe_parse(struct observe_batch *batch, const struct observe_plan *plan, const char *body, size_t len,
                   struct err *err) ORCH_MUST_CHECK;
void observe_fini(struct observe_batch *batch);

/* The members "rejected": [{"line": 2, "error": "…"}], "rejected_count": 1 of an answer; at most OBSERVE_ERRORS_MAX
 * are named. */
void observe_add_rejected(const struct observe_batch *batch, struct strbuf *out);
/* Records a refused line; for readers of other lines. */
void observe_reject(struct observe_batch *batch, uint64_t line, const struct err *why);
/* Calls `take` for every line that is not blank, without its line end. A byte order mark in front is passed over. */
void observe_each_line(const char *body, size_t len,
                       void (*take)(void *arg, uint64_t number, const char *line, size_t n), void *arg);

/* Append an element to an array literal that is being built, '{' first: a cell as text, or a number; else NULL. */
void observe_add_text(struct strbuf *out, const struct row_cell *cell);
void observe_add_int(struct strbuf *out, bool present, int64_t value);

#endif
