#include "trigger/windows.h"

#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "trigger/windows_turn.h"

#define MAGIC 0x77696e64u
/* Short, because what died with its windows is taken over when the lease ends; grown when a turn took longer. */
#define LEASE_MIN_MS 15000
#define LEASE_MAX_MS 600000

/* claim -> profiles -> (read -> take) … -> judge -> close … -> claim, until a claim comes back empty or something
 * fails. */
enum step { STEP_IDLE, STEP_CLAIM, STEP_PROFILES, STEP_PREPARE, STEP_READ, STEP_TAKE, STEP_JUDGE, STEP_CLOSE };

/* What a thread works on, and all that this needs: it outlives the flow when the flow is dropped meanwhile. */
struct bench {
  uv_work_t work;
  struct windows *windows; /* NULL: dropped */
  struct profiles *profiles;
  struct turn *turn;
  struct db_result *result;
  enum step step;
};

struct windows {
  uint32_t magic;
  uv_loop_t *loop;
  struct db *db;
  char *owner;
  enum step step;
  bool again; /* poked while busy */
  int64_t lease_ms;
  struct db_request request;
  struct windows_stats stats;
  struct bench *bench;
};

static void ask_claim(struct windows *w);
static void ask_rows(struct windows *w);
static void ask_close(struct windows *w);

struct windows *windows_new(uv_loop_t *loop, struct db *db, const char *owner) {
  struct windows *w = mem_alloc(sizeof *w);
  w->magic = MAGIC;
  w->loop = loop;
  w->db = db;
  w->owner = mem_strdup(owner);
  w->lease_ms = LEASE_MIN_MS;
  w->bench = mem_alloc(sizeof *w->bench);
  w->bench->windows = w;
  w->bench->profiles = profiles_new();
  return w;
}

static void drop_turn(struct bench *bench) {
  db_result_unref(bench->result);
  turn_free(bench->turn);
  bench->result = NULL;
  bench->turn = NULL;
}

static void bench_free(struct bench *bench) {
  drop_turn(bench);
  profiles_free(bench->profiles);
  mem_free(bench);
}

static bool in_thread(const struct windows *w) {
  return w->step == STEP_PREPARE || w->step == STEP_TAKE || w->step == STEP_JUDGE;
}

void windows_free(struct windows *w) {
  if (!w) return;
  db_forget(&w->request);
  if (in_thread(w))
    w->bench->windows = NULL;
  else
    bench_free(w->bench);
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
  drop_turn(w->bench);
  w->step = STEP_IDLE;
}

/* The windows stay due: whoever looks after the lease has ended takes them. */
static void give_up(struct windows *w, const struct err *err) {
  w->stats.failures++;
  log_err(LOG_WARN, "window.failed", err);
  go_idle(w);
}

/* ---- in a thread ---- */

static void work(uv_work_t *uv) {
  struct bench *bench = CONTAINER_OF(uv, struct bench, work);
  if (bench->step == STEP_PREPARE) {
    if (bench->result) turn_take_profiles(bench->turn, bench->profiles, bench->result);
    turn_prepare(bench->turn, bench->profiles);
  } else if (bench->step == STEP_TAKE) {
    turn_take_rows(bench->turn, bench->result);
  } else {
    turn_judge(bench->turn);
  }
}

static void start_thread(struct windows *w, enum step step, struct db_result *result);

static void worked(uv_work_t *uv, int status) {
  struct bench *bench = CONTAINER_OF(uv, struct bench, work);
  struct windows *w = bench->windows;
  ORCH_ASSERT(status == 0); /* never cancelled */
  if (!w) return bench_free(bench);
  db_result_unref(bench->result);
  bench->result = NULL;
  if (w->step == STEP_JUDGE)
    ask_close(w);
  else
    ask_rows(w);
}

static void start_thread(struct windows *w, enum step step, struct db_result *result) {
  w->step = w->bench->step = step;
  w->bench->result = result ? db_result_ref(result) : NULL;
  ORCH_ASSERT(uv_queue_work(w->loop, &w->bench->work, work, worked) == 0);
}

/* ---- close ---- */

static void count_closed(struct windows *w, const struct db_result *result) {
  const char *text = db_get_document(result);
  json_t *doc = text ? json_loads(text, 0, NULL) : NULL, *item;
  size_t i;
  uint64_t lost = 0;
  json_array_foreach(json_object_get(doc, "items"), i, item) {
    const char *code = json_string_value(json_object_get(item, "code"));
    w->stats.closed += (uint64_t)json_integer_value(json_object_get(item, "closed"));
    w->stats.signals += json_array_size(json_object_get(item, "signals"));
    w->stats.refused += code != NULL;
    lost += code && strcmp(code, "OR004") == 0;
    if (code && strcmp(code, "OR004") != 0)
      log_event(LOG_WARN, "window.refused", LOG_I("monitor", json_integer_value(json_object_get(item, "monitor"))),
                LOG_S("code", code), LOG_S("error", json_string_value(json_object_get(item, "error"))));
  }
  /* A lost lease is no failure: a promotion, or another server that was quicker than this one. */
  if (lost == json_array_size(json_object_get(doc, "items")) && lost && w->lease_ms < LEASE_MAX_MS) w->lease_ms *= 2;
  json_decref(doc);
}

static void closed(void *arg, struct db_result *result, const struct err *err) {
  struct windows *w = arg;
  MAGIC_CHECK(w, MAGIC);
  if (err) return give_up(w, err);
  count_closed(w, result);
  ask_close(w);
}

static void turn_over(struct windows *w) {
  struct turn_counts counts;
  const char *why = turn_why_unable(w->bench->turn);
  turn_count(w->bench->turn, &counts);
  w->stats.rows += counts.rows;
  w->stats.late += counts.late;
  if (*why) log_event(LOG_WARN, "window.unable", LOG_I("monitors", counts.unable), LOG_S("why", why));
  log_event(LOG_DEBUG, "window.turn", LOG_I("monitors", counts.monitors), LOG_I("rows", counts.rows),
            LOG_I("signals", counts.signals));
  drop_turn(w->bench);
  ask_claim(w);
}

static void ask_close(struct windows *w) {
  struct strbuf items;
  strbuf_init(&items, 512u << 20);
  w->step = STEP_CLOSE;
  if (turn_items(w->bench->turn, &items)) {
    struct db_value values[] = {db_text(strbuf_text(&items))};
    w->request = (struct db_request){0};
    db_query(w->db, &w->request, "select orch.windows_close($1::jsonb)", ARRAY_LEN(values), values, closed, w);
  } else {
    turn_over(w);
  }
  strbuf_fini(&items);
}

/* ---- read ---- */

static void rows_read(void *arg, struct db_result *result, const struct err *err) {
  struct windows *w = arg;
  MAGIC_CHECK(w, MAGIC);
  if (err) return give_up(w, err);
  start_thread(w, STEP_TAKE, result);
}

static void ask_rows(struct windows *w) {
  struct strbuf ranges;
  strbuf_init(&ranges, 1 << 20);
  w->step = STEP_READ;
  if (turn_ranges(w->bench->turn, &ranges)) {
    struct db_value values[] = {db_text(strbuf_text(&ranges)), db_i64(TURN_READ_BYTES)};
    w->request = (struct db_request){.repeatable = true, .binary = true};
    db_query(w->db, &w->request,
             "select range, first_row, n_rows, received_us, body from orch.observations_read($1::jsonb, $2)",
             ARRAY_LEN(values), values, rows_read, w);
  } else {
    start_thread(w, STEP_JUDGE, NULL);
  }
  strbuf_fini(&ranges);
}

static void profiles_read(void *arg, struct db_result *result, const struct err *err) {
  struct windows *w = arg;
  MAGIC_CHECK(w, MAGIC);
  if (err) return give_up(w, err);
  start_thread(w, STEP_PREPARE, result);
}

/* ---- claim ---- */

static void claimed(void *arg, struct db_result *result, const struct err *err) {
  struct windows *w = arg;
  MAGIC_CHECK(w, MAGIC);
  if (err) return give_up(w, err);
  profiles_shrink(w->bench->profiles);
  w->bench->turn = turn_new(result);
  if (!w->bench->turn) {
    go_idle(w);
    if (w->again) ask_claim(w);
    return;
  }
  struct strbuf ids;
  strbuf_init(&ids, 1 << 16);
  w->step = STEP_PROFILES;
  if (turn_missing_profiles(w->bench->turn, w->bench->profiles, &ids)) {
    struct db_value values[] = {db_text(strbuf_text(&ids))};
    w->request = (struct db_request){.repeatable = true};
    db_query(w->db, &w->request, "select version_id, profile from orch.profiles_read($1::bigint[])", ARRAY_LEN(values),
             values, profiles_read, w);
  } else {
    start_thread(w, STEP_PREPARE, NULL);
  }
  strbuf_fini(&ids);
}

static void ask_claim(struct windows *w) {
  struct db_value values[] = {db_text(w->owner), db_i64(w->lease_ms), db_i64(TURN_MONITORS_MAX),
                              db_i64(TURN_WINDOWS_MAX)};
  w->step = STEP_CLAIM;
  w->again = false;
  w->request = (struct db_request){0};
  db_query(w->db, &w->request, "select " TURN_CLAIM_COLUMNS " from orch.windows_claim($1, $2, $3::int, $4::int)",
           ARRAY_LEN(values), values, claimed, w);
}
