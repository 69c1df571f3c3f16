/* What window_eval.c (judging) and window_say.c (putting it into documents) share. */
#ifndef ORCH_TRIGGER_WINDOW_PRIVATE_H
#define ORCH_TRIGGER_WINDOW_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stats/decide.h"
#include "stats/profile.h"
#include "trigger/window_eval.h"

struct window_column {
  const char *name;                 /* inside `spec` */
  const struct profile_column *ref; /* inside `profile`; NULL when it has no such column */
  struct profile_column now;
};

struct window_past {
  int64_t from_row;
  const json_t *result; /* inside `history` */
};

struct window_eval {
  json_t *spec, *history;
  const char *name;
  struct drift_rule rule;
  struct profile *profile;
  int champion;
  int64_t from_row, to_row, rows, now_us;
  bool has_times;
  int64_t oldest_us, newest_us;
  size_t n_columns, n_past;
  struct window_column *columns;
  struct window_past *past;  /* newest first */
  struct drift_column *said; /* per column, while finishing */
  struct drift_window window;
};

/* The documents of a judged window; mem_free() both. */
void window_say(const struct window_eval *eval, char **ret_result, char **ret_signals);

#endif
