#include "serve/duties.h"

#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/flows.h"

#define DUTIES_MAGIC 0x44555459u
#define DUTY_LIMIT 200        /* rows that one call may do: a bound for its transaction */
#define DUTY_AGAIN_MS 50      /* there was more than that */
#define DUTY_WAKE_MS 100      /* wake-ups closer together are one */
#define DUTY_SLOWEST_MS 60000 /* between two tries of what fails */

struct duty_kind {
  const char *name;
  const char *sql;
  int64_t interval_ms;
  bool on_wake;
};
static const struct duty_kind kinds[] = {
    {"jobs_promote_due", "select to_jsonb(orch.jobs_promote_due($1))", 1000, true},
    {"jobs_recover", "select to_jsonb(orch.jobs_recover($1))", 5000, false},
    {"gates_expire", "select to_jsonb(orch.gates_expire($1))", 5000, false},
    {"signals_reconsider", "select to_jsonb(orch.signals_reconsider($1))", 15000, true}, /* a release waits for it */
    {"clock_fire", "select orch.clock_fire($1)", 15000, false},
    {"housekeeping", "select orch.housekeeping()", 600000, false},
};

struct duty {
  const struct duty_kind *kind;
  struct duties *duties;
  uv_timer_t timer;
  struct db_request request;
  bool running, woken;
  unsigned failures; /* in a row */
  uint64_t runs, failed, done;
  int64_t ran_us; /* monotonic, when it last ended well; 0 never */
};

struct duties {
  uint32_t magic;
  uv_loop_t *loop;
  struct db *db;
  struct duty all[ARRAY_LEN(kinds)];
  unsigned open_handles;
  void (*stopped)(void *arg);
  void *arg;
};

/* ---- when next ---- */

int64_t duties_delay_ms(const char *document, unsigned failures, int64_t interval_ms, int64_t limit) {
  if (!document) {
    int64_t delay_ms = interval_ms;
    for (unsigned i = 0; i < failures && delay_ms < DUTY_SLOWEST_MS; i++) delay_ms *= 2;
    return delay_ms > DUTY_SLOWEST_MS && delay_ms > interval_ms
               ? (interval_ms > DUTY_SLOWEST_MS ? interval_ms : DUTY_SLOWEST_MS)
               : delay_ms;
  }
  int64_t delay_ms = interval_ms;
  json_t *answer = json_loads(document, JSON_DECODE_ANY, NULL);
  if (json_is_integer(answer) && json_integer_value(answer) >= limit) delay_ms = DUTY_AGAIN_MS;
  const char *key;
  json_t *value;
  json_object_foreach(answer, key, value) {
    if (!json_is_integer(value)) continue;
    int64_t number = json_integer_value(value);
    int64_t wish_ms = strcmp(key, "next_due_ms") == 0 ? (number < DUTY_AGAIN_MS ? DUTY_AGAIN_MS : number)
                      : number >= limit               ? DUTY_AGAIN_MS
                                                      : delay_ms;
    if (wish_ms < delay_ms) delay_ms = wish_ms;
  }
  json_decref(answer);
  return delay_ms;
}

static int64_t count_done(const char *document) {
  int64_t sum = 0;
  json_t *answer = document ? json_loads(document, JSON_DECODE_ANY, NULL) : NULL;
  if (json_is_integer(answer)) sum = json_integer_value(answer);
  const char *key;
  json_t *value;
  json_object_foreach(answer, key, value) {
    if (json_is_integer(value) && strcmp(key, "next_due_ms") != 0) sum += json_integer_value(value);
  }
  json_decref(answer);
  return sum > 0 ? sum : 0;
}

/* ---- running ---- */

static void on_due(uv_timer_t *timer);

static void schedule(struct duty *duty, int64_t delay_ms) {
  int64_t jittered_ms = clock_jitter_ms(delay_ms, 0.2);
  uv_timer_start(&duty->timer, on_due, (uint64_t)(jittered_ms > 0 ? jittered_ms : 1), 0);
}

static void on_ran(void *arg, struct db_result *result, const struct err *err) {
  struct duty *duty = arg;
  MAGIC_CHECK(duty->duties, DUTIES_MAGIC);
  const char *document = result ? db_get_document(result) : NULL;
  duty->running = false;
  duty->runs++;
  if (err) {
    duty->failed++;
    duty->failures++;
    /* An unreachable database is reported once, by whoever watches it; here it is only waited for. */
    if ((err->code != ERR_DB_DOWN || db_err_is_full(err)) && (duty->failures & (duty->failures - 1)) == 0)
      log_event(LOG_WARN, "duty.failed", LOG_S("duty", duty->kind->name), LOG_I("failures", duty->failures),
                LOG_S("sqlstate", err->sqlstate), LOG_S("error", err->text));
  } else {
    int64_t done = count_done(document);
    duty->failures = 0;
    duty->done += (uint64_t)done;
    duty->ran_us = clock_mono_us();
    if (done > 0) log_event(LOG_INFO, "duty.done", LOG_S("duty", duty->kind->name), LOG_S("result", document));
  }
  int64_t delay_ms = duties_delay_ms(err        ? NULL
                                     : document ? document
                                                : "0",
                                     duty->failures, duty->kind->interval_ms, DUTY_LIMIT);
  if (duty->woken && !err) delay_ms = DUTY_WAKE_MS;
  duty->woken = false;
  schedule(duty, delay_ms);
}

static void on_due(uv_timer_t *timer) {
  struct duty *duty = timer->data;
  MAGIC_CHECK(duty->duties, DUTIES_MAGIC);
  if (duty->running) return;
  duty->running = true;
  duty->request.timeout_ms = 60000;
  duty->request.repeatable = true;
  struct db_value values[] = {db_i64(DUTY_LIMIT)};
  size_t count = strstr(duty->kind->sql, "$1") ? 1 : 0;
  db_query(duty->duties->db, &duty->request, duty->kind->sql, count, values, on_ran, duty);
}

struct duties *duties_new(uv_loop_t *loop, struct db *db) {
  struct duties *duties = mem_alloc(sizeof(*duties));
  duties->magic = DUTIES_MAGIC;
  duties->loop = loop;
  duties->db = db;
  for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
    struct duty *duty = &duties->all[i];
    duty->kind = &kinds[i];
    duty->duties = duties;
    uv_timer_init(loop, &duty->timer);
    duty->timer.data = duty;
    duties->open_handles++;
    schedule(duty, 500); /* soon after the start, and not all servers at the same instant */
  }
  return duties;
}

void duties_wake(struct duties *duties) {
  MAGIC_CHECK(duties, DUTIES_MAGIC);
  for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
    struct duty *duty = &duties->all[i];
    if (!duty->kind->on_wake || duty->failures > 0) continue;
    if (duty->running)
      duty->woken = true;
    else if (uv_timer_get_due_in(&duty->timer) > DUTY_WAKE_MS)
      schedule(duty, DUTY_WAKE_MS);
  }
}

static void on_closed(uv_handle_t *handle) {
  struct duty *duty = handle->data;
  struct duties *duties = duty->duties;
  MAGIC_CHECK(duties, DUTIES_MAGIC);
  if (--duties->open_handles > 0) return;
  void (*stopped)(void *arg) = duties->stopped;
  void *arg = duties->arg;
  duties->magic = 0;
  mem_free(duties);
  stopped(arg);
}

void duties_stop(struct duties *duties, void (*stopped)(void *arg), void *arg) {
  MAGIC_CHECK(duties, DUTIES_MAGIC);
  duties->stopped = stopped;
  duties->arg = arg;
  for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
    db_forget(&duties->all[i].request);
    uv_close((uv_handle_t *)&duties->all[i].timer, on_closed);
  }
}

void duties_metrics(const struct duties *duties, struct strbuf *out) {
  strbuf_puts(out, "# HELP orch_duty_runs_total Calls of a timed duty.\n# TYPE orch_duty_runs_total counter\n");
  for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
    strbuf_printf(out, "orch_duty_runs_total{duty=\"%s\"} %llu\n", kinds[i].name,
                  (unsigned long long)duties->all[i].runs);
  strbuf_puts(out, "# HELP orch_duty_failures_total Failed ones.\n# TYPE orch_duty_failures_total counter\n");
  for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
    strbuf_printf(out, "orch_duty_failures_total{duty=\"%s\"} %llu\n", kinds[i].name,
                  (unsigned long long)duties->all[i].failed);
  strbuf_puts(out, "# HELP orch_duty_age_seconds Since it last ended well.\n# TYPE orch_duty_age_seconds gauge\n");
  int64_t now_us = clock_mono_us();
  for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
    if (duties->all[i].ran_us > 0)
      strbuf_printf(out, "orch_duty_age_seconds{duty=\"%s\"} %.3f\n", kinds[i].name,
                    (double)(now_us - duties->all[i].ran_us) / 1e6);
}

/* ---- as a flow ---- */

static void *flow_start(struct serve *serve) {
  return duties_new(serve->loop, serve->db);
}
static void flow_wake(void *self) {
  duties_wake(self);
}
static void flow_stop(void *self, void (*stopped)(void *arg), void *arg) {
  duties_stop(self, stopped, arg);
}
static void flow_metrics(const void *self, struct strbuf *out) {
  duties_metrics(self, out);
}
const struct flow flow_duties = {"duties", WAKE_EVENT, flow_start, flow_wake, flow_stop, flow_metrics};
