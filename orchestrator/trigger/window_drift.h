/* What window_drift.c (judging) and window_column_doc.c (a column as a document) share. */
#ifndef ORCH_TRIGGER_WINDOW_DRIFT_H
#define ORCH_TRIGGER_WINDOW_DRIFT_H

#include "stats/decide.h"
#include "trigger/window_columns.h"

json_t *window_column_doc(const struct window_column *column, const struct profile_column *now,
                          const struct drift_column *decided, double importance, const char *since_at);

#endif
