/* What a monitor carries from window to window, from a database that others write too: detectors' states, latencies,
 * memories. What is accepted encodes to the same bytes and takes more values. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "stats/adwin.h"
#include "stats/decide.h"
#include "stats/latency.h"
#include "stats/page_hinkley.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct strbuf *out, const uint8_t *data, size_t size) {
  ORCH_ASSERT(!out->failed && out->len == size && memcmp(out->data, data, size) == 0);
}

static void check_adwin(const uint8_t *data, size_t size, struct strbuf *out) {
  static struct adwin adwin;
  struct err err;
  if (!adwin_decode(&adwin, data, size, &err)) return;
  adwin_encode(&adwin, out);
  same(out, data, size);
  for (int i = 0; i < 300; i++) adwin_add(&adwin, i % 7 + (i > 150 ? 100 : 0));
}

static void check_page_hinkley(const uint8_t *data, size_t size, struct strbuf *out) {
  struct page_hinkley ph;
  struct err err;
  if (!page_hinkley_decode(&ph, data, size, &err)) return;
  page_hinkley_encode(&ph, out);
  same(out, data, size);
  for (int i = 0; i < 100; i++) page_hinkley_add(&ph, i);
}

static void check_latency(const uint8_t *data, size_t size, struct strbuf *out) {
  static struct latency latency;
  struct err err;
  if (!latency_decode(&latency, data, size, &err)) return;
  latency_encode(&latency, out);
  same(out, data, size);
  double middle = latency_quantile(&latency, 0.5);
  ORCH_ASSERT(latency.n == 0 ? isnan(middle) : middle >= 0);
  latency_add(&latency, 3);
}

static void check_memory(const uint8_t *data, size_t size) {
  char text[100], again[DRIFT_MEMORY_TEXT_SIZE];
  struct drift_memory memory;
  const struct drift_rule rule = DRIFT_RULE_DEFAULT;
  if (size >= sizeof text) return;
  memcpy(text, data, size);
  text[size] = 0;
  if (!drift_memory_from_text(text, &memory)) return;
  drift_memory_to_text(&memory, again);
  ORCH_ASSERT(strcmp(again, text) == 0);
  drift_memory_add(&rule, &memory, true, 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct strbuf out;
  if (size == 0) return 0;
  strbuf_init(&out, LATENCY_ENCODED_MAX);
  switch (data[0] % 4) {
  case 0:
    check_adwin(data + 1, size - 1, &out);
    break;
  case 1:
    check_page_hinkley(data + 1, size - 1, &out);
    break;
  case 2:
    check_latency(data + 1, size - 1, &out);
    break;
  case 3:
    check_memory(data + 1, size - 1);
    break;
  }
  strbuf_fini(&out);
  return 0;
}
