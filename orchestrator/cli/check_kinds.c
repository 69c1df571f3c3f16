/* How often monitors that compare no distributions speak without a reason: a number where chance alone decides, else
 * why nobody can know in advance, and what tells. */
#include <string.h>

#include "base/units.h"
#include "cli/check_alarms_private.h"
#include "conf/cron.h"
#include "stats/adwin.h"

#define QUALITY_P_VALUE 0.001 /* stats/quality.h */

/* ---- how good the model is ---- */

enum reference { REFERENCE_NONE, REFERENCE_LEAST, REFERENCE_KNOWN };

/* The model's accuracy: what --metrics says, else the least that the pipeline's own checks let through. */
static enum reference reference_of(const json_t *pipeline, const struct check_facts *facts, double *ret) {
  const json_t *value = json_object_get(facts->metrics, "accuracy");
  size_t i;
  json_t *check;
  if (json_is_number(value)) {
    *ret = json_number_value(value);
    return REFERENCE_KNOWN;
  }
  json_array_foreach(json_object_get(pipeline, "checks"), i, check) {
    const json_t *min = json_object_get(check, "min");
    if (strcmp(text_at(check, "metric"), "accuracy") != 0 || json_is_string(json_object_get(check, "slice")) ||
        !json_is_number(min))
      continue;
    *ret = json_number_value(min);
    return REFERENCE_LEAST;
  }
  return REFERENCE_NONE;
}

static void replay_words(const json_t *pipeline, const char *data, struct strbuf *out) {
  strbuf_printf(out, "; orch monitor backtest %.100s --data %s tells", text_at(pipeline, "pipeline"), data);
}

/* An accuracy over the rows of a window, true or estimated, against its `min`. Estimates are means of numbers between 0
 * and 1, which vary at most as much as hits and misses do. */
static void accuracy_line(const json_t *pipeline, const json_t *spec, const struct check_facts *facts, json_t *warnings,
                          struct check_line *line) {
  const json_t *hits = json_object_get(spec, "for");
  bool estimate = strcmp(text_at(spec, "kind"), "performance") != 0;
  const char *what = estimate ? "scores" : "labels";
  double min = real_at(spec, "min"), accuracy;
  enum reference reference = reference_of(pipeline, facts, &accuracy);
  if (reference == REFERENCE_NONE) {
    strbuf_puts(&line->why, "depends on how good the model is: --metrics metrics.json says it");
    return replay_words(pipeline, "FILE", &line->why);
  }
  if (accuracy <= min && reference == REFERENCE_LEAST) {
    strbuf_printf(&line->why,
                  "the checks let a model of accuracy %.4g go live, which is not over its min; --metrics metrics.json "
                  "says how good yours is",
                  accuracy);
    return;
  }
  if (line->rows < int_at(spec, "min_rows")) {
    line->sort = CHECK_EXPECTED;
    line->per_month = 0;
    strbuf_puts(&line->why, "its windows are too small to be judged");
    return;
  }
  double h = alarm_share_below(accuracy, (uint64_t)line->rows, min);
  line->sort = estimate || reference == REFERENCE_LEAST ? CHECK_AT_MOST : CHECK_EXPECTED;
  line->per_month = line->windows * alarm_of_hits(h, (unsigned)int_at(hits, "hits"), (unsigned)int_at(hits, "of"));
  strbuf_printf(&line->why, "chance alone, %s accuracy %.4g, %lld %s a window",
                reference == REFERENCE_LEAST ? "with the least that the checks let go live," : "at its", accuracy,
                (long long)line->rows, what);
  if (accuracy <= min)
    check_warn(warnings, "monitor '%s' has a min of %.4g, and the model's accuracy is %.4g: it will nearly always fire",
               text_at(spec, "name"), min, accuracy);
}

static void detector_line(const json_t *pipeline, const json_t *spec, const struct check_facts *facts,
                          struct check_line *line) {
  struct adwin_params adwin = ADWIN_DEFAULT;
  double labels = line->windows * (double)line->rows, each = adwin.delta / adwin.clock;
  line->part = text_at(spec, "detector");
  if (strcmp(line->part, "adwin") != 0) {
    strbuf_puts(&line->why, "page_hinkley has no bound on its false alarms");
    return replay_words(pipeline, "FILE", &line->why);
  }
  line->sort = CHECK_AT_MOST;
  line->per_month = labels * each;
  strbuf_printf(&line->why,
                "ADWIN's bound, usually far fewer: delta %.3g at each look, one look in %u labels, so at most %.3g in "
                "1,000,000 labels",
                adwin.delta, adwin.clock, each * 1e6);
  if (facts->rows_per_day > 0) strbuf_puts(&line->why, " (if every row gets its label)");
  replay_words(pipeline, "FILE", &line->why);
}

static size_t performance_lines(const json_t *pipeline, const json_t *spec, const struct check_facts *facts,
                                json_t *warnings, struct check_line lines[2]) {
  const char *metric = text_at(spec, "metric");
  lines[0].part = json_is_number(json_object_get(spec, "min")) ? "min" : "max";
  if (strcmp(metric, "accuracy") == 0) {
    accuracy_line(pipeline, spec, facts, warnings, &lines[0]);
  } else {
    strbuf_printf(&lines[0].why, "how much %s varies from window to window depends on the data", metric);
    replay_words(pipeline, "FILE", &lines[0].why);
  }
  if (!json_is_string(json_object_get(spec, "detector"))) return 1;
  lines[1].windows = lines[0].windows;
  lines[1].rows = lines[0].rows;
  detector_line(pipeline, spec, facts, &lines[1]);
  return 2;
}

/* ---- the other kinds ---- */

/* Each check of each column needs a jump of its share that chance does not make. Columns that are nearly constant and
 * windows that come sorted are no chance of this kind. */
static void quality_line(const json_t *pipeline, const json_t *spec, const struct check_facts *facts,
                         struct check_line *line) {
  static const struct {
    const char *key;
    bool numeric, categorical;
  } checks[] = {
      {"null_jump", true, true}, {"type_share", true, true}, {"out_of_range", true, false}, {"unseen", false, true}};
  const json_t *hits = json_object_get(spec, "for");
  double h = 0;
  check_columns(pipeline, spec, facts, &line->task, NULL);
  for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
    const json_t *jump = json_object_get(spec, checks[i].key);
    unsigned columns =
        (checks[i].numeric ? line->task.numeric : 0) + (checks[i].categorical ? line->task.categorical : 0);
    if (!json_is_number(jump)) continue;
    h += columns * alarm_jump(json_number_value(jump), QUALITY_P_VALUE, (uint64_t)line->rows, line->task.ref_rows);
  }
  h = line->rows < int_at(spec, "min_rows") ? 0 : fmin(1, h);
  line->sort = CHECK_AT_MOST;
  line->per_month = line->windows * alarm_of_hits(h, (unsigned)int_at(hits, "hits"), (unsigned)int_at(hits, "of"));
  check_columns_words(&line->task, &line->why);
  strbuf_puts(&line->why, ", a bound for shares near one half: far fewer near 0");
  const json_t *rows = json_object_get(spec, "rows");
  if (json_is_number(json_object_get(rows, "min")) || json_is_number(json_object_get(rows, "max")))
    strbuf_puts(&line->why, "; how many rows come is the traffic's doing");
}

static void latency_line(const json_t *pipeline, const json_t *spec, struct check_line *line) {
  char max[UNITS_TEXT_SIZE];
  units_format_duration(int_at(spec, "max_ms"), max);
  strbuf_printf(&line->why, "depends on how many answers take more than %s when all is well", max);
  replay_words(pipeline, "FILE", &line->why);
}

/* A pause that is usual is an alarm too. Were rows to come by chance alone, at an even rate r, T r exp(-r s) gaps of T
 * would be longer than s. */
static void volume_line(const json_t *spec, const struct check_facts *facts, json_t *warnings,
                        struct check_line *line) {
  double silence_ms = real_at(spec, "silence_ms"), per_ms = (double)facts->rows_per_day / DAY_MS;
  char silence[UNITS_TEXT_SIZE], between[UNITS_TEXT_SIZE];
  units_format_duration(int_at(spec, "silence_ms"), silence);
  strbuf_printf(&line->why,
                "one for every pause of more than %s, usual ones (a night, a weekend) too: compare it with the longest "
                "pause in the times of past rows",
                silence);
  if (facts->rows_per_day == 0) return;
  double gaps = MONTH_DAYS * (double)facts->rows_per_day * exp(-per_ms * silence_ms);
  if (gaps < 0.1) return;
  units_format_duration((int64_t)(1 / per_ms), between);
  check_warn(warnings,
             "monitor '%s' alarms after %s, and at %lld rows a day one comes every %s: about %.2g alarms a month even "
             "when rows come evenly by day and night",
             text_at(spec, "name"), silence, (long long)facts->rows_per_day, between, gaps);
}

/* Fires of a calendar month, over the 400 years after which the calendar repeats. Each hour of a day is there once:
 * what the clock's changes take away in spring they give back in autumn. */
static double fires_a_month(const struct cron *cron) {
  static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  int64_t days = 0;
  int weekday = 6; /* 2000-01-01 was a Saturday */
  for (int year = 2000; year < 2400; year++)
    for (int month = 1; month <= 12; month++) {
      bool leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
      for (int day = 1; day <= lengths[month - 1] + leap; day++, weekday = (weekday + 1) % 7) {
        bool on = cron->day >> day & 1, of_week = cron->weekday >> weekday & 1;
        if (!(cron->month >> month & 1)) continue;
        days += cron->day_any || cron->weekday_any ? on && of_week : on || of_week;
      }
    }
  return (double)days * __builtin_popcountll(cron->hour) * __builtin_popcountll(cron->minute) / (400 * 12);
}

static void schedule_line(const json_t *spec, struct check_line *line) {
  struct cron cron;
  struct err err = {0};
  if (!cron_parse(text_at(json_object_get(spec, "cron"), "text"), &cron, &err)) {
    strbuf_puts(&line->why, err.text);
    return;
  }
  line->sort = CHECK_PLANNED;
  line->per_month = fires_a_month(&cron);
  strbuf_printf(&line->why, "fires by plan, %.3g times a month", line->per_month);
}

static void probe_line(const json_t *spec, struct check_line *line) {
  bool above = json_is_number(json_object_get(spec, "above"));
  strbuf_printf(&line->why, "the numbers are kept elsewhere: look there how often it was %s %.6g in a good month",
                above ? "above" : "below", real_at(spec, above ? "above" : "below"));
}

size_t check_kind_lines(const json_t *pipeline, const json_t *spec, const struct check_facts *facts, json_t *warnings,
                        struct check_line lines[2]) {
  const char *kind = text_at(spec, "kind");
  for (size_t i = 0; i < 2; i++) {
    lines[i] = (struct check_line){.sort = CHECK_UNKNOWN, .per_month = NAN, .windows = NAN};
    strbuf_init(&lines[i].why, 1000);
  }
  if (json_object_get(spec, "window") != NULL) lines[0].rows = check_window(spec, facts, &lines[0].windows);
  if (strcmp(kind, "performance") == 0) return performance_lines(pipeline, spec, facts, warnings, lines);
  if (strcmp(kind, "estimated_performance") == 0)
    accuracy_line(pipeline, spec, facts, warnings, &lines[0]);
  else if (strcmp(kind, "quality") == 0)
    quality_line(pipeline, spec, facts, &lines[0]);
  else if (strcmp(kind, "latency") == 0)
    latency_line(pipeline, spec, &lines[0]);
  else if (strcmp(kind, "volume") == 0)
    volume_line(spec, facts, warnings, &lines[0]);
  else if (strcmp(kind, "schedule") == 0)
    schedule_line(spec, &lines[0]);
  else
    probe_line(spec, &lines[0]);
  return 1;
}
