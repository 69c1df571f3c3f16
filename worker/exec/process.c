/* The executor for programs on this machine: a child process in its own session. */
#include <string.h>

#include "base/mem.h"
#include "exec/executor.h"

static void *start(uv_loop_t *loop, const struct executor_job *job, struct err *err) {
  struct process_options options = {.argv = job->argv,
                                    .env = job->env,
                                    .cwd = job->folder,
                                    .memory_bytes = job->memory_bytes,
                                    .grace_ms = job->grace_ms,
                                    .output = job->output,
                                    .exited = job->exited,
                                    .arg = job->arg};
  return process_start(loop, &options, err);
}

static void stop(void *run) {
  process_stop(run);
}

static void kill_now(void *run) {
  process_kill(run);
}

const struct executor executor_process = {"process", start, stop, kill_now};

const struct executor *executor_find(const char *name) {
  static const struct executor *const all[] = {&executor_process};
  for (size_t i = 0; i < ARRAY_LEN(all); i++)
    if (strcmp(all[i]->name, name) == 0) return all[i];
  return NULL;
}
