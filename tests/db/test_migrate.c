/* Migrations against a real server: ORCH_TEST_DATABASE_URL, an empty database of which schema orch may be dropped. */
#include <pthread.h>

#include "base/mem.h"
#include "cm.h"
#include "io/migrate.h"

static const char *url;

#define FILE_OF(file_name, sql)                                                                                        \
  { .name = (file_name), .text = (sql), .len = sizeof(sql) - 1 }

static const struct schema_file migrations[] = {
    FILE_OF("0001_one.sql", "create table orch.one (id int); insert into orch.one values (1);"),
    FILE_OF("0002_two.sql", "create table orch.two (id int);"),
    FILE_OF("0003_three.sql", "insert into orch.one values (3); select 1/0;"),
};
static const struct schema_file functions[] = {
    FILE_OF("a.sql", "create or replace function orch.a() returns int language sql as 'select 1'"),
    FILE_OF("b.sql", "create or replace function orch.b() returns int language sql as 'select orch.a()'"),
};
static const struct schema_file changed_functions[] = {
    FILE_OF("a.sql", "create or replace function orch.a() returns int language sql as 'select 2'"),
    FILE_OF("b.sql", "create or replace function orch.b() returns int language sql as 'select orch.a()'"),
};
static const struct schema_file changed_migrations[] = {
    FILE_OF("0001_one.sql", "create table orch.one (id bigint);"),
    FILE_OF("0002_two.sql", "create table orch.two (id int);"),
};
static const struct schema_file slipped_in[] = {
    FILE_OF("0001_one.sql", "create table orch.one (id int); insert into orch.one values (1);"),
    FILE_OF("0001_zz.sql", "create table orch.zz (id int)"),
    FILE_OF("0002_two.sql", "create table orch.two (id int);"),
};

static struct migrate_source source(unsigned migrations_count) {
  return (struct migrate_source){
      .migrations = migrations, .migrations_count = migrations_count, .functions = functions, .functions_count = 2};
}

static struct db_sync *open_empty(void) {
  struct err err = {0};
  struct db_sync *db = db_sync_open(url, "test_migrate", &err);
  assert_non_null(db);
  assert_true(db_sync_exec(db, "set client_min_messages = warning; drop schema if exists orch cascade", &err));
  return db;
}

static void expect(struct db_sync *db, const char *sql, const char *expected) {
  struct err err = {0};
  char *text = db_sync_call(db, sql, 0, NULL, &err);
  if (!text) fail_msg("%s: %s", sql, err.text);
  assert_string_equal(text, expected);
  mem_free(text);
}

static void count_line(void *arg, const char *line) {
  assert_non_null(strstr(line, ".sql"));
  ++*(int *)arg;
}

static void test_applies_once(void **state) {
  struct db_sync *db = open_empty();
  struct err err = {0};
  struct migrate_report report = {0};
  struct migrate_source two = source(2);
  int lines = 0;
  assert_false(migrate_check(db, &two, &err));
  assert_non_null(strstr(err.hint, "orch migrate"));
  assert_true(migrate_apply(db, &two, count_line, &lines, &report, &err));
  assert_int_equal(lines, 4);
  assert_int_equal(report.migrations_applied, 2);
  assert_int_equal(report.functions_applied, 2);
  assert_true(migrate_check(db, &two, &err));
  assert_true(migrate_apply(db, &two, count_line, &lines, &report, &err));
  assert_int_equal(lines, 4);
  assert_int_equal(report.migrations_applied + report.functions_applied, 0);
  expect(db, "select count(*) from orch.one", "1");
  expect(db, "select orch.b()", "1");
  two.functions = changed_functions;
  assert_false(migrate_check(db, &two, &err));
  assert_true(migrate_apply(db, &two, NULL, NULL, &report, &err));
  assert_int_equal(report.migrations_applied, 0);
  expect(db, "select orch.b()", "2");
  db_sync_close(db);
}

static void test_a_failure_changes_nothing(void **state) {
  struct db_sync *db = open_empty();
  struct err err = {0};
  struct migrate_source two = source(2), three = source(3);
  assert_true(migrate_apply(db, &two, NULL, NULL, NULL, &err));
  assert_false(migrate_apply(db, &three, NULL, NULL, NULL, &err));
  assert_int_equal(err.code, ERR_DB);
  assert_non_null(strstr(err.text, "0003_three.sql"));
  expect(db, "select count(*) from orch.one", "1");
  expect(db, "select count(*) from orch.schema_migration", "2");
  assert_true(migrate_check(db, &two, &err));
  db_sync_close(db);
}

static void refused(struct db_sync *db, const struct migrate_source *what, const char *word) {
  struct err err = {0};
  assert_false(migrate_apply(db, what, NULL, NULL, NULL, &err));
  assert_int_equal(err.code, ERR_REFUSED);
  assert_non_null(strstr(err.text, word));
  memset(&err, 0, sizeof(err));
  assert_false(migrate_check(db, what, &err));
  assert_int_equal(err.code, ERR_REFUSED);
}

static void test_refuses_another_history(void **state) {
  struct db_sync *db = open_empty();
  struct err err = {0};
  struct migrate_source one = source(1), two = source(2), changed = source(2), slipped = source(3);
  changed.migrations = changed_migrations;
  slipped.migrations = slipped_in;
  assert_true(migrate_apply(db, &two, NULL, NULL, NULL, &err));
  refused(db, &one, "newer");
  refused(db, &changed, "different text");
  refused(db, &slipped, "missing");
  db_sync_close(db);
}

struct racer {
  unsigned migrations_applied;
  bool ok;
  struct err err;
};

static void *race(void *arg) {
  struct racer *racer = arg;
  struct db_sync *db = db_sync_open(url, "race", &racer->err);
  if (!db) return NULL;
  struct migrate_report report = {0};
  struct migrate_source two = source(2);
  racer->ok = migrate_apply(db, &two, NULL, NULL, &report, &racer->err);
  racer->migrations_applied = report.migrations_applied;
  db_sync_close(db);
  return NULL;
}

static void test_several_at_once(void **state) {
  for (int round = 0; round < 5; round++) {
    db_sync_close(open_empty());
    struct racer racers[4] = {{0}};
    pthread_t threads[4];
    unsigned applied = 0;
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    for (int i = 0; i < 4; i++) {
      pthread_join(threads[i], NULL);
      if (!racers[i].ok) fail_msg("racer %d: %s", i, racers[i].err.text);
      applied += racers[i].migrations_applied;
    }
    assert_int_equal(applied, 2);
  }
}

/* What this binary carries, twice: the functions can be applied over themselves. */
static void test_the_real_schema(void **state) {
  struct db_sync *db = open_empty();
  struct err err = {0};
  struct migrate_source real = migrate_embedded();
  struct migrate_report report = {0};
  if (!migrate_apply(db, &real, NULL, NULL, &report, &err)) fail_msg("%s", err.text);
  assert_int_equal(report.migrations_applied, real.migrations_count);
  assert_true(db_sync_exec(db, "update orch.schema_function set checksum = 'x'", &err));
  if (!migrate_apply(db, &real, NULL, NULL, &report, &err)) fail_msg("%s", err.text);
  assert_int_equal(report.functions_applied, real.functions_count);
  assert_true(migrate_check(db, &real, &err));
  db_sync_close(db);
}

int main(void) {
  url = getenv("ORCH_TEST_DATABASE_URL");
  if (!url) {
    fprintf(stderr, "ORCH_TEST_DATABASE_URL is not set: tests/db/run starts a server and sets it\n");
    return 1;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_applies_once),
      cmocka_unit_test(test_a_failure_changes_nothing),
      cmocka_unit_test(test_refuses_another_history),
      cmocka_unit_test(test_several_at_once),
      cmocka_unit_test(test_the_real_schema),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
