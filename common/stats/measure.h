/* Measures of how far a window lies from its reference, on sketches of one grid; each with formula and edge cases.
 *
 * p and q are shares of finite values: p of the reference (n of them), q of the window (m of them). Missing values do
 * not enter the distances; measure_share_change() looks at them. */
#ifndef ORCH_STATS_MEASURE_H
#define ORCH_STATS_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stats/sketch.h"

/* The smallest share a bin is given before the logarithm; shares are not renormalised after it. */
#define MEASURE_PSI_FLOOR 1e-4
/* Below this n m / (n + m) two samples are too small to compare. */
#define MEASURE_EN_MIN 4

/* Population stability index: sum_i (q_i - p_i) ln(q_i / p_i) over k bins, shares floored at 1e-4.
 *
 * Source: Siddiqi, Credit Risk Scorecards, 2006, with the floor of this project (zero bins would be infinite).
 * Without drift its mean is about (k-1)(1/n + 1/m) (Yurdakul 2018). NaN when either side has no values. */
double measure_psi_counts(const uint64_t *ref, const uint64_t *now, size_t k);
/* The same over the decile bins of the reference's grid: equal to the PSI of the raw values. */
double measure_psi(const struct sketch *ref, const struct sketch *now);

/* "p 0.0021", and "p < 1e-16" for what no sample can tell from never; returns `out`. */
#define MEASURE_P_SIZE 24
const char *measure_p_words(double p, char out[MEASURE_P_SIZE]);

struct measure_ks {
  double statistic; /* max |F - G| over the edges: a lower bound of the true statistic */
  double bound;     /* statistic + max_i min(f_i, g_i): an upper bound of it (f_i, g_i shares of bin i), at most 1 */
  double p_value;   /* NaN when insufficient */
  bool sufficient;  /* en = n m / (n + m) is at least 4 */
};
/* Two-sample Kolmogorov-Smirnov test from the bins. p = Q((sqrt(en) + 0.12 + 0.11/sqrt(en)) D), Q Kolmogorov's tail.
 *
 * Source: Stephens, "Use of the Kolmogorov-Smirnov, Cramer-Von Mises and related statistics without extensive tables",
 * J. R. Stat. Soc. B 32, 1970. Within 1.6 % of the exact p for p >= 0.004. Without values: statistic NaN. */
struct measure_ks measure_ks(const struct sketch *ref, const struct sketch *now);
/* The same on whole samples, ascending and finite: the statistic itself, and bound = statistic. */
struct measure_ks measure_ks_sorted(const double *ref, size_t n, const double *now, size_t m);
/* The p-value alone. */
double measure_ks_p(double statistic, double n, double m);

/* Noise-corrected distance max(0, D - 1.8 sqrt((n + m) / (n m))): what is left of a distance after what samples of
 * these sizes show without drift; 0.1 and more is worth an alert. Works for D and for the largest difference of shares
 * alike. Source: Deequ (its "robust" L-infinity); NaN when a side is empty or D is NaN. */
double measure_noise_corrected(double distance, double n, double m);

struct measure_chi2 {
  double statistic;
  double p_value; /* 1 when df is 0; NaN when a side is empty */
  unsigned df;    /* columns that are not zero on both sides, minus one */
};
/* Chi-square test of homogeneity on the 2 x k table of counts: sum (observed - expected)^2 / expected, expected = row
 * total * column total / grand total; columns that are zero on both sides are dropped; no continuity correction, also
 * at one degree of freedom. p = Q(df/2, statistic/2).
 *
 * Source: Pearson 1900, in its contingency form: the reference is a sample too, so an unseen bin stays finite. */
struct measure_chi2 measure_chi2_counts(const uint64_t *ref, const uint64_t *now, size_t k);
/* The same over the decile bins. */
struct measure_chi2 measure_chi2(const struct sketch *ref, const struct sketch *now);

struct measure_share {
  double ref, now; /* the two shares, 0..1; NaN when a side is empty */
  double z;        /* positive when the share grew */
  double p_value;  /* two-sided; 1 when both shares are 0 or both are 1 */
};
/* Two-proportion z test with the pooled share: z = (b - a) / sqrt(s (1 - s) (1/n + 1/m)), s = (x + y) / (n + m).
 * `x` of `n` and `y` of `m`. Source: any textbook; the square of z is the 2 x 2 chi-square without correction. */
struct measure_share measure_share_change(uint64_t x, uint64_t n, uint64_t y, uint64_t m);
/* The same for the cells without a usable value (sketch_missing()). */
struct measure_share measure_missing(const struct sketch *ref, const struct sketch *now);

#endif
