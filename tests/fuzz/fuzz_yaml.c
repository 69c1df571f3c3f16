/* Any bytes as a pipeline's or the server's file: either a document or problems, never both, never a crash. */
#include <stddef.h>
#include <stdint.h>

#include "conf/pipeline.h"
#include "conf/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  for (int server = 0; server < 2; server++) {
    struct problems problems;
    struct strbuf lines;
    problems_init(&problems, "fuzz.yaml");
    strbuf_init(&lines, (size_t)1 << 20);
    json_t *document = server ? server_parse((const char *)data, size, &problems)
                              : pipeline_parse((const char *)data, size, NULL, &problems);
    ORCH_ASSERT((document == NULL) == (problems.count > 0));
    problems_print(&problems, &lines);
    json_decref(document);
    strbuf_fini(&lines);
    problems_fini(&problems);
  }
  return 0;
}
