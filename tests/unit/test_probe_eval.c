/* A look at another system, judged: conditions, patience, memory, words; and Prometheus' answers. */
#include "cm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "trigger/probe_eval.h"

#define MINUTE ((int64_t)60000000)
#define T0 ((int64_t)1767603600000000) /* 2026-01-05T09:00:00Z */

/* ---- Prometheus' answers ---- */

static bool read_sample(const char *name, struct probe_answer *answer, struct err *err) {
  char path[512], bytes[1 << 14];
  snprintf(path, sizeof path, TEST_DATA "/wire/prometheus/%s", name);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  size_t len = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  probe_answer_init(answer);
  return probe_read_prometheus(answer, bytes, len, err);
}

static void answers_of_prometheus(void **state) {
  struct probe_answer answer;
  struct err err = {0};
  assert_true(read_sample("instant_query_response.json", &answer, &err));
  assert_int_equal(answer.n, 2);
  assert_true(answer.numbers[0].value == 0.31);
  assert_true(isnan(answer.numbers[1].value));
  assert_string_equal(answer.numbers[0].name, "model=\"churn-classifier\", feature=\"tenure_months\"");
  probe_answer_fini(&answer);
  assert_true(read_sample("scalar_response.json", &answer, &err));
  assert_int_equal(answer.n, 1);
  assert_true(isinf(answer.numbers[0].value) && answer.numbers[0].value > 0);
  probe_answer_fini(&answer);
  assert_true(read_sample("instant_query_empty.json", &answer, &err));
  assert_int_equal(answer.n, 0);
  probe_answer_fini(&answer);
  assert_true(read_sample("warning_response.json", &answer, &err));
  assert_string_equal(answer.warning, "PromQL warning: remote read failed");
  probe_answer_fini(&answer);
  assert_false(read_sample("error_response.json", &answer, &err));
  assert_non_null(strstr(err.text, "bad_data: invalid parameter"));
  probe_answer_fini(&answer);
  assert_false(read_sample("range_query_response.json", &answer, &err));
  assert_non_null(strstr(err.text, "a vector or a scalar is needed"));
  probe_answer_fini(&answer);
}

static void answers_that_are_none(void **state) {
  static const char *const bodies[] = {
      "",
      "[]",
      "{}",
      "<html>502</html>",
      "{\"status\":\"success\"}",
      "{\"status\":\"success\",\"data\":{\"result\":[1]}}",
      "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"value\":[1]}]}}",
      "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"value\":[1,\"many\"]}]}}"};
  for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
    struct probe_answer answer;
    struct err err = {0};
    probe_answer_init(&answer);
    if (probe_read_prometheus(&answer, bodies[i], strlen(bodies[i]), &err)) fail_msg("%s was taken", bodies[i]);
    assert_true(*err.text);
    probe_answer_fini(&answer);
  }
}

static void too_many_numbers(void **state) {
  struct probe_answer answer;
  struct err err = {0};
  probe_answer_init(&answer);
  for (int i = 0; i < PROBE_SERIES_MAX; i++) assert_true(probe_answer_add(&answer, "x", i, &err));
  assert_false(probe_answer_add(&answer, "x", 1, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  probe_answer_fini(&answer);
}

static void names_are_bounded_and_safe(void **state) {
  struct probe_answer answer;
  struct err err = {0};
  char name[1000];
  for (size_t i = 0; i + 1 < sizeof name; i += 2) memcpy(name + i, "é", 2);
  name[998] = 0;
  probe_answer_init(&answer);
  assert_true(probe_answer_add(&answer, name, 1, &err));
  assert_int_equal(strlen(answer.numbers[0].name), PROBE_NAME_MAX);
  assert_true(probe_answer_add(&answer, "a\x1b[2J\n", 1, &err));
  assert_string_equal(answer.numbers[1].name, "a?[2J?");
  probe_answer_fini(&answer);
}

/* ---- judging ---- */

struct world {
  json_t *spec, *memory, *result, *signals;
};

static struct world begin(const char *spec) {
  return (struct world){.spec = json_loads(spec, 0, NULL), .memory = json_object()};
}
static void look(struct world *w, int64_t at_us, const double *values, size_t n, const char *failure) {
  static const char *const names[] = {"a", "b", "c"};
  struct probe_answer answer;
  struct err err = {0};
  json_t *memory;
  json_decref(w->result);
  json_decref(w->signals);
  probe_answer_init(&answer);
  for (size_t i = 0; i < n; i++) assert_true(probe_answer_add(&answer, names[i], values[i], &err));
  probe_judge(w->spec, w->memory, failure ? NULL : &answer, failure, at_us, &w->result, &memory, &w->signals);
  json_decref(w->memory);
  w->memory = memory;
  probe_answer_fini(&answer);
}
#define LOOK(w, minute, ...)                                                                                           \
  look((w), T0 + (minute)*MINUTE, (const double[]){__VA_ARGS__},                                                       \
       sizeof((const double[]){__VA_ARGS__}) / sizeof(double), NULL)
static void end(struct world *w) {
  json_decref(w->spec);
  json_decref(w->memory);
  json_decref(w->result);
  json_decref(w->signals);
}
static const char *verdict(const struct world *w) {
  return json_string_value(json_object_get(w->result, "verdict"));
}
static const char *said(const struct world *w, size_t i, const char *key) {
  const char *text = json_string_value(json_object_get(json_array_get(w->signals, i), key));
  return text ? text : "";
}

#define ERRORS                                                                                                         \
  "{\"name\":\"errors\",\"kind\":\"prometheus\",\"query\":\"q\",\"above\":0.01,\"for_ms\":600000,\"then\":"            \
  "\"propose\"}"

static void fires_when_it_has_held_for_long_enough(void **state) {
  struct world w = begin(ERRORS);
  LOOK(&w, 0, 0.001);
  assert_string_equal(verdict(&w), "ok");
  LOOK(&w, 1, 0.02, 0.03);
  assert_string_equal(verdict(&w), "ok");
  assert_int_equal(json_array_size(w.signals), 0);
  assert_non_null(strstr(json_string_value(json_object_get(w.result, "summary")), "fires after 600 s"));
  LOOK(&w, 10, 0.02);
  assert_int_equal(json_array_size(w.signals), 0);
  LOOK(&w, 11, 0.03, 0.001, 0.02);
  assert_string_equal(verdict(&w), "alarm");
  assert_string_equal(said(&w, 0, "status"), "firing");
  assert_string_equal(said(&w, 0, "kind"), "alert");
  assert_string_equal(said(&w, 0, "then"), "propose");
  assert_string_equal(said(&w, 0, "source"), "monitor:errors");
  assert_string_equal(said(&w, 0, "fingerprint"), "errors/alert");
  assert_string_equal(said(&w, 0, "title"), "errors: a: 0.03 is above 0.01 since 2026-01-05T09:01:00Z; and 1 more");
  char *episode = mem_strdup(said(&w, 0, "episode"));
  LOOK(&w, 12, 0.05);
  assert_string_equal(said(&w, 0, "episode"), episode); /* the same one goes on */
  LOOK(&w, 13, 0.01);                                   /* not above */
  assert_string_equal(verdict(&w), "ok");
  assert_string_equal(said(&w, 0, "status"), "resolved");
  LOOK(&w, 14, 0.02);
  LOOK(&w, 24, 0.02);
  assert_string_not_equal(said(&w, 0, "episode"), episode);
  mem_free(episode);
  end(&w);
}

static void a_dip_begins_the_wait_anew(void **state) {
  struct world w = begin(ERRORS);
  LOOK(&w, 0, 0.02);
  LOOK(&w, 9, 0.0);
  LOOK(&w, 10, 0.02);
  LOOK(&w, 19, 0.02);
  assert_int_equal(json_array_size(w.signals), 0);
  LOOK(&w, 20, 0.02);
  assert_int_equal(json_array_size(w.signals), 1);
  end(&w);
}

static void below_and_at_once(void **state) {
  struct world w =
      begin("{\"name\":\"rows\",\"kind\":\"sql\",\"query\":\"q\",\"below\":100,\"for_ms\":0,\"then\":\"tell\"}");
  LOOK(&w, 0, 100);
  assert_string_equal(verdict(&w), "ok");
  LOOK(&w, 1, 250, 7, 99);
  assert_string_equal(verdict(&w), "alarm");
  assert_string_equal(said(&w, 0, "title"), "rows: b: 7 is below 100 since 2026-01-05T09:01:00Z; and 1 more");
  assert_string_equal(said(&w, 0, "then"), "tell");
  assert_true(json_number_value(json_object_get(w.result, "value")) == 7);
  end(&w);
}

/* What says nothing changes nothing: neither fires nor resolves. */
static void silence_is_no_answer(void **state) {
  struct world w = begin(ERRORS);
  LOOK(&w, 0, 0.02);
  LOOK(&w, 10, 0.02);
  assert_string_equal(verdict(&w), "alarm");
  LOOK(&w, 11, NAN);
  assert_string_equal(verdict(&w), "insufficient");
  assert_int_equal(json_array_size(w.signals), 0);
  look(&w, T0 + 12 * MINUTE, NULL, 0, NULL);
  assert_string_equal(verdict(&w), "insufficient");
  look(&w, T0 + 13 * MINUTE, NULL, 0, "no route to host");
  assert_string_equal(verdict(&w), "insufficient");
  assert_int_equal(json_array_size(w.signals), 0);
  LOOK(&w, 14, 0.02);
  assert_string_equal(verdict(&w), "alarm");
  assert_string_equal(said(&w, 0, "title"), "errors: a: 0.02 is above 0.01 since 2026-01-05T09:00:00Z");
  end(&w);
}

static void people_are_told_when_nobody_answers(void **state) {
  struct world w = begin(ERRORS);
  for (int i = 0; i < PROBE_PATIENCE - 1; i++) look(&w, T0 + i * MINUTE, NULL, 0, "connection refused");
  assert_int_equal(json_array_size(w.signals), 0);
  look(&w, T0 + 9 * MINUTE, NULL, 0, "connection refused");
  assert_int_equal(json_array_size(w.signals), 1);
  assert_string_equal(said(&w, 0, "fingerprint"), "errors/unreachable");
  assert_string_equal(said(&w, 0, "then"), "tell");
  assert_string_equal(said(&w, 0, "title"), "errors: connection refused");
  LOOK(&w, 10, 0.0);
  assert_string_equal(said(&w, 0, "fingerprint"), "errors/unreachable");
  assert_string_equal(said(&w, 0, "status"), "resolved");
  LOOK(&w, 11, 0.0);
  assert_int_equal(json_array_size(w.signals), 0);
  end(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(answers_of_prometheus),
                                     cmocka_unit_test(answers_that_are_none),
                                     cmocka_unit_test(too_many_numbers),
                                     cmocka_unit_test(names_are_bounded_and_safe),
                                     cmocka_unit_test(fires_when_it_has_held_for_long_enough),
                                     cmocka_unit_test(a_dip_begins_the_wait_anew),
                                     cmocka_unit_test(below_and_at_once),
                                     cmocka_unit_test(silence_is_no_answer),
                                     cmocka_unit_test(people_are_told_when_nobody_answers)};
  return cmocka_run_group_tests_name("probe_eval", tests, NULL, NULL);
}
