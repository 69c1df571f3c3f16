/* One connection of the pool and the one job on it: prepare, run, collect, cancel. */
#include "io/db_pool.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define SLOT_MAGIC 0x5107DB01u
static const int64_t cancel_grace_us = 5 * 1000000;
static const unsigned resends_max = 3;

/* ---- prepared statements, by their text ---- */

static size_t hash_text(const char *text) {
  uint64_t hash = 1469598103934665603U;
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 1099511628211U;
  return (size_t)hash;
}

/* The statement of this text, or the free place for it (sql is NULL), or NULL when the table is full. */
static struct db_statement *find_statement(struct db_slot *slot, const char *sql) {
  size_t at = hash_text(sql);
  for (size_t i = 0; i < DB_STATEMENTS_MAX; i++) {
    struct db_statement *statement = &slot->statements[(at + i) % DB_STATEMENTS_MAX];
    if (statement->sql && strcmp(statement->sql, sql) == 0) return statement;
    if (!statement->sql) return slot->statements_used < DB_STATEMENTS_MAX / 2 ? statement : NULL;
  }
  return NULL;
}

static void forget_statements(struct db_slot *slot) {
  for (size_t i = 0; i < DB_STATEMENTS_MAX; i++) {
    mem_free(slot->statements[i].sql);
    slot->statements[i] = (struct db_statement){0};
  }
  slot->statements_used = 0;
  slot->statement = NULL;
}

/* The names are this connection's alone: behind a pooler two clients may meet on one server connection, and a name
 * that both use would run the wrong statement. */
static void statement_name(const struct db_slot *slot, char out[40]) {
  snprintf(out, 40, "orch_%016llx_%u", (unsigned long long)slot->statements_nonce, slot->statement->id);
}

/* ---- sending ---- */

static bool send_prepare(struct db_slot *slot) {
  char name[40];
  slot->statement->id = ++slot->statements_next_id;
  statement_name(slot, name);
  slot->phase = SLOT_PREPARING;
  return PQsendPrepare(slot->conn.pg, name, slot->job->sql, 0, NULL) == 1;
}

static bool send_run(struct db_slot *slot) {
  const struct db_params *p = &slot->job->params;
  slot->phase = SLOT_RUNNING;
  if (!slot->statement)
    return PQsendQueryParams(slot->conn.pg, slot->job->sql, p->count, NULL, p->values, p->lengths, p->formats,
                             slot->job->binary) == 1;
  char name[40];
  statement_name(slot, name);
  return PQsendQueryPrepared(slot->conn.pg, name, p->count, p->values, p->lengths, p->formats, slot->job->binary) == 1;
}

static void sent(struct db_slot *slot, bool ok) {
  if (ok) {
    db_conn_flush(&slot->conn);
    return;
  }
  struct err err = {0};
  db_err_from_conn(&err, slot->conn.pg, "cannot send to the database");
  db_conn_drop(&slot->conn, &err);
}

void db_slot_start(struct db_slot *slot, struct db_job *job) {
  ORCH_ASSERT(slot->phase == SLOT_IDLE && !slot->job && slot->conn.state == DB_CONN_UP);
  slot->job = job;
  slot->db->stats.busy++;
  slot->statement = slot->db->options.no_prepared ? NULL : find_statement(slot, job->sql);
  bool known = slot->statement && slot->statement->sql;
  sent(slot, slot->statement && !known ? send_prepare(slot) : send_run(slot));
}

/* ---- answers ---- */

static struct db_job *release(struct db_slot *slot) {
  struct db_job *job = slot->job;
  slot->job = NULL;
  slot->statement = NULL;
  slot->give_up_us = 0;
  slot->db->stats.busy--;
  slot->phase = slot->cancel ? SLOT_SETTLING : SLOT_IDLE;
  return job;
}

/* A pooler may have given us another server connection, and a new result type makes a kept plan useless. */
static bool statement_is_stale(const struct db_slot *slot, const PGresult *answer) {
  const char *state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);
  if (!slot->statement || !state) return false;
  if (strcmp(state, "26000") == 0) return true;
  const char *routine = PQresultErrorField(answer, PG_DIAG_SOURCE_FUNCTION);
  return strcmp(state, "0A000") == 0 && routine && strcmp(routine, "RevalidateCachedQuery") == 0;
}

static void prepared(struct db_slot *slot, PGresult *answer) {
  if (PQresultStatus(answer) == PGRES_COMMAND_OK) {
    PQclear(answer);
    slot->statement->sql = mem_strdup(slot->job->sql);
    slot->statements_used++;
    if (!slot->job->timed_out) {
      sent(slot, send_run(slot));
      return;
    }
    answer = NULL;
  }
  struct db_job *job = release(slot);
  job->fate = answer ? DB_FATE_DONE : DB_FATE_NOT_EXECUTED;
  if (answer)
    db_err_from_result(&job->err, answer);
  else
    err_set(&job->err, ERR_TIMEOUT, "the database did not answer in time");
  PQclear(answer);
  db_job_defer(slot->db, job);
  db_dispatch(slot->db);
}

static void answered(struct db_slot *slot, PGresult *answer) {
  struct db_job *job = slot->job;
  bool ok = PQresultStatus(answer) == PGRES_TUPLES_OK || PQresultStatus(answer) == PGRES_COMMAND_OK;
  if (!ok && statement_is_stale(slot, answer) && job->resends < resends_max) {
    PQclear(answer);
    job->resends++;
    release(slot);
    /* A deleted entry would cut the probe chain of others; all of them are cheap to prepare again. */
    forget_statements(slot);
    if (slot->phase == SLOT_IDLE) {
      db_slot_start(slot, job);
    } else {
      db_jobs_push_front(&slot->db->queue, job);
      db_dispatch(slot->db);
    }
    return;
  }
  release(slot);
  job->fate = DB_FATE_DONE;
  if (ok) {
    job->result = db_result_new(answer);
  } else {
    db_err_from_result(&job->err, answer);
    PQclear(answer);
  }
  db_dispatch(slot->db); /* the connection need not wait for what the callback does */
  db_job_answer(slot->db, job);
}

/* Reads what has arrived whole. True when the server is ready for the next statement, i.e. has committed this one. */
static bool collect(struct db_slot *slot) {
  while (!PQisBusy(slot->conn.pg)) {
    PGresult *result = PQgetResult(slot->conn.pg);
    if (!result) return true;
    ExecStatusType status = PQresultStatus(result);
    bool kept_is_error = slot->answer && PQresultStatus(slot->answer) == PGRES_FATAL_ERROR;
    if (kept_is_error) {
      PQclear(result);
    } else {
      PQclear(slot->answer);
      slot->answer = result;
    }
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) return false;
  }
  return false;
}

static void drain_notifies(struct db_slot *slot) {
  for (PGnotify *n = PQnotifies(slot->conn.pg); n; n = PQnotifies(slot->conn.pg)) PQfreemem(n);
}

static void slot_readable(struct db_conn *conn) {
  struct db_slot *slot = CONTAINER_OF(conn, struct db_slot, conn);
  MAGIC_CHECK(slot, SLOT_MAGIC);
  drain_notifies(slot);
  if (!slot->job) {
    while (!PQisBusy(conn->pg)) {
      PGresult *unasked = PQgetResult(conn->pg);
      if (!unasked) return;
      PQclear(unasked);
    }
    return;
  }
  if (!collect(slot)) {
    if (!slot->answer || PQresultStatus(slot->answer) != PGRES_COPY_OUT) return;
    struct err err = {0};
    err_set(&err, ERR_INTERNAL, "COPY is not for this pool");
    db_conn_drop(conn, &err);
    return;
  }
  PGresult *answer = slot->answer;
  slot->answer = NULL;
  if (PQstatus(conn->pg) != CONNECTION_OK || !answer) {
    slot->answer = answer;
    struct err err = {0};
    db_err_from_conn(&err, conn->pg, "the connection to the database broke");
    db_conn_drop(conn, &err);
  } else if (slot->phase == SLOT_PREPARING) {
    prepared(slot, answer);
  } else {
    answered(slot, answer);
  }
}

/* ---- cancelling ---- */

struct db_cancel {
  uv_work_t work;
  PGcancel *pg;
  struct db_slot *slot; /* NULL once the connection is gone */
  struct db *db;
};

static void cancel_work(uv_work_t *work) {
  struct db_cancel *cancel = CONTAINER_OF(work, struct db_cancel, work);
  char message[256];
  PQcancel(cancel->pg, message, sizeof(message)); /* blocks; when it fails, the grace time ends the connection */
}

static void cancel_done(uv_work_t *work, int status) {
  struct db_cancel *cancel = CONTAINER_OF(work, struct db_cancel, work);
  struct db *db = cancel->db;
  struct db_slot *slot = cancel->slot;
  PQfreeCancel(cancel->pg);
  mem_free(cancel);
  (void)status;
  db->cancels_open--;
  if (slot) {
    slot->cancel = NULL;
    if (slot->phase == SLOT_SETTLING) slot->phase = SLOT_IDLE;
    db_dispatch(db);
  }
  if (db->closing) db_handle_closed(db);
}

void db_slot_cancel(struct db_slot *slot) {
  int64_t now_us = clock_mono_us();
  if (slot->job->timed_out) {
    if (now_us < slot->give_up_us) return;
    struct err err = {0};
    err_set(&err, ERR_TIMEOUT, "the database neither answered in time nor cancelled the statement");
    db_conn_drop(&slot->conn, &err);
    return;
  }
  slot->job->timed_out = true;
  slot->give_up_us = now_us + cancel_grace_us;
  PGcancel *pg = slot->cancel ? NULL : PQgetCancel(slot->conn.pg);
  if (!pg) return;
  struct db_cancel *cancel = mem_alloc(sizeof(*cancel));
  cancel->pg = pg;
  cancel->slot = slot;
  cancel->db = slot->db;
  slot->cancel = cancel;
  slot->db->cancels_open++;
  if (uv_queue_work(slot->db->loop, &cancel->work, cancel_work, cancel_done) != 0) cancel_done(&cancel->work, 0);
}

/* ---- losing ---- */

static void slot_dying(struct db_conn *conn) {
  struct db_slot *slot = CONTAINER_OF(conn, struct db_slot, conn);
  if (slot->job) (void)collect(slot);
}

/* The statement was under way when the connection broke. */
static void settle_lost_job(struct db_slot *slot, const struct err *err) {
  struct db *db = slot->db;
  bool ran = slot->phase == SLOT_RUNNING;
  struct db_job *job = release(slot);
  slot->phase = SLOT_IDLE;
  bool again = !job->timed_out && job->resends < resends_max && (!ran || job->repeatable) && !db->closing;
  if (again) {
    job->resends++;
    db_jobs_push_front(&db->queue, job);
    return;
  }
  job->fate = ran ? DB_FATE_UNKNOWN : DB_FATE_NOT_EXECUTED;
  job->err = *err;
  job->err.code = job->timed_out ? ERR_TIMEOUT : ERR_DB_DOWN;
  if (ran) err_hint(&job->err, "it is not known whether the statement took effect; look before asking again");
  db_job_defer(db, job);
}

static void detach(struct db_slot *slot) {
  if (slot->cancel) slot->cancel->slot = NULL;
  slot->cancel = NULL;
  PQclear(slot->answer);
  slot->answer = NULL;
  forget_statements(slot);
}

static void slot_lost(struct db_conn *conn, const struct err *err) {
  struct db_slot *slot = CONTAINER_OF(conn, struct db_slot, conn);
  MAGIC_CHECK(slot, SLOT_MAGIC);
  struct err reason = *err;
  if (slot->answer && PQresultStatus(slot->answer) == PGRES_FATAL_ERROR &&
      PQresultErrorField(slot->answer, PG_DIAG_SQLSTATE))
    db_err_from_result(&reason, slot->answer); /* the server's own last words say more */
  detach(slot);
  if (slot->job)
    settle_lost_job(slot, &reason);
  else
    slot->phase = SLOT_IDLE;
  db_slot_is_lost(slot->db, slot, &reason);
}

static void slot_ready(struct db_conn *conn) {
  struct db_slot *slot = CONTAINER_OF(conn, struct db_slot, conn);
  slot->phase = SLOT_IDLE;
  slot->statements_nonce = clock_random_u64();
  db_slot_is_up(slot->db);
}

static void slot_closed(struct db_conn *conn) {
  struct db_slot *slot = CONTAINER_OF(conn, struct db_slot, conn);
  slot->db->handles_open--;
  db_handle_closed(slot->db);
}

void db_slot_init(struct db_slot *slot, struct db *db) {
  slot->magic = SLOT_MAGIC;
  slot->db = db;
  slot->conn = (struct db_conn){
      .ready = slot_ready, .readable = slot_readable, .lost = slot_lost, .dying = slot_dying, .closed = slot_closed};
  db_conn_init(&slot->conn, db->loop, db->url, db->name, db->options.connect_ms);
}

void db_slot_fini(struct db_slot *slot) {
  struct err err = {0};
  err_set(&err, ERR_DB_DOWN, "the database connection is being closed");
  detach(slot);
  if (slot->job) settle_lost_job(slot, &err);
  db_conn_close(&slot->conn);
}
