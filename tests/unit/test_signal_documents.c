/* Documents of other tools as signals: Grafana, CloudEvents in three modes, Evidently, NannyML, and those that are
 * none. */
#include "cm.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "trigger/signal_in.h"

static char *sample(const char *name, size_t *ret_len) {
  char path[512];
  snprintf(path, sizeof path, TEST_DATA "/wire/alerts/%s", name);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  char *bytes = mem_alloc(1 << 16);
  *ret_len = fread(bytes, 1, (1 << 16) - 1, file);
  fclose(file);
  return bytes;
}

typedef bool parser(struct signal_list *ret, const char *body, size_t len, const char *pipeline, struct err *err);

static struct signal_list parse(const char *name, parser *parse_it, const char *pipeline) {
  size_t len;
  CLEANUP(mem_free_p) char *bytes = sample(name, &len);
  struct signal_list list;
  struct err err = {0};
  if (!parse_it(&list, bytes, len, pipeline, &err)) fail_msg("%s: %s", name, err.text);
  return list;
}

static const char *text(const struct signal_in *in, const char *key) {
  const char *value = json_string_value(json_object_get(in->signal, key));
  return value ? value : "";
}

static bool one_event(struct signal_list *ret, const char *body, size_t len, const char *pipeline, struct err *err) {
  return signal_parse_cloudevents(ret, body, len, false, pipeline, err);
}
static bool batch(struct signal_list *ret, const char *body, size_t len, const char *pipeline, struct err *err) {
  return signal_parse_cloudevents(ret, body, len, true, pipeline, err);
}

static void grafana(void **state) {
  struct signal_list firing = parse("grafana_firing.json", signal_parse_grafana, "churn"),
                     bytes = parse("grafana_firing.body.json", signal_parse_grafana, "churn"),
                     resolved = parse("grafana_resolved.json", signal_parse_grafana, "churn"),
                     no_data = parse("grafana_nodata.json", signal_parse_grafana, "churn");
  assert_int_equal(firing.n, 1);
  assert_int_equal(bytes.n, 1);
  const struct signal_in *a = &firing.items[0], *b = &resolved.items[0], *c = &no_data.items[0];
  assert_string_equal(a->pipeline, "churn");
  assert_string_equal(text(a, "source"), "grafana");
  assert_string_equal(text(a, "kind"), "alert");
  assert_string_equal(text(a, "title"), "Feature drift: PSI above threshold");
  assert_string_equal(text(a, "then"), "");
  assert_string_equal(text(b, "status"), "resolved");
  assert_string_equal(text(a, "episode"), text(b, "episode"));
  /* No data says nothing about the model: told, and no reason to retrain. */
  assert_string_equal(text(c, "kind"), "volume");
  assert_string_equal(text(c, "then"), "tell");
  signal_list_fini(&firing);
  signal_list_fini(&bytes);
  signal_list_fini(&resolved);
  signal_list_fini(&no_data);
  /* Each address takes its own tool's documents only. */
  size_t len;
  CLEANUP(mem_free_p) char *body = sample("grafana_firing.json", &len);
  struct signal_list list;
  struct err err = {0};
  assert_false(signal_parse_alertmanager(&list, body, len, "churn", &err));
  assert_non_null(strstr(err.text, "version \"1\""));
}

static void check_event(const struct signal_in *in, const char *subject) {
  char title[200];
  snprintf(title, sizeof title, "com.example.ml.drift.detected %s: psi 0.31 (threshold 0.2)", subject);
  assert_string_equal(in->problem, "");
  assert_string_equal(in->pipeline, "churn");
  assert_string_equal(text(in, "source"), "cloudevents");
  assert_string_equal(text(in, "kind"), "external");
  assert_string_equal(text(in, "status"), "firing");
  assert_string_equal(text(in, "title"), title);
  assert_string_equal(text(in, "at"), "2026-01-05T08:55:00Z");
  assert_true(digest_is_text(in->delivery));
}

static void cloudevents(void **state) {
  struct signal_list one = parse("cloudevent_structured.json", one_event, "churn"),
                     two = parse("cloudevent_batch.json", batch, "churn"),
                     raw = parse("cloudevent_structured_base64.json", one_event, "churn");
  check_event(&one.items[0], "feature/tenure_months");
  assert_int_equal(two.n, 2);
  check_event(&two.items[0], "feature/tenure_months");
  check_event(&two.items[1], "feature/monthly_charges");
  /* The same event in either mode is one delivery of one signal; another subject is another signal. */
  assert_string_equal(one.items[0].delivery, two.items[0].delivery);
  assert_string_equal(text(&one.items[0], "fingerprint"), text(&two.items[0], "fingerprint"));
  assert_string_not_equal(text(&two.items[0], "fingerprint"), text(&two.items[1], "fingerprint"));
  assert_string_equal(text(&raw.items[0], "title"), "com.example.ml.drift.detected feature/tenure_months");
  assert_string_equal(json_string_value(json_object_get(json_object_get(raw.items[0].signal, "detail"), "data_base64")),
                      "AAECAwQF");
  signal_list_fini(&one);
  signal_list_fini(&two);
  signal_list_fini(&raw);
}

static void cloudevent_says_more(void **state) {
  const char *body =
      "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"pipeline\":\"own\",\"data\":"
      "{\"kind\":\"data_fault\",\"status\":\"resolved\",\"title\":\"whole again\"}}";
  struct signal_list list;
  struct err err = {0};
  assert_true(signal_parse_cloudevents(&list, body, strlen(body), false, NULL, &err));
  assert_string_equal(list.items[0].pipeline, "own");
  assert_string_equal(text(&list.items[0], "kind"), "data_fault");
  assert_string_equal(text(&list.items[0], "status"), "resolved");
  assert_string_equal(text(&list.items[0], "title"), "whole again");
  signal_list_fini(&list);
  body = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"x.recovered\",\"data\":{\"orch_pipeline\":"
         "\"p\"}}";
  assert_true(signal_parse_cloudevents(&list, body, strlen(body), false, NULL, &err));
  assert_string_equal(list.items[0].pipeline, "p");
  assert_string_equal(text(&list.items[0], "status"), "resolved");
  signal_list_fini(&list);
}

static void cloudevents_refused(void **state) {
  static const struct {
    const char *body, *says;
  } cases[] = {
      {"{}", "specversion"},
      {"{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}", "1.0 is known"},
      {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\"}", "attribute type"},
      {"{\"specversion\":\"1.0\",\"id\":\"\",\"source\":\"s\",\"type\":\"t\"}", "attribute id"},
      {"{\"specversion\":\"1.0\",\"id\":1,\"source\":\"s\",\"type\":\"t\"}", "attribute id"},
      {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}", "pipeline"},
      {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"pipeline\":\"No Name\"}",
       "no pipeline's name"},
      {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"pipeline\":\"p\",\"time\":\"now\"}",
       "time"},
      {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"pipeline\":\"p\",\"data\":{\"status\":"
       "\"odd\"}}",
       "data.status"},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct signal_list list;
    struct err err = {0};
    assert_true(signal_parse_cloudevents(&list, cases[i].body, strlen(cases[i].body), false, NULL, &err));
    assert_null(list.items[0].signal);
    if (!strstr(list.items[0].problem, cases[i].says)) fail_msg("%s -> %s", cases[i].body, list.items[0].problem);
    signal_list_fini(&list);
  }
  struct signal_list list;
  struct err err = {0};
  assert_false(signal_parse_cloudevents(&list, "[]", 2, true, "p", &err));
  assert_false(signal_parse_cloudevents(&list, "[]", 2, false, "p", &err));
  assert_false(signal_parse_cloudevents(&list, "{}", 2, true, "p", &err));
}

/* The sample as a program reads it: head and body of one HTTP request. */
static void binary_sample(void **state) {
  size_t len;
  CLEANUP(mem_free_p) char *request = sample("cloudevent_binary.http.txt", &len);
  char *body = strstr(request, "\n\n"), *crlf = strstr(request, "\r\n\r\n");
  if (crlf) body = crlf + 2;
  assert_non_null(body);
  struct signal_header headers[16];
  size_t n = 0;
  const char *type = NULL;
  *body = 0;
  body += 2;
  for (char *line = strchr(request, '\n'); line && n < 16; line = strchr(line, '\n')) {
    *line++ = 0;
    char *colon = strstr(line, ": "), *end = strpbrk(line, "\r\n");
    if (!colon) break;
    *colon = 0;
    headers[n] = (struct signal_header){line, colon + 2};
    if (strcmp(line, "Content-Type") == 0) type = "application/json";
    line = colon + 2;
    if (!end) n++;
    if (!end) break;
    if (*end == '\r') *end++ = 0;
    n++;
    line = end;
  }
  struct signal_list list;
  struct err err = {0};
  if (!signal_parse_cloudevent_binary(&list, headers, n, type, body, strlen(body), "churn", &err))
    fail_msg("%s", err.text);
  check_event(&list.items[0], "feature/durée (mois)");
  signal_list_fini(&list);
}

/* The vectors of the CloudEvents specification, HTTP protocol binding 3.1.3.2. */
static void header_values(void **state) {
  static const struct {
    const char *in, *out;
  } cases[] = {{"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"},
               {"\"Euro%20x\"", "Euro x"},
               {"a%2520b", "a%20b"},
               {"%e2%82%ac", "€"},
               {"\"say \\\"hi\\\"\"", "say \"hi\""},
               {"%C0%A0", NULL},
               {"%", NULL},
               {"%4", NULL},
               {"%zz", NULL},
               {"a%00b", NULL}};
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    const struct signal_header headers[] = {{"ce-specversion", "1.0"},   {"CE-Id", "1"},
                                            {"ce-source", "s"},          {"ce-type", "t"},
                                            {"ce-subject", cases[i].in}, {"Host", "%zz"}};
    struct signal_list list;
    struct err err = {0};
    bool taken = signal_parse_cloudevent_binary(&list, headers, ARRAY_LEN(headers), NULL, "", 0, "p", &err);
    assert_int_equal(taken, cases[i].out != NULL);
    if (!taken) continue;
    char title[100];
    snprintf(title, sizeof title, "t %s", cases[i].out);
    assert_string_equal(text(&list.items[0], "title"), title);
    signal_list_fini(&list);
  }
}

static const char *column_of(const struct signal_in *in) {
  const json_t *columns = json_object_get(json_object_get(in->signal, "detail"), "columns");
  const char *name = json_string_value(json_object_get(json_array_get(columns, 0), "name"));
  return name ? name : "";
}

static void evidently(void **state) {
  struct signal_list list = parse("evidently_snapshot_dict.json", signal_parse_evidently, "churn");
  assert_int_equal(list.n, 1);
  const struct signal_in *in = &list.items[0];
  assert_string_equal(text(in, "kind"), "drift");
  assert_string_equal(text(in, "status"), "firing");
  assert_string_equal(text(in, "fingerprint"), "ValueDrift/tenure_months");
  assert_string_equal(text(in, "title"), "Value drift in tenure_months: Less 0.200: Actual value 0.310 >= 0.200");
  assert_string_equal(column_of(in), "tenure_months");
  signal_list_fini(&list);

  static const struct {
    const char *metric, *kind, *status;
  } cases[] = {
      /* without tests a drift metric is judged by its own threshold: p-values below it, distances from it on */
      {"{\"type\":\"evidently:metric_v2:ValueDrift\",\"column\":\"a\",\"method\":\"ks\",\"threshold\":0.05},\"value\":"
       "0.01",
       "drift", "firing"},
      {"{\"type\":\"evidently:metric_v2:ValueDrift\",\"column\":\"a\",\"method\":\"ks\",\"threshold\":0.05},\"value\":"
       "0.31",
       "drift", "resolved"},
      {"{\"type\":\"evidently:metric_v2:ValueDrift\",\"column\":\"a\",\"method\":\"psi\",\"threshold\":0.2},\"value\":"
       "0.2",
       "drift", "firing"},
      {"{\"type\":\"evidently:metric_v2:DriftedColumnsCount\",\"drift_share\":0.5},\"value\":{\"count\":3,\"share\":0."
       "25}",
       "drift", "resolved"},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    CLEANUP(mem_free_p) char *body = mem_printf("{\"metrics\":[{\"id\":\"1\",\"config\":%s}]}", cases[i].metric);
    struct err err = {0};
    if (!signal_parse_evidently(&list, body, strlen(body), "p", &err)) fail_msg("%s: %s", body, err.text);
    assert_int_equal(list.n, 1);
    assert_string_equal(text(&list.items[0], "kind"), cases[i].kind);
    if (strcmp(text(&list.items[0], "status"), cases[i].status) != 0)
      fail_msg("%s: %s", body, text(&list.items[0], "status"));
    signal_list_fini(&list);
  }
  const char *body =
      "{\"metrics\":[{\"id\":\"m\",\"config\":{\"type\":\"evidently:metric_v2:MissingValueCount\",\"column\":\"b\"}}],"
      "\"tests\":[{\"name\":\"t\",\"status\":\"SUCCESS\",\"metric_config\":{\"metric_id\":\"m\"}},"
      "{\"name\":\"broken\",\"status\":\"ERROR\"}]}";
  struct err err = {0};
  assert_true(signal_parse_evidently(&list, body, strlen(body), "p", &err));
  assert_int_equal(list.n, 2);
  assert_string_equal(text(&list.items[0], "kind"), "data_fault");
  assert_string_equal(text(&list.items[0], "status"), "resolved");
  assert_string_equal(column_of(&list.items[0]), "b");
  assert_non_null(strstr(list.items[1].problem, "ended as ERROR"));
  signal_list_fini(&list);
}

static void nannyml(void **state) {
  struct signal_list list = parse("nannyml_univariate_drift_row.json", signal_parse_nannyml, "churn");
  assert_int_equal(list.n, 1);
  assert_string_equal(text(&list.items[0], "kind"), "drift");
  assert_string_equal(text(&list.items[0], "status"), "firing");
  assert_string_equal(text(&list.items[0], "fingerprint"), "jensen_shannon/tenure_months");
  assert_string_equal(text(&list.items[0], "title"), "tenure_months: jensen_shannon 0.182: alert");
  assert_string_equal(text(&list.items[0], "at"), "2026-01-04T23:59:59Z");
  assert_string_equal(column_of(&list.items[0]), "tenure_months");
  signal_list_fini(&list);
  const char *body =
      "{\"rows\":[{\"metric_name\":\"missing_values_rate\",\"column_name\":\"a\",\"alert\":0},"
      "{\"metric_name\":\"estimated_roc_auc\",\"alert\":true},{\"metric_name\":\"accuracy\",\"alert\":1},"
      "{\"metric_name\":\"hellinger\",\"column_name\":\"y_pred_proba\",\"alert\":true},"
      "{\"metric_name\":\"l_infinity\"},{\"alert\":true},7]}";
  static const char *const kinds[] = {"data_fault", "estimate", "performance", "prediction_drift"};
  struct err err = {0};
  assert_true(signal_parse_nannyml(&list, body, strlen(body), "p", &err));
  assert_int_equal(list.n, 7);
  for (size_t i = 0; i < ARRAY_LEN(kinds); i++) assert_string_equal(text(&list.items[i], "kind"), kinds[i]);
  assert_string_equal(text(&list.items[0], "status"), "resolved");
  for (size_t i = ARRAY_LEN(kinds); i < 7; i++) assert_true(*list.items[i].problem);
  signal_list_fini(&list);
}

/* Documents of tools that orch has no mapping for are refused with a reason, at every address. */
static void strangers(void **state) {
  static const char *const names[] = {"superwise_webhook.json", "sagemaker_constraint_violations.json",
                                      "whylogs_constraints_report.json",
                                      "pagerduty_v3_incident_acknowledged.body.json"};
  static parser *const parsers[] = {signal_parse_alertmanager, signal_parse_grafana, signal_parse_evidently};
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    size_t len;
    CLEANUP(mem_free_p) char *body = sample(names[i], &len);
    for (size_t j = 0; j < ARRAY_LEN(parsers); j++) {
      struct signal_list list;
      struct err err = {0};
      assert_false(parsers[j](&list, body, len, "p", &err));
      assert_int_equal(err.code, ERR_INVALID);
    }
    struct signal_in in;
    struct err err = {0};
    assert_false(signal_parse(&in, body, len, &err));
    assert_true(*err.text);
    struct signal_list list = {0};
    if (signal_parse_nannyml(&list, body, len, "p", &err)) {
      for (size_t j = 0; j < list.n; j++) assert_true(*list.items[j].problem);
      signal_list_fini(&list);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(grafana),
                                     cmocka_unit_test(cloudevents),
                                     cmocka_unit_test(cloudevent_says_more),
                                     cmocka_unit_test(cloudevents_refused),
                                     cmocka_unit_test(binary_sample),
                                     cmocka_unit_test(header_values),
                                     cmocka_unit_test(evidently),
                                     cmocka_unit_test(nannyml),
                                     cmocka_unit_test(strangers)};
  return cmocka_run_group_tests_name("signal_documents", tests, NULL, NULL);
}
