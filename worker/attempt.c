#include "attempt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "attempt_private.h"
#include "base/clock.h"
#include "base/log.h"

static void thread_work(uv_work_t *work) {
  struct attempt *attempt = work->data;
  if (attempt->step == ATTEMPT_UNPACK) {
    attempt_unpack(attempt);
    attempt->gathered = attempt->err.code == ERR_NONE && !attempt_needs_commands(attempt);
    if (attempt->gathered) attempt_gather(attempt);
  } else if (attempt->step == ATTEMPT_GATHER) {
    attempt_gather(attempt);
  }
  if (attempt->step == ATTEMPT_COLLECT) attempt_collect(attempt);
}

static enum attempt_step next_step(const struct attempt *attempt) {
  bool gone = attempt->reason == ATTEMPT_LOST || attempt->reason == ATTEMPT_HAND_BACK;
  if (attempt->step == ATTEMPT_COLLECT || attempt->step == ATTEMPT_DONE) return ATTEMPT_DONE;
  if (gone) return ATTEMPT_DONE;
  if (attempt->reason != ATTEMPT_GO_ON || attempt->err.code != ERR_NONE) return ATTEMPT_COLLECT;
  return attempt->step + 1;
}

static void thread_ended(uv_work_t *work, int status) {
  struct attempt *attempt = work->data;
  MAGIC_CHECK(attempt, ATTEMPT_MAGIC);
  attempt->busy = false;
  attempt->step = next_step(attempt);
  attempt_drive(attempt);
}

static void in_thread(struct attempt *attempt) {
  attempt->busy = true;
  attempt->work.data = attempt;
  ORCH_ASSERT(uv_queue_work(attempt->host->loop, &attempt->work, thread_work, thread_ended) == 0);
}

static void step_unpack(struct attempt *attempt) {
  in_thread(attempt);
}

/* Comes here once for every source, and a last time when none is left. */
static void step_snapshot(struct attempt *attempt) {
  bool none = false;
  if (attempt_start_snapshot(attempt, &none) && !none)
    attempt->busy = true;
  else
    attempt->step = next_step(attempt);
}

static void step_gather(struct attempt *attempt) {
  if (attempt->gathered)
    attempt->step = next_step(attempt);
  else
    in_thread(attempt);
}

static void step_run(struct attempt *attempt) {
  if (attempt_start_run(attempt))
    attempt->busy = true;
  else
    attempt->step = next_step(attempt);
}

static void step_collect(struct attempt *attempt) {
  uv_timer_stop(&attempt->timeout);
  attempt->ending = attempt->reason;
  joblog_close(attempt->log); /* complete before it is sealed */
  attempt->log = NULL;
  in_thread(attempt);
}

static void timeout_closed(uv_handle_t *handle) {
  struct attempt *attempt = handle->data;
  MAGIC_CHECK(attempt, ATTEMPT_MAGIC);
  attempt->done = true;
  attempt->host->done(attempt->host->arg, attempt);
}

static void step_done(struct attempt *attempt) {
  if (attempt->reason == ATTEMPT_LOST) attempt->state = NULL;
  joblog_close(attempt->log);
  attempt->log = NULL;
  environment_fini(&attempt->environment);
  attempt->busy = true; /* nothing drives it any more */
  uv_close((uv_handle_t *)&attempt->timeout, timeout_closed);
}

void attempt_drive(struct attempt *attempt) {
  static void (*const steps[])(struct attempt *) = {
#define X(upper, lower) [ATTEMPT_##upper] = step_##lower,
      ATTEMPT_STEPS(X)
#undef X
  };
  if (attempt->in_step) return;
  attempt->in_step = true;
  while (!attempt->busy) steps[attempt->step](attempt);
  attempt->in_step = false;
}

void attempt_process_ended(struct attempt *attempt, const struct process_exit *result) {
  MAGIC_CHECK(attempt, ATTEMPT_MAGIC);
  attempt->busy = false;
  attempt->run = NULL;
  attempt->exit = *result;
  if (attempt->log) joblog_flush(attempt->log);
  /* After one snapshot comes the next one, or the look that there is none. */
  bool again = attempt->step == ATTEMPT_SNAPSHOT && attempt->reason == ATTEMPT_GO_ON && !attempt->err.code;
  if (!again) attempt->step = next_step(attempt);
  attempt_drive(attempt);
}

static void time_is_over(uv_timer_t *timer) {
  struct attempt *attempt = timer->data;
  MAGIC_CHECK(attempt, ATTEMPT_MAGIC);
  attempt_stop(attempt, ATTEMPT_TIMEOUT);
}

static void progressed(void *arg, double fraction, const char *text) {
  struct attempt *attempt = arg;
  if (attempt->step == ATTEMPT_RUN && attempt->reason == ATTEMPT_GO_ON)
    attempt->host->progress(attempt->host->arg, attempt, fraction, text);
}

/* A brief that is off still has a log that says so. */
static void read_brief(struct attempt *attempt, const char *text) {
  attempt->log = joblog_open(attempt->log_path, progressed, attempt, &attempt->err);
  if (!attempt->log || !brief_parse(&attempt->brief, text, &attempt->err)) return;
  attempt->executor = executor_find(attempt->brief.executor);
  if (!attempt->executor)
    err_set(&attempt->err, ERR_INVALID, "this worker has no executor '%s'", attempt->brief.executor);
}

struct attempt *attempt_new(const struct attempt_host *host, int64_t job, int64_t lease, int64_t timeout_ms,
                            const char *brief) {
  struct attempt *attempt = mem_alloc(sizeof *attempt);
  attempt->magic = ATTEMPT_MAGIC;
  attempt->host = host;
  attempt->job = job;
  attempt->lease = lease;
  attempt->snapshot_fd = -1;
  attempt->claimed_us = clock_mono_us();
  attempt->folder = mem_printf("%s/%" PRId64 "-%" PRId64, host->work_folder, job, lease);
  attempt->log_path = store_log_path(host->store, job, lease);
  attempt->snapshots = json_object();
  read_brief(attempt, brief);
  const struct brief *b = &attempt->brief;
  attempt->label = mem_printf("%s/%s", b->pipeline ? b->pipeline : "?", b->step ? b->step : "?");
  if (attempt->err.code) attempt->step = ATTEMPT_COLLECT;
  ORCH_ASSERT(uv_timer_init(host->loop, &attempt->timeout) == 0);
  attempt->timeout.data = attempt;
  uv_timer_start(&attempt->timeout, time_is_over, (uint64_t)(timeout_ms > 0 ? timeout_ms : b->timeout_ms), 0);
  attempt_drive(attempt);
  return attempt;
}

void attempt_stop(struct attempt *attempt, enum attempt_stop reason) {
  MAGIC_CHECK(attempt, ATTEMPT_MAGIC);
  if (reason == ATTEMPT_LOST || attempt->reason == ATTEMPT_GO_ON) attempt->reason = reason;
  if (attempt->done || !attempt->run) return;
  if (attempt->reason == ATTEMPT_LOST)
    attempt_kill(attempt);
  else
    attempt->executor->stop(attempt->run);
}

void attempt_kill(struct attempt *attempt) {
  if (attempt->run) attempt->executor->kill(attempt->run);
}

int64_t attempt_job(const struct attempt *attempt) {
  return attempt->job;
}
int64_t attempt_lease(const struct attempt *attempt) {
  return attempt->lease;
}
const char *attempt_label(const struct attempt *attempt) {
  return attempt->label;
}
double attempt_cpu(const struct attempt *attempt) {
  return attempt->brief.cpu;
}
int64_t attempt_memory_bytes(const struct attempt *attempt) {
  return attempt->brief.memory_bytes;
}
int64_t attempt_gpu(const struct attempt *attempt) {
  return attempt->brief.gpu;
}
bool attempt_is_done(const struct attempt *attempt) {
  return attempt->done;
}
const char *attempt_state(const struct attempt *attempt) {
  return attempt->state;
}
const char *attempt_result(const struct attempt *attempt) {
  return attempt->result;
}

void attempt_reject(struct attempt *attempt, const char *why) {
  json_t *old = attempt->result ? json_loads(attempt->result, 0, NULL) : NULL;
  const char *log = json_string_value(json_object_get(old, "log"));
  json_t *result =
      json_pack("{s:s, s:b, s:i, s:s*}", "error", why, "retry", 0, "exit_code", attempt->exit.code, "log", log);
  mem_free(attempt->result);
  attempt->result = result ? json_dumps(result, JSON_COMPACT) : mem_strdup("{\"retry\":false}");
  attempt->state = "failed";
  json_decref(result);
  json_decref(old);
}

static void clean_in_thread(uv_work_t *work) {
  attempt_clean(work->data);
}

static void cleaned(uv_work_t *work, int status) {
  struct attempt *attempt = work->data;
  if (attempt->err.code) log_err(LOG_WARN, "attempt.not_cleaned", &attempt->err);
  brief_fini(&attempt->brief);
  json_decref(attempt->snapshots);
  mem_free(attempt->label);
  mem_free(attempt->folder);
  mem_free(attempt->log_path);
  mem_free(attempt->result);
  attempt->magic = 0;
  mem_free(attempt);
}

void attempt_free(struct attempt *attempt, bool keep_log) {
  MAGIC_CHECK(attempt, ATTEMPT_MAGIC);
  ORCH_ASSERT(attempt->done);
  attempt->keep_log = keep_log;
  attempt->err = (struct err){0};
  ORCH_ASSERT(uv_queue_work(attempt->host->loop, &attempt->work, clean_in_thread, cleaned) == 0);
}
