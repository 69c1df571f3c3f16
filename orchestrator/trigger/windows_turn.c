#include "trigger/windows_turn.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "trigger/windows_task.h"

/* ---- what was claimed ---- */

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

/* What one task reads, as a group of its own. */
static struct group group_of(const struct db_result *r, int row, const struct task *t, size_t index) {
  struct group g = {.first = index, .n = 1, .pipeline_id = db_get_i64(r, row, 2, 0), .by_time = task_by_time(t)};
  snprintf(g.stream, sizeof g.stream, "%s", db_get_text(r, row, 3));
  g.from_row = g.by_time ? t->start_row : t->from_row;
  g.to_row = t->until_row;
  g.from_us = t->from_us;
  g.to_us = t->from_us + t->n_windows * t->window_ms * 1000;
  g.late_row = t->seen_row;
  return g;
}

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
    task_read(claim, i, t);
    /* Those of one pipeline stand together in the claim, so only the newest group can be the one. */
    struct group g = group_of(claim, i, t, turn->n_tasks++);
    if (turn->n_groups == 0 || !group_join(&turn->groups[turn->n_groups - 1], &g)) turn->groups[turn->n_groups++] = g;
  }
  turn->counts.monitors = turn->n_tasks;
  return turn;
}

void turn_free(struct turn *turn) {
  if (!turn) return;
  for (size_t i = 0; i < turn->n_tasks; i++) task_fini(&turn->tasks[i]);
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

/* A turn holds so many windows open as memory allows: of the rest, fewer, or none, which come again. */
static void fit_in_memory(struct task *t, size_t *left) {
  size_t each = monitor_window_bytes(t->monitor);
  size_t fit = *left / each;
  if (task_by_time(t) && (size_t)t->n_windows > MOST(fit, 1)) t->n_windows = (int)MOST(fit, 1);
  size_t all = each * (task_by_time(t) ? (size_t)t->n_windows : 1);
  *left -= LEAST(all, *left);
}

void turn_prepare(struct turn *turn, const struct profiles *profiles) {
  size_t left = TURN_BYTES_MAX;
  for (size_t i = 0; i < turn->n_groups; i++) {
    struct group *g = &turn->groups[i];
    for (size_t j = g->first; j < g->first + g->n; j++) {
      struct task *t = &turn->tasks[j];
      struct monitor_task task = task_rule(t);
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
        task_take(&turn->tasks[i], &row);
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

void turn_judge(struct turn *turn) {
  for (size_t i = 0; i < turn->n_tasks; i++) {
    struct task *t = &turn->tasks[i];
    turn->counts.late += (uint64_t)t->late;
    turn->counts.unable += !t->monitor;
    task_judge(t);
    if (t->monitor) turn->counts.signals += json_array_size(monitor_signals(t->monitor));
  }
}

bool turn_items(struct turn *turn, struct strbuf *out) {
  bool any = false;
  while (turn->next_item < turn->n_tasks && out->len < TURN_CLOSE_BYTES) {
    json_t *item = task_item(&turn->tasks[turn->next_item++]);
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
