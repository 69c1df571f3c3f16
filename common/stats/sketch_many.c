/* Counting many values at once: a block of them on a few arrays that stay in the processor's first cache. */
#include <float.h>
#include <math.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

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
  double min, max;
  int64_t whole[BLOCK];  /* offsets in quanta */
  uint64_t cells[BLOCK]; /* of the index */
};

static inline void block_count(struct block *b, uint64_t bin, int64_t whole) {
  b->words[bin] += (1ull << COUNT_SHIFT) + (uint64_t)(whole + BIAS);
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
    block_count(b, k0 - SKETCH_BINS_MAX, b->whole[i]);
    block_count(b, k1 - SKETCH_BINS_MAX, b->whole[i + 1]);
    block_count(b, k2 - SKETCH_BINS_MAX, b->whole[i + 2]);
    block_count(b, k3 - SKETCH_BINS_MAX, b->whole[i + 3]);
  }
}

#define ROUND_TO_WHOLE 4503599627370496.0 /* 2^52: nothing behind the point is left */

/* The cell of a value: never decreasing in the value, whatever is rounded on the way. So edges in lower cells lie below
 * the value and edges in higher cells above it, and only those in its own cell are left to be looked at. */
static inline uint64_t index_cell(const struct sketch_index *index, double value) {
  double at = (value - index->low) * index->scale;
  at = at > 0 ? at : 0;
  at = (at < SKETCH_INDEX_CELLS - 1 ? at : SKETCH_INDEX_CELLS - 1) + ROUND_TO_WHOLE;
  uint64_t bits;
  memcpy(&bits, &at, sizeof bits);
  return bits & (2 * SKETCH_INDEX_CELLS - 1);
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

/* `steps` halvings of what is left in the cells. */
static inline __attribute__((always_inline)) void find_and_count(struct block *b, const struct sketch_index *index,
                                                                 const double *values, size_t n, unsigned steps) {
  const double *edges = index->edges;
  for (size_t i = 0; i < n; i++) {
    uint64_t bin = index->first[b->cells[i]];
    for (unsigned half = (1u << steps) / 2; half > 0; half /= 2) bin += edges[bin + half - 1] < values[i] ? half : 0;
    block_count(b, bin, b->whole[i]);
  }
}

static void block_add_indexed(struct block *b, const struct sketch_index *index, const double *values, size_t n) {
  switch (index->steps) {
  case 0:
    find_and_count(b, index, values, n, 0);
    return;
  case 1:
    find_and_count(b, index, values, n, 1);
    return;
  case 2:
    find_and_count(b, index, values, n, 2);
    return;
  default:
    find_and_count(b, index, values, n, index->steps);
  }
}

/* ---- what does not depend on the bin: offsets, their squares, cells, range ---- */

static const struct sketch_index no_index;

static void prepare_anywhere(struct block *b, const struct sketch_grid *grid, const struct sketch_index *index,
                             const double *values, size_t n) {
  for (size_t i = 0; i < n; i++) {
    b->whole[i] = round_whole((values[i] - grid->origin) * grid->scale);
    b->squares += square_of(b->whole[i]);
    b->cells[i] = index_cell(index, values[i]);
    b->min = values[i] < b->min ? values[i] : b->min;
    b->max = values[i] > b->max ? values[i] : b->max;
  }
}

static bool all_within_anywhere(const double *values, size_t n, double origin, double reach) {
  bool within = true;
  for (size_t i = 0; i < n; i++) within &= fabs(values[i] - origin) < reach; /* not for NaN */
  return within;
}

#ifdef __x86_64__
#define AVX2 __attribute__((target("avx2")))

/* A square is taken apart: u = whole + BIAS = 2^20 a + c, and the sums of a^2, ac, c^2 and u over a block fit 64 bits.
 */
struct squares {
  __m256i aa, ac, cc, u;
};

AVX2 static inline uint64_t sum_of(__m256i four) {
  uint64_t sums[4];
  _mm256_storeu_si256((__m256i *)(void *)sums, four);
  return sums[0] + sums[1] + sums[2] + sums[3];
}

AVX2 static unsigned __int128 squares_sum(const struct squares *s, size_t n) {
  typedef unsigned __int128 wide;
  wide u_squares = ((wide)sum_of(s->aa) << 40) + ((wide)sum_of(s->ac) << 21) + sum_of(s->cc);
  return u_squares + ((wide)n << 2 * SKETCH_NEAR_BITS) - ((wide)sum_of(s->u) << (SKETCH_NEAR_BITS + 1));
}

AVX2 static void prepare_avx2(struct block *b, const struct sketch_grid *grid, const struct sketch_index *index,
                              const double *values, size_t n) {
  const double round = 6755399441055744.0; /* see round_whole() */
  const __m256d origin = _mm256_set1_pd(grid->origin), scale = _mm256_set1_pd(grid->scale), big = _mm256_set1_pd(round);
  const __m256d low = _mm256_set1_pd(index->low), cells = _mm256_set1_pd(index->scale);
  const __m256d last = _mm256_set1_pd(SKETCH_INDEX_CELLS - 1), whole = _mm256_set1_pd(ROUND_TO_WHOLE);
  const __m256i mask = _mm256_set1_epi64x(2 * SKETCH_INDEX_CELLS - 1), c_mask = _mm256_set1_epi64x((1 << 20) - 1);
  __m256d min = _mm256_set1_pd(b->min), max = _mm256_set1_pd(b->max);
  struct squares s = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  for (size_t i = 0; i < n; i += 4) {
    __m256d v = _mm256_loadu_pd(values + i);
    __m256d offset = _mm256_add_pd(_mm256_mul_pd(_mm256_sub_pd(v, origin), scale), big);
    __m256i w = _mm256_sub_epi64(_mm256_castpd_si256(offset), _mm256_castpd_si256(big));
    _mm256_storeu_si256((__m256i *)(void *)(b->whole + i), w);
    __m256i u = _mm256_add_epi64(w, _mm256_set1_epi64x(BIAS)), a = _mm256_srli_epi64(u, 20);
    __m256i c = _mm256_and_si256(u, c_mask);
    s.aa = _mm256_add_epi64(s.aa, _mm256_mul_epu32(a, a));
    s.ac = _mm256_add_epi64(s.ac, _mm256_mul_epu32(a, c));
    s.cc = _mm256_add_epi64(s.cc, _mm256_mul_epu32(c, c));
    s.u = _mm256_add_epi64(s.u, u);
    __m256d at = _mm256_max_pd(_mm256_mul_pd(_mm256_sub_pd(v, low), cells), _mm256_setzero_pd());
    at = _mm256_add_pd(_mm256_min_pd(at, last), whole);
    _mm256_storeu_si256((__m256i *)(void *)(b->cells + i), _mm256_and_si256(_mm256_castpd_si256(at), mask));
    min = _mm256_min_pd(v, min);
    max = _mm256_max_pd(v, max);
  }
  b->squares += squares_sum(&s, n);
  double least[4], most[4];
  _mm256_storeu_pd(least, min);
  _mm256_storeu_pd(most, max);
  for (int j = 0; j < 4; j++) {
    b->min = least[j] < b->min ? least[j] : b->min;
    b->max = most[j] > b->max ? most[j] : b->max;
  }
}

AVX2 static bool all_within_avx2(const double *values, size_t n, double origin, double reach) {
  __m256d within = _mm256_castsi256_pd(_mm256_set1_epi64x(-1));
  for (; n >= 4; n -= 4, values += 4) {
    __m256d off = _mm256_sub_pd(_mm256_loadu_pd(values), _mm256_set1_pd(origin));
    off = _mm256_andnot_pd(_mm256_set1_pd(-0.0), off);
    within = _mm256_and_pd(within, _mm256_cmp_pd(off, _mm256_set1_pd(reach), _CMP_LT_OQ));
  }
  return _mm256_movemask_pd(within) == 15 && all_within_anywhere(values, n, origin, reach);
}

static void prepare(struct block *b, const struct sketch_grid *grid, const struct sketch_index *index,
                    const double *values, size_t n) {
  (__builtin_cpu_supports("avx2") ? prepare_avx2 : prepare_anywhere)(b, grid, index, values, n);
}

static bool all_within(const double *values, size_t n, double origin, double reach) {
  return (__builtin_cpu_supports("avx2") ? all_within_avx2 : all_within_anywhere)(values, n, origin, reach);
}
#else
#define prepare prepare_anywhere
#define all_within all_within_anywhere
#endif

/* ---- blocks ---- */

static void block_done(struct sketch *s, const struct block *b, const double *values, size_t n) {
  uint64_t counted = 0;
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) {
    uint64_t count = b->words[i] >> COUNT_SHIFT, sum = b->words[i] & ((1ull << COUNT_SHIFT) - 1);
    s->count[i] += count;
    s->sum[i] += (__int128)((int64_t)sum - (int64_t)count * BIAS);
    counted += count;
  }
  double min = b->min + 0.0, max = b->max + 0.0; /* -0.0 becomes 0.0: equal values, equal bytes */
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

/* All of them within reach. */
static void add_block(struct sketch *s, const struct sketch_index *index, const double *values, size_t n) {
  size_t whole = n < BLOCK_LEAST ? 0 : n - n % 4;
  if (whole) {
    struct block b;
    memset(b.words, 0, sizeof b.words);
    b.squares = 0;
    b.min = b.max = values[0];
    bool indexed = index && index->steps < 4;
    prepare(&b, &s->grid, indexed ? index : &no_index, values, whole);
    if (indexed)
      block_add_indexed(&b, index, values, whole);
    else
      block_add(&b, &s->grid, values, whole);
    block_done(s, &b, values, whole);
  }
  for (size_t i = whole; i < n; i++) sketch_add(s, values[i]);
}

static void add_many(struct sketch *s, const struct sketch_index *index, const double *values, size_t n) {
  const double origin = s->grid.origin, reach = s->grid.reach;
  for (size_t some; n > 0; values += some, n -= some) {
    some = n < BLOCK ? n : BLOCK;
    if (all_within(values, some, origin, reach)) {
      add_block(s, index, values, some);
      continue;
    }
    double block[BLOCK];
    size_t used = 0;
    for (size_t i = 0; i < some; i++) {
      if (fabs(values[i] - origin) < reach) /* not for NaN */
        block[used++] = values[i];
      else
        sketch_add(s, values[i]);
    }
    add_block(s, index, block, used);
  }
}

void sketch_add_many(struct sketch *s, const double *values, size_t n) {
  add_many(s, NULL, values, n);
}

void sketch_add_indexed(struct sketch *s, const struct sketch_index *index, const double *values, size_t n) {
  add_many(s, index, values, n);
}
