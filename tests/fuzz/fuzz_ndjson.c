/* Observations from strangers: every body gives a batch whose accepted lines are accepted again, byte for byte, by a
 * plan that keeps predictions; what was read of the row before never changes what is read of the next. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "trigger/observe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct observe_plan *plan;
  struct observe_batch once, twice, fresh;
  struct err err;
  const char *document = "{\"revision\":1,\"keys\":{\"id\":\"a.b\"},\"labels\":true}";
  if (!plan) plan = observe_plan_new(document, &err);
  struct observe_plan *other = observe_plan_new(document, &err);
  ORCH_ASSERT(plan && other);
  ORCH_ASSERT(observe_parse(&once, plan, (const char *)data, size, &err));
  ORCH_ASSERT(observe_parse(&fresh, other, (const char *)data, size, &err));
  ORCH_ASSERT(fresh.rows == once.rows && fresh.rejected == once.rejected && fresh.predictions.n == once.predictions.n);
  ORCH_ASSERT(strcmp(strbuf_text(&fresh.predictions.id), strbuf_text(&once.predictions.id)) == 0);
  observe_fini(&fresh);
  observe_plan_unref(other);
  ORCH_ASSERT(!once.copy.failed && once.n_errors <= once.rejected);
  ORCH_ASSERT(observe_parse(&twice, plan, once.lines, once.bytes, &err));
  ORCH_ASSERT(twice.rejected == 0 && twice.rows == once.rows && twice.bytes == once.bytes && !twice.copied);
  ORCH_ASSERT(once.rows == 0 || memcmp(twice.lines, once.lines, once.bytes) == 0);
  observe_fini(&once);
  observe_fini(&twice);
  return 0;
}
