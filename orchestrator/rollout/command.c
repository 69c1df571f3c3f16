/* The command driver: tells a program which folder is to be live. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "io/process.h"
#include "rollout/place.h"

#define COMMAND_WORDS_MAX 64
static const size_t output_max = 4096;
static const int64_t command_default_ms = 60000;

struct command {
  uv_loop_t loop;
  uv_timer_t timer;
  struct process *process;
  struct process_exit exit;
  bool ended, timed_out;
  char output[4096 + 1]; /* the last of it */
  size_t output_len;
};

static void keep_output(void *arg, enum process_stream stream, const char *bytes, size_t len) {
  struct command *command = arg;
  (void)stream;
  if (len > output_max) {
    bytes += len - output_max;
    len = output_max;
  }
  size_t over = command->output_len + len > output_max ? command->output_len + len - output_max : 0;
  memmove(command->output, command->output + over, command->output_len - over);
  command->output_len -= over;
  memcpy(command->output + command->output_len, bytes, len);
  command->output_len += len;
}

static void ended(void *arg, const struct process_exit *status) {
  struct command *command = arg;
  command->exit = *status;
  command->ended = true;
  uv_close((uv_handle_t *)&command->timer, NULL);
}

static void timed_out(uv_timer_t *timer) {
  struct command *command = timer->data;
  command->timed_out = true;
  process_stop(command->process);
}

static bool words(const struct rollout_move *move, const char **argv, struct err *err) {
  const json_t *run = json_object_get(json_object_get(move->driver, "command"), "run");
  size_t count = json_array_size(run);
  if (count == 0 || count >= COMMAND_WORDS_MAX)
    return err_set(err, ERR_INVALID, "the driver's command has %zu words, expected 1 to %d", count,
                   COMMAND_WORDS_MAX - 1);
  for (size_t i = 0; i < count; i++) {
    argv[i] = json_string_value(json_array_get(run, i));
    if (!argv[i]) return err_set(err, ERR_INVALID, "the driver's command has a word that is no text");
  }
  return true;
}

static bool judge(const struct command *command, int64_t timeout_ms, const char *output, struct err *err) {
  const char *last = strrchr(output, '\n');
  last = last && last[1] ? last + 1 : output;
  if (command->timed_out)
    return err_set(err, ERR_TIMEOUT, "the rollout command did not end within %lld ms", (long long)timeout_ms);
  if (command->exit.signal)
    return err_set(err, ERR_IO, "the rollout command was ended by signal %d: %.300s", command->exit.signal, last);
  if (command->exit.code)
    return err_set(err, ERR_IO, "the rollout command failed with exit code %d: %.300s", command->exit.code, last);
  return true;
}

static bool start(struct command *command, const struct rollout_options *options, const struct rollout_move *move,
                  const char *folder, struct err *err) {
  const char *argv[COMMAND_WORDS_MAX] = {NULL};
  if (!words(move, argv, err)) return false;
  char *env[] = {mem_printf("PATH=%s", options->path ? options->path : "/usr/local/bin:/usr/bin:/bin"),
                 mem_strdup("LANG=C.UTF-8"),
                 mem_printf("ORCH_PIPELINE=%s", move->pipeline),
                 mem_printf("ORCH_VERSION=%lld", (long long)move->version),
                 mem_printf("ORCH_MODEL=%s", folder),
                 mem_printf("ORCH_ARTIFACT=%s", move->artifact),
                 mem_printf("ORCH_GENERATION=%lld", (long long)move->generation),
                 NULL};
  struct process_options process = {.argv = argv,
                                    .env = (const char *const *)env,
                                    .cwd = options->base,
                                    .grace_ms = 3000,
                                    .output = keep_output,
                                    .exited = ended,
                                    .arg = command};
  command->process = process_start(&command->loop, &process, err);
  for (char **variable = env; *variable; variable++) mem_free(*variable);
  return command->process != NULL;
}

bool command_run(const struct rollout_options *options, const struct rollout_move *move, const char *folder,
                 json_t *detail, struct err *err) {
  int64_t timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : command_default_ms;
  struct command *command = mem_alloc(sizeof(*command));
  if (uv_loop_init(&command->loop) != 0) abort();
  uv_timer_init(&command->loop, &command->timer);
  command->timer.data = command;
  bool ok = start(command, options, move, folder, err);
  if (ok)
    uv_timer_start(&command->timer, timed_out, (uint64_t)timeout_ms, 0);
  else
    uv_close((uv_handle_t *)&command->timer, NULL);
  uv_run(&command->loop, UV_RUN_DEFAULT);
  ORCH_ASSERT(uv_loop_close(&command->loop) == 0);
  if (ok) {
    struct strbuf output;
    strbuf_init(&output, 4 * output_max + 16);
    command->output[command->output_len] = '\0';
    while (command->output_len && command->output[command->output_len - 1] == '\n')
      command->output[--command->output_len] = '\0';
    for (size_t i = 0; i < command->output_len; i++) {
      unsigned char c = (unsigned char)command->output[i];
      strbuf_putc(&output, c == '\n' || (c >= 32 && c < 127) ? (char)c : '?'); /* any bytes may come */
    }
    json_object_set_new(detail, "exit_code", json_integer(command->exit.code));
    json_object_set_new(detail, "output", json_string(strbuf_text(&output)));
    ok = judge(command, timeout_ms, strbuf_text(&output), err);
    strbuf_fini(&output);
  }
  mem_free(command);
  return ok;
}
