/* claim -> drive (thread, lease renewed) -> finish -> [look at what is live -> converge (thread)] -> claim … */
#include "rollout/deployer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define DEPLOYER_MAGIC 0xDE9107E5u
static const unsigned tries_max = 5;
static const int64_t retry_ms = 1000;

enum deployer_step { STEP_IDLE, STEP_CLAIM, STEP_DRIVE, STEP_FINISH, STEP_LOOK, STEP_CONVERGE };

/* One deployment in hand. Threads get it only while `step` is DRIVE or CONVERGE. */
struct job {
  int64_t id, lease, generation, version;
  char *pipeline, *artifact, *kind;
  json_t *driver;
  bool moved;     /* the driver said so */
  bool attempted; /* it may have touched the resource */
  json_t *detail;
  struct err err;
};

struct deployer {
  unsigned magic;
  uv_loop_t *loop;
  struct deployer_options options;
  char *owner;
  enum deployer_step step;
  struct job job;
  bool again;     /* kicked meanwhile */
  bool converge;  /* what the running thread does */
  unsigned tries; /* of the present step after the driver */
  uv_work_t work;
  uv_timer_t poll, renew, retry;
  struct db_request request, renewal;
  bool stopping;
  unsigned handles_open;
  void (*closed)(void *arg);
  void *closed_arg;
};

static void claim(struct deployer *deployer);
static void finish(struct deployer *deployer);
static void look(struct deployer *deployer);

/* ---- the job in hand ---- */

static void job_fini(struct job *job) {
  mem_free(job->pipeline);
  mem_free(job->artifact);
  mem_free(job->kind);
  json_decref(job->driver);
  json_decref(job->detail);
  *job = (struct job){0};
}

static void close_if_idle(struct deployer *deployer);

static void stop_renewing(struct deployer *deployer) {
  uv_timer_stop(&deployer->renew);
  db_forget(&deployer->renewal);
}

static void poll_due(uv_timer_t *timer) {
  struct deployer *deployer = timer->data;
  if (deployer->step == STEP_IDLE) claim(deployer);
}

static void rest(struct deployer *deployer, bool more) {
  stop_renewing(deployer);
  job_fini(&deployer->job);
  deployer->step = STEP_IDLE;
  deployer->tries = 0;
  if (deployer->stopping) {
    close_if_idle(deployer);
    return;
  }
  more = more || deployer->again;
  deployer->again = false;
  int64_t poll_ms = deployer->options.poll_ms > 0 ? deployer->options.poll_ms : 5000;
  uv_timer_start(&deployer->poll, poll_due, more ? 0 : (uint64_t)clock_jitter_ms(poll_ms, 0.2), 0);
}

static void log_outcome(enum log_level level, const char *event, const struct job *job, const struct err *err) {
  log_event(level, event, LOG_I("deployment", job->id), LOG_S("pipeline", job->pipeline),
            LOG_I("version", job->version), LOG_S("kind", job->kind),
            LOG_S("error", err && err->code != ERR_NONE ? err->text : NULL));
}

/* ---- the driver, in a thread ---- */

static void drive_work(uv_work_t *work) {
  struct deployer *deployer = work->data;
  struct job *job = &deployer->job;
  struct rollout_move move = {.pipeline = job->pipeline,
                              .version = job->version,
                              .artifact = job->artifact,
                              .driver = job->driver,
                              .generation = job->generation,
                              .converge = deployer->converge};
  job->err = (struct err){0};
  job->moved = rollout_move(&deployer->options.rollout, &move, &job->detail, &job->err);
}

static void retry_due(uv_timer_t *timer) {
  struct deployer *deployer = timer->data;
  if (deployer->step == STEP_FINISH)
    finish(deployer);
  else
    look(deployer);
}

static void try_later(struct deployer *deployer, const struct err *err) {
  bool enough = ++deployer->tries >= tries_max && err->code != ERR_DB_DOWN;
  if (enough || deployer->stopping) { /* the lease runs out and somebody else carries on */
    log_outcome(LOG_ERROR, "deployment.abandoned", &deployer->job, err);
    rest(deployer, false);
    return;
  }
  log_outcome(LOG_WARN, "deployment.retry", &deployer->job, err);
  uv_timer_start(&deployer->retry, retry_due, (uint64_t)clock_jitter_ms(retry_ms, 0.3), 0);
}

static void drive_done(uv_work_t *work, int status) {
  struct deployer *deployer = work->data;
  struct job *job = &deployer->job;
  (void)status;
  if (!deployer->converge) {
    job->attempted = job->moved || job->err.code != ERR_LEASE_LOST;
    deployer->step = STEP_FINISH;
    finish(deployer);
    return;
  }
  if (job->moved || job->err.code == ERR_LEASE_LOST) { /* fenced off: somebody newer has set it */
    log_outcome(LOG_INFO, "deployment.converged", job, NULL);
    rest(deployer, true);
    return;
  }
  deployer->step = STEP_LOOK;
  try_later(deployer, &job->err);
}

static void run_driver(struct deployer *deployer, bool converge) {
  deployer->converge = converge;
  deployer->step = converge ? STEP_CONVERGE : STEP_DRIVE;
  deployer->work.data = deployer;
  json_decref(deployer->job.detail);
  deployer->job.detail = NULL;
  ORCH_ASSERT(uv_queue_work(deployer->loop, &deployer->work, drive_work, drive_done) == 0);
}

/* ---- the lease ---- */

static void renewed(void *arg, struct db_result *result, const struct err *err) {
  struct deployer *deployer = arg;
  (void)result;
  /* A driver cannot be called back; the fence and deployment_finish() see to it that it does no harm. */
  if (err && err->code == ERR_LEASE_LOST) log_outcome(LOG_WARN, "deployment.lease_lost", &deployer->job, err);
}

static void renew_due(uv_timer_t *timer) {
  struct deployer *deployer = timer->data;
  if (deployer->renewal.job) return;
  struct db_value values[] = {db_i64(deployer->job.id), db_i64(deployer->job.lease),
                              db_i64(deployer->options.lease_ms)};
  deployer->renewal = (struct db_request){.timeout_ms = deployer->options.lease_ms / 2, .repeatable = true};
  db_query(deployer->options.db, &deployer->renewal, "select orch.deployment_renew($1, $2, $3)", ARRAY_LEN(values),
           values, renewed, deployer);
}

/* ---- claiming ---- */

static void claimed(void *arg, struct db_result *result, const struct err *err) {
  struct deployer *deployer = arg;
  MAGIC_CHECK(deployer, DEPLOYER_MAGIC);
  if (err || db_rows(result) == 0) {
    if (err && err->code != ERR_DB_DOWN) log_err(LOG_WARN, "deployment.claim_failed", err);
    rest(deployer, false);
    return;
  }
  struct job *job = &deployer->job;
  const char *artifact = db_get_text(result, 0, db_column(result, "artifact"));
  const char *driver = db_get_text(result, 0, db_column(result, "driver"));
  job->id = db_get_i64(result, 0, db_column(result, "id"), 0);
  job->lease = db_get_i64(result, 0, db_column(result, "lease"), 0);
  job->generation = db_get_i64(result, 0, db_column(result, "generation"), 0);
  job->version = db_get_i64(result, 0, db_column(result, "version"), 0);
  job->pipeline = mem_strdup(db_get_text(result, 0, db_column(result, "pipeline")));
  job->kind = mem_strdup(db_get_text(result, 0, db_column(result, "kind")));
  job->artifact = mem_strdup(artifact ? artifact : "");
  job->driver = json_loads(driver ? driver : "null", JSON_DECODE_ANY, NULL);
  log_outcome(LOG_INFO, "deployment.started", job, NULL);
  uint64_t every_ms = (uint64_t)deployer->options.lease_ms / 3;
  uv_timer_start(&deployer->renew, renew_due, every_ms, every_ms);
  run_driver(deployer, false);
}

static void claim(struct deployer *deployer) {
  deployer->step = STEP_CLAIM;
  deployer->again = false;
  uv_timer_stop(&deployer->poll);
  struct db_value values[] = {db_text(deployer->owner), db_i64(deployer->options.lease_ms)};
  deployer->request = (struct db_request){.timeout_ms = 10000};
  db_query(deployer->options.db, &deployer->request,
           "select id, lease, kind, pipeline, version, artifact, driver, generation from orch.deployment_claim($1, $2)",
           ARRAY_LEN(values), values, claimed, deployer);
}

/* ---- finishing ---- */

/* Whatever this driver did, another decision stands: the resource must follow it. */
static void follow_what_is_live(struct deployer *deployer) {
  if (!deployer->job.attempted) {
    rest(deployer, true);
    return;
  }
  deployer->step = STEP_LOOK;
  deployer->tries = 0;
  look(deployer);
}

static void finished(void *arg, struct db_result *result, const struct err *err) {
  struct deployer *deployer = arg;
  struct job *job = &deployer->job;
  if (err && err->code != ERR_LEASE_LOST && err->code != ERR_NOT_FOUND) {
    try_later(deployer, err);
    return;
  }
  stop_renewing(deployer);
  if (err) {
    log_outcome(LOG_WARN, "deployment.lease_lost", job, err);
    follow_what_is_live(deployer);
    return;
  }
  const char *text = db_get_document(result);
  json_t *answer = json_loads(text ? text : "null", JSON_DECODE_ANY, NULL);
  const char *state = json_string_value(json_object_get(answer, "state"));
  bool aborted = state && strcmp(state, "aborted") == 0;
  log_outcome(job->moved ? LOG_INFO : LOG_WARN, job->moved ? "deployment.live" : "deployment.failed", job, &job->err);
  json_decref(answer);
  if (aborted)
    follow_what_is_live(deployer);
  else
    rest(deployer, true);
}

static void finish(struct deployer *deployer) {
  struct job *job = &deployer->job;
  if (!job->detail) job->detail = json_object();
  if (!job->moved) {
    json_object_set_new(job->detail, "error", json_string(job->err.text));
    json_object_set_new(job->detail, "permanent", json_boolean(rollout_error_is_permanent(&job->err)));
  }
  char *detail = json_dumps(job->detail, JSON_COMPACT);
  struct db_value values[] = {db_i64(job->id), db_i64(job->lease), db_bool(job->moved), db_text(detail)};
  /* Repeatable: when it has already taken effect it answers "not ours any more", and then we look what is live. */
  deployer->request = (struct db_request){.timeout_ms = 10000, .repeatable = true};
  db_query(deployer->options.db, &deployer->request, "select orch.deployment_finish($1, $2, $3, $4)", ARRAY_LEN(values),
           values, finished, deployer);
  free(detail);
}

/* ---- converging ---- */

static void looked(void *arg, struct db_result *result, const struct err *err) {
  struct deployer *deployer = arg;
  struct job *job = &deployer->job;
  if (err) {
    try_later(deployer, err);
    return;
  }
  const char *text = db_get_document(result);
  json_t *live = json_loads(text ? text : "null", JSON_DECODE_ANY, NULL);
  const char *artifact = json_string_value(json_object_get(live, "artifact"));
  if (!artifact) { /* nothing was ever live */
    json_decref(live);
    rest(deployer, true);
    return;
  }
  int64_t generation = json_integer_value(json_object_get(live, "generation"));
  if (generation > job->generation) job->generation = generation;
  job->version = json_integer_value(json_object_get(live, "version"));
  mem_free(job->artifact);
  job->artifact = mem_strdup(artifact);
  if (json_is_object(json_object_get(live, "driver"))) {
    json_decref(job->driver);
    job->driver = json_incref(json_object_get(live, "driver"));
  }
  json_decref(live);
  run_driver(deployer, true);
}

static void look(struct deployer *deployer) {
  struct db_value values[] = {db_text(deployer->job.pipeline)};
  deployer->request = (struct db_request){.timeout_ms = 10000, .repeatable = true};
  db_query(deployer->options.db, &deployer->request, "select orch.pipeline_live($1)", ARRAY_LEN(values), values, looked,
           deployer);
}

/* ---- public ---- */

struct deployer *deployer_new(uv_loop_t *loop, const struct deployer_options *options) {
  struct deployer *deployer = mem_alloc(sizeof(*deployer));
  deployer->magic = DEPLOYER_MAGIC;
  deployer->loop = loop;
  deployer->options = *options;
  deployer->owner = mem_strdup(options->owner);
  if (deployer->options.lease_ms <= 0) deployer->options.lease_ms = 10000;
  uv_timer_t *timers[] = {&deployer->poll, &deployer->renew, &deployer->retry};
  for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
    uv_timer_init(loop, timers[i]);
    timers[i]->data = deployer;
  }
  deployer->handles_open = ARRAY_LEN(timers);
  uv_timer_start(&deployer->poll, poll_due, 0, 0);
  return deployer;
}

void deployer_kick(struct deployer *deployer) {
  MAGIC_CHECK(deployer, DEPLOYER_MAGIC);
  if (deployer->stopping) return;
  if (deployer->step == STEP_IDLE)
    claim(deployer);
  else
    deployer->again = true;
}

bool deployer_is_busy(const struct deployer *deployer) {
  return deployer->step > STEP_CLAIM;
}

static void timer_closed(uv_handle_t *handle) {
  struct deployer *deployer = handle->data;
  if (--deployer->handles_open > 0) return;
  void (*closed)(void *arg) = deployer->closed;
  void *arg = deployer->closed_arg;
  mem_free(deployer->owner);
  mem_free(deployer);
  if (closed) closed(arg);
}

static void close_if_idle(struct deployer *deployer) {
  if (deployer->step != STEP_IDLE || uv_is_closing((uv_handle_t *)&deployer->poll)) return;
  stop_renewing(deployer);
  uv_close((uv_handle_t *)&deployer->poll, timer_closed);
  uv_close((uv_handle_t *)&deployer->renew, timer_closed);
  uv_close((uv_handle_t *)&deployer->retry, timer_closed);
}

void deployer_free(struct deployer *deployer, void (*closed)(void *arg), void *arg) {
  MAGIC_CHECK(deployer, DEPLOYER_MAGIC);
  deployer->stopping = true;
  deployer->closed = closed;
  deployer->closed_arg = arg;
  close_if_idle(deployer);
}
