#include "io/db_internal.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

static const int64_t retry_first_ms = 50, retry_most_ms = 10000;

static void connect_step(struct db_conn *conn);

/* ---- the watched socket ---- */

static void poll_closed(uv_handle_t *handle) {
  mem_free(handle);
}

static void unwatch(struct db_conn *conn) {
  if (!conn->poll) return;
  uv_poll_stop(conn->poll);
  conn->poll->data = NULL;
  uv_close((uv_handle_t *)conn->poll, poll_closed);
  conn->poll = NULL;
  conn->poll_events = 0;
}

static void socket_event(uv_poll_t *poll, int status, int events);

/* Watches the connection's present socket. False when the loop refuses it: the socket is not usable. */
static bool watch(struct db_conn *conn, int events) {
  if (conn->poll && conn->poll_events == events) return true;
  if (!conn->poll) {
    uv_poll_t *poll = mem_alloc(sizeof(*poll));
    if (PQsocket(conn->pg) < 0 || uv_poll_init(conn->loop, poll, PQsocket(conn->pg)) != 0) {
      mem_free(poll);
      return false;
    }
    poll->data = conn;
    conn->poll = poll;
  }
  conn->poll_events = events;
  return uv_poll_start(conn->poll, events, socket_event) == 0;
}

static void broken(struct db_conn *conn, const char *what) {
  struct err err = {0};
  db_err_from_conn(&err, conn->pg, what);
  db_conn_drop(conn, &err);
}

static void socket_event(uv_poll_t *poll, int status, int events) {
  struct db_conn *conn = poll->data;
  if (!conn) return;
  if (conn->state == DB_CONN_CONNECTING) {
    connect_step(conn);
    return;
  }
  /* An error arrives as a status or as no events at all, and libpq must look in either case. */
  if ((events & UV_WRITABLE) && status == 0) db_conn_flush(conn);
  if (conn->state != DB_CONN_UP || conn->poll != poll) return;
  if ((events & UV_READABLE) || events == 0 || status < 0) {
    int consumed = PQconsumeInput(conn->pg);
    if (consumed && PQstatus(conn->pg) == CONNECTION_OK && status == 0) {
      if (PQflush(conn->pg) == 0) watch(conn, UV_READABLE);
      conn->readable(conn);
      return;
    }
    broken(conn, "the connection to the database broke");
  }
}

/* ---- connecting ---- */

static void attempt_timed_out(uv_timer_t *timer) {
  struct db_conn *conn = CONTAINER_OF(timer, struct db_conn, timer);
  struct err err = {0};
  err_set(&err, ERR_DB_DOWN, "the database did not accept a connection within %lld ms", (long long)conn->connect_ms);
  db_conn_drop(conn, &err);
}

static void connect_step(struct db_conn *conn) {
  unwatch(conn); /* PQconnectPoll may close the socket and open another with the same number */
  bool watched = true;
  switch (PQconnectPoll(conn->pg)) {
  case PGRES_POLLING_READING:
    watched = watch(conn, UV_READABLE);
    break;
  case PGRES_POLLING_WRITING:
    watched = watch(conn, UV_WRITABLE);
    break;
  case PGRES_POLLING_OK:
    if (PQsetnonblocking(conn->pg, 1) != 0 || !watch(conn, UV_READABLE)) {
      broken(conn, "cannot use the connection to the database");
      return;
    }
    uv_timer_stop(&conn->timer);
    conn->state = DB_CONN_UP;
    conn->failures = 0;
    conn->ready(conn);
    return;
  default:
    broken(conn, "cannot connect to the database");
    return;
  }
  if (!watched) broken(conn, "cannot watch the connection to the database");
}

static void ignore_notice(void *arg, const PGresult *result) {
  (void)arg;
  (void)result;
}

void db_conn_init(struct db_conn *conn, uv_loop_t *loop, const char *url, const char *name, int64_t connect_ms) {
  conn->state = DB_CONN_OFF;
  conn->loop = loop;
  conn->url = url;
  conn->name = name;
  conn->connect_ms = connect_ms ? connect_ms : 10000;
  uv_timer_init(loop, &conn->timer);
}

void db_conn_open(struct db_conn *conn) {
  ORCH_ASSERT(conn->state == DB_CONN_OFF || conn->state == DB_CONN_WAITING);
  conn->state = DB_CONN_CONNECTING;
  conn->pg = db_connect(conn->url, conn->name, true, NULL);
  if (!conn->pg) abort();
  uv_timer_start(&conn->timer, attempt_timed_out, (uint64_t)conn->connect_ms, 0);
  if (PQstatus(conn->pg) == CONNECTION_BAD) {
    broken(conn, "cannot connect to the database");
    return;
  }
  PQsetNoticeReceiver(conn->pg, ignore_notice, NULL);
  if (!watch(conn, UV_WRITABLE)) broken(conn, "cannot watch the connection to the database");
}

static void retry_due(uv_timer_t *timer) {
  db_conn_open(CONTAINER_OF(timer, struct db_conn, timer));
}

void db_conn_retry(struct db_conn *conn) {
  ORCH_ASSERT(conn->state == DB_CONN_OFF);
  unsigned shift = conn->failures > 8 ? 8 : conn->failures;
  int64_t delay_ms = retry_first_ms << shift;
  if (delay_ms > retry_most_ms) delay_ms = retry_most_ms;
  conn->failures++;
  conn->state = DB_CONN_WAITING;
  uv_timer_start(&conn->timer, retry_due, (uint64_t)clock_jitter_ms(delay_ms, 0.5), 0);
}

void db_conn_flush(struct db_conn *conn) {
  int left = PQflush(conn->pg);
  if (left < 0) return; /* the reading side will tell, and has the server's last words */
  watch(conn, left ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static void disconnect(struct db_conn *conn) {
  unwatch(conn);
  uv_timer_stop(&conn->timer);
  PQfinish(conn->pg);
  conn->pg = NULL;
}

void db_conn_drop(struct db_conn *conn, const struct err *err) {
  struct err kept = *err;
  if (conn->state == DB_CONN_UP && conn->dying) conn->dying(conn);
  disconnect(conn);
  conn->state = DB_CONN_OFF;
  conn->lost(conn, &kept);
}

static void timer_closed(uv_handle_t *handle) {
  struct db_conn *conn = CONTAINER_OF((uv_timer_t *)handle, struct db_conn, timer);
  conn->closed(conn);
}

void db_conn_close(struct db_conn *conn) {
  if (conn->state == DB_CONN_CLOSED) return;
  if (conn->pg) disconnect(conn);
  conn->state = DB_CONN_CLOSED;
  uv_close((uv_handle_t *)&conn->timer, timer_closed);
}
