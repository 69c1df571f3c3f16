/* What a sketch says: moments, quantiles, counts over deciles, bars. */
#include <math.h>
#include <string.h>

#include "stats/sketch.h"

uint64_t sketch_missing(const struct sketch *s) {
  return s->n - s->finite;
}

/* Offsets of the far values below or above the grid, in quanta of the coarsest level. */
static double far_sum(const struct sketch_far *far, int side) {
  return (double)far->sums[0][side] + ldexp((double)far->sums[1][side], -SKETCH_FAR_BITS);
}

static __int128 near_sum(const struct sketch *s) {
  __int128 sum = 0;
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) sum += s->sum[i];
  return sum;
}

static int far_exponent(const struct sketch *s) {
  return s->grid.exponent + (int)s->far.level * SKETCH_FAR_BITS;
}

double sketch_mean(const struct sketch *s) {
  if (s->finite == 0) return 0;
  double offset = ldexp((double)near_sum(s) / (double)s->finite, s->grid.exponent);
  if (s->far.level) offset += ldexp((far_sum(&s->far, 0) + far_sum(&s->far, 1)) / (double)s->finite, far_exponent(s));
  return fmin(s->max, fmax(s->min, s->grid.origin + offset));
}

/* Without far values: about the whole quantum below the mean, in integers, so nothing cancels. */
static double near_variance(const struct sketch *s) {
  __int128 n = s->finite, sum = near_sum(s), mean = sum / n, rest = sum - mean * n;
  __int128 about = (__int128)s->squares - 2 * mean * sum + n * mean * mean;
  double off = (double)rest;
  return ((double)about - off * off / (double)n) / (double)n;
}

static double far_variance(const struct sketch *s) {
  double n = (double)s->finite;
  int finer = -(int)s->far.level * SKETCH_FAR_BITS; /* from quanta to the coarsest level's */
  double sum = ldexp((double)near_sum(s), finer) + far_sum(&s->far, 0) + far_sum(&s->far, 1);
  double squares = ldexp((double)s->squares, 2 * finer) + (double)s->far.squares[0] +
                   ldexp((double)s->far.squares[1], -2 * SKETCH_FAR_BITS);
  return squares / n - sum / n * (sum / n);
}

double sketch_deviation(const struct sketch *s) {
  if (s->finite == 0 || s->min == s->max) return 0;
  if (s->far.level) return ldexp(sqrt(fmax(0, far_variance(s))), far_exponent(s));
  return ldexp(sqrt(fmax(0, near_variance(s))), s->grid.exponent);
}

/* The same as (double)value, sooner where it fits 64 bits. */
static inline double whole_double(__int128 value) {
  return value == (int64_t)value ? (double)(int64_t)value : (double)value;
}

static inline double centroid(const struct sketch *s, uint32_t bin) {
  if (s->count[bin] == 0) return NAN;
  double low = bin > 0 && s->grid.edges[bin - 1] > s->min ? s->grid.edges[bin - 1] : s->min;
  double high = bin < s->grid.n_edges && s->grid.edges[bin] < s->max ? s->grid.edges[bin] : s->max;
  double n = (double)s->count[bin], offset = whole_double(s->sum[bin]) / n * s->grid.quantum;
  if (s->far.level && (bin == 0 || bin == s->grid.n_edges))
    offset += ldexp(far_sum(&s->far, bin > 0) / n, far_exponent(s));
  double at = s->grid.origin + offset;
  return at < low ? low : at > high ? high : at;
}

double sketch_centroid(const struct sketch *s, uint32_t bin) {
  return centroid(s, bin);
}

void sketch_centroids(const struct sketch *s, double ret[SKETCH_BINS_MAX]) {
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) ret[i] = centroid(s, i);
}

void sketch_quantiles(const struct sketch *s, const double *levels, size_t n, double *ret) {
  double seen = 0; /* values in the bins before `bin` */
  uint32_t bin = 0;
  for (size_t i = 0; i < n; i++) {
    double want = levels[i] * (double)s->finite;
    while (bin <= s->grid.n_edges && (s->count[bin] == 0 || seen + (double)s->count[bin] < want))
      seen += (double)s->count[bin++];
    if (bin > s->grid.n_edges) {
      ret[i] = s->finite ? s->max : NAN;
      continue;
    }
    double low = bin > 0 ? fmax(s->grid.edges[bin - 1], s->min) : s->min;
    double high = bin < s->grid.n_edges ? fmin(s->grid.edges[bin], s->max) : s->max;
    ret[i] = fmin(high, low + (high - low) * fmin(1, fmax(0, (want - seen) / (double)s->count[bin])));
  }
}

double sketch_quantile(const struct sketch *s, double level) {
  double quantile;
  sketch_quantiles(s, &level, 1, &quantile);
  return quantile;
}

size_t sketch_groups(const struct sketch *s, uint64_t ret_counts[SKETCH_GROUPS_MAX]) {
  uint32_t bin = 0;
  for (uint32_t g = 0; g <= s->grid.n_cuts; g++) {
    uint32_t last = g < s->grid.n_cuts ? s->grid.cuts[g] : s->grid.n_edges;
    ret_counts[g] = 0;
    for (; bin <= last; bin++) ret_counts[g] += s->count[bin];
  }
  return s->grid.n_cuts + 1;
}

void sketch_bars(const struct sketch *s, double low, double high, size_t n, double *ret_shares) {
  double width = (high - low) / (double)n, last = (double)n - 1;
  for (size_t i = 0; i < n; i++) ret_shares[i] = 0;
  for (uint32_t bin = 0; bin <= s->grid.n_edges; bin++) {
    if (s->count[bin] == 0) continue;
    double share = (double)s->count[bin] / (double)s->finite;
    double from = bin > 0 ? fmax(s->grid.edges[bin - 1], s->min) : s->min;
    double to = bin < s->grid.n_edges ? fmin(s->grid.edges[bin], s->max) : s->max;
    size_t first = (size_t)fmin(last, fmax(0, floor((from - low) / width)));
    size_t end = (size_t)fmin(last, fmax(0, floor((to - low) / width)));
    if (first == end || !(to > from)) {
      ret_shares[end] += share;
      continue;
    }
    for (size_t i = first; i <= end; i++) {
      double a = i == first ? from : low + width * (double)i, b = i == end ? to : low + width * (double)(i + 1);
      ret_shares[i] += share * (b - a) / (to - from);
    }
  }
}
