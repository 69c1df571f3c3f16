/* How often a drift rule cries wolf: the alarms to expect when nothing drifts, computed before any data are there.
 *
 * Without drift the PSI over k groups of a window of m values against a reference of n is (1/n + 1/m) times a
 * chi-square with k - 1 degrees of freedom (Yurdakul, Statistical Properties of Population Stability Index, 2018), and
 * the chi- square test's statistic is that chi-square itself. So a column is a hit when it exceeds both psi / (1/n +
 * 1/m) and the test's critical value. One reference serves many windows: when it happens to lie off, all of them see
 * it. Given how far it lies off (s, itself a chi-square), m PSI is a noncentral chi-square with noncentrality s m / n;
 * the chance of a hit h(s) is averaged over s only after asking for `hits` of `of` windows: E[h P(Binomial(of - 1, h)
 * >= hits - 1)]. Benjamini-Hochberg over c columns without drift rejects a column with a chance of p_value / c. Faults
 * need a jump of ten points and are left out: their share is below 1e-6 a window. */
#ifndef ORCH_STATS_ALARM_H
#define ORCH_STATS_ALARM_H

#include <stddef.h>
#include <stdint.h>

#include "stats/decide.h"

struct alarm_task {
  uint64_t rows;     /* of a window */
  uint64_t ref_rows; /* of the reference; 0: not known, taken to be ten windows */
  unsigned numeric;  /* columns */
  unsigned categorical;
  unsigned categories; /* values of a categorical column that are not rare; 0: not known, taken to be 20 */
};
struct alarm_rate {
  double hits;   /* columns that are a hit, per window */
  double alarms; /* columns that become drift by this window, per window: about the alarms that people see */
};
/* 0 where a window is too small to be judged (rule->min_rows). About a millisecond. */
struct alarm_rate alarm_expected(const struct drift_rule *rule, const struct alarm_task *task);

/* The chance that a window alarms when each is a hit with chance `h` by itself and `hits` of the last `of`, this one
 * among them, are asked for: h P(Binomial(of - 1, h) >= hits - 1). */
double alarm_of_hits(double h, unsigned hits, unsigned of);

/* The chance that of `n` independent trials with chance `p` a share under `min` succeeds, P(Binomial(n, p) < min n):
 * an accuracy of n rows. Summed exactly, relative error about 1e-9. 0 for n = 0. */
double alarm_share_below(double p, uint64_t n, double min);

/* At most the chance that a share grows by more than `jump`, with a two-sided p-value under `p_value`, from a reference
 * of ref_rows to a window of rows though nothing changed: the normal tail for a share of one half, where chance is
 * largest. ref_rows 0: taken to be ten windows. */
double alarm_jump(double jump, double p_value, uint64_t rows, uint64_t ref_rows);

#endif
