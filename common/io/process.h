/* Child processes on a uv loop: own session and group, clean environment, bounded output, stopped as a whole.
 *
 * A child gets /dev/null as stdin, pipes as stdout and stderr, exactly the environment it is given, and no descriptor
 * besides. It leads its own process group, which is what signals go to. Stopping is SIGTERM to the group, then SIGKILL
 * after a grace time; whatever is left of the group when its leader has ended is killed as well.
 *
 * Limits are set by prlimit(2) right after uv_spawn(), which returns when execve() in the child has succeeded: uv_spawn
 * has no hook between fork and exec, and running everything through a launcher would double the time of a start. The
 * limits bound totals, so the microseconds without them give nothing away.
 *
 * A child must not outlive a parent that is killed: see process_guard_start(). */
#ifndef ORCH_IO_PROCESS_H
#define ORCH_IO_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct process;

enum process_stream { PROCESS_STDOUT = 1, PROCESS_STDERR = 2 };

struct process_exit {
  int code;   /* 0 to 255; meaningless when `signal` is set */
  int signal; /* the signal that ended it, or 0 */
  int64_t duration_ms;
  int64_t max_rss_bytes; /* the leader's peak as sampled while it ran, 0 when unknown */
};

struct process_options {
  const char *const *argv; /* ends with NULL; argv[0] is looked up in the PATH of `env` unless it has a slash */
  const char *const *env;  /* "NAME=value", ends with NULL */
  const char *cwd;
  int64_t memory_bytes; /* RLIMIT_DATA of each process; 0 = none */
  int64_t grace_ms;     /* between SIGTERM and SIGKILL; 0 = 10 000 */
  /* Chunks as they arrive, at most 16 KiB each, not NUL-terminated; may be NULL: then output is read and dropped. */
  void (*output)(void *arg, enum process_stream stream, const char *bytes, size_t len);
  /* Once, after the leader has ended, all output was delivered and every handle is closed. The process is freed
   * behind it. */
  void (*exited)(void *arg, const struct process_exit *exit);
  void *arg;
};

/* NULL and ERR_IO when it cannot be started (`exited` is not called then). Options are not kept. */
ORCH_MUST_CHECK struct process *process_start(uv_loop_t *loop, const struct process_options *options, struct err *err);
/* SIGTERM to the group now, SIGKILL after the grace time. Again: nothing more. */
void process_stop(struct process *process);
/* SIGKILL to the group now. */
void process_kill(struct process *process);
int process_pid(const struct process *process);

/* Starts one small helper, forked from this process, that kills the groups of all children started later as soon as
 * this process is gone, however it went: more than PR_SET_PDEATHSIG, which reaches only the leader. Call it first in
 * main, before threads and loops; without it children outlive a killed parent. It ends by itself with its parent. */
ORCH_MUST_CHECK bool process_guard_start(struct err *err);

/* Forbids this process and all its children to gain privileges by execve (setuid programs); cannot be undone. */
ORCH_MUST_CHECK bool process_no_new_privileges(struct err *err);

#endif
