/* What the files of an attempt share. */
#ifndef ORCH_WORKER_ATTEMPT_PRIVATE_H
#define ORCH_WORKER_ATTEMPT_PRIVATE_H

#include <jansson.h>

#include "attempt.h"
#include "base/mem.h"
#include "brief.h"
#include "environment.h"
#include "exec/executor.h"
#include "joblog.h"

/* The steps of an attempt, in order. A step that fails leads to COLLECT, which seals the log and says what happened. */
#define ATTEMPT_STEPS(X)                                                                                               \
  X(UNPACK, unpack)     /* in a thread: folders, code */                                                               \
  X(SNAPSHOT, snapshot) /* a process for each `command` without a snapshot */                                          \
  X(GATHER, gather)     /* in a thread: snapshots, data, inputs, model, config */                                      \
  X(RUN, run)           /* the step's own process */                                                                   \
  X(COLLECT, collect)   /* in a thread: metrics, profile, artifact, log, result */                                     \
  X(DONE, done)

enum attempt_step {
#define X(upper, lower) ATTEMPT_##upper,
  ATTEMPT_STEPS(X)
#undef X
};

#define ATTEMPT_MAGIC 0x61747470u
#define ATTEMPT_SNAPSHOT_MAX ((int64_t)64 << 30)

struct attempt {
  uint32_t magic;
  const struct attempt_host *host;
  int64_t job, lease;
  char *label;
  struct brief brief;
  char *folder, *log_path;
  enum attempt_step step;
  enum attempt_stop reason;
  enum attempt_stop ending; /* the reason as COLLECT found it: a thread reads it, so it no longer moves */
  bool busy;                /* a thread or a process is at work; its end drives the machine on */
  bool in_step;             /* the machine is running: no recursion */
  bool done, final, killed;
  struct err err; /* what went wrong, if anything */
  uv_timer_t timeout;
  uv_work_t work;
  /* processes */
  const struct executor *executor;
  void *run;
  struct environment environment;
  struct joblog *log;
  size_t snapshot_next; /* the data source that is being snapshotted */
  int snapshot_fd;
  int64_t snapshot_size;
  bool gathered; /* in the thread that unpacked: a second hop costs two wake-ups of an idle machine */
  bool ran;
  int64_t claimed_us;  /* monotonic */
  int64_t dispatch_us; /* from the claim's answer to the step's running process */
  struct process_exit exit;
  /* results */
  json_t *snapshots; /* taken now: name -> digest */
  const char *state;
  char *result;
  bool keep_log;
};

/* The thread's work of three steps; fill attempt->err. */
void attempt_unpack(struct attempt *attempt);
/* Is there a source that only a command can snapshot? */
bool attempt_needs_commands(const struct attempt *attempt);
void attempt_gather(struct attempt *attempt);
void attempt_collect(struct attempt *attempt);
void attempt_clean(struct attempt *attempt);

/* The processes of two steps: start one (false and attempt->err), or say that there is none to start. */
bool attempt_start_snapshot(struct attempt *attempt, bool *ret_none);
bool attempt_start_run(struct attempt *attempt);
/* The process has ended: what follows. */
void attempt_process_ended(struct attempt *attempt, const struct process_exit *exit);

/* Drives the machine until it has to wait. */
void attempt_drive(struct attempt *attempt);

#endif
