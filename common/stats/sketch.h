/* Numeric sketches: what a column's values look like, in about 3 KB however many there are.
 *
 * The grid comes from a reference: edges at the reference's quantiles, so every window that is compared with it counts
 * on the same grid and two sketches of one grid merge by addition. Level of edge j: each decile is cut into 12 or 13
 * equal parts (127 levels in all), so that the nine deciles are themselves edges and measures over decile bins are
 * exact, not interpolated. Edges are sorted and de-duplicated; bin i is (e[i-1], e[i]] and the outer bins are open. A
 * reference whose values are all equal to c has three bins: below c, equal to c, above c.
 *
 * Source of the quantiles: numpy's default ("linear", type 7 of Hyndman and Fan 1996), including its way of rounding.
 */
#ifndef ORCH_STATS_SKETCH_H
#define ORCH_STATS_SKETCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "stats/number.h"

#define SKETCH_EDGES_MAX 127
#define SKETCH_BINS_MAX (SKETCH_EDGES_MAX + 1)
#define SKETCH_CUTS_MAX 9
#define SKETCH_GROUPS_MAX (SKETCH_CUTS_MAX + 1)
/* Beyond this a value counts as infinite: its square must stay finite. */
#define SKETCH_ABS_MAX 1e150
/* Bytes of the longest encoding. */
#define SKETCH_ENCODED_MAX (8 + 8 * SKETCH_EDGES_MAX + SKETCH_CUTS_MAX + 8 * 10 + 16 * SKETCH_BINS_MAX)

/* The grid. Plain data. */
struct sketch_grid {
  uint32_t n_edges;               /* 0 when the reference had no finite value: one bin */
  uint32_t n_cuts;                /* decile edges left after de-duplication */
  double edges[SKETCH_EDGES_MAX]; /* ascending, finite */
  uint8_t cuts[SKETCH_CUTS_MAX];  /* ascending indexes into `edges` */
  bool constant;                  /* the reference had one value only */
};

/* Plain data: copy it, keep it on the stack. Every cell is counted in exactly one of null, nan, pos_inf, neg_inf, bad
 * and count[]. */
struct sketch {
  struct sketch_grid grid;
  uint64_t n; /* cells seen, of every kind */
  uint64_t null, nan, pos_inf, neg_inf;
  uint64_t bad;    /* something that is no number */
  uint64_t finite; /* sum of count[] */
  double mean, m2; /* Welford's mean and sum of squared deviations of the finite values (Welford 1962) */
  double min, max; /* of the finite values; 0 when there are none */
  uint64_t count[SKETCH_BINS_MAX];
  double sum[SKETCH_BINS_MAX];
};

/* numpy.quantile(values, level), linear. `sorted` ascending and finite, n >= 1, level in 0..1. */
double sketch_quantile_of_sorted(const double *sorted, size_t n, double level);

/* The grid of a reference: `sorted` ascending, finite, within SKETCH_ABS_MAX. n = 0 gives the grid of one bin. */
void sketch_grid_init(struct sketch_grid *grid, const double *sorted, size_t n);
bool sketch_grid_equal(const struct sketch_grid *a, const struct sketch_grid *b);

/* An empty sketch on a copy of `grid`. */
void sketch_init(struct sketch *sketch, const struct sketch_grid *grid);

/* Counts one value or cell: a handful of nanoseconds, never fails. */
void sketch_add(struct sketch *sketch, double value);
void sketch_add_cell(struct sketch *sketch, struct cell cell);
/* Counts many values at several times the speed: the same counts, sums and moments up to rounding. */
void sketch_add_many(struct sketch *sketch, const double *values, size_t n);

/* A table that finds the bins of one grid in about a third of the time, for whoever counts millions of values on it. */
#define SKETCH_INDEX_CELLS 1024
struct sketch_index {
  double low, scale;
  unsigned steps;                         /* edges left to look at in the worst cell: at most 2^steps - 1 */
  uint8_t first[SKETCH_INDEX_CELLS];      /* the lowest bin that a value of the cell can be in */
  double edges[2 * SKETCH_EDGES_MAX + 2]; /* the grid's, then infinity */
};
void sketch_index_init(struct sketch_index *index, const struct sketch_grid *grid);
/* sketch_add_many() with the index of the sketch's grid: the same counts, sums and moments. */
void sketch_add_indexed(struct sketch *sketch, const struct sketch_index *index, const double *values, size_t n);

/* Adds `from` to `into`: counts exactly, sums and moments up to the rounding of the additions (Chan, Golub, LeVeque
 * 1979 for the moments), whatever the order of merging. Refuses with ERR_INVALID when the grids differ and ERR_LIMIT
 * when a count would overflow; `into` is then unchanged. */
bool sketch_merge(struct sketch *into, const struct sketch *from, struct err *err) ORCH_MUST_CHECK;

/* The bin a finite value falls into, 0 .. n_edges. */
uint32_t sketch_bin(const struct sketch_grid *grid, double value);

/* Cells that carry no usable value: null, NaN, infinite and bad ones together. */
uint64_t sketch_missing(const struct sketch *sketch);
/* Mean of the finite values; 0 when there are none. */
double sketch_mean(const struct sketch *sketch);
/* Population standard deviation sqrt(m2 / finite); 0 when there are no finite values. */
double sketch_deviation(const struct sketch *sketch);
/* Mean of the values in one bin; NaN when it is empty. Lies within the bin. */
double sketch_centroid(const struct sketch *sketch, uint32_t bin);
/* Estimate of the quantile at `level` (0..1): linear inside the bin that holds it, min and max at the outer ends; NaN
 * without finite values. The error is at most the width of that bin. */
double sketch_quantile(const struct sketch *sketch, double level);

/* Counts over the decile bins: bins between two neighbouring cuts together. Returns the number of groups (n_cuts + 1);
 * a constant reference gives its three bins. Exact. */
size_t sketch_groups(const struct sketch *sketch, uint64_t ret_counts[SKETCH_GROUPS_MAX]);

/* Appends the binary form: little endian, IEEE 754 doubles, version 1; the same sketch gives the same bytes on every
 * machine. */
void sketch_encode(const struct sketch *sketch, struct strbuf *out);
/* Reads one encoding from the front of `bytes`, checking every promise above (ERR_INVALID otherwise, never a crash);
 * `ret_used` gets its length. */
bool sketch_decode(struct sketch *ret_sketch, const void *bytes, size_t len, size_t *ret_used,
                   struct err *err) ORCH_MUST_CHECK;

#endif
