/* How routes are written: a const table in each routes_*.c, handlers that make one SQL call and answer with its
 * document.
 *
 *     static void on_hold(struct http_request *req, void *ctx) {
 *       struct db_value values[] = {db_text(req->params[0]), db_text(reason), db_text(req->principal.actor)};
 *       route_call(req, ctx, "select orch.hold_set($1, $2, $3)", ARRAY_LEN(values), values);
 *     }
 *     const struct http_route routes_hold[] = {{"POST", "/v1/pipelines/{p}/hold", "operate", 4096, on_hold, 0, "…"},
 * ROUTES_END};
 *
 * serve.c adds every table that ROUTES names, with the struct serve as ctx. */
#ifndef ORCH_SERVE_ROUTES_H
#define ORCH_SERVE_ROUTES_H

#include <jansson.h>

#include "serve/serve.h"

#define ROUTES_END                                                                                                     \
  { 0 }

/* Every table. Add a line here and define `const struct http_route routes_NAME[]` in routes_NAME.c. */
#define ROUTES(R)                                                                                                      \
  R(health)                                                                                                            \
  R(read)                                                                                                              \
  R(signals)                                                                                                           \
  R(observe)                                                                                                           \
  R(act)                                                                                                               \
  R(live)                                                                                                              \
  R(rollback)                                                                                                          \
  R(pages)                                                                                                             \
  R(chat)
#define R(name) extern const struct http_route routes_##name[];
ROUTES(R)
#undef R

/* Makes one call that returns one jsonb and answers 200 with it; an error becomes its problem document. `sql` is a
 * literal; values are copied. */
void route_call(struct http_request *req, struct serve *serve, const char *sql, size_t count,
                const struct db_value *values);
/* The same with the answer in the caller's hands: `then` must answer. On success `err` is NULL; `document` may be NULL
 * (SQL NULL) and is valid during the call only. */
typedef void (*route_then)(struct http_request *req, struct serve *serve, const char *document, const struct err *err);
void route_call_then(struct http_request *req, struct serve *serve, const char *sql, size_t count,
                     const struct db_value *values, route_then then);

/* True when the Content-Type is one of the words (NULL-terminated); 415 with the hint was answered otherwise. */
ORCH_MUST_CHECK bool route_type_is(struct http_request *req, const char *const *words, const char *hint);
/* The body as a JSON object (json_decref() it). NULL: answered with 400, 415 or 422 already. An empty body is {}.
 * Strict: no doubled keys, nothing behind, at most 32 levels. */
ORCH_MUST_CHECK json_t *route_body(struct http_request *req);
/* A member as text; `fallback` (may be NULL) when absent or null. Lives in the arena. False: answered 422, because it
 * is no string, longer than max_bytes, has control characters other than line feeds and tabs, or is missing though
 * `fallback` is route_required. */
extern const char route_required[];
ORCH_MUST_CHECK bool route_text(struct http_request *req, const json_t *body, const char *key, size_t max_bytes,
                                const char *fallback, const char **ret_text);
/* False: answered 422 because the body has a key that is not in the NULL-terminated list. */
ORCH_MUST_CHECK bool route_keys(struct http_request *req, const json_t *body, const char *const *known);
/* The filter document of the reading functions from ?limit= (1 to 500, else 50), ?after= and the named text parameters,
 * as JSON text in the arena. NULL: answered already. */
ORCH_MUST_CHECK const char *route_filter(struct http_request *req, const char *const *names);

#endif
