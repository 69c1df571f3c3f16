/* Profiles from workers: what is accepted encodes to the same bytes and can be measured. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "stats/measure.h"
#include "stats/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct err err;
  struct profile *profile = profile_decode(data, size, &err);
  if (!profile) return 0;
  struct strbuf again;
  strbuf_init(&again, PROFILE_ENCODED_MAX);
  profile_encode(profile, &again);
  ORCH_ASSERT(again.len == size);
  struct profile *back = profile_decode(again.data, again.len, &err);
  ORCH_ASSERT(back != NULL);
  for (size_t i = 0; i < profile->n_columns; i++) {
    const struct sketch *s = &profile->columns[i].sketch;
    ORCH_ASSERT(s->finite == 0 || measure_psi(s, s) == 0);
  }
  profile_free(profile);
  profile_free(back);
  strbuf_fini(&again);
  return 0;
}
