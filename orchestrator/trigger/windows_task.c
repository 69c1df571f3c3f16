#include "trigger/windows_task.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

/* ---- what was claimed ---- */

static char *copy_of(const struct db_result *r, int row, int column) {
  const char *text = db_get_text(r, row, column);
  return text ? mem_strdup(text) : NULL;
}

void task_read(const struct db_result *r, int row, struct task *t) {
  t->monitor_id = db_get_i64(r, row, 0, 0);
  t->lease = db_get_i64(r, row, 1, 0);
  t->spec = copy_of(r, row, 4);
  t->state = copy_of(r, row, 5);
  t->keys = copy_of(r, row, 6);
  t->metrics = copy_of(r, row, 7);
  t->version_id = db_get_i64(r, row, 8, 0);
  t->champion = (int)db_get_i64(r, row, 9, 0);
  t->number = db_get_i64(r, row, 10, 0);
  t->n_windows = (int)db_get_i64(r, row, 11, 0);
  t->window_rows = db_get_i64(r, row, 12, 0);
  t->window_ms = db_get_i64(r, row, 13, 0);
  t->from_row = db_get_i64(r, row, 14, 0);
  t->from_us = db_get_i64(r, row, 15, 0);
  t->start_row = db_get_i64(r, row, 16, 0);
  t->seen_row = db_get_i64(r, row, 17, 0);
  t->until_row = db_get_i64(r, row, 18, 0);
  t->warm_row = db_get_i64(r, row, 19, 0);
  t->warm_us = db_get_i64(r, row, 20, INT64_MIN);
  t->windows = json_array();
  t->beyond_us = INT64_MAX;
  ORCH_ASSERT(t->n_windows >= 1 && t->n_windows <= TURN_WINDOWS_MAX && (t->window_rows > 0 || t->window_ms > 0));
}

void task_fini(struct task *t) {
  for (int i = 0; i < TURN_WINDOWS_MAX; i++) window_drop(t->open[i]);
  monitor_free(t->monitor);
  mem_free(t->spec);
  mem_free(t->state);
  mem_free(t->keys);
  mem_free(t->metrics);
  json_decref(t->windows);
  json_decref(t->latest);
}

struct monitor_task task_rule(const struct task *t) {
  return (struct monitor_task){.spec = t->spec,
                               .state = t->state,
                               .keys = t->keys,
                               .metrics = t->metrics,
                               .champion = t->champion,
                               .number = t->number,
                               .warm_row = t->warm_row,
                               .warm_us = t->warm_us};
}

/* ---- rows and windows ---- */

static struct window_span span_of(const struct task *t, int i) {
  if (task_by_time(t))
    return (struct window_span){.by_time = true,
                                .from_row = t->seen_row,
                                .to_row = t->seen_row,
                                .from_us = t->from_us + i * t->window_ms * 1000,
                                .to_us = t->from_us + (i + 1) * t->window_ms * 1000};
  return (struct window_span){.from_row = t->from_row + i * t->window_rows,
                              .to_row = t->from_row + (i + 1) * t->window_rows};
}

/* What the table of windows keeps: all of it only when there is something to look at. */
static void keep_result(struct task *t, const struct window_span *span, json_t *result) {
  const char *verdict = json_string_value(json_object_get(result, "verdict"));
  json_t *kept = NULL;
  bool quiet =
      verdict && strcmp(verdict, "drift") != 0 && strcmp(verdict, "fault") != 0 && strcmp(verdict, "alarm") != 0;
  if (quiet)
    kept = json_pack("{sO* sO* sO* sO*}", "value", json_object_get(result, "value"), "threshold",
                     json_object_get(result, "threshold"), "summary", json_object_get(result, "summary"), "newest_at",
                     json_object_get(result, "newest_at"));
  json_t *window = json_pack("{sO sO sO sO so}", "from_row", json_object_get(result, "from_row"), "to_row",
                             json_object_get(result, "to_row"), "rows", json_object_get(result, "rows"), "verdict",
                             json_object_get(result, "verdict"), "result", kept ? kept : json_incref(result));
  if (span->by_time) {
    json_object_set_new(window, "from_us", json_integer(span->from_us));
    json_object_set_new(window, "to_us", json_integer(span->to_us));
  }
  json_array_append_new(t->windows, window);
  json_decref(t->latest);
  t->latest = result;
}

/* Window `next` by rows is over: judged when all its rows came, else said to be unable. */
static void close_next(struct task *t) {
  struct window_span span = span_of(t, t->next++);
  struct window *w = t->open[0];
  int64_t rows = w ? window_rows(w) : 0;
  t->open[0] = NULL;
  if (rows == t->window_rows) return keep_result(t, &span, monitor_judge(t->monitor, w, 0));
  char why[120];
  snprintf(why, sizeof why, "%lld of %lld rows are there: the others are gone", (long long)rows,
           (long long)t->window_rows);
  window_drop(w);
  keep_result(t, &span, monitor_unable(t->monitor, &span, rows, why));
}

static void take_by_rows(struct task *t, const struct monitor_row *row) {
  int64_t at = row->number - t->from_row;
  if (at < 0 || at >= t->n_windows * t->window_rows) return;
  int index = (int)(at / t->window_rows);
  while (t->next < index) close_next(t);
  if (t->next > index) return;
  struct window_span span = span_of(t, index);
  if (!t->open[0]) t->open[0] = window_open(t->monitor, &span);
  window_add(t->open[0], row);
  if (row->number + 1 == span.to_row) close_next(t);
}

static void take_by_time(struct task *t, const struct monitor_row *row) {
  if (row->number < t->start_row || row->number >= t->until_row) return;
  if (row->at_us < t->from_us) {
    t->late += row->number >= t->seen_row;
    return;
  }
  int64_t index = (row->at_us - t->from_us) / (t->window_ms * 1000);
  if (index >= t->n_windows) {
    t->beyond_us = LEAST(t->beyond_us, row->at_us);
    return;
  }
  struct window_span span = span_of(t, (int)index);
  if (!t->open[index]) t->open[index] = window_open(t->monitor, &span);
  window_add(t->open[index], row);
}

void task_take(struct task *t, const struct monitor_row *row) {
  if (!t->monitor) return;
  if (task_by_time(t))
    take_by_time(t, row);
  else
    take_by_rows(t, row);
}

void task_judge(struct task *t) {
  if (!t->monitor) {
    struct monitor_task task = task_rule(t);
    for (int i = 0; i < t->n_windows; i++) {
      struct window_span span = span_of(t, i);
      keep_result(t, &span, window_unable(&task, t->number + i + 1, &span, t->why));
    }
    return;
  }
  while (!task_by_time(t) && t->next < t->n_windows) close_next(t);
  for (int i = 0; task_by_time(t) && i < t->n_windows; i++) {
    if (!t->open[i]) continue; /* no row: there is nothing to say */
    struct window_span span = span_of(t, i);
    json_t *result = monitor_judge(t->monitor, t->open[i], t->late);
    t->open[i] = NULL;
    t->late = 0;
    keep_result(t, &span, result);
  }
}

json_t *task_item(const struct task *t) {
  json_t *item = json_pack("{sI sI sI sI sO sO*}", "monitor", (json_int_t)t->monitor_id, "lease", (json_int_t)t->lease,
                           "number", (json_int_t)t->number, "next_row",
                           (json_int_t)(task_by_time(t) ? t->until_row : t->from_row + t->n_windows * t->window_rows),
                           "windows", t->windows, "latest", t->latest);
  if (task_by_time(t)) {
    int64_t length_us = t->window_ms * 1000, end_us = t->from_us + t->n_windows * length_us;
    json_object_set_new(item, "end_us", json_integer(end_us));
    if (t->beyond_us < INT64_MAX) end_us += (t->beyond_us - end_us) / length_us * length_us;
    json_object_set_new(item, "next_us", json_integer(end_us));
  }
  json_t *state = NULL;
  if (t->monitor)
    state = json_incref(monitor_state(t->monitor));
  else if (t->state)
    state = json_loads(t->state, 0, NULL);
  json_object_set_new(item, "state", state ? state : json_object());
  json_object_set_new(item, "signals", t->monitor ? json_incref(monitor_signals(t->monitor)) : json_array());
  return item;
}
