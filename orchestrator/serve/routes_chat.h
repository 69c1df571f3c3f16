/* Decisions that come back from chat and from other systems: POST /slack/interactions and POST /v1/callbacks/webhook.
 *
 * Both verify the raw bytes first, know people only by what was signed, and end in orch.gate_decide. Slack is answered
 * 200 within its three seconds whatever was decided; what did not count is told to the person privately. A callback
 * gets the decision's outcome as its answer, and the same webhook-id again gets the same answer. */
#ifndef ORCH_SERVE_ROUTES_CHAT_H
#define ORCH_SERVE_ROUTES_CHAT_H

#include "base/strbuf.h"
#include "io/db.h"
#include "io/fetch.h"
#include "serve/routes.h"

/* The routes are those of routes_chat[] in routes.h; they answer 503 while `chat` of struct serve is NULL. */
struct chat_routes;

/* Both must outlive it. */
struct chat_routes *chat_routes_new(struct db *db, struct fetch *fetch);
/* How many callbacks are being worked on; free it at zero, and with no new ones coming in. */
unsigned chat_routes_busy(const struct chat_routes *routes);
/* No private words and modals from now on: before fetch is freed. */
void chat_routes_close(struct chat_routes *routes);
void chat_routes_free(struct chat_routes *routes); /* NULL is fine */

/* Prometheus text: signed callbacks by surface and result, so that a wrong secret, a wrong clock, a replay and a
 * stranger can be told apart. */
void chat_routes_metrics(const struct chat_routes *routes, struct strbuf *out);

#endif
