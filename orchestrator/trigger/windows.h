/* Windows of monitors that are due: claimed, read, judged and closed, one after another, on the uv loop.
 *
 * Nothing is remembered between windows: a crash at any point is harmless, because orch.window_close() records the
 * window, moves the cursor and hands the signals in within one transaction, and refuses a lease that has passed on. */
#ifndef ORCH_TRIGGER_WINDOWS_H
#define ORCH_TRIGGER_WINDOWS_H

#include <stdint.h>

#include "io/db.h"

struct windows;

struct windows_stats {
  uint64_t closed;   /* windows recorded by this process */
  uint64_t rows;     /* rows in them */
  uint64_t signals;  /* signals handed in with them */
  uint64_t failures; /* attempts that ended in an error; the window stays due */
};

/* `owner` names this process in leases; copied. The database must outlive it. */
struct windows *windows_new(struct db *db, const char *owner);
/* Looks for due windows now, and goes on until there are none. Cheap while one is in work: call it on every wake-up and
 * from a timer. */
void windows_poke(struct windows *windows);
bool windows_busy(const struct windows *windows);
void windows_get_stats(const struct windows *windows, struct windows_stats *ret);
/* Drops what is in work (another process takes it over when the lease ends). NULL is fine. */
void windows_free(struct windows *windows);

#endif
