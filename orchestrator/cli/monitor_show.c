/* orch monitor show PIPELINE MONITOR: the rule, where it stands, its latest result as tables, the windows before. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli_monitor.h"

#define WINDOWS_SHOWN 15
#define SPARK_WIDTH 60

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static const char *number_of(struct cli *cli, const json_t *object, const char *key) {
  return cli_monitor_number(cli, json_object_get(object, key));
}

static const char *percent(struct cli *cli, const json_t *share) {
  return json_is_number(share) ? arena_printf(&cli->arena, "%.1f %%", 100 * json_number_value(share)) : "-";
}

/* "0.0 % to 12.3 %"; nothing when it was and is 0. */
static const char *change(struct cli *cli, const json_t *ref, const json_t *now) {
  if (json_number_value(ref) <= 0 && json_number_value(now) <= 0) return "-";
  return arena_printf(&cli->arena, "%s to %s", percent(cli, ref), percent(cli, now));
}

/* The median before and after, from whatever level is nearest to 0.5. */
static const char *median(struct cli *cli, const json_t *quantiles) {
  const json_t *levels = json_object_get(quantiles, "levels");
  size_t i;
  json_t *level;
  json_array_foreach(levels, i, level) {
    if (json_number_value(level) != 0.5) continue;
    return arena_printf(&cli->arena, "%s to %s",
                        cli_monitor_number(cli, json_array_get(json_object_get(quantiles, "ref"), i)),
                        cli_monitor_number(cli, json_array_get(json_object_get(quantiles, "now"), i)));
  }
  return "-";
}

static int severity(const json_t *column) {
  const char *verdict = text_of(column, "verdict");
  if (verdict == NULL) return 3;
  return strcmp(verdict, "fault") == 0 ? 0 : strcmp(verdict, "drift") == 0 ? 1 : strcmp(verdict, "ok") == 0 ? 2 : 3;
}

/* Faults, then drift, then the rest; within each the largest weighted effect first. */
static int by_weight(const void *a, const void *b) {
  const json_t *x = *(const json_t *const *)a, *y = *(const json_t *const *)b;
  if (severity(x) != severity(y)) return severity(x) - severity(y);
  double weight[2] = {0, 0};
  for (int i = 0; i < 2; i++) {
    const json_t *column = i == 0 ? x : y, *importance = json_object_get(column, "importance");
    weight[i] = json_number_value(json_object_get(column, "effect")) *
                (json_is_number(importance) ? json_number_value(importance) : 1);
  }
  return weight[0] > weight[1] ? -1 : weight[0] < weight[1];
}

static const char *p_value(struct cli *cli, const json_t *p) {
  return json_is_number(p) && json_number_value(p) < 1e-16 ? "< 1e-16" : cli_monitor_number(cli, p);
}

static void show_columns(struct cli *cli, const json_t *columns) {
  if (json_array_size(columns) == 0) return;
  cli_heading(cli, "Columns");
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"COLUMN", "VERDICT", ">PSI", ">P", ">KS", "DIRECTION", ">MEDIAN",
                                               ">MISSING", ">ROWS", ">SINCE ROW", "~WHY", NULL});
  size_t count = json_array_size(columns);
  const json_t **order = mem_calloc(count, sizeof *order);
  for (size_t i = 0; i < count; i++) order[i] = json_array_get(columns, i);
  qsort(order, count, sizeof *order, by_weight);
  for (size_t i = 0; i < count; i++) {
    const json_t *c = order[i];
    const char *verdict = text_of(c, "verdict"), *direction = text_of(c, "direction");
    const json_t *missing = json_object_get(c, "missing"), *since = json_object_get(c, "since_row");
    const json_t *adjusted = json_object_get(c, "p_adjusted");
    if (!json_is_number(adjusted)) adjusted = json_object_get(json_object_get(c, "chi2"), "p_value");
    cli_table_row(table);
    cli_table_cell(table, text_of(c, "name"));
    cli_table_cell_color(table, cli_verdict_color(verdict), verdict);
    cli_table_cell(table, number_of(cli, c, "psi"));
    cli_table_cell(table, p_value(cli, adjusted));
    cli_table_cell(table, number_of(cli, json_object_get(c, "ks"), "statistic"));
    cli_table_cell(table, direction != NULL ? direction : "-");
    cli_table_cell(table, median(cli, json_object_get(c, "quantiles")));
    cli_table_cell(table, change(cli, json_object_get(missing, "ref"), json_object_get(missing, "now")));
    cli_table_cell(table, cli_member(cli, c, "n_now"));
    cli_table_cell(table, json_is_integer(since) ? cli_member(cli, c, "since_row") : "-");
    cli_table_cell(table, text_of(c, "why"));
  }
  mem_free(order);
  cli_table_print(table, NULL);
}

static void show_faults(struct cli *cli, const json_t *faults) {
  if (json_array_size(faults) == 0) return;
  cli_heading(cli, "Broken");
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"COLUMN", "CHECK", ">BEFORE", ">NOW", "|WHY", NULL});
  size_t i;
  json_t *fault;
  json_array_foreach(faults, i, fault) {
    const char *column = text_of(fault, "column");
    cli_table_row(table);
    cli_table_cell(table, column != NULL ? column : "(all)");
    cli_table_cell_color(table, CLI_RED, text_of(fault, "check"));
    cli_table_cell(table, percent(cli, json_object_get(fault, "share_ref")));
    cli_table_cell(table, percent(cli, json_object_get(fault, "share_now")));
    cli_table_cell(table, text_of(fault, "why"));
  }
  cli_table_print(table, NULL);
}

static void show_versions(struct cli *cli, const json_t *versions) {
  if (json_array_size(versions) == 0) return;
  cli_heading(cli, "Versions in this window");
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){">VERSION", ">ROWS", ">VALUE", "MOVED COLUMNS", NULL});
  size_t i, j;
  json_t *version, *column;
  json_array_foreach(versions, i, version) {
    json_t *moved = json_array();
    json_array_foreach(json_object_get(version, "columns"), j, column) {
      const char *verdict = text_of(column, "verdict");
      if (verdict != NULL && strcmp(verdict, "ok") != 0) json_array_append(moved, json_object_get(column, "name"));
    }
    cli_table_row(table);
    cli_table_cell(table, cli_member(cli, version, "version"));
    cli_table_cell(table, cli_member(cli, version, "rows"));
    cli_table_cell(table, number_of(cli, version, "value"));
    cli_table_cell(table, cli_join(cli, moved));
    json_decref(moved);
  }
  cli_table_print(table, NULL);
}

/* What only some kinds have. */
static void show_kind(struct cli *cli, const json_t *result) {
  const json_t *quantiles = json_object_get(result, "quantiles_ms"), *detector = json_object_get(result, "detector");
  const char *metric = cli_member(cli, result, "metric");
  if (*metric != '\0') {
    bool estimate = json_is_true(json_object_get(result, "estimate"));
    cli_field(cli, estimate ? arena_printf(&cli->arena, "estimated %s", metric) : metric,
              arena_printf(&cli->arena, "%s; at its evaluation %s", number_of(cli, result, "value"),
                           number_of(cli, result, "reference")));
    cli_field(cli, "labels", cli_member(cli, result, "labels"));
    if (json_is_number(json_object_get(result, "labels_missing"))) {
      cli_field(cli, "no label yet", percent(cli, json_object_get(result, "labels_missing")));
    }
  }
  if (json_is_object(detector)) {
    bool drift = json_is_true(json_object_get(detector, "drift"));
    cli_field(cli, "detector",
              arena_printf(&cli->arena, "%s: %s%s", cli_member(cli, detector, "name"),
                           drift ? "the error changed at row " : "no change",
                           drift ? cli_member(cli, detector, "row") : ""));
  }
  if (json_is_object(quantiles)) {
    const json_t *error = json_object_get(result, "error_bound");
    const char *within =
        json_is_number(error) ? arena_printf(&cli->arena, "; each within %.2g %%", 100 * json_number_value(error)) : "";
    cli_field(cli, "latency",
              arena_printf(&cli->arena, "p50 %s ms, p90 %s ms, p99 %s ms, most %s ms%s",
                           number_of(cli, quantiles, "p50"), number_of(cli, quantiles, "p90"),
                           number_of(cli, quantiles, "p99"), number_of(cli, quantiles, "max"), within));
  }
}

static void show_windows(struct cli *cli, const json_t *windows) {
  if (json_array_size(windows) == 0) return;
  cli_heading(cli, "Windows, the newest first");
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"WINDOW", ">ROWS", "VERDICT", ">VALUE", ">BOUND", "CLOSED", NULL});
  size_t i;
  json_t *w;
  json_array_foreach(windows, i, w) {
    const char *verdict = text_of(w, "verdict");
    if (i == WINDOWS_SHOWN) break;
    cli_table_row(table);
    cli_table_cell(table, cli_monitor_span(cli, w));
    cli_table_cell(table, cli_member(cli, w, "rows"));
    cli_table_cell_color(table, cli_verdict_color(verdict), verdict);
    cli_table_cell(table, cli_monitor_number(cli, cli_monitor_value(w, "value")));
    cli_table_cell(table, cli_monitor_number(cli, cli_monitor_value(w, "threshold")));
    cli_table_cell(table, cli_ago(cli, text_of(w, "closed_at")));
  }
  cli_table_print(table, NULL);
}

static void show_rule(struct cli *cli, const json_t *m) {
  const json_t *spec = json_object_get(m, "spec"), *rule = json_object_get(spec, "for");
  const json_t *warmup = json_object_get(spec, "warmup"), *reference = json_object_get(m, "reference");
  const char *then = cli_member(cli, spec, "then");
  cli_field(cli, "watches", cli_monitor_watches(cli, spec));
  cli_field(cli, "window", cli_monitor_window(cli, spec));
  if (json_is_object(rule)) {
    cli_field(cli, "fires",
              json_integer_value(json_object_get(rule, "of")) == 1
                  ? "at each window that is a hit"
                  : arena_printf(&cli->arena, "when %s of the last %s windows are hits", cli_member(cli, rule, "hits"),
                                 cli_member(cli, rule, "of")));
  }
  if (json_is_object(warmup)) {
    cli_field(cli, "warm-up",
              arena_printf(&cli->arena, "%s after a promotion", cli_monitor_extent(cli, spec, "warmup")));
  }
  cli_field(cli, "then", strcmp(then, "tell") == 0 ? "people are told" : "a retraining is proposed");
  if (json_object_get(spec, "window") != NULL) {
    cli_field(cli, "compares with",
              json_is_integer(reference) ? arena_printf(&cli->arena, "version %s", cli_member(cli, m, "reference"))
                                         : "nothing: no version is live");
    cli_field(cli, "next row", cli_member(cli, m, "next_row"));
  }
  cli_field(cli, "looks next", cli_ago(cli, text_of(m, "due_at")));
  if (json_is_false(json_object_get(m, "active")))
    cli_field(cli, "active", "no: it is not in the pipeline's file any more");
}

static void show(struct cli *cli, const json_t *m) {
  const json_t *windows = json_object_get(m, "windows"), *result = json_object_get(m, "latest");
  const json_t *last = json_array_get(windows, 0), *spec = json_object_get(m, "spec");
  if (!json_is_object(result)) result = json_object_get(last, "result");
  const char *verdict = cli_member(cli, last, "verdict");
  cli_printf("%s  %s\n",
             cli_paint(cli, CLI_BOLD,
                       arena_printf(&cli->arena, "%s/%s", cli_safe(cli, cli->argv[1]), cli_member(cli, m, "monitor"))),
             cli_member(cli, spec, "kind"));
  show_rule(cli, m);
  if (last == NULL) {
    if (json_object_get(spec, "window") != NULL) cli_printf("\nNo window has closed yet.\n");
    return;
  }
  cli_heading(cli, json_object_get(spec, "window") != NULL ? "Last window" : "Last time");
  cli_field(cli, "window", cli_monitor_span(cli, last));
  cli_field(cli, "closed", cli_ago(cli, text_of(last, "closed_at")));
  cli_field(cli, "verdict", cli_paint(cli, cli_verdict_color(text_of(last, "verdict")), verdict));
  cli_field(cli, "summary", cli_member(cli, result, "summary"));
  if (json_is_true(json_object_get(result, "held")))
    cli_field(cli, "held", "drift waits until the data are whole again");
  const json_t *late = json_object_get(result, "late");
  if (json_integer_value(late) > 0)
    cli_field(cli, "came late", arena_printf(&cli->arena, "%s rows", cli_member(cli, result, "late")));
  show_kind(cli, result);
  const json_t *newest = cli_monitor_newest(windows);
  if (newest != NULL) {
    cli_field(cli, "over time", cli_monitor_spark(cli, windows, cli_monitor_value(newest, "threshold"), SPARK_WIDTH));
  }
  show_columns(cli, json_object_get(result, "columns"));
  show_faults(cli, json_object_get(result, "faults"));
  show_versions(cli, json_object_get(result, "versions"));
  show_windows(cli, windows);
}

/* The monitor of the pipeline's document, or NULL; the names that there are go to the hint. */
static const json_t *find_monitor(struct cli *cli, const json_t *pipeline, const char *name, struct err *err) {
  json_t *names = json_array(), *m;
  size_t i;
  json_array_foreach(json_object_get(pipeline, "monitors"), i, m) {
    if (strcmp(text_of(m, "monitor"), name) == 0) {
      json_decref(names);
      return m;
    }
    if (json_is_true(json_object_get(m, "active"))) json_array_append(names, json_object_get(m, "monitor"));
  }
  const char *all = cli_join(cli, names);
  json_decref(names);
  err_set(err, ERR_NOT_FOUND, "no monitor of %s is named '%.60s'", cli->argv[1], name);
  err_hint(err, *all != '\0' ? "there are: %.200s" : "it has no monitors%s", all);
  return NULL;
}

bool monitor_show(struct cli *cli, struct err *err) {
  json_t *pipeline = NULL;
  if (cli->argc != 3) {
    err_set(err, ERR_USAGE, "monitor show: expected a pipeline and a monitor");
    return err_hint(err, "orch monitor list shows them");
  }
  struct db_value name = db_text(cli->argv[1]);
  if (!cli_call(cli, "select orch.api_pipeline($1)", 1, &name, &pipeline, err)) return false;
  const json_t *monitor = find_monitor(cli, pipeline, cli->argv[2], err);
  if (monitor != NULL && cli->json) {
    cli_print_json(cli, monitor);
  } else if (monitor != NULL) {
    show(cli, monitor);
  }
  json_decref(pipeline);
  return monitor != NULL;
}
