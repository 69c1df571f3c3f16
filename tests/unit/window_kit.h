/* For tests of monitors: windows one after another, each by a monitor made anew from the state that the last one left.
 */
#ifndef ORCH_TESTS_WINDOW_KIT_H
#define ORCH_TESTS_WINDOW_KIT_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cm.h"
#include "trigger/monitor.h"

struct run {
  const char *spec, *keys, *metrics, *stream;
  struct profile *profile;
  char *state;
  int64_t number, row, warm_row;
  int64_t window_ms, from_us; /* windows by time */
  int64_t late;
  int champion;
  json_t *result, *signals; /* of the last window */
};

static inline struct profile *profile_of(const char *csv_text) {
  struct err err = {0};
  struct profile_csv *csv = profile_csv_new();
  if (!profile_csv_feed(csv, csv_text, strlen(csv_text), &err)) fail_msg("%s", err.text);
  struct profile *profile = profile_csv_finish(csv, &err);
  if (!profile) fail_msg("%s", err.text);
  profile_csv_free(csv);
  return profile;
}

static inline void run_fini(struct run *run) {
  profile_free(run->profile);
  mem_free(run->state);
  json_decref(run->result);
  json_decref(run->signals);
}

/* One window over NDJSON lines, numbered from run->row, or, by time, whichever of them lie in it. */
static inline void window_take(struct run *run, const char *body) {
  struct err err = {0};
  struct wanted wanted = {0};
  struct monitor_task task = {.spec = run->spec,
                              .state = run->state,
                              .keys = run->keys,
                              .metrics = run->metrics,
                              .profile = run->profile,
                              .champion = run->champion,
                              .number = run->number,
                              .warm_row = run->warm_row,
                              .warm_us = INT64_MIN};
  struct monitor *monitor = monitor_new(&task, &wanted, &err);
  if (!monitor) fail_msg("%s", err.text);
  struct row_parser *parser = wanted_parser(&wanted, run->stream ? run->stream : "rows", run->keys);
  int64_t rows = 0;
  for (const char *c = body; *c; c++) rows += *c == '\n';
  struct window_span span = {.from_row = run->row, .to_row = run->row + rows};
  if (run->window_ms)
    span =
        (struct window_span){.by_time = true, .from_us = run->from_us, .to_us = run->from_us + run->window_ms * 1000};
  struct window *window = window_open(monitor, &span);
  for (const char *at = body; *at; run->row++) {
    const char *newline = strchr(at, '\n');
    struct monitor_row row;
    monitor_row_read(parser, run->row, 1900000000000000, at, (size_t)(newline - at), &row);
    if (!run->window_ms || (row.at_us >= span.from_us && row.at_us < span.to_us)) window_add(window, &row);
    at = newline + 1;
  }
  json_decref(run->result);
  json_decref(run->signals);
  run->result = monitor_judge(monitor, window, run->late);
  run->signals = json_incref(monitor_signals(monitor));
  mem_free(run->state);
  char *state = json_dumps(monitor_state(monitor), JSON_COMPACT);
  run->state = mem_strdup(state);
  free(state);
  run->number++;
  run->from_us = span.to_us;
  row_parser_free(parser);
  monitor_free(monitor);
  wanted_fini(&wanted);
}

static inline const char *word(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}
static inline double real_of(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}
static inline const json_t *signal_at(const struct run *run, size_t index) {
  return json_array_get(run->signals, index);
}
static inline const json_t *detail_at(const struct run *run, size_t index) {
  return json_object_get(signal_at(run, index), "detail");
}

/* "kind status, kind status" */
static inline void signals_are(const struct run *run, const char *want) {
  char got[200] = "";
  size_t index;
  json_t *signal;
  json_array_foreach(run->signals, index, signal) {
    size_t used = strlen(got);
    snprintf(got + used, sizeof got - used, "%s%s %s", index ? ", " : "", word(signal, "kind"), word(signal, "status"));
    assert_ptr_equal(strstr(word(signal, "source"), "monitor:"), word(signal, "source"));
    assert_true(strlen(word(signal, "title")) > 0);
  }
  assert_string_equal(got, want);
}
static inline void verdict_is(const struct run *run, const char *want) {
  if (strcmp(word(run->result, "verdict"), want) != 0)
    fail_msg("%s, not %s: %s", word(run->result, "verdict"), want, word(run->result, "summary"));
}
/* Every member of a result is there, whatever the kind. */
static inline void result_is_whole(const struct run *run) {
  static const char *const keys[] = {"monitor", "kind",  "champion",  "number",    "from_row", "to_row",
                                     "from_at", "to_at", "rows",      "late",      "verdict",  "held",
                                     "summary", "value", "threshold", "oldest_at", "newest_at"};
  for (size_t i = 0; i < ARRAY_LEN(keys); i++)
    if (!json_object_get(run->result, keys[i])) fail_msg("a result without %s", keys[i]);
}

#endif
