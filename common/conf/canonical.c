#include "conf/canonical.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

char *canonical_text(const json_t *document) {
  char *dumped = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
  ORCH_ASSERT(dumped != NULL);
  char *text = mem_strdup(dumped);
  free(dumped); /* jansson's own allocation */
  return text;
}

void canonical_digest(const json_t *document, char out[DIGEST_TEXT_SIZE]) {
  uint8_t bytes[DIGEST_BYTES];
  char *text = canonical_text(document);
  digest_bytes(text, strlen(text), bytes);
  digest_to_text(bytes, out);
  mem_free(text);
}
