/* Inside of db.c and db_slot.c: the pool, its slots and the jobs that travel between them. */
#ifndef ORCH_IO_DB_POOL_H
#define ORCH_IO_DB_POOL_H

#include "io/db_internal.h"

#define DB_STATEMENTS_MAX 256
#define DB_SLOTS_MAX 64

/* A job is in exactly one place: the queue (waits for a slot), a slot, or the answers (waits for its callback). */
struct db_job {
  unsigned magic;
  struct db_job *next;
  struct db_request *request; /* NULL once forgotten */
  const char *sql;
  struct db_params params;
  db_callback callback;
  void *arg;
  int64_t deadline_us;
  bool repeatable, binary;
  bool timed_out; /* a cancel is under way */
  uint8_t resends;
  struct db_result *result;
  struct err err;
  enum db_fate fate;
};

struct db_job_list {
  struct db_job *first, **last;
  unsigned count;
};
void db_jobs_init(struct db_job_list *list);
void db_jobs_push(struct db_job_list *list, struct db_job *job);
void db_jobs_push_front(struct db_job_list *list, struct db_job *job);
struct db_job *db_jobs_pop(struct db_job_list *list);

struct db_statement {
  char *sql; /* NULL: a free place */
  unsigned id;
};

struct db_slot {
  unsigned magic;
  struct db_conn conn;
  struct db *db;
  struct db_job *job;
  enum { SLOT_IDLE, SLOT_PREPARING, SLOT_RUNNING, SLOT_SETTLING } phase; /* SETTLING: a cancel is still on its way */
  bool prepare_failed;
  struct db_statement *statement; /* in PREPARING and RUNNING; NULL when sent unprepared */
  PGresult *answer;               /* the first error, else the last result, until the server is ready again */
  struct db_statement statements[DB_STATEMENTS_MAX];
  unsigned statements_used, statements_next_id;
  uint64_t statements_nonce;
  struct db_cancel *cancel; /* runs in the thread pool */
  int64_t give_up_us;       /* after a cancel: when the connection is dropped */
};

struct db {
  unsigned magic;
  uv_loop_t *loop;
  char *url, *name;
  struct db_options options;
  struct db_slot *slots;
  unsigned slots_count;
  struct db_job_list queue, answers;
  uv_timer_t tick;    /* deadlines; runs only while something is in flight or nothing is connected */
  uv_timer_t deliver; /* callbacks that must not run inside the caller */
  bool closing;
  unsigned handles_open, cancels_open;
  void (*closed)(void *arg);
  void *closed_arg;
  struct db_stats stats;
  struct err last_error;
  int64_t open_not_before_us; /* after a failed attempt */
};

/* db_slot.c */
void db_slot_init(struct db_slot *slot, struct db *db);
void db_slot_start(struct db_slot *slot, struct db_job *job);
/* The deadline of its job has passed: asks the server to cancel. */
void db_slot_cancel(struct db_slot *slot);
void db_slot_fini(struct db_slot *slot);

/* db.c, called by slots */
void db_job_answer(struct db *db, struct db_job *job); /* runs the callback now and frees the job */
void db_job_defer(struct db *db, struct db_job *job);  /* the same from the loop */
void db_dispatch(struct db *db);
void db_slot_is_up(struct db *db);
void db_slot_is_lost(struct db *db, struct db_slot *slot, const struct err *err);
void db_handle_closed(struct db *db);

#endif
