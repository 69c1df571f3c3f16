#include "stats/sketch.h"

#include <math.h>
#include <string.h>

#include "stats/sketch_round.h"

#define RANGE_BITS 36 /* the reference's range has about so many quanta */
#define NEAR_LIMIT (double)(1ull << SKETCH_NEAR_BITS)

double sketch_quantile_of_sorted(const double *sorted, size_t n, double level) {
  double at = (double)(n - 1) * level;
  size_t low = (size_t)floor(at);
  if (low >= n - 1) return sorted[n - 1];
  double a = sorted[low], b = sorted[low + 1], t = at - (double)low, step = b - a;
  return t >= 0.5 ? b - step * (1 - t) : a + step * t;
}

/* ---- the grid ---- */

/* Adds an edge unless it repeats the last one (or rounding put it below). */
static void grid_push(struct sketch_grid *grid, double edge) {
  edge += 0.0; /* -0.0 becomes 0.0: equal values, equal bytes */
  if (grid->n_edges == 0 || edge > grid->edges[grid->n_edges - 1]) grid->edges[grid->n_edges++] = edge;
}

/* The levels of the edges, ascending; every tenth is among them. The outer deciles have four levels towards the end, a
 * power of two apart, and nine equal parts: what is rare lies far out, and distances in units of the column need it.
 * The inner ones have 13 and 12 equal parts in turn. */
#define TAIL_LEVELS 4
#define TAIL_PARTS 9
#define LEVELS 125

static void grid_levels(double ret[LEVELS]) {
  size_t n = 0;
  for (int i = TAIL_LEVELS - 1; i >= 0; i--) ret[n++] = 1.0 / (128 << i);
  for (int j = 1; j <= TAIL_PARTS; j++)
    ret[n++] = j == TAIL_PARTS ? 0.1 : 1.0 / 128 + (0.1 - 1.0 / 128) * j / TAIL_PARTS;
  for (int decile = 1; decile < 9; decile++) {
    int parts = decile % 2 ? 13 : 12;
    for (int j = 1; j <= parts; j++) ret[n++] = j == parts ? (decile + 1) / 10.0 : (decile + (double)j / parts) / 10;
  }
  for (int i = TAIL_LEVELS + TAIL_PARTS - 2; i >= 0; i--) ret[n++] = 1 - ret[i];
}

/* Levels that fell together leave room: the widest gaps between edges are halved until all edges are used. */
static void grid_fill(struct sketch_grid *grid) {
  while (grid->n_edges < SKETCH_EDGES_MAX) {
    double widest = 0, middle = 0;
    uint32_t where = 0;
    for (uint32_t i = 0; i <= grid->n_edges; i++) {
      double a = i > 0 ? grid->edges[i - 1] : grid->low, b = i < grid->n_edges ? grid->edges[i] : grid->high;
      if (b - a <= widest) continue;
      widest = b - a;
      middle = a + (b - a) / 2 + 0.0;
      where = i;
      if (!(a < middle && middle < b)) return;
    }
    if (widest == 0) return;
    memmove(&grid->edges[where + 1], &grid->edges[where], (grid->n_edges - where) * sizeof grid->edges[0]);
    grid->edges[where] = middle;
    grid->n_edges++;
  }
}

static void grid_cut(struct sketch_grid *grid, double edge) {
  uint32_t index = 0;
  while (index + 1 < grid->n_edges && grid->edges[index] < edge) index++;
  if (grid->n_cuts == 0 || grid->cuts[grid->n_cuts - 1] != index) grid->cuts[grid->n_cuts++] = (uint8_t)index;
}

static uint32_t tree_fill(struct sketch_grid *grid, uint32_t node, uint32_t next) {
  if (node > SKETCH_EDGES_MAX) return next;
  next = tree_fill(grid, 2 * node, next);
  grid->tree[node] = next < grid->n_edges ? grid->edges[next] : INFINITY;
  return tree_fill(grid, 2 * node + 1, next + 1);
}

void sketch_grid_derive(struct sketch_grid *grid) {
  grid->tree[0] = 0;
  tree_fill(grid, 1, 0);
  grid->origin = grid->n_edges ? grid->edges[grid->n_edges / 2] : 0;
  double range = grid->n_edges ? fmax(grid->high - grid->origin, grid->origin - grid->low) : 1;
  if (range == 0) range = grid->origin != 0 ? fabs(grid->origin) : 1;
  int exponent;
  frexp(range, &exponent);
  grid->exponent = exponent - RANGE_BITS < -500 ? -500 : exponent - RANGE_BITS;
  grid->scale = ldexp(1, -grid->exponent);
  grid->quantum = ldexp(1, grid->exponent);
  grid->reach = fmin(ldexp(NEAR_LIMIT - 1, grid->exponent), SKETCH_ABS_MAX - fabs(grid->origin));
}

void sketch_grid_init(struct sketch_grid *grid, const double *sorted, size_t n) {
  *grid = (struct sketch_grid){.low = -INFINITY, .high = INFINITY};
  if (n > 0) {
    grid->low = sorted[0] + 0.0;
    grid->high = sorted[n - 1] + 0.0;
  }
  if (n > 0 && sorted[0] == sorted[n - 1]) {
    grid->constant = true;
    grid_push(grid, nextafter(sorted[0], -INFINITY)); /* (-inf, before c], (before c, c], (c, inf) */
    grid_push(grid, sorted[0]);
    for (int i = 0; i < 2; i++) grid_cut(grid, grid->edges[i]);
  } else if (n > 0) {
    double levels[LEVELS];
    grid_levels(levels);
    for (size_t i = 0; i < LEVELS; i++) grid_push(grid, sketch_quantile_of_sorted(sorted, n, levels[i]));
    grid_fill(grid);
    for (int decile = 1; decile < 10; decile++) grid_cut(grid, sketch_quantile_of_sorted(sorted, n, decile / 10.0));
  }
  sketch_grid_derive(grid);
}

void sketch_grid_range(struct sketch_grid *grid, double low, double high) {
  grid->low = low + 0.0;
  grid->high = high + 0.0;
  sketch_grid_derive(grid);
}

bool sketch_grid_equal(const struct sketch_grid *a, const struct sketch_grid *b) {
  return a->n_edges == b->n_edges && a->n_cuts == b->n_cuts && a->constant == b->constant && a->low == b->low &&
         a->high == b->high && memcmp(a->edges, b->edges, a->n_edges * sizeof a->edges[0]) == 0 &&
         memcmp(a->cuts, b->cuts, a->n_cuts) == 0;
}

void sketch_init(struct sketch *sketch, const struct sketch_grid *grid) {
  *sketch = (struct sketch){.grid = *grid};
}

/* How many edges lie below the value: seven steps down the tree, without branches to mispredict. */
uint32_t sketch_bin(const struct sketch_grid *grid, double value) {
  uint64_t node = 1;
  for (int i = 0; i < 7; i++) node = 2 * node + (grid->tree[node] < value);
  return (uint32_t)node - SKETCH_BINS_MAX;
}

/* ---- one value ---- */

/* Makes `level` the coarsest one. */
static void far_raise(struct sketch_far *far, uint32_t level) {
  if (level <= far->level) return;
  bool next = level == far->level + 1 && far->level > 0;
  for (int side = 0; side < 2; side++) {
    far->sums[1][side] = next ? far->sums[0][side] : 0;
    far->sums[0][side] = 0;
  }
  far->squares[1] = next ? far->squares[0] : 0;
  far->squares[0] = 0;
  far->level = level;
}

static void add_far(struct sketch *s, double offset, uint32_t bin) {
  uint32_t level = 0;
  double quanta = offset;
  for (; fabs(quanta) >= NEAR_LIMIT - 1; level++) quanta = ldexp(quanta, -SKETCH_FAR_BITS);
  far_raise(&s->far, level);
  uint32_t which = s->far.level - level;
  if (which > 1) return;
  int64_t whole = round_whole(quanta);
  s->far.sums[which][bin > 0] += whole;
  s->far.squares[which] += square_of(whole);
}

static void add_finite(struct sketch *s, double value) {
  uint32_t bin = sketch_bin(&s->grid, value);
  double offset = (value - s->grid.origin) * s->grid.scale;
  s->n++;
  s->count[bin]++;
  if (s->finite == 0 || value < s->min) s->min = value;
  if (s->finite == 0 || value > s->max) s->max = value;
  s->finite++;
  s->below += value < s->grid.low;
  s->above += value > s->grid.high;
  if (fabs(offset) >= NEAR_LIMIT - 1) {
    add_far(s, offset, bin);
    return;
  }
  int64_t whole = round_whole(offset);
  s->sum[bin] += whole;
  s->squares += square_of(whole);
}

void sketch_add(struct sketch *s, double value) {
  if (fabs(value) <= SKETCH_ABS_MAX) {
    add_finite(s, value + 0.0);
    return;
  }
  s->n++;
  if (isnan(value))
    s->nan++;
  else if (value > 0)
    s->pos_inf++;
  else
    s->neg_inf++;
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

/* ---- merging ---- */

static void merge_far(struct sketch_far *into, const struct sketch_far *from) {
  far_raise(into, from->level);
  for (uint32_t i = 0; i < 2 && i < from->level; i++) {
    uint32_t which = into->level - (from->level - i);
    if (which > 1) continue;
    into->squares[which] += from->squares[i];
    for (int side = 0; side < 2; side++) into->sums[which][side] += from->sums[i][side];
  }
}

bool sketch_merge(struct sketch *into, const struct sketch *from, struct err *err) {
  if (!sketch_grid_equal(&into->grid, &from->grid))
    return err_set(err, ERR_INVALID, "sketches of different grids cannot be merged");
  /* Every other count is at most n. */
  if (into->n > SKETCH_COUNT_MAX || from->n > SKETCH_COUNT_MAX - into->n)
    return err_set(err, ERR_LIMIT, "more than %llu cells in a sketch", SKETCH_COUNT_MAX);
  if (from->finite) {
    into->min = into->finite ? fmin(into->min, from->min) : from->min;
    into->max = into->finite ? fmax(into->max, from->max) : from->max;
  }
  into->n += from->n;
  into->null += from->null;
  into->nan += from->nan;
  into->pos_inf += from->pos_inf;
  into->neg_inf += from->neg_inf;
  into->bad += from->bad;
  into->finite += from->finite;
  into->below += from->below;
  into->above += from->above;
  into->squares += from->squares;
  for (uint32_t i = 0; i <= into->grid.n_edges; i++) {
    into->count[i] += from->count[i];
    into->sum[i] += from->sum[i];
  }
  merge_far(&into->far, &from->far);
  return true;
}
