/* ADWIN: an adaptive window over a stream of numbers that shrinks when its older part has another mean than its newer
 * one. For errors of a model whose labels have come.
 *
 * The window is kept as rows of buckets; a bucket of row r stands for 2^r values by their sum and variance, a row has
 * at most `max_buckets` of them and the two oldest of a fuller row become one of the next. Every `clock` values each
 * border between two buckets is a candidate for a cut: drift when |mean of the older part - mean of the newer part| >
 * eps, eps = sqrt(2 r v d) + 2/3 d r,   d = ln(2 ln(W) / delta),   r = 1/(n0 - l + 1) + 1/(n1 - l + 1), W values in the
 * window with variance v, n0 and n1 values in the parts, l = min_window_length; after a cut the oldest bucket is
 * dropped and the search begins again.
 *
 * Source: Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007; parameters, defaults
 * and every deviation from the paper as river's drift.ADWIN up to 0.21, which skips the newest bucket of each row as a
 * border and starts anew with the value after a drift: the same indices on any stream. (river 0.22 and newer try every
 * border, and so find a drift a few clocks earlier or later.) Edge cases: a number that is not finite is passed over; a
 * stream whose values are all equal never drifts, its variance is 0. Memory is bounded: 48 rows, which 10^14 values do
 * not fill. */
#ifndef ORCH_STATS_ADWIN_H
#define ORCH_STATS_ADWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"

#define ADWIN_BUCKETS_MAX 8
#define ADWIN_ROWS_MAX 48
#define ADWIN_ENCODED_MAX (64 + ADWIN_ROWS_MAX * (1 + 16 * (ADWIN_BUCKETS_MAX + 1)))

struct adwin_params {
  double delta;               /* in 0..1 (exclusive): confidence; default 0.002 */
  uint32_t clock;             /* look for a cut every so many values; at least 1; default 32 */
  uint32_t max_buckets;       /* 1 .. ADWIN_BUCKETS_MAX; default 5 */
  uint32_t min_window_length; /* values a part must have; at least 1; default 5 */
  uint32_t grace_period;      /* no cut before so many values; default 10 */
};
#define ADWIN_DEFAULT                                                                                                  \
  ((struct adwin_params){.delta = 0.002, .clock = 32, .max_buckets = 5, .min_window_length = 5, .grace_period = 10})

/* Plain data. */
struct adwin {
  struct adwin_params params;
  bool drift; /* what the last value said; the next one starts anew */
  uint64_t tick, width;
  double total, variance; /* of the window; `variance` is the sum of squared deviations */
  uint32_t n_rows;        /* at least 1 */
  struct {
    uint8_t n;
    double total[ADWIN_BUCKETS_MAX + 1], variance[ADWIN_BUCKETS_MAX + 1]; /* oldest first */
  } rows[ADWIN_ROWS_MAX];
};

void adwin_init(struct adwin *adwin, struct adwin_params params);
/* Takes one value (a number that is not finite is passed over). True when it shows a drift. */
bool adwin_add(struct adwin *adwin, double value);
/* Mean of the values in the window; NaN when there are none. */
double adwin_mean(const struct adwin *adwin);

/* The state between two values, parameters too: version 1, little endian, byte-stable. Base64 it for a JSON text. */
void adwin_encode(const struct adwin *adwin, struct strbuf *out);
/* All of `bytes` must be one state; ERR_INVALID otherwise. */
bool adwin_decode(struct adwin *ret, const void *bytes, size_t len, struct err *err) ORCH_MUST_CHECK;

#endif
