#include "stats/latency.h"

#include <math.h>
#include <string.h>

#include "stats/bytes.h"

enum { VERSION = 1, PART_BITS = 6, EXPONENT_BIAS = 1023, MANTISSA_BITS = 52 };
#define FIRST_BIN ((uint64_t)(EXPONENT_BIAS + LATENCY_EXPONENT_MIN) << PART_BITS)

/* Of a value in range: exponent and the first six bits behind the point. */
static uint64_t bin_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (bits >> (MANTISSA_BITS - PART_BITS)) - FIRST_BIN;
}

static double bin_low(uint64_t bin) {
  uint64_t bits = (bin + FIRST_BIN) << (MANTISSA_BITS - PART_BITS);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

void latency_add(struct latency *l, double value) {
  if (!(value >= 0) || isinf(value)) { /* also NaN */
    l->refused++;
    return;
  }
  value += 0.0;
  if (l->n == 0 || value < l->min) l->min = value;
  if (l->n == 0 || value > l->max) l->max = value;
  l->n++;
  if (value < ldexp(1, LATENCY_EXPONENT_MIN))
    l->under++;
  else if (value >= ldexp(1, LATENCY_EXPONENT_MAX))
    l->over++;
  else
    l->count[bin_of(value)]++;
}

void latency_merge(struct latency *into, const struct latency *from) {
  if (from->n) {
    into->min = into->n ? fmin(into->min, from->min) : from->min;
    into->max = into->n ? fmax(into->max, from->max) : from->max;
  }
  into->n += from->n;
  into->refused += from->refused;
  into->under += from->under;
  into->over += from->over;
  for (size_t i = 0; i < LATENCY_BINS; i++) into->count[i] += from->count[i];
}

double latency_quantile(const struct latency *l, double level) {
  if (l->n == 0) return NAN;
  if (level <= 0) return l->min;
  if (level >= 1) return l->max;
  double rank = fmax(1, ceil(level * (double)l->n)), seen = (double)l->under;
  if (rank <= seen) return 0;
  for (size_t i = 0; i < LATENCY_BINS; i++) {
    seen += (double)l->count[i];
    if (rank > seen) continue;
    double middle = (bin_low(i) + bin_low(i + 1)) / 2;
    return fmin(l->max, fmax(l->min, middle));
  }
  return l->max;
}

uint64_t latency_above(const struct latency *l, double limit) {
  if (l->n == 0 || limit >= l->max) return 0;
  if (limit < l->min) return l->n;
  uint64_t above = l->over;
  size_t first = limit < bin_low(0) ? 0 : limit >= bin_low(LATENCY_BINS) ? LATENCY_BINS : bin_of(limit) + 1;
  for (size_t i = first; i < LATENCY_BINS; i++) above += l->count[i];
  return above;
}

/* ---- u8 version, u8 and u16 zero, u64 refused, under, over, f64 min, max, u16 bins, per bin u16 index, u64 count ----
 */

void latency_encode(const struct latency *l, struct strbuf *out) {
  uint64_t used = 0;
  for (size_t i = 0; i < LATENCY_BINS; i++) used += l->count[i] != 0;
  bytes_put(out, VERSION, 4);
  bytes_put(out, l->refused, 8);
  bytes_put(out, l->under, 8);
  bytes_put(out, l->over, 8);
  bytes_put_double(out, l->min);
  bytes_put_double(out, l->max);
  bytes_put(out, used, 2);
  for (size_t i = 0; i < LATENCY_BINS; i++) {
    if (!l->count[i]) continue;
    bytes_put(out, i, 2);
    bytes_put(out, l->count[i], 8);
  }
}

static bool decode_bins(struct latency *l, struct bytes_reader *in) {
  uint64_t used = bytes_get(in, 2);
  int64_t last = -1;
  for (uint64_t i = 0; i < used; i++) {
    int64_t index = (int64_t)bytes_get(in, 2);
    uint64_t count = bytes_get(in, 8);
    if (in->failed || index <= last || index >= LATENCY_BINS || count == 0 || count > UINT64_MAX - l->n) return false;
    l->count[index] = count;
    l->n += count;
    last = index;
  }
  return true;
}

bool latency_decode(struct latency *ret, const void *bytes, size_t len, struct err *err) {
  struct bytes_reader in = {.at = bytes, .left = len};
  struct latency l = {0};
  uint64_t version = bytes_get(&in, 4);
  l.refused = bytes_get(&in, 8);
  l.under = bytes_get(&in, 8);
  l.over = bytes_get(&in, 8);
  l.min = bytes_get_double(&in);
  l.max = bytes_get_double(&in);
  bool sound = !in.failed && version == VERSION && l.under <= UINT64_MAX - l.over;
  l.n = l.under + l.over;
  sound = sound && decode_bins(&l, &in) && !in.failed && in.left == 0;
  sound = sound && isfinite(l.min) && isfinite(l.max) && l.min >= 0 && l.min <= l.max;
  sound = sound && (l.n > 0 || (l.min == 0 && l.max == 0));
  if (!sound) return err_set(err, ERR_INVALID, "these bytes are no histogram of latencies");
  *ret = l;
  return true;
}
