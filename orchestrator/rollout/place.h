/* The rollout folder of one pipeline: its lock, its recorded generation, its materialised artifacts. See driver.h. */
#ifndef ORCH_ROLLOUT_PLACE_H
#define ORCH_ROLLOUT_PLACE_H

#include "rollout/driver.h"

struct place {
  char *folder;   /* absolute */
  char *link;     /* of the symlink driver, absolute; NULL for commands */
  char *parent;   /* the link's folder */
  char *artifact; /* the materialised tree, absolute; set by place_materialise() */
  bool copied;    /* it was not there before */
  int lock_fd;    /* -1: not locked */
};

/* Finds and makes the folder. Errors: ERR_INVALID (the driver's settings), ERR_IO. */
ORCH_MUST_CHECK bool place_open(struct place *place, const struct rollout_options *options,
                                const struct rollout_move *move, struct err *err);
void place_close(struct place *place);

/* A verified copy of the artifact; nothing is locked meanwhile, so a long copy does not keep a rollback waiting. */
ORCH_MUST_CHECK bool place_materialise(struct place *place, const struct rollout_options *options,
                                       const struct rollout_move *move, struct err *err);
/* Waits up to wait_ms; ERR_TIMEOUT names the holder. */
ORCH_MUST_CHECK bool place_lock(struct place *place, int64_t wait_ms, struct err *err);
/* Under the lock: ERR_LEASE_LOST when something newer acted here, else records this move durably as the newest. */
ORCH_MUST_CHECK bool place_claim(struct place *place, const struct rollout_move *move, struct err *err);
/* Under the lock, after a success: removes all but the newest few artifacts. Leftovers do no harm, so it cannot fail.
 */
void place_tidy(struct place *place);

/* rollout/command.c: runs the driver's program; fills `detail` ("exit_code", "output"). */
ORCH_MUST_CHECK bool command_run(const struct rollout_options *options, const struct rollout_move *move,
                                 const char *folder, json_t *detail, struct err *err);

#endif
