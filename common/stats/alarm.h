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

#endif
