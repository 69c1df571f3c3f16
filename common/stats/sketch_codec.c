/* The binary form of a sketch, version 2:
 *   u8 kind (1 = numeric), u8 version (2), u16 n_edges, u8 n_cuts, u8 flags (1 = constant), u8 far level, u8 zero,
 *   f64 edges[n_edges], f64 low, high, u8 cuts[n_cuts], f64 min, max,
 *   varints n, null, nan, pos_inf, neg_inf, bad, below, above, count[n_edges + 1],
 *   signed varints sum[n_edges + 1], varint squares,
 *   with a far level: signed varints sums[2][2], varints squares[2].
 * Version 1, which is still read, had the same head with a u16 zero, then
 *   f64 edges[n_edges], u8 cuts[n_cuts], u64 n, null, nan, pos_inf, neg_inf, bad, f64 mean, m2, min, max,
 *   u64 count[n_edges + 1], f64 sum[n_edges + 1]; it was only written of references. */
#include <math.h>

#include "stats/bytes.h"
#include "stats/sketch.h"

enum { KIND_NUMERIC = 1, VERSION_DOUBLES = 1, VERSION = 2, FLAG_CONSTANT = 1 };

void sketch_encode(const struct sketch *s, struct strbuf *out) {
  bytes_put(out, KIND_NUMERIC, 1);
  bytes_put(out, VERSION, 1);
  bytes_put(out, s->grid.n_edges, 2);
  bytes_put(out, s->grid.n_cuts, 1);
  bytes_put(out, s->grid.constant ? FLAG_CONSTANT : 0, 1);
  bytes_put(out, s->far.level, 2);
  for (uint32_t i = 0; i < s->grid.n_edges; i++) bytes_put_double(out, s->grid.edges[i]);
  bytes_put_double(out, s->grid.low);
  bytes_put_double(out, s->grid.high);
  strbuf_add(out, s->grid.cuts, s->grid.n_cuts);
  bytes_put_double(out, s->min);
  bytes_put_double(out, s->max);
  const uint64_t counts[] = {s->n, s->null, s->nan, s->pos_inf, s->neg_inf, s->bad, s->below, s->above};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) bytes_put_varint(out, counts[i]);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) bytes_put_varint(out, s->count[i]);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) bytes_put_signed(out, s->sum[i]);
  bytes_put_varint(out, s->squares);
  if (!s->far.level) return;
  for (size_t i = 0; i < 2; i++)
    for (size_t side = 0; side < 2; side++) bytes_put_signed(out, s->far.sums[i][side]);
  for (size_t i = 0; i < 2; i++) bytes_put_varint(out, s->far.squares[i]);
}

static bool usable(double value) {
  return isfinite(value) && fabs(value) <= SKETCH_ABS_MAX;
}

/* The head, up to the edges; everything that both versions have. */
struct head {
  uint64_t version, n_cuts;
};

static bool decode_head(struct sketch *s, struct head *head, struct bytes_reader *in, struct err *err) {
  uint64_t kind = bytes_get(in, 1), version = bytes_get(in, 1), n_edges = bytes_get(in, 2), n_cuts = bytes_get(in, 1),
           flags = bytes_get(in, 1), level = bytes_get(in, 2);
  if (in->failed) return err_set(err, ERR_INVALID, "a sketch is cut short");
  if (kind != KIND_NUMERIC || (version != VERSION && version != VERSION_DOUBLES))
    return err_set(err, ERR_INVALID, "a sketch of kind %u version %u, which is not known here", (unsigned)kind,
                   (unsigned)version);
  if (n_edges > SKETCH_EDGES_MAX || n_cuts > SKETCH_CUTS_MAX || n_cuts > n_edges || flags > FLAG_CONSTANT ||
      (version == VERSION_DOUBLES && level))
    return err_set(err, ERR_INVALID, "a sketch with an impossible head");
  *head = (struct head){.version = version, .n_cuts = n_cuts};
  s->grid.n_edges = (uint32_t)n_edges;
  s->grid.n_cuts = (uint32_t)n_cuts;
  s->grid.constant = flags == FLAG_CONSTANT;
  s->far.level = (uint32_t)level;
  for (uint32_t i = 0; i < n_edges; i++) {
    double edge = bytes_get_double(in);
    if (in->failed) break;
    /* The edge below a constant reference may lie one step outside the usable range. */
    if (!isfinite(edge) || fabs(edge) > 2 * SKETCH_ABS_MAX || (i > 0 && !(s->grid.edges[i - 1] < edge)))
      return err_set(err, ERR_INVALID, "a sketch whose edges do not ascend");
    s->grid.edges[i] = edge + 0.0;
  }
  return true;
}

static bool decode_cuts(struct sketch_grid *grid, struct bytes_reader *in, struct err *err) {
  for (uint32_t i = 0; i < grid->n_cuts; i++) {
    grid->cuts[i] = (uint8_t)bytes_get(in, 1);
    if (in->failed) break;
    if (grid->cuts[i] >= grid->n_edges || (i > 0 && grid->cuts[i - 1] >= grid->cuts[i]))
      return err_set(err, ERR_INVALID, "a sketch whose decile edges do not ascend");
  }
  if (in->failed) return err_set(err, ERR_INVALID, "a sketch is cut short");
  return true;
}

/* The reference's range holds its edges; without any it has none. */
static bool grid_sound(const struct sketch_grid *grid) {
  if (grid->n_edges == 0) return grid->low == -INFINITY && grid->high == INFINITY && !grid->constant;
  if (!usable(grid->low) || !usable(grid->high) || grid->low > grid->high) return false;
  if (grid->constant)
    return grid->n_edges == 2 && grid->edges[1] == grid->high && grid->low == grid->high && grid->n_cuts == 2 &&
           grid->edges[0] == nextafter(grid->high, -INFINITY);
  return grid->low <= grid->edges[0] && grid->edges[grid->n_edges - 1] <= grid->high;
}

/* Every cell is in one place; `finite` is what is left for the bins. */
static bool counts_add_up(struct sketch *s) {
  const uint64_t others[] = {s->null, s->nan, s->pos_inf, s->neg_inf, s->bad};
  uint64_t left = s->n;
  if (s->n > SKETCH_COUNT_MAX) return false;
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    if (others[i] > left) return false;
    left -= others[i];
  }
  s->finite = left;
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) {
    if (s->count[i] > left) return false;
    left -= s->count[i];
  }
  return left == 0 && s->below <= s->finite && s->above <= s->finite - s->below;
}

/* Needs the grid's tree. The smallest and the largest value lie in the first and the last bin that hold any. */
static bool range_sound(const struct sketch *s) {
  if (s->finite == 0) return s->min == 0 && s->max == 0;
  if (!usable(s->min) || !usable(s->max) || s->min > s->max) return false;
  uint32_t first = 0, last = s->grid.n_edges;
  while (s->count[first] == 0) first++;
  while (s->count[last] == 0) last--;
  return sketch_bin(&s->grid, s->min) == first && sketch_bin(&s->grid, s->max) == last &&
         (s->below > 0) == (s->min < s->grid.low) && (s->above > 0) == (s->max > s->grid.high);
}

/* ---- version 2 ---- */

static bool sum_sound(__int128 sum, uint64_t count) {
  __int128 most = (__int128)count << SKETCH_NEAR_BITS;
  return sum <= most && sum >= -most;
}
static bool square_sound(unsigned __int128 square, uint64_t count) {
  return square <= (unsigned __int128)count << (2 * SKETCH_NEAR_BITS);
}

/* Below the grid offsets are negative, above it positive; a grid of one bin has all of them below. */
static bool side_sound(const struct sketch_grid *grid, size_t side, __int128 sum) {
  if (grid->n_edges == 0) return side == 0 || sum == 0;
  return side == 0 ? sum <= 0 : sum >= 0;
}

static bool decode_far(struct sketch_far *far, const struct sketch *s, struct bytes_reader *in) {
  bool sound = true;
  if (far->level == 0) return true;
  for (size_t i = 0; i < 2; i++)
    for (size_t side = 0; side < 2; side++) {
      far->sums[i][side] = bytes_get_signed(in);
      sound = sound && sum_sound(far->sums[i][side], s->finite) && side_sound(&s->grid, side, far->sums[i][side]);
    }
  for (size_t i = 0; i < 2; i++) {
    far->squares[i] = bytes_get_varint(in);
    sound = sound && square_sound(far->squares[i], s->finite);
  }
  /* A level that a usable value can reach, and one that was reached: quanta of at least 2^16. */
  int64_t coarsest = s->grid.exponent + (int64_t)far->level * SKETCH_FAR_BITS;
  sound = sound && coarsest + SKETCH_NEAR_BITS - SKETCH_FAR_BITS <= 500 && far->squares[0] > 0;
  if (far->level == 1) sound = sound && !far->sums[1][0] && !far->sums[1][1] && !far->squares[1];
  return sound;
}

static bool decode_body(struct sketch *s, struct bytes_reader *in, struct err *err) {
  uint64_t *const counts[] = {&s->n, &s->null, &s->nan, &s->pos_inf, &s->neg_inf, &s->bad, &s->below, &s->above};
  s->grid.low = bytes_get_double(in);
  s->grid.high = bytes_get_double(in);
  if (!decode_cuts(&s->grid, in, err)) return false;
  if (!grid_sound(&s->grid)) return err_set(err, ERR_INVALID, "a sketch with an impossible range");
  sketch_grid_derive(&s->grid);
  s->min = bytes_get_double(in);
  s->max = bytes_get_double(in);
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
    unsigned __int128 count = bytes_get_varint(in);
    if (count > SKETCH_COUNT_MAX) return err_set(err, ERR_INVALID, "a sketch whose counts do not add up");
    *counts[i] = (uint64_t)count;
  }
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) {
    unsigned __int128 count = bytes_get_varint(in);
    if (count > SKETCH_COUNT_MAX) return err_set(err, ERR_INVALID, "a sketch whose counts do not add up");
    s->count[i] = (uint64_t)count;
  }
  if (in->failed) return err_set(err, ERR_INVALID, "a sketch is cut short");
  if (!counts_add_up(s)) return err_set(err, ERR_INVALID, "a sketch whose counts do not add up");
  bool sound = range_sound(s);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) {
    s->sum[i] = bytes_get_signed(in);
    sound = sound && sum_sound(s->sum[i], s->count[i]);
  }
  s->squares = bytes_get_varint(in);
  sound = sound && square_sound(s->squares, s->finite) && decode_far(&s->far, s, in);
  if (in->failed) return err_set(err, ERR_INVALID, "a sketch is cut short");
  return sound || err_set(err, ERR_INVALID, "a sketch with impossible moments");
}

/* ---- version 1 ---- */

static __int128 quanta_of(double quanta, uint64_t count) {
  double most = (double)count * (double)(1ull << SKETCH_NEAR_BITS);
  return (__int128)fmin(most, fmax(-most, rint(quanta)));
}

static bool decode_doubles(struct sketch *s, struct bytes_reader *in, struct err *err) {
  uint64_t *const counts[] = {&s->n, &s->null, &s->nan, &s->pos_inf, &s->neg_inf, &s->bad};
  double sums[SKETCH_BINS_MAX];
  if (!decode_cuts(&s->grid, in, err)) return false;
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) *counts[i] = bytes_get(in, 8);
  double mean = bytes_get_double(in), m2 = bytes_get_double(in);
  s->min = bytes_get_double(in);
  s->max = bytes_get_double(in);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) s->count[i] = bytes_get(in, 8);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) sums[i] = bytes_get_double(in);
  if (in->failed) return err_set(err, ERR_INVALID, "a sketch is cut short");
  if (!counts_add_up(s)) return err_set(err, ERR_INVALID, "a sketch whose counts do not add up");
  s->grid.low = s->finite ? s->min + 0.0 : -INFINITY;
  s->grid.high = s->finite ? s->max + 0.0 : INFINITY;
  if (!grid_sound(&s->grid) || !usable(mean) || !isfinite(m2) || m2 < 0)
    return err_set(err, ERR_INVALID, "a sketch with impossible moments");
  sketch_grid_derive(&s->grid);
  if (!range_sound(s)) return err_set(err, ERR_INVALID, "a sketch with an impossible range");
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) {
    if (!isfinite(sums[i])) return err_set(err, ERR_INVALID, "a sketch with impossible moments");
    s->sum[i] = quanta_of((sums[i] - (double)s->count[i] * s->grid.origin) * s->grid.scale, s->count[i]);
  }
  double n = (double)s->finite, off = (mean - s->grid.origin) * s->grid.scale;
  double squares = m2 * s->grid.scale * s->grid.scale + n * off * off;
  s->squares = (unsigned __int128)fmin(squares, ldexp(n, 2 * SKETCH_NEAR_BITS));
  return true;
}

bool sketch_decode(struct sketch *ret_sketch, const void *bytes, size_t len, size_t *ret_used, struct err *err) {
  struct bytes_reader in = {.at = bytes, .left = len};
  struct sketch s = {0};
  struct head head;
  if (!decode_head(&s, &head, &in, err)) return false;
  if (!(head.version == VERSION ? decode_body(&s, &in, err) : decode_doubles(&s, &in, err))) return false;
  *ret_sketch = s;
  *ret_used = len - in.left;
  return true;
}
