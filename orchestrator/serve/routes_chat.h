/* Decisions that come back from chat and from other systems: POST /slack/interactions and POST /v1/callbacks/webhook.
 *
 * Both verify the raw bytes first, know people only by what was signed, and end in orch.gate_decide. Slack is answered
 * 200 within its three seconds whatever was decided; what did not count is told to the person privately. A callback
 * gets the decision's outcome as its answer, and the same webhook-id again gets the same answer. */
#ifndef ORCH_SERVE_ROUTES_CHAT_H
#define ORCH_SERVE_ROUTES_CHAT_H

#include <uv.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "io/db.h"
#include "io/fetch.h"
#include "serve/http.h"

struct chat_routes;

/* Adds the routes. All three must outlive it, and it must outlive the server's last request. ERR_REFUSED when
 * ORCH_SLACK_API_URL is not acceptable. */
ORCH_MUST_CHECK struct chat_routes *chat_routes_new(struct http_server *server, struct db *db, struct fetch *fetch,
                                                    struct err *err);
/* After the server, the database and fetch have answered everything. NULL is fine. */
void chat_routes_free(struct chat_routes *routes);

/* Prometheus text: signed callbacks by surface and result, so that a wrong secret, a wrong clock, a replay and a
 * stranger can be told apart. */
void chat_routes_metrics(const struct chat_routes *routes, struct strbuf *out);

#endif
