/* A monitor's windows from rows to signals: episodes begin, repeat and resolve; broken rows never crash it. */
#include "drift_data.h"

#include "base/clock.h"
#include "stats/profile.h"
#include "trigger/window_eval.h"

#define SPEC                                                                                                           \
  "{\"name\":\"inputs\",\"kind\":\"drift\",\"columns\":[\"sales\",\"inventory\"],\"window_rows\":250,\"min_rows\":"    \
  "200,"                                                                                                               \
  "\"psi\":0.2,\"p_value\":0.001,\"for\":{\"hits\":2,\"of\":3},\"null_jump\":0.1}"
#define ROWS 250

struct run {
  char *profile;
  size_t profile_len;
  json_t *history; /* as orch.monitor_claim() gives it: newest first */
  int64_t row;
  int champion;
  json_t *result, *signals; /* of the last window */
};

static void run_init(struct run *run) {
  struct err err = {0};
  struct strbuf text, bytes;
  strbuf_init(&text, 1 << 20);
  strbuf_init(&bytes, 1 << 20);
  strbuf_puts(&text, "sales,inventory\n");
  for (int i = 0; i < 1000; i++) strbuf_printf(&text, "%d,%.2f\n", i * 7919 % 1000, (i * 6007 % 1000) / 100.0);
  struct profile_csv *csv = profile_csv_new();
  assert_true(profile_csv_feed(csv, text.data, text.len, &err));
  struct profile *profile = profile_csv_finish(csv, &err);
  assert_non_null(profile);
  profile_encode(profile, &bytes);
  *run = (struct run){.history = json_array(), .champion = 1, .profile_len = bytes.len};
  run->profile = strbuf_take(&bytes);
  profile_free(profile);
  profile_csv_free(csv);
  strbuf_fini(&text);
}

static void run_fini(struct run *run) {
  mem_free(run->profile);
  json_decref(run->history);
  json_decref(run->result);
  json_decref(run->signals);
}

/* One window: sales shifted, `missing` rows of ten without inventory. Rows come in batches of 60 that overlap it. */
static void window(struct run *run, int shift, int missing, const char *day) {
  struct err err = {0};
  CLEANUP(mem_free_p) char *history = NULL;
  char *dumped = json_dumps(run->history, 0);
  history = mem_strdup(dumped);
  free(dumped);
  struct window_task task = {.monitor = SPEC,
                             .history = history,
                             .profile = run->profile,
                             .profile_len = run->profile_len,
                             .champion = run->champion,
                             .from_row = run->row,
                             .to_row = run->row + ROWS,
                             .now_us = 1900000000000000};
  struct window_eval *eval = window_eval_new(&task, &err);
  if (!eval) fail_msg("%s", err.text);
  struct strbuf batch;
  strbuf_init(&batch, 1 << 20);
  for (int64_t first = run->row - 10; first < run->row + ROWS; first += 60) {
    strbuf_reset(&batch);
    for (int64_t row = first; row < first + 60; row++) {
      int i = (int)((row % ROWS + ROWS) % ROWS);
      strbuf_printf(&batch, "{\"at\":\"%sT00:00:00Z\",\"sales\":%d,\"x\":\"y\"", day, i * 4 + shift);
      if (i % 10 >= missing) strbuf_printf(&batch, ",\"inventory\":%.2f", i * 4 / 100.0);
      strbuf_puts(&batch, "}\n");
    }
    window_eval_add(eval, first, batch.data, batch.len);
  }
  strbuf_fini(&batch);
  char *result, *signals;
  if (!window_eval_finish(eval, &result, &signals, &err)) fail_msg("%s", err.text);
  json_decref(run->result);
  json_decref(run->signals);
  run->result = json_loads(result, 0, NULL);
  run->signals = json_loads(signals, 0, NULL);
  mem_free(result);
  mem_free(signals);
  window_eval_free(eval);
  json_array_insert_new(run->history, 0, json_pack("{sI sO}", "from_row", (json_int_t)run->row, "result", run->result));
  run->row += ROWS;
}

static const char *word(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* "kind status, kind status" */
static void signals_are(const struct run *run, const char *want) {
  char got[200] = "";
  size_t index;
  json_t *signal;
  json_array_foreach(run->signals, index, signal) {
    size_t used = strlen(got);
    snprintf(got + used, sizeof got - used, "%s%s %s", index ? ", " : "", word(signal, "kind"), word(signal, "status"));
    assert_string_equal(word(signal, "source"), "monitor:inputs");
  }
  assert_string_equal(got, want);
}

static void episodes(void **state) {
  struct run run;
  run_init(&run);
  window(&run, 0, 0, "2003-01-15");
  assert_string_equal(word(run.result, "verdict"), "ok");
  signals_are(&run, "data_fault resolved, drift resolved"); /* whatever fired against the champion before */
  window(&run, 0, 0, "2003-02-15");
  signals_are(&run, "");
  window(&run, 500, 0, "2003-03-15");
  assert_string_equal(word(run.result, "verdict"), "ok");
  signals_are(&run, "");
  window(&run, 500, 0, "2003-04-15");
  assert_string_equal(word(run.result, "verdict"), "drift");
  signals_are(&run, "drift firing");
  const json_t *signal = json_array_get(run.signals, 0), *detail = json_object_get(signal, "detail");
  print_message("%s\n%s\n", word(signal, "title"), word(run.result, "summary"));
  assert_int_equal(json_integer_value(json_object_get(detail, "since_row")), 500);
  assert_string_equal(word(detail, "since_at"), "2003-03-15T00:00:00.000Z");
  assert_string_equal(word(signal, "at"), "2003-04-15T00:00:00.000Z");
  assert_string_equal(word(signal, "fingerprint"), "inputs/drift");
  assert_non_null(strstr(word(signal, "title"), "sales drifted"));
  assert_non_null(strstr(word(signal, "title"), "since row 500 (2003-03-15)"));
  const json_t *column = json_array_get(json_object_get(detail, "columns"), 0);
  assert_string_equal(word(column, "name"), "sales");
  assert_int_equal(json_array_size(json_object_get(detail, "columns")), 1);
  assert_true(json_number_value(json_object_get(column, "psi")) > 0.2);
  assert_int_equal(json_integer_value(json_object_get(column, "n_now")), ROWS);
  assert_int_equal(json_array_size(json_object_get(json_object_get(column, "quantiles"), "now")), 5);
  char episode[100];
  snprintf(episode, sizeof episode, "%s", word(signal, "episode"));
  assert_int_equal(strlen(episode), 71);

  window(&run, 0, 0, "2003-05-15"); /* two of three still: the same episode again */
  signals_are(&run, "drift firing");
  assert_string_equal(word(json_array_get(run.signals, 0), "episode"), episode);
  window(&run, 0, 0, "2003-06-15");
  signals_are(&run, "drift resolved");
  assert_string_equal(word(json_array_get(run.signals, 0), "episode"), episode);
  window(&run, 0, 0, "2003-07-15");
  signals_are(&run, "");
  window(&run, 500, 0, "2003-08-15");
  window(&run, 500, 0, "2003-09-15");
  signals_are(&run, "drift firing");
  assert_string_not_equal(word(json_array_get(run.signals, 0), "episode"), episode);
  run_fini(&run);
}

static void faults(void **state) {
  struct run run;
  run_init(&run);
  window(&run, 0, 0, "2005-01-15");
  window(&run, 0, 4, "2005-02-15");
  assert_string_equal(word(run.result, "verdict"), "fault");
  signals_are(&run, "data_fault firing");
  const json_t *signal = json_array_get(run.signals, 0);
  assert_string_equal(word(signal, "title"), "inventory broken: missing 0.0 % -> 40.0 %, since row 250 (2005-02-15)");
  assert_string_equal(word(signal, "fingerprint"), "inputs/fault");
  window(&run, 500, 4, "2005-03-15");
  signals_are(&run, "data_fault firing");
  window(&run, 500, 4, "2005-04-15"); /* sales drift now: told after the fault, which holds it back */
  assert_string_equal(word(run.result, "verdict"), "fault");
  assert_true(json_is_true(json_object_get(run.result, "held")));
  signals_are(&run, "data_fault firing, drift firing");
  assert_string_equal(
      word(json_array_get(json_object_get(json_object_get(json_array_get(run.signals, 1), "detail"), "columns"), 0),
           "name"),
      "sales");
  window(&run, 0, 4, "2005-05-15");
  window(&run, 0, 4, "2005-06-15"); /* in fault nothing is resolved */
  signals_are(&run, "data_fault firing");
  window(&run, 0, 0, "2005-07-15");
  signals_are(&run, "data_fault resolved, drift resolved");
  window(&run, 0, 0, "2005-08-15");
  signals_are(&run, "");
  run_fini(&run);
}

/* What the first window said is carried on, also when the history that comes back no longer reaches it. */
static void long_episodes(void **state) {
  struct run run;
  run_init(&run);
  window(&run, 500, 0, "2003-01-15");
  window(&run, 500, 0, "2003-02-15");
  char episode[100];
  snprintf(episode, sizeof episode, "%s", word(json_array_get(run.signals, 0), "episode"));
  for (int i = 0; i < 12; i++) {
    while (json_array_size(run.history) > 4) json_array_remove(run.history, json_array_size(run.history) - 1);
    window(&run, 500, i % 5 == 4 ? 4 : 0, "2999-01-15"); /* from after "now": nobody believes these times */
    const json_t *signal = json_array_get(run.signals, json_array_size(run.signals) - 1);
    assert_string_equal(word(signal, "kind"), "drift");
    assert_string_equal(word(signal, "episode"), episode);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(signal, "detail"), "since_row")), 0);
    assert_null(json_object_get(signal, "at"));
    assert_null(json_object_get(run.result, "newest_at"));
  }
  run_fini(&run);
}

static void new_champion_forgets(void **state) {
  struct run run;
  run_init(&run);
  window(&run, 500, 0, "2003-01-15");
  window(&run, 500, 0, "2003-02-15");
  signals_are(&run, "drift firing");
  run.champion = 2; /* the history of version 1 says nothing about version 2 */
  window(&run, 500, 0, "2003-03-15");
  assert_string_equal(word(run.result, "verdict"), "ok");
  signals_are(&run, "data_fault resolved, drift resolved");
  window(&run, 500, 0, "2003-04-15");
  signals_are(&run, "drift firing");
  run_fini(&run);
}

static void odd_tasks(void **state) {
  struct run run;
  struct err err = {0};
  char *result = NULL, *signals = NULL;
  run_init(&run);
  struct window_task task = {.monitor = SPEC, .to_row = 3};
  /* No profile at all: nothing can be said, and that is said. */
  struct window_eval *eval = window_eval_new(&task, &err);
  window_eval_add(eval, 0, "{\"sales\":1}\n{\"sales\":1}\nrubbish\n{\"sales\":2}\n", 44);
  assert_int_equal(window_eval_rows(eval), 3);
  assert_true(window_eval_finish(eval, &result, &signals, &err));
  json_t *doc = json_loads(result, 0, NULL);
  assert_string_equal(word(doc, "verdict"), "insufficient");
  assert_string_equal(signals, "[]");
  json_decref(doc);
  mem_free(result);
  mem_free(signals);
  window_eval_free(eval);
  /* Rows that are gone. */
  eval = window_eval_new(&task, &err);
  window_eval_add(eval, 0, "{\"sales\":1}\n", 12);
  assert_false(window_eval_finish(eval, &result, &signals, &err));
  assert_non_null(strstr(err.text, "came with 1 rows"));
  window_eval_free(eval);
  result = window_eval_unable(&task, "the \"profile\" is gone");
  doc = json_loads(result, 0, NULL);
  assert_string_equal(word(doc, "verdict"), "insufficient");
  assert_string_equal(word(doc, "summary"), "the \"profile\" is gone");
  json_decref(doc);
  mem_free(result);
  static const char *const specs[] = {"", "[]", "{\"name\":\"x\"}", "{\"name\":\"x\",\"columns\":[]}",
                                      "{\"name\":\"x\",\"columns\":[1]}"};
  for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
    task.monitor = specs[i];
    assert_null(window_eval_new(&task, &err));
  }
  task.monitor = SPEC;
  task.history = "{}";
  assert_null(window_eval_new(&task, &err));
  task.history = "[null,7,{},{\"from_row\":-5,\"result\":{\"columns\":7,\"state\":[]}},{\"from_row\":-9}]";
  eval = window_eval_new(&task, &err);
  assert_non_null(eval);
  window_eval_add(eval, -2, "{\"a\":1}\n{\"a\":1}\n{\"a\":1}\n{\"a\":1}\n{\"a\":1}\n{\"a\":1}\n", 48);
  assert_int_equal(window_eval_rows(eval), 3);
  assert_true(window_eval_finish(eval, &result, &signals, &err));
  mem_free(result);
  mem_free(signals);
  window_eval_free(eval);
  task.profile = "ORCHPROFxxxx";
  task.profile_len = 12;
  assert_null(window_eval_new(&task, &err));
  run_fini(&run);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(episodes), cmocka_unit_test(faults),
                                     cmocka_unit_test(long_episodes), cmocka_unit_test(new_champion_forgets),
                                     cmocka_unit_test(odd_tasks)};
  return cmocka_run_group_tests_name("window_eval", tests, NULL, NULL);
}
