#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker_private.h"

#define BATCH_MAX 64
#define RESULTS_BYTES_MAX ((size_t)256 << 20)

unsigned worker_running(const struct worker *worker) {
  unsigned count = 0;
  for (unsigned i = 0; i < worker->slot_count; i++) count += worker->slots[i].attempt != NULL;
  return count;
}

struct slot *worker_slot_of(struct worker *worker, int64_t job, int64_t lease) {
  for (unsigned i = 0; i < worker->slot_count; i++) {
    struct slot *slot = &worker->slots[i];
    if (slot->attempt && attempt_job(slot->attempt) == job && attempt_lease(slot->attempt) == lease) return slot;
  }
  return NULL;
}

void worker_slot_clear(struct slot *slot, bool keep_log) {
  db_forget(&slot->request);
  attempt_free(slot->attempt, keep_log);
  slot->attempt = NULL;
  slot->handing_in = slot->rejected = slot->progress_due = false;
  worker_idle_later(slot->worker);
}

void worker_add_held(const struct worker *worker, bool leases, struct strbuf *out) {
  const char *comma = "{";
  for (unsigned i = 0; i < worker->slot_count; i++) {
    const struct attempt *attempt = worker->slots[i].attempt;
    if (!attempt) continue;
    strbuf_printf(out, "%s%" PRId64, comma, leases ? attempt_lease(attempt) : attempt_job(attempt));
    comma = ",";
  }
  strbuf_puts(out, *comma == '{' ? "{}" : "}");
}

/* What runs, without what the exchange hands in: that is free by the time the claim looks. */
void worker_add_free(const struct worker *worker, struct strbuf *out) {
  double cpu = worker->cpu;
  int64_t memory = worker->memory_bytes, gpu = worker->options->gpu;
  for (unsigned i = 0; i < worker->slot_count; i++) {
    const struct slot *slot = &worker->slots[i];
    if (!slot->attempt || slot->handing_in) continue;
    cpu -= attempt_cpu(slot->attempt);
    memory -= attempt_memory_bytes(slot->attempt);
    gpu -= attempt_gpu(slot->attempt);
  }
  strbuf_printf(out, "{\"cpu\":%.6g,\"memory_bytes\":%" PRId64 ",\"gpu\":%" PRId64 "}", cpu > 0 ? cpu : 0,
                memory > 0 ? memory : 0, gpu > 0 ? gpu : 0);
}

/* ---- the answer ---- */

static void handed_in(struct worker *worker, const char *outcome, int64_t job, int64_t lease) {
  struct slot *slot = worker_slot_of(worker, job, lease);
  if (!slot || !slot->handing_in) return;
  bool lost = strcmp(outcome, "lease_lost") == 0;
  log_event(lost ? LOG_WARN : LOG_INFO, "job.ended", LOG_I("job", job), LOG_I("lease", lease),
            LOG_S("step", attempt_label(slot->attempt)), LOG_S("state", attempt_state(slot->attempt)),
            LOG_S("outcome", outcome));
  worker_slot_clear(slot, lost);
}

static void claimed(struct worker *worker, const struct db_result *result, int row) {
  int64_t job = db_get_i64(result, row, db_column(result, "job"), 0);
  int64_t lease = db_get_i64(result, row, db_column(result, "lease"), 0);
  int64_t timeout_ms = db_get_i64(result, row, db_column(result, "timeout_ms"), 0);
  for (unsigned i = 0; i < worker->slot_count; i++) {
    struct slot *slot = &worker->slots[i];
    if (slot->attempt) continue;
    slot->progress_us = 0;
    slot->attempt =
        attempt_new(&worker->host, job, lease, timeout_ms, db_get_text(result, row, db_column(result, "brief")));
    log_event(LOG_INFO, "job.claimed", LOG_I("job", job), LOG_I("lease", lease),
              LOG_S("step", attempt_label(slot->attempt)),
              LOG_I("attempt", db_get_i64(result, row, db_column(result, "attempt"), 0)));
    if (worker->stopping) attempt_stop(slot->attempt, ATTEMPT_HAND_BACK); /* asked for before the signal came */
    return;
  }
  worker->resume_due = true; /* more than was asked for: what nobody holds goes back */
}

static void take_answer(struct worker *worker, const struct db_result *result) {
  unsigned granted = 0;
  int outcome = db_column(result, "outcome"), job = db_column(result, "job"), lease = db_column(result, "lease");
  ORCH_ASSERT(outcome >= 0 && job >= 0 && lease >= 0);
  for (int i = 0; i < db_rows(result); i++)
    if (strcmp(db_get_text(result, i, outcome), "claimed") != 0)
      handed_in(worker, db_get_text(result, i, outcome), db_get_i64(result, i, job, 0),
                db_get_i64(result, i, lease, 0));
  for (int i = 0; i < db_rows(result); i++)
    if (strcmp(db_get_text(result, i, outcome), "claimed") == 0) {
      claimed(worker, result, i);
      granted++;
    }
  /* Fewer than asked for: there is no more. Otherwise look again when the next slot is free. */
  if (granted < worker->asked) worker->want = false;
}

/* The database refused: nothing of the statement happened. One bad result must not hold up the others. */
static void refused(struct worker *worker, const struct err *err) {
  struct slot *only = NULL;
  unsigned count = 0;
  for (unsigned i = 0; i < worker->slot_count; i++)
    if (worker->slots[i].handing_in) {
      only = &worker->slots[i];
      count++;
    }
  log_err(LOG_WARN, "job.exchange_refused", err);
  if (count == 1 && only->rejected) {
    worker_slot_clear(only, true); /* not even as a failure: the deadline will end it */
  } else if (count == 1) {
    only->rejected = true;
    attempt_reject(only->attempt, err->text);
  }
  worker->careful = count > 0;
  if (err->code == ERR_LEASE_LOST) {
    worker->healthy = false; /* not active: the next heartbeat tells */
    worker_beat(worker);
  } else if (count == 0) {
    worker->want = false; /* until the next poll */
  }
}

static bool any_to_hand_in(const struct worker *worker) {
  for (unsigned i = 0; i < worker->slot_count; i++) {
    const struct attempt *attempt = worker->slots[i].attempt;
    if (attempt && attempt_is_done(attempt) && attempt_state(attempt)) return true;
  }
  return false;
}

static void exchanged(void *arg, struct db_result *result, const struct err *err) {
  struct worker *worker = arg;
  MAGIC_CHECK(worker, WORKER_MAGIC);
  worker->exchanging = false;
  if (result) {
    take_answer(worker, result);
    worker->careful = worker->careful && any_to_hand_in(worker);
  } else if (worker->exchange_request.fate == DB_FATE_DONE && err->code != ERR_DB_DOWN && err->code != ERR_TIMEOUT) {
    refused(worker, err);
  } else {
    if (worker->exchange_request.fate != DB_FATE_NOT_EXECUTED) worker->resume_due = true;
    worker_db_failed(worker, "exchange", err);
  }
  for (unsigned i = 0; i < worker->slot_count; i++) worker->slots[i].handing_in = false;
  worker_pump(worker);
  worker_maybe_leave(worker);
}

/* ---- the question ---- */

struct batch {
  struct strbuf jobs, leases;
  const char *states[BATCH_MAX], *results[BATCH_MAX];
  int64_t job, lease; /* the last one's */
  size_t count;
};

static void collect(struct worker *worker, struct batch *batch) {
  strbuf_init(&batch->jobs, 1 << 16);
  strbuf_init(&batch->leases, 1 << 16);
  batch->job = batch->lease = 0;
  batch->count = 0;
  for (unsigned i = 0; i < worker->slot_count && batch->count < (worker->careful ? 1 : BATCH_MAX); i++) {
    struct slot *slot = &worker->slots[i];
    if (!slot->attempt || !attempt_is_done(slot->attempt) || !attempt_state(slot->attempt)) continue;
    slot->handing_in = true;
    batch->job = attempt_job(slot->attempt);
    batch->lease = attempt_lease(slot->attempt);
    strbuf_printf(&batch->jobs, "%c%" PRId64, batch->count ? ',' : '{', batch->job);
    strbuf_printf(&batch->leases, "%c%" PRId64, batch->count ? ',' : '{', batch->lease);
    batch->states[batch->count] = attempt_state(slot->attempt);
    batch->results[batch->count++] = attempt_result(slot->attempt);
  }
  strbuf_puts(&batch->jobs, batch->count ? "}" : "{}");
  strbuf_puts(&batch->leases, batch->count ? "}" : "{}");
}

static void send_exchange(struct worker *worker, const struct batch *batch) {
  CLEANUP(strbuf_fini_p) struct strbuf states, results, free_now;
  strbuf_init(&states, 1 << 16);
  strbuf_init(&results, RESULTS_BYTES_MAX);
  strbuf_init(&free_now, 256);
  db_add_text_array(&states, batch->states, batch->count);
  db_add_text_array(&results, batch->results, batch->count);
  worker_add_free(worker, &free_now);
  struct db_value values[] = {db_i64(worker->id),
                              db_text(strbuf_text(&batch->jobs)),
                              db_text(strbuf_text(&batch->leases)),
                              db_text(strbuf_text(&states)),
                              db_text(strbuf_text(&results)),
                              db_i64(worker->asked),
                              db_text(strbuf_text(&free_now))};
  worker->exchanging = true;
  worker->exchange_request = (struct db_request){.timeout_ms = worker->lease_ms};
  db_query(worker->db, &worker->exchange_request, "select * from orch.job_exchange($1,$2,$3,$4,$5,$6,$7)",
           ARRAY_LEN(values), values, exchanged, worker);
}

/* One succeeded and one slot is free: what a busy worker asks all day has a leaner statement. */
static void send_swap(struct worker *worker, const struct batch *batch) {
  CLEANUP(strbuf_fini_p) struct strbuf free_now;
  strbuf_init(&free_now, 256);
  worker_add_free(worker, &free_now);
  struct db_value values[] = {db_i64(worker->id), db_i64(batch->job), db_i64(batch->lease), db_text(batch->results[0]),
                              db_text(strbuf_text(&free_now))};
  worker->exchanging = true;
  worker->exchange_request = (struct db_request){.timeout_ms = worker->lease_ms};
  db_query(worker->db, &worker->exchange_request, "select * from orch.job_swap($1,$2,$3,$4,$5)", ARRAY_LEN(values),
           values, exchanged, worker);
}

void worker_pump(struct worker *worker) {
  if (worker->exchanging || worker->closing || worker->leaving || !worker->id || !worker->healthy || worker->resume_due)
    return;
  struct batch batch;
  collect(worker, &batch);
  unsigned in_use = worker_running(worker) - (unsigned)batch.count;
  bool may_claim = !worker->stopping && !worker->careful;
  worker->asked = may_claim && (worker->want || batch.count) ? worker->slot_count - in_use : 0;
  if (batch.count == 1 && worker->asked == 1 && strcmp(batch.states[0], "succeeded") == 0)
    send_swap(worker, &batch);
  else if (batch.count || worker->asked)
    send_exchange(worker, &batch);
  strbuf_fini(&batch.jobs);
  strbuf_fini(&batch.leases);
}

void worker_attempt_done(void *arg, struct attempt *attempt) {
  struct worker *worker = arg;
  MAGIC_CHECK(worker, WORKER_MAGIC);
  struct slot *slot = worker_slot_of(worker, attempt_job(attempt), attempt_lease(attempt));
  ORCH_ASSERT(slot != NULL);
  if (!attempt_state(attempt)) {
    log_event(LOG_INFO, "job.dropped", LOG_I("job", attempt_job(attempt)), LOG_I("lease", attempt_lease(attempt)),
              LOG_S("step", attempt_label(attempt)));
    worker_slot_clear(slot, true);
  }
  worker_pump(worker);
  worker_maybe_leave(worker);
}

/* ---- progress ---- */

static void progress_answered(void *arg, struct db_result *result, const struct err *err) {
  struct slot *slot = arg;
  const char *answer = result ? db_get_document(result) : NULL;
  if (!answer || !slot->attempt) return; /* only news: heartbeats notice what is wrong */
  if (strcmp(answer, "cancel") == 0) attempt_stop(slot->attempt, ATTEMPT_CANCEL);
  if (strcmp(answer, "lease_lost") == 0) attempt_stop(slot->attempt, ATTEMPT_LOST);
}

static void progress_send(struct slot *slot) {
  struct worker *worker = slot->worker;
  if (slot->request.job || !worker->healthy) return;
  slot->progress_due = false;
  slot->progress_us = clock_mono_us();
  struct db_value values[] = {db_i64(attempt_job(slot->attempt)), db_i64(attempt_lease(slot->attempt)),
                              db_real(slot->fraction), db_text(slot->text)};
  slot->request = (struct db_request){.timeout_ms = worker->lease_ms / 2, .repeatable = true};
  db_query(worker->db, &slot->request, "select orch.job_progress($1,$2,$3,$4)", ARRAY_LEN(values), values,
           progress_answered, slot);
}

void worker_progress_send_due(uv_timer_t *timer) {
  struct worker *worker = timer->data;
  for (unsigned i = 0; i < worker->slot_count; i++) {
    struct slot *slot = &worker->slots[i];
    if (slot->attempt && slot->progress_due && !attempt_is_done(slot->attempt)) progress_send(slot);
  }
}

void worker_attempt_progress(void *arg, struct attempt *attempt, double fraction, const char *text) {
  struct worker *worker = arg;
  struct slot *slot = worker_slot_of(worker, attempt_job(attempt), attempt_lease(attempt));
  if (!slot) return;
  slot->fraction = fraction;
  snprintf(slot->text, sizeof slot->text, "%s", text);
  slot->progress_due = true;
  int64_t since_ms = (clock_mono_us() - slot->progress_us) / 1000;
  if (since_ms >= WORKER_PROGRESS_MS)
    progress_send(slot);
  else if (!uv_is_active((uv_handle_t *)&worker->progress_timer))
    uv_timer_start(&worker->progress_timer, worker_progress_send_due, (uint64_t)(WORKER_PROGRESS_MS - since_ms), 0);
}
