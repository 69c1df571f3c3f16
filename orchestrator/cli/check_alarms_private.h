/* What the files of check_alarms share: a monitor's window, and how often the kinds that compare no distributions speak
 * without a reason. */
#ifndef ORCH_CLI_CHECK_ALARMS_PRIVATE_H
#define ORCH_CLI_CHECK_ALARMS_PRIVATE_H

#include <math.h>

#include "cli/check_alarms.h"
#include "stats/alarm.h"

#define DAY_MS 86400000.0
#define MONTH_DAYS 30

static inline int64_t int_at(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}
static inline double real_at(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}
static inline const char *text_at(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

/* Rows of a window, and windows a month. A window by time whose rows nobody knows is taken to be as small as may be. */
int64_t check_window(const json_t *spec, const struct check_facts *facts, double *ret_windows);
/* Columns of numbers and of categories that a monitor looks at; guessed when nobody knows them. `names`: what they are
 * called is added, NULL: nobody asks. */
void check_columns(const json_t *pipeline, const json_t *spec, const struct check_facts *facts,
                   struct alarm_task *ret_task, json_t *names);
/* "chance alone, 3 columns" */
void check_columns_words(const struct alarm_task *task, struct strbuf *out);

enum check_sort { CHECK_EXPECTED, CHECK_AT_MOST, CHECK_PLANNED, CHECK_UNKNOWN };
/* One line about a monitor. NaN where there is no number. */
struct check_line {
  enum check_sort sort;
  const char *part; /* NULL: all of the monitor; else which part of its rule: "min", "max", "adwin", "page_hinkley" */
  double per_month; /* false alarms, or planned ones */
  double windows;   /* a month */
  int64_t rows;     /* of a window; 0 for none */
  struct alarm_task task;
  struct strbuf why;
};
/* Lines of a monitor of any kind but drift and prediction_drift; returns how many, 1 or 2. `why` is initialised and the
 * caller's. Warnings go to `warnings`. */
size_t check_kind_lines(const json_t *pipeline, const json_t *spec, const struct check_facts *facts, json_t *warnings,
                        struct check_line lines[2]);
void check_warn(json_t *warnings, const char *fmt, ...) ORCH_PRINTF(2, 3);

#endif
