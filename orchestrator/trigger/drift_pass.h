/* One reading of one CSV file for a comparison: which columns, into what (values, sketches or texts), by how many
 * threads. Each thread fills its own sink; sinks merge by addition. For drift_files.c. */
#ifndef ORCH_TRIGGER_DRIFT_PASS_H
#define ORCH_TRIGGER_DRIFT_PASS_H

#include "stats/category.h"
#include "stats/order.h"
#include "stats/sketch.h"
#include "trigger/csv_file.h"

#define DRIFT_THREADS_MAX 8
#define DRIFT_SKIP SIZE_MAX

/* Numbers as they came. */
struct drift_values {
  double *at;
  size_t n, size;
};

/* What one thread gathers of one column; the members that the pass does not fill stay NULL or zero. */
struct drift_gathered {
  uint64_t null, bad;
  struct drift_values values;
  struct sketch *sketch;
  struct category *category;
  struct category_builder *builder;
  struct order order; /* DRIFT_VALUES: of all rows; DRIFT_SKETCHES: of some stretches of rows that follow each other */
};
struct drift_sink {
  const struct drift_pass *pass;
  uint64_t rows, blocks;
  struct drift_gathered *columns; /* pass->n_columns */
  size_t kept;                    /* numbers in all values */
};

enum drift_gather { DRIFT_VALUES, DRIFT_SKETCHES, DRIFT_TEXTS };

struct drift_pass {
  const struct csv_file *file;
  enum drift_gather gather;
  size_t n_columns;      /* of the comparison */
  const size_t *columns; /* n_columns: where each is in the file, or DRIFT_SKIP */
  /* DRIFT_SKETCHES: grid and index of each column (unused where skipped). */
  const struct sketch_grid *const *grids;
  const struct sketch_index *const *indexes;
  /* DRIFT_TEXTS: count on these dictionaries, or build (one thread) when NULL. */
  const struct category_dict *const *dicts;
  uint64_t windows, window_bytes; /* a sample by that many windows; 0 windows: everything */
  double share;                   /* the sample's share when the exact reader has to take it */
  size_t keep_max;                /* DRIFT_VALUES: more numbers than this end the pass early */
  unsigned n_threads;
  bool overflowed; /* set when keep_max was exceeded: the sinks are incomplete */
  struct drift_sink sinks[DRIFT_THREADS_MAX];
};

/* Reads. `exact_only` says that the file needs the exact reader, and becomes true when that turns out. The result is in
 * sinks[0], the other sinks merged into it. End with drift_pass_fini() in any case. */
bool drift_pass_run(struct drift_pass *pass, bool *exact_only, struct err *err) ORCH_MUST_CHECK;
void drift_pass_fini(struct drift_pass *pass);

#endif
