/* Signals from outside: our own body and Alertmanager's real ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "trigger/signal_in.h"

static const char *text(const struct signal_in *in, const char *key) {
  return json_string_value(json_object_get(in->signal, key));
}

static bool parse(struct signal_in *in, const char *body, struct err *err) {
  *err = (struct err){0};
  return signal_parse(in, body, strlen(body), err);
}

static void plain_signal(void **state) {
  struct signal_in in;
  struct err err;
  assert_true(parse(&in, "{\"pipeline\":\"housing\"}", &err));
  assert_string_equal(in.pipeline, "housing");
  assert_string_equal(text(&in, "source"), "api");
  assert_string_equal(text(&in, "kind"), "external");
  assert_string_equal(text(&in, "status"), "firing");
  assert_string_equal(text(&in, "title"), "a signal from api");
  assert_string_equal(text(&in, "fingerprint"), "a signal from api");
  signal_in_fini(&in);
  assert_true(parse(&in,
                    "{\"pipeline\":\"a-1\",\"title\":\"T\",\"source\":\"s\",\"kind\":\"drift\",\"fingerprint\":\"f\","
                    "\"status\":\"resolved\",\"at\":\"2026-01-05T09:04:05Z\",\"detail\":{\"x\":[1]},\"episode\":\"e\"}",
                    &err));
  assert_string_equal(text(&in, "kind"), "drift");
  assert_string_equal(text(&in, "status"), "resolved");
  assert_string_equal(text(&in, "fingerprint"), "f");
  assert_string_equal(text(&in, "episode"), "e");
  assert_non_null(json_object_get(json_object_get(in.signal, "detail"), "x"));
  signal_in_fini(&in);
}

static void plain_refused(void **state) {
  static const struct {
    const char *body, *says;
    enum err_code code;
  } cases[] = {
      {"", "no JSON", ERR_USAGE},
      {"{", "no JSON", ERR_USAGE},
      {"{\"pipeline\":\"a\",\"pipeline\":\"b\"}", "duplicate", ERR_USAGE},
      {"[]", "object", ERR_INVALID},
      {"{}", "pipeline", ERR_INVALID},
      {"{\"pipeline\":\"../x\"}", "pipeline", ERR_INVALID},
      {"{\"pipeline\":7}", "\"pipeline\" must be a text", ERR_INVALID},
      {"{\"pipeline\":\"a\",\"kind\":\"manual\"}", "kind", ERR_INVALID},
      {"{\"pipeline\":\"a\",\"status\":\"maybe\"}", "status", ERR_INVALID},
      {"{\"pipeline\":\"a\",\"at\":\"yesterday\"}", "RFC 3339", ERR_INVALID},
      {"{\"pipeline\":\"a\",\"detail\":[]}", "detail", ERR_INVALID},
      {"{\"pipeline\":\"a\",\"source\":\"monitor:inputs\"}", "monitors", ERR_INVALID},
      {"{\"pipeline\":\"a\",\"colour\":1}", "unknown key \"colour\"", ERR_INVALID},
      {"{\"pipeline\":\"a\",\"detail\":{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}}", "nested", ERR_LIMIT},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct signal_in in = {.pipeline = "untouched"};
    struct err err;
    assert_false(parse(&in, cases[i].body, &err));
    if (!strstr(err.text, cases[i].says)) fail_msg("%s -> %s", cases[i].body, err.text);
    assert_int_equal(err.code, cases[i].code);
    assert_string_equal(in.pipeline, "untouched");
  }
}

static void long_texts(void **state) {
  struct strbuf body;
  struct signal_in in;
  struct err err;
  strbuf_init(&body, 1 << 20);
  strbuf_puts(&body, "{\"pipeline\":\"a\",\"title\":\"");
  for (int i = 0; i < 3000; i++) strbuf_puts(&body, "é");
  strbuf_puts(&body, "\"}");
  assert_true(parse(&in, strbuf_text(&body), &err));
  assert_int_equal(strlen(text(&in, "title")), 2 * SIGNAL_TITLE_MAX);
  assert_true(digest_is_text(text(&in, "fingerprint"))); /* a long identity stands by its digest */
  signal_in_fini(&in);
  strbuf_reset(&body);
  strbuf_puts(&body, "{\"pipeline\":\"a\",\"fingerprint\":\"");
  for (int i = 0; i < 300; i++) strbuf_putc(&body, 'f');
  strbuf_puts(&body, "\"}");
  assert_false(parse(&in, strbuf_text(&body), &err));
  assert_int_equal(err.code, ERR_LIMIT);
  strbuf_fini(&body);
}

static char *read_file(const char *name, size_t *ret_len) {
  char path[512];
  snprintf(path, sizeof path, TEST_DATA "/wire/%s", name);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  char *bytes = mem_alloc(1 << 16);
  *ret_len = fread(bytes, 1, (1 << 16) - 1, file);
  fclose(file);
  return bytes;
}

static struct signal_list alerts(const char *name, const char *fallback) {
  size_t len;
  CLEANUP(mem_free_p) char *bytes = read_file(name, &len);
  struct signal_list list;
  struct err err = {0};
  if (!signal_parse_alertmanager(&list, bytes, len, fallback, &err)) fail_msg("%s: %s", name, err.text);
  return list;
}

static void captured_bodies(void **state) {
  struct signal_list firing = alerts("alertmanager-real-firing.json", NULL),
                     resolved = alerts("alertmanager-real-resolved.json", NULL);
  assert_int_equal(firing.n, 1);
  const struct signal_in *a = &firing.items[0], *b = &resolved.items[0];
  assert_string_equal(a->problem, "");
  assert_string_equal(a->pipeline, "churn-retrain");
  assert_string_equal(text(a, "title"), "ModelAUCLow: AUC of churn is 0.31");
  assert_string_equal(text(a, "fingerprint"), "35774a1230e32adb");
  assert_string_equal(text(a, "status"), "firing");
  assert_string_equal(text(b, "status"), "resolved");
  assert_string_equal(text(a, "episode"), text(b, "episode"));
  assert_string_equal(text(a, "kind"), "alert");
  assert_string_equal(
      json_string_value(json_object_get(json_object_get(json_object_get(a->signal, "detail"), "labels"), "severity")),
      "page");
  signal_list_fini(&firing);
  signal_list_fini(&resolved);
}

/* The published vectors: which bodies are one episode of fingerprint 5f0d…, and which begin another. */
static void episodes(void **state) {
  static const char *const same[] = {"alertmanager_v4_firing.json", "alertmanager_v4_repeat_identical.json",
                                     "alertmanager_v4_mixed.json", "alertmanager_v4_resolved.json"};
  char first[DIGEST_TEXT_SIZE] = "";
  for (size_t i = 0; i < ARRAY_LEN(same); i++) {
    struct signal_list list = alerts(same[i], "churn");
    unsigned seen = 0;
    for (size_t j = 0; j < list.n; j++) {
      assert_string_equal(list.items[j].problem, "");
      if (strcmp(text(&list.items[j], "fingerprint"), "5f0d4c2b9a7e1d36") != 0) continue;
      seen++;
      if (!*first) snprintf(first, sizeof first, "%s", text(&list.items[j], "episode"));
      assert_string_equal(text(&list.items[j], "episode"), first);
    }
    assert_int_equal(seen, 1);
    signal_list_fini(&list);
  }
  struct signal_list again = alerts("alertmanager_v4_refire_new_episode.json", "churn");
  assert_string_not_equal(text(&again.items[0], "episode"), first);
  signal_list_fini(&again);
  char want[DIGEST_TEXT_SIZE];
  uint8_t raw[DIGEST_BYTES];
  const char *key = "alertmanager|5f0d4c2b9a7e1d36|2026-01-05T08:55:12.387Z";
  digest_bytes(key, strlen(key), raw);
  digest_to_text(raw, want);
  assert_string_equal(first, want);
}

static void each_alert_by_its_own(void **state) {
  struct signal_list mixed = alerts("alertmanager_v4_mixed.json", "churn");
  assert_int_equal(mixed.n, 2); /* the body says firing */
  assert_string_equal(text(&mixed.items[0], "status"), "firing");
  assert_string_equal(text(&mixed.items[1], "status"), "resolved");
  signal_list_fini(&mixed);
  struct signal_list cut = alerts("alertmanager_v4_truncated.json", "churn");
  assert_int_equal(cut.n, 1);
  assert_int_equal(cut.truncated, 37);
  signal_list_fini(&cut);
  struct signal_list extra = alerts("alertmanager_v4_034_extra_fields.json", "churn");
  assert_int_equal(extra.n, 2);
  signal_list_fini(&extra);
  /* Without a label and without a fallback: said, not guessed. */
  struct signal_list none = alerts("alertmanager_v4_firing.json", NULL);
  assert_null(none.items[0].signal);
  assert_non_null(strstr(none.items[0].problem, "orch_pipeline"));
  signal_list_fini(&none);
}

static void alertmanager_refused(void **state) {
  static const char *const bodies[] = {
      "", "[]", "{}", "{\"version\":\"4\"}", "{\"version\":\"5\",\"alerts\":[]}", "{\"version\":\"4\",\"alerts\":{}}"};
  for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
    struct signal_list list;
    struct err err = {0};
    assert_false(signal_parse_alertmanager(&list, bodies[i], strlen(bodies[i]), NULL, &err));
    assert_true(err.code == ERR_USAGE || err.code == ERR_INVALID);
  }
  const char *odd =
      "{\"version\":\"4\",\"commonLabels\":{\"pipeline\":\"common\"},\"alerts\":[7,{},{\"status\":\"firing\","
      "\"fingerprint\":\"f\",\"startsAt\":\"2026-01-05T08:55:12Z\"},{\"status\":\"firing\",\"fingerprint\":"
      "\"f\",\"startsAt\":\"x\",\"labels\":{\"pipeline\":\"own\"}},{\"labels\":{\"pipeline\":\"No Name\"}}]}";
  struct signal_list list;
  struct err err = {0};
  assert_true(signal_parse_alertmanager(&list, odd, strlen(odd), NULL, &err));
  assert_int_equal(list.n, 5);
  assert_true(*list.items[0].problem && *list.items[1].problem && *list.items[3].problem && *list.items[4].problem);
  assert_string_equal(list.items[2].pipeline, "common");
  assert_string_equal(text(&list.items[2], "title"), "an alert");
  assert_string_equal(list.items[3].pipeline, "own");
  signal_list_fini(&list);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_signal),        cmocka_unit_test(plain_refused), cmocka_unit_test(long_texts),
      cmocka_unit_test(captured_bodies),     cmocka_unit_test(episodes),      cmocka_unit_test(each_alert_by_its_own),
      cmocka_unit_test(alertmanager_refused)};
  return cmocka_run_group_tests_name("signal_in", tests, NULL, NULL);
}
