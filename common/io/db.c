#include "io/db_pool.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define DB_MAGIC 0xDB900701u
#define JOB_MAGIC 0xDB90B001u
static const uint64_t tick_ms = 100;

/* ---- lists ---- */

void db_jobs_init(struct db_job_list *list) {
  *list = (struct db_job_list){.last = &list->first};
}

void db_jobs_push(struct db_job_list *list, struct db_job *job) {
  job->next = NULL;
  *list->last = job;
  list->last = &job->next;
  list->count++;
}

void db_jobs_push_front(struct db_job_list *list, struct db_job *job) {
  job->next = list->first;
  if (!list->first) list->last = &job->next;
  list->first = job;
  list->count++;
}

struct db_job *db_jobs_pop(struct db_job_list *list) {
  struct db_job *job = list->first;
  if (!job) return NULL;
  list->first = job->next;
  if (!list->first) list->last = &list->first;
  list->count--;
  job->next = NULL;
  return job;
}

/* ---- answering ---- */

static void job_free(struct db_job *job) {
  db_result_unref(job->result);
  db_params_fini(&job->params);
  mem_free(job);
}

void db_job_answer(struct db *db, struct db_job *job) {
  MAGIC_CHECK(job, JOB_MAGIC);
  if (!job->result) db->stats.failures++;
  if (job->err.code == ERR_TIMEOUT) db->stats.timeouts++;
  if (job->request) {
    job->request->fate = job->fate;
    job->request->job = NULL;
    job->callback(job->arg, job->result, job->result ? NULL : &job->err);
  }
  job_free(job);
}

static void deliver_closed(uv_handle_t *handle) {
  struct db *db = handle->data;
  db->handles_open--;
  db_handle_closed(db);
}

static void deliver_due(uv_timer_t *timer) {
  struct db *db = timer->data;
  for (struct db_job *job = db_jobs_pop(&db->answers); job; job = db_jobs_pop(&db->answers)) db_job_answer(db, job);
  /* The last handle to go: until here answers could still be waiting. */
  if (db->closing && !uv_is_closing((uv_handle_t *)timer)) uv_close((uv_handle_t *)timer, deliver_closed);
}

void db_job_defer(struct db *db, struct db_job *job) {
  db_jobs_push(&db->answers, job);
  if (!uv_is_active((uv_handle_t *)&db->deliver)) uv_timer_start(&db->deliver, deliver_due, 0, 0);
}

static void refuse(struct db *db, struct db_job *job, enum err_code code, const char *why) {
  err_set(&job->err, code, "%s", why);
  job->fate = DB_FATE_NOT_EXECUTED;
  db_job_defer(db, job);
}

/* ---- giving jobs to slots ---- */

static bool any_slot(const struct db *db, enum db_conn_state state) {
  for (unsigned i = 0; i < db->slots_count; i++)
    if (db->slots[i].conn.state == state) return true;
  return false;
}

static struct db_slot *idle_slot(struct db *db) {
  for (unsigned i = 0; i < db->slots_count; i++)
    if (db->slots[i].conn.state == DB_CONN_UP && db->slots[i].phase == SLOT_IDLE) return &db->slots[i];
  return NULL;
}

/* One more connection when all are busy; one attempt at a time. */
static void grow(struct db *db) {
  if (any_slot(db, DB_CONN_CONNECTING) || any_slot(db, DB_CONN_WAITING)) return;
  if (clock_mono_us() < db->open_not_before_us) return;
  for (unsigned i = 0; i < db->slots_count; i++)
    if (db->slots[i].conn.state == DB_CONN_OFF) {
      db_conn_open(&db->slots[i].conn);
      return;
    }
}

void db_dispatch(struct db *db) {
  if (db->closing) return;
  while (db->queue.first) {
    struct db_slot *slot = idle_slot(db);
    if (!slot) {
      grow(db);
      return;
    }
    db_slot_start(slot, db_jobs_pop(&db->queue));
  }
}

void db_slot_is_up(struct db *db) {
  db->stats.connected++;
  db->stats.down_since_us = 0;
  db->last_error = (struct err){0};
  db_dispatch(db);
}

static unsigned count_up(const struct db *db) {
  unsigned up = 0;
  for (unsigned i = 0; i < db->slots_count; i++) up += db->slots[i].conn.state == DB_CONN_UP;
  return up;
}

static void tick_due(uv_timer_t *timer);

void db_slot_is_lost(struct db *db, struct db_slot *slot, const struct err *err) {
  db->stats.connected = count_up(db);
  db->stats.reconnects++;
  db->last_error = *err;
  db->open_not_before_us = clock_mono_us() + 1000 * clock_jitter_ms(500, 0.5);
  if (db->closing) return;
  if (db->stats.connected == 0 && db->stats.down_since_us == 0) db->stats.down_since_us = clock_mono_us();
  if (!uv_is_active((uv_handle_t *)&db->tick)) uv_timer_start(&db->tick, tick_due, tick_ms, tick_ms);
  bool another = db->stats.connected > 0 || any_slot(db, DB_CONN_CONNECTING) || any_slot(db, DB_CONN_WAITING);
  if (!another) db_conn_retry(&slot->conn);
}

/* ---- deadlines ---- */

static void expire_queue(struct db *db, int64_t now_us) {
  bool given_up = db->stats.down_since_us && now_us - db->stats.down_since_us > db->options.down_ms * 1000;
  struct db_job_list kept;
  db_jobs_init(&kept);
  for (struct db_job *job = db_jobs_pop(&db->queue); job; job = db_jobs_pop(&db->queue)) {
    if (!given_up && job->deadline_us > now_us) {
      db_jobs_push(&kept, job);
    } else if (db->stats.down_since_us) {
      const char *why = db->last_error.text[0] ? db->last_error.text : "not connected to the database yet";
      refuse(db, job, ERR_DB_DOWN, why);
    } else {
      refuse(db, job, ERR_TIMEOUT, "all database connections were busy for too long");
    }
  }
  for (struct db_job *job = db_jobs_pop(&kept); job; job = db_jobs_pop(&kept)) db_jobs_push(&db->queue, job);
}

static void tick_due(uv_timer_t *timer) {
  struct db *db = timer->data;
  int64_t now_us = clock_mono_us();
  expire_queue(db, now_us);
  bool busy = false;
  for (unsigned i = 0; i < db->slots_count; i++) {
    struct db_slot *slot = &db->slots[i];
    if (slot->job && slot->conn.state == DB_CONN_UP && slot->job->deadline_us <= now_us) db_slot_cancel(slot);
    busy = busy || slot->job;
  }
  db_dispatch(db);
  if (!busy && !db->queue.first) uv_timer_stop(timer);
}

/* ---- public ---- */

struct db *db_new(uv_loop_t *loop, const struct db_options *options) {
  struct db *db = mem_alloc(sizeof(*db));
  db->magic = DB_MAGIC;
  db->loop = loop;
  db->options = *options;
  db->url = mem_strdup(options->url);
  db->name = mem_strdup(options->name ? options->name : "orch");
  db->options.url = db->options.name = NULL;
  if (!db->options.queue_max) db->options.queue_max = 1000;
  if (!db->options.timeout_ms) db->options.timeout_ms = 30000;
  if (!db->options.down_ms) db->options.down_ms = 5000;
  db->slots_count = options->connections ? options->connections : 4;
  if (db->slots_count > DB_SLOTS_MAX) db->slots_count = DB_SLOTS_MAX;
  db_jobs_init(&db->queue);
  db_jobs_init(&db->answers);
  uv_timer_init(loop, &db->tick);
  uv_timer_init(loop, &db->deliver);
  db->tick.data = db->deliver.data = db;
  db->slots = mem_calloc(db->slots_count, sizeof(*db->slots));
  for (unsigned i = 0; i < db->slots_count; i++) db_slot_init(&db->slots[i], db);
  db->handles_open = db->slots_count + 2;
  db->stats.down_since_us = clock_mono_us();
  db_conn_open(&db->slots[0].conn);
  return db;
}

void db_handle_closed(struct db *db) {
  if (db->handles_open > 0 || db->cancels_open > 0) return;
  void (*closed)(void *arg) = db->closed;
  void *arg = db->closed_arg;
  mem_free_secret(db->url);
  mem_free(db->name);
  mem_free(db->slots);
  mem_free(db);
  if (closed) closed(arg);
}

static void tick_closed(uv_handle_t *handle) {
  struct db *db = handle->data;
  db->handles_open--;
  db_handle_closed(db);
}

void db_free(struct db *db, void (*closed)(void *arg), void *arg) {
  MAGIC_CHECK(db, DB_MAGIC);
  ORCH_ASSERT(!db->closing);
  db->closing = true;
  db->closed = closed;
  db->closed_arg = arg;
  for (unsigned i = 0; i < db->slots_count; i++) db_slot_fini(&db->slots[i]);
  for (struct db_job *job = db_jobs_pop(&db->queue); job; job = db_jobs_pop(&db->queue))
    refuse(db, job, ERR_DB_DOWN, "the database connection is being closed");
  uv_close((uv_handle_t *)&db->tick, tick_closed);
  uv_timer_start(&db->deliver, deliver_due, 0, 0);
}

void db_query(struct db *db, struct db_request *request, const char *sql, size_t count, const struct db_value *values,
              db_callback callback, void *arg) {
  MAGIC_CHECK(db, DB_MAGIC);
  ORCH_ASSERT(!request->job);
  struct db_job *job = mem_alloc(sizeof(*job));
  job->magic = JOB_MAGIC;
  job->request = request;
  job->sql = sql;
  job->callback = callback;
  job->arg = arg;
  job->repeatable = request->repeatable;
  job->binary = request->binary;
  int64_t timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : db->options.timeout_ms;
  job->deadline_us = clock_mono_us() + timeout_ms * 1000;
  request->job = job;
  request->fate = DB_FATE_NOT_EXECUTED;
  db->stats.requests++;
  if (!db_params_init(&job->params, count, values, !request->borrowed, &job->err)) {
    job->fate = DB_FATE_NOT_EXECUTED;
    db_job_defer(db, job);
    return;
  }
  if (db->closing) {
    refuse(db, job, ERR_DB_DOWN, "the database connection is being closed");
    return;
  }
  if (db->queue.count >= db->options.queue_max) {
    refuse(db, job, ERR_LIMIT, "too many requests wait for the database");
    return;
  }
  db_jobs_push(&db->queue, job);
  if (!uv_is_active((uv_handle_t *)&db->tick)) uv_timer_start(&db->tick, tick_due, tick_ms, tick_ms);
  db_dispatch(db);
}

void db_forget(struct db_request *request) {
  if (!request->job) return;
  MAGIC_CHECK(request->job, JOB_MAGIC);
  request->job->request = NULL;
  request->job = NULL;
}

void db_get_stats(const struct db *db, struct db_stats *ret) {
  *ret = db->stats;
  ret->connections = db->slots_count;
  ret->connected = count_up(db);
  ret->queued = db->queue.count;
}

bool db_is_up(const struct db *db) {
  return count_up(db) > 0;
}

void db_last_error(const struct db *db, struct err *ret) {
  *ret = db->last_error;
}
