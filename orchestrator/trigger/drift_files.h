/* Two CSV files compared column by column in bounded memory, with the measures and the decision that monitors use.
 *
 * Up to DRIFT_WHOLE_NUMBERS numbers in both files together every number is kept and every measure is exact. Beyond, the
 * bins' edges come from a random sample of about DRIFT_SAMPLE_ROWS rows of the reference (fewer beyond 11 columns:
 * 1,500,000 numbers), spread over all of the file, and then every row of both files is counted on them: the counts are
 * exact, only where the edges lie is estimated. A decile edge is within 0.4 percentage points of its quantile in 19 of
 * 20 cases (two standard errors of a share of one half, 75,000 rows). KS is then within 0.004 of the exact statistic
 * (0.02 where the data have atoms), Wasserstein within 0.5 % (1 % with heavy tails, 5 % below 0.05 deviations; where
 * single values make the deviation, about 0.005 deviations), PSI within 3 % (5 % where the density ends abruptly, so
 * that a little of a bin is much; 20 % where a decile lies just between two atoms or in a gap, so that the sample's
 * decile may be on the other side).
 *
 * A column is numeric unless more than half of the reference's cells that are there are no numbers (judged on the
 * sample where there is one). Categorical columns are counted as category.h says, the reference's dictionary from all
 * of its rows. */
#ifndef ORCH_TRIGGER_DRIFT_FILES_H
#define ORCH_TRIGGER_DRIFT_FILES_H

#include "stats/decide.h"
#include "trigger/csv_file.h"

#define DRIFT_FILES_COLUMNS_MAX 512
#define DRIFT_WHOLE_NUMBERS 2000000
#define DRIFT_SAMPLE_ROWS 131072

struct drift_files_column {
  const char *name;
  bool missing; /* the current file has no such column: `ref` and `cur` are empty */
  struct profile_column ref, cur;
  struct drift_column said; /* measures, verdict and words; its `d` is exact when the comparison is */
};

struct drift_files {
  struct csv_file ref, cur;
  size_t n_columns;
  struct drift_files_column *columns; /* in the reference's order */
  size_t n_only_cur;
  const char **only_cur; /* columns that only the current file has */
  uint64_t rows_ref, rows_cur;
  bool whole;            /* every number was kept: the measures are exact */
  uint64_t sampled_rows; /* otherwise: how many rows of the reference the edges were made from */
};

struct drift_files_options {
  const char *columns;        /* "a,b" or NULL for all of the reference's */
  unsigned n_threads;         /* 0: as many as there are processors, at most 8 */
  uint64_t whole_numbers_max; /* DRIFT_WHOLE_NUMBERS, smaller in tests */
};

/* ERR_NOT_FOUND for a file or a named column that is not there; ERR_INVALID for files that are no tables, have no rows,
 * or share no column; ERR_IO; ERR_LIMIT. Free with drift_files_free() when it succeeded. */
struct drift_files *drift_files_compare(const char *ref_path, const char *cur_path,
                                        const struct drift_files_options *options, struct err *err) ORCH_MUST_CHECK;
void drift_files_free(struct drift_files *files); /* NULL is fine */

#endif
