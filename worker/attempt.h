/* One attempt at a job: folder, code, data, the step's program, and what came of it. Knows no database.
 *
 * The folder is WORK/JOB-LEASE with bundle/ (the code; the step starts there), data/, input/, model/, output/, home/,
 * tmp/ and config.json. A data source `file` is a path inside the pipeline's folder; what `.orchignore` keeps out of
 * the bundle for its size is named by an absolute path below one of the worker's data roots. A `command` runs in the
 * code's folder and its stdout is the data. Both are snapshotted once per proposal: a brief that names the snapshot
 * gets exactly those bytes.
 *
 * Exit code 0 is success. Exit code 75, death by a signal, and trouble of the worker's own ask for another attempt;
 * any other exit code, and an output that breaks the rules, is final ("retry": false in the result). */
#ifndef ORCH_WORKER_ATTEMPT_H
#define ORCH_WORKER_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "io/store.h"

struct attempt;

enum attempt_stop {
  ATTEMPT_GO_ON,
  ATTEMPT_CANCEL,    /* somebody wants it stopped: ends as cancelled */
  ATTEMPT_TIMEOUT,   /* its time is over: ends as timed_out */
  ATTEMPT_HAND_BACK, /* the worker leaves: nothing to hand in, the job goes back */
  ATTEMPT_LOST,      /* the job belongs to somebody else: nothing to hand in; ends at once */
};

/* What attempts of one worker share; must outlive them. */
struct attempt_host {
  uv_loop_t *loop;
  struct store *store;
  const char *work_folder;       /* absolute */
  const char *path;              /* PATH of steps */
  const char *const *data_roots; /* ends with NULL; NULL = none */
  bool keep;                     /* leave folders behind */
  void (*progress)(void *arg, struct attempt *attempt, double fraction, const char *text);
  void (*done)(void *arg, struct attempt *attempt); /* once; attempt_free() it some time later */
  void *arg;
};

/* Never fails: what is wrong becomes the result. `brief` is the claim's JSON, NULL is one of the wrong things. `done`
 * does not run from inside this call. */
struct attempt *attempt_new(const struct attempt_host *host, int64_t job, int64_t lease, int64_t timeout_ms,
                            const char *brief);
/* The first reason stays, except that ATTEMPT_LOST overrules the others. Fine when it has ended. */
void attempt_stop(struct attempt *attempt, enum attempt_stop reason);
/* Does not wait for the grace time any more. */
void attempt_kill(struct attempt *attempt);

int64_t attempt_job(const struct attempt *attempt);
int64_t attempt_lease(const struct attempt *attempt);
const char *attempt_label(const struct attempt *attempt); /* "housing/train", for logs */
double attempt_cpu(const struct attempt *attempt);
int64_t attempt_memory_bytes(const struct attempt *attempt);
int64_t attempt_gpu(const struct attempt *attempt);
bool attempt_is_done(const struct attempt *attempt);
/* succeeded, failed, cancelled or timed_out; NULL when there is nothing to hand in. After `done` only. */
const char *attempt_state(const struct attempt *attempt);
const char *attempt_result(const struct attempt *attempt); /* JSON */
/* Turns the result into a failure that will not be retried: the database refused what was handed in. */
void attempt_reject(struct attempt *attempt, const char *why);

/* Removes the folder in the background and, unless `keep_log`, the live log; then frees. After `done` only. */
void attempt_free(struct attempt *attempt, bool keep_log);

#endif
