/* Page-Hinkley: watches a stream of numbers for a lasting rise of its mean. For errors of a model whose labels came.
 *
 *   mean += (x - mean) / n;   S = max(0, alpha S + x - mean - delta);   drift when n >= min_instances and S >= lambda.
 *
 * Upward only: an error that falls is no reason for anything. Starts anew with the value after a drift. Source: Page
 * 1954 and Hinkley 1971, in the form with forgetting of scikit-multiflow and river's first releases, with river's
 * defaults. (river 0.14 and newer compare the sum with its own minimum instead of with 0, and watch both ways unless
 * told otherwise: their drifts may lie some values apart from these.) Edge case: a number that is not finite is passed
 * over. */
#ifndef ORCH_STATS_PAGE_HINKLEY_H
#define ORCH_STATS_PAGE_HINKLEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"

#define PAGE_HINKLEY_ENCODED_MAX 64

struct page_hinkley_params {
  uint32_t min_instances; /* default 30 */
  double delta;           /* what a rise may be without counting; at least 0; default 0.005 */
  double lambda;          /* the alarm's threshold, in sums of the stream's unit; over 0; default 50 */
  double alpha;           /* forgetting, over 0 and at most 1; default 0.9999 */
};
#define PAGE_HINKLEY_DEFAULT                                                                                           \
  ((struct page_hinkley_params){.min_instances = 30, .delta = 0.005, .lambda = 50, .alpha = 0.9999})

/* Plain data. */
struct page_hinkley {
  struct page_hinkley_params params;
  bool drift; /* what the last value said; the next one starts anew */
  uint64_t n;
  double mean, sum;
};

void page_hinkley_init(struct page_hinkley *ph, struct page_hinkley_params params);
/* Takes one value (a number that is not finite is passed over). True when it shows a drift. */
bool page_hinkley_add(struct page_hinkley *ph, double value);

/* The state between two values, parameters too: version 1, little endian, byte-stable. Base64 it for a JSON text. */
void page_hinkley_encode(const struct page_hinkley *ph, struct strbuf *out);
/* All of `bytes` must be one state; ERR_INVALID otherwise. */
bool page_hinkley_decode(struct page_hinkley *ret, const void *bytes, size_t len, struct err *err) ORCH_MUST_CHECK;

#endif
