/* The comparison of two files for people: one line a column, with two small histograms. For verb_drift.c. */
#ifndef ORCH_CLI_DRIFT_TABLE_H
#define ORCH_CLI_DRIFT_TABLE_H

#include "cli/cli.h"
#include "trigger/drift_files.h"

#define DRIFT_SPARK_CELLS 16
#define DRIFT_SPARK_SIZE (DRIFT_SPARK_CELLS * 3 + 1)

void drift_table_print(struct cli *cli, const struct drift_files *files);

/* The histograms alone, on one scale so that they can be held against each other: of numbers over sixteen equal parts
 * between the outermost percentiles of both sides, of texts over the most frequent ones, then the others, then those
 * that the reference has not. Blocks on a UTF-8 terminal, otherwise " .:-=+*#@". Empty texts without values. */
void drift_sparks(const struct drift_files_column *column, bool utf8, char ret_ref[DRIFT_SPARK_SIZE],
                  char ret_cur[DRIFT_SPARK_SIZE]);

#endif
