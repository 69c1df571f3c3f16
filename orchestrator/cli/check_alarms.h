/* What `orch check` says about a pipeline's monitors before they see a row: how often they will cry wolf, and what in
 * their rules will disappoint. Nothing here is an error. */
#ifndef ORCH_CLI_CHECK_ALARMS_H
#define ORCH_CLI_CHECK_ALARMS_H

#include "cli/cli.h"
#include "stats/profile.h"

struct check_facts {
  int64_t rows_per_day;          /* 0: not said; then every window by rows is taken to be an hour */
  const struct profile *profile; /* of the reference; NULL: not given */
};

/* {"per_month": NUMBER, "rows_per_day": N or null, "warnings": [TEXT, …], "monitors": [{"monitor","kind",
 *  "windows_per_month","rows","reference_rows" (null: taken to be ten windows),"columns","per_month"}]}
 * `monitors` has the kinds that compare distributions: what other monitors do without drift depends on the model, not
 * on chance alone. A month has 30 days. A new document. */
json_t *check_alarms(const json_t *spec, const struct check_facts *facts);
/* As a table with its assumptions, and the warnings. Nothing when there is nothing to say. */
void check_alarms_print(struct cli *cli, const json_t *alarms, const struct check_facts *facts);

#endif
