/* `orch worker`: claims jobs from PostgreSQL, runs their steps, and hands the results back.
 *
 * Runs until SIGTERM or SIGINT (finish within the grace time, else hand jobs back; a second signal ends at once), or
 * until the database tells it that it was retired. */
#ifndef ORCH_WORKER_WORKER_H
#define ORCH_WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

struct worker_options {
  const char *database_url;      /* required */
  const char *store;             /* ORCH_STORE; required */
  const char *work_folder;       /* where attempts run; required; made when missing */
  const char *name;              /* NULL = HOST-PID */
  const char *path;              /* PATH that steps see; NULL = /usr/local/bin:/usr/bin:/bin */
  const char *const *labels;     /* ends with NULL; NULL = none */
  const char *const *data_roots; /* absolute folders that `file:` sources may name paths below; NULL = none */
  unsigned slots;                /* jobs at once; 0 = 1 */
  double cpu;                    /* what jobs may ask for together; 0 = cores of this machine */
  int64_t memory_bytes;          /* 0 = memory of this machine */
  unsigned gpu;
  int64_t poll_ms;    /* jittered poll behind NOTIFY; 0 = 5 000 */
  int64_t lease_ms;   /* 0 = 30 000; heartbeats go out every quarter of it */
  int64_t stop_ms;    /* how long SIGTERM waits for running steps; 0 = 10 000 */
  bool keep_attempts; /* leave attempt folders behind, for looking at */
};

/* Blocks; returns the exit code of the command line (base/error.h). Logs its own errors. */
int worker_main(const struct worker_options *options);

#endif
