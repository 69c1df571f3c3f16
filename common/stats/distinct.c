#include "stats/distinct.h"

#include <math.h>

#include "stats/bytes.h"

enum { RANK_MAX = 64 - DISTINCT_BITS + 1, SPARSE_MAX = 512 };

void distinct_merge(struct distinct *into, const struct distinct *from) {
  for (size_t i = 0; i < DISTINCT_REGISTERS; i++)
    if (from->registers[i] > into->registers[i]) into->registers[i] = from->registers[i];
}

/* sigma(x) = x + sum_{k>=1} x^(2^k) 2^(k-1): what empty registers say. */
static double sigma(double x) {
  if (x == 1) return INFINITY;
  double y = 1, z = x, before;
  do {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  } while (z != before);
  return z;
}

/* tau(x) = (1 - x - sum_{k>=1} (1 - x^(2^-k))^2 2^-k) / 3: what full registers say. */
static double tau(double x) {
  if (x == 0 || x == 1) return 0;
  double y = 1, z = 1 - x, before;
  do {
    x = sqrt(x);
    before = z;
    y *= 0.5;
    z -= (1 - x) * (1 - x) * y;
  } while (z != before);
  return z / 3;
}

double distinct_estimate(const struct distinct *d) {
  const double m = DISTINCT_REGISTERS;
  unsigned ranks[RANK_MAX + 1] = {0};
  for (size_t i = 0; i < DISTINCT_REGISTERS; i++) ranks[d->registers[i]]++;
  double z = m * tau(1 - ranks[RANK_MAX] / m);
  for (int k = RANK_MAX - 1; k >= 1; k--) z = 0.5 * (z + ranks[k]);
  z += m * sigma(ranks[0] / m);
  return m * m / (2 * M_LN2) / z; /* z infinite: nothing was seen, 0 */
}

void distinct_encode(const struct distinct *d, struct strbuf *out) {
  unsigned set = 0;
  for (size_t i = 0; i < DISTINCT_REGISTERS; i++) set += d->registers[i] != 0;
  bytes_put(out, set, 2);
  if (set <= SPARSE_MAX) {
    for (size_t i = 0; i < DISTINCT_REGISTERS; i++) {
      if (!d->registers[i]) continue;
      bytes_put(out, i, 2);
      bytes_put(out, d->registers[i], 1);
    }
    return;
  }
  for (size_t i = 0; i < DISTINCT_REGISTERS; i += 4)
    bytes_put(out,
              (uint64_t)d->registers[i] | (uint64_t)d->registers[i + 1] << 6 | (uint64_t)d->registers[i + 2] << 12 |
                  (uint64_t)d->registers[i + 3] << 18,
              3);
}

static bool decode_sparse(struct distinct *d, struct bytes_reader *in, uint64_t set, struct err *err) {
  int64_t last = -1;
  for (uint64_t i = 0; i < set; i++) {
    int64_t index = (int64_t)bytes_get(in, 2);
    uint64_t rank = bytes_get(in, 1);
    if (in->failed) return err_set(err, ERR_INVALID, "a distinct count is cut short");
    if (index <= last || index >= DISTINCT_REGISTERS || rank == 0 || rank > RANK_MAX)
      return err_set(err, ERR_INVALID, "a distinct count with an impossible register");
    d->registers[index] = (uint8_t)rank;
    last = index;
  }
  return true;
}

static bool decode_dense(struct distinct *d, struct bytes_reader *in, uint64_t set, struct err *err) {
  uint64_t found = 0;
  for (size_t i = 0; i < DISTINCT_REGISTERS; i += 4) {
    uint64_t four = bytes_get(in, 3);
    for (size_t j = 0; j < 4; j++) {
      d->registers[i + j] = (uint8_t)(four >> (6 * j) & 63);
      if (d->registers[i + j] > RANK_MAX)
        return err_set(err, ERR_INVALID, "a distinct count with an impossible register");
      found += d->registers[i + j] != 0;
    }
  }
  if (in->failed || found != set) return err_set(err, ERR_INVALID, "a distinct count is cut short or does not add up");
  return true;
}

bool distinct_decode(struct distinct *ret, const void *bytes, size_t len, size_t *ret_used, struct err *err) {
  struct bytes_reader in = {.at = bytes, .left = len};
  struct distinct d = {0};
  uint64_t set = bytes_get(&in, 2);
  if (in.failed || set > DISTINCT_REGISTERS) return err_set(err, ERR_INVALID, "a distinct count is cut short");
  if (!(set <= SPARSE_MAX ? decode_sparse(&d, &in, set, err) : decode_dense(&d, &in, set, err))) return false;
  *ret = d;
  *ret_used = len - in.left;
  return true;
}
