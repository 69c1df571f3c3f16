/* Distances between a reference and a window: on counts of the same groups, on sketches, and on whole samples; and all
 * measures of a column at once.
 *
 * p and q are the shares of the reference and of the window in each group. For a numeric column the groups are the
 * decile bins of the reference (sketch_groups()): ten shares of a tenth each are steady at a few hundred rows, where
 * 128 would be noise. For a categorical column they are the kept values, `other` and `unseen` (category_groups()); TVD,
 * Jensen-Shannon and Hellinger are the same whether unseen values are put together or not, since each has p = 0.
 * Without values on a side everything is NaN. */
#ifndef ORCH_STATS_DISTANCE_H
#define ORCH_STATS_DISTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stats/category.h"
#include "stats/measure.h"
#include "stats/sketch.h"

/* Jensen-Shannon distance with the natural logarithm: sqrt(1/2 sum p ln(p/m) + 1/2 sum q ln(q/m)), m = (p + q)/2, with
 * 0 ln 0 = 0; in 0 .. sqrt(ln 2) = 0.8326. Source: Endres and Schindelin 2003; scipy's jensenshannon() with its default
 * base. Divide by 0.8326 for the form with base 2. */
double distance_js_counts(const uint64_t *ref, const uint64_t *now, size_t k);
/* Total variation distance 1/2 sum |p - q|, in 0..1. */
double distance_tvd_counts(const uint64_t *ref, const uint64_t *now, size_t k);
/* Hellinger distance sqrt(1/2 sum (sqrt p - sqrt q)^2), in 0..1. Source: Hellinger 1909. */
double distance_hellinger_counts(const uint64_t *ref, const uint64_t *now, size_t k);
/* The largest difference of shares max |p - q|, in 0..1. */
double distance_linf_counts(const uint64_t *ref, const uint64_t *now, size_t k);

struct distance_wasserstein {
  double raw; /* integral of |F - G|, in the column's unit */
  /* raw / the reference's population deviation; NaN when constant_broken, and on sketches of a reference whose values
   * are too close together to have a deviation there (sketch.h) */
  double normed;
  /* The reference has one value only (deviation 0) and the window has another: no number of deviations describes that,
   * so no floor is invented. When the window has that one value too, both numbers are 0. */
  bool constant_broken;
};
/* First Wasserstein (earth mover's) distance. On sketches the integral of F - G over a bin follows exactly from the
 * counts and the centroids (mean values) of both sides, and the sum of its sizes is the distance but for bins in which
 * F and G cross: within 0.5 % at 128 bins, 5 % where the distance is hardly more than the noise of the samples. Of
 * tails so heavy that single values make the deviation (a Cauchy's, a Pareto's below 2), such small distances are right
 * to about 0.005 deviations only. Source: Vallender 1974. */
struct distance_wasserstein distance_wasserstein(const struct sketch *ref, const struct sketch *now);
/* The same on whole samples, ascending and finite: exact. */
struct distance_wasserstein distance_wasserstein_sorted(const double *ref, size_t n, const double *now, size_t m);

/* Chi-square test of homogeneity (measure_chi2_counts()) where groups with less than `rare` of both sides' rows taken
 * together, and those from `kept` on, are pooled into one first: a test on many rare categories has neither power nor
 * the right distribution. `rare` 0 pools none for its size, 0.01 is the usual. Source: Cochran 1954 on small
 * expectations; deepchecks pools the same. */
#define DISTANCE_RARE 0.01
struct measure_chi2 distance_chi2_pooled(const uint64_t *ref, const uint64_t *now, size_t kept, size_t k, double rare);

#define DISTANCE_EXPECTED_MIN 3
/* Every measure of one column. NaN where it does not apply. */
struct distances {
  bool categorical;
  uint64_t n_ref, n_now;       /* values: finite numbers, or texts */
  uint64_t rows_ref, rows_now; /* cells */
  double psi;                  /* measure_psi(); of a category over its groups, with the same floor */
  struct measure_ks ks;        /* numbers only: NaN and not sufficient for a category */
  double js, tvd, hellinger, linf;
  struct distance_wasserstein wasserstein; /* numbers only */
  /* Numbers: over the decile bins. Categories: the common ones, and one group of all others: rare, `other`, unseen. */
  struct measure_chi2 chi2;
  double noise_corrected;       /* measure_noise_corrected() of KS D, or of linf for a category */
  struct measure_share missing; /* cells without a usable value */
  /* Numbers: cells that are no number (of those that are there). Categories: values that read as numbers. */
  struct measure_share type;
  /* Categories only: values that the reference has not. `ref` is what a sample without drift would show by chance, the
   * share of values that the reference has once (Good 1953), not 0: with many rare values some are always new; less the
   * part of them that the reference's filter does not recognise (category_unseen_error()). That estimate is about twice
   * as noisy as a share, so z = (now - ref) / sqrt(s (1 - s) (2/n + 1/m)). */
  struct measure_share unseen;
  /* Categories only: what is fair to decide by. Which values are kept, and which are `other`, was chosen by the
   * reference's own counts: of many values about alike, those that happened to be frequent in it were kept, and are so
   * no more in the next sample; and values that it had once are partly replaced by unseen ones. So PSI and L-infinity
   * over kept values, `other` and `unseen` are large without drift. These are over groups that no side chose: values
   * that both sides together have often (at least DISTANCE_RARE of their rows, and DISTANCE_EXPECTED_MIN expected on
   * the smaller side), unseen ones, for which the reference's share is Good's estimate, and the rest. Nothing is told
   * about how rare values change among themselves. */
  struct {
    double psi;
    double noise; /* what psi is on average without drift: (k - 1)(1/n + 1/m), k groups that hold anything */
    double linf;
    double p_value; /* chi-square's, unseen ones and the rest together: those have a test of their own */
  } common;
};
/* Both on one grid, or one dictionary. About two microseconds a column. */
void distance_numeric(const struct sketch *ref, const struct sketch *now, struct distances *ret);
void distance_categorical(const struct category *ref, const struct category *now, struct distances *ret);
/* Everything NaN, nothing counted. */
void distance_none(struct distances *ret);

/* Sorts ascending, in linear time for many values (radix sort on their bits). No NaN; -0.0 comes before 0.0. */
void distance_sort(double *values, size_t n);

#endif
