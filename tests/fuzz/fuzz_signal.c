/* Signal bodies from strangers: parsed or refused with a reason, and never both. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "trigger/probe_eval.h"
#include "trigger/signal_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef bool parser(struct signal_list *ret, const char *body, size_t len, const char *pipeline, struct err *err);
static bool one_event(struct signal_list *ret, const char *body, size_t len, const char *pipeline, struct err *err) {
  return signal_parse_cloudevents(ret, body, len, false, pipeline, err);
}
static bool batch(struct signal_list *ret, const char *body, size_t len, const char *pipeline, struct err *err) {
  return signal_parse_cloudevents(ret, body, len, true, pipeline, err);
}
/* The bytes as a header's value and as the body. */
static bool binary(struct signal_list *ret, const char *body, size_t len, const char *pipeline, struct err *err) {
  CLEANUP(mem_free_p) char *subject = mem_printf("%.*s", (int)(len < 2000 ? len : 2000), body);
  const struct signal_header headers[] = {
      {"ce-specversion", "1.0"}, {"ce-id", "1"}, {"ce-source", "s"}, {"ce-type", "t"}, {"ce-subject", subject}};
  return signal_parse_cloudevent_binary(ret, headers, ARRAY_LEN(headers), "application/json", body, len, pipeline, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct err err = {0};
  struct signal_in in;
  struct signal_list list;
  if (signal_parse(&in, (const char *)data, size, &err)) {
    ORCH_ASSERT(in.signal && signal_is_pipeline_name(in.pipeline));
    signal_in_fini(&in);
  } else
    ORCH_ASSERT(err.text[0]);
  static parser *const parsers[] = {signal_parse_alertmanager,
                                    signal_parse_grafana,
                                    signal_parse_evidently,
                                    signal_parse_nannyml,
                                    one_event,
                                    batch,
                                    binary};
  for (size_t p = 0; p < ARRAY_LEN(parsers); p++) {
    if (!parsers[p](&list, (const char *)data, size, "fallback", &err)) continue;
    for (size_t i = 0; i < list.n; i++) ORCH_ASSERT((list.items[i].signal == NULL) == (list.items[i].problem[0] != 0));
    signal_list_fini(&list);
  }
  struct probe_answer answer;
  probe_answer_init(&answer);
  err.text[0] = 0;
  if (!probe_read_prometheus(&answer, (const char *)data, size, &err)) ORCH_ASSERT(err.text[0]);
  probe_answer_fini(&answer);
  return 0;
}
