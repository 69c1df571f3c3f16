/* The other kinds of monitors: performance on labels, estimates, latency, quality. */
#include "window_kit.h"

#include <math.h>

#define FOR "\"for\":{\"hits\":2,\"of\":3}"

static struct strbuf body;

static int begin(void **state) {
  strbuf_init(&body, 4 << 20);
  return 0;
}
static int end(void **state) {
  strbuf_fini(&body);
  return 0;
}

/* Labels as rows of their stream: one in `wrong_in` is not what was predicted. */
static void labels(struct run *run, int n, int wrong_in, const char *more) {
  strbuf_reset(&body);
  for (int i = 0; i < n; i++)
    strbuf_printf(&body,
                  "{\"id\":\"r%d\",\"row\":%d,\"at\":\"2026-01-%02dT00:00:00Z\",\"label_at\":\"2026-02-01T00:00:00Z\","
                  "\"prediction\":\"1\",\"score\":%.2f,\"label\":%s%s}\n",
                  i, 5000 + 2 * i, i % 28 + 1, i % wrong_in ? 0.9 : 0.4, i % wrong_in ? "1" : "0", more);
  window_take(run, strbuf_text(&body));
  result_is_whole(run);
}

static void accuracy_falls(void **state) {
  struct run run = {.stream = "labels",
                    .keys = "{\"prediction\":\"yhat\"}", /* rows of labels have keys of their own */
                    .metrics = "{\"accuracy\":0.93}",
                    .champion = 3,
                    .spec = "{\"name\":\"truth\",\"kind\":\"performance\",\"then\":\"propose\",\"metric\":\"accuracy\","
                            "\"min\":0.85,\"min_rows\":100," FOR "}"};
  labels(&run, 200, 20, "");
  verdict_is(&run, "ok");
  signals_are(&run, "performance resolved");
  assert_true(fabs(real_of(run.result, "value") - 0.95) < 1e-9);
  assert_true(real_of(run.result, "reference") == 0.93);
  assert_int_equal(json_integer_value(json_object_get(run.result, "labels")), 200);
  assert_int_equal(json_integer_value(json_array_get(json_object_get(run.result, "prediction_rows"), 1)), 5398);
  labels(&run, 50, 2, "");
  verdict_is(&run, "insufficient");
  signals_are(&run, "");
  labels(&run, 200, 5, "");
  verdict_is(&run, "ok");
  assert_non_null(strstr(word(run.result, "summary"), "in 1 of the 2 windows needed"));
  labels(&run, 200, 5, "");
  verdict_is(&run, "alarm");
  signals_are(&run, "performance firing");
  print_message("%s\n", word(signal_at(&run, 0), "title"));
  assert_string_equal(word(signal_at(&run, 0), "title"),
                      "accuracy is 0.8, at least 0.85 (200 labels), since row 250 (2026-01-01)");
  assert_string_equal(word(signal_at(&run, 0), "fingerprint"), "truth/performance");
  assert_true(fabs(real_of(detail_at(&run, 0), "threshold") - 0.85) < 1e-9);
  assert_string_equal(word(detail_at(&run, 0), "metric"), "accuracy");
  labels(&run, 200, 20, "");
  labels(&run, 200, 20, "");
  signals_are(&run, "performance resolved");
  /* A canary's labels are judged apart. */
  labels(&run, 200, 2, ",\"version\":4");
  verdict_is(&run, "insufficient");
  const json_t *four = json_array_get(json_object_get(run.result, "versions"), 0);
  assert_true(fabs(real_of(four, "value") - 0.5) < 1e-9);
  signals_are(&run, ""); /* nothing to compare it with */
  run_fini(&run);
}

/* Rows of the champion, 3, and of version 4, in turns: one in so many is bad. */
static void both(struct run *run, const char *good, const char *bad, int champion_bad_in, int canary_bad_in) {
  strbuf_reset(&body);
  for (int i = 0; i < 400; i++) {
    int bad_in = i % 2 ? canary_bad_in : champion_bad_in;
    strbuf_printf(&body, "{\"version\":%d,%s}\n", i % 2 ? 4 : 3, i / 2 % bad_in ? good : bad);
  }
  window_take(run, strbuf_text(&body));
  result_is_whole(run);
}

/* A version that is beyond the line while the champion is not is told, and only it. */
static void canaries(void **state) {
  static const struct {
    const char *spec, *stream, *good, *bad, *title, *kind;
  } cases[] = {
      {"{\"name\":\"m\",\"kind\":\"performance\",\"metric\":\"accuracy\",\"min\":0.85,\"min_rows\":100," FOR "}",
       "labels", "\"prediction\":1,\"label\":1", "\"prediction\":1,\"label\":0",
       "(version 3): accuracy is 0.5, at least 0.85, and the champion's 0.95, since row 400", "performance"},
      {"{\"name\":\"m\",\"kind\":\"latency\",\"quantile\":0.9,\"max_ms\":50,\"min_rows\":100," FOR "}", "rows",
       "\"latency_ms\":10", "\"latency_ms\":100", "(version 3): latency p90 is 100 ms, at most 50 ms, and", "latency"},
      {"{\"name\":\"m\",\"kind\":\"estimated_performance\",\"min\":0.8,\"min_rows\":100," FOR "}", "rows",
       "\"prediction\":1,\"score\":0.9", "\"prediction\":1,\"score\":0.55",
       "(version 3): estimated accuracy is 0.725, at least 0.8, and the champion's 0.8825", "estimate"},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct run run = {.stream = cases[i].stream, .champion = 3, .spec = cases[i].spec};
    both(&run, cases[i].good, cases[i].bad, 20, 20);
    both(&run, cases[i].good, cases[i].bad, 20, 2);
    signals_are(&run, "");
    both(&run, cases[i].good, cases[i].bad, 20, 2);
    verdict_is(&run, "ok");
    signals_are(&run, "canary firing");
    print_message("%s\n", word(signal_at(&run, 0), "title"));
    assert_non_null(strstr(word(signal_at(&run, 0), "title"), cases[i].title));
    assert_true(json_is_number(json_object_get(detail_at(&run, 0), "champion_value")));
    /* Both are bad: that is no difference, and the monitor's own business. */
    both(&run, cases[i].good, cases[i].bad, 2, 2);
    both(&run, cases[i].good, cases[i].bad, 2, 2);
    verdict_is(&run, "alarm");
    char want[60];
    snprintf(want, sizeof want, "canary resolved, %s firing", cases[i].kind);
    signals_are(&run, want);
    run_fini(&run);
  }
}

/* Something is broken in the canary's rows alone; what is broken in both is the monitor's own business. */
static void broken_canary(void **state) {
  struct run run = {.champion = 3,
                    .spec =
                        "{\"name\":\"q\",\"kind\":\"quality\",\"min_rows\":100,\"null_jump\":0.1,\"constant\":false,"
                        "\"for\":{\"hits\":1,\"of\":1}}"};
  struct strbuf csv;
  strbuf_init(&csv, 1 << 16);
  strbuf_puts(&csv, "x\n");
  for (int i = 0; i < 500; i++) strbuf_printf(&csv, "%d\n", i * 7919 % 1000);
  run.profile = profile_of(strbuf_text(&csv));
  strbuf_fini(&csv);
  both(&run, "\"x\":500", "\"x\":400", 2, 2);
  signals_are(&run, "data_fault resolved");
  both(&run, "\"x\":500", "\"x\":null", 100, 2);
  verdict_is(&run, "ok");
  signals_are(&run, "canary firing");
  print_message("%s\n", word(signal_at(&run, 0), "title"));
  assert_non_null(strstr(word(signal_at(&run, 0), "title"), "x: missing values rose from 0.0 % to 50.0 %"));
  assert_int_equal(json_array_size(json_object_get(detail_at(&run, 0), "faults")), 1);
  both(&run, "\"x\":500", "\"x\":null", 2, 2);
  verdict_is(&run, "fault");
  signals_are(&run, "canary resolved, data_fault firing");
  run_fini(&run);
}

static double metric(const char *name, const char *more, int wrong_in) {
  char spec[300];
  snprintf(spec, sizeof spec,
           "{\"name\":\"m\",\"kind\":\"performance\",\"metric\":\"%s\",\"max\":1e9,\"min_rows\":10%s," FOR "}", name,
           more);
  struct run run = {.stream = "labels", .champion = 1, .spec = spec};
  labels(&run, 200, wrong_in, "");
  double value = real_of(run.result, "value");
  run_fini(&run);
  return value;
}

static void every_metric(void **state) {
  assert_true(fabs(metric("accuracy", "", 4) - 0.75) < 1e-9);
  assert_true(fabs(metric("f1", ",\"positive\":\"1\"", 4) - 2 * 150 / 350.0) < 1e-9);
  assert_true(fabs(metric("f1", "", 4) - (2 * 150 / 350.0) / 2) < 1e-9);
  assert_true(fabs(metric("auc", "", 4) - 1) < 1e-9);
  assert_true(fabs(metric("log_loss", "", 4) - (-0.75 * log(0.9) - 0.25 * log(0.6))) < 1e-9);
  assert_true(fabs(metric("mae", "", 4) - 0.25) < 1e-9);
  assert_true(fabs(metric("rmse", "", 4) - 0.5) < 1e-9);
}

static void detectors(void **state) {
  static const char *const names[] = {"adwin", "page_hinkley"};
  for (size_t i = 0; i < 2; i++) {
    char spec[300];
    snprintf(spec, sizeof spec,
             "{\"name\":\"truth\",\"kind\":\"performance\",\"metric\":\"accuracy\",\"min\":0.1,\"min_rows\":50,"
             "\"detector\":\"%s\"," FOR "}",
             names[i]);
    struct run run = {.stream = "labels", .champion = 1, .spec = spec};
    for (int w = 0; w < 6; w++) labels(&run, 200, 50, "");
    verdict_is(&run, "ok");
    assert_false(json_is_true(json_object_get(json_object_get(run.result, "detector"), "drift")));
    int windows = 0;
    do labels(&run, 200, 2, "");
    while (strcmp(word(run.result, "verdict"), "alarm") != 0 && ++windows < 5);
    verdict_is(&run, "alarm"); /* far above min still: the detector has seen the rise */
    signals_are(&run, "performance firing");
    const json_t *detector = json_object_get(run.result, "detector");
    assert_string_equal(word(detector, "name"), names[i]);
    assert_true(json_is_true(json_object_get(detector, "drift")));
    assert_true(json_integer_value(json_object_get(detector, "row")) >= 1200);
    print_message("%s\n", word(signal_at(&run, 0), "title"));
    labels(&run, 200, 2, "");
    signals_are(&run, "performance firing"); /* as long as the error stays up */
    labels(&run, 200, 50, "");
    signals_are(&run, "performance resolved");
    for (int w = 0; w < 20; w++) labels(&run, 200, 50, "");
    assert_true(strlen(run.state) < 4000);
    run_fini(&run);
  }
}

static void estimates(void **state) {
  struct run run = {.champion = 1,
                    .metrics = "{\"accuracy\":0.9}",
                    .spec = "{\"name\":\"soon\",\"kind\":\"estimated_performance\",\"then\":\"tell\",\"metric\":"
                            "\"accuracy\",\"min\":0.8,\"min_rows\":100," FOR "}"};
  for (int w = 0; w < 3; w++) {
    strbuf_reset(&body);
    for (int i = 0; i < 200; i++)
      strbuf_printf(&body, "{\"score\":%s}\n", w ? i % 2 ? "0.6" : "0.4" : i % 2 ? "0.95" : "0.1");
    window_take(&run, strbuf_text(&body));
    result_is_whole(&run);
  }
  verdict_is(&run, "alarm");
  signals_are(&run, "estimate firing");
  assert_true(fabs(real_of(run.result, "value") - 0.6) < 1e-9);
  assert_true(json_is_true(json_object_get(run.result, "estimate")));
  assert_non_null(strstr(word(signal_at(&run, 0), "title"), "without labels"));
  run_fini(&run);
}

static void latencies(void **state) {
  struct run run = {.champion = 1,
                    .keys = "{\"latency\":\"took\"}",
                    .spec =
                        "{\"name\":\"speed\",\"kind\":\"latency\",\"then\":\"tell\",\"quantile\":0.99,\"max_ms\":200,"
                        "\"min_rows\":100," FOR "}"};
  for (int w = 0; w < 3; w++) {
    strbuf_reset(&body);
    for (int i = 0; i < 500; i++)
      strbuf_printf(&body, "{\"took\":%d,\"latency_ms\":1}\n", i % 100 == 0 || (w && i % 100 == 1) ? 400 : 50);
    window_take(&run, strbuf_text(&body));
    result_is_whole(&run);
    verdict_is(&run, w == 2 ? "alarm" : "ok");
  }
  signals_are(&run, "latency firing");
  print_message("%s\n", word(signal_at(&run, 0), "title"));
  assert_true(fabs(real_of(run.result, "value") - 400) <= 4);
  assert_true(fabs(real_of(json_object_get(run.result, "quantiles_ms"), "p50") - 50) <= 0.5);
  assert_true(real_of(json_object_get(run.result, "quantiles_ms"), "max") == 400);
  assert_true(real_of(run.result, "error_bound") == 0.01);
  run_fini(&run);
}

/* ---- quality ---- */

/* 0 .. 99.6 in no order. */
static double shuffled(int i) {
  return (double)((uint32_t)i * 2654435761u >> 8) * 997 / (1 << 24) / 10;
}

static void quality_rows(struct run *run, int n, const char *format, int every, const char *other) {
  strbuf_reset(&body);
  for (int i = 0; i < n; i++) {
    double value = shuffled(i);
    if (every && i % every == 0)
      strbuf_puts(&body, other);
    else
      strbuf_printf(&body, format, value);
    strbuf_putc(&body, '\n');
  }
  window_take(run, strbuf_text(&body));
  result_is_whole(run);
}

static const char *check(const struct run *run, size_t i) {
  return word(json_array_get(json_object_get(run->result, "faults"), i), "check");
}

static void broken_data(void **state) {
  struct run run = {.champion = 1,
                    .spec =
                        "{\"name\":\"sound\",\"kind\":\"quality\",\"then\":\"tell\",\"columns\":[],\"min_rows\":20,"
                        "\"null_jump\":0.1,\"type_share\":0.05,\"out_of_range\":0.1,\"unseen\":0.1,\"duplicates\":0.2,"
                        "\"constant\":true,\"sorted\":true,\"for\":{\"hits\":1,\"of\":1}}"};
  struct strbuf csv;
  strbuf_init(&csv, 1 << 20);
  strbuf_puts(&csv, "x,kind,id\n");
  for (int i = 0; i < 1000; i++) strbuf_printf(&csv, "%.1f,%s,%d\n", shuffled(i), i % 3 ? "a" : "b", i);
  run.profile = profile_of(strbuf_text(&csv));
  strbuf_fini(&csv);
#define GOOD "{\"x\":%.1f,\"kind\":\"a\",\"id\":7}"
  quality_rows(&run, 300, GOOD, 3, "{\"x\":3.3,\"kind\":\"b\",\"id\":7}");
  verdict_is(&run, "fault"); /* every third row is the same: repeated */
  assert_string_equal(check(&run, 0), "duplicates");
  assert_true(json_is_null(json_object_get(json_array_get(json_object_get(run.result, "faults"), 0), "column")));
  signals_are(&run, "data_fault firing");
  static const struct {
    const char *other, *check;
  } cases[] = {{"{\"kind\":\"b\"}", "missing"},
               {"{\"x\":\"many\",\"kind\":\"b\"}", "type"},
               {"{\"x\":5000,\"kind\":\"b\"}", "out_of_range"},
               {"{\"x\":3.3,\"kind\":\"z\"}", "unseen"}};
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    quality_rows(&run, 300, GOOD, 7, cases[i].other);
    print_message("%s\n", word(run.result, "summary"));
    verdict_is(&run, "fault");
    assert_string_equal(check(&run, 0), cases[i].check);
  }
  assert_string_equal(word(signal_at(&run, 0), "fingerprint"), "sound/data_fault");
  quality_rows(&run, 300, "{\"x\":%.1f,\"kind\":\"a\"}", 3, "{\"x\":12.1,\"kind\":\"b\"}");
  strbuf_reset(&body);
  for (int i = 0; i < 300; i++) strbuf_printf(&body, "{\"x\":%.2f,\"kind\":\"%s\"}\n", i / 4.0, i % 3 ? "a" : "b");
  window_take(&run, strbuf_text(&body));
  verdict_is(&run, "fault");
  assert_string_equal(check(&run, 0), "sorted");
  strbuf_reset(&body);
  for (int i = 0; i < 300; i++) strbuf_printf(&body, "{\"x\":5,\"kind\":\"%s\",\"n\":%d}\n", i % 3 ? "a" : "b", i);
  window_take(&run, strbuf_text(&body));
  assert_string_equal(check(&run, 0), "constant");
  strbuf_reset(&body);
  for (int i = 0; i < 300; i++) strbuf_printf(&body, "{\"x\":%.1f,\"kind\":\"%s\"}\n", shuffled(i), i % 3 ? "a" : "b");
  window_take(&run, strbuf_text(&body));
  verdict_is(&run, "ok");
  signals_are(&run, "data_fault resolved");
  assert_true(real_of(run.result, "value") == 0);
  run_fini(&run);
}

static void too_few_rows(void **state) {
  struct run run = {
      .champion = 1,
      .window_ms = 60000,
      .spec = "{\"name\":\"sound\",\"kind\":\"quality\",\"then\":\"tell\",\"columns\":[\"x\"],\"min_rows\":20,"
              "\"rows\":{\"min\":100,\"max\":null},\"for\":{\"hits\":1,\"of\":1}}",
      .profile = profile_of("x\n1\n2\n3\n4\n5\n6\n7\n8\n")};
  assert_true(clock_parse_rfc3339("2026-01-01T00:00:00Z", &run.from_us));
  window_take(&run, "{\"x\":1,\"at\":\"2026-01-01T00:00:03Z\"}\n");
  verdict_is(&run, "fault");
  assert_string_equal(check(&run, 0), "rows");
  assert_non_null(strstr(word(run.result, "summary"), "1 rows came, at least 100 are expected"));
  run_fini(&run);
}

static void bad_specs(void **state) {
  static const char *const specs[] = {"{\"name\":\"x\",\"kind\":\"latency\",\"quantile\":2,\"max_ms\":5}",
                                      "{\"name\":\"x\",\"kind\":\"latency\",\"quantile\":0.5}",
                                      "{\"name\":\"x\",\"kind\":\"performance\",\"metric\":\"luck\",\"min\":1}",
                                      "{\"name\":\"x\",\"kind\":\"performance\",\"min\":1}",
                                      "{\"name\":\"x\",\"kind\":\"performance\",\"metric\":\"mae\"}",
                                      "{\"name\":\"x\",\"kind\":\"estimated_performance\",\"min\":7}",
                                      "{\"name\":\"x\",\"kind\":\"quality\",\"columns\":[]}"};
  struct wanted wanted = {0};
  for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
    struct err err = {0};
    struct monitor_task task = {.spec = specs[i], .champion = 1, .warm_us = INT64_MIN};
    if (monitor_new(&task, &wanted, &err)) fail_msg("%s was taken", specs[i]);
    assert_non_null(strstr(err.text, "monitor x"));
  }
  wanted_fini(&wanted);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(accuracy_falls), cmocka_unit_test(canaries),
                                     cmocka_unit_test(broken_canary),  cmocka_unit_test(every_metric),
                                     cmocka_unit_test(detectors),      cmocka_unit_test(estimates),
                                     cmocka_unit_test(latencies),      cmocka_unit_test(broken_data),
                                     cmocka_unit_test(too_few_rows),   cmocka_unit_test(bad_specs)};
  return cmocka_run_group_tests_name("window_kinds", tests, begin, end);
}
