/* One monitor of a turn: what was claimed of it, its open windows, and what is handed in for it. For windows_turn.c. */
#ifndef ORCH_TRIGGER_WINDOWS_TASK_H
#define ORCH_TRIGGER_WINDOWS_TASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "trigger/monitor.h"
#include "trigger/windows_turn.h"

#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#define MOST(a, b) ((a) > (b) ? (a) : (b))

struct task {
  int64_t monitor_id, lease, version_id, number;
  int64_t window_rows, window_ms; /* one of them is 0 */
  int64_t from_row, from_us;
  int64_t start_row, seen_row, until_row;
  int n_windows;
  char *spec, *state, *keys, *metrics;
  int champion;
  int64_t warm_row, warm_us;

  struct monitor *monitor; /* NULL: `why` says why not */
  char why[256];
  struct window *open[TURN_WINDOWS_MAX]; /* by rows: only the one at `next` */
  int next;                              /* windows judged, by rows */
  int64_t late;
  int64_t beyond_us; /* by time: the earliest row that was seen and lies behind the windows; INT64_MAX for none */
  json_t *windows, *latest;
};

/* Row `row` of a claim, see TURN_CLAIM_COLUMNS; without a monitor yet. */
void task_read(const struct db_result *claim, int row, struct task *ret);
void task_fini(struct task *task);
/* What monitor_new() asks for, but the profile; borrowed. */
struct monitor_task task_rule(const struct task *task);
static inline bool task_by_time(const struct task *task) {
  return task->window_rows == 0;
}

/* Puts a row into the window that it belongs to, if it is one of ours; rows come in the order of their numbers. */
void task_take(struct task *task, const struct monitor_row *row);
/* Judges what is still open, once all rows are in. */
void task_judge(struct task *task);
/* Its item of orch.windows_close(): a new document. */
json_t *task_item(const struct task *task);

#endif
