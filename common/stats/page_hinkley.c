#include "stats/page_hinkley.h"

#include <math.h>

#include "stats/bytes.h"

enum { VERSION = 1 };

void page_hinkley_init(struct page_hinkley *ph, struct page_hinkley_params params) {
  *ph = (struct page_hinkley){.params = params};
}

bool page_hinkley_add(struct page_hinkley *ph, double value) {
  if (!isfinite(value)) return false;
  if (ph->drift) page_hinkley_init(ph, ph->params);
  ph->n++;
  ph->mean += (value - ph->mean) / (double)ph->n;
  ph->sum = fmax(0, ph->params.alpha * ph->sum + value - ph->mean - ph->params.delta);
  ph->drift = ph->n >= ph->params.min_instances && ph->sum >= ph->params.lambda;
  return ph->drift;
}

/* ---- u8 version, u8 drift, u16 zero, u32 min_instances, f64 delta, lambda, alpha, u64 n, f64 mean, sum ---- */

void page_hinkley_encode(const struct page_hinkley *ph, struct strbuf *out) {
  bytes_put(out, VERSION, 1);
  bytes_put(out, ph->drift, 1);
  bytes_put(out, 0, 2);
  bytes_put(out, ph->params.min_instances, 4);
  bytes_put_double(out, ph->params.delta);
  bytes_put_double(out, ph->params.lambda);
  bytes_put_double(out, ph->params.alpha);
  bytes_put(out, ph->n, 8);
  bytes_put_double(out, ph->mean);
  bytes_put_double(out, ph->sum);
}

bool page_hinkley_decode(struct page_hinkley *ret, const void *bytes, size_t len, struct err *err) {
  struct bytes_reader in = {.at = bytes, .left = len};
  struct page_hinkley ph = {0};
  uint64_t version = bytes_get(&in, 1), drift = bytes_get(&in, 1), zero = bytes_get(&in, 2);
  ph.params.min_instances = (uint32_t)bytes_get(&in, 4);
  ph.params.delta = bytes_get_double(&in);
  ph.params.lambda = bytes_get_double(&in);
  ph.params.alpha = bytes_get_double(&in);
  ph.n = bytes_get(&in, 8);
  ph.mean = bytes_get_double(&in);
  ph.sum = bytes_get_double(&in);
  ph.drift = drift == 1;
  const struct page_hinkley_params *p = &ph.params;
  bool sound = !in.failed && in.left == 0 && version == VERSION && drift <= 1 && zero == 0 && p->delta >= 0 &&
               isfinite(p->delta) && p->lambda > 0 && isfinite(p->lambda) && p->alpha > 0 && p->alpha <= 1 &&
               isfinite(ph.mean) && isfinite(ph.sum) && ph.sum >= 0;
  if (!sound) return err_set(err, ERR_INVALID, "these bytes are no state of Page-Hinkley");
  *ret = ph;
  return true;
}
