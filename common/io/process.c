#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/process_private.h"

#define PROCESS_MAGIC 0x70726f63u
#define CHUNK_BYTES (16 * 1024)
#define DEFAULT_GRACE_MS 10000
#define FIRST_SAMPLE_MS 50
#define NEXT_SAMPLES_MS 1000
#define DRAIN_MS 2000 /* for the end of output, after the leader has ended: somebody else may hold the pipe */

struct process {
  uint32_t magic;
  uv_process_t handle;
  uv_pipe_t pipes[2];
  uv_timer_t timer;   /* the grace time, then the drain time */
  uv_timer_t sampler; /* of the peak of memory */
  unsigned handles;   /* not yet closed */
  unsigned streams;   /* pipes not yet at their end */
  bool started, ended, stopping, finishing;
  int pid; /* also the group's number */
  int64_t grace_ms, started_us, peak_before;
  struct process_exit exit;
  void (*output)(void *arg, enum process_stream stream, const char *bytes, size_t len);
  void (*exited)(void *arg, const struct process_exit *exit);
  void *arg;
  char chunk[CHUNK_BYTES];
};

static int64_t children_peak_bytes(void) {
  struct rusage usage;
  return getrusage(RUSAGE_CHILDREN, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

static void one_closed(uv_handle_t *handle) {
  struct process *process = handle->data;
  MAGIC_CHECK(process, PROCESS_MAGIC);
  if (--process->handles > 0) return;
  if (process->started) process->exited(process->arg, &process->exit);
  process->magic = 0;
  mem_free(process);
}

static void close_one(uv_handle_t *handle) {
  if (!uv_is_closing(handle)) uv_close(handle, one_closed);
}

/* Closes everything; the last close calls back. */
static void finish(struct process *process) {
  if (process->finishing) return;
  process->finishing = true;
  close_one((uv_handle_t *)&process->handle);
  close_one((uv_handle_t *)&process->timer);
  close_one((uv_handle_t *)&process->sampler);
  for (int i = 0; i < 2; i++) close_one((uv_handle_t *)&process->pipes[i]);
}

static void lend_chunk(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  struct process *process = handle->data;
  *buf = uv_buf_init(process->chunk, sizeof process->chunk); /* delivered before the next read: one is enough */
}

static void output_arrived(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf) {
  struct process *process = stream->data;
  MAGIC_CHECK(process, PROCESS_MAGIC);
  if (got > 0 && process->output)
    process->output(process->arg, stream == (uv_stream_t *)&process->pipes[0] ? PROCESS_STDOUT : PROCESS_STDERR,
                    buf->base, (size_t)got);
  if (got >= 0) return;
  uv_read_stop(stream);
  close_one((uv_handle_t *)stream);
  if (--process->streams == 0 && process->ended) finish(process);
}

static void drained_or_not(uv_timer_t *timer) {
  finish(timer->data);
}

static void signal_group(const struct process *process, int signal) {
  /* Until it is reaped the leader's number is not given to anybody else. */
  if (!process->ended) kill(-process->pid, signal);
}

static void leader_ended(uv_process_t *handle, int64_t code, int signal) {
  struct process *process = handle->data;
  MAGIC_CHECK(process, PROCESS_MAGIC);
  process->ended = true;
  kill(-process->pid, SIGKILL); /* whoever is left of the group; mostly nobody */
  process_guard_forget(process->pid);
  process->exit.code = (int)code;
  process->exit.signal = signal;
  process->exit.duration_ms = (clock_mono_us() - process->started_us) / 1000;
  /* The kernel keeps one peak for all children; when it moved just now, it was this one. */
  int64_t peak = children_peak_bytes();
  if (peak > process->peak_before && peak > process->exit.max_rss_bytes) process->exit.max_rss_bytes = peak;
  uv_timer_stop(&process->sampler);
  if (process->streams == 0)
    finish(process);
  else
    uv_timer_start(&process->timer, drained_or_not, DRAIN_MS, 0);
}

/* "VmHWM:     1828 kB" */
static void sample(uv_timer_t *timer) {
  struct process *process = timer->data;
  process->peak_before = children_peak_bytes();
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/%d/status", process->pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t len = read(fd, text, sizeof text - 1);
  close(fd);
  text[len < 0 ? 0 : len] = 0;
  const char *line = strstr(text, "\nVmHWM:");
  int64_t bytes = line ? strtoll(line + 7, NULL, 10) * 1024 : 0;
  if (bytes > process->exit.max_rss_bytes) process->exit.max_rss_bytes = bytes;
}

static void set_limits(const struct process *process, int64_t memory_bytes) {
  struct rlimit none = {0, 0};
  struct rlimit memory = {(rlim_t)memory_bytes, (rlim_t)memory_bytes};
  /* Fails only when the child has ended already. */
  if (prlimit(process->pid, RLIMIT_CORE, &none, NULL) != 0) return;
  if (memory_bytes > 0 && prlimit(process->pid, RLIMIT_DATA, &memory, NULL) != 0) return;
}

static void init_handles(uv_loop_t *loop, struct process *process) {
  ORCH_ASSERT(uv_timer_init(loop, &process->timer) == 0 && uv_timer_init(loop, &process->sampler) == 0);
  process->timer.data = process->sampler.data = process->handle.data = process;
  for (int i = 0; i < 2; i++) {
    ORCH_ASSERT(uv_pipe_init(loop, &process->pipes[i], 0) == 0);
    process->pipes[i].data = process;
  }
  process->handles = 5;
}

/* libuv takes the arrays as `char **` though it changes nothing. */
static char **unconst(const char *const *list) {
  union {
    const char *const *in;
    char **out;
  } cast = {.in = list};
  return cast.out;
}

/* Real pipes, not the socket pairs that uv_spawn makes: opening /dev/stdout must work in a step. */
static int spawn(uv_loop_t *loop, struct process *process, const struct process_options *options) {
  uv_file out[2] = {-1, -1}, errs[2] = {-1, -1};
  int bad = uv_pipe(out, UV_NONBLOCK_PIPE, 0);
  if (!bad) bad = uv_pipe(errs, UV_NONBLOCK_PIPE, 0);
  uv_stdio_container_t stdio[3] = {
      {.flags = UV_IGNORE},
      {.flags = UV_INHERIT_FD, .data.fd = out[1]},
      {.flags = UV_INHERIT_FD, .data.fd = errs[1]},
  };
  uv_process_options_t uv = {.exit_cb = leader_ended,
                             .file = options->argv[0],
                             .args = unconst(options->argv),
                             .env = unconst(options->env),
                             .cwd = options->cwd,
                             .flags = UV_PROCESS_DETACHED,
                             .stdio_count = 3,
                             .stdio = stdio};
  process->handle.type = UV_UNKNOWN_HANDLE;
  /* What this process inherited itself, from whoever started it carelessly, must not travel on. */
  if (!bad && close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) != 0) bad = uv_translate_sys_error(errno);
  if (!bad) bad = uv_spawn(loop, &process->handle, &uv);
  process->handle.data = process;
  if (out[1] >= 0) close(out[1]);
  if (errs[1] >= 0) close(errs[1]);
  for (int i = 0; i < 2; i++) {
    int fd = i ? errs[0] : out[0];
    if (fd >= 0 && uv_pipe_open(&process->pipes[i], fd) != 0) close(fd);
  }
  return bad;
}

/* Closes what was opened; nobody is called back. */
static struct process *give_up(struct process *process) {
  if (process->handle.type == UV_UNKNOWN_HANDLE) { /* uv_spawn was not reached: there is no such handle */
    process->handles--;
    close_one((uv_handle_t *)&process->timer);
    close_one((uv_handle_t *)&process->sampler);
    for (int i = 0; i < 2; i++) close_one((uv_handle_t *)&process->pipes[i]);
  } else {
    finish(process);
  }
  return NULL;
}

struct process *process_start(uv_loop_t *loop, const struct process_options *options, struct err *err) {
  ORCH_ASSERT(options->argv && options->argv[0] && options->env && options->exited);
  struct process *process = mem_alloc(sizeof *process);
  process->magic = PROCESS_MAGIC;
  process->grace_ms = options->grace_ms ? options->grace_ms : DEFAULT_GRACE_MS;
  process->output = options->output;
  process->exited = options->exited;
  process->arg = options->arg;
  process->started_us = clock_mono_us();
  process->peak_before = children_peak_bytes();
  init_handles(loop, process);
  int bad = spawn(loop, process, options);
  if (bad) {
    err_errno(err, bad, "cannot start %s", options->argv[0]);
    return give_up(process);
  }
  process->started = true;
  process->pid = uv_process_get_pid(&process->handle);
  process_guard_remember(process->pid);
  set_limits(process, options->memory_bytes);
  process->streams = 2;
  for (int i = 0; i < 2; i++)
    ORCH_ASSERT(uv_read_start((uv_stream_t *)&process->pipes[i], lend_chunk, output_arrived) == 0);
  uv_timer_start(&process->sampler, sample, FIRST_SAMPLE_MS, NEXT_SAMPLES_MS);
  return process;
}

static void grace_is_over(uv_timer_t *timer) {
  signal_group(timer->data, SIGKILL);
}

void process_stop(struct process *process) {
  MAGIC_CHECK(process, PROCESS_MAGIC);
  if (process->ended || process->stopping) return;
  process->stopping = true;
  signal_group(process, SIGTERM);
  uv_timer_start(&process->timer, grace_is_over, (uint64_t)process->grace_ms, 0);
}

void process_kill(struct process *process) {
  MAGIC_CHECK(process, PROCESS_MAGIC);
  process->stopping = true;
  signal_group(process, SIGKILL);
}

int process_pid(const struct process *process) {
  return process->pid;
}

bool process_no_new_privileges(struct err *err) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return err_errno(err, errno, "cannot give up new privileges");
  return true;
}
