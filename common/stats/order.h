/* How values follow each other: up, down or level from row to row. Tells a sorted file from shuffled rows. */
#ifndef ORCH_STATS_ORDER_H
#define ORCH_STATS_ORDER_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Plain data; all zero is the empty one. Not additive: two halves of a stream know nothing of the step between them. */
struct order {
  uint64_t up, down, level;
  double last;
  bool any;
};

/* The next row's value; NaN (a missing one) is passed over. */
static inline void order_add(struct order *order, double value) {
  if (isnan(value)) return;
  if (order->any) {
    order->up += value > order->last;
    order->down += value < order->last;
    order->level += value == order->last;
  }
  order->last = value;
  order->any = true;
}

/* The share of the commoner direction among the steps that are not level, 0.5 .. 1; NaN without such steps. About 0.5
 * for rows in random order, 1 for sorted ones. */
static inline double order_share(const struct order *order) {
  uint64_t steps = order->up + order->down, most = order->up > order->down ? order->up : order->down;
  return steps ? (double)most / (double)steps : NAN;
}

#endif
