/* Drift monitors from rows to signals: episodes begin, repeat and resolve; faults before drift; numbers and categories;
 * other versions apart; broken rows never crash it. */
#include "window_kit.h"

#define SPEC                                                                                                           \
  "{\"name\":\"inputs\",\"kind\":\"drift\",\"then\":\"propose\",\"columns\":[\"sales\",\"inventory\",\"city\"],"       \
  "\"window\":{\"rows\":250},\"min_rows\":200,\"psi\":0.2,\"p_value\":0.001,\"for\":{\"hits\":2,\"of\":3},"            \
  "\"null_jump\":0.1,\"importance\":{\"city\":3}}"
#define ROWS 250

static const char *const cities[] = {"Austin", "Dallas", "Houston", "Waco"};

static void run_init(struct run *run) {
  struct strbuf text;
  strbuf_init(&text, 1 << 20);
  strbuf_puts(&text, "sales,inventory,city,prediction,score\n");
  for (int i = 0; i < 1000; i++)
    strbuf_printf(&text, "%d,%.2f,%s,%d,%.3f\n", i * 7919 % 1000, (i * 6007 % 1000) / 100.0, cities[i * 31 % 7 % 4],
                  i % 3 == 0, (i * 7919 % 1000) / 1000.0);
  *run = (struct run){.spec = SPEC, .champion = 1, .profile = profile_of(strbuf_text(&text))};
  strbuf_fini(&text);
}

/* What one window's rows are like. */
struct like {
  int shift;   /* of sales */
  int missing; /* rows of ten without inventory */
  const char *day, *city, *version;
};

static void put_rows(struct strbuf *body, int n, struct like like) {
  for (int i = 0; i < n; i++) {
    strbuf_printf(body, "{\"at\":\"%sT00:00:00Z\",\"sales\":%d,\"x\":\"y\",\"city\":\"%s\"", like.day,
                  i * 7919 % 1000 + like.shift, like.city ? i % 2 ? like.city : "Austin" : cities[i * 31 % 7 % 4]);
    if (like.version) strbuf_printf(body, ",\"version\":\"%s\"", like.version);
    if (i % 10 >= like.missing) strbuf_printf(body, ",\"inventory\":%.2f", (i * 6007 % 1000) / 100.0);
    strbuf_puts(body, "}\n");
  }
}

static void window(struct run *run, struct like like) {
  struct strbuf body;
  strbuf_init(&body, 1 << 20);
  put_rows(&body, ROWS, like);
  window_take(run, strbuf_text(&body));
  strbuf_fini(&body);
  result_is_whole(run);
}
#define WINDOW(run, ...) window(run, (struct like){__VA_ARGS__})

static void episodes(void **state) {
  struct run run;
  run_init(&run);
  WINDOW(&run, .day = "2003-01-15");
  verdict_is(&run, "ok");
  signals_are(&run, "data_fault resolved, drift resolved"); /* whatever fired against the champion before */
  WINDOW(&run, .day = "2003-02-15");
  signals_are(&run, "");
  WINDOW(&run, .shift = 500, .day = "2003-03-15");
  verdict_is(&run, "ok");
  signals_are(&run, "");
  assert_non_null(strstr(word(run.result, "summary"), "sales moved (PSI"));
  WINDOW(&run, .shift = 500, .day = "2003-04-15");
  verdict_is(&run, "drift");
  signals_are(&run, "drift firing");
  const json_t *signal = signal_at(&run, 0), *detail = detail_at(&run, 0);
  print_message("%s\n%s\n", word(signal, "title"), word(run.result, "summary"));
  assert_int_equal(json_integer_value(json_object_get(detail, "since_row")), 500);
  assert_string_equal(word(detail, "since_at"), "2003-03-15T00:00:00.000Z");
  assert_string_equal(word(signal, "at"), "2003-04-15T00:00:00.000Z");
  assert_string_equal(word(signal, "fingerprint"), "inputs/drift");
  assert_string_equal(word(signal, "then"), "propose");
  assert_non_null(strstr(word(signal, "title"), "sales drifted"));
  assert_non_null(strstr(word(signal, "title"), "since row 500 (2003-03-15)"));
  const json_t *column = json_array_get(json_object_get(detail, "columns"), 0);
  assert_string_equal(word(column, "name"), "sales");
  assert_string_equal(word(column, "kind"), "numeric");
  assert_string_equal(word(column, "direction"), "up");
  assert_int_equal(json_array_size(json_object_get(detail, "columns")), 1);
  assert_true(real_of(column, "psi") > 0.2);
  assert_true(real_of(run.result, "value") == real_of(column, "effect"));
  assert_true(real_of(run.result, "threshold") == 0.2);
  assert_int_equal(json_integer_value(json_object_get(column, "n_now")), ROWS);
  assert_int_equal(json_array_size(json_object_get(json_object_get(column, "quantiles"), "now")), 5);
  const json_t *histogram = json_object_get(column, "histogram");
  assert_int_equal(json_array_size(json_object_get(histogram, "edges")),
                   json_array_size(json_object_get(histogram, "now")) + 1);
  char episode[100];
  snprintf(episode, sizeof episode, "%s", word(signal, "episode"));
  assert_int_equal(strlen(episode), 71);

  WINDOW(&run, .day = "2003-05-15"); /* two of three still: the same episode again */
  signals_are(&run, "drift firing");
  assert_string_equal(word(signal_at(&run, 0), "episode"), episode);
  WINDOW(&run, .day = "2003-06-15");
  signals_are(&run, "drift resolved");
  assert_string_equal(word(signal_at(&run, 0), "episode"), episode);
  WINDOW(&run, .day = "2003-07-15");
  signals_are(&run, "");
  WINDOW(&run, .shift = 500, .day = "2003-08-15");
  WINDOW(&run, .shift = 500, .day = "2003-09-15");
  signals_are(&run, "drift firing");
  assert_string_not_equal(word(signal_at(&run, 0), "episode"), episode);
  run_fini(&run);
}

static void categories_and_importance(void **state) {
  struct run run;
  run_init(&run);
  WINDOW(&run, .shift = 200, .day = "2003-01-15", .city = "Paris");
  WINDOW(&run, .shift = 200, .day = "2003-02-15", .city = "Paris");
  signals_are(&run, "drift firing");
  const json_t *columns = json_object_get(detail_at(&run, 0), "columns");
  assert_int_equal(json_array_size(columns), 2);
  const json_t *city = json_array_get(columns, 0);
  assert_string_equal(word(city, "name"), "city"); /* weighs three times as much */
  assert_string_equal(word(city, "kind"), "categorical");
  assert_string_equal(word(city, "direction"), "categories");
  assert_true(json_is_null(json_object_get(city, "quantiles")));
  const json_t *histogram = json_object_get(city, "histogram");
  assert_int_equal(json_array_size(json_object_get(histogram, "labels")), 6); /* four, others, unseen */
  assert_true(json_number_value(json_array_get(json_object_get(histogram, "now"), 5)) == 0.5);
  assert_true(real_of(run.result, "value") > 2.9 * real_of(city, "effect"));
  assert_non_null(strstr(word(signal_at(&run, 0), "title"), "city drifted"));
  run_fini(&run);
}

static void faults(void **state) {
  struct run run;
  run_init(&run);
  WINDOW(&run, .day = "2005-01-15");
  WINDOW(&run, .missing = 4, .day = "2005-02-15");
  verdict_is(&run, "fault");
  signals_are(&run, "data_fault firing");
  assert_string_equal(word(signal_at(&run, 0), "title"),
                      "inventory broken: missing 0.0 % -> 40.0 %, since row 250 (2005-02-15)");
  assert_string_equal(word(signal_at(&run, 0), "fingerprint"), "inputs/data_fault");
  WINDOW(&run, .shift = 500, .missing = 4, .day = "2005-03-15");
  signals_are(&run, "data_fault firing");
  WINDOW(&run, .shift = 500, .missing = 4, .day = "2005-04-15"); /* told after the fault, which holds it back */
  verdict_is(&run, "fault");
  assert_true(json_is_true(json_object_get(run.result, "held")));
  signals_are(&run, "data_fault firing, drift firing");
  assert_string_equal(word(json_array_get(json_object_get(detail_at(&run, 1), "columns"), 0), "name"), "sales");
  WINDOW(&run, .missing = 4, .day = "2005-05-15");
  WINDOW(&run, .missing = 4, .day = "2005-06-15"); /* in fault nothing is resolved */
  signals_are(&run, "data_fault firing");
  WINDOW(&run, .day = "2005-07-15");
  signals_are(&run, "data_fault resolved, drift resolved");
  WINDOW(&run, .day = "2005-08-15");
  signals_are(&run, "");
  run_fini(&run);
}

static void long_episodes(void **state) {
  struct run run;
  run_init(&run);
  WINDOW(&run, .shift = 500, .day = "2003-01-15");
  WINDOW(&run, .shift = 500, .day = "2003-02-15");
  char episode[100];
  snprintf(episode, sizeof episode, "%s", word(signal_at(&run, 0), "episode"));
  for (int i = 0; i < 80; i++) {
    /* From after they came: nobody believes these times. */
    WINDOW(&run, .shift = 500, .missing = i % 5 == 4 ? 4 : 0, .day = "2999-01-15");
    size_t last = json_array_size(run.signals) - 1;
    assert_string_equal(word(signal_at(&run, last), "kind"), "drift");
    assert_string_equal(word(signal_at(&run, last), "episode"), episode);
    assert_int_equal(json_integer_value(json_object_get(detail_at(&run, last), "since_row")), 0);
    assert_string_equal(word(detail_at(&run, last), "since_at"), "2003-01-15T00:00:00.000Z");
    assert_null(json_object_get(signal_at(&run, last), "at"));
    assert_true(json_is_null(json_object_get(run.result, "newest_at")));
  }
  assert_true(strlen(run.state) < 1000);
  run_fini(&run);
}

static void new_champion_forgets(void **state) {
  struct run run;
  run_init(&run);
  WINDOW(&run, .shift = 500, .day = "2003-01-15");
  WINDOW(&run, .shift = 500, .day = "2003-02-15");
  signals_are(&run, "drift firing");
  run.champion = 2; /* the database empties the state with the promotion */
  mem_free(run.state);
  run.state = NULL;
  run.warm_row = run.row + 2 * ROWS;
  WINDOW(&run, .shift = 500, .day = "2003-03-15");
  verdict_is(&run, "warming");
  signals_are(&run, "");
  WINDOW(&run, .shift = 500, .day = "2003-03-15");
  verdict_is(&run, "warming");
  WINDOW(&run, .shift = 500, .day = "2003-03-15");
  verdict_is(&run, "ok");
  signals_are(&run, "data_fault resolved, drift resolved");
  WINDOW(&run, .shift = 500, .day = "2003-04-15");
  signals_are(&run, "drift firing");
  run_fini(&run);
}

static void versions_apart(void **state) {
  struct run run;
  struct strbuf body;
  run_init(&run);
  strbuf_init(&body, 1 << 20);
  run.champion = 3;
  put_rows(&body, 250, (struct like){.day = "2003-01-15", .version = "housing@3"});
  put_rows(&body, 250, (struct like){.day = "2003-01-15", .version = "4", .shift = 500}); /* a canary */
  put_rows(&body, 20, (struct like){.day = "2003-01-15", .version = "5", .shift = 500});
  window_take(&run, strbuf_text(&body));
  window_take(&run, strbuf_text(&body));
  verdict_is(&run, "ok"); /* the champion's rows have not moved */
  const json_t *versions = json_object_get(run.result, "versions"), *four = json_array_get(versions, 0);
  print_message("%s\n", word(run.result, "summary"));
  assert_int_equal(json_array_size(versions), 2);
  assert_int_equal(json_integer_value(json_object_get(four, "version")), 4);
  assert_int_equal(json_integer_value(json_object_get(four, "rows")), 250);
  const json_t *sales = json_array_get(json_object_get(four, "columns"), 0);
  assert_string_equal(word(sales, "name"), "sales");
  assert_string_equal(word(sales, "verdict"), "drift");
  assert_string_equal(word(json_array_get(json_object_get(four, "columns"), 1), "verdict"), "ok");
  assert_true(real_of(four, "value") > 0.2);
  assert_non_null(strstr(word(run.result, "summary"), "version 4 differs from the champion in sales"));
  assert_string_equal(word(json_array_get(json_object_get(json_array_get(versions, 1), "columns"), 0), "verdict"),
                      "insufficient");
  /* The second window of two: people are told of the canary, and of nothing else; too few rows are no canary. */
  signals_are(&run, "canary firing");
  const json_t *signal = signal_at(&run, 0), *detail = detail_at(&run, 0);
  print_message("%s\n", word(signal, "title"));
  assert_non_null(strstr(word(signal, "title"), "version 4 differs from the champion (version 3): sales (PSI "));
  assert_non_null(strstr(word(signal, "title"), ", since row 0 (2003-01-15)"));
  assert_string_equal(word(signal, "fingerprint"), "inputs/canary/4");
  assert_string_equal(word(signal, "then"), "tell");
  assert_int_equal(json_integer_value(json_object_get(detail, "version")), 4);
  assert_int_equal(json_integer_value(json_object_get(detail, "rows")), 250);
  assert_int_equal(json_array_size(json_object_get(detail, "columns")), 1);
  assert_true(real_of(detail, "value") > 0.2);
  /* More versions than are judged apart are counted, and one of them may be anybody. */
  strbuf_reset(&body);
  for (int v = 4; v < 12; v++) {
    char version[8];
    snprintf(version, sizeof version, "%d", v);
    put_rows(&body, 10, (struct like){.day = "2003-01-15", .version = version});
  }
  window_take(&run, strbuf_text(&body));
  verdict_is(&run, "insufficient");
  assert_int_equal(json_array_size(json_object_get(run.result, "versions")), 4);
  assert_int_equal(json_integer_value(json_object_get(run.result, "rows_of_more_versions")), 40);
  signals_are(&run, "");
  strbuf_fini(&body);
  run_fini(&run);
}

/* A window of the champion, 3, and of a canary, 4, of which `rows` are shifted or lose a column. */
static void beside(struct run *run, int rows, struct like like) {
  struct strbuf body;
  strbuf_init(&body, 1 << 20);
  like.day = "2003-01-15";
  put_rows(&body, 250, (struct like){.day = "2003-01-15", .version = "3"});
  like.version = "4";
  if (rows) put_rows(&body, rows, like);
  window_take(run, strbuf_text(&body));
  strbuf_fini(&body);
}

static void canary_episodes(void **state) {
  struct run run;
  run_init(&run);
  run.champion = 3;
  beside(&run, 250, (struct like){0});
  signals_are(&run, "data_fault resolved, drift resolved"); /* the first window against this champion */
  for (int i = 0; i < 3; i++) {                             /* one bad window of three is chance */
    beside(&run, 250, (struct like){.shift = i == 1 ? 500 : 0});
    signals_are(&run, "");
  }
  beside(&run, 250, (struct like){0});
  beside(&run, 250, (struct like){.shift = 500});
  beside(&run, 250, (struct like){.shift = 500});
  signals_are(&run, "canary firing");
  char episode[100];
  snprintf(episode, sizeof episode, "%s", word(signal_at(&run, 0), "episode"));
  beside(&run, 250, (struct like){0});
  signals_are(&run, "canary firing"); /* two of the last three still */
  assert_non_null(strstr(word(signal_at(&run, 0), "title"), "though not in the newest window"));
  assert_string_equal(word(signal_at(&run, 0), "episode"), episode);
  beside(&run, 20, (struct like){0}); /* too few to say anything */
  signals_are(&run, "");
  beside(&run, 250, (struct like){0});
  signals_are(&run, "canary resolved");
  assert_string_equal(word(signal_at(&run, 0), "title"), "inputs: version 4 is like the champion again");
  /* A column that goes missing is a difference too; the champion's are sound, so the data are not broken. */
  beside(&run, 250, (struct like){.missing = 2});
  beside(&run, 250, (struct like){.missing = 2});
  verdict_is(&run, "ok");
  signals_are(&run, "canary firing");
  print_message("%s\n", word(signal_at(&run, 0), "title"));
  assert_non_null(strstr(word(signal_at(&run, 0), "title"), "inventory (missing 0.0 % -> 20.0 %)"));
  /* It ends: after as many windows without a row of it as the rule looks at. */
  beside(&run, 0, (struct like){0});
  beside(&run, 0, (struct like){0});
  signals_are(&run, "");
  beside(&run, 0, (struct like){0});
  signals_are(&run, "canary resolved");
  assert_string_equal(word(signal_at(&run, 0), "title"), "inputs: version 4 answers no more");
  assert_null(strstr(run.state, "version"));
  run_fini(&run);
}

static void predictions(void **state) {
  struct run run;
  struct strbuf body;
  run_init(&run);
  run.spec = "{\"name\":\"outputs\",\"kind\":\"prediction_drift\",\"then\":\"propose\",\"columns\":[],\"min_rows\":200,"
             "\"psi\":0.2,\"p_value\":0.001,\"for\":{\"hits\":1,\"of\":1},\"null_jump\":0.1}";
  strbuf_init(&body, 1 << 20);
  for (int i = 0; i < 300; i++)
    strbuf_printf(&body, "{\"prediction\":%d,\"score\":%.3f}\n", i % 3 == 0, (i * 7919 % 1000) / 1000.0);
  window_take(&run, strbuf_text(&body));
  verdict_is(&run, "ok");
  strbuf_reset(&body);
  for (int i = 0; i < 300; i++)
    strbuf_printf(&body, "{\"prediction\":%d,\"score\":%.3f}\n", i % 3 != 0, 1 - (i * 7919 % 400) / 1000.0);
  window_take(&run, strbuf_text(&body));
  verdict_is(&run, "drift");
  signals_are(&run, "prediction_drift firing");
  assert_string_equal(word(signal_at(&run, 0), "fingerprint"), "outputs/prediction_drift");
  assert_int_equal(json_array_size(json_object_get(run.result, "columns")), 2);
  strbuf_fini(&body);
  run_fini(&run);
}

static void windows_by_time(void **state) {
  struct run run;
  struct strbuf body;
  run_init(&run);
  strbuf_init(&body, 1 << 20);
  run.window_ms = 86400000;
  assert_true(clock_parse_rfc3339("2003-01-15T00:00:00Z", &run.from_us));
  run.late = 7;
  put_rows(&body, 250, (struct like){.day = "2003-01-15"});
  put_rows(&body, 50, (struct like){.day = "2003-01-16"});
  window_take(&run, strbuf_text(&body));
  verdict_is(&run, "ok");
  result_is_whole(&run);
  assert_int_equal(json_integer_value(json_object_get(run.result, "rows")), 250);
  assert_int_equal(json_integer_value(json_object_get(run.result, "to_row")), 250);
  assert_int_equal(json_integer_value(json_object_get(run.result, "late")), 7);
  assert_string_equal(word(run.result, "from_at"), "2003-01-15T00:00:00.000Z");
  assert_string_equal(word(run.result, "to_at"), "2003-01-16T00:00:00.000Z");
  assert_ptr_equal(strstr(word(run.result, "summary"), "2003-01-15T00:00 to 2003-01-16T00:00: "),
                   word(run.result, "summary"));
  strbuf_fini(&body);
  run_fini(&run);
}

static void odd_tasks(void **state) {
  struct run run;
  struct err err = {0};
  struct wanted wanted = {0};
  run_init(&run);
  profile_free(run.profile);
  run.profile = NULL; /* nothing can be said, and that is said */
  window_take(&run, "{\"sales\":1}\nrubbish\n{\"sales\":\"\\ud800\"}\n[]\n");
  verdict_is(&run, "insufficient");
  signals_are(&run, "");
  struct monitor_task task = {.spec = SPEC, .champion = 1, .warm_us = INT64_MIN};
  struct monitor *monitor = monitor_new(&task, &wanted, &err);
  struct window_span span = {.from_row = 5, .to_row = 9};
  json_t *result = monitor_unable(monitor, &span, 3, "3 of 4 rows are there");
  assert_string_equal(word(result, "verdict"), "insufficient");
  assert_string_equal(word(result, "summary"), "3 of 4 rows are there");
  json_decref(result);
  monitor_free(monitor);
  static const char *const specs[] = {"",
                                      "[]",
                                      "{\"name\":\"x\"}",
                                      "{\"name\":\"x\",\"kind\":\"volume\"}",
                                      "{\"name\":\"x\",\"kind\":\"drift\",\"columns\":[]}",
                                      "{\"name\":\"x\",\"kind\":\"drift\",\"columns\":[1]}"};
  for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
    task.spec = specs[i];
    assert_null(monitor_new(&task, &wanted, &err));
    assert_true(strlen(err.text) > 0);
  }
  result = window_unable(&task, 1, &span, "the \"profile\" is gone");
  assert_string_equal(word(result, "summary"), "the \"profile\" is gone");
  json_decref(result);
  static const char *const states[] = {"", "7", "[]", "{\"columns\":7,\"firing\":[],\"since\":0,\"judged\":7}",
                                       "{\"columns\":{\"sales\":\"::::\"},\"firing\":{\"drift\":null}}"};
  task.spec = SPEC;
  for (size_t i = 0; i < ARRAY_LEN(states); i++) {
    task.state = states[i];
    monitor = monitor_new(&task, &wanted, &err);
    assert_non_null(monitor);
    json_decref(monitor_judge(monitor, window_open(monitor, &span), 0));
    monitor_free(monitor);
  }
  wanted_fini(&wanted);
  run_fini(&run);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(episodes),
                                     cmocka_unit_test(categories_and_importance),
                                     cmocka_unit_test(faults),
                                     cmocka_unit_test(long_episodes),
                                     cmocka_unit_test(new_champion_forgets),
                                     cmocka_unit_test(versions_apart),
                                     cmocka_unit_test(canary_episodes),
                                     cmocka_unit_test(predictions),
                                     cmocka_unit_test(windows_by_time),
                                     cmocka_unit_test(odd_tasks)};
  return cmocka_run_group_tests_name("window_drift", tests, NULL, NULL);
}
