#include "stats/adwin.h"

#include <math.h>

#include "stats/bytes.h"

enum { VERSION = 1 };

void adwin_init(struct adwin *a, struct adwin_params params) {
  *a = (struct adwin){.params = params, .n_rows = 1};
}

static double bucket_size(uint32_t row) {
  return (double)(1ull << row);
}

static void row_push(struct adwin *a, uint32_t row, double total, double variance) {
  uint8_t at = a->rows[row].n++;
  a->rows[row].total[at] = total;
  a->rows[row].variance[at] = variance;
}

static void row_drop(struct adwin *a, uint32_t row, uint8_t n) {
  a->rows[row].n = (uint8_t)(a->rows[row].n - n);
  for (uint8_t i = 0; i < a->rows[row].n; i++) {
    a->rows[row].total[i] = a->rows[row].total[i + n];
    a->rows[row].variance[i] = a->rows[row].variance[i + n];
  }
}

/* Forgets the oldest bucket. */
static void drop_oldest(struct adwin *a) {
  uint32_t row = a->n_rows - 1;
  double n = bucket_size(row), total = a->rows[row].total[0], mean = total / n;
  a->width -= (uint64_t)n;
  a->total -= total;
  double width = (double)a->width, off = mean - a->total / width;
  a->variance -= a->rows[row].variance[0] + n * width * off * off / (n + width);
  row_drop(a, row, 1);
  while (a->n_rows > 1 && a->rows[a->n_rows - 1].n == 0) a->n_rows--;
}

/* The two oldest buckets of a row that is too full become one of the next row. */
static void compress(struct adwin *a) {
  for (uint32_t row = 0; a->rows[row].n == a->params.max_buckets + 1; row++) {
    if (row + 1 == ADWIN_ROWS_MAX) {
      drop_oldest(a);
      return;
    }
    const double *total = a->rows[row].total, *variance = a->rows[row].variance;
    double n = bucket_size(row), off = total[0] / n - total[1] / n;
    double both = variance[0] + variance[1] + n * n * off * off / (n + n);
    if (row + 1 == a->n_rows) a->n_rows++;
    row_push(a, row + 1, total[0] + total[1], both);
    row_drop(a, row, 2);
  }
}

static void insert(struct adwin *a, double value) {
  row_push(a, 0, value, 0);
  a->width++;
  if (a->width > 1) {
    double before = (double)a->width - 1, off = value - a->total / before;
    a->variance += before * off * off / (double)a->width;
  }
  a->total += value;
  compress(a);
}

static bool is_cut(const struct adwin *a, double n0, double n1, double u0, double u1) {
  double least = a->params.min_window_length;
  if (n1 < least || n0 < least) return false;
  double width = (double)a->width, d = log(2 * log(width) / a->params.delta);
  double r = 1 / (n0 - least + 1) + 1 / (n1 - least + 1);
  double eps = sqrt(2 * r * (a->variance / width) * d) + 2.0 / 3 * d * r;
  return fabs(u0 / n0 - u1 / n1) > eps;
}

/* Looks for a border, oldest first; the newest bucket of each row is none (as river has it). */
static bool find_cut(const struct adwin *a) {
  double n0 = 0, n1 = (double)a->width, u0 = 0, u1 = a->total;
  for (uint32_t row = a->n_rows; row-- > 0;)
    for (int i = 0; i + 1 < a->rows[row].n; i++) {
      n0 += bucket_size(row);
      n1 -= bucket_size(row);
      u0 += a->rows[row].total[i];
      u1 -= a->rows[row].total[i];
      if (is_cut(a, n0, n1, u0, u1)) return true;
    }
  return false;
}

bool adwin_add(struct adwin *a, double value) {
  if (!isfinite(value)) return false;
  if (a->drift) adwin_init(a, a->params);
  insert(a, value);
  a->tick++;
  if (a->tick % a->params.clock != 0 || a->width <= a->params.grace_period) return false;
  while (a->width > 1 && find_cut(a)) {
    a->drift = true;
    drop_oldest(a);
  }
  return a->drift;
}

double adwin_mean(const struct adwin *a) {
  return a->width ? a->total / (double)a->width : NAN;
}

/* ---- u8 version, u8 drift, u16 zero, f64 delta, u32 clock, max_buckets, min_window_length, grace_period, u64 tick,
 * f64 total, variance, u8 n_rows, per row u8 n and n times (f64 total, variance) ---- */

void adwin_encode(const struct adwin *a, struct strbuf *out) {
  bytes_put(out, VERSION, 1);
  bytes_put(out, a->drift, 1);
  bytes_put(out, 0, 2);
  bytes_put_double(out, a->params.delta);
  bytes_put(out, a->params.clock, 4);
  bytes_put(out, a->params.max_buckets, 4);
  bytes_put(out, a->params.min_window_length, 4);
  bytes_put(out, a->params.grace_period, 4);
  bytes_put(out, a->tick, 8);
  bytes_put_double(out, a->total);
  bytes_put_double(out, a->variance);
  bytes_put(out, a->n_rows, 1);
  for (uint32_t row = 0; row < a->n_rows; row++) {
    bytes_put(out, a->rows[row].n, 1);
    for (uint8_t i = 0; i < a->rows[row].n; i++) {
      bytes_put_double(out, a->rows[row].total[i]);
      bytes_put_double(out, a->rows[row].variance[i]);
    }
  }
}

static bool params_sound(const struct adwin_params *p) {
  return p->delta > 0 && p->delta < 1 && p->clock >= 1 && p->max_buckets >= 1 && p->max_buckets <= ADWIN_BUCKETS_MAX &&
         p->min_window_length >= 1;
}

static bool decode_rows(struct adwin *a, struct bytes_reader *in) {
  a->n_rows = (uint32_t)bytes_get(in, 1);
  if (a->n_rows < 1 || a->n_rows > ADWIN_ROWS_MAX) return false;
  for (uint32_t row = 0; row < a->n_rows; row++) {
    uint64_t n = bytes_get(in, 1);
    if (n > a->params.max_buckets || (n == 0 && row > 0 && row + 1 == a->n_rows)) return false;
    a->rows[row].n = (uint8_t)n;
    a->width += n << row;
    for (uint64_t i = 0; i < n; i++) {
      a->rows[row].total[i] = bytes_get_double(in);
      a->rows[row].variance[i] = bytes_get_double(in);
      if (!isfinite(a->rows[row].total[i]) || !isfinite(a->rows[row].variance[i])) return false;
    }
  }
  return true;
}

bool adwin_decode(struct adwin *ret, const void *bytes, size_t len, struct err *err) {
  struct bytes_reader in = {.at = bytes, .left = len};
  struct adwin a = {0};
  uint64_t version = bytes_get(&in, 1), drift = bytes_get(&in, 1), zero = bytes_get(&in, 2);
  a.params.delta = bytes_get_double(&in);
  a.params.clock = (uint32_t)bytes_get(&in, 4);
  a.params.max_buckets = (uint32_t)bytes_get(&in, 4);
  a.params.min_window_length = (uint32_t)bytes_get(&in, 4);
  a.params.grace_period = (uint32_t)bytes_get(&in, 4);
  a.tick = bytes_get(&in, 8);
  a.total = bytes_get_double(&in);
  a.variance = bytes_get_double(&in);
  a.drift = drift == 1;
  bool sound = !in.failed && version == VERSION && drift <= 1 && zero == 0 && params_sound(&a.params) &&
               isfinite(a.total) && isfinite(a.variance) && decode_rows(&a, &in);
  if (!sound || in.failed || in.left) return err_set(err, ERR_INVALID, "these bytes are no state of ADWIN");
  *ret = a;
  return true;
}
