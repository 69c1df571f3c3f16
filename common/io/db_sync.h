/* Blocking PostgreSQL calls for the short-lived commands: connect, call one function, print, leave. No uv loop. */
#ifndef ORCH_IO_DB_SYNC_H
#define ORCH_IO_DB_SYNC_H

#include "io/db.h"

struct db_sync;

/* `url` as in db.h; connects within 10 s. Errors: ERR_DB_DOWN, with a hint. `name` is the application_name. */
ORCH_MUST_CHECK struct db_sync *db_sync_open(const char *url, const char *name, struct err *err);
void db_sync_close(struct db_sync *db); /* NULL is fine */
static inline void db_sync_close_p(struct db_sync **slot) {
  db_sync_close(*slot);
}

/* Per call; 60 000 unless set; 0 = no limit. On time-out the statement is cancelled: ERR_TIMEOUT. */
void db_sync_set_timeout(struct db_sync *db, int64_t timeout_ms);

/* One statement that returns one value: its text (mem_free), "null" for SQL NULL or no row; NULL on error. */
ORCH_MUST_CHECK char *db_sync_call(struct db_sync *db, const char *sql, size_t count, const struct db_value *values,
                                   struct err *err);
/* One statement, all rows (db_result_unref); NULL on error. */
ORCH_MUST_CHECK struct db_result *db_sync_query(struct db_sync *db, const char *sql, size_t count,
                                                const struct db_value *values, struct err *err);
/* Any number of statements without parameters, results thrown away; not in a transaction unless one is open. */
ORCH_MUST_CHECK bool db_sync_exec(struct db_sync *db, const char *script, struct err *err);
/* server_version_num, e.g. 150020. */
int db_sync_server_version(const struct db_sync *db);
/* Notices of the server go here instead of nowhere; NULL stops it. */
void db_sync_on_notice(struct db_sync *db, void (*notice)(void *arg, const char *text), void *arg);

/* True once the connection is broken; what was running then has an unknown fate. */
bool db_sync_is_lost(const struct db_sync *db);

#endif
