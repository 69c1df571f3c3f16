/* io/process: what a child sees, what comes back, and that nothing of it stays. */
#include "cm.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "io/process.h"

struct run {
  struct strbuf out, errs;
  struct process_exit exit;
  int exits;
  struct process *process;
  bool stop_at_output; /* SIGTERM as soon as it says something */
};

static uv_loop_t loop;

static void took_output(void *arg, enum process_stream stream, const char *bytes, size_t len) {
  struct run *run = arg;
  strbuf_add(stream == PROCESS_STDOUT ? &run->out : &run->errs, bytes, len);
  if (run->stop_at_output) process_stop(run->process);
  run->stop_at_output = false;
}

static void took_exit(void *arg, const struct process_exit *result) {
  struct run *run = arg;
  run->exit = *result;
  run->exits++;
}

static struct process_options options_of(struct run *run, const char *const *argv) {
  static const char *const env[] = {"PATH=/usr/bin:/bin", "GREETING=hello", NULL};
  return (struct process_options){
      .argv = argv, .env = env, .cwd = "/tmp", .grace_ms = 200, .output = took_output, .exited = took_exit, .arg = run};
}

static void run_init(struct run *run) {
  *run = (struct run){0};
  strbuf_init(&run->out, 10 << 20);
  strbuf_init(&run->errs, 10 << 20);
}
static void run_fini(struct run *run) {
  strbuf_fini(&run->out);
  strbuf_fini(&run->errs);
}

static void run_shell(struct run *run, const char *script) {
  const char *argv[] = {"sh", "-c", script, NULL};
  struct process_options options = options_of(run, argv);
  struct err err = {0};
  run->process = process_start(&loop, &options, &err);
  if (!run->process) fail_msg("%s", err.text);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(run->exits, 1);
}

#define SCRIPT(name, script)                                                                                           \
  CLEANUP(run_fini) struct run name;                                                                                   \
  run_init(&name);                                                                                                     \
  run_shell(&name, script)

static void output_and_codes_come_back(void **state) {
  SCRIPT(run, "echo out; echo errs >&2; pwd; exit 75");
  assert_string_equal(strbuf_text(&run.out), "out\n/tmp\n");
  assert_string_equal(strbuf_text(&run.errs), "errs\n");
  assert_int_equal(run.exit.code, 75);
  assert_int_equal(run.exit.signal, 0);
  SCRIPT(killed, "kill -USR1 $$");
  assert_int_equal(killed.exit.signal, SIGUSR1);
  SCRIPT(devices, "echo a > /dev/stdout; echo b > /dev/stderr");
  assert_string_equal(strbuf_text(&devices.out), "a\n");
  assert_string_equal(strbuf_text(&devices.errs), "b\n");
}

static void the_environment_is_clean(void **state) {
  assert_int_equal(setenv("ORCH_TEST_LEAK", "leak", 1), 0);
  SCRIPT(run, "exec env");
  assert_null(strstr(strbuf_text(&run.out), "leak"));
  assert_non_null(strstr(strbuf_text(&run.out), "GREETING=hello\n"));
  SCRIPT(fds, "ls /proc/self/fd | tr '\\n' ' '; read x || echo end; ulimit -c"); /* 3 is ls's own */
  assert_string_equal(strbuf_text(&fds.out), "0 1 2 3 end\n0\n");
}

static void it_leads_a_session(void **state) {
  SCRIPT(run, "set -- $(cat /proc/$$/stat); echo $$ $5 $6");
  char want[64];
  long long pid = strtoll(strbuf_text(&run.out), NULL, 10);
  snprintf(want, sizeof want, "%lld %lld %lld\n", pid, pid, pid);
  assert_string_equal(strbuf_text(&run.out), want);
}

static void memory_is_limited(void **state) {
  const char *argv[] = {"sh", "-c", "sleep 0.05; ulimit -d; ulimit -H -d", NULL};
  CLEANUP(run_fini) struct run run;
  run_init(&run);
  struct process_options options = options_of(&run, argv);
  options.memory_bytes = 512 << 20;
  struct err err = {0};
  assert_non_null(process_start(&loop, &options, &err));
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_string_equal(strbuf_text(&run.out), "524288\n524288\n");
}

static void much_output_arrives_whole(void **state) {
  SCRIPT(run, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done");
  assert_int_equal(run.exit.code, 0);
  const char *text = strbuf_text(&run.out);
  for (int i = 0; i < 20000; i++) {
    char want[32];
    int len = snprintf(want, sizeof want, "line %d\n", i);
    assert_memory_equal(text, want, (size_t)len);
    text += len;
  }
  assert_string_equal(text, "");
}

static bool group_is_gone(int pid) {
  for (int i = 0; i < 1000; i++) {
    if (kill(-pid, 0) != 0 && errno == ESRCH) return true;
    usleep(10000);
  }
  return false;
}

static void stop(struct run *run, const char *script) {
  const char *argv[] = {"sh", "-c", script, NULL};
  struct process_options options = options_of(run, argv);
  struct err err = {0};
  run->stop_at_output = true;
  run->process = process_start(&loop, &options, &err);
  assert_non_null(run->process);
  int pid = process_pid(run->process);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(run->exits, 1);
  assert_true(group_is_gone(pid));
}

static void stopping_is_polite_first(void **state) {
  CLEANUP(run_fini) struct run run;
  run_init(&run);
  stop(&run, "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done");
  assert_string_equal(strbuf_text(&run.out), "up\nbye\n");
  assert_int_equal(run.exit.code, 3);
}

static void stopping_is_certain(void **state) {
  CLEANUP(run_fini) struct run run;
  run_init(&run);
  /* neither it nor its child heeds SIGTERM */
  stop(&run, "trap '' TERM; sh -c 'trap \"\" TERM; while :; do sleep 0.01; done' & echo up; wait; wait");
  assert_int_equal(run.exit.signal, SIGKILL);
}

static void stragglers_die_with_the_leader(void **state) {
  SCRIPT(run, "sleep 1000 & echo $$");
  assert_int_equal(run.exit.code, 0);
  assert_true(group_is_gone((int)strtoll(strbuf_text(&run.out), NULL, 10)));
}

static void who_left_the_group_cannot_hold_us(void **state) {
  SCRIPT(run, "setsid sleep 1000 & while ! [ \"$(cut -d' ' -f6 /proc/$!/stat)\" = $! ]; do :; done; echo $!");
  assert_int_equal(run.exit.code, 0); /* it holds the pipe, yet the run is over */
  assert_int_equal(kill((int)strtoll(strbuf_text(&run.out), NULL, 10), SIGKILL), 0);
}

static void what_cannot_start_says_so(void **state) {
  CLEANUP(run_fini) struct run run;
  run_init(&run);
  const char *argv[] = {"no-such-program-here", NULL};
  struct process_options options = options_of(&run, argv);
  struct err err = {0};
  assert_null(process_start(&loop, &options, &err));
  assert_int_equal(err.code, ERR_IO);
  assert_non_null(strstr(err.text, "no-such-program-here"));
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(run.exits, 0);
  const char *shell[] = {"sh", "-c", "exit 0", NULL};
  options = options_of(&run, shell);
  options.cwd = "/no/such/folder";
  assert_null(process_start(&loop, &options, &err));
  uv_run(&loop, UV_RUN_DEFAULT);
}

static void the_peak_of_memory_is_known(void **state) {
  SCRIPT(run, "x=$(head -c 30000000 /dev/zero | tr '\\0' 'x'); sleep 0.2; echo ${#x}");
  assert_string_equal(strbuf_text(&run.out), "30000000\n");
  assert_in_range(run.exit.max_rss_bytes, 30000000, 1000000000);
}

/* A parent that starts a child of its own and waits to be killed. */
static void guarded_parent(int report) {
  struct err err = {0};
  uv_loop_t own;
  struct run run;
  run_init(&run);
  if (!process_guard_start(&err) || !process_no_new_privileges(&err) || uv_loop_init(&own) != 0) _exit(1);
  const char *argv[] = {"sh", "-c", "sleep 1000 & sleep 1000", NULL};
  struct process_options options = options_of(&run, argv);
  struct process *process = process_start(&own, &options, &err);
  if (!process) _exit(1);
  int pid = process_pid(process);
  if (write(report, &pid, sizeof pid) != sizeof pid) _exit(1);
  uv_run(&own, UV_RUN_DEFAULT);
  _exit(0);
}

static void children_do_not_outlive_a_killed_parent(void **state) {
  int ends[2], child = 0;
  assert_int_equal(pipe(ends), 0);
  pid_t parent = fork();
  if (parent == 0) guarded_parent(ends[1]);
  close(ends[1]);
  assert_int_equal(read(ends[0], &child, sizeof child), sizeof child);
  assert_int_equal(kill(-child, 0), 0);
  assert_int_equal(kill(parent, SIGKILL), 0);
  assert_int_equal(waitpid(parent, NULL, 0), parent);
  assert_true(group_is_gone(child));
  assert_int_equal(read(ends[0], &child, sizeof child), 0); /* the guard holds nothing of its parent either */
  close(ends[0]);
}

static int setup(void **state) {
  return uv_loop_init(&loop);
}
static int teardown(void **state) {
  return uv_loop_close(&loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(output_and_codes_come_back),
      TEST(the_environment_is_clean),
      TEST(it_leads_a_session),
      TEST(memory_is_limited),
      TEST(much_output_arrives_whole),
      TEST(stopping_is_polite_first),
      TEST(stopping_is_certain),
      TEST(stragglers_die_with_the_leader),
      TEST(who_left_the_group_cannot_hold_us),
      TEST(what_cannot_start_says_so),
      TEST(the_peak_of_memory_is_known),
      TEST(children_do_not_outlive_a_killed_parent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
