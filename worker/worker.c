#include "worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/process.h"
#include "skeleton.h"
#include "worker_private.h"

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"
#define DEFAULT_LEASE_MS 30000
#define DEFAULT_POLL_MS 5000
#define DEFAULT_STOP_MS 10000

/* ---- stopping ---- */

void worker_maybe_leave(struct worker *worker) {
  if (!worker->stopping || worker->leaving || worker->closing || worker->exchanging) return;
  for (unsigned i = 0; i < worker->slot_count; i++) {
    struct slot *slot = &worker->slots[i];
    /* A result that cannot be handed in now is lost; the job is not: it goes back when the lease passes. */
    if (slot->attempt && !worker->healthy && attempt_is_done(slot->attempt)) worker_slot_clear(slot, true);
    if (slot->attempt) return;
  }
  worker_leave(worker);
}

static void hand_back(struct worker *worker) {
  for (unsigned i = 0; i < worker->slot_count; i++) {
    struct attempt *attempt = worker->slots[i].attempt;
    if (!attempt || attempt_is_done(attempt)) continue;
    attempt_stop(attempt, ATTEMPT_HAND_BACK);
    if (worker->signals > 1) attempt_kill(attempt);
  }
  worker_maybe_leave(worker);
}

static void stop_time_is_over(uv_timer_t *timer) {
  hand_back(timer->data);
}

void worker_stop(struct worker *worker, const char *why) {
  worker->signals++;
  log_event(LOG_INFO, "worker.stopping", LOG_S("why", why), LOG_I("running", worker_running(worker)));
  worker->stopping = true;
  if (worker->signals > 1)
    hand_back(worker);
  else
    uv_timer_start(&worker->stop_timer, stop_time_is_over, (uint64_t)worker->stop_ms, 0);
  worker_maybe_leave(worker);
}

static void signalled(uv_signal_t *handle, int number) {
  worker_stop(handle->data, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void close_handle(uv_handle_t *handle) {
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void listen_closed(void *arg) {
  struct worker *worker = arg;
  db_free(worker->db, NULL, NULL);
}

void worker_close(struct worker *worker) {
  if (worker->closing) return;
  worker->closing = true;
  uv_handle_t *handles[] = {(uv_handle_t *)&worker->beat_timer,     (uv_handle_t *)&worker->guard_timer,
                            (uv_handle_t *)&worker->poll_timer,     (uv_handle_t *)&worker->recheck_timer,
                            (uv_handle_t *)&worker->progress_timer, (uv_handle_t *)&worker->stop_timer,
                            (uv_handle_t *)&worker->idle_timer,     (uv_handle_t *)&worker->signal_term,
                            (uv_handle_t *)&worker->signal_int};
  for (size_t i = 0; i < ARRAY_LEN(handles); i++) close_handle(handles[i]);
  db_forget(&worker->beat_request);
  db_forget(&worker->exchange_request);
  for (unsigned i = 0; i < worker->slot_count; i++) db_forget(&worker->slots[i].request);
  db_listen_free(worker->listen, listen_closed, worker);
}

/* ---- looking for work ---- */

static void look(struct worker *worker) {
  worker->want = true;
  worker_pump(worker);
}

static void looked_again(uv_timer_t *timer) {
  look(timer->data);
}

static void notified(void *arg, const char *channel, const char *payload) {
  struct worker *worker = arg;
  MAGIC_CHECK(worker, WORKER_MAGIC);
  if (worker->closing) return;
  look(worker);
  uv_timer_start(&worker->recheck_timer, looked_again, WORKER_RECHECK_MS, 0);
  /* A wake-up may also mean: somebody wants a job stopped. */
  if (worker_running(worker)) worker_beat_soon(worker);
}

static void poll_due(uv_timer_t *timer) {
  struct worker *worker = timer->data;
  look(worker);
  uv_timer_start(timer, poll_due, (uint64_t)clock_jitter_ms(worker->poll_ms, 0.2), 0);
}

static void listen_changed(void *arg, enum db_listen_state state) {
  log_event(LOG_INFO, "worker.wakeups", LOG_S("state", db_listen_state_name(state)));
}

static void is_idle(uv_timer_t *timer) {
  if (worker_running(timer->data) == 0) mem_trim();
}

void worker_idle_later(struct worker *worker) {
  if (!worker->closing) uv_timer_start(&worker->idle_timer, is_idle, WORKER_IDLE_MS, 0);
}

/* ---- starting ---- */

/* A work folder may be shared by workers. Whoever is alone in it removes what killed ones have left. */
static void sweep(const char *folder) {
  DIR *dir = opendir(folder);
  unsigned count = 0;
  for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
    if (entry->d_name[strspn(entry->d_name, "0123456789-")]) continue;
    CLEANUP(mem_free_p) char *path = mem_printf("%s/%s", folder, entry->d_name);
    struct err err = {0};
    if (store_remove_folder(path, &err))
      count++;
    else
      log_err(LOG_WARN, "worker.leftover", &err);
  }
  if (dir) closedir(dir);
  if (count) log_event(LOG_INFO, "worker.leftovers_removed", LOG_I("attempts", count));
}

/* The folders above `folder`, where they are missing; what goes wrong is said when `folder` itself cannot be made. */
static void make_parents(const char *folder) {
  CLEANUP(mem_free_p) char *path = mem_strdup(folder);
  for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (*path) (void)mkdir(path, 0750);
    *slash = '/';
  }
}

static bool make_folders(const char *folder, struct err *err) {
  CLEANUP(mem_free_p) char *path = mem_strdup(folder);
  for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
    if (slash) *slash = 0;
    if (mkdir(path, 0750) != 0 && errno != EEXIST) return err_errno(err, errno, "cannot make the folder %s", path);
    if (!slash) return true;
    *slash = '/';
  }
}

static bool open_work_folder(struct worker *worker, struct err *err) {
  const char *folder = worker->options->work_folder;
  make_parents(folder);
  if (!*folder || !make_folders(folder, err)) return *folder ? false : err_set(err, ERR_USAGE, "no folder to work in");
  worker->work_folder = realpath(folder, NULL);
  if (!worker->work_folder) return err_errno(err, errno, "cannot use the folder %s", folder);
  CLEANUP(mem_free_p) char *lock = mem_printf("%s/lock", worker->work_folder);
  worker->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (worker->lock_fd < 0) return err_errno(err, errno, "cannot open %s", lock);
  if (flock(worker->lock_fd, LOCK_EX | LOCK_NB) == 0 && !worker->options->keep_attempts) sweep(worker->work_folder);
  skeleton_prepare(worker->work_folder);
  if (flock(worker->lock_fd, LOCK_SH) != 0) return err_errno(err, errno, "cannot lock %s", lock);
  return true;
}

static void init_sizes(struct worker *worker) {
  const struct worker_options *options = worker->options;
  char host[HOST_NAME_MAX + 1] = "worker";
  gethostname(host, sizeof host - 1);
  worker->name = options->name ? mem_strdup(options->name) : mem_printf("%s-%d", host, (int)getpid());
  worker->lease_ms = options->lease_ms ? options->lease_ms : DEFAULT_LEASE_MS;
  worker->poll_ms = options->poll_ms ? options->poll_ms : DEFAULT_POLL_MS;
  worker->stop_ms = options->stop_ms ? options->stop_ms : DEFAULT_STOP_MS;
  worker->cpu = options->cpu > 0 ? options->cpu : (double)sysconf(_SC_NPROCESSORS_ONLN);
  int64_t machine = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  worker->memory_bytes = options->memory_bytes ? options->memory_bytes : machine;
  worker->slot_count = options->slots ? options->slots : 1;
  worker->slots = mem_calloc(worker->slot_count, sizeof *worker->slots);
  for (unsigned i = 0; i < worker->slot_count; i++) worker->slots[i].worker = worker;
}

static void init_host(struct worker *worker) {
  worker->host = (struct attempt_host){.loop = &worker->loop,
                                       .store = worker->store,
                                       .work_folder = worker->work_folder,
                                       .path = worker->options->path ? worker->options->path : DEFAULT_PATH,
                                       .data_roots = worker->options->data_roots,
                                       .keep = worker->options->keep_attempts,
                                       .progress = worker_attempt_progress,
                                       .done = worker_attempt_done,
                                       .arg = worker};
}

static void init_loop(struct worker *worker) {
  uv_timer_t *timers[] = {&worker->beat_timer,     &worker->guard_timer, &worker->poll_timer, &worker->recheck_timer,
                          &worker->progress_timer, &worker->stop_timer,  &worker->idle_timer};
  for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
    ORCH_ASSERT(uv_timer_init(&worker->loop, timers[i]) == 0);
    timers[i]->data = worker;
  }
  ORCH_ASSERT(uv_signal_init(&worker->loop, &worker->signal_term) == 0);
  ORCH_ASSERT(uv_signal_init(&worker->loop, &worker->signal_int) == 0);
  worker->signal_term.data = worker->signal_int.data = worker;
  uv_signal_start(&worker->signal_term, signalled, SIGTERM);
  uv_signal_start(&worker->signal_int, signalled, SIGINT);
  struct db_options db = {.url = worker->options->database_url, .name = "orch worker", .connections = 2};
  worker->db = db_new(&worker->loop, &db);
  struct db_listen_options listen = {.url = worker->options->database_url,
                                     .name = "orch worker wake-ups",
                                     .db = worker->db,
                                     .channels = {"orch_jobs"},
                                     .notified = notified,
                                     .state_changed = listen_changed,
                                     .arg = worker};
  worker->listen = db_listen_new(&worker->loop, &listen);
  uv_timer_start(&worker->poll_timer, poll_due, (uint64_t)clock_jitter_ms(worker->poll_ms, 0.2), 0);
}

static bool check_options(const struct worker_options *options, struct err *err) {
  if (!options->database_url || !options->store || !options->work_folder)
    return err_set(err, ERR_USAGE, "a worker needs a database, a store and a folder to work in");
  if (options->slots > WORKER_SLOTS_MAX)
    return err_set(err, ERR_USAGE, "a worker has %d slots at most", WORKER_SLOTS_MAX);
  if (options->lease_ms && (options->lease_ms < 1000 || options->lease_ms > 3600000))
    return err_set(err, ERR_USAGE, "a lease lasts between 1 second and 1 hour");
  return true;
}

/* Two threads are enough for hashing and copying; each more costs memory for its stack and its arena. */
static void be_small(void) {
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_TRIM_THRESHOLD, 128 * 1024);
  setenv("UV_THREADPOOL_SIZE", "2", 0);
  signal(SIGPIPE, SIG_IGN); /* whoever read our log may go away */
}

static bool worker_open(struct worker *worker, struct err *err) {
  if (!check_options(worker->options, err)) return false;
  if (!process_guard_start(err) || !process_no_new_privileges(err)) return false;
  worker->store = store_open(worker->options->store, err);
  if (!worker->store || !open_work_folder(worker, err)) return false;
  int bad = uv_loop_init(&worker->loop);
  return bad == 0 || err_errno(err, bad, "cannot start the event loop");
}

static void worker_fini(struct worker *worker) {
  store_close(worker->store);
  if (worker->lock_fd >= 0) close(worker->lock_fd);
  mem_free(worker->name);
  free(worker->work_folder);
  mem_free(worker->slots);
}

int worker_main(const struct worker_options *options) {
  struct worker *worker = mem_alloc(sizeof *worker);
  *worker = (struct worker){.magic = WORKER_MAGIC, .options = options, .lock_fd = -1};
  struct err err = {0};
  be_small();
  if (!worker_open(worker, &err)) {
    log_err(LOG_ERROR, "worker.cannot_start", &err);
    worker_fini(worker);
    mem_free(worker);
    return err_exit_code(err.code);
  }
  init_sizes(worker);
  init_host(worker);
  init_loop(worker);
  worker_idle_later(worker);
  log_event(LOG_INFO, "worker.started", LOG_S("name", worker->name), LOG_I("slots", worker->slot_count));
  worker_beat(worker);
  uv_run(&worker->loop, UV_RUN_DEFAULT);
  ORCH_ASSERT(uv_loop_close(&worker->loop) == 0);
  int exit_code = worker->exit_code;
  worker_fini(worker);
  mem_free(worker);
  return exit_code;
}
