/* One window of one drift monitor, evaluated: rows in, a result document and signals out. Pure: no I/O.
 *
 * The result is what orch.window_close() records and what the next window gets back as history, so all the memory a
 * monitor has stands in it:
 *   {"monitor", "kind": "drift", "champion", "from_row", "to_row", "rows", "verdict", "held", "summary",
 *    "oldest_at"?, "newest_at"?,                        times that the rows carry themselves
 *    "state": {"drift": S, "fault": S},                 S = {"firing", "since_row"?, "since_at"?, "episode"?}
 *    "columns": [{"name", "verdict", "hit", "since_row"?, "why", "psi", "ks": {"statistic", "bound", "p_value"},
 *                 "noise_corrected", "chi2": {"statistic", "df", "p_value"},
 *                 "missing": {"ref", "now", "z", "p_value"},
 *                 "quantiles": {"levels", "ref", "now"}, "n_ref", "n_now", "rows_ref", "rows_now"}]}
 * with null where a number does not apply.
 *
 * Signals: source "monitor:NAME"; kind "drift" with fingerprint "NAME/drift", kind "data_fault" with "NAME/fault". Each
 * window that still fires repeats its signal in the same episode; the first one that is healthy resolves it. The
 * fault's signal stands before the drift's, so that drift which comes with broken data is held back by the fault that
 * fires, and is seen to be. Drift is not resolved by a window in fault. `at` is the newest time that a row carries. */
#ifndef ORCH_TRIGGER_WINDOW_EVAL_H
#define ORCH_TRIGGER_WINDOW_EVAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct window_task {
  const char *monitor; /* the monitor's spec as JSON */
  const char *history; /* JSON array of earlier windows against this champion, in any order: results as above, alone or
                          as {"from_row", "result": {…}}; NULL for none */
  const void *profile; /* encoded; NULL when the champion has none */
  size_t profile_len;
  int champion;
  int64_t from_row, to_row; /* to_row is exclusive */
  int64_t now_us;           /* rows that claim to be from later than this are not asked for their time */
};

struct window_eval;
/* Copies what it needs. ERR_INVALID when spec, history or profile cannot be read. */
struct window_eval *window_eval_new(const struct window_task *task, struct err *err) ORCH_MUST_CHECK;
void window_eval_free(struct window_eval *eval); /* NULL is fine */
/* A batch of rows, one a line; the ones outside the window are skipped, a line that is no row counts as a row of which
 * every cell is missing (batches were checked on the way in, so this does not happen by itself). */
void window_eval_add(struct window_eval *eval, int64_t first_row, const char *body, size_t len);
/* Rows taken so far. */
int64_t window_eval_rows(const struct window_eval *eval);
/* Both texts are JSON, mem_free() them. ERR_INVALID when rows are missing: the window has a gap. */
bool window_eval_finish(struct window_eval *eval, char **ret_result, char **ret_signals,
                        struct err *err) ORCH_MUST_CHECK;

/* The result of a window that cannot be judged at all (an unreadable profile, rows that are gone): verdict
 * "insufficient", no columns, `reason` as its summary. Recording it keeps the monitor moving. mem_free() it. */
char *window_eval_unable(const struct window_task *task, const char *reason);

#endif
