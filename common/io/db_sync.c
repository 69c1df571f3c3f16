#include "io/db_sync.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/db_internal.h"

#define DB_SYNC_MAGIC 0xDB5C0001u

struct db_sync {
  unsigned magic;
  PGconn *pg;
  int64_t timeout_ms;
  void (*notice)(void *arg, const char *text);
  void *notice_arg;
};

static void take_notice(void *arg, const PGresult *result) {
  struct db_sync *db = arg;
  const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  if (db->notice && text) db->notice(db->notice_arg, text);
}

struct db_sync *db_sync_open(const char *url, const char *name, struct err *err) {
  PGconn *pg = db_connect(url, name, false, "10");
  if (!pg || PQstatus(pg) != CONNECTION_OK) {
    db_err_from_conn(err, pg, "cannot connect to the database");
    CLEANUP(strbuf_fini_p) struct strbuf where;
    strbuf_init(&where, 200);
    db_describe_url(url, &where);
    err_hint(err, "is PostgreSQL running at %s? `orch up` starts a private one", strbuf_text(&where));
    PQfinish(pg);
    return NULL;
  }
  struct db_sync *db = mem_alloc(sizeof(*db));
  db->magic = DB_SYNC_MAGIC;
  db->pg = pg;
  db->timeout_ms = 60000;
  PQsetNoticeReceiver(pg, take_notice, db);
  return db;
}

void db_sync_close(struct db_sync *db) {
  if (!db) return;
  MAGIC_CHECK(db, DB_SYNC_MAGIC);
  PQfinish(db->pg);
  mem_free(db);
}

void db_sync_set_timeout(struct db_sync *db, int64_t timeout_ms) {
  db->timeout_ms = timeout_ms;
}

void db_sync_on_notice(struct db_sync *db, void (*notice)(void *arg, const char *text), void *arg) {
  db->notice = notice;
  db->notice_arg = arg;
}

int db_sync_server_version(const struct db_sync *db) {
  return PQserverVersion(db->pg);
}

bool db_sync_is_lost(const struct db_sync *db) {
  return PQstatus(db->pg) != CONNECTION_OK;
}

/* Waits until libpq has a whole result. False once the deadline (0: none) has passed. */
static bool wait_for_result(struct db_sync *db, int64_t deadline_us) {
  while (PQisBusy(db->pg)) {
    int wait_ms = -1;
    if (deadline_us) {
      int64_t left_us = deadline_us - clock_mono_us();
      if (left_us <= 0) return false;
      wait_ms = left_us > 3600000000LL ? 3600000 : (int)((left_us + 999) / 1000);
    }
    struct pollfd watched = {.fd = PQsocket(db->pg), .events = POLLIN};
    int ready = poll(&watched, 1, wait_ms);
    if (ready < 0 && errno != EINTR) return true; /* libpq finds out by itself */
    if (ready > 0 && !PQconsumeInput(db->pg)) return true;
  }
  return true;
}

static void cancel(struct db_sync *db) {
  PGcancel *handle = PQgetCancel(db->pg);
  char message[256];
  if (handle) PQcancel(handle, message, sizeof(message));
  PQfreeCancel(handle);
}

/* Collects until the server is ready again: the first error, else the last result that has rows or the last one. */
static PGresult *collect(struct db_sync *db, int64_t deadline_us) {
  PGresult *answer = NULL;
  bool cancelled = false;
  for (;;) {
    if (!wait_for_result(db, deadline_us)) {
      if (cancelled) return answer; /* the server ignores us: the caller sees a busy connection */
      cancel(db);
      cancelled = true;
      deadline_us = clock_mono_us() + 5000000;
      continue;
    }
    PGresult *next = PQgetResult(db->pg);
    if (!next) return answer;
    if (answer && PQresultStatus(answer) == PGRES_FATAL_ERROR) {
      PQclear(next);
    } else {
      PQclear(answer);
      answer = next;
    }
    if (PQstatus(db->pg) != CONNECTION_OK) return answer;
  }
}

/* The result, or NULL with the error filled. */
static PGresult *run(struct db_sync *db, int sent, struct err *err) {
  if (!sent) {
    db_err_from_conn(err, db->pg, "cannot send to the database");
    return NULL;
  }
  int64_t deadline_us = db->timeout_ms > 0 ? clock_mono_us() + db->timeout_ms * 1000 : 0;
  PGresult *answer = collect(db, deadline_us);
  if (answer && PQtransactionStatus(db->pg) == PQTRANS_ACTIVE && PQstatus(db->pg) == CONNECTION_OK) {
    PQclear(answer);
    answer = NULL;
  }
  if (!answer) {
    if (PQstatus(db->pg) == CONNECTION_OK)
      err_set(err, ERR_TIMEOUT, "the database neither answered in time nor cancelled the statement");
    else
      db_err_from_conn(err, db->pg, "the connection to the database broke");
    return NULL;
  }
  ExecStatusType status = PQresultStatus(answer);
  if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) {
    if (PQstatus(db->pg) == CONNECTION_OK) return answer;
    db_err_from_conn(err, db->pg, "the connection to the database broke before the commit was confirmed");
  } else {
    db_err_from_result(err, answer);
  }
  PQclear(answer);
  return NULL;
}

struct db_result *db_sync_query(struct db_sync *db, const char *sql, size_t count, const struct db_value *values,
                                struct err *err) {
  MAGIC_CHECK(db, DB_SYNC_MAGIC);
  struct db_params params;
  if (!db_params_init(&params, count, values, false, err)) return NULL;
  int sent = PQsendQueryParams(db->pg, sql, params.count, NULL, params.values, params.lengths, params.formats, 0);
  PGresult *answer = run(db, sent, err);
  db_params_fini(&params);
  return answer ? db_result_new(answer) : NULL;
}

char *db_sync_call(struct db_sync *db, const char *sql, size_t count, const struct db_value *values, struct err *err) {
  struct db_result *result = db_sync_query(db, sql, count, values, err);
  if (!result) return NULL;
  const char *text = db_get_document(result);
  char *copy = mem_strdup(text ? text : "null");
  db_result_unref(result);
  return copy;
}

bool db_sync_exec(struct db_sync *db, const char *script, struct err *err) {
  MAGIC_CHECK(db, DB_SYNC_MAGIC);
  PGresult *answer = run(db, PQsendQuery(db->pg, script), err);
  PQclear(answer);
  return answer != NULL;
}
