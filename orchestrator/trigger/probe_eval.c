#include "trigger/probe_eval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "trigger/signal_in.h"

void probe_answer_init(struct probe_answer *answer) {
  *answer = (struct probe_answer){.numbers = mem_calloc(PROBE_SERIES_MAX, sizeof answer->numbers[0])};
}

void probe_answer_fini(struct probe_answer *answer) {
  mem_free(answer->numbers);
  *answer = (struct probe_answer){0};
}

static void copy_name(char *out, size_t size, const char *name) {
  size_t len = strnlen(name, size);
  if (len == size) /* cut, never inside a character */
    for (len = size - 1; len && ((unsigned char)name[len] & 0xC0) == 0x80;) len--;
  for (size_t i = 0; i < len; i++) out[i] = (unsigned char)name[i] < ' ' || name[i] == 0x7f ? '?' : name[i];
  out[len] = 0;
}

bool probe_answer_add(struct probe_answer *answer, const char *name, double value, struct err *err) {
  if (answer->n == PROBE_SERIES_MAX)
    return err_set(err, ERR_LIMIT, "the query gave more than %d numbers; make it give fewer", PROBE_SERIES_MAX);
  struct probe_number *number = &answer->numbers[answer->n++];
  copy_name(number->name, sizeof number->name, name);
  number->value = value;
  return true;
}

/* ---- what holds ---- */

struct look {
  const json_t *spec;
  const struct probe_answer *answer;
  const char *name, *failure;
  bool above;
  double threshold;
  int64_t for_ms, asked_us;
  size_t usable, beyond;
  const struct probe_number **order; /* usable ones, the worst first */
};

static bool is_beyond(const struct look *look, double value) {
  return look->above ? value > look->threshold : value < look->threshold;
}

static int worst_high(const void *a, const void *b) {
  double x = (*(const struct probe_number *const *)a)->value, y = (*(const struct probe_number *const *)b)->value;
  return (x < y) - (x > y);
}
static int worst_low(const void *a, const void *b) {
  return worst_high(b, a);
}

static struct look look_at(const json_t *spec, const struct probe_answer *answer, const char *failure,
                           int64_t asked_us) {
  const json_t *above = json_object_get(spec, "above"), *below = json_object_get(spec, "below");
  const char *name = json_string_value(json_object_get(spec, "name"));
  struct look look = {.spec = spec,
                      .answer = answer,
                      .name = name ? name : "?",
                      .failure = failure,
                      .above = json_is_number(above),
                      .threshold = json_number_value(json_is_number(above) ? above : below),
                      .for_ms = json_integer_value(json_object_get(spec, "for_ms")),
                      .asked_us = asked_us};
  size_t n = answer ? answer->n : 0;
  look.order = mem_calloc(n + 1, sizeof look.order[0]);
  for (size_t i = 0; i < n; i++) {
    if (isnan(answer->numbers[i].value)) continue;
    look.order[look.usable++] = &answer->numbers[i];
    if (is_beyond(&look, answer->numbers[i].value)) look.beyond++;
  }
  qsort(look.order, look.usable, sizeof look.order[0], look.above ? worst_high : worst_low);
  return look;
}

/* ---- memory ---- */

struct memory {
  int64_t beyond_since_us, failing_since_us; /* 0: not */
  bool firing;
  int64_t failures;
  char episode[DIGEST_TEXT_SIZE];
};

static int64_t time_of(const json_t *doc, const char *key) {
  int64_t wall_us = 0;
  const char *text = json_string_value(json_object_get(doc, key));
  return text && clock_parse_rfc3339(text, &wall_us) ? wall_us : 0;
}

static struct memory memory_load(const json_t *doc) {
  struct memory memory = {.beyond_since_us = time_of(doc, "beyond_since"),
                          .failing_since_us = time_of(doc, "failing_since"),
                          .firing = json_is_true(json_object_get(doc, "firing")),
                          .failures = json_integer_value(json_object_get(doc, "failures"))};
  const char *episode = json_string_value(json_object_get(doc, "episode"));
  if (episode && digest_is_text(episode)) snprintf(memory.episode, sizeof memory.episode, "%s", episode);
  return memory;
}

static json_t *time_text(int64_t wall_us) {
  char text[CLOCK_RFC3339_SIZE];
  clock_format_rfc3339(wall_us, text);
  return json_string(text);
}

static json_t *memory_document(const struct memory *memory) {
  json_t *doc = json_object();
  if (memory->beyond_since_us) json_object_set_new(doc, "beyond_since", time_text(memory->beyond_since_us));
  if (memory->firing) {
    json_object_set_new(doc, "firing", json_true());
    json_object_set_new(doc, "episode", json_string(memory->episode));
  }
  if (memory->failures) {
    json_object_set_new(doc, "failures", json_integer(memory->failures));
    json_object_set_new(doc, "failing_since", time_text(memory->failing_since_us));
  }
  return doc;
}

/* ---- words and documents ---- */

static const char *condition_word(const struct look *look) {
  return look->above ? "above" : "below";
}

static void add_since(const struct memory *memory, struct strbuf *out) {
  char text[CLOCK_RFC3339_SIZE];
  clock_format_rfc3339(memory->beyond_since_us, text);
  strbuf_printf(out, " since %.19sZ", text);
}

/* "code="500": 0.031 is above 0.01 since …; and 2 more". */
static void say_beyond(const struct look *look, const struct memory *memory, struct strbuf *out) {
  const struct probe_number *worst = look->order[0];
  strbuf_printf(out, "%s%s%.6g is %s %.6g", worst->name, *worst->name ? ": " : "", worst->value, condition_word(look),
                look->threshold);
  add_since(memory, out);
  if (look->beyond > 1) strbuf_printf(out, "; and %zu more", look->beyond - 1);
}

static void say_summary(const struct look *look, const struct memory *memory, struct strbuf *out) {
  if (look->failure)
    strbuf_printf(out, "could not ask: %s", look->failure);
  else if (look->usable == 0)
    strbuf_puts(out, look->answer->n ? "the answer holds no usable number" : "the answer is empty");
  else if (look->beyond)
    say_beyond(look, memory, out);
  else
    strbuf_printf(out, "%.6g is not %s %.6g", look->order[0]->value, condition_word(look), look->threshold);
  if (look->beyond && !memory->firing) strbuf_printf(out, "; fires after %lld s", (long long)(look->for_ms / 1000));
  if (look->answer && *look->answer->warning) strbuf_printf(out, " (%s)", look->answer->warning);
}

static json_t *real_or_null(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *series_document(const struct look *look) {
  json_t *series = json_array();
  for (size_t i = 0; i < look->usable && i < PROBE_SHOWN; i++)
    json_array_append_new(series, json_pack("{ss so sb}", "name", look->order[i]->name, "value",
                                            real_or_null(look->order[i]->value), "beyond",
                                            is_beyond(look, look->order[i]->value)));
  return series;
}

static json_t *result_document(const struct look *look, const struct memory *memory) {
  struct strbuf summary;
  strbuf_init(&summary, 4000);
  say_summary(look, memory, &summary);
  const char *kind = json_string_value(json_object_get(look->spec, "kind"));
  const char *verdict = look->failure || look->usable == 0 ? "insufficient" : memory->firing ? "alarm" : "ok";
  json_t *doc =
      json_pack("{ss ss so so sI ss ss so so so}", "monitor", look->name, "kind", kind ? kind : "", "from_at",
                time_text(look->asked_us), "to_at", time_text(look->asked_us), "rows",
                (json_int_t)(look->answer ? look->answer->n : 0), "verdict", verdict, "summary", strbuf_text(&summary),
                "value", look->usable ? real_or_null(look->order[0]->value) : json_null(), "threshold",
                json_real(look->threshold), "series", series_document(look));
  if (memory->beyond_since_us && !look->failure)
    json_object_set_new(doc, "since_at", time_text(memory->beyond_since_us));
  strbuf_fini(&summary);
  return doc;
}

static json_t *signal_document(const struct look *look, const char *what, bool firing, const char *title,
                               const char *episode, json_t *detail) {
  json_t *signal = json_pack("{s:s+ s:s s:s++ s:s s:s++ s:o}", "source", "monitor:", look->name, "kind", "alert",
                             "fingerprint", look->name, "/", what, "status", firing ? "firing" : "resolved", "title",
                             look->name, ": ", title, "detail", detail);
  if (*episode) json_object_set_new(signal, "episode", json_string(episode));
  return signal;
}

/* ---- judging ---- */

static void begin_episode(const struct look *look, struct memory *memory) {
  char start[40];
  snprintf(start, sizeof start, "%lld", (long long)memory->beyond_since_us);
  memory->firing = true;
  signal_episode("probe", look->name, start, memory->episode);
}

static void push_alert(const struct look *look, const struct memory *memory, bool firing, json_t *signals) {
  struct strbuf title;
  strbuf_init(&title, 2000);
  if (firing)
    say_beyond(look, memory, &title);
  else
    strbuf_printf(&title, "%.6g is not %s %.6g any more", look->order[0]->value, condition_word(look), look->threshold);
  json_t *detail = json_pack(
      "{ss ss? so sf so}", "monitor", look->name, "query", json_string_value(json_object_get(look->spec, "query")),
      "value", real_or_null(look->order[0]->value), "threshold", look->threshold, "series", series_document(look));
  if (firing) json_object_set_new(detail, "since_at", time_text(memory->beyond_since_us));
  json_t *signal = signal_document(look, "alert", firing, strbuf_text(&title), memory->episode, detail);
  const char *then = json_string_value(json_object_get(look->spec, "then"));
  if (then) json_object_set_new(signal, "then", json_string(then));
  json_array_append_new(signals, signal);
  strbuf_fini(&title);
}

static void judge_numbers(const struct look *look, struct memory *memory, json_t *signals) {
  if (look->usable == 0) return;
  if (look->beyond == 0) {
    if (memory->firing) push_alert(look, memory, false, signals);
    memory->firing = false;
    memory->beyond_since_us = 0;
    memory->episode[0] = 0;
    return;
  }
  if (!memory->beyond_since_us) memory->beyond_since_us = look->asked_us;
  if (!memory->firing && look->asked_us - memory->beyond_since_us >= look->for_ms * 1000) begin_episode(look, memory);
  if (memory->firing) push_alert(look, memory, true, signals);
}

/* Whether the other system answers at all is told to people, once it has not for a while; it never retrains. */
static void judge_reach(const struct look *look, struct memory *memory, json_t *signals) {
  json_t *signal = NULL;
  if (!look->failure) {
    if (memory->failures >= PROBE_PATIENCE)
      signal = signal_document(look, "unreachable", false, "answers again", "", json_object());
    memory->failures = 0;
    memory->failing_since_us = 0;
  } else {
    if (memory->failures++ == 0) memory->failing_since_us = look->asked_us;
    if (memory->failures >= PROBE_PATIENCE)
      signal = signal_document(look, "unreachable", true, look->failure, "",
                               json_pack("{ss sI so}", "monitor", look->name, "failures", (json_int_t)memory->failures,
                                         "since_at", time_text(memory->failing_since_us)));
  }
  if (!signal) return;
  json_object_set_new(signal, "then", json_string("tell"));
  json_array_append_new(signals, signal);
}

void probe_judge(const json_t *spec, const json_t *memory, const struct probe_answer *answer, const char *failure,
                 int64_t asked_us, json_t **ret_result, json_t **ret_memory, json_t **ret_signals) {
  ORCH_ASSERT((answer != NULL) != (failure != NULL));
  struct look look = look_at(spec, answer, failure, asked_us);
  struct memory now = memory_load(memory);
  *ret_signals = json_array();
  judge_reach(&look, &now, *ret_signals);
  if (!failure) judge_numbers(&look, &now, *ret_signals);
  *ret_result = result_document(&look, &now);
  *ret_memory = memory_document(&now);
  mem_free(look.order);
}
