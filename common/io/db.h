/* PostgreSQL without blocking: a pool of libpq connections on a uv loop, one request at a time on each.
 *
 * Every change of state is one SQL function call, so a request is one statement and there are no transactions that
 * span requests. Related: db_listen.h (LISTEN on an own connection), db_sync.h (blocking calls for the command line).
 *
 *     struct db_value values[] = {db_text(pipeline), db_i64(limit)};
 *     flow->request = (struct db_request){.timeout_ms = 5000, .repeatable = true};
 *     db_query(db, &flow->request, "select orch.api_versions($1)", ARRAY_LEN(values), values, flow_answered, flow);
 */
#ifndef ORCH_IO_DB_H
#define ORCH_IO_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/strbuf.h"

/* ---- parameters ---- */

#define DB_PARAMS_MAX 32

/* One parameter of a statement. The server infers its type; bytes travel in binary, all else as text. */
struct db_value {
  enum { DB_VALUE_NULL, DB_VALUE_TEXT, DB_VALUE_BYTES, DB_VALUE_INT, DB_VALUE_REAL, DB_VALUE_BOOL } kind;
  const void *bytes; /* TEXT (NUL-terminated, UTF-8) and BYTES */
  size_t len;        /* BYTES */
  int64_t integer;   /* INT and BOOL */
  double real;
};
static inline struct db_value db_null(void) {
  return (struct db_value){.kind = DB_VALUE_NULL};
}
/* Text, jsonb, timestamps, arrays written as '{…}'; NULL becomes SQL NULL. */
static inline struct db_value db_text(const char *text) {
  return (struct db_value){.kind = text ? DB_VALUE_TEXT : DB_VALUE_NULL, .bytes = text};
}
/* For bytea parameters. */
static inline struct db_value db_bytes(const void *bytes, size_t len) {
  return (struct db_value){.kind = DB_VALUE_BYTES, .bytes = bytes, .len = len};
}
static inline struct db_value db_i64(int64_t value) {
  return (struct db_value){.kind = DB_VALUE_INT, .integer = value};
}
static inline struct db_value db_real(double value) {
  return (struct db_value){.kind = DB_VALUE_REAL, .real = value};
}
static inline struct db_value db_bool(bool value) {
  return (struct db_value){.kind = DB_VALUE_BOOL, .integer = value};
}
/* Appends a text[] literal: {"a","b"}, for use with db_text(). */
void db_add_text_array(struct strbuf *out, const char *const *items, size_t count);

/* ---- results ---- */

/* The rows of one answer. Counted: the pool drops its own count after the callback. */
struct db_result;
struct db_result *db_result_ref(struct db_result *result); /* keep it beyond the callback */
void db_result_unref(struct db_result *result);            /* NULL is fine */

int db_rows(const struct db_result *result);
int db_columns(const struct db_result *result);
/* Column number by name, or -1. */
int db_column(const struct db_result *result, const char *name);
bool db_is_null(const struct db_result *result, int row, int column);
/* The value as text, NULL for SQL NULL; valid as long as the result. Row and column must exist (asserted). */
const char *db_get_text(const struct db_result *result, int row, int column);
size_t db_get_len(const struct db_result *result, int row, int column);
/* `otherwise` for SQL NULL and for what is not a whole number. */
int64_t db_get_i64(const struct db_result *result, int row, int column, int64_t otherwise);
bool db_get_bool(const struct db_result *result, int row, int column);
/* A bytea column, decoded; mem_free() it (one more NUL stands behind it). False for SQL NULL or what is no bytea. */
ORCH_MUST_CHECK bool db_get_bytes(const struct db_result *result, int row, int column, uint8_t **ret_bytes,
                                  size_t *ret_len);
/* The same of a result in binary (db_request.binary) without a copy: valid as long as the result. */
ORCH_MUST_CHECK bool db_see_bytes(const struct db_result *result, int row, int column, const uint8_t **ret_bytes,
                                  size_t *ret_len);
/* The single value of a function that returns one jsonb: text of row 0, column 0; NULL when there is none. */
const char *db_get_document(const struct db_result *result);

/* ---- the pool ---- */

struct db;

struct db_options {
  const char *url;      /* any libpq connection string, also with several hosts; copied */
  const char *name;     /* application_name, e.g. "orch serve"; copied */
  unsigned connections; /* most connections; 0 = 4. Opened as they are needed, at least one */
  unsigned queue_max;   /* requests that wait for a connection; 0 = 1000. Beyond: ERR_LIMIT */
  int64_t timeout_ms;   /* default per request, waiting included; 0 = 30 000 */
  int64_t connect_ms;   /* per attempt to connect; 0 = 10 000 */
  int64_t down_ms;      /* fail waiting requests when nothing was connected for so long; 0 = 5 000 */
  bool no_prepared;     /* no prepared statements: for PgBouncer in transaction mode */
};

/* What became of a statement whose request failed. */
enum db_fate {
  DB_FATE_DONE,         /* the server answered, with rows or an error (an error: nothing was changed) */
  DB_FATE_NOT_EXECUTED, /* it certainly never ran: asking again is safe */
  DB_FATE_UNKNOWN,      /* the connection died after it was sent: it may have been committed */
};

/* Owned by the caller, usually inside its flow; must stay in place until the callback runs or db_forget(). */
struct db_request {
  int64_t timeout_ms; /* in: 0 = the pool's default */
  bool repeatable;    /* in: running it twice is harmless; it is sent again by itself when a connection dies */
  bool borrowed;      /* in: texts and bytes among the values are not copied: they stay until the callback, and the
                         request is never forgotten before it */
  bool binary;        /* in: the rows come in binary, which costs both sides less for much bytea. Read them with
                         db_get_i64(), db_get_bytes() and db_see_bytes(), nothing else */
  enum db_fate fate;  /* out: set before the callback */
  struct db_job *job; /* private; not NULL while in flight */
};

/* Exactly one of `result` and `err` is not NULL; both are valid during the callback only. The request is no longer in
 * flight: it may be used again or freed inside. SQLSTATE classes map to err->code as db_err_from_sqlstate() says. */
typedef void (*db_callback)(void *arg, struct db_result *result, const struct err *err);

/* Starts connecting at once. Never fails: an unreachable server is reported by requests. Memory: mem_alloc. */
struct db *db_new(uv_loop_t *loop, const struct db_options *options);
/* Answers what is in flight with ERR_DB_DOWN, closes all, then calls `closed` (may be NULL) and frees. */
void db_free(struct db *db, void (*closed)(void *arg), void *arg);

/* Queues one statement. `sql` must live until the callback (a literal); values are copied. The callback never runs
 * from inside this call. Errors: ERR_LIMIT (queue full), ERR_TIMEOUT (cancelled on the server too), ERR_DB_DOWN, and
 * what the statement itself raises. */
void db_query(struct db *db, struct db_request *request, const char *sql, size_t count, const struct db_value *values,
              db_callback callback, void *arg);
/* The callback will not run; what was sent already still runs to its end. Fine when not in flight. */
void db_forget(struct db_request *request);

struct db_stats {
  unsigned connections, connected, busy, queued;
  uint64_t requests, failures, timeouts, reconnects;
  int64_t down_since_us; /* monotonic; 0 while at least one connection is up */
};
void db_get_stats(const struct db *db, struct db_stats *ret);
bool db_is_up(const struct db *db);
/* Why it is not up; empty text when it is. */
void db_last_error(const struct db *db, struct err *ret);

/* OR001 ERR_NOT_FOUND, OR002 ERR_REFUSED, OR003 ERR_INVALID, OR004 ERR_LEASE_LOST, OR005 ERR_CONFLICT, OR006
 * ERR_DENIED, OR007 ERR_LIMIT, OR008 ERR_DENIED (not proven); 08xxx, 57P0x, 53300 and 53100 ERR_DB_DOWN; 57014
 * ERR_TIMEOUT; anything else ERR_DB. */
enum err_code db_err_from_sqlstate(const char *sqlstate);
/* An ERR_DB_DOWN that is none: the database answers, yet cannot write, since a disk of its is full (53100). Nothing was
 * stored, and waiting helps once somebody has made room. */
bool db_err_is_full(const struct err *err);

/* The URL as a keyword string with libpq's `options` ("-c default_transaction_read_only=on …") set instead of its own.
 * ERR_INVALID for a URL that libpq cannot read. Holds the password if the URL does. */
ORCH_MUST_CHECK bool db_url_with_options(const char *url, const char *options, struct strbuf *out, struct err *err);
/* The host, port and database of a URL without user and password, for messages. */
void db_describe_url(const char *url, struct strbuf *out);

#endif
