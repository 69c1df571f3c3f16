/* Counting many values at once. */
#include <float.h>
#include <math.h>

#include "base/mem.h"
#include "stats/sketch.h"
#include "stats/sketch_round.h"

/* A block counts into one word a bin: the number of values above COUNT_SHIFT, below it the sum of their offsets, each
 * made positive by adding BIAS. 1024 offsets of 41 bits stay below it. */
#define BLOCK 1024
#define COUNT_SHIFT 52
#define BIAS (1ll << SKETCH_NEAR_BITS)
/* Below so many values the block's work per bin costs more than it saves. */
#define BLOCK_LEAST 48

struct block {
  uint64_t words[SKETCH_BINS_MAX];
  unsigned __int128 squares;
  double min[4], max[4];
};

static inline void block_count(struct block *b, const struct sketch_grid *grid, double value, uint32_t bin) {
  int64_t whole = round_whole((value - grid->origin) * grid->scale);
  b->words[bin] += (1ull << COUNT_SHIFT) + (uint64_t)(whole + BIAS);
  b->squares += square_of(whole);
}

static inline void block_range(struct block *b, const double *four) {
  for (int j = 0; j < 4; j++) {
    b->min[j] = four[j] < b->min[j] ? four[j] : b->min[j];
    b->max[j] = four[j] > b->max[j] ? four[j] : b->max[j];
  }
}

/* Four searches side by side: none waits for the others' loads. `n` is a multiple of four. */
static void block_add(struct block *b, const struct sketch_grid *grid, const double *values, size_t n) {
  const double *tree = grid->tree;
  for (size_t i = 0; i < n; i += 4) {
    const double v0 = values[i], v1 = values[i + 1], v2 = values[i + 2], v3 = values[i + 3];
    uint64_t k0 = 1, k1 = 1, k2 = 1, k3 = 1;
    for (int step = 0; step < 7; step++) {
      k0 = 2 * k0 + (tree[k0] < v0);
      k1 = 2 * k1 + (tree[k1] < v1);
      k2 = 2 * k2 + (tree[k2] < v2);
      k3 = 2 * k3 + (tree[k3] < v3);
    }
    block_count(b, grid, v0, (uint32_t)k0 - SKETCH_BINS_MAX);
    block_count(b, grid, v1, (uint32_t)k1 - SKETCH_BINS_MAX);
    block_count(b, grid, v2, (uint32_t)k2 - SKETCH_BINS_MAX);
    block_count(b, grid, v3, (uint32_t)k3 - SKETCH_BINS_MAX);
    block_range(b, values + i);
  }
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

static void block_add_indexed(struct block *b, const struct sketch_grid *grid, const struct sketch_index *index,
                              const double *values, size_t n) {
  const double *edges = index->edges;
  for (size_t i = 0; i < n; i += 4) {
    uint32_t bins[4];
    for (size_t j = 0; j < 4; j++) bins[j] = index->first[index_cell(index, values[i + j])];
    for (uint32_t half = (1u << index->steps) / 2; half > 0; half /= 2)
      for (size_t j = 0; j < 4; j++) bins[j] += half & -(uint32_t)(edges[bins[j] + half - 1] < values[i + j]);
    for (size_t j = 0; j < 4; j++) block_count(b, grid, values[i + j], bins[j]);
    block_range(b, values + i);
  }
}

static void block_done(struct sketch *s, const struct block *b, const double *values, size_t n) {
  uint64_t counted = 0;
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) {
    uint64_t count = b->words[i] >> COUNT_SHIFT, sum = b->words[i] & ((1ull << COUNT_SHIFT) - 1);
    s->count[i] += count;
    s->sum[i] += (__int128)((int64_t)sum - (int64_t)count * BIAS);
    counted += count;
  }
  double min = fmin(fmin(b->min[0], b->min[1]), fmin(b->min[2], b->min[3]));
  double max = fmax(fmax(b->max[0], b->max[1]), fmax(b->max[2], b->max[3]));
  if (s->finite == 0 || min < s->min) s->min = min;
  if (s->finite == 0 || max > s->max) s->max = max;
  if (min < s->grid.low || max > s->grid.high)
    for (size_t i = 0; i < n; i++) {
      s->below += values[i] < s->grid.low;
      s->above += values[i] > s->grid.high;
    }
  s->squares += b->squares;
  s->n += counted;
  s->finite += counted;
}

static void add_block(struct sketch *s, const struct sketch_index *index, const double *values, size_t n) {
  size_t whole = n < BLOCK_LEAST ? 0 : n - n % 4;
  if (whole) {
    struct block b = {.min = {values[0], values[0], values[0], values[0]},
                      .max = {values[0], values[0], values[0], values[0]}};
    if (index && index->steps < 4)
      block_add_indexed(&b, &s->grid, index, values, whole);
    else
      block_add(&b, &s->grid, values, whole);
    block_done(s, &b, values, whole);
  }
  for (size_t i = whole; i < n; i++) sketch_add(s, values[i]);
}

static void add_many(struct sketch *s, const struct sketch_index *index, const double *values, size_t n) {
  double block[BLOCK];
  size_t used = 0;
  const double origin = s->grid.origin, reach = s->grid.reach;
  for (size_t i = 0; i < n; i++) {
    double value = values[i] + 0.0;
    if (!(fabs(value - origin) < reach)) { /* also for NaN */
      sketch_add(s, value);
      continue;
    }
    block[used++] = value;
    if (used == BLOCK) {
      add_block(s, index, block, used);
      used = 0;
    }
  }
  add_block(s, index, block, used);
}

void sketch_add_many(struct sketch *s, const double *values, size_t n) {
  add_many(s, NULL, values, n);
}

void sketch_add_indexed(struct sketch *s, const struct sketch_index *index, const double *values, size_t n) {
  add_many(s, index, values, n);
}
