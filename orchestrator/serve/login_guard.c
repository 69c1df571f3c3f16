#include "serve/login_guard.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static bool is_over(const struct login_tally *tally, int64_t now_us) {
  return tally->failures == 0 || now_us - tally->since_us >= LOGIN_WINDOW_US;
}

static bool is_full(const struct login_tally *tally, unsigned most, int64_t now_us, int *ret_wait_s) {
  if (is_over(tally, now_us) || tally->failures < most) return false;
  *ret_wait_s = (int)((tally->since_us + LOGIN_WINDOW_US - now_us) / 1000000) + 1;
  return true;
}

bool login_guard_allows(const struct login_guard *guard, const char *peer, int64_t now_us, int *ret_wait_s) {
  if (is_full(&guard->all, LOGIN_FAILURES_ALL_MAX, now_us, ret_wait_s)) return false;
  for (size_t i = 0; i < ARRAY_LEN(guard->peers); i++)
    if (strcmp(guard->peers[i].peer, peer) == 0)
      return !is_full(&guard->peers[i], LOGIN_FAILURES_MAX, now_us, ret_wait_s);
  return true;
}

static void count(struct login_tally *tally, int64_t now_us) {
  if (is_over(tally, now_us)) {
    tally->since_us = now_us;
    tally->failures = 0;
  }
  tally->failures++;
}

void login_guard_failed(struct login_guard *guard, const char *peer, int64_t now_us) {
  struct login_tally *slot = &guard->peers[0];
  for (size_t i = 0; i < ARRAY_LEN(guard->peers); i++) {
    struct login_tally *one = &guard->peers[i];
    if (strcmp(one->peer, peer) == 0) {
      slot = one;
      break;
    }
    if (one->since_us < slot->since_us) slot = one;
  }
  if (strcmp(slot->peer, peer) != 0) {
    *slot = (struct login_tally){0};
    snprintf(slot->peer, sizeof slot->peer, "%s", peer);
  }
  count(slot, now_us);
  count(&guard->all, now_us);
}
