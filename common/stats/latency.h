/* Latencies: a histogram that answers every quantile within 1 %, in bounded memory, and merges by addition.
 *
 * Each power of two is cut into 64 equal parts, so a bin is at most 1/64 of its lower bound wide and its middle is
 * within 1/128 = 0.79 % of every value in it. A bin is the top bits of the double itself: no logarithm that one machine
 * rounds in another way than the next. From 2^-10 to 2^30 (of milliseconds: one microsecond to twelve days); below, and
 * 0, count as `under` and read as 0; above as `over` and read as the maximum. After Tene's HdrHistogram and DDSketch
 * (Masson, Rim, Lee, VLDB 2019), which has the same guarantee with logarithmic bins. */
#ifndef ORCH_STATS_LATENCY_H
#define ORCH_STATS_LATENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"

#define LATENCY_ERROR 0.01 /* relative; what is promised to users */
#define LATENCY_EXPONENT_MIN (-10)
#define LATENCY_EXPONENT_MAX 30
#define LATENCY_PARTS 64
#define LATENCY_BINS ((LATENCY_EXPONENT_MAX - LATENCY_EXPONENT_MIN) * LATENCY_PARTS)
#define LATENCY_ENCODED_MAX (64 + 20 * LATENCY_BINS)

/* Plain data, 20 KB; all zero is the empty one. */
struct latency {
  uint64_t n;           /* values counted: under, over and the bins */
  uint64_t refused;     /* negative or no number: not counted in n */
  uint64_t under, over; /* below 2^-10, and 2^30 and above */
  double min, max;      /* exact; 0 when n is 0 */
  uint64_t count[LATENCY_BINS];
};

void latency_add(struct latency *latency, double value);
/* Exactly what one histogram of all values would be, in any order. */
void latency_merge(struct latency *into, const struct latency *from);
/* The value at rank ceil(level n), within LATENCY_ERROR of the true one (exact at both ends); NaN when n is 0. */
double latency_quantile(const struct latency *latency, double level);
/* How many values lie above `limit`: exact at the bounds of bins, else within the bin that holds it (1 %). */
uint64_t latency_above(const struct latency *latency, double limit);

/* Version 1, little endian, byte-stable; only bins that hold something. */
void latency_encode(const struct latency *latency, struct strbuf *out);
/* All of `bytes` must be one histogram; ERR_INVALID otherwise. */
bool latency_decode(struct latency *ret, const void *bytes, size_t len, struct err *err) ORCH_MUST_CHECK;

#endif
