/* Errors that travel: every fallible function fills a last `struct err *err` and returns false (or NULL).
 *
 * A function either logs an error or returns it, never both. `ret_` outputs are untouched on error.
 * The text says what was refused and why; the hint says what to do next. Neither ends in a full stop or newline. */
#ifndef ORCH_BASE_ERROR_H
#define ORCH_BASE_ERROR_H

#include <stdbool.h>

#define ORCH_MUST_CHECK __attribute__((warn_unused_result))
#define ORCH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum err_code {
  ERR_NONE = 0,
  ERR_INTERNAL,   /* a bug or a broken promise of a library */
  ERR_USAGE,      /* the caller's words are off: exit 2, HTTP 400 */
  ERR_INVALID,    /* well-formed but not acceptable input: exit 2, HTTP 422 */
  ERR_NOT_FOUND,  /* exit 3, HTTP 404 */
  ERR_REFUSED,    /* a rule said no (gate, hold, permission): exit 4, HTTP 409 */
  ERR_DENIED,     /* who you are was not proven or not enough: exit 4, HTTP 401/403 */
  ERR_CONFLICT,   /* somebody else was first: exit 4, HTTP 409 */
  ERR_LEASE_LOST, /* the fencing token is no longer current */
  ERR_DB_DOWN,    /* the database cannot be reached: exit 5, HTTP 503 */
  ERR_DB,         /* the database answered with an error that is not ours */
  ERR_IO,         /* files, sockets, processes */
  ERR_LIMIT,      /* a named bound was exceeded: HTTP 413 */
  ERR_TIMEOUT,    /* exit 6, HTTP 504 */
};

/* Plain data: copy it, keep it on the stack, start it as `struct err err = {0}`. */
struct err {
  enum err_code code;
  char text[512];   /* one line, UTF-8, cut when longer */
  char hint[256];   /* what to do next; may be empty */
  char sqlstate[6]; /* PostgreSQL's five characters, or empty */
  const char *file; /* where it was set */
  int line;
};

/* Lets compilers and analyzers see that what follows `return err_set(...)` was not reached. */
static inline bool err_false(bool always_false) {
  (void)always_false;
  return false;
}

/* Fills `err` (which may be NULL) and returns false, so that callers write `return err_set(err, ...)`. */
#define err_set(err, code, ...) err_false(err_set_at((err), (code), __FILE__, __LINE__, __VA_ARGS__))
bool err_set_at(struct err *err, enum err_code code, const char *file, int line, const char *fmt, ...)
    ORCH_PRINTF(5, 6);

/* Same, with ": strerror(errnum)" appended. `errnum` is positive (errno) or negative (libuv). */
#define err_errno(err, errnum, ...) err_false(err_errno_at((err), (errnum), __FILE__, __LINE__, __VA_ARGS__))
bool err_errno_at(struct err *err, int errnum, const char *file, int line, const char *fmt, ...) ORCH_PRINTF(5, 6);

/* Adds or replaces the hint of an error already set. Returns false. */
bool err_hint(struct err *err, const char *fmt, ...) ORCH_PRINTF(2, 3);

/* Puts "what: " before the text: context added on the way up. Returns false. */
bool err_prefix(struct err *err, const char *fmt, ...) ORCH_PRINTF(2, 3);

/* The stable short name of a code ("not_found"), for logs and problem documents. */
const char *err_code_name(enum err_code code);

/* The exit code of the command line (0 to 6) that a code maps to. */
int err_exit_code(enum err_code code);

/* The HTTP status that a code maps to (ERR_NONE is 200). */
int err_http_status(enum err_code code);

#endif
