/* Profiles from workers: what is accepted encodes to bytes that say the same, and can be measured. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "stats/decide.h"
#include "stats/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_numeric(const struct sketch *s) {
  double quantile = sketch_quantile(s, 0.5), bars[8], total = 0;
  ORCH_ASSERT(isfinite(sketch_mean(s)) && isfinite(sketch_deviation(s)) && sketch_deviation(s) >= 0);
  ORCH_ASSERT(s->finite == 0 || (quantile >= s->min && quantile <= s->max));
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) {
    double at = sketch_centroid(s, i);
    ORCH_ASSERT(s->count[i] ? isfinite(at) : isnan(at));
  }
  sketch_bars(s, -1, 1, 8, bars);
  for (size_t i = 0; i < 8; i++) total += bars[i];
  ORCH_ASSERT(s->finite == 0 ? total == 0 : fabs(total - 1) < 1e-6);
}

/* A column against itself: no distance, and adding it twice doubles the counts. */
static void check_column(const struct profile_column *column) {
  static struct drift_column said;
  struct profile_column both;
  struct err err;
  if (column->kind == PROFILE_NUMERIC) check_numeric(&column->sketch);
  drift_measure(column, column, &said);
  ORCH_ASSERT(said.d.n_now == 0 || said.d.categorical || (said.d.psi == 0 && said.d.wasserstein.raw == 0));
  ORCH_ASSERT(said.d.n_now == 0 || (said.d.tvd == 0 && said.d.js == 0));
  profile_column_window(&both, column);
  if (profile_column_merge(&both, column, &err) && profile_column_merge(&both, column, &err)) {
    drift_measure(column, &both, &said);
    ORCH_ASSERT(said.d.n_now == 2 * said.d.n_ref && (said.d.n_now == 0 || said.d.tvd < 1e-9));
  }
  profile_column_fini(&both);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct err err;
  struct profile *profile = profile_decode(data, size, &err);
  if (!profile) return 0;
  struct strbuf once, twice;
  strbuf_init(&once, PROFILE_ENCODED_MAX);
  strbuf_init(&twice, PROFILE_ENCODED_MAX);
  profile_encode(profile, &once);
  struct profile *back = profile_decode(once.data, once.len, &err);
  ORCH_ASSERT(back != NULL);
  profile_encode(back, &twice);
  ORCH_ASSERT(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
  for (size_t i = 0; i < profile->n_columns; i++) check_column(&profile->columns[i]);
  profile_free(profile);
  profile_free(back);
  strbuf_fini(&once);
  strbuf_fini(&twice);
  return 0;
}
