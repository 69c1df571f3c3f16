#include "trigger/windows_turn.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "trigger/monitor.h"

/* ---- profiles ---- */

struct profiles {
  size_t n, size, bytes;
  struct {
    int64_t version_id;
    struct profile *profile;
    size_t bytes;
  } * items;
};

struct profiles *profiles_new(void) {
  return mem_alloc(sizeof(struct profiles));
}

void profiles_free(struct profiles *p) {
  if (!p) return;
  for (size_t i = 0; i < p->n; i++) profile_free(p->items[i].profile);
  mem_free(p->items);
  mem_free(p);
}

static ssize_t place_of(const struct profiles *p, int64_t version_id) {
  for (size_t i = 0; i < p->n; i++)
    if (p->items[i].version_id == version_id) return (ssize_t)i;
  return -1;
}

const struct profile *profiles_find(const struct profiles *p, int64_t version_id) {
  ssize_t at = place_of(p, version_id);
  return at < 0 ? NULL : p->items[at].profile;
}

bool profiles_known(const struct profiles *p, int64_t version_id) {
  return place_of(p, version_id) >= 0;
}

void profiles_add(struct profiles *p, int64_t version_id, struct profile *profile) {
  if (p->n == p->size) {
    p->size = p->size ? 2 * p->size : 64;
    p->items = mem_realloc(p->items, p->size * sizeof p->items[0]);
  }
  size_t bytes = 64;
  for (size_t i = 0; profile && i < profile->n_columns; i++)
    bytes += sizeof profile->columns[0] + (profile->columns[i].category ? sizeof *profile->columns[i].category : 0);
  p->items[p->n].version_id = version_id;
  p->items[p->n].profile = profile;
  p->items[p->n++].bytes = bytes;
  p->bytes += bytes;
}

void profiles_shrink(struct profiles *p) {
  while (p->bytes > PROFILES_BYTES_MAX && p->n > 0) {
    size_t at = (size_t)(clock_random_u64() % p->n);
    profile_free(p->items[at].profile);
    p->bytes -= p->items[at].bytes;
    p->items[at] = p->items[--p->n];
  }
}

/* ---- what was claimed ---- */

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

struct group {
  size_t first, n; /* its tasks */
  int64_t pipeline_id;
  char stream[8];
  bool by_time;
  int64_t from_row, to_row, from_us, to_us, late_row; /* what is read; from_row moves on */
  bool done;
  struct wanted wanted;
  struct row_parser *parser;
};

struct turn {
  size_t n_tasks, n_groups, next_item;
  struct task tasks[TURN_MONITORS_MAX];
  struct group groups[TURN_MONITORS_MAX];
  size_t asked[TURN_MONITORS_MAX]; /* the groups of the newest ranges */
  size_t n_asked;
  struct turn_counts counts;
};

static char *copy_of(const struct db_result *r, int row, int column) {
  const char *text = db_get_text(r, row, column);
  return text ? mem_strdup(text) : NULL;
}

static void read_task(const struct db_result *r, int row, struct task *t) {
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

static bool by_time(const struct task *t) {
  return t->window_rows == 0;
}

/* What one task reads, as a group of its own. */
static struct group group_of(const struct db_result *r, int row, const struct task *t, size_t index) {
  struct group g = {.first = index, .n = 1, .pipeline_id = db_get_i64(r, row, 2, 0), .by_time = by_time(t)};
  snprintf(g.stream, sizeof g.stream, "%s", db_get_text(r, row, 3));
  g.from_row = g.by_time ? t->start_row : t->from_row;
  g.to_row = t->until_row;
  g.from_us = t->from_us;
  g.to_us = t->from_us + t->n_windows * t->window_ms * 1000;
  g.late_row = t->seen_row;
  return g;
}

#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#define MOST(a, b) ((a) > (b) ? (a) : (b))

/* Joins `g` when both look at the same rows, or at rows that lie end to end: what lies between would be read for
 * nobody. */
static bool group_join(struct group *into, const struct group *g) {
  if (into->pipeline_id != g->pipeline_id || into->by_time != g->by_time || strcmp(into->stream, g->stream) != 0)
    return false;
  if (g->by_time ? g->from_us > into->to_us || g->to_us < into->from_us
                 : g->from_row > into->to_row || g->to_row < into->from_row)
    return false;
  into->n++;
  into->from_row = LEAST(into->from_row, g->from_row);
  into->to_row = MOST(into->to_row, g->to_row);
  into->from_us = LEAST(into->from_us, g->from_us);
  into->to_us = MOST(into->to_us, g->to_us);
  into->late_row = LEAST(into->late_row, g->late_row);
  return true;
}

struct turn *turn_new(const struct db_result *claim) {
  if (db_rows(claim) == 0) return NULL;
  struct turn *turn = mem_alloc(sizeof *turn);
  ORCH_ASSERT(db_rows(claim) <= TURN_MONITORS_MAX);
  for (int i = 0; i < db_rows(claim); i++) {
    struct task *t = &turn->tasks[turn->n_tasks];
    read_task(claim, i, t);
    /* Those of one pipeline stand together in the claim, so only the newest group can be the one. */
    struct group g = group_of(claim, i, t, turn->n_tasks++);
    if (turn->n_groups == 0 || !group_join(&turn->groups[turn->n_groups - 1], &g)) turn->groups[turn->n_groups++] = g;
  }
  turn->counts.monitors = turn->n_tasks;
  return turn;
}

static void task_free(struct task *t) {
  for (int i = 0; i < TURN_WINDOWS_MAX; i++) window_drop(t->open[i]);
  monitor_free(t->monitor);
  mem_free(t->spec);
  mem_free(t->state);
  mem_free(t->keys);
  mem_free(t->metrics);
  json_decref(t->windows);
  json_decref(t->latest);
}

void turn_free(struct turn *turn) {
  if (!turn) return;
  for (size_t i = 0; i < turn->n_tasks; i++) task_free(&turn->tasks[i]);
  for (size_t i = 0; i < turn->n_groups; i++) {
    row_parser_free(turn->groups[i].parser);
    wanted_fini(&turn->groups[i].wanted);
  }
  mem_free(turn);
}

void turn_count(const struct turn *turn, struct turn_counts *ret) {
  *ret = turn->counts;
}

const char *turn_why_unable(const struct turn *turn) {
  for (size_t i = 0; i < turn->n_tasks; i++)
    if (*turn->tasks[i].why) return turn->tasks[i].why;
  return "";
}

/* ---- profiles and monitors ---- */

bool turn_missing_profiles(const struct turn *turn, const struct profiles *profiles, struct strbuf *out) {
  bool any = false;
  for (size_t i = 0; i < turn->n_tasks; i++) {
    int64_t id = turn->tasks[i].version_id;
    if (profiles_known(profiles, id) || (i > 0 && turn->tasks[i - 1].version_id == id)) continue;
    strbuf_printf(out, "%c%lld", any ? ',' : '{', (long long)id);
    any = true;
  }
  if (any) strbuf_putc(out, '}');
  return any;
}

void turn_take_profiles(const struct turn *turn, struct profiles *profiles, const struct db_result *result) {
  for (int i = 0; i < db_rows(result); i++) {
    uint8_t *bytes;
    size_t len;
    struct err ignored = {0};
    int64_t id = db_get_i64(result, i, 0, 0);
    if (profiles_known(profiles, id) || !db_get_bytes(result, i, 1, &bytes, &len)) continue;
    profiles_add(profiles, id, profile_decode(bytes, len, &ignored));
    mem_free(bytes);
  }
  for (size_t i = 0; i < turn->n_tasks; i++)
    if (!profiles_known(profiles, turn->tasks[i].version_id)) profiles_add(profiles, turn->tasks[i].version_id, NULL);
}

static struct monitor_task monitor_task_of(const struct task *t) {
  return (struct monitor_task){.spec = t->spec,
                               .state = t->state,
                               .keys = t->keys,
                               .metrics = t->metrics,
                               .champion = t->champion,
                               .number = t->number,
                               .warm_row = t->warm_row,
                               .warm_us = t->warm_us};
}

/* A turn holds so many windows open as memory allows: of the rest, fewer, or none, which come again. */
static void fit_in_memory(struct task *t, size_t *left) {
  size_t each = monitor_window_bytes(t->monitor);
  size_t fit = *left / each;
  if (by_time(t) && (size_t)t->n_windows > MOST(fit, 1)) t->n_windows = (int)MOST(fit, 1);
  size_t all = each * (by_time(t) ? (size_t)t->n_windows : 1);
  *left -= LEAST(all, *left);
}

void turn_prepare(struct turn *turn, const struct profiles *profiles) {
  size_t left = TURN_BYTES_MAX;
  for (size_t i = 0; i < turn->n_groups; i++) {
    struct group *g = &turn->groups[i];
    for (size_t j = g->first; j < g->first + g->n; j++) {
      struct task *t = &turn->tasks[j];
      struct monitor_task task = monitor_task_of(t);
      struct err err = {0};
      task.profile = profiles_find(profiles, t->version_id);
      t->monitor = monitor_new(&task, &g->wanted, &err);
      if (t->monitor)
        fit_in_memory(t, &left);
      else
        snprintf(t->why, sizeof t->why, "%s", err.text);
    }
    g->parser = wanted_parser(&g->wanted, g->stream, turn->tasks[g->first].keys);
  }
}

/* ---- rows ---- */

bool turn_ranges(struct turn *turn, struct strbuf *out) {
  turn->n_asked = 0;
  for (size_t i = 0; i < turn->n_groups; i++) {
    const struct group *g = &turn->groups[i];
    if (g->done) continue;
    strbuf_printf(out, "%s{\"pipeline_id\":%lld,\"stream\":\"%s\",\"from_row\":%lld,\"to_row\":%lld",
                  turn->n_asked ? "," : "[", (long long)g->pipeline_id, g->stream, (long long)g->from_row,
                  (long long)g->to_row);
    if (g->by_time)
      strbuf_printf(out, ",\"from_us\":%lld,\"to_us\":%lld,\"late_row\":%lld", (long long)g->from_us,
                    (long long)g->to_us, (long long)g->late_row);
    strbuf_putc(out, '}');
    turn->asked[turn->n_asked++] = i;
  }
  if (turn->n_asked) strbuf_putc(out, ']');
  return turn->n_asked > 0;
}

static struct window_span span_of(const struct task *t, int i) {
  if (by_time(t))
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

static void take_batch(struct turn *turn, struct group *g, int64_t first, int64_t received_us, const char *body,
                       size_t len) {
  int64_t number = first;
  for (const char *at = body, *end = body + len; at < end && number < g->to_row; number++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline : end;
    if (number >= g->from_row) {
      struct monitor_row row;
      monitor_row_read(g->parser, number, received_us, at, (size_t)(stop - at), &row);
      turn->counts.rows++;
      for (size_t i = g->first; i < g->first + g->n; i++) {
        struct task *t = &turn->tasks[i];
        if (!t->monitor) continue;
        if (by_time(t))
          take_by_time(t, &row);
        else
          take_by_rows(t, &row);
      }
    }
    at = newline ? newline + 1 : end;
  }
}

void turn_take_rows(struct turn *turn, const struct db_result *result) {
  for (int i = 0; i < db_rows(result); i++) {
    const uint8_t *body;
    size_t len;
    int64_t range = db_get_i64(result, i, 0, -1);
    if (range < 0 || (size_t)range >= turn->n_asked) continue;
    struct group *g = &turn->groups[turn->asked[range]];
    int64_t first = db_get_i64(result, i, 1, -1), rows = db_get_i64(result, i, 2, 0);
    if (first < 0) {
      g->done = true;
      continue;
    }
    if (first + rows <= g->from_row || !db_see_bytes(result, i, 4, &body, &len)) continue;
    take_batch(turn, g, first, db_get_i64(result, i, 3, 0), (const char *)body, len);
    g->from_row = first + rows;
  }
}

/* ---- the end ---- */

static void finish(struct task *t) {
  if (!t->monitor) {
    struct monitor_task task = monitor_task_of(t);
    for (int i = 0; i < t->n_windows; i++) {
      struct window_span span = span_of(t, i);
      keep_result(t, &span, window_unable(&task, t->number + i + 1, &span, t->why));
    }
    return;
  }
  while (!by_time(t) && t->next < t->n_windows) close_next(t);
  for (int i = 0; by_time(t) && i < t->n_windows; i++) {
    if (!t->open[i]) continue; /* no row: there is nothing to say */
    struct window_span span = span_of(t, i);
    json_t *result = monitor_judge(t->monitor, t->open[i], t->late);
    t->open[i] = NULL;
    t->late = 0;
    keep_result(t, &span, result);
  }
}

void turn_judge(struct turn *turn) {
  for (size_t i = 0; i < turn->n_tasks; i++) {
    struct task *t = &turn->tasks[i];
    turn->counts.late += (uint64_t)t->late;
    turn->counts.unable += !t->monitor;
    finish(t);
    if (t->monitor) turn->counts.signals += json_array_size(monitor_signals(t->monitor));
  }
}

static json_t *item_of(const struct task *t) {
  json_t *item = json_pack("{sI sI sI sI sO sO*}", "monitor", (json_int_t)t->monitor_id, "lease", (json_int_t)t->lease,
                           "number", (json_int_t)t->number, "next_row",
                           (json_int_t)(by_time(t) ? t->until_row : t->from_row + t->n_windows * t->window_rows),
                           "windows", t->windows, "latest", t->latest);
  if (by_time(t)) {
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

bool turn_items(struct turn *turn, struct strbuf *out) {
  bool any = false;
  while (turn->next_item < turn->n_tasks && out->len < TURN_CLOSE_BYTES) {
    json_t *item = item_of(&turn->tasks[turn->next_item++]);
    char *text = json_dumps(item, JSON_COMPACT | JSON_REAL_PRECISION(7));
    ORCH_ASSERT(text != NULL);
    strbuf_putc(out, any ? ',' : '[');
    strbuf_puts(out, text);
    free(text);
    json_decref(item);
    any = true;
  }
  if (any) strbuf_putc(out, ']');
  return any;
}
