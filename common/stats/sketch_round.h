/* How a sketch rounds offsets to quanta and squares them: once for single values, once for blocks of them. */
#ifndef ORCH_STATS_SKETCH_ROUND_H
#define ORCH_STATS_SKETCH_ROUND_H

#include <stdint.h>

/* rint() by addition, inline everywhere: 1.5 * 2^52 leaves no room behind the point. For less than 2^51. */
static inline int64_t round_whole(double value) {
  const double round = 6755399441055744.0;
  return (int64_t)((value + round) - round);
}

static inline unsigned __int128 square_of(int64_t whole) {
  return (unsigned __int128)((__int128)whole * whole);
}

#endif
