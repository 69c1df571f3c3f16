/* Any text as a cron time: refused with a reason, or every field matches something and stays in its bounds. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "conf/cron.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = mem_strndup((const char *)data, size);
  struct cron cron;
  struct err err = {0};
  if (cron_parse(text, &cron, &err)) {
    ORCH_ASSERT(cron.minute != 0 && cron.minute >> 60 == 0);
    ORCH_ASSERT(cron.hour != 0 && cron.hour >> 24 == 0);
    ORCH_ASSERT(cron.day != 0 && (cron.day & 1) == 0 && cron.day >> 32 == 0);
    ORCH_ASSERT(cron.month != 0 && (cron.month & 1) == 0 && cron.month >> 13 == 0);
    ORCH_ASSERT(cron.weekday != 0 && cron.weekday >> 7 == 0);
    json_t *document = cron_json(&cron, text);
    json_decref(document); /* NULL when the text is no UTF-8; files are checked for that before */
  } else {
    ORCH_ASSERT(err.code == ERR_INVALID && err.text[0] != '\0');
  }
  mem_free(text);
  return 0;
}
