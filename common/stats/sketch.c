#include "stats/sketch.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

double sketch_quantile_of_sorted(const double *sorted, size_t n, double level) {
  double at = (double)(n - 1) * level;
  size_t low = (size_t)floor(at);
  if (low >= n - 1) return sorted[n - 1];
  double a = sorted[low], b = sorted[low + 1], t = at - (double)low, step = b - a;
  return t >= 0.5 ? b - step * (1 - t) : a + step * t;
}

/* Adds an edge unless it repeats the last one (or rounding put it below). Returns the index of the edge in force. */
static uint32_t grid_push(struct sketch_grid *grid, double edge) {
  edge += 0.0; /* -0.0 becomes 0.0: equal values, equal bytes */
  if (grid->n_edges && edge <= grid->edges[grid->n_edges - 1]) return grid->n_edges - 1;
  grid->edges[grid->n_edges] = edge;
  return grid->n_edges++;
}

static void grid_push_cut(struct sketch_grid *grid, double edge) {
  uint8_t index = (uint8_t)grid_push(grid, edge);
  if (grid->n_cuts && grid->cuts[grid->n_cuts - 1] == index) return;
  grid->cuts[grid->n_cuts++] = index;
}

void sketch_grid_init(struct sketch_grid *grid, const double *sorted, size_t n) {
  *grid = (struct sketch_grid){0};
  if (n == 0) return;
  if (sorted[0] == sorted[n - 1]) {
    grid->constant = true;
    grid_push_cut(grid, nextafter(sorted[0], -INFINITY)); /* (-inf, before c], (before c, c], (c, inf) */
    grid_push_cut(grid, sorted[0]);
    return;
  }
  for (int decile = 0; decile < 10; decile++) {
    /* 128 bins over ten deciles: floor(12.8 d) is where decile d starts, so each gets 12 or 13. */
    int parts = (decile + 1) * 128 / 10 - decile * 128 / 10;
    for (int j = 1; j < parts; j++)
      grid_push(grid, sketch_quantile_of_sorted(sorted, n, (decile + (double)j / parts) / 10));
    if (decile < 9) grid_push_cut(grid, sketch_quantile_of_sorted(sorted, n, (decile + 1) / 10.0));
  }
}

bool sketch_grid_equal(const struct sketch_grid *a, const struct sketch_grid *b) {
  return a->n_edges == b->n_edges && a->n_cuts == b->n_cuts && a->constant == b->constant &&
         memcmp(a->edges, b->edges, a->n_edges * sizeof a->edges[0]) == 0 && memcmp(a->cuts, b->cuts, a->n_cuts) == 0;
}

void sketch_init(struct sketch *sketch, const struct sketch_grid *grid) {
  *sketch = (struct sketch){.grid = *grid};
}

uint32_t sketch_bin(const struct sketch_grid *grid, double value) {
  /* Lower bound without branches to mispredict: the first edge that is not below the value. */
  const double *base = grid->edges;
  uint32_t left = grid->n_edges;
  while (left > 1) {
    uint32_t half = left / 2;
    base = base[half - 1] < value ? base + half : base;
    left -= half;
  }
  return (uint32_t)(base - grid->edges) + (left == 1 && base[0] < value);
}

void sketch_add(struct sketch *s, double value) {
  s->n++;
  if (isnan(value)) {
    s->nan++;
    return;
  }
  if (fabs(value) > SKETCH_ABS_MAX) {
    if (value > 0)
      s->pos_inf++;
    else
      s->neg_inf++;
    return;
  }
  value += 0.0;
  uint32_t bin = sketch_bin(&s->grid, value);
  s->count[bin]++;
  s->sum[bin] += value;
  if (s->finite == 0 || value < s->min) s->min = value;
  if (s->finite == 0 || value > s->max) s->max = value;
  s->finite++;
  double step = value - s->mean;
  s->mean += step / (double)s->finite;
  s->m2 += step * (value - s->mean);
}

struct moments {
  double n, mean, m2, min, max;
};

static void merge_moments(struct sketch *into, const struct moments *from) {
  double a = (double)into->finite, b = from->n;
  if (b == 0) return;
  if (a == 0) {
    into->mean = from->mean;
    into->m2 = from->m2;
    into->min = from->min;
    into->max = from->max;
    return;
  }
  double step = from->mean - into->mean;
  into->mean += step * (b / (a + b));
  into->m2 += from->m2 + step * step * (a * b / (a + b));
  into->min = fmin(into->min, from->min);
  into->max = fmax(into->max, from->max);
}

#define BLOCK 256

/* Bins of a block, level by level: the searches of neighbouring values do not wait for each other. */
static void block_bins(const struct sketch_grid *grid, const double *values, size_t n, uint32_t *ret_bins) {
  for (size_t i = 0; i < n; i++) ret_bins[i] = 0;
  uint32_t left = grid->n_edges;
  while (left > 1) {
    uint32_t half = left / 2;
    for (size_t i = 0; i < n; i++) ret_bins[i] += half & -(uint32_t)(grid->edges[ret_bins[i] + half - 1] < values[i]);
    left -= half;
  }
  if (left == 1)
    for (size_t i = 0; i < n; i++) ret_bins[i] += grid->edges[ret_bins[i]] < values[i];
}

/* The cell of a value: never decreasing in the value, whatever is rounded on the way. So edges in lower cells lie below
 * the value and edges in higher cells above it, and only those in its own cell are left to be looked at. */
static inline int32_t index_cell(const struct sketch_index *index, double value) {
  double at = (value - index->low) * index->scale;
  at = at > 0 ? at : 0;
  return (int32_t)(at < SKETCH_INDEX_CELLS - 1 ? at : SKETCH_INDEX_CELLS - 1);
}

void sketch_index_init(struct sketch_index *index, const struct sketch_grid *grid) {
  *index = (struct sketch_index){0};
  uint32_t n = grid->n_edges, in_cell[SKETCH_INDEX_CELLS] = {0}, most = 0, below = 0;
  for (size_t i = 0; i < ARRAY_LEN(index->edges); i++) index->edges[i] = i < n ? grid->edges[i] : INFINITY;
  if (n > 0) index->low = grid->edges[0];
  double width = n > 0 ? grid->edges[n - 1] - index->low : 0;
  index->scale = width > 0 ? (SKETCH_INDEX_CELLS - 2) / width : 0;
  if (index->scale > DBL_MAX) index->scale = 0; /* one cell for all: a plain binary search */
  for (uint32_t i = 0; i < n; i++) in_cell[index_cell(index, grid->edges[i])]++;
  for (size_t i = 0; i < SKETCH_INDEX_CELLS; i++) {
    index->first[i] = (uint8_t)below;
    below += in_cell[i];
    most = in_cell[i] > most ? in_cell[i] : most;
  }
  while (((uint32_t)1 << index->steps) - 1 < most) index->steps++;
}

static void index_bins(const struct sketch_index *index, const double *values, size_t n, uint32_t *ret_bins) {
  for (size_t i = 0; i < n; i++) ret_bins[i] = index->first[index_cell(index, values[i])];
  for (unsigned step = index->steps; step-- > 0;) {
    uint32_t half = (uint32_t)1 << step;
    for (size_t i = 0; i < n; i++) ret_bins[i] += half & -(uint32_t)(index->edges[ret_bins[i] + half - 1] < values[i]);
  }
}

#define LANES 4 /* sums that do not wait for each other */

/* The moments of a block in two passes over it. */
static struct moments block_moments(const double *values, size_t n) {
  double total[LANES] = {0}, squares[LANES] = {0}, min[LANES], max[LANES];
  size_t whole = n - n % LANES;
  for (size_t j = 0; j < LANES; j++) min[j] = max[j] = values[0];
  for (size_t i = 0; i < whole; i += LANES)
    for (size_t j = 0; j < LANES; j++) {
      double value = values[i + j];
      total[j] += value;
      min[j] = value < min[j] ? value : min[j];
      max[j] = value > max[j] ? value : max[j];
    }
  for (size_t i = whole; i < n; i++) {
    total[0] += values[i];
    min[0] = fmin(min[0], values[i]);
    max[0] = fmax(max[0], values[i]);
  }
  double mean = ((total[0] + total[1]) + (total[2] + total[3])) / (double)n;
  for (size_t i = 0; i < whole; i += LANES)
    for (size_t j = 0; j < LANES; j++) {
      double off = values[i + j] - mean;
      squares[j] += off * off;
    }
  for (size_t i = whole; i < n; i++) squares[0] += (values[i] - mean) * (values[i] - mean);
  return (struct moments){.n = (double)n,
                          .mean = mean,
                          .m2 = (squares[0] + squares[1]) + (squares[2] + squares[3]),
                          .min = fmin(fmin(min[0], min[1]), fmin(min[2], min[3])),
                          .max = fmax(fmax(max[0], max[1]), fmax(max[2], max[3]))};
}

/* Finite values only. */
static void add_block(struct sketch *s, const struct sketch_index *index, const double *values, size_t n) {
  uint32_t bins[BLOCK];
  if (index)
    index_bins(index, values, n, bins);
  else
    block_bins(&s->grid, values, n, bins);
  for (size_t i = 0; i < n; i++) {
    s->count[bins[i]]++;
    s->sum[bins[i]] += values[i];
  }
  struct moments block = block_moments(values, n);
  merge_moments(s, &block);
  s->n += n;
  s->finite += n;
}

static void add_many(struct sketch *s, const struct sketch_index *index, const double *values, size_t n) {
  double block[BLOCK];
  size_t used = 0;
  for (size_t i = 0; i < n; i++) {
    if (!(fabs(values[i]) <= SKETCH_ABS_MAX)) { /* also for NaN */
      sketch_add(s, values[i]);
      continue;
    }
    block[used++] = values[i] + 0.0;
    if (used == BLOCK) {
      add_block(s, index, block, used);
      used = 0;
    }
  }
  if (used) add_block(s, index, block, used);
}

void sketch_add_many(struct sketch *s, const double *values, size_t n) {
  add_many(s, NULL, values, n);
}

void sketch_add_indexed(struct sketch *s, const struct sketch_index *index, const double *values, size_t n) {
  add_many(s, index, values, n);
}

void sketch_add_cell(struct sketch *s, struct cell cell) {
  switch (cell.kind) {
  case CELL_NUMBER:
    sketch_add(s, cell.number);
    return;
  case CELL_NULL:
    s->n++;
    s->null++;
    return;
  case CELL_BAD:
    s->n++;
    s->bad++;
    return;
  }
}

bool sketch_merge(struct sketch *into, const struct sketch *from, struct err *err) {
  if (!sketch_grid_equal(&into->grid, &from->grid))
    return err_set(err, ERR_INVALID, "sketches of different grids cannot be merged");
  /* Every other count is at most n. */
  if (into->n > UINT64_MAX - from->n) return err_set(err, ERR_LIMIT, "sketch counts would overflow");
  struct moments moments = {
      .n = (double)from->finite, .mean = from->mean, .m2 = from->m2, .min = from->min, .max = from->max};
  merge_moments(into, &moments);
  into->n += from->n;
  into->null += from->null;
  into->nan += from->nan;
  into->pos_inf += from->pos_inf;
  into->neg_inf += from->neg_inf;
  into->bad += from->bad;
  into->finite += from->finite;
  for (uint32_t i = 0; i <= into->grid.n_edges; i++) {
    into->count[i] += from->count[i];
    into->sum[i] += from->sum[i];
  }
  return true;
}

uint64_t sketch_missing(const struct sketch *s) {
  return s->n - s->finite;
}

double sketch_mean(const struct sketch *s) {
  return s->mean;
}

double sketch_centroid(const struct sketch *s, uint32_t bin) {
  if (s->count[bin] == 0) return NAN;
  double low = bin > 0 ? s->grid.edges[bin - 1] : -INFINITY;
  double high = bin < s->grid.n_edges ? s->grid.edges[bin] : INFINITY;
  return fmin(high, fmax(low, s->sum[bin] / (double)s->count[bin]));
}

double sketch_deviation(const struct sketch *s) {
  return s->finite ? sqrt(s->m2 / (double)s->finite) : 0;
}

double sketch_quantile(const struct sketch *s, double level) {
  if (s->finite == 0) return NAN;
  double want = level * (double)s->finite, seen = 0;
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) {
    double in_bin = (double)s->count[i];
    if (in_bin == 0 || seen + in_bin < want) {
      seen += in_bin;
      continue;
    }
    double low = i > 0 ? fmax(s->grid.edges[i - 1], s->min) : s->min;
    double high = i < s->grid.n_edges ? fmin(s->grid.edges[i], s->max) : s->max;
    double share = fmin(1, fmax(0, (want - seen) / in_bin));
    return low + (high - low) * share;
  }
  return s->max;
}

size_t sketch_groups(const struct sketch *s, uint64_t ret_counts[SKETCH_GROUPS_MAX]) {
  uint32_t bin = 0;
  for (uint32_t g = 0; g <= s->grid.n_cuts; g++) {
    uint32_t last = g < s->grid.n_cuts ? s->grid.cuts[g] : s->grid.n_edges;
    ret_counts[g] = 0;
    for (; bin <= last; bin++) ret_counts[g] += s->count[bin];
  }
  return s->grid.n_cuts + 1;
}
