/* Monitors on the Texas housing rows, through the real functions: drift of 2003 becomes a proposal, the missing values
 * of 2004 to 2007 are a fault that never does, and dying anywhere in between loses no window and counts none twice. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cm.h"
#include "io/db_sync.h"
#include "io/migrate.h"
#include "stats/profile.h"
#include "trigger/windows.h"

static const char *url;
static uv_loop_t loop;

static struct db_sync *sync_db;

static char *call(const char *sql, size_t count, const struct db_value *values) {
  struct err err = {0};
  char *answer = db_sync_call(sync_db, sql, count, values, &err);
  if (!answer) fail_msg("%s: %s", sql, err.text);
  return answer;
}

static int64_t number(const char *sql) {
  CLEANUP(mem_free_p) char *answer = call(sql, 0, NULL);
  return strtoll(answer, NULL, 10);
}

static void exec(const char *script) {
  struct err err = {0};
  if (!db_sync_exec(sync_db, script, &err)) fail_msg("%s", err.text);
}

#define STEP(name, role, needs)                                                                                        \
  "{\"name\":\"" name "\",\"run\":[\"x\"],\"role\":\"" role "\",\"needs\":" needs                                      \
  ",\"timeout_ms\":60000,\"retry\":{\"limit\":0,\"backoff_ms\":10,\"max_ms\":100},\"executor\":\"process\","           \
  "\"secrets\":[],\"resources\":{\"cpu\":1,\"memory_bytes\":null,\"gpu\":0,\"labels\":[]}}"
static const char spec[] =
    "{\"pipeline\":\"housing\",\"owner\":\"o\",\"oncall\":\"#o\",\"profile\":\"production\",\"serving\":\"realtime\","
    "\"data\":[],\"config\":{},\"steps\":[" STEP("train", "train", "[]") "," STEP(
        "evaluate", "evaluate",
        "[\"train\"]") "],"
                       "\"monitors\":[{\"name\":\"inputs\",\"kind\":\"drift\",\"columns\":[\"sales\",\"listings\","
                       "\"inventory\"],\"window_rows\":250,\"min_rows\":200,\"psi\":0.2,\"p_value\":0.001,"
                       "\"for\":{\"hits\":2,\"of\":3},\"null_jump\":0.1}],"
                       "\"retrain\":{\"cooldown_ms\":1,\"budget\":null},\"checks\":[],"
                       "\"gates\":{\"promote\":{\"require\":[{\"group\":\"g\",\"approvals\":1}],"
                       "\"expires_ms\":172800000,\"own_proposals\":false}},"
                       "\"rollout\":{\"driver\":{\"symlink\":{\"path\":\"live\"}}},\"keep\":5}";

/* The two jobs of the first proposal, the approval and the deployment, all through the functions that rule. */
static const char go_live[] =
    "DO $$ DECLARE w bigint := (orch.worker_register('w', 'h', 1, '{}', 64, 1 << 30, 0, 64, 60000) ->> "
    "'worker')::bigint;"
    "  g orch.job_grant; d record; BEGIN "
    "  FOR i IN 1 .. 5 LOOP FOR g IN SELECT * FROM orch.job_claim(w, 16, NULL) LOOP "
    "    PERFORM orch.job_finish(w, g.job, g.lease, 'succeeded', CASE WHEN g.role = 'evaluate' THEN "
    "'{\"metrics\":{\"accuracy\":0.8}}'::jsonb"
    "      ELSE jsonb_build_object('output', 'sha256:' || repeat('a', 64), 'profile', (SELECT b FROM profile_of_test)) "
    "END);"
    "  END LOOP; END LOOP;"
    "  PERFORM orch.gate_decide(id, jsonb_build_object('verdict', 'approve', 'comment', 'fine', 'via', 'api', "
    "'reviewer', 'dana', 'digest', digest)) FROM orch.gate WHERE state = 'open';"
    "  SELECT * INTO d FROM orch.deployment_claim('server', 10000);"
    "  PERFORM orch.deployment_finish(d.id, d.lease, true, '{}');"
    "END $$";

/* The file's rows: the ones of 2000 to 2002 as a CSV text, the later ones as NDJSON. */
static void read_rows(struct strbuf *reference, struct strbuf *live, int *ret_rows) {
  FILE *file = fopen(TEST_DATA "/drift/housing.csv", "rb");
  char line[200];
  *ret_rows = 0;
  assert_non_null(file);
  while (fgets(line, sizeof line, file)) {
    int year = (int)strtol(line, NULL, 10);
    if (year < 2003) {
      strbuf_puts(reference, line);
      continue;
    }
    char *cells[5], *rest = line;
    for (int i = 0; i < 5; i++) cells[i] = strsep(&rest, ",\n");
    strbuf_printf(live, "{\"at\":\"%s-%02d-01T00:00:00Z\",\"sales\":%s,\"listings\":%s,\"inventory\":%s}\n", cells[0],
                  (int)strtol(cells[1], NULL, 10), *cells[2] ? cells[2] : "null", *cells[3] ? cells[3] : "null",
                  *cells[4] ? cells[4] : "null");
    ++*ret_rows;
  }
  fclose(file);
}

static void load_profile(const struct strbuf *csv_text) {
  struct err err = {0};
  struct strbuf bytes;
  struct profile_csv *csv = profile_csv_new();
  assert_true(profile_csv_feed(csv, csv_text->data, csv_text->len, &err));
  struct profile *profile = profile_csv_finish(csv, &err);
  assert_non_null(profile);
  strbuf_init(&bytes, PROFILE_ENCODED_MAX);
  profile_encode(profile, &bytes);
  CLEANUP(mem_free_p) char *base64 = mem_alloc(bytes.len * 2 + 8);
  digest_base64((const uint8_t *)bytes.data, bytes.len, base64);
  struct db_value values[] = {db_text(base64)};
  exec("CREATE TABLE profile_of_test (b text)");
  mem_free(call("insert into profile_of_test values ($1)", 1, values));
  profile_free(profile);
  profile_csv_free(csv);
  strbuf_fini(&bytes);
}

static int live_rows;

static int make_world(void **state) {
  struct err err = {0};
  struct migrate_source source = migrate_embedded();
  struct migrate_report report;
  url = getenv("ORCH_TEST_DATABASE_URL");
  if (!url) fail_msg("ORCH_TEST_DATABASE_URL is not set: run tests/db/run windows");
  sync_db = db_sync_open(url, "test_windows", &err);
  if (!sync_db) fail_msg("%s", err.text);
  if (!migrate_apply(sync_db, &source, NULL, NULL, &report, &err)) fail_msg("%s", err.text);
  assert_int_equal(uv_loop_init(&loop), 0);
  struct strbuf reference, live;
  strbuf_init(&reference, 1 << 22);
  strbuf_init(&live, 1 << 22);
  read_rows(&reference, &live, &live_rows);
  load_profile(&reference);
  mem_free(call("select orch.server_apply('{\"reviewers\":[{\"name\":\"dana\",\"groups\":[\"g\"]}]}', 'user:test')", 0,
                NULL));
  struct db_value values[] = {db_text(spec)};
  mem_free(
      call("select orch.pipeline_apply($1::jsonb, 'x', 'sha256:' || repeat('1', 64), 'sha256:' || repeat('2', 64), "
           "null, null, 'user:test')",
           1, values));
  mem_free(call("select orch.proposal_create('housing', 'first', 'keep', 'user:test', null, null)", 0, NULL));
  exec(go_live);
  assert_int_equal(number("select count(*) from orch.monitor where version_id is not null"), 1);
  /* Batches of 97 rows: windows begin and end inside them. */
  int in_batch = 0;
  for (char *at = live.data, *start = at; *at; at++) {
    if (*at == '\n') in_batch++;
    if (in_batch < 97 && at[1]) continue;
    struct db_value batch[] = {db_i64(in_batch), db_bytes(start, (size_t)(at + 1 - start))};
    mem_free(call("select orch.observations_append('housing', $1::int, $2, null)", 2, batch));
    start = at + 1;
    in_batch = 0;
  }
  strbuf_fini(&reference);
  strbuf_fini(&live);
  return 0;
}

static void note_closed(void *arg) {
  *(bool *)arg = true;
}

static int end_world(void **state) {
  db_sync_close(sync_db);
  uv_loop_close(&loop);
  return 0;
}

/* Runs the flow until it is idle, or drops it after `turns` turns of the loop as a crash would. */
static void run_flow(struct db *db, int turns, struct windows_stats *ret) {
  struct windows *windows = windows_new(&loop, db, "test");
  windows_poke(windows);
  int64_t until_us = clock_mono_us() + 60 * 1000000LL;
  for (int i = 0; windows_busy(windows) && (turns < 0 || i < turns); i++) {
    assert_true(clock_mono_us() < until_us);
    uv_run(&loop, UV_RUN_ONCE);
  }
  windows_get_stats(windows, ret);
  windows_free(windows);
}

static void dying_anywhere(void **state) {
  struct db *db = db_new(&loop, &(struct db_options){.url = url, .name = "test_windows", .connections = 2});
  struct windows_stats stats;
  uint64_t random = (uint64_t)time(NULL);
  print_message("# seed %llu\n", (unsigned long long)random);
  int kills = 0;
  for (; kills < 60; kills++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    run_flow(db, (int)(random >> 60), &stats);
    exec("UPDATE orch.monitor SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL");
  }
  int64_t before = number("select count(*) from orch.monitor_window");
  /* A claim that the last crash left in the server may take its lease after it was ended above: it is ended again. */
  for (int i = 0; i < 20 && number("select count(*) from orch.monitor_window") < live_rows / 250; i++) {
    exec("UPDATE orch.monitor SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL");
    run_flow(db, -1, &stats);
  }
  print_message("# %d kills left %lld windows closed; %llu were closed after them, failures %llu\n", kills,
                (long long)before, (unsigned long long)stats.closed, (unsigned long long)stats.failures);
  int64_t windows = number("select count(*) from orch.monitor_window");
  assert_int_equal(windows, live_rows / 250);
  assert_int_equal(number("select sum(to_row - from_row) from orch.monitor_window"), windows * 250);
  assert_int_equal(number("select count(*) from orch.monitor_window a, orch.monitor_window b where a.from_row <> "
                          "b.from_row and a.from_row < b.to_row and b.from_row < a.to_row"),
                   0);
  assert_int_equal(number("select max(to_row) from orch.monitor_window"), windows * 250);
  bool closed = false;
  db_free(db, note_closed, &closed);
  while (!closed) uv_run(&loop, UV_RUN_ONCE);
  uv_run(&loop, UV_RUN_DEFAULT); /* what threads still had in hand */
}

/* Three servers at once, one of which dies every few turns: what they close together is each window once. */
static bool any_busy(struct windows *const *servers, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (windows_busy(servers[i])) return true;
  return false;
}

static void several_servers(void **state) {
  struct db *db = db_new(&loop, &(struct db_options){.url = url, .name = "test_windows", .connections = 3});
  struct windows *servers[3];
  uint64_t random = (uint64_t)time(NULL), refused = 0;
  struct windows_stats stats;
  print_message("# seed %llu\n", (unsigned long long)random);
  for (size_t i = 0; i < 3; i++) servers[i] = windows_new(&loop, db, i == 0 ? "a" : i == 1 ? "b" : "c");
  for (int round = 0; round < 40; round++) {
    exec("SELECT orch.observations_append('housing', n_rows, body, NULL) FROM (SELECT n_rows, body FROM "
         "orch.observation_batch WHERE "
         "stream = 'rows' ORDER BY first_row LIMIT 6) b");
    for (size_t i = 0; i < 3; i++) windows_poke(servers[i]);
    /* Once all rest, a turn of the loop would wait for ever. */
    for (int turn = 0; turn < 12 && any_busy(servers, 3); turn++) uv_run(&loop, UV_RUN_ONCE);
    random = random * 6364136223846793005u + 1442695040888963407u;
    struct windows **dies = &servers[(random >> 33) % 3];
    windows_get_stats(*dies, &stats);
    refused += stats.refused;
    windows_free(*dies);
    *dies = windows_new(&loop, db, "new");
    exec("UPDATE orch.monitor SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL");
  }
  int64_t rows = number("select next_row from orch.observation_stream where stream = 'rows'");
  int64_t until_us = clock_mono_us() + 60 * 1000000LL;
  while (number("select count(*) from orch.monitor_window") < rows / 250 && clock_mono_us() < until_us) {
    exec("UPDATE orch.monitor SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL");
    windows_poke(servers[0]);
    while (windows_busy(servers[0])) uv_run(&loop, UV_RUN_ONCE);
  }
  for (size_t i = 0; i < 3; i++) windows_free(servers[i]);
  print_message("# %lld windows, %llu monitors refused\n", (long long)rows / 250, (unsigned long long)refused);
  assert_int_equal(number("select count(*) from orch.monitor_window"), rows / 250);
  assert_int_equal(number("select sum(rows) from orch.monitor_window"), rows / 250 * 250);
  assert_int_equal(number("select count(distinct from_row) from orch.monitor_window"), rows / 250);
  assert_int_equal(number("select number from orch.monitor"), rows / 250);
  bool closed = false;
  db_free(db, note_closed, &closed);
  while (!closed) uv_run(&loop, UV_RUN_ONCE);
  uv_run(&loop, UV_RUN_DEFAULT);
}

static void what_was_said(void **state) {
  /* Drift in 2003, once, as a proposal whose data end with the window (rows 250 to 499). */
  assert_int_equal(number("select count(*) from orch.signal where kind = 'drift' and source = 'monitor:inputs'"), 1);
  assert_int_equal(number("select count(*) from orch.proposal"), 2);
  CLEANUP(mem_free_p)
  char *drift = call("select jsonb_build_object('t', s.title, 'd', s.disposition, 'n', s.count, 'status', s.status, "
                     "'since', s.detail ->> 'since_at', 'asof', p.as_of)::text from orch.signal s join orch.proposal p "
                     "on p.id = s.proposal_id where kind = 'drift'",
                     0, NULL);
  print_message("# %s\n", drift);
  assert_non_null(strstr(drift, "since row 0 (2003-01-01)"));
  assert_non_null(strstr(drift, "\"asof\": \"2004-01-01"));
  assert_non_null(strstr(drift, "firing"));
  /* The fault: recorded, resolved by the first healthy window, never a proposal. */
  CLEANUP(mem_free_p)
  char *fault = call("select jsonb_build_object('t', title, 'd', disposition, 'status', status, 'p', proposal_id, 'n', "
                     "count)::text from orch.signal where kind = 'data_fault'",
                     0, NULL);
  print_message("# %s\n", fault);
  assert_int_equal(number("select count(*) from orch.signal where kind = 'data_fault'"), 1);
  assert_non_null(strstr(fault, "broken: missing"));
  assert_non_null(strstr(fault, "inventory"));
  assert_non_null(strstr(fault, "\"d\": \"recorded\""));
  assert_non_null(strstr(fault, "\"p\": null"));
  assert_non_null(strstr(fault, "\"status\": \"resolved\""));
  assert_int_equal(number("select count(*) from orch.monitor_window where verdict = 'fault' and to_row <= 3000"), 7);
  assert_int_equal(number("select count(*) from orch.event where type = 'signal.fault'"), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(dying_anywhere), cmocka_unit_test(what_was_said),
                                     cmocka_unit_test(several_servers)};
  return cmocka_run_group_tests_name("windows", tests, make_world, end_world);
}
