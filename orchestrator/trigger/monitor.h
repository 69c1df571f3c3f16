/* One monitor that judges windows of rows: rows in, results, signals and what the next window must know out. Pure: no
 * I/O, so that a server, a replay of history and a test judge alike.
 *
 * A monitor is made from its spec, the state its last window left, and the champion. It names the columns it reads;
 * windows are opened, take rows in the order of their numbers, and are judged one after another: each judgement moves
 * the state on. What a result, a state and a signal look like says docs/monitoring.md; each kind of monitor is one
 * file, window_KIND.c. */
#ifndef ORCH_TRIGGER_MONITOR_H
#define ORCH_TRIGGER_MONITOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stats/profile.h"
#include "trigger/row.h"

struct monitor_task {
  const char *spec;              /* normalised JSON */
  const char *state;             /* JSON as monitor_state() gave it; NULL for none */
  const char *keys;              /* the pipeline's spec.observations as JSON; NULL for the defaults */
  const char *metrics;           /* the champion's evaluation as JSON, {"accuracy": 0.8, …}; NULL for none */
  const struct profile *profile; /* of the champion's training data; NULL for none. Must outlive the monitor */
  int champion;                  /* version number; 0: nobody knows, and rows of any version are taken for its */
  int64_t number;                /* windows closed before */
  int64_t warm_row;              /* windows that begin before this row are not judged; 0 for none */
  int64_t warm_us;               /* or before this time; INT64_MIN for none */
};

/* The columns that somebody wants to read, each once, for one row_parser. */
struct wanted {
  char **names;
  size_t n, size;
};
/* The place of a name among row_cells(). */
size_t wanted_add(struct wanted *wanted, const char *name);
void wanted_fini(struct wanted *wanted);

/* A parser of the rows of a stream ("rows" or "labels") for what is wanted. Rows of labels have keys of their own,
 * whatever the pipeline's `keys` say (JSON as above). */
struct row_parser *wanted_parser(const struct wanted *wanted, const char *stream, const char *keys);

/* A row as windows take it. */
struct monitor_row {
  int64_t number;
  int64_t at_us;    /* when it happened: what it says itself, else when it came */
  bool has_at;      /* it says so itself */
  bool broken;      /* no row at all: every cell is missing */
  const char *line; /* its bytes */
  size_t len;
  const struct row_parser *parser; /* with this row in it */
};
/* Reads one line of a batch that was received at `received_us`. */
void monitor_row_read(struct row_parser *parser, int64_t number, int64_t received_us, const char *line, size_t len,
                      struct monitor_row *ret);

struct monitor;
/* Copies what it needs but the profile, and adds what it reads to `wanted`. ERR_INVALID when the spec, or what a kind
 * needs, cannot be used: the windows are then `unable`. */
struct monitor *monitor_new(const struct monitor_task *task, struct wanted *wanted, struct err *err) ORCH_MUST_CHECK;
void monitor_free(struct monitor *monitor); /* NULL is fine; its windows must be gone */
const char *monitor_name(const struct monitor *monitor);
/* Bytes that an open window takes, about. */
size_t monitor_window_bytes(const struct monitor *monitor);

/* By rows: [from_row, to_row). By time: [from_us, to_us), `by_time`. */
struct window_span {
  bool by_time;
  int64_t from_row, to_row;
  int64_t from_us, to_us;
};

struct window;
struct window *window_open(struct monitor *monitor, const struct window_span *span);
void window_drop(struct window *window); /* NULL is fine */
void window_add(struct window *window, const struct monitor_row *row);
int64_t window_rows(const struct window *window);

/* Judges a window, moves the state on, adds what is to be said to the signals, and frees the window. `late`: rows that
 * were too late for the windows before. Returns the result (the caller's); its verdict is "ok", "drift", "fault",
 * "alarm", "insufficient" or "warming". */
json_t *monitor_judge(struct monitor *monitor, struct window *window, int64_t late);
/* A window that cannot be judged, and why: "insufficient", which counts neither for nor against anything. */
json_t *monitor_unable(struct monitor *monitor, const struct window_span *span, int64_t rows, const char *why);
/* The same before there is a monitor: the spec could not be read. */
json_t *window_unable(const struct monitor_task *task, int64_t number, const struct window_span *span, const char *why);

/* The state after the windows judged so far, and what they said in the order of windows: borrowed. */
json_t *monitor_state(const struct monitor *monitor);
json_t *monitor_signals(const struct monitor *monitor);

#endif
