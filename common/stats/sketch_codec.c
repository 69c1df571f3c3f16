/* The binary form of a sketch:
 *   u8 kind (1 = numeric), u8 version (1), u16 n_edges, u8 n_cuts, u8 flags (1 = constant), u16 zero,
 *   f64 edges[n_edges], u8 cuts[n_cuts],
 *   u64 n, null, nan, pos_inf, neg_inf, bad, f64 mean, m2, min, max,
 *   u64 count[n_edges + 1], f64 sum[n_edges + 1] */
#include <math.h>

#include "stats/bytes.h"
#include "stats/sketch.h"

enum { KIND_NUMERIC = 1, VERSION = 1, FLAG_CONSTANT = 1 };

void sketch_encode(const struct sketch *s, struct strbuf *out) {
  bytes_put(out, KIND_NUMERIC, 1);
  bytes_put(out, VERSION, 1);
  bytes_put(out, s->grid.n_edges, 2);
  bytes_put(out, s->grid.n_cuts, 1);
  bytes_put(out, s->grid.constant ? FLAG_CONSTANT : 0, 1);
  bytes_put(out, 0, 2);
  for (uint32_t i = 0; i < s->grid.n_edges; i++) bytes_put_double(out, s->grid.edges[i]);
  strbuf_add(out, s->grid.cuts, s->grid.n_cuts);
  const uint64_t counts[] = {s->n, s->null, s->nan, s->pos_inf, s->neg_inf, s->bad};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) bytes_put(out, counts[i], 8);
  const double moments[] = {s->mean, s->m2, s->min, s->max};
  for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) bytes_put_double(out, moments[i]);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) bytes_put(out, s->count[i], 8);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) bytes_put_double(out, s->sum[i]);
}

static bool usable(double value) {
  return isfinite(value) && fabs(value) <= SKETCH_ABS_MAX;
}

static bool decode_grid(struct sketch_grid *grid, struct bytes_reader *in, struct err *err) {
  uint64_t kind = bytes_get(in, 1), version = bytes_get(in, 1), n_edges = bytes_get(in, 2), n_cuts = bytes_get(in, 1),
           flags = bytes_get(in, 1), zero = bytes_get(in, 2);
  if (in->failed) return err_set(err, ERR_INVALID, "a sketch is cut short");
  if (kind != KIND_NUMERIC || version != VERSION)
    return err_set(err, ERR_INVALID, "a sketch of kind %u version %u, which is not known here", (unsigned)kind,
                   (unsigned)version);
  if (n_edges > SKETCH_EDGES_MAX || n_cuts > SKETCH_CUTS_MAX || n_cuts > n_edges || flags > FLAG_CONSTANT || zero)
    return err_set(err, ERR_INVALID, "a sketch with an impossible head");
  grid->n_edges = (uint32_t)n_edges;
  grid->n_cuts = (uint32_t)n_cuts;
  grid->constant = flags == FLAG_CONSTANT;
  for (uint32_t i = 0; i < n_edges; i++) {
    grid->edges[i] = bytes_get_double(in);
    if (in->failed) break;
    /* The edge below a constant reference may lie one step outside the usable range. */
    if (!isfinite(grid->edges[i]) || (i > 0 && !(grid->edges[i - 1] < grid->edges[i])))
      return err_set(err, ERR_INVALID, "a sketch whose edges do not ascend");
    grid->edges[i] += 0.0;
  }
  for (uint32_t i = 0; i < n_cuts; i++) {
    grid->cuts[i] = (uint8_t)bytes_get(in, 1);
    if (in->failed) break;
    if (grid->cuts[i] >= n_edges || (i > 0 && grid->cuts[i - 1] >= grid->cuts[i]))
      return err_set(err, ERR_INVALID, "a sketch whose decile edges do not ascend");
  }
  if (in->failed) return err_set(err, ERR_INVALID, "a sketch is cut short");
  return true;
}

static bool decode_counts(struct sketch *s, struct bytes_reader *in, struct err *err) {
  uint64_t *const counts[] = {&s->n, &s->null, &s->nan, &s->pos_inf, &s->neg_inf, &s->bad};
  double *const moments[] = {&s->mean, &s->m2, &s->min, &s->max};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) *counts[i] = bytes_get(in, 8);
  for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) *moments[i] = bytes_get_double(in);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) s->count[i] = bytes_get(in, 8);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) s->sum[i] = bytes_get_double(in);
  if (in->failed) return err_set(err, ERR_INVALID, "a sketch is cut short");
  uint64_t left = s->n;
  for (size_t i = 1; i < sizeof counts / sizeof counts[0]; i++) {
    if (*counts[i] > left) return err_set(err, ERR_INVALID, "a sketch whose counts do not add up");
    left -= *counts[i];
  }
  s->finite = left;
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) {
    if (s->count[i] > left || !isfinite(s->sum[i]) || (s->count[i] == 0 && s->sum[i] != 0))
      return err_set(err, ERR_INVALID, "a sketch whose counts do not add up");
    left -= s->count[i];
  }
  if (left != 0) return err_set(err, ERR_INVALID, "a sketch whose counts do not add up");
  bool sound = usable(s->min) && usable(s->max) && usable(s->mean) && isfinite(s->m2) && s->m2 >= 0 && s->min <= s->max;
  if (s->finite == 0) sound = s->min == 0 && s->max == 0 && s->mean == 0 && s->m2 == 0;
  if (!sound) return err_set(err, ERR_INVALID, "a sketch with impossible moments");
  return true;
}

bool sketch_decode(struct sketch *ret_sketch, const void *bytes, size_t len, size_t *ret_used, struct err *err) {
  struct bytes_reader in = {.at = bytes, .left = len};
  struct sketch s = {0};
  if (!decode_grid(&s.grid, &in, err) || !decode_counts(&s, &in, err)) return false;
  *ret_sketch = s;
  *ret_used = len - in.left;
  return true;
}
