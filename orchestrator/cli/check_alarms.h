/* What `orch check` says about a pipeline's monitors before they see a row: how often they will cry wolf, and what in
 * their rules will disappoint. Nothing here is an error. */
#ifndef ORCH_CLI_CHECK_ALARMS_H
#define ORCH_CLI_CHECK_ALARMS_H

#include "cli/cli.h"
#include "stats/profile.h"

struct check_facts {
  int64_t rows_per_day;          /* 0: not said; then every window by rows is taken to be an hour */
  const struct profile *profile; /* of the reference; NULL: not given */
  const json_t *metrics;         /* the model's evaluation, {"accuracy": 0.83, …}; NULL: not given */
};

/* {"per_month": NUMBER, "at_most_more": NUMBER, "planned": NUMBER, "unknown": N, "rows_per_day": N or null,
 *  "warnings": [TEXT, …], "monitors": [{"monitor","kind","part" (of its rule, or null),"is","per_month",
 *  "per_million_rows" (windows by rows),"windows_per_month","rows","reference_rows" (null: taken to be ten windows),
 *  "columns","why"}]}; null where a number does not apply. Every monitor has a line, one with a detector two. "is":
 * "expected", the number is what chance does; "at_most", a bound on it; "planned", a schedule's fires; "unknown", `why`
 * says what it depends on and what tells. The sums go by it. A month has 30 days (a schedule's is a twelfth of a year).
 * A new document. */
json_t *check_alarms(const json_t *spec, const struct check_facts *facts);
/* As a table with its assumptions, and the warnings. Nothing when there is nothing to say. */
void check_alarms_print(struct cli *cli, const json_t *alarms, const struct check_facts *facts);

#endif
