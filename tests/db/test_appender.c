/* Group commit against a real server: what waits goes out together, each gets its own answer, and a request that breaks
 * the whole call breaks only its own. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cm.h"
#include "io/db_sync.h"
#include "io/migrate.h"
#include "trigger/appender.h"

static const char *url;
static uv_loop_t loop;
static struct db_sync *sync_db;
static struct db *db;

static int64_t number(const char *sql) {
  struct err err = {0};
  CLEANUP(mem_free_p) char *answer = db_sync_call(sync_db, sql, 0, NULL, &err);
  if (!answer) fail_msg("%s: %s", sql, err.text);
  return answer ? strtoll(answer, NULL, 10) : -1;
}

struct request {
  struct observe_batch batch;
  struct appending appending;
  bool done;
  struct observe_sent sent;
  struct err err;
};

static void note(void *arg, const struct observe_sent *sent, const struct err *err) {
  struct request *r = arg;
  assert_false(r->done);
  assert_true((sent == NULL) != (err == NULL));
  r->done = true;
  if (sent) r->sent = *sent;
  if (err) r->err = *err;
}

static void start(struct request *r, const char *pipeline, const char *rows, const char *key) {
  struct observe_plan *plan = observe_plan_new("{\"revision\":1,\"keys\":{},\"labels\":false}", NULL);
  *r = (struct request){0};
  assert_true(observe_parse(&r->batch, plan, rows, strlen(rows), NULL));
  observe_plan_unref(plan);
  r->appending = (struct appending){.item = {pipeline, key, 1, &r->batch}, .done = note, .arg = r};
}

static void add(struct appender *a, struct request *r) {
  struct err err = {0};
  assert_true(appender_add(a, &r->appending, &err));
  assert_false(r->done);
}

static void wait_for(const struct request *r, size_t n) {
  int64_t until_us = clock_mono_us() + 30 * 1000000LL;
  for (size_t i = 0; i < n;) {
    assert_true(clock_mono_us() < until_us);
    if (r[i].done)
      i++;
    else if (!uv_run(&loop, UV_RUN_NOWAIT) || !r[i].done)
      uv_sleep(1);
  }
}

static void finish(struct request *r, size_t n) {
  for (size_t i = 0; i < n; i++) observe_fini(&r[i].batch);
}

static void they_share_commits(void **state) {
  struct appender *a = appender_new(db, APPENDER_ROWS);
  struct request r[40];
  struct appender_stats stats;
  for (size_t i = 0; i < ARRAY_LEN(r); i++) {
    start(&r[i], i % 3 == 2 ? "nobody" : "p", "{\"a\":1}\n{\"a\":2}\n", i == 3 || i == 4 ? "same" : NULL);
    add(a, &r[i]);
  }
  wait_for(r, ARRAY_LEN(r));
  int64_t seen = 0;
  for (size_t i = 0; i < ARRAY_LEN(r); i++) {
    if (i % 3 == 2) {
      assert_int_equal(r[i].err.code, ERR_NOT_FOUND);
      continue;
    }
    assert_int_equal(r[i].err.code, ERR_NONE);
    assert_int_equal(r[i].sent.repeated, i == 4);
    assert_int_equal(r[i].sent.first_row, i == 4 ? r[3].sent.first_row : seen); /* in the order they came */
    if (i != 4) seen += 2;
  }
  appender_get_stats(a, &stats);
  assert_int_equal(stats.calls, 2); /* the first alone, the others while it was under way */
  assert_int_equal(stats.requests, 27);
  assert_int_equal(stats.failures, 13);
  assert_int_equal(stats.waiting_bytes, 0);
  assert_int_equal(number("select next_row from orch.observation_stream where stream = 'rows'"), seen);
  finish(r, ARRAY_LEN(r));
  appender_free(a);
}

static void one_breaks_alone(void **state) {
  struct appender *a = appender_new(db, APPENDER_ROWS);
  struct request r[5];
  struct appender_stats stats;
  int64_t before = number("select next_row from orch.observation_stream where stream = 'rows'");
  for (size_t i = 0; i < ARRAY_LEN(r); i++) {
    start(&r[i], "p", "{\"a\":1}\n", NULL);
    if (i == 2) r[i].batch.rows = 7; /* what nobody thought of: the database refuses the call as a whole */
    add(a, &r[i]);
  }
  wait_for(r, ARRAY_LEN(r));
  for (size_t i = 0; i < ARRAY_LEN(r); i++) assert_int_equal(r[i].err.code, i == 2 ? ERR_INVALID : ERR_NONE);
  appender_get_stats(a, &stats);
  assert_int_equal(stats.calls, 2 + 4); /* alone, together, then each by itself */
  assert_int_equal(number("select next_row from orch.observation_stream where stream = 'rows'"), before + 4);
  finish(r, ARRAY_LEN(r));
  appender_free(a);
}

/* Labels go the same way: one commit, an answer each, what one is refused for is its own. */
static void labels_share_commits(void **state) {
  struct appender *a = appender_new(db, APPENDER_LABELS);
  struct request r[20];
  struct observe_labels labels[20];
  struct appender_stats stats;
  struct err err = {0};
  const char *monitor =
      "insert into orch.monitor (pipeline_id, name, spec, kind, stream, window_rows) select id, 'truth', "
      "'{\"name\": \"truth\", \"kind\": \"performance\"}', 'performance', 'labels', 100 from orch.pipeline";
  assert_true(db_sync_exec(sync_db, monitor, &err));
  for (size_t i = 0; i < ARRAY_LEN(r); i++) {
    char body[200];
    snprintf(body, sizeof body, "{\"id\":\"r%zu\",\"label\":1}\n{\"id\":\"q\\\"%zu\",\"label\":\"b\\\\\"}\n", i, i);
    r[i] = (struct request){0};
    assert_true(observe_labels_parse(&labels[i], body, strlen(body), &err));
    r[i].appending = (struct appending){
        .item = {.pipeline = i == 7 ? "nobody" : "p", .key = i == 3 || i == 4 ? "same" : NULL, .labels = &labels[i]},
        .done = note,
        .arg = &r[i]};
    add(a, &r[i]);
  }
  wait_for(r, ARRAY_LEN(r));
  for (size_t i = 0; i < ARRAY_LEN(r); i++) {
    assert_int_equal(r[i].err.code, i == 7 ? ERR_NOT_FOUND : ERR_NONE);
    if (i == 7) continue;
    assert_int_equal(r[i].sent.repeated, i == 4);
    assert_int_equal(r[i].sent.waiting, 2);
  }
  appender_get_stats(a, &stats);
  assert_int_equal(stats.calls, 2);
  assert_int_equal(stats.rows, 2 * 19);
  assert_int_equal(number("select count(*) from orch.label_waiting where id ~ '^r\\d+$' and label = '1'"), 18);
  assert_int_equal(number("select count(*) from orch.label_waiting where id = 'q\"12' and label = E'b\\\\'"), 1);
  for (size_t i = 0; i < ARRAY_LEN(r); i++) observe_labels_fini(&labels[i]);
  appender_free(a);
}

/* More than may wait is refused at once, and what waits is answered when the database goes away. */
static void bounds(void **state) {
  struct db *own = db_new(&loop, &(struct db_options){.url = "host=/nowhere", .name = "test_appender", .down_ms = 50});
  struct appender *a = appender_new(own, APPENDER_ROWS);
  struct request r[12];
  struct err err = {0};
  size_t taken = 0;
  char *body = mem_alloc(OBSERVE_BODY_MAX + 1);
  for (size_t at = 0; at + 1024 <= OBSERVE_BODY_MAX; at += 1024) {
    memset(body + at, ' ', 1024);
    memcpy(body + at, "{\"a\":1}", 7);
    body[at + 1023] = '\n';
  }
  for (size_t i = 0; i < ARRAY_LEN(r); i++) {
    start(&r[i], "p", body, NULL);
    if (appender_add(a, &r[i].appending, &err)) taken++;
  }
  assert_int_equal(taken, 8); /* 64 MiB */
  assert_int_equal(err.code, ERR_LIMIT);
  wait_for(r, taken);
  for (size_t i = 0; i < taken; i++) assert_int_equal(r[i].err.code, ERR_DB_DOWN);
  finish(r, ARRAY_LEN(r));
  mem_free(body);
  db_free(own, NULL, NULL);
  uv_run(&loop, UV_RUN_NOWAIT);
  appender_free(a);
}

static int begin(void **state) {
  struct err err = {0};
  url = getenv("ORCH_TEST_DATABASE_URL");
  if (!url) return -1;
  uv_loop_init(&loop);
  sync_db = db_sync_open(url, "test_appender", &err);
  struct migrate_source source = migrate_embedded();
  struct migrate_report report;
  const char *pipeline = "insert into orch.pipeline (name, owner, oncall, created_at) values ('p', 'o', '#o', now());"
                         "insert into orch.observation_stream (pipeline_id, stream) select id, s from orch.pipeline, "
                         "unnest(array['rows', 'labels']) s";
  if (!sync_db || !migrate_apply(sync_db, &source, NULL, NULL, &report, &err) ||
      !db_sync_exec(sync_db, pipeline, &err)) {
    print_error("%s\n", err.text);
    return -1;
  }
  db = db_new(&loop, &(struct db_options){.url = url, .name = "test_appender", .connections = 2});
  return 0;
}

static void note_closed(void *arg) {
  *(bool *)arg = true;
}

static int end(void **state) {
  bool closed = false;
  db_free(db, note_closed, &closed);
  while (!closed) uv_run(&loop, UV_RUN_ONCE);
  uv_run(&loop, UV_RUN_NOWAIT);
  db_sync_close(sync_db);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(they_share_commits), cmocka_unit_test(one_breaks_alone),
                                     cmocka_unit_test(labels_share_commits), cmocka_unit_test(bounds)};
  return cmocka_run_group_tests_name("appender", tests, begin, end);
}
