/* Monitors that ask another system, Prometheus or a warehouse: claimed when due, asked on the uv loop, judged,
 * recorded.
 *
 * Several are asked at once, each bounded in time. Nothing is remembered between two looks but what the database has: a
 * crash at any point is harmless, since orch.probe_report() records a look, its signals and the next due time within
 * one transaction and refuses a lease that has passed on.
 *
 * A warehouse is asked over a connection of its own that lives for one question: read-only, with a statement timeout,
 * the query wrapped into a SELECT so that it can be nothing else. */
#ifndef ORCH_TRIGGER_PROBES_H
#define ORCH_TRIGGER_PROBES_H

#include <stdint.h>
#include <uv.h>

#include "io/db.h"
#include "io/fetch.h"

struct probes;

struct probes_stats {
  uint64_t looks;    /* answers recorded */
  uint64_t failures; /* of them: the other system could not be asked */
  uint64_t lost;     /* not recorded: the lease had passed on, or the database was away; they come again */
  unsigned in_flight;
};

/* `owner` names this process in leases; copied. Database and fetch must outlive it. */
struct probes *probes_new(uv_loop_t *loop, struct db *db, struct fetch *fetch, const char *owner);
/* Claims what is due as far as there is room; cheap when nothing is. */
void probes_poke(struct probes *probes);
void probes_get_stats(const struct probes *probes, struct probes_stats *ret);
/* Drops what is in flight (another process takes it over when its lease ends), then calls `closed` and frees. */
void probes_free(struct probes *probes, void (*closed)(void *arg), void *arg);

#endif
