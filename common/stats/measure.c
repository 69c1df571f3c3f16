#include "stats/measure.h"

#include <math.h>
#include <stdio.h>

#include "stats/special.h"

static double total_of(const uint64_t *counts, size_t k) {
  double total = 0;
  for (size_t i = 0; i < k; i++) total += (double)counts[i];
  return total;
}

const char *measure_p_words(double p, char out[MEASURE_P_SIZE]) {
  if (p < 1e-16)
    snprintf(out, MEASURE_P_SIZE, "p < 1e-16");
  else
    snprintf(out, MEASURE_P_SIZE, "p %.2g", p);
  return out;
}

double measure_psi_counts(const uint64_t *ref, const uint64_t *now, size_t k) {
  double n = total_of(ref, k), m = total_of(now, k), psi = 0;
  if (n == 0 || m == 0) return NAN;
  for (size_t i = 0; i < k; i++) {
    double p = (double)ref[i] / n, q = (double)now[i] / m;
    if (p < MEASURE_PSI_FLOOR) p = MEASURE_PSI_FLOOR;
    if (q < MEASURE_PSI_FLOOR) q = MEASURE_PSI_FLOOR;
    psi += (q - p) * log(q / p);
  }
  return psi;
}

double measure_psi(const struct sketch *ref, const struct sketch *now) {
  uint64_t p[SKETCH_GROUPS_MAX], q[SKETCH_GROUPS_MAX];
  size_t k = sketch_groups(ref, p);
  if (sketch_groups(now, q) != k) return NAN;
  return measure_psi_counts(p, q, k);
}

double measure_ks_p(double statistic, double n, double m) {
  if (isnan(statistic) || n + m == 0) return NAN;
  double en = n * m / (n + m);
  if (en < MEASURE_EN_MIN) return NAN;
  double root = sqrt(en);
  return special_kolmogorov_q((root + 0.12 + 0.11 / root) * statistic);
}

static struct measure_ks ks_result(double statistic, double slack, double n, double m) {
  double en = n * m / (n + m);
  return (struct measure_ks){.statistic = statistic,
                             .bound = fmin(1, statistic + slack),
                             .p_value = measure_ks_p(statistic, n, m),
                             .sufficient = en >= MEASURE_EN_MIN};
}

struct measure_ks measure_ks(const struct sketch *ref, const struct sketch *now) {
  double n = (double)ref->finite, m = (double)now->finite;
  if (n == 0 || m == 0 || ref->grid.n_edges != now->grid.n_edges)
    return (struct measure_ks){.statistic = NAN, .bound = NAN, .p_value = NAN};
  double statistic = 0, slack = 0;
  uint64_t below_ref = 0, below_now = 0;
  for (uint32_t i = 0; i <= ref->grid.n_edges; i++) {
    below_ref += ref->count[i];
    below_now += now->count[i];
    double gap = fabs((double)below_ref / n - (double)below_now / m);
    double p = (double)ref->count[i] / n, q = (double)now->count[i] / m;
    if (gap > statistic) statistic = gap;
    if (p > q) p = q;
    if (p > slack) slack = p;
  }
  return ks_result(statistic, slack, n, m);
}

struct measure_ks measure_ks_sorted(const double *ref, size_t n, const double *now, size_t m) {
  if (n == 0 || m == 0) return (struct measure_ks){.statistic = NAN, .bound = NAN, .p_value = NAN};
  double statistic = 0;
  for (size_t i = 0, j = 0; i < n && j < m;) {
    double at = fmin(ref[i], now[j]);
    while (i < n && ref[i] == at) i++;
    while (j < m && now[j] == at) j++;
    statistic = fmax(statistic, fabs((double)i / (double)n - (double)j / (double)m));
  }
  return ks_result(statistic, 0, (double)n, (double)m);
}

double measure_noise_corrected(double distance, double n, double m) {
  if (isnan(distance) || n <= 0 || m <= 0) return NAN;
  return fmax(0, distance - 1.8 * sqrt((n + m) / (n * m)));
}

struct measure_chi2 measure_chi2_counts(const uint64_t *ref, const uint64_t *now, size_t k) {
  double n = total_of(ref, k), m = total_of(now, k);
  if (n == 0 || m == 0) return (struct measure_chi2){.statistic = NAN, .p_value = NAN};
  struct measure_chi2 result = {.p_value = 1};
  unsigned columns = 0;
  for (size_t i = 0; i < k; i++) {
    double column = (double)ref[i] + (double)now[i];
    if (column == 0) continue;
    double expected_ref = column * n / (n + m), expected_now = column * m / (n + m);
    double miss = (double)ref[i] - expected_ref; /* the other row misses by the same amount */
    result.statistic += miss * miss / expected_ref + miss * miss / expected_now;
    columns++;
  }
  result.df = columns - 1;
  if (result.df > 0) result.p_value = special_chi2_tail(result.statistic, result.df);
  return result;
}

struct measure_chi2 measure_chi2(const struct sketch *ref, const struct sketch *now) {
  uint64_t p[SKETCH_GROUPS_MAX], q[SKETCH_GROUPS_MAX];
  size_t k = sketch_groups(ref, p);
  if (sketch_groups(now, q) != k) return (struct measure_chi2){.statistic = NAN, .p_value = NAN};
  return measure_chi2_counts(p, q, k);
}

struct measure_share measure_share_change(uint64_t x, uint64_t n, uint64_t y, uint64_t m) {
  if (n == 0 || m == 0) return (struct measure_share){.ref = NAN, .now = NAN, .z = NAN, .p_value = NAN};
  double a = (double)x / (double)n, b = (double)y / (double)m;
  double pooled = ((double)x + (double)y) / ((double)n + (double)m);
  double variance = pooled * (1 - pooled) * (1 / (double)n + 1 / (double)m);
  if (variance <= 0) return (struct measure_share){.ref = a, .now = b, .z = 0, .p_value = 1};
  double z = (b - a) / sqrt(variance);
  return (struct measure_share){.ref = a, .now = b, .z = z, .p_value = special_normal_two_sided(z)};
}

struct measure_share measure_missing(const struct sketch *ref, const struct sketch *now) {
  return measure_share_change(sketch_missing(ref), ref->n, sketch_missing(now), now->n);
}
