/* Processes that `orch up` leaves running: started detached, found again by a pid file, stopped gracefully. */
#ifndef ORCH_CLI_DAEMON_H
#define ORCH_CLI_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* Runs argv[0] with output appended to log_path and remembers it in pid_path. Returns once exec has succeeded. */
ORCH_MUST_CHECK bool daemon_start(const char *const *argv, const char *folder, const char *log_path,
                                  const char *pid_path, struct err *err);
/* The process of a pid file, or 0 when it is gone; a process that merely has the same number is not taken for it. */
pid_t daemon_pid(const char *pid_path);
/* SIGTERM, then SIGKILL after grace_ms; removes the pid file. Fine when it does not run. */
ORCH_MUST_CHECK bool daemon_stop(const char *pid_path, int grace_ms, struct err *err);

/* Runs a program to its end as uid:gid (when we are root) in `folder`, output to log_path (appended). Errors: ERR_IO
 * with the last line of its output. */
ORCH_MUST_CHECK bool daemon_run(const char *const *argv, const char *folder, uid_t uid, gid_t gid, const char *log_path,
                                struct err *err);
/* Could uid:gid enter this folder? */
bool daemon_can_enter(const char *folder, uid_t uid, gid_t gid);

/* When the process started, in clock ticks after boot; 0 when there is no such process. */
unsigned long long daemon_start_ticks(pid_t pid);

#endif
