/* Is a window's data broken? Asked before anybody asks about drift: a column that went missing has not drifted.
 *
 * Per column: missing cells, cells of another type, a constant where the reference varied, values out of the
 * reference's range, unseen categories, rows that arrive sorted. Per window: repeated rows. A verdict needs a size (a
 * share above the rule's) and a significance (p below the rule's), so that neither forty rows nor four million cry
 * wolf. */
#ifndef ORCH_STATS_QUALITY_H
#define ORCH_STATS_QUALITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stats/profile.h"

enum quality_check {
  QUALITY_TYPE,       /* texts in a column of numbers, or numbers in a column of texts */
  QUALITY_MISSING,    /* null, NaN, infinite, or no usable value */
  QUALITY_CONSTANT,   /* one value only, though the reference varied */
  QUALITY_RANGE,      /* values below the reference's smallest or above its largest */
  QUALITY_UNSEEN,     /* categories that the reference has not */
  QUALITY_SORTED,     /* the column rises (or falls) from row to row, though the reference's did not */
  QUALITY_DUPLICATES, /* whole rows that repeat an earlier row of the window */
};
#define QUALITY_CHECKS 7
/* "type", "missing", "constant", "out_of_range", "unseen", "sorted", "duplicates". */
const char *quality_check_name(enum quality_check check);

/* A share that is negative or NaN is not asked. */
struct quality_rule {
  double p_value;      /* significance that a fault needs; default 0.001 */
  double null_jump;    /* the missing share grew by more than this; default 0.1: ten percentage points */
  double type_share;   /* the share of cells of the other type grew by more than this; default 0.05 */
  double out_of_range; /* the share out of range is more than this above chance; default 0.05 */
  double unseen;       /* the share of unseen values is more than this above chance; default 0.05 */
  double duplicates;   /* the share of repeated rows is more than this above the reference's; default 0.2 */
  bool constant, sorted;
};
#define QUALITY_RULE_DEFAULT                                                                                           \
  ((struct quality_rule){.p_value = 0.001,                                                                             \
                         .null_jump = 0.1,                                                                             \
                         .type_share = 0.05,                                                                           \
                         .out_of_range = 0.05,                                                                         \
                         .unseen = 0.05,                                                                               \
                         .duplicates = 0.2,                                                                            \
                         .constant = true,                                                                             \
                         .sorted = true})

struct quality_fault {
  enum quality_check check;
  double share_ref, share_now; /* of what the check counts; for `constant` the share of the commonest bin or value */
  double p_value;              /* that chance alone did it */
  char why[256];               /* one sentence without a full stop */
};

/* The faults of one column, the one that explains most first (in the order of the enum); at most QUALITY_CHECKS.
 * `now` was made by profile_column_window() of `ref`.
 *
 * - type, missing: two-proportion test (measure_share_change()). Missing is not told again when it is the type's doing.
 * - constant: the chance that all m values fall where the reference has the share s is s^m.
 * - out of range: without drift the next value lies outside with probability 2/(n+1); two-proportion test against it.
 * - unseen: two-proportion test against Good's estimate (struct distances).
 * - sorted: at least nine of ten steps from row to row go one way, in the reference at most three of four; significance
 *   by the difference-sign test, z = (up - down) / sqrt((n+1)/3), n steps that are not level (Moore and Wallis 1943);
 *   at least 30 steps. Sorted rows that are cut into windows look like enormous drift in each of them. */
size_t quality_column(const struct quality_rule *rule, const struct profile_column *ref,
                      const struct profile_column *now, struct quality_fault ret[QUALITY_CHECKS]);

/* The same when the distances are known already. */
struct distances;
size_t quality_column_measured(const struct quality_rule *rule, const struct profile_column *ref,
                               const struct profile_column *now, const struct distances *distances,
                               struct quality_fault ret[QUALITY_CHECKS]);

/* ---- repeated rows ---- */

/* Which rows repeat an earlier one, by hash. Up to QUALITY_ROWS_MAX different rows the count is exact; beyond, only
 * rows whose hash is below a falling bound are looked at, which is a fair sample of the different rows. Plain data but
 * for `slots`; all zero is the empty one; quality_rows_fini(). */
#define QUALITY_ROWS_MAX 65536
struct quality_rows {
  uint64_t rows, repeated; /* among those looked at */
  unsigned dropped_bits;   /* hashes with so many leading zero bits are looked at */
  uint64_t *slots;
  size_t n_slots, size;
};
/* One row: its hash from quality_row_hash() over its cells, or over its bytes. */
void quality_rows_add(struct quality_rows *rows, uint64_t hash);
void quality_rows_fini(struct quality_rows *rows);
/* The share of repeated rows; 0 without rows. */
double quality_rows_share(const struct quality_rows *rows);
/* Begin with 0 and add cell by cell, always in the same order. Leave out ids and times: they make every row new. */
uint64_t quality_row_hash(uint64_t hash, struct cell cell);
/* True with `ret` filled when too many rows repeat. `share_ref`: profile_duplicates(). */
bool quality_duplicates(const struct quality_rule *rule, double share_ref, const struct quality_rows *rows,
                        struct quality_fault *ret);

#endif
