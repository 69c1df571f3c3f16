/* The way back: one command, no questions, no orchestrator. Also what the HTTP route and the CLI share. */
#ifndef ORCH_ROLLOUT_ROLLBACK_H
#define ORCH_ROLLOUT_ROLLBACK_H

#include "io/db_sync.h"
#include "rollout/driver.h"

struct rollback_request {
  const char *pipeline;
  int64_t to;         /* 0: the last version that was live and good */
  const char *reason; /* may be NULL */
  const char *actor;
  bool dry_run;
};

/* Begins or resumes the rollback, moves the pointer, runs the driver, records it. `*ret_answer` is rollback_begin()'s
 * document with "took_ms", "state" and, for a dry run, "artifact_intact" added. Blocking. Killed at any point: calling
 * it again carries on. */
ORCH_MUST_CHECK bool rollback_run(struct db_sync *db, const struct rollout_options *options,
                                  const struct rollback_request *request, json_t **ret_answer, struct err *err);

#endif
