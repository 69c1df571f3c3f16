/* Drivers: what makes a version live in the world, fenced at the resource itself.
 *
 * A pipeline's artifact is materialised as a folder below its rollout folder, verified, and then either a symbolic link
 * is moved to it (`symlink`) or a program is told (`command`). The rollout folder is `DIR/.NAME.orch` beside a link
 * DIR/NAME, and BASE/.orch/rollout/PIPELINE for commands:
 *
 *     lock            flock(2): one driver at a time on this machine
 *     state.json      the newest generation that began to act here, and what it made live
 *     versions/HEX    materialised artifacts, read-only; the newest few are kept
 *
 * Fencing: an attempt whose (generation, converge) is older than the recorded one is refused with ERR_LEASE_LOST and
 * changes nothing, so a process that was paused before its move can never undo a later one. */
#ifndef ORCH_ROLLOUT_DRIVER_H
#define ORCH_ROLLOUT_DRIVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/store.h"

struct rollout_options {
  struct store *store;
  const char *base;   /* absolute folder that relative paths in drivers are below: the server's working directory */
  const char *path;   /* PATH of commands; NULL = /usr/local/bin:/usr/bin:/bin */
  int64_t timeout_ms; /* of a command; 0 = 60 000 */
};

struct rollout_move {
  const char *pipeline;
  int64_t version;
  const char *artifact; /* digest of the tree */
  const json_t *driver; /* {"symlink": {"path"}} or {"command": {"run": [..]}} */
  int64_t generation;   /* the deployment's id: only grows */
  bool converge;        /* brings the resource back to what is live: newer than a first try of its own generation */
};

/* Moves; blocking (files, a child process), needs no loop and may run in any thread. Once it fails the old version is
 * still live, but for a command, which may have done half. `*ret_detail` (may be NULL) is a new object for
 * deployment_finish: {"driver", "folder", "took_ms", …}. Errors: ERR_LEASE_LOST (fenced off), ERR_NOT_FOUND and
 * ERR_INTERNAL (the artifact is missing or corrupt), ERR_INVALID (the driver's settings), ERR_IO, ERR_TIMEOUT. */
ORCH_MUST_CHECK bool rollout_move(const struct rollout_options *options, const struct rollout_move *move,
                                  json_t **ret_detail, struct err *err);

/* True for errors that trying again will not mend. */
bool rollout_error_is_permanent(const struct err *err);

#endif
