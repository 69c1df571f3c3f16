#include "cli/check_alarms.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "cli/check_alarms_private.h"
#include "cli/check_names.h"

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

void check_warn(json_t *warnings, const char *fmt, ...) {
  struct strbuf text;
  strbuf_init(&text, 4096);
  va_list args;
  va_start(args, fmt);
  strbuf_vprintf(&text, fmt, args);
  va_end(args);
  json_array_append_new(warnings, json_string(strbuf_text(&text)));
  strbuf_fini(&text);
}

int64_t check_window(const json_t *spec, const struct check_facts *facts, double *ret_windows) {
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

void check_columns(const json_t *pipeline, const json_t *spec, const struct check_facts *facts, struct alarm_task *task,
                   json_t *ret_names) {
  json_t *columns = json_object_get(spec, "columns"), *names = json_array(), *column;
  size_t i;
  task->ref_rows = facts->profile != NULL ? facts->profile->rows : 0;
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
  json_array_foreach(names, i, column) {
    if (is_categorical(facts, json_string_value(column)))
      task->categorical++;
    else
      task->numeric++;
  }
  if (ret_names) json_array_extend(ret_names, names);
  json_decref(names);
}

void check_columns_words(const struct alarm_task *task, struct strbuf *out) {
  unsigned n = task->numeric + task->categorical;
  strbuf_printf(out, "chance alone, %u column%s", n, n == 1 ? "" : "s");
}

static void warn_of_calendars(const char *monitor, const json_t *names, json_t *warnings) {
  struct strbuf calendars;
  size_t i;
  json_t *column;
  strbuf_init(&calendars, 4096);
  json_array_foreach(names, i, column) {
    const char *name = json_string_value(column);
    if (check_is_calendar(name)) strbuf_printf(&calendars, "%s'%.80s'", calendars.len > 0 ? ", " : "", name);
  }
  if (calendars.len > 0) {
    check_warn(warnings,
               "monitor '%s' watches %s: what looks like a calendar or a counter always drifts; name the other columns",
               monitor, strbuf_text(&calendars));
  }
  strbuf_fini(&calendars);
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
  m.rows = check_window(spec, facts, &m.windows);
  m.task.rows = (uint64_t)m.rows;
  json_t *names = json_array();
  check_columns(pipeline, spec, facts, &m.task, names);
  warn_of_calendars(m.name, names, warnings);
  json_decref(names);
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
    check_warn(warnings, "%s '%s': with 'for: 2 of 3' it would be %.2g", start, m->name,
               expect(m, &twice, m->task.rows, m->windows));
  } else if (expect(m, &strict, m->task.rows, m->windows) <= limit) {
    check_warn(warnings, "%s '%s': with 'p_value: %g' it would be %.2g", start, m->name, strict.p_value,
               expect(m, &strict, m->task.rows, m->windows));
  } else {
    for (unsigned times = 2; times <= 64; times *= 2) {
      double fewer = expect(m, &m->rule, m->task.rows * times, m->windows / times);
      if (fewer > limit && times < 64) continue;
      check_warn(warnings, "%s '%s': with windows %u times as large it would be %.2g; a larger 'psi' helps too", start,
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
  int64_t rows = check_window(spec, facts, &windows), least = int_at(spec, "min_rows");
  bool by_time = json_object_get(json_object_get(spec, "window"), "ms") != NULL,
       labels = strcmp(kind, "performance") == 0;
  if (by_time && (facts->rows_per_day == 0 || labels)) return; /* nobody knows how many there are */
  if (rows < least) {
    check_warn(warnings,
               "monitor '%s' gets about %lld rows a window, under its 'min_rows' of %lld: it will never be judged",
               name, (long long)rows, (long long)least);
  } else if (strcmp(kind, "latency") == 0 && (double)rows * (1 - quantile) < 5) {
    check_warn(
        warnings,
        "monitor '%s' has windows of %lld rows, of which %.2g lie above the quantile %g: a few slow answers decide; "
        "expected at least %.0f rows",
        name, (long long)rows, (double)rows * (1 - quantile), quantile, ceil(5 / (1 - quantile)));
  } else if (min > 0 &&
             (strcmp(text_at(spec, "metric"), "accuracy") == 0 || strcmp(text_at(spec, "metric"), "f1") == 0)) {
    double half = 1.96 * sqrt(min * (1 - min) / (double)rows);
    if (half > 0.05) {
      check_warn(warnings,
                 "monitor '%s' has windows of %lld %s, in which %s is known to within %.2g: expected at least %.0f",
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
  check_warn(
      warnings,
      "monitor '%s' compares %lld rows with %.0f: chance alone makes a PSI of about %.2g there, and its 'psi' is %g; "
      "expected larger windows%s",
      m->name, (long long)m->rows, ref, noise, m->rule.psi,
      m->task.ref_rows > 0 ? ", or more rows in profile.csv" : "");
}

static json_t *number_or_null(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

/* Adds a monitor's line to `list`, and its number to the sum of its sort. */
static void add_line(const json_t *spec, const struct check_line *line, const struct check_facts *facts, json_t *list,
                     double sums[4]) {
  static const char *const sorts[] = {"expected", "at_most", "planned", "unknown"};
  bool by_rows = json_object_get(json_object_get(spec, "window"), "rows") != NULL;
  unsigned columns = line->task.numeric + line->task.categorical;
  double rows = line->windows * (double)line->rows, per_million = by_rows ? line->per_month / rows * 1e6 : NAN;
  struct strbuf why;
  strbuf_init(&why, 1200);
  strbuf_puts(&why, strbuf_text(&line->why));
  if (line->sort <= CHECK_AT_MOST && isfinite(per_million) && facts->rows_per_day == 0 && per_million >= 0.001)
    strbuf_printf(&why, per_million < 10 ? " (%s%.2g in 1,000,000 %s)" : " (%s%.0f in 1,000,000 %s)",
                  line->sort == CHECK_AT_MOST ? "at most " : "", per_million,
                  strcmp(text_at(spec, "kind"), "performance") == 0 ? "labels" : "rows");
  sums[line->sort] += line->sort == CHECK_UNKNOWN ? 1 : line->per_month;
  json_array_append_new(
      list,
      json_pack("{s:s, s:s, s:s?, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "monitor", text_at(spec, "name"), "kind",
                text_at(spec, "kind"), "part", line->part, "is", sorts[line->sort], "per_month",
                number_or_null(line->per_month), "per_million_rows", number_or_null(per_million), "windows_per_month",
                number_or_null(line->windows), "rows", isfinite(line->windows) ? json_integer(line->rows) : json_null(),
                "reference_rows", line->task.ref_rows > 0 ? json_integer((json_int_t)line->task.ref_rows) : json_null(),
                "columns", columns > 0 ? json_integer(columns) : json_null(), "why", strbuf_text(&why)));
  strbuf_fini(&why);
}

static struct check_line drift_line(const struct monitor_facts *m) {
  struct check_line line = {
      .sort = CHECK_EXPECTED, .per_month = m->per_month, .windows = m->windows, .rows = m->rows, .task = m->task};
  strbuf_init(&line.why, 200);
  check_columns_words(&m->task, &line.why);
  return line;
}

json_t *check_alarms(const json_t *spec, const struct check_facts *facts) {
  json_t *list = json_array(), *warnings = json_array(), *monitor;
  struct monitor_facts worst = {0};
  double sums[4] = {0}, others = 0;
  size_t i;
  json_array_foreach(json_object_get(spec, "monitors"), i, monitor) {
    const char *kind = text_at(monitor, "kind");
    struct check_line lines[2];
    size_t n = 1;
    warn_of_size(monitor, facts, warnings);
    if (strcmp(kind, "drift") == 0 || strcmp(kind, "prediction_drift") == 0) {
      struct monitor_facts m = read_monitor(spec, monitor, facts, warnings);
      warn_of_noise(&m, warnings);
      if (m.per_month > worst.per_month) worst = m;
      lines[0] = drift_line(&m);
      strbuf_init(&lines[1].why, 1);
    } else {
      n = check_kind_lines(spec, monitor, facts, warnings, lines);
      if (lines[0].sort == CHECK_EXPECTED) others += lines[0].per_month;
    }
    for (size_t k = 0; k < n; k++) add_line(monitor, &lines[k], facts, list, sums);
    for (size_t k = 0; k < 2; k++) strbuf_fini(&lines[k].why);
  }
  double total = sums[CHECK_EXPECTED];
  if (total > 1) {
    check_warn(warnings, "expect about %.0f false alarms a month: people stop looking at what cries wolf", total);
    if (worst.per_month > others)
      advise(&worst, fmax(0.1, 1 - (total - worst.per_month)), warnings);
    else
      check_warn(warnings,
                 "most of them come from lines close to the model's own accuracy: larger windows, or a lower min");
  }
  return json_pack("{s:f, s:f, s:f, s:i, s:o, s:o, s:o}", "per_month", total, "at_most_more", sums[CHECK_AT_MOST],
                   "planned", sums[CHECK_PLANNED], "unknown", (int)sums[CHECK_UNKNOWN], "rows_per_day",
                   facts->rows_per_day > 0 ? json_integer(facts->rows_per_day) : json_null(), "warnings", warnings,
                   "monitors", list);
}

/* "< 0.001", "0.36", "1250": what matters is whether it is far from one. */
static const char *rate(struct cli *cli, double per_month) {
  if (per_month > 0 && per_month < 0.001) return "< 0.001";
  return arena_printf(&cli->arena, per_month < 10 ? "%.2g" : "%.0f", per_month);
}

static const char *rate_cell(struct cli *cli, const json_t *m) {
  const char *is = text_at(m, "is"), *number = rate(cli, real_at(m, "per_month"));
  if (strcmp(is, "unknown") == 0) return "?";
  if (strcmp(is, "planned") == 0) return "-";
  if (strcmp(is, "at_most") != 0) return number;
  return *number == '<' ? number : arena_printf(&cli->arena, "<= %s", number);
}

static void monitors_table(struct cli *cli, const json_t *monitors) {
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"MONITOR", "KIND", ">WINDOWS A MONTH", ">ROWS EACH",
                                               ">FALSE ALARMS A MONTH", "|WHY", NULL});
  size_t i;
  json_t *m;
  json_array_foreach(monitors, i, m) {
    bool windows = json_is_number(json_object_get(m, "windows_per_month"));
    const char *part = text_at(m, "part");
    cli_table_row(table);
    cli_table_cell(table,
                   *part ? arena_printf(&cli->arena, "%s (%s)", text_at(m, "monitor"), part) : text_at(m, "monitor"));
    cli_table_cell(table, text_at(m, "kind"));
    cli_table_cell(table, windows ? arena_printf(&cli->arena, "%.0f", real_at(m, "windows_per_month")) : "-");
    cli_table_cell(table, windows ? cli_member(cli, m, "rows") : "-");
    cli_table_cell(table, rate_cell(cli, m));
    cli_table_cell(table, text_at(m, "why"));
  }
  cli_printf("\n");
  cli_table_print(table, NULL);
}

void check_alarms_print(struct cli *cli, const json_t *alarms, const struct check_facts *facts) {
  const json_t *monitors = json_object_get(alarms, "monitors");
  bool guessed_columns = false, guessed_rows = false;
  size_t i;
  json_t *m, *warning;
  json_array_foreach(monitors, i, m) {
    guessed_columns = guessed_columns || int_at(m, "columns") == COLUMNS_UNKNOWN;
    guessed_rows = guessed_rows || json_is_integer(json_object_get(m, "rows"));
  }
  if (json_array_size(monitors) > 0) {
    monitors_table(cli, monitors);
    cli_printf("Expected while all is well: %s false alarms a month in all", rate(cli, real_at(alarms, "per_month")));
    if (real_at(alarms, "at_most_more") > 0)
      cli_printf(", by the bounds (<=) at most %s more", rate(cli, real_at(alarms, "at_most_more")));
    if (int_at(alarms, "unknown") > 0) cli_printf(", and what nobody can know in advance (?)");
    cli_printf(".\n");
    if (guessed_rows && facts->rows_per_day == 0) {
      cli_printf("  Taken for granted: a window by rows is an hour, one by time just has its min_rows; --rows-per-day "
                 "N says it.\n");
    }
    if (facts->profile == NULL && (guessed_columns || guessed_rows)) {
      cli_printf("  Taken for granted: ten windows of reference rows%s; --profile FILE.csv counts.\n",
                 guessed_columns ? ", 20 columns where all are watched" : "");
    }
  }
  json_array_foreach(json_object_get(alarms, "warnings"), i, warning) {
    cli_printf("%s %s\n", cli_paint(cli, CLI_YELLOW, "warning:"), cli_safe(cli, json_string_value(warning)));
  }
}
