/* Being there: registering, heartbeats, coming back after trouble, leaving. One of them is in flight at a time. */
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker_private.h"

/* Of a lease: when a heartbeat goes out, and when steps must be dead because none was answered. */
#define BEATS_PER_LEASE 4
#define KILL_SHARE 0.7

static void beat_later(struct worker *worker, int64_t ms);

void worker_db_failed(struct worker *worker, const char *what, const struct err *err) {
  if (worker->healthy || worker->beat_ok_us == 0) {
    log_event(LOG_WARN, "worker.database", LOG_S("what", what), LOG_S("code", err_code_name(err->code)),
              LOG_S("error", err->text), LOG_S("hint", err->hint[0] ? err->hint : NULL));
  }
  if (worker->beat_ok_us == 0) worker->beat_ok_us = -1; /* said once */
  worker->healthy = false;
  beat_later(worker, clock_jitter_ms(worker->lease_ms / 10, 0.5));
}

/* No heartbeat was answered for so long that the lease is about to pass: nothing of ours may run when it does. */
static void lease_runs_out(uv_timer_t *timer) {
  struct worker *worker = timer->data;
  MAGIC_CHECK(worker, WORKER_MAGIC);
  worker->healthy = false;
  unsigned count = 0;
  for (unsigned i = 0; i < worker->slot_count; i++) {
    struct attempt *attempt = worker->slots[i].attempt;
    if (!attempt || attempt_is_done(attempt)) continue;
    attempt_stop(attempt, ATTEMPT_HAND_BACK);
    attempt_kill(attempt);
    count++;
  }
  if (count) {
    worker->resume_due = true;
    log_event(LOG_ERROR, "worker.lease_runs_out", LOG_I("killed", count));
  }
}

static void stay(struct worker *worker) {
  bool was = worker->healthy;
  worker->healthy = true;
  worker->beat_ok_us = worker->beat_sent_us;
  int64_t left_ms = (int64_t)((double)worker->lease_ms * KILL_SHARE) - (clock_mono_us() - worker->beat_sent_us) / 1000;
  uv_timer_start(&worker->guard_timer, lease_runs_out, (uint64_t)(left_ms > 1 ? left_ms : 1), 0);
  beat_later(worker, clock_jitter_ms(worker->lease_ms / BEATS_PER_LEASE, 0.1));
  if (!was) {
    worker->want = true;
    log_event(LOG_INFO, "worker.ready", LOG_I("worker", worker->id));
  }
}

/* [{"job":1,"lease":2}, …] */
static void stop_those(struct worker *worker, const json_t *list, enum attempt_stop reason) {
  size_t i;
  json_t *item;
  json_array_foreach(list, i, item) {
    struct slot *slot = worker_slot_of(worker, json_integer_value(json_object_get(item, "job")),
                                       json_integer_value(json_object_get(item, "lease")));
    if (!slot || attempt_is_done(slot->attempt)) continue; /* what has ended is handed in, and may be refused there */
    log_event(LOG_INFO, reason == ATTEMPT_CANCEL ? "job.cancelling" : "job.lost",
              LOG_I("job", attempt_job(slot->attempt)), LOG_I("lease", attempt_lease(slot->attempt)),
              LOG_S("step", attempt_label(slot->attempt)));
    attempt_stop(slot->attempt, reason);
  }
}

/* The database does not know us any more: whatever runs here belongs to somebody else. */
static void forgotten(struct worker *worker) {
  log_event(LOG_WARN, "worker.forgotten", LOG_I("worker", worker->id));
  worker->id = 0;
  worker->healthy = worker->resume_due = false;
  for (unsigned i = 0; i < worker->slot_count; i++)
    if (worker->slots[i].attempt && !attempt_is_done(worker->slots[i].attempt))
      attempt_stop(worker->slots[i].attempt, ATTEMPT_LOST);
  beat_later(worker, 1);
}

static void beat_answered(struct worker *worker, const char *document) {
  json_t *answer = json_loads(document ? document : "", 0, NULL);
  if (!json_is_true(json_object_get(answer, "ok"))) {
    json_decref(answer);
    forgotten(worker);
    return;
  }
  stop_those(worker, json_object_get(answer, "lost"), ATTEMPT_LOST);
  stop_those(worker, json_object_get(answer, "cancels"), ATTEMPT_CANCEL);
  json_decref(answer);
  stay(worker);
}

static void heartbeat_done(void *arg, struct db_result *result, const struct err *err) {
  struct worker *worker = arg;
  MAGIC_CHECK(worker, WORKER_MAGIC);
  worker->beating = false;
  if (err)
    worker_db_failed(worker, "heartbeat", err);
  else
    beat_answered(worker, db_get_document(result));
  if (!err && worker->id && worker->resume_due && !worker->exchanging) beat_later(worker, 0);
  worker_pump(worker);
  worker_maybe_leave(worker);
}

static void resume_done(void *arg, struct db_result *result, const struct err *err) {
  struct worker *worker = arg;
  MAGIC_CHECK(worker, WORKER_MAGIC);
  if (!err) worker->resume_due = false;
  heartbeat_done(worker, result, err);
}

static void registered(void *arg, struct db_result *result, const struct err *err) {
  struct worker *worker = arg;
  MAGIC_CHECK(worker, WORKER_MAGIC);
  worker->beating = false;
  if (err && err->code != ERR_DB_DOWN && err->code != ERR_TIMEOUT) {
    log_err(LOG_ERROR, "worker.refused", err);
    worker->exit_code = err_exit_code(err->code);
    worker_close(worker);
    return;
  }
  if (err) {
    worker_db_failed(worker, "register", err);
    worker_maybe_leave(worker);
    return;
  }
  const char *document = db_get_document(result);
  json_t *answer = json_loads(document ? document : "", 0, NULL);
  worker->id = json_integer_value(json_object_get(answer, "worker"));
  json_decref(answer);
  worker->healthy = false; /* so that stay() says that it is ready */
  stay(worker);
  worker_pump(worker);
  worker_maybe_leave(worker);
}

static void send_register(struct worker *worker) {
  char host[HOST_NAME_MAX + 1] = "";
  gethostname(host, sizeof host - 1);
  size_t count = 0;
  const char *const *labels = worker->options->labels;
  while (labels && labels[count]) count++;
  CLEANUP(strbuf_fini_p) struct strbuf list;
  strbuf_init(&list, 1 << 16);
  db_add_text_array(&list, labels, count);
  struct db_value values[] = {db_text(worker->name),
                              db_text(host),
                              db_i64(getpid()),
                              db_text(strbuf_text(&list)),
                              db_real(worker->cpu),
                              db_i64(worker->memory_bytes),
                              db_i64(worker->options->gpu),
                              db_i64(worker->slot_count),
                              db_i64(worker->lease_ms)};
  db_query(worker->db, &worker->beat_request, "select orch.worker_register($1,$2,$3,$4,$5,$6,$7,$8,$9)",
           ARRAY_LEN(values), values, registered, worker);
}

static void send_beat(struct worker *worker) {
  CLEANUP(strbuf_fini_p) struct strbuf jobs, leases, free_now;
  strbuf_init(&jobs, 1 << 16);
  strbuf_init(&leases, 1 << 16);
  strbuf_init(&free_now, 256);
  worker_add_held(worker, false, &jobs);
  worker_add_held(worker, true, &leases);
  worker_add_free(worker, &free_now);
  struct db_value values[] = {db_i64(worker->id), db_text(strbuf_text(&jobs)), db_text(strbuf_text(&leases)),
                              db_text(strbuf_text(&free_now))};
  if (worker->resume_due && !worker->exchanging)
    db_query(worker->db, &worker->beat_request, "select orch.worker_resume($1,$2,$3)", 3, values, resume_done, worker);
  else
    db_query(worker->db, &worker->beat_request, "select orch.worker_heartbeat($1,$2,$3,$4)", 4, values, heartbeat_done,
             worker);
}

void worker_beat(struct worker *worker) {
  if (worker->beating || worker->closing || worker->leaving) return;
  worker->beating = true;
  worker->beat_sent_us = clock_mono_us();
  worker->beat_request = (struct db_request){.timeout_ms = worker->lease_ms / BEATS_PER_LEASE};
  if (worker->id)
    send_beat(worker);
  else
    send_register(worker);
}

static void beat_due(uv_timer_t *timer) {
  worker_beat(timer->data);
}

static void beat_later(struct worker *worker, int64_t ms) {
  if (!worker->closing) uv_timer_start(&worker->beat_timer, beat_due, (uint64_t)(ms > 0 ? ms : 0), 0);
}

void worker_beat_soon(struct worker *worker) {
  int64_t since_ms = (clock_mono_us() - worker->beat_sent_us) / 1000;
  if (worker->beating) return;
  if (since_ms >= WORKER_BEAT_LEAST_MS)
    worker_beat(worker);
  else
    beat_later(worker, WORKER_BEAT_LEAST_MS - since_ms);
}

static void left(void *arg, struct db_result *result, const struct err *err) {
  struct worker *worker = arg;
  MAGIC_CHECK(worker, WORKER_MAGIC);
  if (err) {
    log_err(LOG_WARN, "worker.left_silently", err);
    worker->exit_code = err_exit_code(err->code);
  } else {
    log_event(LOG_INFO, "worker.left", LOG_I("worker", worker->id), LOG_S("answer", db_get_document(result)));
  }
  worker_close(worker);
}

void worker_leave(struct worker *worker) {
  worker->leaving = true;
  db_forget(&worker->beat_request);
  if (!worker->id) {
    worker_close(worker);
    return;
  }
  struct db_value values[] = {db_i64(worker->id)};
  worker->beat_request = (struct db_request){.timeout_ms = 5000, .repeatable = true};
  db_query(worker->db, &worker->beat_request, "select orch.worker_stop($1)", 1, values, left, worker);
}
