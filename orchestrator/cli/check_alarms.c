#include "cli/check_alarms.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "cli/check_names.h"
#include "stats/alarm.h"

#define DAY_MS 86400000.0
#define MONTH_DAYS 30
#define COLUMNS_UNKNOWN 20 /* of a monitor over all columns, when nobody says how many there are */

/* One drift monitor's numbers, as check_alarms() found or assumed them. */
struct monitor_facts {
  const json_t *spec;
  const char *name;
  double windows; /* a month */
  int64_t rows;   /* of a window */
  struct drift_rule rule;
  struct alarm_task task;
  double per_month;
};

static int64_t int_at(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}

static double real_at(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

static const char *text_at(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

static void warn(json_t *warnings, const char *fmt, ...) ORCH_PRINTF(2, 3);
static void warn(json_t *warnings, const char *fmt, ...) {
  struct strbuf text;
  strbuf_init(&text, 4096);
  va_list args;
  va_start(args, fmt);
  strbuf_vprintf(&text, fmt, args);
  va_end(args);
  json_array_append_new(warnings, json_string(strbuf_text(&text)));
  strbuf_fini(&text);
}

/* Rows of a window, and windows a month. A window by time whose rows nobody knows is taken to be as small as may be. */
static int64_t window_size(const json_t *spec, const struct check_facts *facts, double *ret_windows) {
  const json_t *window = json_object_get(spec, "window");
  double ms = real_at(window, "ms"), per_day = (double)facts->rows_per_day;
  if (ms > 0) {
    *ret_windows = MONTH_DAYS * DAY_MS / ms;
    return per_day > 0 ? (int64_t)(per_day * ms / DAY_MS) : int_at(spec, "min_rows");
  }
  int64_t rows = int_at(window, "rows");
  *ret_windows = MONTH_DAYS * (per_day > 0 && rows > 0 ? per_day / (double)rows : 24);
  return rows;
}

static bool is_reserved(const json_t *observations, const char *name) {
  static const char *const keys[] = {"id", "at", "prediction", "score", "version", "latency"};
  for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
    if (strcmp(text_at(observations, keys[i]), name) == 0) return true;
  }
  return *text_at(observations, "at") == '\0' && (strcmp(name, "at") == 0 || strcmp(name, "timestamp") == 0);
}

static bool is_categorical(const struct check_facts *facts, const char *name) {
  const struct profile_column *column = facts->profile != NULL ? profile_column(facts->profile, name) : NULL;
  return column != NULL && column->kind == PROFILE_CATEGORICAL;
}

/* Counts the monitor's columns, and warns of those that always drift. */
static void count_columns(const json_t *pipeline, const json_t *spec, const struct check_facts *facts,
                          struct alarm_task *task, json_t *warnings) {
  json_t *columns = json_object_get(spec, "columns"), *names = json_array(), *column;
  size_t i;
  if (json_array_size(columns) > 0) {
    json_array_extend(names, columns);
  } else if (strcmp(text_at(spec, "kind"), "prediction_drift") == 0) {
    task->numeric = task->categorical = 1; /* score and prediction */
  } else if (facts->profile != NULL) {
    for (i = 0; i < facts->profile->n_columns; i++) {
      const char *name = facts->profile->columns[i].name;
      if (!is_reserved(json_object_get(pipeline, "observations"), name))
        json_array_append_new(names, json_string(name));
    }
  } else {
    task->numeric = COLUMNS_UNKNOWN;
  }
  struct strbuf calendars;
  strbuf_init(&calendars, 4096);
  json_array_foreach(names, i, column) {
    const char *name = json_string_value(column);
    if (is_categorical(facts, name)) {
      task->categorical++;
    } else {
      task->numeric++;
    }
    if (check_is_calendar(name)) strbuf_printf(&calendars, "%s'%.80s'", calendars.len > 0 ? ", " : "", name);
  }
  if (calendars.len > 0) {
    warn(warnings,
         "monitor '%s' watches %s: what looks like a calendar or a counter always drifts; name the other columns",
         text_at(spec, "name"), strbuf_text(&calendars));
  }
  strbuf_fini(&calendars);
  json_decref(names);
}

static double expect(const struct monitor_facts *m, const struct drift_rule *rule, uint64_t rows, double windows) {
  struct alarm_task task = m->task;
  task.rows = rows;
  return alarm_expected(rule, &task).alarms * windows;
}

static struct monitor_facts read_monitor(const json_t *pipeline, const json_t *spec, const struct check_facts *facts,
                                         json_t *warnings) {
  const json_t *hits = json_object_get(spec, "for");
  struct monitor_facts m = {.spec = spec, .name = text_at(spec, "name"), .rule = DRIFT_RULE_DEFAULT};
  m.rows = window_size(spec, facts, &m.windows);
  m.task.rows = (uint64_t)m.rows;
  m.task.ref_rows = facts->profile != NULL ? facts->profile->rows : 0;
  count_columns(pipeline, spec, facts, &m.task, warnings);
  m.rule.min_rows = (uint64_t)int_at(spec, "min_rows");
  m.rule.psi = real_at(spec, "psi");
  m.rule.p_value = real_at(spec, "p_value");
  m.rule.hits = (unsigned)int_at(hits, "hits");
  m.rule.of = (unsigned)(int_at(hits, "of") < DRIFT_OF_MAX ? int_at(hits, "of") : DRIFT_OF_MAX);
  m.per_month = expect(&m, &m.rule, m.task.rows, m.windows);
  return m;
}

/* What would bring the worst monitor under `limit` a month: one change of its rule, the first of these that does. */
static void advise(const struct monitor_facts *m, double limit, json_t *warnings) {
  struct drift_rule twice = m->rule, strict = m->rule;
  twice.hits = 2, twice.of = 3;
  strict.p_value = m->rule.p_value / 100;
  const char *start = "most of them come from monitor";
  if (m->rule.hits < 2 && expect(m, &twice, m->task.rows, m->windows) <= limit) {
    warn(warnings, "%s '%s': with 'for: 2 of 3' it would be %.2g", start, m->name,
         expect(m, &twice, m->task.rows, m->windows));
  } else if (expect(m, &strict, m->task.rows, m->windows) <= limit) {
    warn(warnings, "%s '%s': with 'p_value: %g' it would be %.2g", start, m->name, strict.p_value,
         expect(m, &strict, m->task.rows, m->windows));
  } else {
    for (unsigned times = 2; times <= 64; times *= 2) {
      double fewer = expect(m, &m->rule, m->task.rows * times, m->windows / times);
      if (fewer > limit && times < 64) continue;
      warn(warnings, "%s '%s': with windows %u times as large it would be %.2g; a larger 'psi' helps too", start,
           m->name, times, fewer);
      return;
    }
  }
}

/* Rules that windows of this size cannot serve. */
static void warn_of_size(const json_t *spec, const struct check_facts *facts, json_t *warnings) {
  const char *kind = text_at(spec, "kind"), *name = text_at(spec, "name");
  double windows, quantile = real_at(spec, "quantile"), min = real_at(spec, "min");
  if (json_object_get(spec, "window") == NULL) return;
  int64_t rows = window_size(spec, facts, &windows), least = int_at(spec, "min_rows");
  bool by_time = json_object_get(json_object_get(spec, "window"), "ms") != NULL,
       labels = strcmp(kind, "performance") == 0;
  if (by_time && (facts->rows_per_day == 0 || labels)) return; /* nobody knows how many there are */
  if (rows < least) {
    warn(warnings, "monitor '%s' gets about %lld rows a window, under its 'min_rows' of %lld: it will never be judged",
         name, (long long)rows, (long long)least);
  } else if (strcmp(kind, "latency") == 0 && (double)rows * (1 - quantile) < 5) {
    warn(warnings,
         "monitor '%s' has windows of %lld rows, of which %.2g lie above the quantile %g: a few slow answers decide; "
         "expected at least %.0f rows",
         name, (long long)rows, (double)rows * (1 - quantile), quantile, ceil(5 / (1 - quantile)));
  } else if (min > 0 &&
             (strcmp(text_at(spec, "metric"), "accuracy") == 0 || strcmp(text_at(spec, "metric"), "f1") == 0)) {
    double half = 1.96 * sqrt(min * (1 - min) / (double)rows);
    if (half > 0.05) {
      warn(warnings, "monitor '%s' has windows of %lld %s, in which %s is known to within %.2g: expected at least %.0f",
           name, (long long)rows, labels ? "labels" : "rows", text_at(spec, "metric"), half,
           ceil(min * (1 - min) * 1.96 * 1.96 / 0.0025));
    }
  }
}

/* PSI has a level of its own when nothing drifts: 9 (1/n + 1/m) on average over ten bins. */
static void warn_of_noise(const struct monitor_facts *m, json_t *warnings) {
  double ref = m->task.ref_rows > 0 ? (double)m->task.ref_rows : 10 * (double)m->rows;
  double noise = m->rows > 0 ? 9 * (1 / (double)m->rows + 1 / ref) : 0;
  if (m->rows < (int64_t)m->rule.min_rows || noise <= m->rule.psi / 2) return;
  warn(warnings,
       "monitor '%s' compares %lld rows with %.0f: chance alone makes a PSI of about %.2g there, and its 'psi' is %g; "
       "expected larger windows%s",
       m->name, (long long)m->rows, ref, noise, m->rule.psi,
       m->task.ref_rows > 0 ? ", or more rows in profile.csv" : "");
}

json_t *check_alarms(const json_t *spec, const struct check_facts *facts) {
  json_t *list = json_array(), *warnings = json_array(), *monitor;
  struct monitor_facts worst = {0};
  double total = 0;
  size_t i;
  json_array_foreach(json_object_get(spec, "monitors"), i, monitor) {
    const char *kind = text_at(monitor, "kind");
    warn_of_size(monitor, facts, warnings);
    if (strcmp(kind, "drift") != 0 && strcmp(kind, "prediction_drift") != 0) continue;
    struct monitor_facts m = read_monitor(spec, monitor, facts, warnings);
    warn_of_noise(&m, warnings);
    total += m.per_month;
    if (m.per_month > worst.per_month) worst = m;
    json_array_append_new(list,
                          json_pack("{s:s, s:s, s:f, s:I, s:o, s:i, s:f}", "monitor", m.name, "kind", kind,
                                    "windows_per_month", m.windows, "rows", (json_int_t)m.rows, "reference_rows",
                                    m.task.ref_rows > 0 ? json_integer((json_int_t)m.task.ref_rows) : json_null(),
                                    "columns", (int)(m.task.numeric + m.task.categorical), "per_month", m.per_month));
  }
  if (total > 1) {
    warn(warnings, "expect about %.0f false alarms a month: people stop looking at what cries wolf", total);
    advise(&worst, fmax(0.1, 1 - (total - worst.per_month)), warnings);
  }
  return json_pack("{s:f, s:o, s:o, s:o}", "per_month", total, "rows_per_day",
                   facts->rows_per_day > 0 ? json_integer(facts->rows_per_day) : json_null(), "warnings", warnings,
                   "monitors", list);
}

/* "< 0.001", "0.36", "1250": what matters is whether it is far from one. */
static const char *rate(struct cli *cli, double per_month) {
  if (per_month > 0 && per_month < 0.001) return "< 0.001";
  return arena_printf(&cli->arena, per_month < 10 ? "%.2g" : "%.0f", per_month);
}

void check_alarms_print(struct cli *cli, const json_t *alarms, const struct check_facts *facts) {
  const json_t *monitors = json_object_get(alarms, "monitors");
  bool guessed_columns = false;
  size_t i;
  json_t *m, *warning;
  if (json_array_size(monitors) > 0) {
    struct cli_table *table =
        cli_table_new(cli, (const char *const[]){"MONITOR", "KIND", ">COLUMNS", ">ROWS A WINDOW", ">WINDOWS A MONTH",
                                                 ">FALSE ALARMS A MONTH", NULL});
    json_array_foreach(monitors, i, m) {
      cli_table_row(table);
      cli_table_cell(table, text_at(m, "monitor"));
      cli_table_cell(table, text_at(m, "kind"));
      cli_table_cell(table, cli_member(cli, m, "columns"));
      cli_table_cell(table, cli_member(cli, m, "rows"));
      cli_table_cell_printf(table, "%.0f", real_at(m, "windows_per_month"));
      cli_table_cell(table, rate(cli, real_at(m, "per_month")));
      guessed_columns = guessed_columns || (int_at(m, "columns") == COLUMNS_UNKNOWN && facts->profile == NULL);
    }
    cli_printf("\n");
    cli_table_print(table, NULL);
    cli_printf("Expected without any drift: %s false alarms a month in all.\n",
               rate(cli, real_at(alarms, "per_month")));
    if (facts->rows_per_day == 0) {
      cli_printf("  Taken for granted: a window by rows is an hour, one by time just has its min_rows; --rows-per-day "
                 "N says it.\n");
    }
    if (facts->profile == NULL) {
      cli_printf("  Taken for granted: ten windows of reference rows%s; --profile FILE.csv counts.\n",
                 guessed_columns ? ", 20 columns where all are watched" : "");
    }
  }
  json_array_foreach(json_object_get(alarms, "warnings"), i, warning) {
    cli_printf("%s %s\n", cli_paint(cli, CLI_YELLOW, "warning:"), cli_safe(cli, json_string_value(warning)));
  }
}
