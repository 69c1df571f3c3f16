#include "stats/fdr.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

struct ranked {
  double p;
  size_t index;
};

static int by_p(const void *a, const void *b) {
  double x = ((const struct ranked *)a)->p, y = ((const struct ranked *)b)->p;
  return (x > y) - (x < y);
}

void fdr_adjust(const double *p, size_t n, double *ret) {
  struct ranked *order = mem_calloc(n + 1, sizeof order[0]);
  size_t m = 0;
  for (size_t i = 0; i < n; i++) {
    if (!isnan(p[i])) order[m++] = (struct ranked){.p = p[i], .index = i};
    ret[i] = p[i];
  }
  qsort(order, m, sizeof order[0], by_p);
  double least = 1;
  for (size_t i = m; i-- > 0;) {
    least = fmin(least, order[i].p * (double)m / (double)(i + 1));
    ret[order[i].index] = least;
  }
  mem_free(order);
}
