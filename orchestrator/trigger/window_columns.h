/* The columns of the champion's profile that a monitor looks at, and a window's sketches of them. For the kinds drift,
 * prediction_drift and quality. */
#ifndef ORCH_TRIGGER_WINDOW_COLUMNS_H
#define ORCH_TRIGGER_WINDOW_COLUMNS_H

#include "stats/profile.h"
#include "trigger/monitor_private.h"

struct window_column {
  char *name;
  const struct profile_column *ref; /* NULL: the profile has no such column */
  size_t place;                     /* among the row's cells */
};
struct window_columns {
  size_t n;
  struct window_column *items;
};

/* The spec's `columns`; when it names none, those that `otherwise` (NULL-terminated) names, or, when that is NULL,
 * every column of the profile that is no reserved key. ERR_INVALID when there is none at all or too many. */
bool window_columns_init(struct window_columns *columns, const struct monitor *monitor, const char *const *otherwise,
                         struct wanted *wanted, struct err *err) ORCH_MUST_CHECK;
void window_columns_fini(struct window_columns *columns);

/* A window's sketches: one per column, those without reference unused. Numbers are gathered by column and counted many
 * at a time, which is several times as quick as one by one; the sketches are the same. */
#define WINDOW_GATHERED_MAX 256
struct window_sketches {
  struct profile_column *columns; /* without what is gathered: window_columns_whole() */
  struct window_gathered {
    size_t n;
    double values[WINDOW_GATHERED_MAX];
  } * gathered;
};
struct window_sketches *window_columns_open(const struct window_columns *columns);
void window_columns_drop(const struct window_columns *columns, struct window_sketches *now);
size_t window_columns_bytes(const struct window_columns *columns);
/* Counts what is gathered; the sketches, which then hold all that was added. */
struct profile_column *window_columns_whole(const struct window_columns *columns, struct window_sketches *now);
/* The row's cell of a column, as its sketch counts it. */
struct cell window_columns_cell(const struct window_column *column, const struct monitor_row *row);
/* Adds the row, or one cell of it, to the column's sketch. */
void window_columns_add(const struct window_columns *columns, struct window_sketches *now,
                        const struct monitor_row *row);
void window_columns_add_cell(struct window_sketches *now, size_t column, struct cell cell);

#endif
