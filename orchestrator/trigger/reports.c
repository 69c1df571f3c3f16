/* Result documents of other drift tools, which push nothing by themselves: a job posts them here. One mapping each;
 * docs/monitoring.md describes them. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "trigger/signal_private.h"

/* ---- what both share ---- */

struct finding {
  const char *source, *kind, *metric, *column; /* column "" when it is about the whole */
  bool firing;
  const json_t *value;
  const char *words; /* the title's, "" to make them */
  json_t *detail;    /* taken over */
};

static void take_finding(struct signal_in *in, const char *pipeline, struct finding *f) {
  if (!signal_name_pipeline(in, pipeline, "the URL has no ?pipeline=NAME")) {
    json_decref(f->detail);
    return;
  }
  in->signal =
      json_pack("{ss ss ss}", "source", f->source, "kind", f->kind, "status", f->firing ? "firing" : "resolved");
  char *about = mem_printf("%s/%s", f->metric, f->column);
  signal_set_fingerprint(in->signal, about);
  mem_free(about);
  char number[40] = "";
  if (json_is_number(f->value)) snprintf(number, sizeof number, " %.6g", json_number_value(f->value));
  char *title = *f->words ? mem_strdup(f->words)
                          : mem_printf("%s%s%s%s: %s", f->column, *f->column ? ": " : "", f->metric, number,
                                       f->firing ? "alert" : "fine again");
  signal_set_title(in->signal, title);
  mem_free(title);
  if (*f->column) /* where incidents and diagnoses look for what moved */
    json_object_set_new(f->detail, "columns",
                        json_pack("[{ss ss sO?}]", "name", f->column, "measure", f->metric, "value", f->value));
  signal_set_detail(in->signal, f->detail);
}

static bool begin_list(struct signal_list *list, size_t n, const char *what, struct err *err) {
  if (n == 0) return err_set(err, ERR_INVALID, "the document holds no %s", what);
  if (n > SIGNAL_ALERTS_MAX)
    return err_set(err, ERR_LIMIT, "%zu %s; at most %d are taken at once", n, what, SIGNAL_ALERTS_MAX);
  *list = (struct signal_list){.items = mem_calloc(n, sizeof list->items[0])};
  return true;
}

static bool any_in(const char *text, const char *const *words) {
  for (; *words; words++)
    if (strstr(text, *words)) return true;
  return false;
}

/* ---- Evidently ---- */

/* "evidently:metric_v2:ValueDrift" -> "ValueDrift". */
static const char *metric_type(const json_t *metric) {
  const char *type = signal_text(json_object_get(metric, "config"), "type"), *colon = strrchr(type, ':');
  return colon ? colon + 1 : type;
}

static const char *evidently_kind(const char *type) {
  static const char *const faults[] = {"Missing", "EmptyRows", "EmptyColumns", "Duplicated", "Constant", "OutRange",
                                       "OutList", "InRange",   "InList",       "Unseen",     NULL};
  static const char *const quality[] = {"Accuracy", "F1",  "Precision", "Recall", "RocAuc", "LogLoss",
                                        "TPR",      "TNR", "FPR",       "FNR",    "MAE",    "MAPE",
                                        "RMSE",     "R2",  "MeanError", "AbsMax", "Score",  NULL};
  if (any_in(type, faults)) return "data_fault";
  if (strstr(type, "Drift")) return "drift";
  return any_in(type, quality) ? "performance" : "external";
}

static const json_t *metric_by_id(const json_t *metrics, const char *id) {
  size_t i;
  json_t *metric;
  json_array_foreach(metrics, i, metric) if (*id && strcmp(signal_text(metric, "id"), id) == 0) return metric;
  return NULL;
}

/* A test that passed, failed or warns; SKIPPED and ERROR say nothing about the data. */
static void read_test(struct signal_in *in, const json_t *test, const json_t *metrics, const char *pipeline) {
  const char *status = signal_text(test, "status"), *words = signal_text(test, "description");
  bool fails = strcmp(status, "FAIL") == 0 || strcmp(status, "WARNING") == 0;
  if (!fails && strcmp(status, "SUCCESS") != 0)
    return SIGNAL_PROBLEM(in, "the test \"%.80s\" ended as %.20s: it says nothing about the data",
                          signal_text(test, "name"), *status ? status : "nothing");
  const json_t *config = json_object_get(test, "metric_config");
  const json_t *metric = metric_by_id(metrics, signal_text(config, "metric_id"));
  const char *type = metric_type(metric), *column = signal_text(json_object_get(config, "params"), "column");
  if (!*column) column = signal_text(json_object_get(metric, "config"), "column");
  const char *name = signal_text(test, "name");
  char *title = mem_printf("%s%s%s", name, *name && *words ? ": " : "", words);
  struct finding finding = {.source = "evidently",
                            .kind = evidently_kind(type),
                            .metric = *type ? type : name,
                            .column = column,
                            .firing = fails,
                            .value = json_object_get(metric, "value"),
                            .words = title,
                            .detail = json_pack("{sO? sO?}", "test", test, "metric", metric)};
  take_finding(in, pipeline, &finding);
  mem_free(title);
}

/* Does a drift metric lie beyond its own threshold? Tests that give p-values drift below it, distances from it on
 * (Evidently's documentation, "data drift methods"). */
static bool metric_fires(const json_t *metric, bool *ret_fires) {
  static const char *const p_values[] = {"ks",        "chisquare", "z",      "anderson",         "fisher_exact",
                                         "g_test",    "mannw",     "t_test", "cramer_von_mises", "es",
                                         "perm_test", NULL};
  const json_t *config = json_object_get(metric, "config"), *value = json_object_get(metric, "value"),
               *threshold = json_object_get(config, "threshold"), *share = json_object_get(value, "share");
  if (json_is_number(share) && json_is_number(json_object_get(config, "drift_share"))) {
    *ret_fires = json_number_value(share) >= json_number_value(json_object_get(config, "drift_share"));
    return true;
  }
  if (!json_is_number(value) || !json_is_number(threshold)) return false;
  const char *method = signal_text(config, "method");
  bool by_p = false;
  for (size_t i = 0; p_values[i]; i++) by_p = by_p || strcmp(method, p_values[i]) == 0;
  *ret_fires = by_p ? json_number_value(value) < json_number_value(threshold)
                    : json_number_value(value) >= json_number_value(threshold);
  return true;
}

static void read_metric(struct signal_in *in, const json_t *metric, const char *pipeline, bool fires) {
  struct finding finding = {.source = "evidently",
                            .kind = evidently_kind(metric_type(metric)),
                            .metric = metric_type(metric),
                            .column = signal_text(json_object_get(metric, "config"), "column"),
                            .firing = fires,
                            .value = json_object_get(metric, "value"),
                            .words = "",
                            .detail = json_pack("{sO?}", "metric", metric)};
  take_finding(in, pipeline, &finding);
}

static bool read_snapshot(struct signal_list *list, const json_t *root, const char *pipeline, struct err *err) {
  const json_t *metrics = json_object_get(root, "metrics"), *tests = json_object_get(root, "tests");
  size_t i;
  json_t *item;
  if (!json_is_array(metrics))
    return err_set(err, ERR_INVALID,
                   "no \"metrics\": this is no snapshot of Evidently (0.6 or newer, its dict() or json())");
  if (json_array_size(tests) > 0) {
    if (!begin_list(list, json_array_size(tests), "tests", err)) return false;
    json_array_foreach(tests, i, item) read_test(&list->items[list->n++], item, metrics, pipeline);
    return true;
  }
  if (!begin_list(list, json_array_size(metrics), "metrics", err)) return false;
  json_array_foreach(metrics, i, item) {
    bool fires;
    if (strstr(metric_type(item), "Drift") && metric_fires(item, &fires))
      read_metric(&list->items[list->n++], item, pipeline, fires);
  }
  if (list->n > 0) return true;
  return err_set(err, ERR_INVALID,
                 "the snapshot has no tests and no drift metric with a threshold: nothing to judge by");
}

/* Runs a reader over a parsed body, with the list given only on success. */
static bool read_document(struct signal_list *ret, json_t *root, const char *pipeline,
                          bool (*read)(struct signal_list *list, const json_t *root, const char *pipeline,
                                       struct err *err),
                          struct err *err) {
  struct signal_list list = {0};
  bool fine = root && read(&list, root, pipeline ? pipeline : "", err);
  json_decref(root);
  if (fine)
    *ret = list;
  else
    signal_list_fini(&list);
  return fine;
}

bool signal_parse_evidently(struct signal_list *ret, const char *body, size_t len, const char *pipeline,
                            struct err *err) {
  return read_document(ret, signal_load_body(body, len, err), pipeline, read_snapshot, err);
}

/* ---- NannyML ---- */

static const char *nannyml_kind(const char *metric, const char *column) {
  static const char *const drift[] = {"jensen_shannon", "kolmogorov_smirnov", "wasserstein",
                                      "hellinger",      "l_infinity",         "chi2",
                                      "reconstruction", "domain_classifier",  NULL};
  static const char *const faults[] = {"missing_values", "unseen_values", NULL};
  static const char *const quality[] = {
      "roc_auc",           "f1",  "precision", "recall", "specificity", "accuracy", "business_value",
      "average_precision", "mae", "mape",      "mse",    "msle",        "rmse",     NULL};
  if (any_in(metric, faults)) return "data_fault";
  if (any_in(metric, drift)) return strncmp(column, "y_pred", 6) == 0 ? "prediction_drift" : "drift";
  if (strncmp(metric, "estimated_", 10) == 0) return "estimate";
  return any_in(metric, quality) ? "performance" : "external";
}

/* NannyML writes times without a zone and means UTC. */
static void put_time(const json_t *row, json_t *signal) {
  static const char *const keys[] = {"end_timestamp", "timestamp"};
  for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
    const char *text = signal_text(row, keys[i]);
    char utc[64];
    int64_t wall_us;
    if (!*text) continue;
    if (clock_parse_rfc3339(text, &wall_us)) {
      json_object_set_new(signal, "at", json_string(text));
      return;
    }
    snprintf(utc, sizeof utc, "%.40sZ", text);
    if (!clock_parse_rfc3339(utc, &wall_us)) continue;
    json_object_set_new(signal, "at", json_string(utc));
    return;
  }
}

static void read_row(struct signal_in *in, const json_t *row, const char *pipeline) {
  const char *metric = signal_text(row, "metric_name"), *column = signal_text(row, "column_name");
  const json_t *alert = json_object_get(row, "alert");
  if (!*metric) return SIGNAL_PROBLEM(in, "a row without metric_name");
  if (!json_is_boolean(alert) && !json_is_integer(alert))
    return SIGNAL_PROBLEM(in, "the row of %.60s has no alert (true or false)", metric);
  struct finding finding = {.source = "nannyml",
                            .kind = nannyml_kind(metric, column),
                            .metric = metric,
                            .column = column,
                            .firing = json_is_true(alert) || json_integer_value(alert) != 0,
                            .value = json_object_get(row, "value"),
                            .words = "",
                            .detail = json_pack("{sO}", "row", row)};
  take_finding(in, pipeline, &finding);
  if (in->signal) put_time(row, in->signal);
}

static bool read_rows(struct signal_list *list, const json_t *root, const char *pipeline, struct err *err) {
  const json_t *rows =
      json_is_object(root) && json_is_array(json_object_get(root, "rows")) ? json_object_get(root, "rows") : root;
  size_t i;
  json_t *row;
  if (json_is_object(rows)) {
    if (!begin_list(list, 1, "rows", err)) return false;
    read_row(&list->items[list->n++], rows, pipeline);
    return true;
  }
  if (!json_is_array(rows))
    return err_set(err, ERR_INVALID, "rows of NannyML come as an object or an array of objects");
  if (!begin_list(list, json_array_size(rows), "rows", err)) return false;
  json_array_foreach(rows, i, row) read_row(&list->items[list->n++], row, pipeline);
  return true;
}

bool signal_parse_nannyml(struct signal_list *ret, const char *body, size_t len, const char *pipeline,
                          struct err *err) {
  return read_document(ret, signal_load_any(body, len, err), pipeline, read_rows, err);
}
