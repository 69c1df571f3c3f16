#include "stats/distance.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "stats/special.h"

static double total_of(const uint64_t *counts, size_t k) {
  double total = 0;
  for (size_t i = 0; i < k; i++) total += (double)counts[i];
  return total;
}

double distance_js_counts(const uint64_t *ref, const uint64_t *now, size_t k) {
  double n = total_of(ref, k), m = total_of(now, k), sum = 0;
  if (n == 0 || m == 0) return NAN;
  for (size_t i = 0; i < k; i++) {
    double p = (double)ref[i] / n, q = (double)now[i] / m, middle = (p + q) / 2;
    if (p == q) continue;
    if (p > 0) sum += p * log(p / middle);
    if (q > 0) sum += q * log(q / middle);
  }
  return sqrt(fmax(0, sum / 2));
}

double distance_tvd_counts(const uint64_t *ref, const uint64_t *now, size_t k) {
  double n = total_of(ref, k), m = total_of(now, k), sum = 0;
  if (n == 0 || m == 0) return NAN;
  for (size_t i = 0; i < k; i++) sum += fabs((double)ref[i] / n - (double)now[i] / m);
  return sum / 2;
}

double distance_hellinger_counts(const uint64_t *ref, const uint64_t *now, size_t k) {
  double n = total_of(ref, k), m = total_of(now, k), sum = 0;
  if (n == 0 || m == 0) return NAN;
  for (size_t i = 0; i < k; i++) {
    double off = sqrt((double)ref[i] / n) - sqrt((double)now[i] / m);
    sum += off * off;
  }
  return sqrt(sum / 2);
}

double distance_linf_counts(const uint64_t *ref, const uint64_t *now, size_t k) {
  double n = total_of(ref, k), m = total_of(now, k), most = 0;
  if (n == 0 || m == 0) return NAN;
  for (size_t i = 0; i < k; i++) most = fmax(most, fabs((double)ref[i] / n - (double)now[i] / m));
  return most;
}

/* ---- Wasserstein ---- */

static struct distance_wasserstein wasserstein_of(double raw, double deviation, bool constant) {
  struct distance_wasserstein w = {.raw = raw, .normed = raw / deviation};
  if (deviation > 0) return w;
  w.normed = raw == 0 ? 0 : NAN;
  w.constant_broken = constant && raw != 0;
  return w;
}

/* The part of the integral in one bin [a, b]: F begins at f, grows by p and its values have the mean x; G, g, q, y
 * alike; `after` is F - G at b. The integral of F - G itself is exact: F adds p over (x, b] on average. When F and G do
 * not cross in the bin its size is the part. When they do (they differ in sign at a and b), it is at least what even
 * values would give: as wide around the mean of all of them as the bin has room for, so that a gap beside them counts
 * whole. */
static double bin_part(double a, double b, double f, double p, double x, double g, double q, double y, double after) {
  double integral = (b - a) * (f - g);
  if (p > 0) integral += p * (b - x);
  if (q > 0) integral -= q * (b - y);
  double before = f - g, part = fabs(integral);
  if (before * after < 0) {
    double mean = ((p > 0 ? p * x : 0) + (q > 0 ? q * y : 0)) / (p + q); /* they differ in sign: one is not 0 */
    double left = mean - a, right = b - mean, width = 2 * fmin(left, right);
    double lines = width * (before * before + after * after) / 2 / (fabs(before) + fabs(after)) +
                   (b - a - width) * fabs(left < right ? after : before);
    if (lines > part) part = lines;
  }
  return part;
}

struct distance_wasserstein distance_wasserstein(const struct sketch *ref, const struct sketch *now) {
  double n = (double)ref->finite, m = (double)now->finite, raw = 0, f = 0, g = 0;
  /* As counts: sums of shares need not end at 1, and a last bin that seems to cross there may be as long as a tail. */
  uint64_t below_ref = 0, below_now = 0;
  double x[SKETCH_BINS_MAX], y[SKETCH_BINS_MAX];
  if (n == 0 || m == 0 || ref->grid.n_edges != now->grid.n_edges)
    return (struct distance_wasserstein){.raw = NAN, .normed = NAN};
  sketch_centroids(ref, x);
  sketch_centroids(now, y);
  uint32_t last = ref->grid.n_edges;
  double a = fmin(ref->min, now->min), highest = fmax(ref->max, now->max);
  for (uint32_t i = 0; i <= last; i++) {
    double b = i < last ? ref->grid.edges[i] : highest;
    double p = (double)ref->count[i] / n, q = (double)now->count[i] / m;
    below_ref += ref->count[i];
    below_now += now->count[i];
    double f_next = (double)below_ref / n, g_next = (double)below_now / m;
    if (p > 0 || q > 0 || f != g) raw += bin_part(a < b ? a : b, b, f, p, x[i], g, q, y[i], f_next - g_next);
    f = f_next;
    g = g_next;
    a = b;
  }
  return wasserstein_of(raw, sketch_deviation(ref), ref->min == ref->max);
}

/* About the median, from which the mean is at most one deviation away, so little cancels; and in a unit in which
 * squares are neither too small nor too large for a number. */
static double deviation_of(const double *sorted, size_t n) {
  double middle = sorted[n / 2], sum = 0, squares = 0;
  int exponent;
  if (sorted[0] == sorted[n - 1]) return 0;
  frexp(fmax(sorted[n - 1] - middle, middle - sorted[0]), &exponent);
  if (exponent < -1000) exponent = -1000;
  double scale = ldexp(1, -exponent);
  for (size_t i = 0; i < n; i++) {
    double off = (sorted[i] - middle) * scale;
    sum += off;
    squares += off * off;
  }
  return ldexp(sqrt(fmax(0, squares - sum * (sum / (double)n)) / (double)n), exponent);
}

struct distance_wasserstein distance_wasserstein_sorted(const double *ref, size_t n, const double *now, size_t m) {
  if (n == 0 || m == 0) return (struct distance_wasserstein){.raw = NAN, .normed = NAN};
  double raw = 0, last = fmin(ref[0], now[0]);
  for (size_t i = 0, j = 0; i < n || j < m;) {
    double at = i == n ? now[j] : j == m ? ref[i] : fmin(ref[i], now[j]);
    raw += fabs((double)i / (double)n - (double)j / (double)m) * (at - last);
    last = at;
    while (i < n && ref[i] == at) i++;
    while (j < m && now[j] == at) j++;
  }
  return wasserstein_of(raw, deviation_of(ref, n), ref[0] == ref[n - 1]);
}

/* ---- chi-square with rare groups pooled ---- */

#define POOL_GROUPS_MAX 512

/* Groups 0 .. kept - 1 that both sides together have at least `least` times, behind group 0 with all others. Returns
 * how many. */
static size_t pool(const uint64_t *ref, const uint64_t *now, size_t kept, size_t k, double least, uint64_t *ret_ref,
                   uint64_t *ret_now) {
  size_t n = 1;
  ret_ref[0] = ret_now[0] = 0;
  for (size_t i = 0; i < k; i++) {
    size_t into = i >= kept || (double)ref[i] + (double)now[i] < least ? 0 : n++;
    if (into) ret_ref[into] = ret_now[into] = 0;
    ret_ref[into] += ref[i];
    ret_now[into] += now[i];
  }
  return n;
}

struct measure_chi2 distance_chi2_pooled(const uint64_t *ref, const uint64_t *now, size_t kept, size_t k, double rare) {
  uint64_t a[POOL_GROUPS_MAX + 1], b[POOL_GROUPS_MAX + 1];
  if (k > POOL_GROUPS_MAX) return (struct measure_chi2){.statistic = NAN, .p_value = NAN};
  double least = rare * (total_of(ref, k) + total_of(now, k));
  return measure_chi2_counts(a, b, pool(ref, now, kept, k, least, a, b));
}

/* ---- everything at once ---- */

void distance_none(struct distances *d) {
  const struct measure_share none = {.ref = NAN, .now = NAN, .z = NAN, .p_value = NAN};
  *d = (struct distances){.psi = NAN,
                          .ks = {.statistic = NAN, .bound = NAN, .p_value = NAN},
                          .js = NAN,
                          .tvd = NAN,
                          .hellinger = NAN,
                          .linf = NAN,
                          .wasserstein = {.raw = NAN, .normed = NAN},
                          .chi2 = {.statistic = NAN, .p_value = NAN},
                          .noise_corrected = NAN,
                          .common = {.psi = NAN, .noise = NAN, .linf = NAN, .p_value = NAN},
                          .missing = none,
                          .type = none,
                          .unseen = none};
}

static void group_distances(const uint64_t *p, const uint64_t *q, size_t k, struct distances *d) {
  d->psi = measure_psi_counts(p, q, k);
  d->js = distance_js_counts(p, q, k);
  d->tvd = distance_tvd_counts(p, q, k);
  d->hellinger = distance_hellinger_counts(p, q, k);
  d->linf = distance_linf_counts(p, q, k);
}

void distance_numeric(const struct sketch *ref, const struct sketch *now, struct distances *d) {
  uint64_t p[SKETCH_GROUPS_MAX], q[SKETCH_GROUPS_MAX];
  distance_none(d);
  d->n_ref = ref->finite;
  d->n_now = now->finite;
  d->rows_ref = ref->n;
  d->rows_now = now->n;
  d->missing = measure_missing(ref, now);
  d->type = measure_share_change(ref->bad, ref->n - ref->null, now->bad, now->n - now->null);
  size_t k = sketch_groups(ref, p);
  if (sketch_groups(now, q) != k) return;
  group_distances(p, q, k, d);
  d->chi2 = measure_chi2_counts(p, q, k);
  d->ks = measure_ks(ref, now);
  d->wasserstein = distance_wasserstein(ref, now);
  d->noise_corrected = measure_noise_corrected(d->ks.statistic, (double)ref->finite, (double)now->finite);
}

/* How many values of the reference stand for unseen ones to come: those that it had once, less what its filter will
 * take for known ones. */
static uint64_t expected_unseen(const struct category *ref) {
  return (uint64_t)rint((double)ref->once * (1 - category_unseen_error(&ref->dict)));
}

static struct measure_share unseen_change(const struct category *ref, const struct category *now) {
  uint64_t n = category_present(ref), m = category_present(now);
  struct measure_share share = measure_share_change(expected_unseen(ref), n, now->unseen, m);
  if (!n || !m) return share;
  share.z *= sqrt((1 / (double)n + 1 / (double)m) / (2 / (double)n + 1 / (double)m));
  if (share.z != 0) share.p_value = special_normal_two_sided(share.z);
  return share;
}

/* `k` groups with `other` and `unseen` at the end. */
static void common_distances(const struct category *ref, const uint64_t *p, const uint64_t *q, size_t k,
                             struct distances *d) {
  uint64_t a[CATEGORY_GROUPS_MAX + 2], b[CATEGORY_GROUPS_MAX + 2];
  if (d->n_ref == 0 || d->n_now == 0) return;
  double rows_ref = (double)d->n_ref, rows_now = (double)d->n_now, groups = 0;
  double least = fmax(DISTANCE_RARE, DISTANCE_EXPECTED_MIN / fmin(rows_ref, rows_now)) * (rows_ref + rows_now);
  size_t n = pool(p, q, k - 2, k, least, a, b);
  d->common.p_value = measure_chi2_counts(a, b, n).p_value;
  uint64_t unseen = expected_unseen(ref);
  a[n] = unseen < a[0] ? unseen : a[0];
  b[n] = q[k - 1];
  a[0] -= a[n];
  b[0] -= b[n];
  n++;
  for (size_t i = 0; i < n; i++) groups += a[i] > 0 || b[i] > 0;
  d->common.psi = measure_psi_counts(a, b, n);
  d->common.noise = (groups - 1) * (1 / rows_ref + 1 / rows_now);
  d->common.linf = distance_linf_counts(a, b, n);
}

void distance_categorical(const struct category *ref, const struct category *now, struct distances *d) {
  uint64_t p[CATEGORY_GROUPS_MAX], q[CATEGORY_GROUPS_MAX];
  distance_none(d);
  d->categorical = true;
  d->n_ref = category_present(ref);
  d->n_now = category_present(now);
  d->rows_ref = ref->n;
  d->rows_now = now->n;
  d->missing = measure_share_change(category_missing(ref), ref->n, category_missing(now), now->n);
  d->type = measure_share_change(ref->numbers, d->n_ref, now->numbers, d->n_now);
  d->unseen = unseen_change(ref, now);
  size_t k = category_groups(ref, p);
  if (category_groups(now, q) != k) return;
  group_distances(p, q, k, d);
  d->chi2 = distance_chi2_pooled(p, q, k - 2, k, DISTANCE_RARE);
  common_distances(ref, p, q, k, d);
  d->noise_corrected = measure_noise_corrected(d->linf, (double)d->n_ref, (double)d->n_now);
}

/* ---- sorting ---- */

#define RADIX 2048 /* 11 bits, six passes */
#define RADIX_FROM 512

static void insertion_sort(uint64_t *keys, size_t n) {
  for (size_t i = 1; i < n; i++) {
    uint64_t key = keys[i];
    size_t at = i;
    for (; at > 0 && keys[at - 1] > key; at--) keys[at] = keys[at - 1];
    keys[at] = key;
  }
}

static void shell_sort(uint64_t *keys, size_t n) {
  static const size_t gaps[] = {132, 57, 23, 10, 4};
  for (size_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++)
    for (size_t i = gaps[g]; i < n; i++) {
      uint64_t key = keys[i];
      size_t at = i;
      for (; at >= gaps[g] && keys[at - gaps[g]] > key; at -= gaps[g]) keys[at] = keys[at - gaps[g]];
      keys[at] = key;
    }
  insertion_sort(keys, n);
}

static void radix_sort(uint64_t *keys, size_t n) {
  uint64_t *spare = mem_calloc(n, sizeof spare[0]), *from = keys, *to = spare;
  for (unsigned shift = 0; shift < 64; shift += 11) {
    size_t starts[RADIX] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++) starts[from[i] >> shift & (RADIX - 1)]++;
    if (starts[from[0] >> shift & (RADIX - 1)] == n) continue; /* all alike in these bits */
    for (size_t i = 0; i < RADIX; i++) {
      size_t count = starts[i];
      starts[i] = sum;
      sum += count;
    }
    for (size_t i = 0; i < n; i++) to[starts[from[i] >> shift & (RADIX - 1)]++] = from[i];
    uint64_t *swap = from;
    from = to;
    to = swap;
  }
  if (from != keys) memcpy(keys, from, n * sizeof keys[0]);
  mem_free(spare);
}

void distance_sort(double *values, size_t n) {
  if (n < 2) return;
  /* Bits of a double ascend with its value once negative ones are flipped and positive ones are put above them. */
  uint64_t *keys = mem_calloc(n, sizeof keys[0]);
  memcpy(keys, values, n * sizeof keys[0]);
  for (size_t i = 0; i < n; i++) keys[i] ^= keys[i] >> 63 ? ~0ull : 1ull << 63;
  if (n < RADIX_FROM)
    shell_sort(keys, n);
  else
    radix_sort(keys, n);
  for (size_t i = 0; i < n; i++) keys[i] ^= keys[i] >> 63 ? 1ull << 63 : ~0ull;
  memcpy(values, keys, n * sizeof keys[0]);
  mem_free(keys);
}
