/* One turn of closing windows: what was claimed, the rows it needs, its judgements, and what is handed in at the end.
 *
 * The monitors of one pipeline that look at the same rows form a group: its rows are read and parsed once. Windows by
 * rows are judged as soon as their last row is in, so that one of each monitor is open at a time; windows by time,
 * whose rows come in no order of time, when all rows are in. No I/O here, and nothing of the loop: windows.c runs the
 * long parts in a thread. */
#ifndef ORCH_TRIGGER_WINDOWS_TURN_H
#define ORCH_TRIGGER_WINDOWS_TURN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "io/db.h"
#include "trigger/profiles.h"

#define TURN_MONITORS_MAX 192       /* claimed at once */
#define TURN_WINDOWS_MAX 16         /* that follow each other, of one monitor */
#define TURN_BYTES_MAX (192u << 20) /* of open windows */
#define TURN_READ_BYTES (2 * 1024 * 1024)
#define TURN_CLOSE_BYTES (4 * 1024 * 1024)

struct turn;
/* The rows of orch.windows_claim() as TURN_CLAIM_COLUMNS asks for them. NULL when nothing was claimed. */
#define TURN_CLAIM_COLUMNS                                                                                             \
  "monitor_id, lease, pipeline_id, stream, spec, state, keys, metrics, version_id, version, number, "                  \
  "windows, window_rows, window_ms, from_row, from_us, start_row, seen_row, until_row, warm_row, warm_us"
struct turn *turn_new(const struct db_result *claim);
void turn_free(struct turn *turn); /* NULL is fine */

/* Versions whose profile is not known yet, as a bigint[] literal; false when there is none. */
bool turn_missing_profiles(const struct turn *turn, const struct profiles *profiles, struct strbuf *out);
/* Reads the answer of orch.profiles_read(); what was asked for and is not in it has none. Long: for a thread. */
void turn_take_profiles(const struct turn *turn, struct profiles *profiles, const struct db_result *result);
/* Makes the monitors. Long: for a thread. */
void turn_prepare(struct turn *turn, const struct profiles *profiles);

/* p_ranges of orch.observations_read() for the groups that need more rows; false when none does. */
bool turn_ranges(struct turn *turn, struct strbuf *out);
/* Takes an answer to the newest turn_ranges(). Long: for a thread. */
void turn_take_rows(struct turn *turn, const struct db_result *result);
/* Judges what is still open, once no group needs rows. Long: for a thread. */
void turn_judge(struct turn *turn);

/* p_items of orch.windows_close(): the next monitors' up to TURN_CLOSE_BYTES; false when all were given out. */
bool turn_items(struct turn *turn, struct strbuf *out);

struct turn_counts {
  uint64_t rows, late, signals;
  size_t monitors, unable;
};
void turn_count(const struct turn *turn, struct turn_counts *ret);
/* Why the first monitor that could not judge could not; "" when all could. */
const char *turn_why_unable(const struct turn *turn);

#endif
