/* Bounds failed sign-ins: per address, and in all. Pure; the time is the caller's.
 *
 * Tokens cannot be guessed; this keeps guessing from costing the database anything. */
#ifndef ORCH_SERVE_LOGIN_GUARD_H
#define ORCH_SERVE_LOGIN_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#define LOGIN_PEERS_MAX 64          /* remembered; the one longest quiet makes room */
#define LOGIN_FAILURES_MAX 20u      /* of one address in a window; behind a proxy everybody has one address */
#define LOGIN_FAILURES_ALL_MAX 200u /* of all together */
#define LOGIN_WINDOW_US ((int64_t)60000000)

struct login_tally {
  char peer[48];
  int64_t since_us; /* monotonic: when its window began */
  unsigned failures;
};

/* Zeroed is ready. */
struct login_guard {
  struct login_tally all;
  struct login_tally peers[LOGIN_PEERS_MAX];
};

/* False: this address has to wait; *ret_wait_s says how long (at least 1 s). */
bool login_guard_allows(const struct login_guard *guard, const char *peer, int64_t now_us, int *ret_wait_s);
void login_guard_failed(struct login_guard *guard, const char *peer, int64_t now_us);

#endif
