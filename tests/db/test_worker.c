/* The worker against a real server and real processes: a whole run, cancelling, a killed worker, leaving in order.
 * Needs ORCH_TEST_DATABASE_URL, an empty database of which schema orch may be dropped. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cm.h"
#include "conf/bundle.h"
#include "io/db_sync.h"
#include "io/migrate.h"
#include "io/store.h"
#include "worker.h"

#define PATIENCE_MS 30000

static const char *url;
static char base[64];
static struct db_sync *db;

static char *at(const char *name) {
  static char paths[4][256];
  static unsigned next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", base, name);
  return path;
}

static void write_file(const char *name, const char *text) {
  int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  close(fd);
}

/* The value of one expression as text, in a buffer of four that go round. */
static const char *ask(const char *sql) {
  static char texts[4][20000];
  static unsigned next;
  struct err err = {0};
  char *text = db_sync_call(db, sql, 0, NULL, &err);
  if (!text) fail_msg("%s: %s", sql, err.text);
  char *out = texts[next++ % 4];
  snprintf(out, sizeof texts[0], "%s", text);
  mem_free(text);
  return out;
}

static bool no_duties; /* nobody recovers jobs meanwhile: what happens is the worker's own doing */

static void run_duties(void) {
  if (no_duties) return;
  ask("select orch.jobs_recover()::text");
  ask("select orch.jobs_promote_due(100)::text");
}

/* Until the answer is `want`; does the server's duties meanwhile. */
static void await(const char *sql, const char *want) {
  for (int64_t until = clock_mono_us() + PATIENCE_MS * 1000; clock_mono_us() < until; usleep(20000)) {
    if (strcmp(ask(sql), want) == 0) return;
    run_duties();
  }
  fail_msg(
      "%s is '%s', not '%s'; %s", sql, ask(sql), want,
      ask("select coalesce(string_agg(state || ' ' || coalesce(result::text, ''), '; '), '') from orch.job_history"));
}

static pid_t workers[8]; /* that run; a test that fails must not leave its own to the next one */

static pid_t start_worker(unsigned slots, int64_t lease_ms, int64_t stop_ms) {
  pid_t pid = fork();
  for (size_t i = 0; pid != 0 && i < ARRAY_LEN(workers); i++)
    if (!workers[i]) {
      workers[i] = pid;
      return pid;
    }
  if (pid != 0) return pid;
  int quiet = open(at("worker.log"), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(quiet, STDERR_FILENO);
  dup2(quiet, STDOUT_FILENO);
  struct worker_options options = {.database_url = url,
                                   .store = at("store"),
                                   .work_folder = at("work"),
                                   .slots = slots,
                                   .cpu = slots,
                                   .lease_ms = lease_ms,
                                   .poll_ms = 500,
                                   .stop_ms = stop_ms};
  _exit(worker_main(&options));
}

static int stop_worker(pid_t pid, int number) {
  int status = 0;
  kill(pid, number);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  for (size_t i = 0; i < ARRAY_LEN(workers); i++)
    if (workers[i] == pid) workers[i] = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool to_store(void *arg, const void *bytes, size_t len, struct err *err) {
  store_writer_add(arg, bytes, len);
  return true;
}

static void put_bundle(char digest[DIGEST_TEXT_SIZE]) {
  struct err err = {0};
  struct bundle_info info;
  struct store_ref ref;
  struct store *store = store_open(at("store"), &err);
  assert_non_null(store);
  struct store_writer *writer = store_writer_new(store, STORE_NO_LIMIT);
  assert_true(bundle_pack(at("code"), to_store, writer, &info, &err));
  assert_true(store_writer_commit(writer, &ref, &err));
  memcpy(digest, ref.digest, sizeof ref.digest);
  store_close(store);
}

static const char spec[] =
    "{\"pipeline\":\"tiny\",\"owner\":\"o\",\"oncall\":\"#o\",\"data\":[{\"name\":\"rows\",\"kind\":\"file\",\"file\":"
    "\"rows.csv\"}],\"config\":{\"seed\":7},\"steps\":[{\"name\":\"train\",\"run\":[\"sh\",\"train.sh\"],\"role\":"
    "\"train\",\"needs\":[],\"timeout_ms\":60000,\"retry\":{\"limit\":1,\"backoff_ms\":10,\"max_ms\":10},\"executor\":"
    "\"process\",\"secrets\":[],\"resources\":{\"cpu\":1,\"memory_bytes\":null,\"gpu\":0,\"labels\":[]}},{\"name\":"
    "\"evaluate\",\"run\":[\"sh\",\"evaluate.sh\"],\"role\":\"evaluate\",\"needs\":[\"train\"],\"timeout_ms\":60000,"
    "\"retry\":{\"limit\":0,\"backoff_ms\":10,\"max_ms\":10},\"executor\":\"process\",\"secrets\":[],\"resources\":"
    "{\"cpu\":1,\"memory_bytes\":null,\"gpu\":0,\"labels\":[]}}],\"monitors\":[],\"retrain\":{\"cooldown_ms\":0,"
    "\"budget\":null},\"checks\":[{\"metric\":\"accuracy\",\"min\":0.7}],\"gates\":{\"promote\":{\"require\":[{"
    "\"group\":\"risk\",\"approvals\":1}],\"expires_ms\":3600000,\"own_proposals\":false}},\"rollout\":{\"driver\":{"
    "\"symlink\":{\"path\":\"live/tiny\"}}},\"keep\":2}";

static void apply(void) {
  struct err err = {0};
  char bundle[DIGEST_TEXT_SIZE];
  put_bundle(bundle);
  struct db_value values[] = {db_text(spec), db_text(bundle)};
  char *text = db_sync_call(db,
                            "select orch.pipeline_apply($1::text::jsonb, $1::text, 'sha256:' || "
                            "encode(sha256(convert_to($1::text || $2::text, "
                            "'UTF8')), 'hex'), $2, null, null, 'user:test')::text",
                            2, values, &err);
  if (!text) fail_msg("%s", err.text);
  mem_free(text);
}

static void propose(void) {
  ask("select orch.proposal_create('tiny', 'a test', 'keep', 'user:test', '2003-01-01', null)::text");
}

#define TRAIN_WELL                                                                                                     \
  "cp $ORCH_DATA_ROWS $ORCH_OUTPUT/model; cp $ORCH_DATA_ROWS $ORCH_OUTPUT/profile.csv\n"                               \
  "echo '{\"rows\": 3}' > $ORCH_OUTPUT/metrics.json\n"
#define EVALUATE "cmp $ORCH_MODEL/model $ORCH_DATA_ROWS && echo '{\"accuracy\": 0.8}' > $ORCH_OUTPUT/metrics.json\n"
/* Tells where it is, then waits to be ended. */
#define TRAIN_LONG                                                                                                     \
  "echo $$ > "                                                                                                         \
  "%s/pid.new; mv %s/pid.new %s/pid; echo orch:progress 0.3 waiting; sleep 1000 & wait\n"

static void write_code(const char *train) {
  write_file("code/train.sh", train);
  write_file("code/evaluate.sh", EVALUATE);
  write_file("code/rows.csv", "a,b\n1,2\n3,4\n5,6\n");
  apply();
}

static void write_long_code(void) {
  char script[1024];
  snprintf(script, sizeof script, TRAIN_LONG, base, base, base);
  write_code(script);
}

/* What the worker said, for whoever looks at a failure. */
static void show_log(void) {
  char text[20000];
  int fd = open(at("worker.log"), O_RDONLY);
  ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  text[len < 0 ? 0 : len] = 0;
  print_message("%s\n", text);
}

static pid_t step_pid(void) {
  for (int64_t until = clock_mono_us() + PATIENCE_MS * 1000; clock_mono_us() < until; usleep(10000)) {
    char text[32] = "";
    int fd = open(at("pid"), O_RDONLY);
    if (fd < 0) {
      run_duties();
      continue;
    }
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    unlink(at("pid"));
    if (len > 0) return (pid_t)strtoll(text, NULL, 10);
  }
  show_log();
  fail_msg("the step did not start");
  return 0;
}

static void assert_gone(pid_t pid) {
  for (int64_t until = clock_mono_us() + PATIENCE_MS * 1000; clock_mono_us() < until; usleep(10000))
    if (kill(-pid, 0) != 0 && errno == ESRCH) return;
  fail_msg("process group %d still runs", (int)pid);
}

static int setup(void **state) {
  struct err err = {0};
  struct migrate_source source = migrate_embedded();
  struct migrate_report report;
  no_duties = false;
  snprintf(base, sizeof base, "/tmp/orch-test-worker-XXXXXX");
  assert_non_null(mkdtemp(base));
  assert_int_equal(mkdir(at("code"), 0755), 0);
  db = db_sync_open(url, "test_worker", &err);
  assert_non_null(db);
  assert_true(db_sync_exec(db, "set client_min_messages = warning; drop schema if exists orch cascade", &err));
  if (!migrate_apply(db, &source, NULL, NULL, &report, &err)) fail_msg("%s", err.text);
  ask("select orch.server_apply('{\"reviewers\": [{\"name\": \"dana\", \"groups\": [\"risk\"]}]}', 'user:test')::text");
  return 0;
}

static int teardown(void **state) {
  struct err err = {0};
  for (size_t i = 0; i < ARRAY_LEN(workers); i++)
    if (workers[i]) stop_worker(workers[i], SIGKILL);
  db_sync_close(db);
  return store_remove_folder(base, &err) ? 0 : -1;
}

#define STATE "select state from orch.proposal order by id desc limit 1"

static void a_proposal_becomes_a_candidate_at_its_gate(void **state) {
  write_code(TRAIN_WELL);
  pid_t worker = start_worker(2, 10000, 5000);
  propose();
  await(STATE, "awaiting_approval");
  assert_string_equal(ask("select count(*)::text from orch.job_history where state = 'succeeded'"), "2");
  assert_string_equal(ask("select metrics::text from orch.version"), "{\"rows\": 3}");
  assert_string_equal(ask("select metrics::text from orch.evaluation"), "{\"accuracy\": 0.8}");
  assert_string_equal(ask("select (octet_length(profile) > 100)::text from orch.version"), "true");
  assert_string_equal(ask("select name from orch.snapshot"), "rows");
  char digest[DIGEST_TEXT_SIZE];
  snprintf(digest, sizeof digest, "%s", ask("select artifact from orch.version"));
  assert_int_equal(stop_worker(worker, SIGTERM), 0);
  assert_string_equal(ask("select state from orch.worker"), "stopped");
  struct err err = {0};
  struct store *store = store_open(at("store"), &err);
  assert_true(store_verify_tree(store, digest, &err));
  assert_true(store_verify(store, ask("select result->>'log' from orch.job_history limit 1"), &err));
  store_close(store);
}

/* With its only slot busy it hands in the training and takes the evaluation, which that asked for, in one call. */
static void a_busy_worker_hands_in_one_and_takes_one(void **state) {
  struct err err = {0};
  assert_true(db_sync_exec(db,
                           "do $$ begin execute format('alter database %I set track_functions = pl', "
                           "current_database()); end $$",
                           &err));
  write_code(TRAIN_WELL);
  pid_t worker = start_worker(1, 10000, 5000);
  propose();
  await(STATE, "awaiting_approval");
  assert_int_equal(stop_worker(worker, SIGTERM), 0); /* a leaving connection brings its statistics */
  await("select (sum(calls) > 0)::text from pg_stat_user_functions where funcname = 'job_swap'", "true");
  assert_string_equal(ask("select string_agg(role || ' ' || state, ', ' order by id) from orch.job_history"),
                      "train succeeded, evaluate succeeded");
  assert_string_equal(ask("select count(*)::text from orch.job_attempt"), "0");
}

static void a_step_that_asks_is_tried_again(void **state) {
  char script[1024];
  snprintf(script, sizeof script, "[ $ORCH_ATTEMPT = 2 ] || exit 75\n%s", TRAIN_WELL);
  write_code(script);
  pid_t worker = start_worker(1, 10000, 5000);
  propose();
  await(STATE, "awaiting_approval");
  assert_string_equal(ask("select string_agg(outcome, ',') from orch.job_attempt"), "retry");
  write_code("exit 1");
  ask("select orch.proposal_create('tiny', 'another', 'replace', 'user:test', null, null)::text");
  await(STATE, "failed");
  assert_string_equal(ask("select count(*)::text from orch.job_attempt"), "1"); /* not tried again */
  assert_int_equal(stop_worker(worker, SIGTERM), 0);
}

static void a_refused_result_becomes_a_failure(void **state) {
  write_code(TRAIN_WELL);
  ask("create or replace function orch.version_record(q orch.proposal, p_job_id bigint, p_result jsonb) returns void "
      "language plpgsql as $$ begin raise exception 'not this one' using errcode = 'OR003'; end $$; ");
  pid_t worker = start_worker(2, 10000, 5000);
  propose();
  await(STATE, "failed");
  assert_string_equal(ask("select result->>'error' from orch.job_history"), "not this one");
  assert_string_equal(ask("select count(*)::text from orch.job_attempt"), "0"); /* trying again would not help */
  assert_int_equal(stop_worker(worker, SIGTERM), 0);
}

static void without_a_server_it_waits_and_leaves(void **state) {
  const char *real = url;
  url = "host=/tmp/orch-no-such-folder dbname=x";
  pid_t worker = start_worker(1, 2000, 100);
  for (int64_t until = clock_mono_us() + PATIENCE_MS * 1000; clock_mono_us() < until; usleep(20000)) {
    char text[4096] = "";
    int fd = open(at("worker.log"), O_RDONLY);
    if (fd >= 0 && read(fd, text, sizeof text - 1) < 0) text[0] = 0;
    if (fd >= 0) close(fd);
    if (strstr(text, "worker.database")) break;
  }
  url = real;
  assert_int_equal(stop_worker(worker, SIGTERM), 0);
}

static void cancelling_reaches_the_process(void **state) {
  write_long_code();
  pid_t worker = start_worker(1, 10000, 5000);
  propose();
  pid_t step = step_pid();
  await("select progress_text from orch.job", "waiting");
  ask("select orch.proposal_cancel((select max(id) from orch.proposal), 'enough', 'user:test')::text");
  assert_gone(step);
  await("select state from orch.job_history", "cancelled");
  assert_int_equal(stop_worker(worker, SIGTERM), 0);
}

static void a_killed_workers_job_goes_to_another(void **state) {
  write_long_code();
  pid_t first = start_worker(1, 1000, 5000);
  propose();
  pid_t step = step_pid();
  assert_int_equal(stop_worker(first, SIGKILL), -SIGKILL);
  assert_gone(step); /* its guard saw to it */
  pid_t second = start_worker(1, 10000, 100);
  pid_t again = step_pid();
  assert_string_equal(ask("select attempt::text from orch.job"), "2");
  assert_string_equal(ask("select outcome from orch.job_attempt"), "silent worker");
  /* Leaving in order gives the job back without burning an attempt. */
  assert_int_equal(stop_worker(second, SIGTERM), 0);
  assert_gone(again);
  assert_string_equal(ask("select state || ' ' || attempt from orch.job"), "queued 1");
  assert_string_equal(ask("select count(*)::text from orch.job_history"), "0");
}

static void a_paused_worker_stops_what_it_lost(void **state) {
  write_long_code();
  pid_t worker = start_worker(1, 1000, 100);
  propose();
  pid_t step = step_pid();
  kill(worker, SIGSTOP); /* as a machine that sleeps */
  await("select coalesce((select outcome from orch.job_attempt), '')", "silent worker");
  kill(worker, SIGCONT);
  assert_gone(step);
  assert_true(step_pid() != step); /* taken again, under a new lease */
  assert_string_equal(ask("select count(*)::text from orch.job_history"), "0");
  assert_int_equal(stop_worker(worker, SIGINT), 0);
}

/* Nobody answers: the worker must have ended its steps by itself before the lease is over. */
static void without_a_database_nothing_keeps_running(void **state) {
  write_long_code();
  pid_t worker = start_worker(1, 2000, 100);
  propose();
  pid_t step = step_pid();
  /* A lock that no heartbeat can pass; a transaction, so that one connection holds it. */
  struct err err = {0};
  no_duties = true;
  assert_true(db_sync_exec(db, "begin; lock table orch.worker in access exclusive mode", &err));
  assert_gone(step);
  assert_true(db_sync_exec(db, "rollback", &err));
  pid_t again = step_pid(); /* handed back by the worker itself, then taken again */
  assert_true(again != step);
  no_duties = false;
  assert_string_equal(ask("select string_agg(distinct outcome, ',') from orch.job_attempt"), "handed back");
  assert_int_equal(stop_worker(worker, SIGINT), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(int argc, char **argv) {
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  url = getenv("ORCH_TEST_DATABASE_URL");
  if (!url) {
    fputs("set ORCH_TEST_DATABASE_URL to an empty database (tests/db/run does)\n", stderr);
    return 2;
  }
  const struct CMUnitTest tests[] = {
      TEST(a_proposal_becomes_a_candidate_at_its_gate),
      TEST(a_busy_worker_hands_in_one_and_takes_one),
      TEST(a_step_that_asks_is_tried_again),
      TEST(a_refused_result_becomes_a_failure),
      TEST(without_a_server_it_waits_and_leaves),
      TEST(cancelling_reaches_the_process),
      TEST(a_killed_workers_job_goes_to_another),
      TEST(a_paused_worker_stops_what_it_lost),
      TEST(without_a_database_nothing_keeps_running),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
