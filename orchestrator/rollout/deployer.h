/* Carries out deployments for `orch serve`: claims a due one, runs its driver in a thread, and records the outcome.
 *
 * The lease is renewed while the driver runs. When it is lost after the driver ran, the resource is brought to what
 * pipeline_live() says. Any number of servers may do this; a killed one's deployment is claimed by another. */
#ifndef ORCH_ROLLOUT_DEPLOYER_H
#define ORCH_ROLLOUT_DEPLOYER_H

#include <uv.h>

#include "io/db.h"
#include "rollout/driver.h"

struct deployer;

struct deployer_options {
  struct db *db;
  const char *owner;              /* of leases; copied */
  struct rollout_options rollout; /* its texts and store must outlive the deployer */
  int64_t lease_ms;               /* 0 = 10 000: how long a killed server delays a promotion */
  int64_t poll_ms;                /* jittered poll behind the hints; 0 = 5 000 */
};

struct deployer *deployer_new(uv_loop_t *loop, const struct deployer_options *options);
/* Something may be due: call it on NOTIFY. */
void deployer_kick(struct deployer *deployer);
/* Lets a running driver come to its end (it is bounded), then calls `closed` (may be NULL) and frees. The pool must
 * live until then. */
void deployer_free(struct deployer *deployer, void (*closed)(void *arg), void *arg);
bool deployer_is_busy(const struct deployer *deployer);

#endif
