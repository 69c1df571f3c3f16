/* Cron times as people write them in a pipeline file: "0 3 * * 1 Europe/Berlin", read and checked, not run.
 *
 * Five fields and, when wanted, a time zone (default UTC): minute 0-59, hour 0-23, day of the month 1-31, month 1-12 or
 * jan-dec, weekday 0-7 or sun-sat (0 and 7 are Sunday). A field is a list with commas of numbers, ranges `1-5`, and
 * `*`; a range or `*` may carry a step, as in `0-59/15`. A weekday range may end with Sunday (`fri-sun`).
 *
 * Both day fields, as in crontab(5): when both are restricted, a day matches when either field does; when one of them
 * starts with `*`, both must match (for a plain `*` that means only the other one counts). */
#ifndef ORCH_CONF_CRON_H
#define ORCH_CONF_CRON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define CRON_TEXT_MAX 200
#define CRON_ZONE_MAX 63

/* Bit n is set when the value n matches. */
struct cron {
  uint64_t minute, hour, day, month;
  uint64_t weekday;          /* bits 0 (Sunday) to 6 */
  bool day_any, weekday_any; /* the field starts with `*` */
  char zone[CRON_ZONE_MAX + 1];
};

/* ERR_INVALID says which field is wrong and what is expected: also for a zone that is not in the system's zone files
 * (/usr/share/zoneinfo; UTC always is) and for days that no year has ("0 0 30 2 *"). */
bool cron_parse(const char *text, struct cron *ret, struct err *err) ORCH_MUST_CHECK;

/* Does the minute with these numbers, in the zone's own time, match? `weekday` is 0 (Sunday) to 6. */
bool cron_matches(const struct cron *cron, int minute, int hour, int day, int month, int weekday);

/* {"text","zone","minute":[..],"hour":[..],"day":[..],"month":[..],"weekday":[0..6],"day_any","weekday_any"}: the lists
 * are sorted and have each number once. A new document. */
json_t *cron_json(const struct cron *cron, const char *text);

#endif
