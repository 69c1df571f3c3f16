/* The special functions behind the p-values: locale-free, thread-safe, no tables. */
#ifndef ORCH_STATS_SPECIAL_H
#define ORCH_STATS_SPECIAL_H

/* Regularised upper incomplete gamma function Q(a, x) = Gamma(a, x) / Gamma(a), for a > 0 and x >= 0, in 0..1.
 *
 * Source: NIST Digital Library of Mathematical Functions, 8.7.1 (power series of P, used for x < a + 1) and 8.9.2
 * (continued fraction of Q, evaluated by the modified Lentz method, otherwise). Relative error about 1e-13 in the
 * range used here (a up to a few hundred). Edge cases: x <= 0 gives 1, x = infinity gives 0, a <= 0 or NaN gives NaN.
 */
double special_gamma_q(double a, double x);

/* Kolmogorov's limit distribution, upper tail: Q(x) = 2 sum_{k>=1} (-1)^(k-1) exp(-2 k^2 x^2), in 0..1.
 *
 * Source: Kolmogorov 1933; for x < 1.18, where that series converges slowly, the equivalent theta form
 * 1 - sqrt(2 pi)/x sum_{k>=1} exp(-(2k-1)^2 pi^2 / (8 x^2)). Edge cases: x <= 0 gives 1, NaN gives NaN. */
double special_kolmogorov_q(double x);

/* Two-sided tail of the standard normal distribution: P(|Z| >= |z|) = erfc(|z| / sqrt 2). */
double special_normal_two_sided(double z);

/* Upper tail of chi-square with `df` > 0 degrees of freedom: Q(df/2, x/2). */
double special_chi2_tail(double x, double df);

#endif
