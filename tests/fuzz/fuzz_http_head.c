/* Any bytes as a request's head: the guard must neither crash nor contradict itself. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "serve/http_guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *bytes = (const char *)data;
  struct http_refusal refusal = {0};
  struct http_head head;
  size_t len = 0;
  if (http_guard_scan(bytes, size, &len, &refusal) != HTTP_SCAN_COMPLETE) return 0;
  ORCH_ASSERT(len <= size && len <= HTTP_GUARD_HEAD_MAX);
  if (!http_guard_split(bytes, len, &head, &refusal)) {
    ORCH_ASSERT(refusal.status >= 400 && refusal.code && refusal.detail);
    return 0;
  }
  if (!http_guard_check(&head, &refusal)) {
    ORCH_ASSERT(refusal.status >= 400 && refusal.code && refusal.detail);
    return 0;
  }
  ORCH_ASSERT(http_guard_layout(&head, len, &refusal)); /* what was split strictly is laid out strictly */
  static char out[HTTP_GUARD_TARGET_MAX + 1];
  ORCH_ASSERT(http_guard_decode(head.target, head.target_len, out) <= head.target_len);
  return 0;
}
