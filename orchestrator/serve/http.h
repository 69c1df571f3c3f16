/* The HTTP server: libmicrohttpd's parser inside the uv loop, a route table, and answers that may come later.
 *
 * A route's handler is called once, when the whole body has arrived and the bearer token (if the route needs one) was
 * accepted. It answers exactly once, at once or from a later callback, with one http_reply_*() or http_problem*() call.
 * Until it has answered, the request stays valid, also when the client has gone, the request has timed out or the
 * server is stopping: then the answer goes nowhere. After answering, the handler no longer touches the request.
 *
 * Everything on the loop's thread. What libmicrohttpd lets through and must not pass (two Content-Length, folded lines,
 * trickled heads, ...) is refused before a handler sees it: http_guard.h. */
#ifndef ORCH_SERVE_HTTP_H
#define ORCH_SERVE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/strbuf.h"

struct http_server;
struct http_request;

#define HTTP_PARAMS_MAX 3
#define HTTP_HEADERS_MAX 64
#define HTTP_QUERY_MAX 32

/* Who is asking: from the bearer token. All NULL on routes without a scope. */
struct http_principal {
  const char *actor;    /* "token:NAME" or "reviewer:dana", as the audit trail names it */
  const char *token;    /* the token's name, never its text */
  const char *reviewer; /* the person behind the token; NULL when there is none */
  const char *scopes;   /* comma-separated */
  const char *csrf;     /* of a browser's session, to compare with a form's; NULL for a bearer token */
};

#define HTTP_ROUTE_QUIET 1u /* health checks and scrapes: logged at debug level */
#define HTTP_ROUTE_PAGE 2u  /* for browsers: a session may stand in for the bearer token, and errors are pages too */

/* One row of a route table. Tables are constant; patterns are matched segment by segment, literals before {params}. */
struct http_route {
  const char *method;    /* "GET" (serves HEAD too), "POST", "PUT" or "DELETE" */
  const char *pattern;   /* "/v1/pipelines/{p}/hold"; at most HTTP_PARAMS_MAX params */
  const char *scope;     /* "" for everybody (or own proof, as a signature); else the bearer token's scope */
  size_t max_body_bytes; /* 0: a body is refused */
  void (*handle)(struct http_request *req, void *ctx);
  unsigned flags;
  const char *summary; /* one line for /openapi.json */
};

struct http_pair {
  const char *name;
  const char *value;
};

/* What a handler sees. All text is NUL-terminated, lives in `arena` and is the sender's: bounded, never trusted. */
struct http_request {
  uint32_t magic;
  struct http_server *server;
  const struct http_route *route;
  struct arena arena; /* the handler's own to use; freed after the answer */
  const char *method;
  const char *path;                    /* decoded; no control characters */
  const char *params[HTTP_PARAMS_MAX]; /* in the pattern's order, decoded, never empty */
  struct http_pair headers[HTTP_HEADERS_MAX];
  size_t n_headers;
  struct http_pair query[HTTP_QUERY_MAX];
  size_t n_query;
  const char *body; /* raw bytes exactly as received, NUL-terminated behind; never NULL */
  size_t body_len;
  const char *peer; /* "127.0.0.1" or "unix" */
  struct http_principal principal;
  int64_t started_us; /* monotonic: the head was complete */
  char id[17];        /* for log lines and the X-Request-Id of the answer */
  void *own;          /* the handler's, between its callbacks; from the arena, or it frees it itself */
};

struct http_options {
  const char *listen;                   /* "127.0.0.1:8077", "[::1]:8077", "0.0.0.0:0" or "unix:/path" */
  unsigned max_connections;             /* 0: 256; beyond it 503 */
  unsigned max_connections_per_address; /* 0: 128; beyond it 429; unix sockets have no address */
  unsigned head_timeout_ms;             /* 0: 10 s from accepting (or from the first byte we know of) to a whole head */
  unsigned idle_timeout_ms;             /* 0: 60 s between two requests of a connection */
  unsigned body_timeout_ms;             /* 0: 30 s for a whole body */
  unsigned request_timeout_ms;          /* 0: 30 s for the handler's answer, then 504 */
  unsigned send_timeout_ms;             /* 0: 30 s for taking the answer */
  size_t max_body_total_bytes;          /* 0: 64 MiB over all requests; beyond it 503 */
  /* Checks a bearer token for a scope and then calls http_authorised(), or answers with a problem. May be NULL when no
   * route needs a scope. `token` is the secret's text; on a page it is NULL when the request carries none, and then a
   * session may do. */
  void (*authorise)(struct http_request *req, const char *token, const char *scope, void *arg);
  void *authorise_arg;
  /* Writes an error as a page, for routes that are pages and for browsers at paths that are nothing. NULL: problem
   * documents for them too. */
  void (*error_page)(struct strbuf *out, int status, const char *title, const char *detail, const char *hint);
};

/* Binds and listens at once, serves when the loop runs. ERR_CONFLICT when another server has the address. */
struct http_server *http_server_new(uv_loop_t *loop, const struct http_options *options,
                                    struct err *err) ORCH_MUST_CHECK;
/* Adds a table; the table and `ctx` must outlive the server. A malformed or doubled route aborts: it is a bug. */
void http_server_add(struct http_server *server, const struct http_route *routes, size_t count, void *ctx);
/* The bound address as "127.0.0.1:8077" or "unix:/path" (with the real port when 0 was asked for). */
const char *http_server_address(const struct http_server *server);
/* Stops accepting; requests in flight may finish until `grace_ms` has passed, then they are answered 503. `done` is
 * called once all connections are closed. */
void http_server_stop(struct http_server *server, unsigned grace_ms, void (*done)(void *arg), void *arg);
bool http_server_stopping(const struct http_server *server);
/* After `done`; handlers that never answered keep their own request alive until they do. */
void http_server_free(struct http_server *server);

/* Walks the routes in the order they were added. */
void http_server_each_route(const struct http_server *server, void (*visit)(const struct http_route *route, void *arg),
                            void *arg);
/* Prometheus text of requests by route and status, durations, connections. */
void http_server_metrics(const struct http_server *server, struct strbuf *out);

/* The authoriser's yes: copies the principal into the request's arena and calls the handler. */
void http_authorised(struct http_request *req, const struct http_principal *principal);

/* Names compare without case; NULL when absent. Headers that matter cannot be doubled (the guard), others: the first.
 */
const char *http_header(const struct http_request *req, const char *name);
/* A cookie's value; NULL when absent or given twice. Lives in the arena. */
const char *http_cookie(struct http_request *req, const char *name);
/* A query parameter, decoded; NULL when absent. A doubled one was refused before. */
const char *http_query(const struct http_request *req, const char *name);
/* A query parameter as an integer within [least, most]; `fallback` when absent. False: answered with a problem. */
bool http_query_int(struct http_request *req, const char *name, int64_t fallback, int64_t least, int64_t most,
                    int64_t *ret_value) ORCH_MUST_CHECK;
/* params[index] as a positive bigint. False: answered 404 (an id that cannot be is an id that is not). */
bool http_param_id(struct http_request *req, unsigned index, int64_t *ret_id) ORCH_MUST_CHECK;
/* The Idempotency-Key header; NULL when absent. The guard has bounded it to 255 visible characters. */
const char *http_idempotency_key(const struct http_request *req);

/* Adds a header to the coming answer; both texts are copied. At most eight; values with control characters abort. */
void http_reply_header(struct http_request *req, const char *name, const char *value);
/* The answer: body is copied. */
void http_reply(struct http_request *req, int status, const char *content_type, const void *body, size_t len);
void http_reply_json(struct http_request *req, int status, const char *json); /* text of one JSON document */
void http_reply_text(struct http_request *req, int status, const char *text);
void http_reply_empty(struct http_request *req, int status); /* 204, 304, or 200 without a body */
/* 303 to a path of this server. */
void http_redirect(struct http_request *req, const char *path);
/* RFC 9457: {"type": "urn:orch:problem:CODE", "title", "status", "detail", "hint"?}. `code` is a short stable name. */
void http_problem(struct http_request *req, int status, const char *code, const char *detail, const char *hint);
/* An error of ours as a problem; what must not leave (ERR_INTERNAL, ERR_DB, ERR_IO) is logged and named by id only. */
void http_problem_err(struct http_request *req, const struct err *err);

#endif
