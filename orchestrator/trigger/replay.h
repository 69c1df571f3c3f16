/* A history of rows through monitors, as if it came in now: which windows there would have been, and what they would
 * have said. The same judges as in a server, without a database and without side effects. */
#ifndef ORCH_TRIGGER_REPLAY_H
#define ORCH_TRIGGER_REPLAY_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stats/profile.h"

struct replay_plan {
  const json_t *monitors; /* an array of specs */
  const char *keys;       /* spec.observations as JSON; NULL for the defaults */
  const char *metrics;    /* the champion's evaluation as JSON; NULL for none */
  const struct profile *profile;
  int champion;           /* version number; 0: rows of any version are its */
  int64_t from_us, to_us; /* rows outside are passed over; INT64_MIN and INT64_MAX for all */
  int64_t now_us;         /* rows that claim to be from later are not asked for their time */
};

#define REPLAY_WINDOWS_MAX 100000 /* listed per monitor; of more, the first */
#define REPLAY_OPEN_MAX 64        /* windows by time that one monitor holds open; beyond, the oldest closes early */

struct replay;
/* ERR_INVALID when a monitor cannot be used. What judges no windows (volume, schedule, prometheus, sql) is left out and
 * named in the report. The profile must outlive it. */
struct replay *replay_new(const struct replay_plan *plan, struct err *err) ORCH_MUST_CHECK;
void replay_free(struct replay *replay); /* NULL is fine */
/* One row, an NDJSON line without its newline, in the order of the history. Rows of labels are rows of their own in a
 * server; here a row's column `label` is its label. */
void replay_row(struct replay *replay, const char *line, size_t len);
/* Rows taken so far. */
int64_t replay_rows(const struct replay *replay);
/* Closes what time has passed, and reports:
 *   {"rows", "broken" (lines that are no rows), "outside" (of from and to), "untimed" (rows that carry no time),
 *    "not_replayed": [{"monitor", "kind"}],
 *    "monitors": [{"monitor", "kind", "then", "rows_left" (not enough for another window),
 *      "verdicts": {"ok": n, …}, "largest", "smallest" (values), "threshold",
 *      "episodes": [{"signal", "then", "title", "since_row", "since_at"?, "fired": SPAN, "ended": SPAN | null,
 * "windows"}], "windows": [{SPAN members, "verdict", "value"}]}]} SPAN: {"number", "from_row", "to_row", "from_at",
 * "to_at"}. */
json_t *replay_finish(struct replay *replay);

#endif
