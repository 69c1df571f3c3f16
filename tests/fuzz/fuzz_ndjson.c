/* Observations from strangers: every body gives a batch whose accepted lines are accepted again, byte for byte. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "trigger/observe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct observe_batch once, twice;
  struct err err;
  ORCH_ASSERT(observe_parse(&once, (const char *)data, size, &err));
  ORCH_ASSERT(!once.accepted.failed && once.n_errors <= once.rejected);
  ORCH_ASSERT(observe_parse(&twice, strbuf_text(&once.accepted), once.accepted.len, &err));
  ORCH_ASSERT(twice.rejected == 0 && twice.rows == once.rows && twice.accepted.len == once.accepted.len);
  ORCH_ASSERT(once.rows == 0 || memcmp(twice.accepted.data, once.accepted.data, once.accepted.len) == 0);
  observe_fini(&once);
  observe_fini(&twice);
  return 0;
}
