/* What the files of the worker share: one struct, driven from callbacks on one loop.
 *
 *   claim.c      exchange: hand in what ended, take what is next, in one statement (or a leaner one for one and one)
 *   heartbeat.c  register, heartbeat, resume after trouble, leave
 *   worker.c     start, signals, stop
 *
 * Rules that the three keep: one exchange at a time; a slot is free only once the database has answered; nothing is
 * claimed while the last heartbeat failed, while it is stopping, or before a resume that is due. */
#ifndef ORCH_WORKER_WORKER_PRIVATE_H
#define ORCH_WORKER_WORKER_PRIVATE_H

#include <uv.h>

#include "attempt.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "io/db.h"
#include "io/db_listen.h"
#include "worker.h"

#define WORKER_MAGIC 0x776f726bu
#define WORKER_SLOTS_MAX 256
#define WORKER_PROGRESS_MS 1000  /* between two reports of one job */
#define WORKER_BEAT_LEAST_MS 200 /* between two heartbeats */
#define WORKER_IDLE_MS 1000      /* without a job: time to give memory back */
#define WORKER_RECHECK_MS 5      /* after a wake-up: the database sends at most one in 4 ms */

struct slot {
  struct worker *worker;
  struct attempt *attempt;   /* NULL: free */
  bool handing_in;           /* part of the exchange under way */
  bool rejected;             /* the database refused its result; a plain failure is handed in instead */
  struct db_request request; /* of progress */
  double fraction;
  char text[256];
  bool progress_due;
  int64_t progress_us;
};

struct worker {
  uint32_t magic;
  const struct worker_options *options;
  uv_loop_t loop;
  struct store *store;
  struct db *db;
  struct db_listen *listen;
  struct attempt_host host;
  char *name, *work_folder;
  int lock_fd;
  int64_t id; /* 0: not registered */
  int64_t lease_ms, poll_ms, stop_ms;
  double cpu;
  int64_t memory_bytes;
  unsigned slot_count;
  struct slot *slots;
  bool want;       /* there may be something to claim */
  bool exchanging; /* the exchange's request is in flight */
  bool careful;    /* one finished job a statement: a batch was refused */
  bool healthy;    /* the last heartbeat was answered */
  bool resume_due; /* an answer was lost: the database may think that we hold more than we do */
  bool beating;    /* register, heartbeat, resume or leave is in flight */
  bool stopping, leaving, closing;
  bool trim_due;  /* something was done since memory was last given back */
  unsigned asked; /* slots asked for in the exchange under way */
  int64_t beat_sent_us, beat_ok_us;
  unsigned signals;
  int exit_code;
  struct db_request exchange_request, beat_request;
  uv_timer_t beat_timer, guard_timer, poll_timer, recheck_timer, progress_timer, stop_timer, idle_timer;
  uv_signal_t signal_term, signal_int;
};

/* claim.c */
void worker_pump(struct worker *worker); /* exchanges if there is reason to */
void worker_attempt_done(void *arg, struct attempt *attempt);
void worker_attempt_progress(void *arg, struct attempt *attempt, double fraction, const char *text);
void worker_progress_send_due(uv_timer_t *timer);
unsigned worker_running(const struct worker *worker); /* slots in use */
/* The slot of a job under a lease, or NULL. */
struct slot *worker_slot_of(struct worker *worker, int64_t job, int64_t lease);
void worker_slot_clear(struct slot *slot, bool keep_log);
/* Appends {1,2,3} of all that is held: jobs, or leases. */
void worker_add_held(const struct worker *worker, bool leases, struct strbuf *out);
/* Appends {"cpu":…,"memory_bytes":…,"gpu":…}: what is not in use. */
void worker_add_free(const struct worker *worker, struct strbuf *out);

/* heartbeat.c */
void worker_beat(struct worker *worker); /* whichever of register, heartbeat and resume is due */
void worker_beat_soon(
    struct worker *worker); /* for a cancellation to be seen; wake-ups may come in hundreds a second */
void worker_leave(struct worker *worker);
void worker_db_failed(struct worker *worker, const char *what, const struct err *err);

/* worker.c */
void worker_idle_later(struct worker *worker); /* gives memory back if it stays idle */
/* When it is stopping and nothing is left to do: leaves, then closes. */
void worker_maybe_leave(struct worker *worker);
void worker_close(struct worker *worker);
void worker_stop(struct worker *worker, const char *why);

#endif
