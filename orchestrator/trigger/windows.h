/* Windows of monitors that are due: claimed, read, judged and closed, many at once, on the uv loop.
 *
 * Long work (parsing rows, judging) is done in a thread of the loop's pool, so that requests are answered meanwhile.
 * Nothing is remembered between turns but profiles, which never change: a crash at any point is harmless, because
 * orch.windows_close() records the windows, moves the cursors and hands the signals in within one transaction, and
 * refuses a lease that has passed on. */
#ifndef ORCH_TRIGGER_WINDOWS_H
#define ORCH_TRIGGER_WINDOWS_H

#include <stdint.h>
#include <uv.h>

#include "io/db.h"

struct windows;

struct windows_stats {
  uint64_t closed;   /* windows recorded by this process */
  uint64_t rows;     /* rows read for them */
  uint64_t late;     /* rows that came too late for their window by time */
  uint64_t signals;  /* signals handed in with them */
  uint64_t refused;  /* monitors whose windows were refused: the lease, the reference or the rule had changed */
  uint64_t failures; /* turns that ended in an error; the windows stay due */
};

/* `owner` names this process in leases; copied. Loop and database must outlive it. */
struct windows *windows_new(uv_loop_t *loop, struct db *db, const char *owner);
/* Looks for due windows now, and goes on until there are none. Cheap while some are in work: call it on every wake-up
 * and from a timer. */
void windows_poke(struct windows *windows);
bool windows_busy(const struct windows *windows);
void windows_get_stats(const struct windows *windows, struct windows_stats *ret);
/* Drops what is in work (another process takes it over when the lease ends). What a thread still works on is freed by
 * the loop when it is done. NULL is fine. */
void windows_free(struct windows *windows);

#endif
