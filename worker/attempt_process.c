/* The processes of an attempt: commands that give data, and the step itself. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "attempt_private.h"
#include "base/clock.h"
#include "conf/secret.h"

static void add_secret(struct attempt *attempt, const char *name) {
  struct err err = {0};
  char *secret = secret_get(name, &err);
  if (!secret) {
    if (attempt->err.code) return;
    attempt->err = err;
    err_prefix(&attempt->err, "secret %s of step %s", name, attempt->brief.step);
    err_hint(&attempt->err, "set %s or %s_FILE for the worker", name, name);
    return;
  }
  joblog_hide(attempt->log, secret);
  environment_add(&attempt->environment, name, secret);
  mem_free_secret(secret);
}

/* What commands and steps both see. */
static void add_common(struct attempt *attempt) {
  const struct brief *brief = &attempt->brief;
  struct environment *env = &attempt->environment;
  environment_fini(env);
  environment_add(env, "PATH", attempt->host->path);
  static const char *const places[][2] = {{"HOME", "home"}, {"TMPDIR", "tmp"}, {"ORCH_CONFIG", "config.json"}};
  for (size_t i = 0; i < ARRAY_LEN(places); i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s/%s", attempt->folder, places[i][1]);
    environment_add(env, places[i][0], path);
  }
  environment_add_int(env, "ORCH_PROPOSAL", brief->proposal);
  environment_add(env, "ORCH_PIPELINE", brief->pipeline);
  environment_add_int(env, "ORCH_VERSION", brief->version);
  environment_add(env, "ORCH_STEP", brief->step);
  environment_add_int(env, "ORCH_ATTEMPT", brief->attempt);
  environment_add_int(env, "ORCH_SEED", brief->seed);
  environment_add(env, "ORCH_AS_OF", brief->as_of);
  for (size_t i = 0; brief->secrets && brief->secrets[i]; i++) add_secret(attempt, brief->secrets[i]);
}

static void add_places(struct attempt *attempt) {
  const struct brief *brief = &attempt->brief;
  struct environment *env = &attempt->environment;
  for (size_t i = 0; i < brief->data_count; i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s/data/%s", attempt->folder, brief->data[i].name);
    environment_add_named(env, "ORCH_DATA_", brief->data[i].name, path);
  }
  for (size_t i = 0; i < brief->input_count; i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s/input/%s", attempt->folder, brief->inputs[i].step);
    environment_add_named(env, "ORCH_INPUT_", brief->inputs[i].step, path);
  }
  CLEANUP(mem_free_p) char *model = mem_printf("%s/model", attempt->folder);
  CLEANUP(mem_free_p) char *output = mem_printf("%s/output", attempt->folder);
  if (brief->model) environment_add(env, "ORCH_MODEL", model);
  environment_add(env, "ORCH_OUTPUT", output);
}

static bool start(struct attempt *attempt, const char *const *argv,
                  void (*output)(void *, enum process_stream, const char *, size_t),
                  void (*exited)(void *, const struct process_exit *)) {
  if (!attempt->err.code && attempt->environment.failed) attempt->err = attempt->environment.err;
  if (attempt->err.code) return false;
  union {
    char *const *in;
    const char *const *out;
  } env = {.in = attempt->environment.items};
  CLEANUP(mem_free_p) char *folder = mem_printf("%s/bundle", attempt->folder);
  struct executor_job job = {.argv = argv,
                             .env = env.out,
                             .folder = folder,
                             .memory_bytes = attempt->brief.memory_bytes,
                             .grace_ms = attempt->brief.grace_ms,
                             .output = output,
                             .exited = exited,
                             .arg = attempt};
  attempt->run = attempt->executor->start(attempt->host->loop, &job, &attempt->err);
  attempt->dispatch_us = clock_mono_us() - attempt->claimed_us; /* the last one started is the step itself */
  if (attempt->run) return true;
  attempt->final = true; /* no such program: it will not be there next time either */
  return false;
}

/* ---- a command's stdout becomes a file, its stderr goes to the log ---- */

static void snapshot_failed(struct attempt *attempt) {
  if (attempt->run) attempt->executor->kill(attempt->run);
}

static void snapshot_output(void *arg, enum process_stream stream, const char *bytes, size_t len) {
  struct attempt *attempt = arg;
  if (stream == PROCESS_STDERR) {
    joblog_add(attempt->log, 1, bytes, len);
    return;
  }
  if (attempt->err.code) return;
  attempt->snapshot_size += (int64_t)len;
  if (attempt->snapshot_size > ATTEMPT_SNAPSHOT_MAX) {
    err_set(&attempt->err, ERR_LIMIT, "data %s: its command wrote too much",
            attempt->brief.data[attempt->snapshot_next].name);
    snapshot_failed(attempt);
    return;
  }
  while (len > 0) {
    ssize_t wrote = write(attempt->snapshot_fd, bytes, len);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      err_errno(&attempt->err, errno, "cannot write data %s", attempt->brief.data[attempt->snapshot_next].name);
      snapshot_failed(attempt);
      return;
    }
    bytes += wrote;
    len -= (size_t)wrote;
  }
}

static void snapshot_exited(void *arg, const struct process_exit *result) {
  struct attempt *attempt = arg;
  const char *name = attempt->brief.data[attempt->snapshot_next].name;
  close(attempt->snapshot_fd);
  attempt->snapshot_fd = -1;
  if (!attempt->err.code && result->signal) {
    err_set(&attempt->err, ERR_IO, "data %s: its command was ended by signal %d", name, result->signal);
  } else if (!attempt->err.code && result->code != 0) {
    err_set(&attempt->err, ERR_IO, "data %s: its command ended with exit code %d", name, result->code);
    attempt->final = result->code != 75;
  }
  attempt->snapshot_next++;
  attempt_process_ended(attempt, result);
}

bool attempt_start_snapshot(struct attempt *attempt, bool *ret_none) {
  const struct brief *brief = &attempt->brief;
  while (attempt->snapshot_next < brief->data_count &&
         (brief->data[attempt->snapshot_next].snapshot || !brief->data[attempt->snapshot_next].command))
    attempt->snapshot_next++;
  *ret_none = attempt->snapshot_next == brief->data_count;
  if (*ret_none) return true;
  const struct brief_data *data = &brief->data[attempt->snapshot_next];
  CLEANUP(mem_free_p) char *path = mem_printf("%s/data/%s", attempt->folder, data->name);
  attempt->snapshot_size = 0;
  attempt->snapshot_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (attempt->snapshot_fd < 0) return err_errno(&attempt->err, errno, "cannot write data %s", data->name);
  joblog_say(attempt->log, "taking data %s", data->name);
  add_common(attempt);
  if (start(attempt, data->command, snapshot_output, snapshot_exited)) return true;
  close(attempt->snapshot_fd);
  attempt->snapshot_fd = -1;
  return false;
}

/* ---- the step ---- */

static void run_output(void *arg, enum process_stream stream, const char *bytes, size_t len) {
  struct attempt *attempt = arg;
  joblog_add(attempt->log, stream == PROCESS_STDERR, bytes, len);
}

static void run_exited(void *arg, const struct process_exit *result) {
  struct attempt *attempt = arg;
  joblog_flush(attempt->log);
  attempt->ran = true;
  const char *last = joblog_last_error(attempt->log);
  const char *colon = *last ? ": " : "";
  if (result->signal)
    err_set(&attempt->err, ERR_IO, "ended by signal %d (%s)%s%s", result->signal, strsignal(result->signal), colon,
            last);
  else if (result->code != 0)
    err_set(&attempt->err, ERR_IO, "exit code %d%s%s", result->code, colon, last);
  attempt->final = !result->signal && result->code != 0 && result->code != 75;
  attempt_process_ended(attempt, result);
}

bool attempt_start_run(struct attempt *attempt) {
  add_common(attempt);
  add_places(attempt);
  return start(attempt, attempt->brief.run, run_output, run_exited);
}
