/* One call of Slack's Web API, and what its answer means: done, try again, or never.
 *
 * The bot token is read from ORCH_SLACK_BOT_TOKEN (or _FILE) for each call and wiped after it. Slack answers failures
 * with HTTP 200 and ok:false; 429 says when to come back. */
#ifndef ORCH_CHAT_SLACK_API_H
#define ORCH_CHAT_SLACK_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/fetch.h"

#define SLACK_API_DEFAULT_URL "https://slack.com/api/"
#define SLACK_API_URL_ENV "ORCH_SLACK_API_URL"
#define SLACK_API_TOKEN_ENV "ORCH_SLACK_BOT_TOKEN"
#define SLACK_API_SIGNING_ENV "ORCH_SLACK_SIGNING_SECRET"

enum slack_api_outcome {
  SLACK_API_OK,
  SLACK_API_LATER, /* network, 5xx, rate limit, a missing token: worth another try */
  SLACK_API_NEVER, /* Slack has understood and refuses: the same again gets the same answer */
};

/* Valid during the callback only. */
struct slack_api_answer {
  enum slack_api_outcome outcome;
  char error[256];        /* Slack's own word ("channel_not_found") or what went wrong; empty when it is well */
  int64_t retry_after_ms; /* -1 when Slack did not say */
  const json_t *body;     /* NULL when there was none */
};
typedef void (*slack_api_callback)(void *arg, const struct slack_api_answer *answer);

struct slack_api {
  struct fetch *fetch;
  char *base;         /* ends in "/" */
  struct err refused; /* why no call is made: the address is not acceptable, or slack_api_close() */
};
/* Takes the address from ORCH_SLACK_API_URL, else Slack's own. What is not acceptable is said by each call. */
void slack_api_init(struct slack_api *api, struct fetch *fetch);
/* No calls from now on: before fetch is freed. */
void slack_api_close(struct slack_api *api);
void slack_api_fini(struct slack_api *api);

struct slack_call;
/* Posts `body` (NULL: an empty object; not consumed) to `method`, e.g. "chat.postMessage". The callback runs exactly
 * once, never from inside this call; the handle is good until then. NULL (and no callback) when there is no token or no
 * acceptable address: then another try makes sense once that is put right. */
ORCH_MUST_CHECK struct slack_call *slack_api_post(struct slack_api *api, const char *method, const json_t *body,
                                                  int64_t timeout_ms, slack_api_callback callback, void *arg,
                                                  struct err *err);
/* Ends it without a callback. */
void slack_api_abort(struct slack_call *call);

/* What an answer means; apart from the network, for tests. `body` may be NULL. */
void slack_api_classify(int status, const json_t *body, int64_t retry_after_ms, struct slack_api_answer *ret_answer);

#endif
