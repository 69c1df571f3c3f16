/* Signal bodies from strangers: parsed or refused with a reason, and never both. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "trigger/signal_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct err err = {0};
  struct signal_in in;
  struct signal_list list;
  if (signal_parse(&in, (const char *)data, size, &err)) {
    ORCH_ASSERT(in.signal && signal_is_pipeline_name(in.pipeline));
    signal_in_fini(&in);
  } else
    ORCH_ASSERT(err.text[0]);
  if (signal_parse_alertmanager(&list, (const char *)data, size, "fallback", &err)) {
    for (size_t i = 0; i < list.n; i++) ORCH_ASSERT((list.items[i].signal == NULL) == (list.items[i].problem[0] != 0));
    signal_list_fini(&list);
  }
  return 0;
}
