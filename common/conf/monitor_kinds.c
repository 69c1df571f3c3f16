/* Every kind of monitor: its keys, their defaults and bounds. docs/pipeline-reference.md has the same as tables. */
#include <stdio.h>
#include <string.h>

#include "conf/cron.h"
#include "conf/monitor_parts.h"
#include "conf/nearest.h"

#define COLUMNS_MAX 200

static void set_text(json_t *monitor, const char *key, const char *value) {
  if (value != NULL) json_object_set_new(monitor, key, json_string(value));
}

static void set_int(json_t *monitor, const char *key, int64_t value) {
  json_object_set_new(monitor, key, json_integer(value));
}

/* A number with a default, always set. */
static void read_real(struct pipeline_reader *r, const struct yaml_node *item, const char *key, double min, double max,
                      double value, json_t *monitor) {
  char what[40];
  snprintf(what, sizeof what, "'%s'", key);
  take_real(r->problems, yaml_tree_get(item, key), what, min, max, &value);
  json_object_set_new(monitor, key, json_real(value));
}

/* A share of the window's rows, or `none`: then null, and nothing is asked. A default below 0 means none. */
static void read_share(struct pipeline_reader *r, const struct yaml_node *item, const char *key, double value,
                       json_t *monitor) {
  const struct yaml_node *node = yaml_tree_get(item, key);
  char what[64];
  snprintf(what, sizeof what, "'%s' (a share, or none)", key);
  if (node != NULL && node->kind == YAML_TREE_SCALAR && strcmp(node->text, "none") == 0) {
    value = -1;
  } else {
    take_real(r->problems, node, what, 0.001, 1, &value);
  }
  json_object_set_new(monitor, key, value < 0 ? json_null() : json_real(value));
}

/* Without the key the list is empty: every column of the profile. */
static json_t *read_columns(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  json_t *columns = json_array();
  take_texts(r->problems, yaml_tree_get(item, "columns"), "'columns'", 1, COLUMNS_MAX, true, columns);
  json_object_set_new(monitor, "columns", columns);
  return columns;
}

/* How much each column's effect counts for the ranking; 1 when it is not said. */
static void read_importance(struct pipeline_reader *r, const struct yaml_node *item, const json_t *columns,
                            json_t *monitor) {
  const struct yaml_node *node = yaml_tree_get(item, "importance");
  const char *known[COLUMNS_MAX + 1];
  size_t count = 0, i;
  json_t *importance = json_object(), *column;
  json_object_set_new(monitor, "importance", importance);
  json_array_foreach(columns, i, column) {
    if (count < COLUMNS_MAX) known[count++] = json_string_value(column);
  }
  known[count] = NULL;
  if (node == NULL) return;
  if (node->kind != YAML_TREE_MAP || node->count > COLUMNS_MAX) {
    problems_add(r->problems, node->line, node->column,
                 "'importance' is no map of at most %d columns, expected a weight for each as in {income: 3}",
                 COLUMNS_MAX);
    return;
  }
  for (const struct yaml_node *m = node->first; m != NULL; m = m->next) {
    double weight;
    char what[120];
    snprintf(what, sizeof what, "the importance of '%.60s'", m->key);
    if (count > 0 && !take_listed(known, m->key)) take_unknown_key(r->problems, m, "'importance'", known);
    if (take_real(r->problems, m, what, 0, 1000, &weight)) json_object_set_new(importance, m->key, json_real(weight));
  }
}

static void read_drift(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  const json_t *columns = read_columns(r, item, monitor);
  read_real(r, item, "psi", 0.001, 10, 0.2, monitor);
  read_real(r, item, "p_value", 1e-12, 0.5, 0.001, monitor);
  read_real(r, item, "null_jump", 0.001, 1, 0.1, monitor);
  read_importance(r, item, columns, monitor);
}

static void read_row_bounds(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  static const char *const known[] = {"min", "max", NULL};
  const struct yaml_node *node = yaml_tree_get(item, "rows");
  int64_t min = -1, max = -1;
  if (take_map(r->problems, node, "'rows'", known, NULL)) {
    take_int(r->problems, yaml_tree_get(node, "min"), "'min' of 'rows'", 0, 1000000000, &min);
    take_int(r->problems, yaml_tree_get(node, "max"), "'max' of 'rows'", 1, 1000000000, &max);
    if (node->count == 0 || (max >= 0 && min > max)) {
      problems_add(r->problems, node->line, node->column,
                   "'rows' has %s, expected {min: 100, max: 10000} or one of them",
                   node->count == 0 ? "no bound" : "a 'min' above its 'max'");
    }
    if (json_object_get(json_object_get(monitor, "window"), "rows") != NULL) {
      problems_add(r->problems, node->key_line, node->key_column,
                   "'rows' of a window that always has the same number of rows, expected a window by time as in "
                   "'window: 1h'");
    }
  }
  json_object_set_new(monitor, "rows",
                      json_pack("{s:o, s:o}", "min", min >= 0 ? json_integer(min) : json_null(), "max",
                                max >= 0 ? json_integer(max) : json_null()));
}

static void read_quality(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  bool constant = true, sorted = true;
  read_columns(r, item, monitor);
  read_share(r, item, "null_jump", 0.1, monitor);
  read_share(r, item, "type_share", 0.05, monitor);
  read_share(r, item, "out_of_range", 0.1, monitor);
  read_share(r, item, "unseen", 0.1, monitor);
  read_share(r, item, "duplicates", -1, monitor);
  take_bool(r->problems, yaml_tree_get(item, "constant"), "'constant'", &constant);
  take_bool(r->problems, yaml_tree_get(item, "sorted"), "'sorted'", &sorted);
  json_object_set_new(monitor, "constant", json_boolean(constant));
  json_object_set_new(monitor, "sorted", json_boolean(sorted));
  read_row_bounds(r, item, monitor);
  const struct yaml_node *duplicates = yaml_tree_get(item, "duplicates");
  if (json_is_number(json_object_get(monitor, "duplicates")) && yaml_tree_get(item, "columns") != NULL) {
    problems_add(r->problems, duplicates->key_line, duplicates->key_column,
                 "'duplicates' compares whole rows with the profile's, expected no 'columns' beside it");
  }
}

static void read_performance(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  static const char *const metrics[] = {"accuracy", "f1", "auc", "log_loss", "mae", "rmse", NULL};
  static const char *const errors[] = {"log_loss", "mae", "rmse", NULL}, *const values[] = {"mae", "rmse", NULL};
  static const char *const detectors[] = {"adwin", "page_hinkley", NULL};
  const char *metric = NULL, *positive = NULL, *detector = NULL;
  take_choice(r->problems,
              take_required(r->problems, item, "metric", "a performance monitor", "as in 'metric: accuracy'"),
              "'metric'", metrics, NULL, &metric);
  take_choice(r->problems, yaml_tree_get(item, "detector"), "'detector'", detectors, NULL, &detector);
  const struct yaml_node *positive_node = yaml_tree_get(item, "positive");
  take_text(r->problems, positive_node, "'positive' (the label of the positive class)", &positive);
  set_text(monitor, "metric", metric);
  set_text(monitor, "positive", positive);
  set_text(monitor, "detector", detector);
  if (metric == NULL) return;
  if (positive != NULL && take_listed(values, metric)) {
    problems_add(r->problems, positive_node->key_line, positive_node->key_column,
                 "'positive' with the metric '%s' of numbers, expected it only with classes", metric);
  }
  /* The side on which the metric is bad. */
  bool error = take_listed(errors, metric);
  const char *key = error ? "max" : "min", *other = error ? "min" : "max";
  const struct yaml_node *wrong = yaml_tree_get(item, other);
  if (wrong != NULL) {
    problems_add(r->problems, wrong->key_line, wrong->key_column,
                 "'%s' of the metric '%s', of which %s is better, expected '%s'", other, metric,
                 error ? "less" : "more", key);
  } else {
    take_required(r->problems, item, key, "a performance monitor", "the value at which it alarms as in 'min: 0.75'");
  }
  double bound;
  if (take_real(r->problems, yaml_tree_get(item, key), error ? "'max'" : "'min'", 0, error ? 1e15 : 1, &bound)) {
    json_object_set_new(monitor, key, json_real(bound));
  }
}

static void read_estimate(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  static const char *const metrics[] = {"accuracy", NULL};
  const char *metric = "accuracy";
  double min;
  take_choice(r->problems, yaml_tree_get(item, "metric"), "'metric'", metrics, NULL, &metric);
  set_text(monitor, "metric", metric);
  if (take_real(r->problems,
                take_required(r->problems, item, "min", "an estimated_performance monitor", "as in 'min: 0.75'"),
                "'min'", 0, 1, &min)) {
    json_object_set_new(monitor, "min", json_real(min));
  }
}

static void read_latency(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  int64_t max = 0;
  read_real(r, item, "quantile", 0.5, 0.9999, 0.99, monitor);
  take_duration(r->problems,
                take_required(r->problems, item, "max", "a latency monitor", "a duration as in 'max: 50ms'"), "'max'",
                1, DAY_MS, &max);
  set_int(monitor, "max_ms", max);
}

static void read_volume(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  int64_t silence = 0;
  take_duration(r->problems,
                take_required(r->problems, item, "silence", "a volume monitor",
                              "how long nothing may come, as in 'silence: 30m'"),
                "'silence'", 10 * SECOND_MS, 90 * DAY_MS, &silence);
  set_int(monitor, "silence_ms", silence);
}

/* `query`, `above` or `below`, `for`, `every`: of monitors that ask another system. */
static void read_probe(struct pipeline_reader *r, const struct yaml_node *item, const char *what, int64_t every_ms,
                       json_t *monitor) {
  const char *query = NULL;
  int64_t for_ms = 0;
  const struct yaml_node *above = yaml_tree_get(item, "above"), *below = yaml_tree_get(item, "below");
  take_lines(r->problems, take_required(r->problems, item, "query", what, "what to ask"), "'query'", &query);
  set_text(monitor, "query", query);
  double bound;
  if ((above != NULL) == (below != NULL)) {
    problems_add(r->problems, item->line, item->column,
                 "%s has %s, expected one of 'above' or 'below', as in 'above: 0.01'", what,
                 above != NULL ? "both 'above' and 'below'" : "no bound");
  } else if (take_real(r->problems, above != NULL ? above : below, above != NULL ? "'above'" : "'below'", -1e15, 1e15,
                       &bound)) {
    json_object_set_new(monitor, above != NULL ? "above" : "below", json_real(bound));
  }
  take_duration(r->problems, yaml_tree_get(item, "for"), "'for' (how long it must hold)", 0, 30 * DAY_MS, &for_ms);
  take_duration(r->problems, yaml_tree_get(item, "every"), "'every'", 5 * SECOND_MS, DAY_MS, &every_ms);
  set_int(monitor, "for_ms", for_ms);
  set_int(monitor, "every_ms", every_ms);
}

static void read_prometheus(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  read_probe(r, item, "a prometheus monitor", MINUTE_MS, monitor);
  if (r->options->server != NULL && json_object_get(r->options->server, "prometheus") == NULL) {
    problems_add(r->problems, item->line, item->column,
                 "a prometheus monitor, but the server's file has no 'prometheus', expected its address there");
  }
}

/* The variable must be one that the server's file lends to pipelines. */
static void check_warehouse(struct pipeline_reader *r, const struct yaml_node *node, const char *name) {
  const json_t *warehouses = json_object_get(r->options->server, "warehouses");
  const char *known[64];
  size_t count = 0, i;
  json_t *item;
  json_array_foreach(warehouses, i, item) {
    if (count + 1 < ARRAY_LEN(known)) known[count++] = json_string_value(item);
  }
  known[count] = NULL;
  if (r->options->server == NULL || take_listed(known, name)) return;
  const char *near = nearest_word(name, known);
  problems_add(r->problems, node->line, node->column, "'url_env' is '%s', expected %s%s", name,
               near != NULL ? near : "a variable that 'warehouses' of the server's file names",
               near != NULL ? "?" : "");
}

static void read_sql(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  const char *url_env = NULL;
  int64_t timeout = 30 * SECOND_MS;
  read_probe(r, item, "a sql monitor", 5 * MINUTE_MS, monitor);
  const struct yaml_node *node = take_required(r->problems, item, "url_env", "a sql monitor",
                                               "the variable with the warehouse's address, as in WAREHOUSE_URL");
  if (take_warehouse(r->problems, node, "'url_env'", &url_env)) check_warehouse(r, node, url_env);
  set_text(monitor, "url_env", url_env);
  int64_t every = json_integer_value(json_object_get(monitor, "every_ms"));
  if (timeout > every) timeout = every;
  node = yaml_tree_get(item, "timeout");
  if (take_duration(r->problems, node, "'timeout'", SECOND_MS, 10 * MINUTE_MS, &timeout) && timeout > every) {
    problems_add(r->problems, node->line, node->column,
                 "'timeout' is longer than 'every', expected an answer before the next question");
  }
  set_int(monitor, "timeout_ms", timeout);
}

static void read_schedule(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor) {
  const struct yaml_node *node = take_required(r->problems, item, "cron", "a schedule monitor",
                                               "five fields and a time zone as in '0 3 * * 1 Europe/Berlin'");
  const char *text;
  struct cron cron;
  struct err err = {0};
  if (!take_text(r->problems, node, "'cron'", &text)) return;
  if (!cron_parse(text, &cron, &err)) {
    problems_add(r->problems, node->line, node->column, "'cron' is '%.80s': %s", text, err.text);
    return;
  }
  json_object_set_new(monitor, "cron", cron_json(&cron, text));
}

#define COMMON "name", "kind", "then"
#define WINDOWS COMMON, "window", "lateness", "min_rows", "for", "warmup"
static const char *const drift_keys[] = {WINDOWS, "columns", "psi", "p_value", "null_jump", "importance", NULL};
static const char *const quality_keys[] = {WINDOWS,        "columns", "null_jump",  "type_share",
                                           "out_of_range", "unseen",  "duplicates", "constant",
                                           "sorted",       "rows",    NULL};
static const char *const performance_keys[] = {WINDOWS, "metric", "min", "max", "positive", "detector", NULL};
static const char *const estimate_keys[] = {WINDOWS, "metric", "min", NULL};
static const char *const latency_keys[] = {WINDOWS, "quantile", "max", NULL};
static const char *const volume_keys[] = {COMMON, "silence", NULL};
static const char *const prometheus_keys[] = {COMMON, "query", "above", "below", "for", "every", NULL};
static const char *const sql_keys[] = {COMMON, "url_env", "query", "above", "below", "for", "every", "timeout", NULL};
static const char *const schedule_keys[] = {COMMON, "cron", NULL};

const struct monitor_kind monitor_kinds[] = {
    {"drift", "a drift monitor", "propose", NULL, false, 200, 20, 2, 3, drift_keys, read_drift},
    {"prediction_drift", "a prediction_drift monitor", "propose", NULL, false, 200, 20, 2, 3, drift_keys, read_drift},
    {"quality", "a quality monitor", "tell", "a new model does not mend broken data", false, 20, 1, 1, 1, quality_keys,
     read_quality},
    {"performance", "a performance monitor", "propose", NULL, true, 100, 20, 2, 3, performance_keys, read_performance},
    {"estimated_performance", "an estimated_performance monitor", "tell",
     "an estimate is never enough to retrain by itself", false, 200, 20, 2, 3, estimate_keys, read_estimate},
    {"latency", "a latency monitor", "tell", NULL, false, 100, 20, 2, 3, latency_keys, read_latency},
    {"volume", "a volume monitor", "tell", "there is nothing new to train on when no rows come", false, 0, 0, 0, 0,
     volume_keys, read_volume},
    {"prometheus", "a prometheus monitor", "propose", NULL, false, 0, 0, 0, 0, prometheus_keys, read_prometheus},
    {"sql", "a sql monitor", "propose", NULL, false, 0, 0, 0, 0, sql_keys, read_sql},
    {"schedule", "a schedule monitor", "propose", NULL, false, 0, 0, 0, 0, schedule_keys, read_schedule},
    {0},
};
