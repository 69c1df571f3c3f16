#include "trigger/replay.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "trigger/monitor.h"

struct open_window {
  int64_t from_us;
  struct window *window;
};

struct judge {
  char *spec; /* as text: what a monitor is made from */
  struct monitor *monitor;
  int64_t window_rows, window_ms, lateness_us;
  int64_t next_row; /* by rows: where the window at hand begins */
  struct window *window;
  struct open_window open[REPLAY_OPEN_MAX]; /* by time: those that have rows, oldest first */
  size_t n_open;
  int64_t closed_us; /* by time: everything before is closed */
  int64_t newest_us;
  int64_t late;

  json_t *verdicts, *episodes, *windows, *running; /* running: per fingerprint, the episode that has not ended */
  size_t n_signals;                                /* that were looked at */
  double largest, smallest, threshold;
};

struct replay {
  size_t n;
  struct judge *judges;
  struct wanted wanted;
  struct row_parser *parser;
  char *keys, *metrics;
  int64_t from_us, to_us, now_us;
  int64_t rows, broken, outside, untimed;
  json_t *not_replayed;
};

/* ---- making ---- */

static int64_t whole(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? (int64_t)json_number_value(value) : 0;
}

static bool judges_windows(const json_t *spec) {
  static const char *const others[] = {"volume", "schedule", "prometheus", "sql"};
  const char *kind = json_string_value(json_object_get(spec, "kind"));
  for (size_t i = 0; kind && i < ARRAY_LEN(others); i++)
    if (strcmp(kind, others[i]) == 0) return false;
  return true;
}

static bool judge_init(struct judge *j, struct replay *r, const struct replay_plan *plan, const json_t *spec,
                       struct err *err) {
  const json_t *window = json_object_get(spec, "window");
  char *text = json_dumps(spec, JSON_COMPACT);
  j->spec = mem_strdup(text ? text : "");
  free(text);
  j->window_rows = whole(window, "rows");
  j->window_ms = whole(window, "ms");
  j->lateness_us = whole(window, "lateness_ms") * 1000;
  if (!j->window_rows && !j->window_ms) j->window_rows = whole(spec, "window_rows");
  j->verdicts = json_object();
  j->episodes = json_array();
  j->windows = json_array();
  j->running = json_object();
  j->closed_us = j->newest_us = INT64_MIN;
  j->largest = j->smallest = j->threshold = NAN;
  struct monitor_task task = {.spec = j->spec,
                              .keys = r->keys,
                              .metrics = r->metrics,
                              .profile = plan->profile,
                              .champion = plan->champion,
                              .warm_us = INT64_MIN};
  j->monitor = monitor_new(&task, &r->wanted, err);
  if (!j->monitor) return false;
  if (j->window_rows > 0 || j->window_ms > 0) return true;
  return err_set(err, ERR_INVALID, "monitor %s has no window", monitor_name(j->monitor));
}

struct replay *replay_new(const struct replay_plan *plan, struct err *err) {
  struct replay *r = mem_alloc(sizeof *r);
  size_t i;
  json_t *spec;
  r->judges = mem_calloc(json_array_size(plan->monitors) + 1, sizeof r->judges[0]);
  r->keys = plan->keys ? mem_strdup(plan->keys) : NULL;
  r->metrics = plan->metrics ? mem_strdup(plan->metrics) : NULL;
  r->from_us = plan->from_us;
  r->to_us = plan->to_us;
  r->now_us = plan->now_us;
  r->not_replayed = json_array();
  json_array_foreach(plan->monitors, i, spec) {
    if (!judges_windows(spec)) {
      json_array_append_new(r->not_replayed, json_pack("{sO* sO*}", "monitor", json_object_get(spec, "name"), "kind",
                                                       json_object_get(spec, "kind")));
    } else if (!judge_init(&r->judges[r->n++], r, plan, spec, err)) {
      replay_free(r);
      return NULL;
    }
  }
  r->parser = wanted_parser(&r->wanted, "rows", r->keys);
  return r;
}

void replay_free(struct replay *r) {
  if (!r) return;
  for (size_t i = 0; i < r->n; i++) {
    struct judge *j = &r->judges[i];
    window_drop(j->window);
    for (size_t k = 0; k < j->n_open; k++) window_drop(j->open[k].window);
    monitor_free(j->monitor);
    mem_free(j->spec);
    json_decref(j->verdicts);
    json_decref(j->episodes);
    json_decref(j->windows);
    json_decref(j->running);
  }
  row_parser_free(r->parser);
  wanted_fini(&r->wanted);
  json_decref(r->not_replayed);
  mem_free(r->judges);
  mem_free(r->keys);
  mem_free(r->metrics);
  mem_free(r);
}

/* ---- what a window said ---- */

static json_t *span_document(const json_t *result) {
  return json_pack("{sO sO sO sO sO}", "number", json_object_get(result, "number"), "from_row",
                   json_object_get(result, "from_row"), "to_row", json_object_get(result, "to_row"), "from_at",
                   json_object_get(result, json_is_null(json_object_get(result, "from_at")) ? "oldest_at" : "from_at"),
                   "to_at",
                   json_object_get(result, json_is_null(json_object_get(result, "to_at")) ? "newest_at" : "to_at"));
}

static void count_up(json_t *object, const char *key) {
  json_object_set_new(object, key, json_integer(json_integer_value(json_object_get(object, key)) + 1));
}

static void hear(struct judge *j, const json_t *signal, const json_t *result) {
  const char *kind = json_string_value(json_object_get(signal, "kind"));
  const char *about = json_string_value(json_object_get(signal, "fingerprint")); /* a kind, or a kind and a version */
  json_t *running = json_object_get(j->running, about), *detail = json_object_get(signal, "detail");
  bool firing = strcmp(json_string_value(json_object_get(signal, "status")), "firing") == 0;
  if (running && !firing) {
    json_object_set_new(running, "ended", span_document(result));
    json_object_del(j->running, about);
  } else if (running) {
    count_up(running, "windows");
  } else if (firing) {
    running =
        json_pack("{ss sO* sO sO* sO* so sn si}", "signal", kind, "then", json_object_get(signal, "then"), "title",
                  json_object_get(signal, "title"), "since_row", json_object_get(detail, "since_row"), "since_at",
                  json_object_get(detail, "since_at"), "fired", span_document(result), "ended", "windows", 1);
    json_object_set(j->running, about, running);
    json_array_append_new(j->episodes, running);
  }
}

static void take_result(struct judge *j, json_t *result) {
  const json_t *value = json_object_get(result, "value"), *threshold = json_object_get(result, "threshold");
  const char *verdict = json_string_value(json_object_get(result, "verdict"));
  count_up(j->verdicts, verdict);
  if (json_is_number(value)) {
    j->largest = fmax(j->largest, json_number_value(value));
    j->smallest = fmin(j->smallest, json_number_value(value));
  }
  if (json_is_number(threshold)) j->threshold = json_number_value(threshold);
  json_t *signals = monitor_signals(j->monitor);
  for (; j->n_signals < json_array_size(signals); j->n_signals++)
    hear(j, json_array_get(signals, j->n_signals), result);
  json_array_clear(signals);
  j->n_signals = 0;
  if (json_array_size(j->windows) < REPLAY_WINDOWS_MAX) {
    json_t *window = span_document(result);
    json_object_set(window, "verdict", json_object_get(result, "verdict"));
    json_object_set(window, "value", json_object_get(result, "value"));
    json_array_append_new(j->windows, window);
  }
  json_decref(result);
}

/* ---- rows ---- */

static void take_by_rows(struct judge *j, const struct monitor_row *row) {
  if (!j->window) {
    struct window_span span = {.from_row = row->number, .to_row = row->number + j->window_rows};
    j->next_row = row->number;
    j->window = window_open(j->monitor, &span);
  }
  window_add(j->window, row);
  if (row->number + 1 < j->next_row + j->window_rows) return;
  struct window *window = j->window;
  j->window = NULL;
  take_result(j, monitor_judge(j->monitor, window, 0));
}

/* Where windows by time begin: whole multiples of their length, counted from Monday, 3 January 2000, as in the
 * database. */
#define ORIGIN_US 946857600000000LL
static int64_t floor_to(int64_t at_us, int64_t length_us) {
  int64_t past = (at_us - ORIGIN_US) % length_us;
  return at_us - (past < 0 ? past + length_us : past);
}

static void close_oldest(struct judge *j) {
  struct open_window oldest = j->open[0];
  memmove(&j->open[0], &j->open[1], --j->n_open * sizeof j->open[0]);
  j->closed_us = oldest.from_us + j->window_ms * 1000;
  take_result(j, monitor_judge(j->monitor, oldest.window, j->late));
  j->late = 0;
}

static struct window *window_at(struct judge *j, int64_t from_us) {
  size_t at = j->n_open;
  while (at > 0 && j->open[at - 1].from_us > from_us) at--;
  if (at > 0 && j->open[at - 1].from_us == from_us) return j->open[at - 1].window;
  struct window_span span = {.by_time = true, .from_us = from_us, .to_us = from_us + j->window_ms * 1000};
  memmove(&j->open[at + 1], &j->open[at], (j->n_open++ - at) * sizeof j->open[0]);
  j->open[at] = (struct open_window){from_us, window_open(j->monitor, &span)};
  return j->open[at].window;
}

static void take_by_time(struct judge *j, const struct monitor_row *row) {
  int64_t length_us = j->window_ms * 1000, from_us = floor_to(row->at_us, length_us);
  if (from_us < j->closed_us) {
    j->late++;
    return;
  }
  if (j->n_open == REPLAY_OPEN_MAX) close_oldest(j);
  if (from_us < j->closed_us)
    j->late++;
  else
    window_add(window_at(j, from_us), row);
  if (row->at_us > j->newest_us) j->newest_us = row->at_us;
  while (j->n_open && j->open[0].from_us + length_us + j->lateness_us <= j->newest_us) close_oldest(j);
}

void replay_row(struct replay *r, const char *line, size_t len) {
  struct monitor_row row;
  monitor_row_read(r->parser, r->rows, r->now_us, line, len, &row);
  if (row.broken) {
    r->broken++;
    return;
  }
  bool limited = r->from_us != INT64_MIN || r->to_us != INT64_MAX;
  r->untimed += !row.has_at;
  if (limited && (!row.has_at || row.at_us < r->from_us || row.at_us >= r->to_us)) {
    r->outside++;
    return;
  }
  r->rows++;
  for (size_t i = 0; i < r->n; i++) {
    if (r->judges[i].window_ms)
      take_by_time(&r->judges[i], &row);
    else
      take_by_rows(&r->judges[i], &row);
  }
}

int64_t replay_rows(const struct replay *replay) {
  return replay->rows;
}

static json_t *judge_report(struct judge *j) {
  json_error_t problem;
  json_t *spec = json_loads(j->spec, 0, &problem);
  while (j->n_open) close_oldest(j);
  json_t *report = json_pack("{sO sO sO* sI sO sO sO}", "monitor", json_object_get(spec, "name"), "kind",
                             json_object_get(spec, "kind"), "then", json_object_get(spec, "then"), "rows_left",
                             (json_int_t)(j->window ? window_rows(j->window) : 0), "verdicts", j->verdicts, "episodes",
                             j->episodes, "windows", j->windows);
  json_object_set_new(report, "largest", isnan(j->largest) ? json_null() : json_real(j->largest));
  json_object_set_new(report, "smallest", isnan(j->smallest) ? json_null() : json_real(j->smallest));
  json_object_set_new(report, "threshold", isnan(j->threshold) ? json_null() : json_real(j->threshold));
  json_decref(spec);
  return report;
}

json_t *replay_finish(struct replay *r) {
  json_t *monitors = json_array();
  for (size_t i = 0; i < r->n; i++) json_array_append_new(monitors, judge_report(&r->judges[i]));
  return json_pack("{sI sI sI sI sO so}", "rows", (json_int_t)r->rows, "broken", (json_int_t)r->broken, "outside",
                   (json_int_t)r->outside, "untimed", (json_int_t)r->untimed, "not_replayed", r->not_replayed,
                   "monitors", monitors);
}
