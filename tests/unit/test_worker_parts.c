/* worker: the brief, the environment, the log with its secrets, metrics. */
#include "cm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/mem.h"
#include "brief.h"
#include "environment.h"
#include "io/store.h"
#include "joblog.h"
#include "metrics.h"
#include "stats/profile.h"

#define DIGEST "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char base[64];
static int setup(void **state) {
  snprintf(base, sizeof base, "/tmp/orch-test-worker-XXXXXX");
  return mkdtemp(base) ? 0 : -1;
}
static int teardown(void **state) {
  struct err err = {0};
  return store_remove_folder(base, &err) ? 0 : -1;
}
static const char *at(const char *name) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", base, name);
  return path;
}
static void write_file(const char *name, const char *text, size_t len) {
  int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  assert_int_equal(write(fd, text, len), len);
  close(fd);
}

/* ---- brief ---- */

static const char good[] =
    "{\"job\":7,\"lease\":8,\"pipeline\":\"housing\",\"proposal\":42,\"version\":3,\"step\":\"train\",\"role\":"
    "\"train\","
    "\"subject\":null,\"attempt\":2,\"seed\":-7,\"as_of\":\"2003-01-01T00:00:00Z\",\"config\":{\"b\":1,\"a\":[2]},"
    "\"run\":[\"python3\",\"train.py\"],\"bundle\":\"" DIGEST "\",\"secrets\":[\"TOKEN\"],\"timeout_ms\":60000,"
    "\"grace_ms\":5000,\"resources\":{\"cpu\":1.5,\"memory_bytes\":null,\"gpu\":0,\"labels\":[]},\"executor\":null,"
    "\"data\":[{\"name\":\"sales\",\"kind\":\"file\",\"file\":\"data/x.csv\",\"snapshot\":null},"
    "{\"name\":\"labels\",\"kind\":\"command\",\"command\":[\"sh\",\"x.sh\"],\"snapshot\":\"" DIGEST "\"}],"
    "\"inputs\":{\"prepare\":\"" DIGEST "\"},\"model\":null}";

static void a_brief_is_read(void **state) {
  struct brief brief;
  struct err err = {0};
  if (!brief_parse(&brief, good, &err)) fail_msg("%s", err.text);
  assert_string_equal(brief.pipeline, "housing");
  assert_int_equal(brief.role, BRIEF_TRAIN);
  assert_int_equal(brief.proposal, 42);
  assert_int_equal(brief.attempt, 2);
  assert_int_equal(brief.seed, -7);
  assert_string_equal(brief.run[1], "train.py");
  assert_null(brief.run[2]);
  assert_string_equal(brief.secrets[0], "TOKEN");
  assert_true(brief.cpu == 1.5);
  assert_int_equal(brief.memory_bytes, 0);
  assert_string_equal(brief.executor, "process");
  assert_int_equal(brief.data_count, 2);
  assert_string_equal(brief.data[0].file, "data/x.csv");
  assert_null(brief.data[0].snapshot);
  assert_string_equal(brief.data[1].command[0], "sh");
  assert_string_equal(brief.data[1].snapshot, DIGEST);
  assert_int_equal(brief.input_count, 1);
  assert_string_equal(brief.inputs[0].step, "prepare");
  assert_string_equal(brief.config, "{\n \"a\": [\n  2\n ],\n \"b\": 1\n}");
  assert_null(brief.model);
  brief_fini(&brief);
}

/* The good brief with one piece replaced. */
static void refuse_brief(const char *piece, const char *instead, const char *named) {
  char *where = strstr(good, piece);
  assert_non_null(where);
  char *text = mem_printf("%.*s%s%s", (int)(where - good), good, instead, where + strlen(piece));
  struct brief brief;
  struct err err = {0};
  if (brief_parse(&brief, text, &err)) fail_msg("accepted %s", text);
  assert_int_equal(err.code, ERR_INVALID);
  if (!strstr(err.text, named)) fail_msg("'%s' does not name %s", err.text, named);
  brief_fini(&brief);
  mem_free(text);
}

static void odd_briefs_are_refused(void **state) {
  refuse_brief("\"housing\"", "\"../etc\"", "pipeline");
  refuse_brief("\"step\":\"train\"", "\"step\":\"a/b\"", "step");
  refuse_brief("\"name\":\"sales\"", "\"name\":\"\"", "name");
  refuse_brief("[\"python3\",\"train.py\"]", "[]", "run");
  refuse_brief("[\"python3\",\"train.py\"]", "[\"a\\u0000b\"]", "not JSON");
  refuse_brief("[\"python3\",\"train.py\"]", "[1]", "run");
  refuse_brief("\"bundle\":\"sha256", "\"bundle\":\"sha1", "bundle");
  refuse_brief("\"role\":\"train\"", "\"role\":\"boss\"", "role");
  refuse_brief("\"cpu\":1.5", "\"cpu\":\"many\"", "cpu");
  refuse_brief("\"timeout_ms\":60000", "\"timeout_ms\":0", "timeout_ms");
  refuse_brief("\"prepare\":", "\"../prepare\":", "inputs");
  refuse_brief("\"file\":\"data/x.csv\"", "\"file\":null", "data");
  refuse_brief("\"config\":{", "\"config\":[{", "not JSON");
  refuse_brief("\"attempt\":2", "\"attempt\":2,\"attempt\":3", "not JSON");
  struct brief brief;
  struct err err = {0};
  assert_false(brief_parse(&brief, NULL, &err));
  assert_string_equal(err.text, "the job has no brief");
  brief_fini(&brief);
}

/* ---- environment ---- */

static void variables_by_name(void **state) {
  struct environment environment;
  environment_init(&environment);
  environment_add(&environment, "PATH", "/bin");
  environment_add_int(&environment, "ORCH_SEED", -7);
  environment_add_named(&environment, "ORCH_DATA_", "my-data_2", "/x");
  assert_string_equal(environment.items[0], "PATH=/bin");
  assert_string_equal(environment.items[1], "ORCH_SEED=-7");
  assert_string_equal(environment.items[2], "ORCH_DATA_MY_DATA_2=/x");
  assert_null(environment.items[3]);
  environment_add_named(&environment, "ORCH_DATA_", "my_data-2", "/y");
  assert_true(environment.failed);
  assert_int_equal(environment.err.code, ERR_INVALID);
  environment_fini(&environment);
  assert_null(environment.items[0]);
}

/* ---- log ---- */

static double last_fraction;
static char last_text[JOBLOG_TEXT_MAX + 1];
static int progresses;
static void progressed(void *arg, double fraction, const char *text) {
  last_fraction = fraction;
  snprintf(last_text, sizeof last_text, "%s", text);
  progresses++;
}

static struct joblog *open_log(void) {
  struct err err = {0};
  progresses = 0;
  unlink(at("log"));
  struct joblog *log = joblog_open(at("log"), progressed, NULL, &err);
  assert_non_null(log);
  return log;
}

static void expect_log(struct joblog *log, const char *want) {
  static char text[200000];
  joblog_close(log);
  int fd = open(at("log"), O_RDONLY);
  ssize_t len = read(fd, text, sizeof text - 1);
  close(fd);
  text[len < 0 ? 0 : len] = 0;
  assert_string_equal(text, want);
}

static void add(struct joblog *log, unsigned stream, const char *text) {
  joblog_add(log, stream, text, strlen(text));
}

static void secrets_do_not_reach_the_log(void **state) {
  struct joblog *log = open_log();
  joblog_hide(log, "hunter2hunter2");
  joblog_hide(log, "-----BEGIN-----\nabcdefghij\nx\n");
  joblog_hide(log, "short");
  add(log, 0, "the word is hunter2hunter2, twice hunter2hunter2hunter2hunter2.\n");
  const char *pieces = "in pieces: hunter2hunter2 and abcdefghij, short stays\n";
  for (const char *c = pieces; *c; c++) joblog_add(log, 1, c, 1);
  joblog_say(log, "said %s", "hunter2hunter2");
  assert_string_equal(joblog_last_error(log), "in pieces: *** and ***, short stays");
  expect_log(log, "the word is ***, twice ******.\nin pieces: *** and ***, short stays\norch: said ***\n");
}

static void secrets_hide_across_long_lines(void **state) {
  struct joblog *log = open_log();
  joblog_hide(log, "hunter2hunter2");
  char filler[JOBLOG_LINE_MAX];
  memset(filler, 'x', sizeof filler);
  for (size_t before = JOBLOG_LINE_MAX - 20; before < JOBLOG_LINE_MAX; before++) {
    joblog_add(log, 0, filler, before);
    add(log, 0, "hunter2hunter2");
    joblog_add(log, 0, filler, 100);
    add(log, 0, "\n");
  }
  struct strbuf want;
  strbuf_init(&want, 1 << 20);
  for (size_t before = JOBLOG_LINE_MAX - 20; before < JOBLOG_LINE_MAX; before++) {
    strbuf_add(&want, filler, before);
    strbuf_puts(&want, "***");
    strbuf_add(&want, filler, 100);
    strbuf_putc(&want, '\n');
  }
  expect_log(log, strbuf_text(&want));
  strbuf_fini(&want);
}

static void progress_is_picked_out(void **state) {
  struct joblog *log = open_log();
  add(log, 0, "orch:progress 0.4 epoch 4 of 10\norch:progress 2 no\norch:progress x\n orch:progress 0.5\n");
  assert_int_equal(progresses, 1);
  assert_true(last_fraction == 0.4);
  assert_string_equal(last_text, "epoch 4 of 10");
  add(log, 1, "orch:progress 0.9 on stderr it is just text\n");
  assert_int_equal(progresses, 1);
  add(log, 0, "orch:progress 1");
  joblog_flush(log);
  assert_int_equal(progresses, 2);
  assert_string_equal(last_text, "");
  add(log, 0, "orch:progress 0.5 bad\x1b[31m\xff\n");
  assert_string_equal(last_text, "bad\\x1b[31m\xef\xbf\xbd");
  double fraction;
  char text[JOBLOG_TEXT_MAX + 1], line[1000];
  int end = snprintf(line, sizeof line, "orch:progress 0.25 ");
  for (int i = 0; i < 150; i++) end += snprintf(line + end, 3, "\xc3\xa4");
  assert_true(joblog_parse_progress(line, &fraction, text));
  assert_int_equal(strlen(text), JOBLOG_TEXT_MAX); /* cut between two letters */
  assert_false(joblog_parse_progress("orch:progress nan", &fraction, text));
  assert_false(joblog_parse_progress("orch:progress -0.1", &fraction, text));
  joblog_close(log);
}

/* ---- metrics ---- */

static bool check(const char *text, struct err *err) {
  return metrics_check(text, strlen(text), err);
}

static void metrics_are_finite_numbers(void **state) {
  struct err err = {0};
  assert_true(check("{\"accuracy\":0.83,\"n\":7,\"slices\":{\"city\":{\"Dallas\":{\"accuracy\":0.8}}}}", &err));
  static const char *const bad[] = {"",
                                    "[1]",
                                    "{\"a\":\"high\"}",
                                    "{\"a\":null}",
                                    "{\"a\":true}",
                                    "{\"a\":[1]}",
                                    "{\"a\":NaN}",
                                    "{\"a\":1e999}",
                                    "{\"a\":1,\"a\":2}",
                                    "{\"a\":1} x",
                                    "{\"b\":{\"a\":\"x\"}}"};
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
    if (check(bad[i], &err)) fail_msg("accepted %s", bad[i]);
    assert_int_equal(err.code, ERR_INVALID);
  }
  assert_false(check("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}", &err));
  assert_int_equal(err.code, ERR_LIMIT);
}

static void metrics_come_from_a_regular_file(void **state) {
  char *metrics = base;
  struct err err = {0};
  assert_true(metrics_read(base, &metrics, &err));
  assert_null(metrics);
  assert_int_equal(symlink("/dev/zero", at("metrics.json")), 0);
  assert_false(metrics_read(base, &metrics, &err));
  unlink(at("metrics.json"));
  assert_int_equal(mkfifo(at("metrics.json"), 0600), 0);
  assert_false(metrics_read(base, &metrics, &err));
  unlink(at("metrics.json"));
  char *large = mem_alloc(METRICS_BYTES_MAX + 2);
  memset(large, ' ', METRICS_BYTES_MAX + 1);
  write_file("metrics.json", large, METRICS_BYTES_MAX + 1);
  mem_free(large);
  assert_false(metrics_read(base, &metrics, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  write_file("metrics.json", "{\"a\":0.10}", 10);
  assert_true(metrics_read(base, &metrics, &err));
  assert_string_equal(metrics, "{\"a\":0.10}");
  mem_free(metrics);
}

static void profiles_are_built_from_csv(void **state) {
  char *text = base;
  struct err err = {0};
  assert_true(metrics_profile(base, &text, &err));
  assert_null(text);
  struct strbuf csv;
  strbuf_init(&csv, 1 << 20);
  strbuf_puts(&csv, "sales,listings\n");
  for (int i = 0; i < 1000; i++) strbuf_printf(&csv, "%d,%d\n", i, i % 7);
  write_file("profile.csv", strbuf_text(&csv), csv.len);
  assert_true(metrics_profile(base, &text, &err));
  uint8_t bytes[65536];
  size_t len;
  assert_true(digest_unbase64(text, strlen(text), bytes, sizeof bytes, &len));
  mem_free(text);
  struct profile *profile = profile_decode(bytes, len, &err);
  assert_non_null(profile);
  assert_int_equal(profile->rows, 1000);
  assert_non_null(profile_find(profile, "listings"));
  profile_free(profile);
  strbuf_puts(&csv, "1,2,3\n");
  write_file("profile.csv", strbuf_text(&csv), csv.len);
  strbuf_fini(&csv);
  assert_false(metrics_profile(base, &text, &err));
  assert_non_null(strstr(err.text, "profile.csv"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_brief_is_read),
      TEST(odd_briefs_are_refused),
      TEST(variables_by_name),
      TEST(secrets_do_not_reach_the_log),
      TEST(secrets_hide_across_long_lines),
      TEST(progress_is_picked_out),
      TEST(metrics_are_finite_numbers),
      TEST(metrics_come_from_a_regular_file),
      TEST(profiles_are_built_from_csv),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
