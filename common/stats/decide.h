/* The decision of a drift monitor, as a pure function: reference, window, what recent windows said, the rule's numbers
 * -> per column a verdict with words and numbers.
 *
 * Order of the questions for a column:
 * 1. insufficient: not in the profile, fewer rows than `min_rows`, or too few values on a side (en under 4);
 * 2. fault: the share of cells without a usable value grew by more than `null_jump` and the two-proportion test gives
 *    p < `p_value`: the data are broken, so whatever else moved is no reason to retrain;
 * 3. hit: PSI >= `psi` and chi-square p < `p_value`, both over the decile bins;
 * 4. drift: at least `hits` of the last `of` windows of this column that could be judged are hits, this one included.
 * A fault is therefore never drift, and windows in fault or insufficient count neither for nor against drift.
 *
 * For the window: any fault makes the window a fault; drift of other columns is reported beside it and marked `held`,
 * since broken data stop and ask, they never retrain. */
#ifndef ORCH_STATS_DECIDE_H
#define ORCH_STATS_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stats/measure.h"
#include "stats/sketch.h"

enum drift_verdict { DRIFT_OK, DRIFT_DRIFT, DRIFT_FAULT, DRIFT_INSUFFICIENT };
/* "ok", "drift", "fault", "insufficient". */
const char *drift_verdict_name(enum drift_verdict verdict);

#define DRIFT_OF_MAX 64

struct drift_rule {
  uint64_t min_rows; /* default 200 */
  double psi;        /* default 0.2 */
  double p_value;    /* default 0.001 */
  double null_jump;  /* default 0.1: ten percentage points */
  unsigned hits, of; /* default 2 of 3; 1 <= hits <= of <= DRIFT_OF_MAX */
};
#define DRIFT_RULE_DEFAULT                                                                                             \
  ((struct drift_rule){.min_rows = 200, .psi = 0.2, .p_value = 0.001, .null_jump = 0.1, .hits = 2, .of = 3})

/* What an earlier window said of one column. */
struct drift_past {
  bool judged; /* neither fault nor insufficient */
  bool hit;
  int64_t from_row; /* the window's first row */
};

#define DRIFT_QUANTILES 5
extern const double drift_quantile_levels[DRIFT_QUANTILES]; /* 0.05 0.25 0.5 0.75 0.95 */

/* Numbers are NaN where they do not apply. */
struct drift_column {
  enum drift_verdict verdict;
  bool hit;
  unsigned hits, judged; /* hits among the judged windows that were looked at, this one included */
  int64_t since_row;     /* first row of the first window of this run of hits; -1 when not hit and not drift */
  uint64_t n_ref, n_now; /* finite values */
  uint64_t rows_ref, rows_now;
  double psi, noise_corrected;
  struct measure_ks ks;
  struct measure_chi2 chi2;
  struct measure_share missing;
  double quantiles_ref[DRIFT_QUANTILES], quantiles_now[DRIFT_QUANTILES];
  char why[384]; /* one sentence without a full stop */
};

/* `ref` NULL means the column is not in the profile; otherwise `now` is on its grid. `past` newest first. `from_row` is
 * the window's first row. */
void drift_decide_column(const struct drift_rule *rule, const struct sketch *ref, const struct sketch *now,
                         const struct drift_past *past, size_t n_past, int64_t from_row, struct drift_column *ret);

struct drift_window {
  enum drift_verdict verdict; /* fault > drift > ok; insufficient when no column could be judged */
  size_t faults, drifts, judged;
  bool held; /* columns drift while others are in fault */
};
struct drift_window drift_decide_window(const struct drift_column *columns, size_t n);

#endif
