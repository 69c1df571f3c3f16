/* What routes_chat.c (Slack) and routes_callback.c (signed webhooks) share: counters, verdicts, the decision's shape.
 */
#ifndef ORCH_SERVE_ROUTES_CHAT_PRIVATE_H
#define ORCH_SERVE_ROUTES_CHAT_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "chat/sign.h"
#include "chat/slack_api.h"
#include "serve/routes_chat.h"

#define CHAT_DB_TIMEOUT_MS 2000 /* Slack waits for three seconds */

enum chat_surface { CHAT_SLACK, CHAT_WEBHOOK, CHAT_SURFACES };

enum chat_result {
  CHAT_ACCEPTED,
  CHAT_DUPLICATE,        /* the person had decided so already */
  CHAT_REFUSED,          /* by a rule: closed, own proposal, other evidence, … */
  CHAT_REPLAYED,         /* the very same signed request came again */
  CHAT_UNKNOWN_REVIEWER, /* nobody we know, or not theirs to speak for */
  CHAT_BAD_SIGNATURE,    /* a wrong secret */
  CHAT_STALE,            /* a wrong clock, or an old request */
  CHAT_UNSIGNED,         /* headers are missing */
  CHAT_NO_SECRET,        /* nothing configured to verify with */
  CHAT_MALFORMED,        /* signed well, but not understood */
  CHAT_UNAVAILABLE,      /* the database did not answer in time */
  CHAT_RESULTS,
};

struct chat_routes {
  struct db *db;
  struct slack_api slack;
  unsigned busy;
  uint64_t counts[CHAT_SURFACES][CHAT_RESULTS];
  json_t *sources; /* callbacks of orch.yaml, for a moment */
  int64_t sources_us;
};

void chat_count(struct chat_routes *routes, enum chat_surface surface, enum chat_result result);
/* Counts, logs and answers a request whose signature was not accepted. */
void chat_reject_signature(struct chat_routes *routes, enum chat_surface surface, struct http_request *req,
                           enum sign_verdict verdict, const char *hint);
/* What gate_decide's answer means; counts it. */
enum chat_result chat_count_decision(struct chat_routes *routes, enum chat_surface surface, const json_t *answer);
/* Logs a decision that arrived, with ids. */
void chat_log_decision(enum chat_surface surface, const char *who, int64_t gate, const json_t *answer);

/* The state of a request's server; NULL: answered 503. */
struct chat_routes *chat_of(struct http_request *req, void *ctx);
void chat_handle_callback(struct http_request *req, void *ctx);

#endif
