/* What the database modules share with each other and with nobody else: results, packed parameters, connections. */
#ifndef ORCH_IO_DB_INTERNAL_H
#define ORCH_IO_DB_INTERNAL_H

#include <libpq-fe.h>

#include "io/db.h"

/* ---- results and errors (db_result.c) ---- */

/* Takes the PGresult over; one count is the caller's. */
struct db_result *db_result_new(PGresult *pg);
/* Fills `err` from an error result: code by SQLSTATE, the message on one line, the server's hint. Returns false. */
bool db_err_from_result(struct err *err, const PGresult *pg);
/* Fills `err` with ERR_DB_DOWN, `what`, and libpq's message on one line. Returns false. */
bool db_err_from_conn(struct err *err, const PGconn *pg, const char *what);

/* ---- parameters in libpq's shape (db_params.c) ---- */

struct db_params {
  int count;
  const char *values[DB_PARAMS_MAX];
  int lengths[DB_PARAMS_MAX];
  int formats[DB_PARAMS_MAX];
  char *memory; /* owns what `values` points to when copied */
  char numbers[DB_PARAMS_MAX][32];
};
/* `copy`: also copies text and bytes. `params` must stay in place. ERR_LIMIT for too many or too large. */
ORCH_MUST_CHECK bool db_params_init(struct db_params *params, size_t count, const struct db_value *values, bool copy,
                                    struct err *err);
void db_params_fini(struct db_params *params);

/* PQconnectStartParams (or the blocking one) with our defaults. NULL only without memory. */
PGconn *db_connect(const char *url, const char *name, bool start_only, const char *connect_timeout_s);

/* ---- one connection that keeps itself alive (db_conn.c) ---- */

enum db_conn_state {
  DB_CONN_OFF,        /* nothing; db_conn_open() starts it */
  DB_CONN_CONNECTING, /* PQconnectPoll is at work */
  DB_CONN_UP,
  DB_CONN_WAITING, /* for the next attempt */
  DB_CONN_CLOSED,
};

struct db_conn {
  enum db_conn_state state;
  uv_loop_t *loop;
  const char *url, *name; /* the owner's */
  int64_t connect_ms;
  PGconn *pg;
  uv_poll_t *poll; /* own memory: a handle outlives the socket until its close callback */
  int poll_events;
  uv_timer_t timer; /* bounds an attempt, or waits for the next one */
  unsigned failures;
  void (*ready)(struct db_conn *conn);
  void (*readable)(struct db_conn *conn); /* input was consumed; check PQstatus() at the end by db_conn_check() */
  /* The connection or the attempt is over and `pg` is gone; the state is OFF. Call db_conn_retry() to go on. */
  void (*lost)(struct db_conn *conn, const struct err *err);
  /* Last words: `pg` is still there, broken; results that had arrived whole can be read. May be NULL. */
  void (*dying)(struct db_conn *conn);
  void (*closed)(struct db_conn *conn);
};

void db_conn_init(struct db_conn *conn, uv_loop_t *loop, const char *url, const char *name, int64_t connect_ms);
void db_conn_open(struct db_conn *conn);
/* Opens again after a jittered, growing delay. */
void db_conn_retry(struct db_conn *conn);
/* After sending: writes what is pending and watches for the rest. */
void db_conn_flush(struct db_conn *conn);
/* Gives the connection up, as if it had broken: `lost` runs. */
void db_conn_drop(struct db_conn *conn, const struct err *err);
/* Ends it; `closed` runs later, `lost` does not. */
void db_conn_close(struct db_conn *conn);

#endif
