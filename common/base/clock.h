/* Time and randomness through one door, so that tests own both.
 *
 * Wall time is microseconds since 1970 UTC; monotonic time is microseconds since some start. */
#ifndef ORCH_BASE_CLOCK_H
#define ORCH_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clock_source {
  int64_t (*wall_us)(void *arg);
  int64_t (*mono_us)(void *arg);
  void (*random)(void *arg, void *bytes, size_t len);
  void *arg;
};

int64_t clock_wall_us(void);
int64_t clock_mono_us(void);
void clock_random(void *bytes, size_t len); /* cryptographic; aborts when the system has none */
uint64_t clock_random_u64(void);
/* `base_ms` spread uniformly over [base - share*base, base + share*base]; share in 0..1. For retries and polls. */
int64_t clock_jitter_ms(int64_t base_ms, double share);

/* Tests: NULL restores the real source. Not thread-safe; call before threads start. */
void clock_set_source(const struct clock_source *source);

#define CLOCK_RFC3339_SIZE 32
/* "2026-01-05T09:04:05.123Z"; milliseconds, UTC. */
void clock_format_rfc3339(int64_t wall_us, char out[CLOCK_RFC3339_SIZE]);
/* RFC 3339 with an offset or Z; fractions to microseconds are kept, more are cut. */
bool clock_parse_rfc3339(const char *text, int64_t *ret_wall_us);

#endif
