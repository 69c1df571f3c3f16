/* worker: whole attempts, with real programs and a real store, without a database. */
#include "cm.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attempt.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "conf/bundle.h"

static char base[64];
static uv_loop_t loop;
static struct store *store;
static struct attempt_host host;
static char bundle[DIGEST_TEXT_SIZE];

struct outcome {
  char state[32]; /* "" when there is nothing to hand in */
  json_t *result;
  char log[20000]; /* the sealed one */
  double progress;
  char progress_text[256];
  enum attempt_stop stop_at_progress;
} outcome;

static const char *at(const char *name) {
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

static bool to_store(void *arg, const void *bytes, size_t len, struct err *err) {
  store_writer_add(arg, bytes, len);
  return true;
}

static void pack(void) {
  struct err err = {0};
  struct bundle_info info;
  struct store_ref ref;
  struct store_writer *writer = store_writer_new(store, STORE_NO_LIMIT);
  assert_true(bundle_pack(at("code"), to_store, writer, &info, &err));
  assert_true(store_writer_commit(writer, &ref, &err));
  assert_string_equal(ref.digest, info.digest);
  snprintf(bundle, sizeof bundle, "%s", ref.digest);
}

static void took_progress(void *arg, struct attempt *attempt, double fraction, const char *text) {
  outcome.progress = fraction;
  snprintf(outcome.progress_text, sizeof outcome.progress_text, "%s", text);
  if (outcome.stop_at_progress) attempt_stop(attempt, outcome.stop_at_progress);
}

static char *stored(const char *digest) {
  struct err err = {0};
  char *text = NULL;
  if (!store_read(store, digest, 1 << 20, &text, NULL, &err)) fail_msg("%s", err.text);
  return text;
}

static void took_done(void *arg, struct attempt *attempt) {
  const char *state = attempt_state(attempt);
  snprintf(outcome.state, sizeof outcome.state, "%s", state ? state : "");
  if (state) {
    outcome.result = json_loads(attempt_result(attempt), 0, NULL);
    assert_non_null(outcome.result);
    char *log = stored(json_string_value(json_object_get(outcome.result, "log")));
    snprintf(outcome.log, sizeof outcome.log, "%s", log);
    mem_free(log);
  }
  attempt_free(attempt, false);
}

static int setup(void **state) {
  struct err err = {0};
  snprintf(base, sizeof base, "/tmp/orch-test-attempt-XXXXXX");
  assert_non_null(mkdtemp(base));
  assert_int_equal(mkdir(at("work"), 0755), 0);
  assert_int_equal(mkdir(at("code"), 0755), 0);
  store = store_open(at("store"), &err);
  assert_non_null(store);
  assert_int_equal(uv_loop_init(&loop), 0);
  static char work[256];
  snprintf(work, sizeof work, "%s", at("work"));
  host = (struct attempt_host){.loop = &loop,
                               .store = store,
                               .work_folder = work,
                               .path = "/usr/bin:/bin",
                               .progress = took_progress,
                               .done = took_done};
  outcome = (struct outcome){0};
  return 0;
}

static int teardown(void **state) {
  struct err err = {0};
  json_decref(outcome.result);
  assert_int_equal(uv_loop_close(&loop), 0);
  store_close(store);
  return store_remove_folder(base, &err) ? 0 : -1;
}

/* Runs `script` as a step; `more` is further JSON of the brief. */
static void run(const char *script, const char *role, const char *more, int64_t timeout_ms) {
  if (outcome.result) json_decref(outcome.result);
  enum attempt_stop stop = outcome.stop_at_progress;
  outcome = (struct outcome){.stop_at_progress = stop};
  write_file("code/step.sh", script);
  pack();
  char *brief =
      mem_printf("{\"pipeline\":\"housing\",\"proposal\":42,\"version\":3,\"step\":\"train\",\"role\":\"%s\","
                 "\"attempt\":2,\"seed\":7,\"as_of\":\"2003-01-01T00:00:00Z\",\"config\":{\"window\":3},"
                 "\"run\":[\"sh\",\"step.sh\"],\"bundle\":\"%s\",\"grace_ms\":200,\"resources\":{\"cpu\":1}%s}",
                 role, bundle, more);
  attempt_new(&host, 7, 8, timeout_ms, brief);
  mem_free(brief);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_not_equal(access(at("work/7-8"), F_OK), 0); /* nothing is left */
  assert_int_not_equal(access(at("store/logs/7-8.log"), F_OK), 0);
}

static const char *text_of(const char *key) {
  const char *text = json_string_value(json_object_get(outcome.result, key));
  return text ? text : "";
}
static void expect_state(const char *state) {
  if (strcmp(outcome.state, state) != 0)
    fail_msg("state '%s', error '%s'\n%s", outcome.state, text_of("error"), outcome.log);
}
static bool is_final(void) {
  return json_is_false(json_object_get(outcome.result, "retry"));
}

static void a_step_sees_what_it_should(void **state) {
  struct err err = {0};
  struct store_ref input;
  assert_int_equal(mkdir(at("earlier"), 0755), 0);
  write_file("earlier/rows.txt", "earlier");
  assert_true(store_put_tree(store, at("earlier"), NULL, &input, &err));
  write_file("code/sales.csv", "a,b\n");
  char *more = mem_printf(
      ",\"data\":[{\"name\":\"sales\",\"kind\":\"file\",\"file\":\"sales.csv\"},"
      "{\"name\":\"more-data\",\"kind\":\"command\",\"command\":[\"sh\",\"-c\",\"echo $ORCH_AS_OF; echo noise >&2\"]}],"
      "\"inputs\":{\"prepare\":\"%s\"},\"secrets\":[\"ORCH_TEST_SECRET\"]",
      input.digest);
  assert_int_equal(setenv("ORCH_TEST_SECRET", "hunter2hunter2", 1), 0);
  run("env | sed 's/=.*work/=W/' | sort | grep -v ^_= | grep -v ^PWD=\n"
      "cat $ORCH_CONFIG $ORCH_DATA_SALES $ORCH_DATA_MORE_DATA $ORCH_INPUT_PREPARE/rows.txt; pwd | sed 's/.*work/W/'\n"
      "[ -w $HOME ] && [ -w $TMPDIR ] && echo orch:progress 0.5 half\n"
      "echo model > $ORCH_OUTPUT/model; echo '{\"accuracy\": 0.83}' > $ORCH_OUTPUT/metrics.json\n",
      "train", more, 60000);
  mem_free(more);
  expect_state("succeeded");
  assert_string_equal(outcome.log, "orch: taking data more-data\nnoise\n"
                                   "HOME=W/7-8/home\nORCH_AS_OF=2003-01-01T00:00:00Z\nORCH_ATTEMPT=2\n"
                                   "ORCH_CONFIG=W/7-8/config.json\nORCH_DATA_MORE_DATA=W/7-8/data/more-data\n"
                                   "ORCH_DATA_SALES=W/7-8/data/sales\nORCH_INPUT_PREPARE=W/7-8/input/prepare\n"
                                   "ORCH_OUTPUT=W/7-8/output\nORCH_PIPELINE=housing\nORCH_PROPOSAL=42\nORCH_SEED=7\n"
                                   "ORCH_STEP=train\nORCH_TEST_SECRET=***\nORCH_VERSION=3\n"
                                   "PATH=/usr/bin:/bin\nTMPDIR=W/7-8/tmp\n"
                                   "{\n \"window\": 3\n}a,b\n2003-01-01T00:00:00Z\nearlierW/7-8/bundle\n"
                                   "orch:progress 0.5 half\n");
  assert_true(outcome.progress == 0.5);
  assert_string_equal(outcome.progress_text, "half");
  assert_true(json_real_value(json_object_get(json_object_get(outcome.result, "metrics"), "accuracy")) == 0.83);
  assert_true(store_get_tree(store, text_of("output"), at("out"), &err));
  assert_int_equal(access(at("out/model"), F_OK), 0);
  json_t *snapshots = json_object_get(outcome.result, "snapshots");
  char *taken = stored(json_string_value(json_object_get(snapshots, "more-data")));
  assert_string_equal(taken, "2003-01-01T00:00:00Z\n");
  mem_free(taken);
  taken = stored(json_string_value(json_object_get(snapshots, "sales")));
  assert_string_equal(taken, "a,b\n");
  mem_free(taken);
  assert_int_equal(json_integer_value(json_object_get(outcome.result, "exit_code")), 0);
}

static void a_snapshot_is_not_taken_twice(void **state) {
  struct err err = {0};
  struct store_ref ref;
  assert_true(store_put_bytes(store, "frozen", 6, &ref, &err));
  char *more = mem_printf(",\"data\":[{\"name\":\"sales\",\"file\":\"absent\",\"snapshot\":\"%s\"},"
                          "{\"name\":\"x\",\"command\":[\"false\"],\"snapshot\":\"%s\"}]",
                          ref.digest, ref.digest);
  run("cat $ORCH_DATA_SALES $ORCH_DATA_X", "train", more, 60000);
  mem_free(more);
  expect_state("succeeded");
  assert_string_equal(outcome.log, "frozenfrozen\n");
  assert_null(json_object_get(outcome.result, "snapshots"));
}

static void exit_codes_have_meanings(void **state) {
  run("echo first >&2; echo 'ValueError: no rows' >&2; exit 3", "train", "", 60000);
  expect_state("failed");
  assert_string_equal(text_of("error"), "exit code 3: ValueError: no rows");
  assert_true(is_final());
  assert_int_equal(json_integer_value(json_object_get(outcome.result, "exit_code")), 3);
  run("exit 75", "train", "", 60000);
  expect_state("failed");
  assert_false(is_final());
  run("kill -9 $$", "train", "", 60000);
  expect_state("failed");
  assert_false(is_final());
  assert_int_equal(json_integer_value(json_object_get(outcome.result, "signal")), 9);
}

static void broken_outputs_fail(void **state) {
  run("echo '{\"accuracy\": NaN}' > $ORCH_OUTPUT/metrics.json", "train", "", 60000);
  expect_state("failed");
  assert_non_null(strstr(text_of("error"), "metrics.json"));
  assert_true(is_final());
  run("exit 0", "evaluate", "", 60000);
  expect_state("failed");
  assert_non_null(strstr(text_of("error"), "metrics.json"));
  run("ln -s /etc/passwd $ORCH_OUTPUT/x", "train", "", 60000);
  expect_state("failed");
  assert_non_null(strstr(text_of("error"), "leads out"));
  run("printf 'a\\n\"b' > $ORCH_OUTPUT/profile.csv", "train", "", 60000);
  expect_state("failed");
  assert_non_null(strstr(text_of("error"), "profile.csv"));
  run("printf 'a\\n1\\n2\\n' > $ORCH_OUTPUT/profile.csv", "train", "", 60000);
  expect_state("succeeded");
  assert_true(strlen(text_of("profile")) > 20);
}

static void files_from_elsewhere_need_permission(void **state) {
  write_file("outside.csv", "outside");
  char *more = mem_printf(",\"data\":[{\"name\":\"sales\",\"file\":\"%s/outside.csv\"}]", base);
  run("cat $ORCH_DATA_SALES", "train", more, 60000);
  expect_state("failed");
  assert_non_null(strstr(text_of("error"), "outside of what this worker may read"));
  const char *const roots[] = {base, NULL};
  host.data_roots = roots;
  run("cat $ORCH_DATA_SALES", "train", more, 60000);
  expect_state("succeeded");
  assert_string_equal(outcome.log, "outside\n");
  mem_free(more);
  run("true", "train", ",\"data\":[{\"name\":\"sales\",\"file\":\"../../../outside.csv\"}]", 60000);
  expect_state("failed");
}

static void what_is_missing_is_named(void **state) {
  run("true", "train", ",\"secrets\":[\"ORCH_TEST_ABSENT\"]", 60000);
  expect_state("failed");
  assert_non_null(strstr(text_of("error"), "ORCH_TEST_ABSENT"));
  assert_non_null(strstr(text_of("hint"), "ORCH_TEST_ABSENT_FILE"));
  run("true", "train", ",\"data\":[{\"name\":\"sales\",\"command\":[\"sh\",\"-c\",\"exit 4\"]}]", 60000);
  expect_state("failed");
  assert_non_null(strstr(text_of("error"), "exit code 4"));
  run("true", "train", ",\"executor\":\"slurm\"", 60000);
  expect_state("failed");
  assert_non_null(strstr(text_of("error"), "slurm"));
  run("true", "train", ",\"model\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"", 60000);
  expect_state("failed");
  assert_non_null(strstr(text_of("error"), "not in the store"));
  assert_false(is_final());
}

static void a_brief_that_is_off_fails_politely(void **state) {
  attempt_new(&host, 7, 8, 1000, "{\"pipeline\":\"x\"}");
  uv_run(&loop, UV_RUN_DEFAULT);
  expect_state("failed");
  assert_true(is_final());
  json_decref(outcome.result);
  attempt_new(&host, 7, 8, 1000, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  expect_state("failed");
}

#define LONG_STEP "echo orch:progress 0.1; sleep 1000 & wait"

static void stops_have_outcomes(void **state) {
  run("sleep 1000 & wait", "train", "", 100);
  expect_state("timed_out");
  assert_non_null(strstr(text_of("error"), "timeout"));
  outcome.stop_at_progress = ATTEMPT_CANCEL;
  run(LONG_STEP, "train", "", 60000);
  expect_state("cancelled");
  outcome.stop_at_progress = ATTEMPT_HAND_BACK;
  run(LONG_STEP, "train", "", 60000);
  expect_state("");
  outcome.stop_at_progress = ATTEMPT_LOST;
  run("trap '' TERM; " LONG_STEP, "train", "", 60000);
  expect_state("");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_step_sees_what_it_should),
      TEST(a_snapshot_is_not_taken_twice),
      TEST(exit_codes_have_meanings),
      TEST(broken_outputs_fail),
      TEST(files_from_elsewhere_need_permission),
      TEST(what_is_missing_is_named),
      TEST(a_brief_that_is_off_fails_politely),
      TEST(stops_have_outcomes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
