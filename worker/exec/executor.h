/* Executors: where a step's program runs. The step runner knows only this interface. */
#ifndef ORCH_WORKER_EXEC_EXECUTOR_H
#define ORCH_WORKER_EXEC_EXECUTOR_H

#include <uv.h>

#include "base/error.h"
#include "io/process.h"

/* What to run. Folders named in `env` exist on this machine; an executor that runs elsewhere maps or carries them. */
struct executor_job {
  const char *const *argv; /* ends with NULL */
  const char *const *env;  /* ends with NULL; all there is */
  const char *folder;      /* where it starts */
  int64_t memory_bytes;    /* 0 = no limit */
  int64_t grace_ms;        /* between a polite stop and the end */
  void (*output)(void *arg, enum process_stream stream, const char *bytes, size_t len);
  void (*exited)(void *arg, const struct process_exit *exit); /* once; the run is gone behind it */
  void *arg;
};

struct executor {
  const char *name;
  /* NULL and `err` when it cannot start. The job is not kept. */
  void *(*start)(uv_loop_t *loop, const struct executor_job *job, struct err *err);
  void (*stop)(void *run); /* politely, then after the grace time surely; `exited` follows */
  void (*kill)(void *run); /* at once; `exited` follows */
};

extern const struct executor executor_process;

/* NULL when there is none of this name. */
const struct executor *executor_find(const char *name);

#endif
