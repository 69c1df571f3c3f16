/* Numeric sketches: what a column's values look like, in about 5 KB however many there are (2 to 4 KB as bytes).
 *
 * The grid comes from a reference: up to 127 edges at the reference's quantiles, so every window that is compared with
 * it counts on the same grid and two sketches of one grid merge by addition. The nine deciles are themselves edges, so
 * measures over decile bins are exact, not interpolated. Between them the levels lie 1/120 to 1/130 apart, in the outer
 * deciles 1/98 with four more at 1/128 to 1/1024 from the end. Edges are sorted and de-duplicated; where that leaves
 * room (few distinct values), the widest gaps are halved until there are 127. Bin i is (e[i-1], e[i]] and the outer
 * bins are open. A reference whose values are all equal to c has three bins: below c, equal to c, above c.
 *
 * Everything in a sketch is a count or a sum of integers, so merging is exact: however values are split, in whatever
 * order the parts are merged, the result has the same bytes. For the sums a value is taken as its offset from a middle
 * edge in whole quanta, a quantum being 2^-36 of the reference's range or less; the rounding is of the value alone. No
 * quantum is smaller than 2^-500 (3e-151): of a column that is narrower than 1e-140 counts and quantiles are as good as
 * ever, mean, deviation and centroids are not.
 * Values further out than 16 ranges are rare and counted in coarser quanta, 2^24 times coarser for each step outward,
 * of which the two coarsest that occurred are kept: what lies 2^24 times nearer than the furthest does not move the
 * sums.
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
/* The most cells that a sketch may count: 1.7e13. */
#define SKETCH_COUNT_MAX (1ull << 44)
/* Bytes of the longest encoding. */
#define SKETCH_ENCODED_MAX                                                                                             \
  (8 + 8 * SKETCH_EDGES_MAX + 16 + SKETCH_CUTS_MAX + 10 * 8 + 16 + 23 * SKETCH_BINS_MAX + 7 * 19)

/* The grid. Plain data. */
struct sketch_grid {
  uint32_t n_edges;               /* 0 when the reference had no finite value: one bin */
  uint32_t n_cuts;                /* decile edges left after de-duplication */
  double edges[SKETCH_EDGES_MAX]; /* ascending, finite */
  uint8_t cuts[SKETCH_CUTS_MAX];  /* ascending indexes into `edges` */
  bool constant;                  /* the reference had one value only */
  double low, high;               /* the reference's smallest and largest value; -inf and inf when it had none */
  /* These follow from the above. */
  double origin;                     /* the middle edge, 0 without edges: offsets are counted from here */
  int exponent;                      /* a quantum is 2^exponent */
  double scale, quantum;             /* 2^-exponent, 2^exponent */
  double reach;                      /* an offset below it is counted in quanta */
  double tree[SKETCH_EDGES_MAX + 1]; /* the edges as a search tree: the children of node k are 2k and 2k + 1 */
};

/* Sums of values that lie far outside of the reference: [0] in quanta of 2^(24 level), [1] one level finer. */
struct sketch_far {
  uint32_t level;      /* 0: there are none */
  __int128 sums[2][2]; /* [which][0 below the grid, 1 above it] */
  unsigned __int128 squares[2];
};

/* Plain data: copy it, keep it on the stack. Every cell is counted in exactly one of null, nan, pos_inf, neg_inf, bad
 * and count[]. */
struct sketch {
  struct sketch_grid grid;
  uint64_t n; /* cells seen, of every kind; at most SKETCH_COUNT_MAX */
  uint64_t null, nan, pos_inf, neg_inf;
  uint64_t bad;          /* something that is no number */
  uint64_t finite;       /* sum of count[] */
  uint64_t below, above; /* of the finite ones: out of the reference's range */
  double min, max;       /* of the finite values; 0 when there are none */
  uint64_t count[SKETCH_BINS_MAX];
  __int128 sum[SKETCH_BINS_MAX]; /* of offsets, in quanta; use sketch_centroid() */
  unsigned __int128 squares;     /* of offsets; use sketch_deviation() */
  struct sketch_far far;
};

/* numpy.quantile(values, level), linear. `sorted` ascending and finite, n >= 1, level in 0..1. */
double sketch_quantile_of_sorted(const double *sorted, size_t n, double level);

/* The grid of a reference: `sorted` ascending, finite, within SKETCH_ABS_MAX. n = 0 gives the grid of one bin. `sorted`
 * may be a fair sample of the reference: then widen the range with sketch_grid_range(). */
void sketch_grid_init(struct sketch_grid *grid, const double *sorted, size_t n);
/* Sets the reference's range, which must hold every edge (of a constant one: the value). For a grid made of a sample;
 * before the first sketch_init(). */
void sketch_grid_range(struct sketch_grid *grid, double low, double high);
bool sketch_grid_equal(const struct sketch_grid *a, const struct sketch_grid *b);

/* An empty sketch on a copy of `grid`. */
void sketch_init(struct sketch *sketch, const struct sketch_grid *grid);

/* Counts one value or cell: a handful of nanoseconds, never fails. */
void sketch_add(struct sketch *sketch, double value);
void sketch_add_cell(struct sketch *sketch, struct cell cell);
/* Counts many values at several times the speed: the same sketch. Best with some hundred values or more at a time. */
void sketch_add_many(struct sketch *sketch, const double *values, size_t n);

/* A table that finds the bins of one grid in less time, for whoever counts millions of values on it. */
#define SKETCH_INDEX_CELLS 1024
struct sketch_index {
  double low, scale;
  unsigned steps;                         /* edges left to look at in the worst cell: at most 2^steps - 1 */
  uint8_t first[SKETCH_INDEX_CELLS];      /* the lowest bin that a value of the cell can be in */
  double edges[2 * SKETCH_EDGES_MAX + 2]; /* the grid's, then infinity */
};
void sketch_index_init(struct sketch_index *index, const struct sketch_grid *grid);
/* sketch_add_many() with the index of the sketch's grid: the same sketch. */
void sketch_add_indexed(struct sketch *sketch, const struct sketch_index *index, const double *values, size_t n);

/* Adds `from` to `into`, exactly. Refuses with ERR_INVALID when the grids differ and ERR_LIMIT when more than
 * SKETCH_COUNT_MAX cells would be counted; `into` is then unchanged. */
bool sketch_merge(struct sketch *into, const struct sketch *from, struct err *err) ORCH_MUST_CHECK;

/* The bin a finite value falls into, 0 .. n_edges. */
uint32_t sketch_bin(const struct sketch_grid *grid, double value);

/* Cells that carry no usable value: null, NaN, infinite and bad ones together. */
uint64_t sketch_missing(const struct sketch *sketch);
/* Mean of the finite values; 0 when there are none. Within a quantum of the true one. */
double sketch_mean(const struct sketch *sketch);
/* Population standard deviation of the finite values; 0 when there are none or they are all equal. */
double sketch_deviation(const struct sketch *sketch);
/* Mean of the values in one bin; NaN when it is empty. Lies within the bin and within min and max. */
double sketch_centroid(const struct sketch *sketch, uint32_t bin);
/* Of all bins, n_edges + 1 of them. */
void sketch_centroids(const struct sketch *sketch, double ret[SKETCH_BINS_MAX]);
/* Estimate of the quantile at `level` (0..1): linear inside the bin that holds it, min and max at the outer ends; NaN
 * without finite values. The error is at most the width of that bin. */
double sketch_quantile(const struct sketch *sketch, double level);
/* Several at once, `levels` ascending: one walk over the bins. */
void sketch_quantiles(const struct sketch *sketch, const double *levels, size_t n, double *ret);

/* Counts over the decile bins: bins between two neighbouring cuts together. Returns the number of groups (n_cuts + 1);
 * a constant reference gives its three bins. Exact. */
size_t sketch_groups(const struct sketch *sketch, uint64_t ret_counts[SKETCH_GROUPS_MAX]);

/* Shares of the finite values in `n` bars of equal width from `low` to `high` (low < high), for pictures: a bin is
 * taken to be even between its edges, and what lies outside goes into the first and last bar. All 0 without values. */
void sketch_bars(const struct sketch *sketch, double low, double high, size_t n, double *ret_shares);

/* Appends the binary form: little endian, IEEE 754 doubles, version 2; the same sketch gives the same bytes on every
 * machine. */
void sketch_encode(const struct sketch *sketch, struct strbuf *out);
/* Reads one encoding (also of version 1) from the front of `bytes`, checking every promise above (ERR_INVALID
 * otherwise, never a crash); `ret_used` gets its length. */
bool sketch_decode(struct sketch *ret_sketch, const void *bytes, size_t len, size_t *ret_used,
                   struct err *err) ORCH_MUST_CHECK;

/* For sketch_codec.c: what follows from the grid; and quanta of the values in a bin, as integers. */
void sketch_grid_derive(struct sketch_grid *grid);
#define SKETCH_NEAR_BITS 40 /* an offset has at most so many bits, in its own level's quanta */
#define SKETCH_FAR_BITS 24  /* a level is so many bits coarser than the one before */

#endif
