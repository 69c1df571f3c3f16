#include "trigger/windows.h"

#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "trigger/window_eval.h"

#define MAGIC 0x77696e64u
/* Short, because what died with a window is taken over when its lease ends; grown when a window took longer. */
#define LEASE_MIN_MS 15000
#define LEASE_MAX_MS 600000
/* Rows asked for at once. A row is at most 64 KiB, so an answer stays bounded; batches come whole, so usually one or
 * two questions are enough. */
#define READ_ROWS 256

/* claim -> read … read -> close -> claim …, until a claim comes back empty or something fails. */
enum step { STEP_IDLE, STEP_CLAIM, STEP_READ, STEP_CLOSE };

struct windows {
  uint32_t magic;
  struct db *db;
  char *owner;
  enum step step;
  bool again; /* poked while busy */
  int64_t lease_ms;
  struct db_request request;
  struct windows_stats stats;

  /* the window in work */
  int64_t monitor_id, lease, pipeline_id, from_row, to_row, next_row;
  char *pipeline;
  struct window_eval *eval;
  char *result, *signals;
};

static void ask_claim(struct windows *w);
static void ask_rows(struct windows *w);

struct windows *windows_new(struct db *db, const char *owner) {
  struct windows *w = mem_alloc(sizeof *w);
  w->magic = MAGIC;
  w->db = db;
  w->owner = mem_strdup(owner);
  w->lease_ms = LEASE_MIN_MS;
  return w;
}

static void drop_window(struct windows *w) {
  window_eval_free(w->eval);
  w->eval = NULL;
  mem_free(w->pipeline);
  mem_free(w->result);
  mem_free(w->signals);
  w->pipeline = w->result = w->signals = NULL;
}

void windows_free(struct windows *w) {
  if (!w) return;
  db_forget(&w->request);
  drop_window(w);
  mem_free(w->owner);
  w->magic = 0;
  mem_free(w);
}

bool windows_busy(const struct windows *w) {
  return w->step != STEP_IDLE;
}
void windows_get_stats(const struct windows *w, struct windows_stats *ret) {
  *ret = w->stats;
}

void windows_poke(struct windows *w) {
  if (w->step == STEP_IDLE)
    ask_claim(w);
  else
    w->again = true;
}

static void go_idle(struct windows *w) {
  drop_window(w);
  w->step = STEP_IDLE;
}

/* The window stays due: whoever looks after the lease has ended takes it. A lost lease is no failure: somebody did. */
static void give_up(struct windows *w, const struct err *err) {
  bool lost = err->code == ERR_LEASE_LOST;
  if (!lost) w->stats.failures++;
  if (lost && w->lease_ms < LEASE_MAX_MS) w->lease_ms *= 2;
  log_err(lost ? LOG_INFO : LOG_WARN, lost ? "window.lease_lost" : "window.failed", err);
  go_idle(w);
  if (lost) ask_claim(w);
}

static void count_dispositions(struct windows *w, const struct db_result *result) {
  const char *text = db_get_document(result);
  json_t *doc = text ? json_loads(text, 0, NULL) : NULL;
  w->stats.signals += json_array_size(json_object_get(doc, "dispositions"));
  json_decref(doc);
}

static void window_closed(void *arg, struct db_result *result, const struct err *err) {
  struct windows *w = arg;
  MAGIC_CHECK(w, MAGIC);
  if (err) return give_up(w, err);
  w->stats.closed++;
  w->stats.rows += (uint64_t)(w->to_row - w->from_row);
  count_dispositions(w, result);
  log_event(LOG_INFO, "window.closed", LOG_S("pipeline", w->pipeline), LOG_I("monitor", w->monitor_id),
            LOG_I("from_row", w->from_row), LOG_I("to_row", w->to_row));
  drop_window(w);
  ask_claim(w);
}

static void ask_close(struct windows *w) {
  struct db_value values[] = {db_i64(w->monitor_id), db_i64(w->lease),   db_i64(w->from_row),
                              db_i64(w->to_row),     db_text(w->result), db_text(w->signals)};
  w->step = STEP_CLOSE;
  w->request = (struct db_request){0};
  db_query(w->db, &w->request, "select orch.window_close($1, $2, $3, $4, $5::jsonb, $6::jsonb)", ARRAY_LEN(values),
           values, window_closed, w);
}

/* A window that cannot be judged is recorded as such: it would fail in the same way for ever. */
static void close_unable(struct windows *w, const struct window_task *task, const struct err *why) {
  log_err(LOG_WARN, "window.unable", why);
  w->result = window_eval_unable(task, why->text);
  w->signals = mem_strdup("[]");
  ask_close(w);
}

static void finish_rows(struct windows *w) {
  struct err err = {0};
  if (!window_eval_finish(w->eval, &w->result, &w->signals, &err)) {
    struct window_task task = {.from_row = w->from_row, .to_row = w->to_row};
    return close_unable(w, &task, &err);
  }
  ask_close(w);
}

static void rows_read(void *arg, struct db_result *result, const struct err *err) {
  struct windows *w = arg;
  MAGIC_CHECK(w, MAGIC);
  if (err) return give_up(w, err);
  int64_t before = w->next_row;
  for (int i = 0; i < db_rows(result); i++) {
    uint8_t *body;
    size_t len;
    int64_t first = db_get_i64(result, i, 0, -1), rows = db_get_i64(result, i, 1, 0);
    /* Batches lie end to end; one that starts later means that rows are gone. */
    if (first < 0 || first > w->next_row || first + rows <= w->next_row || !db_get_bytes(result, i, 2, &body, &len))
      continue;
    window_eval_add(w->eval, first, (const char *)body, len);
    mem_free(body);
    w->next_row = first + rows;
  }
  if (w->next_row >= w->to_row || w->next_row == before)
    finish_rows(w);
  else
    ask_rows(w);
}

static void ask_rows(struct windows *w) {
  int64_t to = w->next_row + READ_ROWS < w->to_row ? w->next_row + READ_ROWS : w->to_row;
  struct db_value values[] = {db_i64(w->pipeline_id), db_i64(w->next_row), db_i64(to)};
  w->step = STEP_READ;
  w->request = (struct db_request){.repeatable = true};
  db_query(w->db, &w->request,
           "select first_row, n_rows, body from orch.observations_read($1, $2, $3) order by first_row",
           ARRAY_LEN(values), values, rows_read, w);
}

static void start_window(struct windows *w, const struct db_result *result) {
  uint8_t *profile = NULL;
  size_t profile_len = 0;
  struct err err = {0};
  w->monitor_id = db_get_i64(result, 0, 0, 0);
  w->lease = db_get_i64(result, 0, 1, 0);
  w->pipeline = mem_strdup(db_get_text(result, 0, 2));
  w->pipeline_id = db_get_i64(result, 0, 3, 0);
  w->from_row = w->next_row = db_get_i64(result, 0, 7, 0);
  w->to_row = db_get_i64(result, 0, 8, 0);
  bool has_profile = db_get_bytes(result, 0, 6, &profile, &profile_len);
  struct window_task task = {.monitor = db_get_text(result, 0, 4),
                             .history = db_get_text(result, 0, 9),
                             .profile = has_profile ? profile : NULL,
                             .profile_len = profile_len,
                             .champion = (int)db_get_i64(result, 0, 5, 0),
                             .from_row = w->from_row,
                             .to_row = w->to_row,
                             .now_us = clock_wall_us()};
  w->eval = window_eval_new(&task, &err);
  if (w->eval)
    ask_rows(w);
  else
    close_unable(w, &task, &err);
  mem_free(profile);
}

static void claimed(void *arg, struct db_result *result, const struct err *err) {
  struct windows *w = arg;
  MAGIC_CHECK(w, MAGIC);
  if (err) return give_up(w, err);
  if (db_rows(result) > 0) return start_window(w, result);
  go_idle(w);
  if (w->again) ask_claim(w);
}

static void ask_claim(struct windows *w) {
  struct db_value values[] = {db_text(w->owner), db_i64(w->lease_ms)};
  w->step = STEP_CLAIM;
  w->again = false;
  w->request = (struct db_request){0};
  db_query(w->db, &w->request,
           "select monitor_id, lease, pipeline, pipeline_id, monitor, version, profile, from_row, to_row, history "
           "from orch.monitor_claim($1, $2, 1)",
           ARRAY_LEN(values), values, claimed, w);
}
