/* The queue's own functions under load, through libpq alone, and beside them the floor: what bare SQL on one plain
 * table reaches from the same driver. One run, one JSON line; queue_side_by_side.sh interleaves the runs. */
#include <errno.h>
#include <getopt.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"

enum { BATCH_MAX = 10000, WARM_UP = 50 };

struct options {
  const char *database, *engine, *what, *fill;
  int jobs, batch, procs, conns, samples, fill_rows;
};
static struct options opt = {"", "orch", "drain", "none", 100000, 100, 1, 1, 500, 1000000};

_Noreturn static void die(const char *what, const char *why) {
  fprintf(stderr, "bench_queue: %s: %s\n", what, why);
  exit(1);
}
static double now_ms(void) {
  struct timespec t; /* not clock_mono_us(): a microsecond is coarse beside a wake-up of six */
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}
static bool is_orch(void) {
  return strcmp(opt.engine, "orch") == 0;
}
static void quiet(void *arg, const char *notice) {
  (void)arg, (void)notice;
}
static PGconn *connect_db(void) {
  PGconn *db = PQconnectdb(opt.database);
  if (PQstatus(db) != CONNECTION_OK) die("connect", PQerrorMessage(db));
  PQsetNoticeProcessor(db, quiet, NULL);
  return db;
}
static PGresult *check(PGconn *db, PGresult *res) {
  ExecStatusType status = PQresultStatus(res);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) die("query", PQerrorMessage(db));
  return res;
}
static void run(PGconn *db, const char *sql) {
  PQclear(check(db, PQexec(db, sql)));
}
static void runf(PGconn *db, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void runf(PGconn *db, const char *fmt, ...) {
  struct strbuf sql;
  strbuf_init(&sql, 65536);
  va_list args;
  va_start(args, fmt);
  strbuf_vprintf(&sql, fmt, args);
  va_end(args);
  run(db, strbuf_text(&sql));
  strbuf_fini(&sql);
}
static double number(PGconn *db, const char *sql) {
  PGresult *res = check(db, PQexec(db, sql));
  double value = PQntuples(res) ? strtod(PQgetvalue(res, 0, 0), NULL) : 0;
  PQclear(res);
  return value;
}

/* ---------------------------------------------------------------- the two engines */

static const char floor_table[] =
    "drop table if exists q; create table q(id bigint generated always as identity primary key,"
    " state smallint not null default 0, priority smallint not null default 0, attempt smallint not null default 0,"
    " run_at timestamptz not null default now(), started_at timestamptz, finished_at timestamptz,"
    " payload jsonb not null) with (fillfactor = 85);"
    "create index q_ready on q(priority, run_at, id) where state = 0";
static const char floor_enqueue[] = "with i as (insert into q(payload) values ('{\"id\":1}') returning id)"
                                    " select pg_notify('orch_jobs', '') from i";
/* The finish comes first in the statement: a claim may lock rows that others are about to finish. */
static const char floor_exchange[] =
    "with d as (update q set state = 2, finished_at = now() where id = any($2::bigint[]) and state = 1 returning 1)"
    " update q set state = 1, attempt = attempt + 1, started_at = now() where (select count(*) from d) >= 0"
    " and id = any(array(select id from q where state = 0 and run_at <= now() order by priority, run_at, id"
    " limit $4::int for update skip locked)) returning 'claimed', id, 0, $1::bigint, $3::bigint[]";
/* One at a time, the leanest statement that finishes one and claims one: scalars, one row, no history. */
static const char floor_swap[] =
    "with d as (update q set state = 2, finished_at = now() where id = $2::bigint and state = 1 returning 1)"
    " update q set state = 1, attempt = attempt + 1, started_at = now() where (select count(*) from d) >= 0"
    " and $1::bigint >= 0 and $3::bigint >= 0 and id = (select id from q where state = 0 and run_at <= now()"
    " order by priority, run_at, id limit 1 for update skip locked) returning 'claimed', id, 0";
static const char orch_enqueue[] = "select orch.job_enqueue(1, null, 'noop', 'step')";
static const char orch_exchange[] = "select outcome, job, lease from orch.job_exchange($1, $2, $3, null, null, $4,"
                                    " '{\"cpu\": 10000, \"memory_bytes\": 1, \"gpu\": 0}')";
/* What a worker sends when one job has succeeded and one slot is free. */
static const char orch_swap[] = "select outcome, job, lease from orch.job_swap($1, $2, $3, null,"
                                " '{\"cpu\": 10000, \"memory_bytes\": 1, \"gpu\": 0}')";

static void fill(PGconn *db) {
  int n = opt.fill_rows;
  if (strcmp(opt.fill, "finished") == 0 && is_orch())
    runf(db,
         "insert into orch.job_history(id, pipeline_id, lease, worker_id, enqueued_at, claimed_at, class_id, rank,"
         " attempt, state, step, role) select nextval('orch.job_id'), 1, nextval('orch.job_lease'), 1, now(), now(),"
         " 1, 0, 1, 'succeeded', 'noop', 'step' from generate_series(1, %d)",
         n);
  else if (strcmp(opt.fill, "finished") == 0)
    runf(db, "insert into q(state, payload, finished_at) select 2, '{\"id\":1}', now() from generate_series(1, %d)", n);
  else if (strcmp(opt.fill, "later") == 0 && is_orch())
    for (int i = 0; i < n; i += 100000)
      runf(db,
           "select orch.job_enqueue_many(1, null, array_fill('noop'::text, array[%d]), 'step', null, 10, null,"
           " 60000, null, now() + interval '1 day')",
           n - i < 100000 ? n - i : 100000);
  else if (strcmp(opt.fill, "later") == 0)
    runf(db,
         "insert into q(run_at, priority, payload) select now() + interval '1 day', -1, '{\"id\":1}'"
         " from generate_series(1, %d)",
         n);
}
static void backlog(PGconn *db) {
  if (!is_orch())
    runf(db, "insert into q(payload) select '{\"id\":1}' from generate_series(1, %d)", opt.jobs);
  else
    for (int i = 0; i < opt.jobs; i += 100000)
      runf(db, "select orch.job_enqueue_many(1, null, array_fill('noop'::text, array[%d]), 'step')",
           opt.jobs - i < 100000 ? opt.jobs - i : 100000);
}
static double left(PGconn *db) {
  return number(db, is_orch() ? "select count(*) from orch.job"
                              : "select count(*) from q where state < 2 and run_at <= now()");
}
static long register_worker(PGconn *db) {
  if (!is_orch()) return 0;
  return (long)number(db,
                      "select orch.worker_register('bench', 'localhost', pg_backend_pid(), '{}', 10000, 1, 0, 10000,"
                      " 3600000)->>'worker'");
}

/* ---------------------------------------------------------------- drain and enqueue */

struct client {
  PGconn *db;
  pthread_t thread;
  char worker[24], job[24], lease[24]; /* the last job taken: with one held, the one */
  struct strbuf jobs, leases;
  int held;
  long done;
};

static void client_init(struct client *c) {
  c->db = connect_db();
  c->held = 0;
  c->done = 0;
  snprintf(c->worker, sizeof c->worker, "%ld", register_worker(c->db));
  strbuf_init(&c->jobs, 1 << 20);
  strbuf_init(&c->leases, 1 << 20);
  const char *sql = strcmp(opt.what, "enqueue") == 0 ? (is_orch() ? orch_enqueue : floor_enqueue)
                                                     : (is_orch() ? orch_exchange : floor_exchange);
  PQclear(check(c->db, PQprepare(c->db, "s", sql, 0, NULL)));
  PQclear(check(c->db, PQprepare(c->db, "one", is_orch() ? orch_swap : floor_swap, 0, NULL)));
}

static PGresult *send_swap(struct client *c) {
  const char *values[] = {c->worker, c->job, c->lease};
  return check(c->db, PQexecPrepared(c->db, "one", 3, values, NULL, NULL, 0));
}
static PGresult *send_exchange(struct client *c) {
  char slots[16];
  snprintf(slots, sizeof slots, "%d", opt.batch);
  if (c->held == 0) {
    strbuf_putc(&c->jobs, '{');
    strbuf_putc(&c->leases, '{');
  }
  strbuf_putc(&c->jobs, '}');
  strbuf_putc(&c->leases, '}');
  const char *values[] = {c->worker, strbuf_text(&c->jobs), strbuf_text(&c->leases), slots};
  return check(c->db, PQexecPrepared(c->db, "s", 4, values, NULL, NULL, 0));
}

/* Hands in what is held, takes the next batch: as a worker does, one for one by a statement of its own. False once
 * there is nothing to do. */
static bool client_exchange(struct client *c) {
  PGresult *res = c->held == 1 && opt.batch == 1 ? send_swap(c) : send_exchange(c);
  int handed_in = c->held;
  strbuf_reset(&c->jobs);
  strbuf_reset(&c->leases);
  c->held = 0;
  for (int i = 0; i < PQntuples(res); i++) {
    const char *outcome = PQgetvalue(res, i, 0);
    if (outcome[0] == 'l') die("exchange", "a lease was lost");
    if (outcome[0] != 'c') continue;
    strbuf_putc(&c->jobs, c->held ? ',' : '{');
    strbuf_puts(&c->jobs, PQgetvalue(res, i, 1));
    strbuf_putc(&c->leases, c->held ? ',' : '{');
    strbuf_puts(&c->leases, PQgetvalue(res, i, 2));
    snprintf(c->job, sizeof c->job, "%s", PQgetvalue(res, i, 1));
    snprintf(c->lease, sizeof c->lease, "%s", PQgetvalue(res, i, 2));
    c->held++;
  }
  PQclear(res);
  c->done += handed_in;
  return handed_in > 0 || c->held > 0;
}
static void *client_run(void *arg) {
  struct client *c = arg;
  if (strcmp(opt.what, "enqueue") == 0)
    for (int i = 0; i < opt.jobs / (opt.procs * opt.conns); i++, c->done++)
      PQclear(check(c->db, PQexecPrepared(c->db, "s", 0, NULL, NULL, NULL, 0)));
  else
    while (client_exchange(c)) {
    }
  return NULL;
}

/* One process of the bench: connects, says it is ready, starts on the word. */
_Noreturn static void process_main(int ready, int go, int result) {
  struct client *clients = mem_calloc((size_t)opt.conns, sizeof *clients);
  char byte = 'r';
  for (int i = 0; i < opt.conns; i++) client_init(&clients[i]);
  if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1) die("start", strerror(errno));
  long done = 0;
  for (int i = 0; i < opt.conns; i++)
    if (pthread_create(&clients[i].thread, NULL, client_run, &clients[i]) != 0) die("thread", strerror(errno));
  for (int i = 0; i < opt.conns; i++) {
    pthread_join(clients[i].thread, NULL);
    done += clients[i].done;
  }
  if (write(result, &done, sizeof done) != sizeof done) die("report", strerror(errno));
  _exit(0);
}
static void measure_rate(void) {
  PGconn *db = connect_db();
  bool drain = strcmp(opt.what, "drain") == 0;
  if (!is_orch()) run(db, floor_table);
  fill(db);
  if (drain) backlog(db);
  run(db, is_orch() ? "vacuum analyze orch.job" : "vacuum analyze q");
  if (is_orch()) run(db, "vacuum analyze orch.job_history"), run(db, "vacuum analyze orch.job_later");
  run(db, "checkpoint");
  int ready[2], go[2], result[2];
  if (pipe(ready) || pipe(go) || pipe(result)) die("pipe", strerror(errno));
  for (int i = 0; i < opt.procs; i++) {
    pid_t pid = fork();
    if (pid < 0) die("fork", strerror(errno));
    if (pid == 0) process_main(ready[1], go[0], result[1]);
  }
  close(ready[1]); /* so that a process that dies ends the reads below */
  close(result[1]);
  char bytes[256] = {0};
  for (int i = 0; i < opt.procs; i++)
    if (read(ready[0], bytes, 1) != 1) die("ready", strerror(errno));
  double wal = number(db, "select pg_current_wal_insert_lsn() - '0/0'");
  double start = now_ms();
  if (write(go[1], bytes, (size_t)opt.procs) != opt.procs) die("go", strerror(errno));
  long done = 0, part = 0;
  for (int i = 0; i < opt.procs; i++, done += part)
    if (read(result[0], &part, sizeof part) != sizeof part) die("result", "a process failed");
  double ms = now_ms() - start;
  wal = number(db, "select pg_current_wal_insert_lsn() - '0/0'") - wal;
  while (wait(NULL) > 0) {
  }
  printf("{\"bench\":\"%s\",\"case\":\"%s\",\"batch\":%d,\"procs\":%d,\"conns\":%d,\"fill\":\"%s\",\"jobs\":%ld,"
         "\"jobs_s\":%.0f,\"wal_bytes_per_job\":%.0f,\"left\":%.0f}\n",
         opt.engine, opt.what, opt.batch, opt.procs, opt.conns, opt.fill, done, (double)done / ms * 1e3,
         wal / (double)(done ? done : 1), drain ? left(db) : 0);
  PQfinish(db);
}

/* ---------------------------------------------------------------- latency */

static int compare(const void *a, const void *b) {
  double d = *(const double *)a - *(const double *)b;
  return (d > 0) - (d < 0);
}
static void print_percentiles(const char *name, double *v, int n) {
  qsort(v, (size_t)n, sizeof *v, compare);
  printf(",\"%s\":{\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f}", name, v[n / 2], v[n * 95 / 100], v[n * 99 / 100]);
}
static void wait_for_notify(PGconn *db) {
  for (;;) {
    PQconsumeInput(db);
    PGnotify *note = PQnotifies(db);
    if (note) {
      PQfreemem(note);
      return;
    }
    struct pollfd fd = {PQsocket(db), POLLIN, 0};
    if (poll(&fd, 1, 5000) == 0) die("latency", "no wake-up came");
  }
}
static void measure_latency(void) {
  PGconn *producer = connect_db();
  if (!is_orch()) run(producer, floor_table);
  fill(producer);
  opt.what = "latency";
  opt.batch = 1;
  struct client c;
  client_init(&c);
  run(c.db, "listen orch_jobs");
  PQclear(check(producer, PQprepare(producer, "e", is_orch() ? orch_enqueue : floor_enqueue, 0, NULL)));
  size_t n = (size_t)opt.samples;
  double *enqueue = mem_calloc(n, sizeof(double)), *wake = mem_calloc(n, sizeof(double)),
         *claim = mem_calloc(n, sizeof(double)), *total = mem_calloc(n, sizeof(double));
  for (int i = -WARM_UP; i < opt.samples; i++) {
    double t0 = now_ms();
    PQclear(check(producer, PQexecPrepared(producer, "e", 0, NULL, NULL, NULL, 0)));
    double t1 = now_ms();
    wait_for_notify(c.db);
    double t2 = now_ms();
    if (!client_exchange(&c) || c.held != 1) die("latency", "woken, but no job");
    double t3 = now_ms();
    opt.batch = 0; /* hand in without taking */
    client_exchange(&c);
    opt.batch = 1;
    if (i >= 0) enqueue[i] = t1 - t0, wake[i] = t2 - t1, claim[i] = t3 - t2, total[i] = t3 - t0;
    usleep(5000);
  }
  printf("{\"bench\":\"%s\",\"case\":\"latency\",\"fill\":\"%s\",\"samples\":%d", opt.engine, opt.fill, opt.samples);
  print_percentiles("enqueue_ms", enqueue, opt.samples);
  print_percentiles("wake_ms", wake, opt.samples);
  print_percentiles("claim_ms", claim, opt.samples);
  print_percentiles("enqueue_to_start_ms", total, opt.samples);
  puts("}");
}

static int count_arg(const char *text, int max) {
  char *end = NULL;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || *end || end == text || value < 1 || value > max) die("bad number", text);
  return (int)value;
}
int main(int argc, char **argv) {
  static const struct option options[] = {
      {"database", 1, NULL, 'd'},  {"engine", 1, NULL, 'e'},  {"case", 1, NULL, 'w'},  {"fill", 1, NULL, 'f'},
      {"fill-rows", 1, NULL, 'r'}, {"jobs", 1, NULL, 'j'},    {"batch", 1, NULL, 'b'}, {"procs", 1, NULL, 'p'},
      {"conns", 1, NULL, 'c'},     {"samples", 1, NULL, 's'}, {NULL, 0, NULL, 0}};
  for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (o) {
    case 'd':
      opt.database = optarg;
      break;
    case 'e':
      opt.engine = optarg;
      break;
    case 'w':
      opt.what = optarg;
      break;
    case 'f':
      opt.fill = optarg;
      break;
    case 'r':
      opt.fill_rows = count_arg(optarg, 10000000);
      break;
    case 'j':
      opt.jobs = count_arg(optarg, 10000000);
      break;
    case 'b':
      opt.batch = count_arg(optarg, BATCH_MAX);
      break;
    case 'p':
      opt.procs = count_arg(optarg, 64);
      break;
    case 'c':
      opt.conns = count_arg(optarg, 64);
      break;
    case 's':
      opt.samples = count_arg(optarg, 100000);
      break;
    default:
      fprintf(stderr, "usage: bench_queue --database=CONNINFO [--engine=orch|floor] [--case=drain|enqueue|latency]\n"
                      "  [--fill=none|finished|later] [--fill-rows=N] [--jobs=N] [--batch=N] [--procs=N] [--conns=N]\n"
                      "  [--samples=N]\n");
      return 2;
    }
  if (strcmp(opt.what, "latency") == 0)
    measure_latency();
  else
    measure_rate();
  return 0;
}
