/* HTTP requests without blocking: libcurl's multi interface on the uv loop.
 *
 * http and https only, no redirects, no proxies from the environment, every answer capped, every request timed. An
 * address policy sees the address that is really connected to, after resolution. */
#ifndef ORCH_IO_FETCH_H
#define ORCH_IO_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/error.h"

struct fetch;
struct fetch_call;

/* May this address be connected to? Called on the loop's thread. */
typedef bool (*fetch_address_policy)(void *arg, const struct sockaddr *address);

struct fetch_options {
  const char *user_agent;      /* NULL = "orch/VERSION"; copied */
  unsigned calls_max;          /* in flight at once; 0 = 100. Beyond: ERR_LIMIT */
  fetch_address_policy policy; /* NULL: every address */
  void *policy_arg;
};

/* The loop must outlive it. Sets curl up when it is the first. */
struct fetch *fetch_new(uv_loop_t *loop, const struct fetch_options *options);
/* Aborts what is in flight (their callbacks get ERR_IO), then calls `closed` (may be NULL) and frees. */
void fetch_free(struct fetch *fetch, void (*closed)(void *arg), void *arg);

struct fetch_request {
  const char *method;         /* NULL = "GET", or "POST" with a body */
  const char *url;            /* http:// or https:// */
  const char *const *headers; /* "Name: value", ends with NULL; may be NULL. No CR, LF in them: ERR_INVALID */
  const void *body;
  size_t body_len;
  int64_t timeout_ms;  /* for everything; 0 = 10 000 */
  size_t response_max; /* bytes of body; 0 = 1 MiB. Beyond: ERR_LIMIT */
  bool private_ok;     /* do not ask the policy: the address was given by the operator */
};

/* Valid during the callback only. */
struct fetch_response {
  int status;       /* any: 4xx and 5xx are answers, not errors */
  const char *body; /* NUL-terminated behind body_len */
  size_t body_len;
  int64_t elapsed_ms;
  const struct fetch_call *call;
};
/* The last value of a header, by name without regard to case; NULL when absent. */
const char *fetch_header(const struct fetch_response *response, const char *name);
/* Retry-After in milliseconds (seconds or HTTP date, at most a day), or -1 when absent or malformed. */
int64_t fetch_retry_after_ms(const struct fetch_response *response);

/* Exactly one of `response` and `err` is not NULL. Errors: ERR_INVALID (URL, headers), ERR_DENIED (address refused),
 * ERR_TIMEOUT, ERR_LIMIT, ERR_IO (anything else of the network). */
typedef void (*fetch_callback)(void *arg, const struct fetch_response *response, const struct err *err);

/* Everything in `request` is copied. The callback runs exactly once, never from inside this call; the returned handle
 * is good until then. */
struct fetch_call *fetch_start(struct fetch *fetch, const struct fetch_request *request, fetch_callback callback,
                               void *arg);
/* Ends it without a callback. */
void fetch_abort(struct fetch_call *call);

/* A policy: false for loopback, private, link-local, multicast, reserved and mapped addresses of both families. */
bool fetch_address_is_public(void *arg, const struct sockaddr *address);

#endif
