/* The decision of a drift monitor, as a pure function: reference, window, what earlier windows said, the rule's numbers
 * -> per column a verdict with words and numbers.
 *
 * Order of the questions for a column:
 * 1. insufficient: not in the profile, or fewer rows than `min_rows`;
 * 2. fault: one of the rule's quality checks says that the data are broken (quality_column()), so whatever else moved
 * is no reason to retrain;
 * 3. insufficient: too few values on a side (en = n m / (n + m) under 4);
 * 4. hit: large and not by chance. Numbers: PSI >= `psi` over the decile bins. Categories: PSI less its noise >= `psi`
 *    (with a hundred categories the noise of 200 rows alone is 0.5), or the noise-corrected largest difference of
 *    shares >= `linf`, both over the groups that are fair to decide by (distances.common). And the column's p-value,
 *    adjusted over all columns of the window that came this far (Benjamini-Hochberg), < `p_value`. That p is the
 *    chi-square's over the decile bins, or for categories twice the smaller of the chi-square's (rare ones and unseen
 *    ones pooled) and of the test for unseen values;
 * 5. drift: at least `hits` of the last `of` windows of this column that could be judged are hits, this one included.
 * A fault is therefore never drift, and windows in fault or insufficient count neither for nor against drift.
 *
 * For the window: any fault makes the window a fault; drift of other columns is reported beside it and marked `held`,
 * since broken data stop and ask, they never retrain. */
#ifndef ORCH_STATS_DECIDE_H
#define ORCH_STATS_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stats/distance.h"
#include "stats/profile.h"
#include "stats/quality.h"

enum drift_verdict { DRIFT_OK, DRIFT_DRIFT, DRIFT_FAULT, DRIFT_INSUFFICIENT };
/* "ok", "drift", "fault", "insufficient". */
const char *drift_verdict_name(enum drift_verdict verdict);

#define DRIFT_OF_MAX 64

struct drift_rule {
  uint64_t min_rows; /* default 200 */
  double psi;        /* default 0.2 */
  double linf;       /* categories: default 0.1 */
  /* Level of the false discovery rate over the window's columns: without drift, the chance that any column of the
   * window is a hit. Default 0.001. With `each_alone` it is the level of every column's own test. */
  double p_value;
  bool each_alone;
  unsigned hits, of; /* default 2 of 3; 1 <= hits <= of <= DRIFT_OF_MAX */
  /* Which faults are looked for. Default: missing jump 0.1, type 0.1, constant, sorted. Values out of range and unseen
   * ones are not in it: that is how drift looks too, and asking for them here would hide it. */
  struct quality_rule quality;
};
#define DRIFT_RULE_DEFAULT                                                                                             \
  ((struct drift_rule){.min_rows = 200,                                                                                \
                       .psi = 0.2,                                                                                     \
                       .linf = 0.1,                                                                                    \
                       .p_value = 0.001,                                                                               \
                       .hits = 2,                                                                                      \
                       .of = 3,                                                                                        \
                       .quality = {.p_value = 0.001,                                                                   \
                                   .null_jump = 0.1,                                                                   \
                                   .type_share = 0.1,                                                                  \
                                   .out_of_range = -1,                                                                 \
                                   .unseen = -1,                                                                       \
                                   .duplicates = -1,                                                                   \
                                   .constant = true,                                                                   \
                                   .sorted = true}})

/* What the earlier windows of one column come down to. Plain data; drift_memory_init() is "none yet". A caller keeps it
 * from window to window and begins anew when the reference changes. */
struct drift_memory {
  uint64_t ring;   /* the last judged windows: bit 0 the newest, set when it was a hit */
  unsigned judged; /* how many bits count, at most DRIFT_OF_MAX */
  unsigned misses; /* judged windows since the newest hit */
  int64_t since;   /* `from` of the first window of this run of hits; -1 without one */
};
void drift_memory_init(struct drift_memory *memory);
/* Moves a memory on by one judged window; drift_decide() does it by itself. */
void drift_memory_add(const struct drift_rule *rule, struct drift_memory *memory, bool hit, int64_t from);
#define DRIFT_MEMORY_TEXT_SIZE 80
/* As a short text without quotes or spaces, "ring:judged:misses:since", the ring in hexadecimal. */
void drift_memory_to_text(const struct drift_memory *memory, char ret_text[DRIFT_MEMORY_TEXT_SIZE]);
/* False for anything that drift_memory_to_text() would not have written. */
bool drift_memory_from_text(const char *text, struct drift_memory *ret);

enum drift_direction {
  DRIFT_NO_DIRECTION, /* not a hit */
  DRIFT_UP,           /* the median moved by at least a tenth of the reference's spread (its quartiles' distance) */
  DRIFT_DOWN,
  DRIFT_SPREAD,     /* the quartiles' distance changed by a quarter or more */
  DRIFT_SHAPE,      /* something else */
  DRIFT_CATEGORIES, /* a categorical column */
};
/* "up", "down", "spread", "shape", "categories"; NULL without one. */
const char *drift_direction_name(enum drift_direction direction);

#define DRIFT_QUANTILES 5
extern const double drift_quantile_levels[DRIFT_QUANTILES]; /* 0.05 0.25 0.5 0.75 0.95 */

/* Numbers are NaN where they do not apply. */
struct drift_column {
  enum drift_verdict verdict;
  bool hit;
  unsigned hits, judged; /* hits among the judged windows that were looked at, this one included */
  int64_t since_row;     /* `from` of the first window of this run of hits; -1 when not hit and not drift */
  struct distances d;
  double p_value, p_adjusted; /* of the column's test, and over the window's columns */
  double effect;              /* how much it moved: PSI (of texts the common one); of a fault how much the share grew */
  enum drift_direction direction;
  double quantiles_ref[DRIFT_QUANTILES], quantiles_now[DRIFT_QUANTILES]; /* numbers only */
  size_t n_faults;
  struct quality_fault faults[QUALITY_CHECKS];
  char why[512]; /* one sentence without a full stop */
};

struct drift_window {
  enum drift_verdict verdict; /* fault > drift > ok; insufficient when no column could be judged */
  size_t faults, drifts, judged;
  bool held; /* columns drift while others are in fault */
};

/* One column as it comes in. */
struct drift_input {
  const struct profile_column *ref; /* NULL: not in the profile */
  const struct profile_column *now; /* made by profile_column_window() of `ref`; NULL when that is */
  struct drift_memory *memory;      /* read, and moved on by this window */
};

/* Decides all columns of one window. `from`: a number that names the window and grows, its first row say; it comes back
 * as `since_row`. `ret` has n entries. Pure but for the memories. */
void drift_decide(const struct drift_rule *rule, const struct drift_input *inputs, size_t n, int64_t from,
                  struct drift_column *ret, struct drift_window *ret_window);
/* The window's verdict alone, from columns decided. */
struct drift_window drift_decide_window(const struct drift_column *columns, size_t n);

/* The measures, quantiles and direction of one column without a decision: for a comparison of two files, or of a canary
 * with the champion. `verdict`, `hit` and `why` are left empty. */
void drift_measure(const struct profile_column *ref, const struct profile_column *now, struct drift_column *ret);

#endif
