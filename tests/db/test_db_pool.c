/* The connection pool and the listener against a real server: ORCH_TEST_DATABASE_URL, as its superuser. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cm.h"
#include "io/db_listen.h"
#include "io/db_sync.h"

static uv_loop_t loop;
static const char *url;

struct answer {
  struct db_request request;
  bool done;
  struct db_result *result;
  struct err err;
};

static void keep(void *arg, struct db_result *result, const struct err *err) {
  struct answer *answer = arg;
  assert_false(answer->done);
  assert_true((result == NULL) != (err == NULL));
  answer->done = true;
  if (result) answer->result = db_result_ref(result);
  if (err) answer->err = *err;
}

static void ask(struct db *db, struct answer *answer, const char *sql, size_t count, const struct db_value *values) {
  db_query(db, &answer->request, sql, count, values, keep, answer);
  assert_false(answer->done); /* never from inside the call */
}

static void wait_for(const bool *flag) {
  int64_t until_us = clock_mono_us() + 30 * 1000000LL;
  while (!*flag) {
    assert_true(clock_mono_us() < until_us);
    if (!uv_run(&loop, UV_RUN_NOWAIT) || !*flag) uv_sleep(1); /* RUN_ONCE would sleep after a timer has run */
  }
}

static void forget(struct answer *answer) {
  db_result_unref(answer->result);
  *answer = (struct answer){0};
}

static void note_closed(void *arg) {
  *(bool *)arg = true;
}

static void free_db(struct db *db) {
  bool closed = false;
  db_free(db, note_closed, &closed);
  wait_for(&closed);
}

static struct db *new_db(unsigned connections) {
  return db_new(&loop, &(struct db_options){.url = url, .name = "test_db_pool", .connections = connections});
}

static void test_values_travel(void **state) {
  struct db *db = new_db(1);
  struct answer a = {0};
  const uint8_t bytes[] = {0, 1, 0xff, '\\', 0};
  struct db_value values[] = {db_text("it's \"text\""),
                              db_i64(-5000000000),
                              db_bytes(bytes, sizeof(bytes)),
                              db_null(),
                              db_bool(true),
                              db_real(0.25)};
  for (int round = 0; round < 3; round++) { /* the second round uses the prepared statement */
    ask(db, &a, "select $1::text t, $2::bigint i, $3::bytea b, $4::text n, $5::bool o, $6::float8 r", ARRAY_LEN(values),
        values);
    wait_for(&a.done);
    assert_non_null(a.result);
    assert_int_equal(db_rows(a.result), 1);
    assert_int_equal(db_columns(a.result), 6);
    assert_string_equal(db_get_text(a.result, 0, db_column(a.result, "t")), "it's \"text\"");
    assert_true(db_get_i64(a.result, 0, 1, 0) == -5000000000);
    uint8_t *got = NULL;
    size_t got_len = 0;
    assert_true(db_get_bytes(a.result, 0, 2, &got, &got_len));
    assert_int_equal(got_len, sizeof(bytes));
    assert_memory_equal(got, bytes, sizeof(bytes));
    mem_free(got);
    assert_true(db_is_null(a.result, 0, 3));
    assert_null(db_get_text(a.result, 0, 3));
    assert_int_equal(db_get_i64(a.result, 0, 3, 7), 7);
    assert_true(db_get_bool(a.result, 0, 4));
    assert_string_equal(db_get_text(a.result, 0, 5), "0.25");
    assert_int_equal(db_column(a.result, "none"), -1);
    forget(&a);
  }
  ask(db, &a, "select count(*) from pg_prepared_statements where statement like 'select $1::text t%'", 0, NULL);
  wait_for(&a.done);
  assert_int_equal(db_get_i64(a.result, 0, 0, 0), 1);
  forget(&a);
  free_db(db);
}

static void test_binary_results(void **state) {
  struct db *db = new_db(1);
  struct answer a = {0};
  static const uint8_t bytes[] = {0, 1, 0xff, '\\', 0};
  struct db_value values[] = {db_bytes(bytes, sizeof bytes)};
  for (int round = 0; round < 2; round++) { /* by itself, and prepared */
    a.request = (struct db_request){.binary = true, .borrowed = true};
    db_query(db, &a.request, "select $1::bytea, 7::smallint, -3, -5000000000, null::bytea, null::int", 1, values, keep,
             &a);
    wait_for(&a.done);
    const uint8_t *seen;
    uint8_t *copy;
    size_t len;
    assert_non_null(a.result);
    assert_true(db_see_bytes(a.result, 0, 0, &seen, &len));
    assert_int_equal(len, sizeof bytes);
    assert_memory_equal(seen, bytes, len);
    assert_true(db_get_bytes(a.result, 0, 0, &copy, &len));
    assert_memory_equal(copy, bytes, len);
    assert_int_equal(copy[len], 0);
    mem_free(copy);
    assert_int_equal(db_get_i64(a.result, 0, 1, 0), 7);
    assert_int_equal(db_get_i64(a.result, 0, 2, 0), -3);
    assert_true(db_get_i64(a.result, 0, 3, 0) == -5000000000);
    assert_false(db_see_bytes(a.result, 0, 4, &seen, &len));
    assert_int_equal(db_get_i64(a.result, 0, 5, 9), 9);
    forget(&a);
  }
  ask(db, &a, "select 'x'::bytea", 0, NULL);
  wait_for(&a.done);
  const uint8_t *seen;
  size_t len;
  assert_false(db_see_bytes(a.result, 0, 0, &seen, &len)); /* as text it must be decoded */
  forget(&a);
  free_db(db);
}

static void test_array_literal(void **state) {
  struct db *db = new_db(1);
  struct answer a = {0};
  struct strbuf array;
  strbuf_init(&array, 1000);
  const char *items[] = {"a,b", "\"q\\", "NULL", ""};
  db_add_text_array(&array, items, ARRAY_LEN(items));
  struct db_value values[] = {db_text(strbuf_text(&array))};
  ask(db, &a, "select x from unnest($1::text[]) with ordinality as u(x, n) order by n", 1, values);
  wait_for(&a.done);
  assert_int_equal(db_rows(a.result), 4);
  for (int i = 0; i < 4; i++) assert_string_equal(db_get_text(a.result, i, 0), items[i]);
  strbuf_fini(&array);
  forget(&a);
  free_db(db);
}

static void test_errors_map(void **state) {
  static const struct {
    const char *sqlstate;
    enum err_code code;
  } cases[] = {{"OR001", ERR_NOT_FOUND},  {"OR002", ERR_REFUSED},  {"OR003", ERR_INVALID},
               {"OR004", ERR_LEASE_LOST}, {"OR005", ERR_CONFLICT}, {"OR006", ERR_DENIED},
               {"OR007", ERR_LIMIT},      {"22023", ERR_DB},       {"57014", ERR_TIMEOUT}};
  struct db *db = new_db(1);
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct answer a = {0};
    char *sql = mem_printf("do $$ begin raise exception 'no: %s' using errcode = '%s', hint = 'ask again'; end $$",
                           cases[i].sqlstate, cases[i].sqlstate);
    ask(db, &a, sql, 0, NULL);
    wait_for(&a.done);
    assert_null(a.result);
    assert_int_equal(a.err.code, cases[i].code);
    assert_string_equal(a.err.sqlstate, cases[i].sqlstate);
    assert_string_equal(a.err.hint, "ask again");
    assert_non_null(strstr(a.err.text, "no: "));
    assert_int_equal(a.request.fate, DB_FATE_DONE);
    mem_free(sql);
  }
  free_db(db);
}

/* The last word is the commit's, not the statement's. */
static void test_commit_can_fail(void **state) {
  struct db *db = new_db(1);
  struct answer a = {0};
  const char *sql[] = {"create table if not exists late (id int unique deferrable initially deferred)", "truncate late",
                       "insert into late values (1), (1)", "select count(*) from late"};
  for (size_t i = 0; i < ARRAY_LEN(sql); i++) {
    ask(db, &a, sql[i], 0, NULL);
    wait_for(&a.done);
    if (i == 2) {
      assert_null(a.result);
      assert_string_equal(a.err.sqlstate, "23505");
    } else {
      assert_non_null(a.result);
    }
    if (i == 3) assert_int_equal(db_get_i64(a.result, 0, 0, -1), 0);
    forget(&a);
  }
  free_db(db);
}

static void test_queue_is_bounded_and_all_are_answered(void **state) {
  struct db *db = db_new(&loop, &(struct db_options){.url = url, .connections = 3, .queue_max = 50});
  struct answer answers[80] = {{{0}}};
  for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
    struct db_value values[] = {db_i64((int64_t)i)};
    ask(db, &answers[i], "select $1::int, pg_sleep(0.002)", 1, values);
  }
  for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
    wait_for(&answers[i].done);
    if (i < 50) {
      assert_non_null(answers[i].result);
      assert_int_equal(db_get_i64(answers[i].result, 0, 0, -1), (int64_t)i);
    } else { /* nothing was connected yet when they were asked */
      assert_int_equal(answers[i].err.code, ERR_LIMIT);
      assert_int_equal(answers[i].request.fate, DB_FATE_NOT_EXECUTED);
    }
    forget(&answers[i]);
  }
  struct db_stats stats;
  db_get_stats(db, &stats);
  assert_true(stats.connected > 1 && stats.connected <= 3);
  assert_int_equal(stats.busy, 0);
  assert_int_equal(stats.queued, 0);
  free_db(db);
}

static void test_timeout_cancels(void **state) {
  struct db *db = new_db(1);
  struct answer a = {0}, b = {0};
  a.request.timeout_ms = 200;
  ask(db, &a, "select pg_sleep(600)", 0, NULL);
  ask(db, &b, "select 'still here'", 0, NULL); /* the only connection is busy until the cancel has worked */
  wait_for(&a.done);
  assert_int_equal(a.err.code, ERR_TIMEOUT);
  assert_int_equal(a.request.fate, DB_FATE_DONE);
  wait_for(&b.done);
  assert_string_equal(db_get_document(b.result), "still here");
  struct db_stats stats;
  db_get_stats(db, &stats);
  assert_int_equal(stats.reconnects, 0);
  assert_int_equal(stats.timeouts, 1);
  forget(&a);
  forget(&b);
  free_db(db);
}

/* Only those that are asleep: before, what the statement does first may not have been done yet. */
static void kill_backends(const char *query_like) {
  struct err err = {0};
  struct db_sync *sync = db_sync_open(url, "killer", &err);
  assert_non_null(sync);
  struct db_value values[] = {db_text(query_like)};
  for (int64_t killed = 0; killed == 0;) {
    char *text = db_sync_call(sync,
                              "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                              " where query like $1 and wait_event = 'PgSleep'",
                              1, values, &err);
    assert_non_null(text);
    killed = strtoll(text, NULL, 10);
    mem_free(text);
    uv_run(&loop, UV_RUN_NOWAIT);
  }
  db_sync_close(sync);
}

static void test_a_lost_statement_is_unknown(void **state) {
  struct db *db = new_db(2);
  struct answer a = {0};
  ask(db, &a, "select pg_sleep(601)", 0, NULL);
  uv_run(&loop, UV_RUN_NOWAIT);
  kill_backends("%sleep(601)%");
  wait_for(&a.done);
  assert_int_equal(a.err.code, ERR_DB_DOWN);
  assert_int_equal(a.request.fate, DB_FATE_UNKNOWN);
  assert_string_equal(a.err.sqlstate, "57P01");
  forget(&a);
  ask(db, &a, "select 1", 0, NULL); /* and the pool recovers */
  wait_for(&a.done);
  assert_non_null(a.result);
  forget(&a);
  free_db(db);
}

static void test_a_repeatable_statement_is_repeated(void **state) {
  struct db *db = new_db(1);
  struct answer a = {0};
  a.request.repeatable = true;
  ask(db, &a, "drop sequence if exists tries", 0, NULL);
  wait_for(&a.done);
  forget(&a);
  ask(db, &a, "create sequence tries", 0, NULL);
  wait_for(&a.done);
  forget(&a);
  a.request.repeatable = true;
  ask(db, &a, "select case when nextval('tries') = 1 then pg_sleep(602) end, currval('tries')", 0, NULL);
  kill_backends("%sleep(602)%");
  wait_for(&a.done);
  assert_non_null(a.result);
  assert_int_equal(db_get_i64(a.result, 0, 1, 0), 2);
  forget(&a);
  free_db(db);
}

static void test_nothing_there(void **state) {
  struct db *db = db_new(&loop, &(struct db_options){.url = "host=/nowhere/at/all dbname=x", .down_ms = 300});
  struct answer a = {0};
  ask(db, &a, "select 1", 0, NULL);
  wait_for(&a.done);
  assert_int_equal(a.err.code, ERR_DB_DOWN);
  assert_int_equal(a.request.fate, DB_FATE_NOT_EXECUTED);
  assert_non_null(strstr(a.err.text, "/nowhere/at/all"));
  assert_false(db_is_up(db));
  free_db(db);
}

static void test_several_hosts(void **state) {
  char *urls = mem_printf("host=/nowhere/at/all,%s port=5432,%s user=%s dbname=%s", getenv("PGHOST"), getenv("PGPORT"),
                          getenv("PGUSER"), getenv("PGDATABASE"));
  struct db *db = db_new(&loop, &(struct db_options){.url = urls});
  struct answer a = {0};
  ask(db, &a, "select 1", 0, NULL);
  wait_for(&a.done);
  assert_non_null(a.result);
  forget(&a);
  free_db(db);
  mem_free(urls);
}

static void test_closing_answers_all(void **state) {
  struct db *db = new_db(1);
  struct answer a = {0}, b = {0}, c = {0};
  ask(db, &a, "select pg_sleep(603)", 0, NULL);
  ask(db, &b, "select 2", 0, NULL);
  ask(db, &c, "select 3", 0, NULL);
  db_forget(&c.request);
  uv_run(&loop, UV_RUN_NOWAIT);
  free_db(db);
  assert_int_equal(a.err.code, ERR_DB_DOWN);
  assert_int_equal(b.err.code, ERR_DB_DOWN);
  assert_int_equal(b.request.fate, DB_FATE_NOT_EXECUTED);
  assert_false(c.done);
}

/* A prepared statement whose result type changes under it is prepared again, unnoticed. */
static void test_stale_plans(void **state) {
  struct db *db = new_db(1);
  struct answer a = {0};
  const char *sql[] = {"drop table if exists shape",   "create table shape (x int)",
                       "insert into shape values (5)", "select * from shape",
                       "select * from shape",          "alter table shape alter x type text using x || '!'",
                       "select * from shape",          "discard all",
                       "select * from shape"};
  for (size_t i = 0; i < ARRAY_LEN(sql); i++) {
    ask(db, &a, sql[i], 0, NULL);
    wait_for(&a.done);
    if (!a.result) fail_msg("%s: %s", sql[i], a.err.text);
    if (i >= 6 && i != 7) assert_string_equal(db_get_document(a.result), "5!");
    forget(&a);
  }
  free_db(db);
}

/* ---- the listener ---- */

struct heard {
  unsigned hints, payloads;
  enum db_listen_state state;
  bool active, not_active, hinted;
  char last[100];
};

static void notified(void *arg, const char *channel, const char *payload) {
  struct heard *heard = arg;
  assert_string_equal(channel, "orch_test");
  if (*payload) {
    heard->payloads++;
    snprintf(heard->last, sizeof(heard->last), "%s", payload);
  } else {
    heard->hints++;
    heard->hinted = true;
  }
}

static void state_changed(void *arg, enum db_listen_state state) {
  struct heard *heard = arg;
  heard->state = state;
  heard->active = state == DB_LISTEN_ACTIVE;
  heard->not_active = !heard->active;
}

static void test_listen(void **state) {
  struct db *db = new_db(1);
  struct heard heard = {0};
  struct db_listen *listen = db_listen_new(&loop, &(struct db_listen_options){.url = url,
                                                                              .name = "test listener",
                                                                              .db = db,
                                                                              .channels = {"orch_test"},
                                                                              .notified = notified,
                                                                              .state_changed = state_changed,
                                                                              .arg = &heard});
  wait_for(&heard.active);
  assert_int_equal(heard.hints, 1);
  struct answer a = {0};
  ask(db, &a, "select pg_notify('orch_test', 'hello')", 0, NULL);
  while (heard.payloads == 0) uv_run(&loop, UV_RUN_ONCE);
  assert_string_equal(heard.last, "hello");
  wait_for(&a.done);
  forget(&a);
  heard.not_active = heard.hinted = false;
  ask(db, &a, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test listener'", 0,
      NULL);
  wait_for(&heard.not_active);
  wait_for(&heard.active);
  assert_true(heard.hinted);
  wait_for(&a.done);
  forget(&a);
  bool closed = false;
  db_listen_free(listen, note_closed, &closed);
  wait_for(&closed);
  free_db(db);
}

/* The probe goes to another server than the one we listen on: as a pooler that swallows LISTEN would look. */
static void test_listen_without_notify(void **state) {
  char *other = mem_printf("%s dbname=template1", url);
  struct db *db = db_new(&loop, &(struct db_options){.url = other});
  struct heard heard = {0};
  struct db_listen *listen = db_listen_new(&loop, &(struct db_listen_options){.url = url,
                                                                              .db = db,
                                                                              .probe_ms = 300,
                                                                              .channels = {"orch_test"},
                                                                              .notified = notified,
                                                                              .state_changed = state_changed,
                                                                              .arg = &heard});
  wait_for(&heard.not_active);
  assert_int_equal(heard.state, DB_LISTEN_POLLING_ONLY);
  bool closed = false;
  db_listen_free(listen, note_closed, &closed);
  wait_for(&closed);
  free_db(db);
  mem_free(other);
}

/* ---- blocking calls ---- */

static void test_sync(void **state) {
  struct err err = {0};
  struct db_sync *db = db_sync_open(url, "sync", &err);
  assert_non_null(db);
  struct db_value values[] = {db_text("x")};
  char *text = db_sync_call(db, "select jsonb_build_object('a', $1::text)", 1, values, &err);
  assert_string_equal(text, "{\"a\": \"x\"}");
  mem_free(text);
  text = db_sync_call(db, "select null::jsonb", 0, NULL, &err);
  assert_string_equal(text, "null");
  mem_free(text);
  assert_null(db_sync_call(db, "select nonsense", 0, NULL, &err));
  assert_int_equal(err.code, ERR_DB);
  assert_string_equal(err.sqlstate, "42703");
  assert_true(db_sync_exec(db, "create temp table t (a int); insert into t values (1), (2);", &err));
  assert_false(db_sync_exec(db, "insert into t values (3); select 1/0;", &err)); /* one implicit transaction */
  struct db_result *rows = db_sync_query(db, "select a from t order by a", 0, NULL, &err);
  assert_int_equal(db_rows(rows), 2);
  db_result_unref(rows);
  db_sync_set_timeout(db, 100);
  assert_null(db_sync_call(db, "select pg_sleep(600)", 0, NULL, &err));
  assert_int_equal(err.code, ERR_TIMEOUT);
  text = db_sync_call(db, "select 1", 0, NULL, &err);
  assert_string_equal(text, "1");
  mem_free(text);
  assert_null(db_sync_call(db, "select pg_terminate_backend(pg_backend_pid())", 0, NULL, &err));
  assert_int_equal(err.code, ERR_DB_DOWN);
  assert_true(db_sync_is_lost(db));
  db_sync_close(db);
  assert_null(db_sync_open("host=/nowhere/at/all user=u password=sesame", "sync", &err));
  assert_int_equal(err.code, ERR_DB_DOWN);
  assert_null(strstr(err.text, "sesame"));
  assert_null(strstr(err.hint, "sesame"));
}

static int start_loop(void **state) {
  return uv_loop_init(&loop);
}

/* Every handle must be gone: a leak makes the loop busy. */
static int end_loop(void **state) {
  uv_run(&loop, UV_RUN_NOWAIT);
  return uv_loop_close(&loop);
}

int main(void) {
  url = getenv("ORCH_TEST_DATABASE_URL");
  if (!url) {
    fprintf(stderr, "ORCH_TEST_DATABASE_URL is not set: tests/db/run starts a server and sets it\n");
    return 1;
  }
#define TEST(name) cmocka_unit_test_setup_teardown(name, start_loop, end_loop)
  const struct CMUnitTest tests[] = {
      TEST(test_values_travel),
      TEST(test_array_literal),
      TEST(test_binary_results),
      TEST(test_errors_map),
      TEST(test_commit_can_fail),
      TEST(test_queue_is_bounded_and_all_are_answered),
      TEST(test_timeout_cancels),
      TEST(test_a_lost_statement_is_unknown),
      TEST(test_a_repeatable_statement_is_repeated),
      TEST(test_nothing_there),
      TEST(test_several_hosts),
      TEST(test_closing_answers_all),
      TEST(test_stale_plans),
      TEST(test_listen),
      TEST(test_listen_without_notify),
      TEST(test_sync),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
