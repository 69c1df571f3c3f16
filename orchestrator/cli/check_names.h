/* Names of columns that are no measurements: calendars and counters, which drift by their nature. */
#ifndef ORCH_CLI_CHECK_NAMES_H
#define ORCH_CLI_CHECK_NAMES_H

#include <stdbool.h>

/* Is this the name of something that only grows or goes round, as `month`, `created_at`, `orderDate`, `user_id`? Only
 * the last part of a nested key counts. Durations (`days_open`, `lead_time`) are measurements. */
bool check_is_calendar(const char *column);

#endif
