/* Deployer and rollback on a real server, store and file system: ORCH_TEST_DATABASE_URL, an empty database. */
#include "cm.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/migrate.h"
#include "rollout/deployer.h"
#include "rollout/rollback.h"

static const char *url;

static const char world_script[] =
    "set client_min_messages = warning; create schema world;"
    "create function world.digest(p text) returns text language sql as"
    "  $$ select 'sha256:' || encode(sha256(p::bytea), 'hex') $$;"
    "create function world.step(p_name text, p_role text, p_needs jsonb) returns jsonb language sql as $$"
    "  select jsonb_build_object('name', p_name, 'run', '[\"x\"]'::jsonb, 'role', p_role, 'needs', p_needs,"
    "    'timeout_ms', 60000, 'retry', '{\"limit\":0,\"backoff_ms\":10,\"max_ms\":100}'::jsonb, 'executor', 'process',"
    "    'secrets', '[]'::jsonb, 'resources', '{\"cpu\":1,\"memory_bytes\":null,\"gpu\":0,\"labels\":[]}'::jsonb) $$;"
    /* a candidate whose artifact is p_tree, trained by nobody, approved by dana: its deployment is due */
    "create function world.approved(p_tree text) returns void language plpgsql as $$"
    "declare v_proposal bigint := (orch.proposal_create('housing', 'test', 'keep', 'user:test', null, null)"
    "    ->> 'proposal')::bigint;"
    "  v_worker bigint := (orch.worker_register('w', 'h', 1, '{}', 64, 1 << 30, 0, 64, 60000) ->> 'worker')::bigint;"
    "  r record;"
    "begin for i in 1 .. 10 loop for r in select * from orch.job_claim(v_worker, 16, null) loop"
    "    perform orch.job_finish(v_worker, r.job, r.lease, 'succeeded', case when r.role = 'evaluate'"
    "      then '{\"metrics\": {\"accuracy\": 0.85}}'::jsonb else jsonb_build_object('output', p_tree, 'profile',"
    "      encode('profile', 'base64'), 'snapshots', '{}'::jsonb) end);"
    "  end loop; end loop;"
    "  for r in select id, digest from orch.gate where proposal_id = v_proposal and state = 'open' loop"
    "    perform orch.gate_decide(r.id, jsonb_build_object('verdict', 'approve', 'comment', 'fine', 'via', 'api',"
    "      'reviewer', 'dana', 'digest', r.digest)); return; end loop;"
    "  raise exception 'no gate opened'; end $$;"
    "create function world.apply(p_driver jsonb) returns void language sql as $$"
    "  select orch.pipeline_apply(s, s::text, world.digest(s::text), world.digest('bundle'), null, null, 'user:test')"
    "  from (select jsonb_build_object('pipeline', 'housing', 'owner', 'pricing', 'oncall', '#oncall',"
    "    'data', '[]'::jsonb, 'config', '{\"seed\": 7}'::jsonb, 'steps', jsonb_build_array("
    "      world.step('train', 'train', '[]'), world.step('evaluate', 'evaluate', '[\"train\"]')),"
    "    'monitors', '[]'::jsonb, 'retrain', '{\"cooldown_ms\": 0, \"budget\": null}'::jsonb,"
    "    'checks', '[]'::jsonb, 'gates', '{\"promote\": {\"require\": [{\"group\": \"ml-owners\", \"approvals\": 1}],"
    "      \"expires_ms\": 172800000, \"own_proposals\": false}}'::jsonb,"
    "    'rollout', jsonb_build_object('driver', p_driver), 'keep', 2)) as t(s) $$;"
    "select orch.server_apply('{\"reviewers\": [{\"name\": \"dana\", \"groups\": [\"ml-owners\"]}], \"webhooks\": [],"
    "  \"callbacks\": []}', 'user:test');";

struct world {
  char base[64];
  uv_loop_t loop;
  struct db *db;
  struct db_sync *sync;
  struct store *store;
  struct deployer *deployer;
  struct rollout_options options;
};

static char *sql(struct world *world, const char *text) {
  static char answer[2000];
  struct err err = {0};
  char *got = db_sync_call(world->sync, text, 0, NULL, &err);
  if (!got) fail_msg("%.100s: %s", text, err.text);
  snprintf(answer, sizeof(answer), "%s", got);
  mem_free(got);
  return answer;
}

static int start(void **state) {
  struct world *world = mem_alloc(sizeof(*world));
  struct err err = {0};
  struct migrate_source schema = migrate_embedded();
  snprintf(world->base, sizeof(world->base), "/tmp/orch-test-world.XXXXXX");
  if (!mkdtemp(world->base)) return -1;
  char *store = mem_printf("%s/store", world->base);
  world->store = store_open(store, &err);
  mem_free(store);
  world->sync = db_sync_open(url, "test_rollout", &err);
  if (!world->store || !world->sync) fail_msg("%s", err.text);
  if (!db_sync_exec(world->sync,
                    "set client_min_messages = warning; drop schema if exists orch cascade;"
                    "drop schema if exists world cascade",
                    &err) ||
      !migrate_apply(world->sync, &schema, NULL, NULL, NULL, &err) || !db_sync_exec(world->sync, world_script, &err))
    fail_msg("%s", err.text);
  uv_loop_init(&world->loop);
  world->db = db_new(&world->loop, &(struct db_options){.url = url});
  world->options = (struct rollout_options){.store = world->store, .base = world->base, .timeout_ms = 20000};
  world->deployer = deployer_new(
      &world->loop,
      &(struct deployer_options){.db = world->db, .owner = "test", .rollout = world->options, .poll_ms = 20});
  *state = world;
  return 0;
}

static void note(void *arg) {
  *(bool *)arg = true;
}

static void turn(struct world *world) {
  uv_run(&world->loop, UV_RUN_NOWAIT);
  uv_sleep(2);
}

static int stop(void **state) {
  struct world *world = *state;
  struct err err = {0};
  bool freed = false, closed = false;
  deployer_free(world->deployer, note, &freed);
  while (!freed) turn(world);
  db_free(world->db, note, &closed);
  while (!closed) turn(world);
  db_sync_close(world->sync);
  store_close(world->store);
  int busy = uv_loop_close(&world->loop);
  bool removed = store_remove_folder(world->base, &err);
  mem_free(world);
  return busy || !removed ? -1 : 0;
}

static void until(struct world *world, const char *text, const char *wanted) {
  int64_t until_us = clock_mono_us() + 20 * 1000000LL;
  while (strcmp(sql(world, text), wanted) != 0) {
    if (clock_mono_us() > until_us) fail_msg("%s: %s instead of %s", text, sql(world, text), wanted);
    for (int i = 0; i < 10; i++) turn(world);
  }
}

static void approve(struct world *world, const char *model) {
  struct err err = {0};
  struct store_ref ref;
  char *tree = mem_printf("%s/tree", world->base), *path = mem_printf("%s/model.txt", tree);
  mkdir(tree, 0755);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(model, file);
  assert_int_equal(fclose(file), 0);
  assert_true(store_put_tree(world->store, tree, NULL, &ref, &err));
  struct db_value values[] = {db_text(ref.digest)};
  char *done = db_sync_call(world->sync, "select world.approved($1)", 1, values, &err);
  if (!done) fail_msg("%s", err.text);
  mem_free(done);
  mem_free(tree);
  mem_free(path);
}

static const char live_version[] = "select orch.pipeline_live('housing') ->> 'version'";

static void promote(struct world *world, const char *model, const char *version) {
  approve(world, model);
  until(world, live_version, version);
}

static void expect_file(struct world *world, const char *name, const char *wanted) {
  char text[100] = {0}, path[200];
  snprintf(path, sizeof(path), "%s/%s", world->base, name);
  FILE *file = fopen(path, "r");
  if (!file) fail_msg("%s is missing", name);
  text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
  fclose(file);
  assert_string_equal(text, wanted);
}

static json_t *roll_back(struct world *world, bool dry_run) {
  struct err err = {0};
  json_t *answer = NULL;
  struct rollback_request request = {
      .pipeline = "housing", .reason = "bad", .actor = "user:oncall", .dry_run = dry_run};
  if (!rollback_run(world->sync, &world->options, &request, &answer, &err)) fail_msg("%s", err.text);
  return answer;
}

static bool is_true(json_t *answer, const char *key) {
  bool yes = json_is_true(json_object_get(answer, key));
  json_decref(answer);
  return yes;
}

static const char link_apply[] = "select world.apply('{\"symlink\": {\"path\": \"live/housing\"}}')";

static void test_there_and_back(void **state) {
  struct world *world = *state;
  sql(world, link_apply);
  promote(world, "one", "1");
  expect_file(world, "live/housing/model.txt", "one");
  promote(world, "two", "2");
  expect_file(world, "live/housing/model.txt", "two");
  assert_true(is_true(roll_back(world, true), "artifact_intact"));
  expect_file(world, "live/housing/model.txt", "two");
  assert_false(is_true(roll_back(world, false), "skipped"));
  expect_file(world, "live/housing/model.txt", "one");
  assert_string_equal(sql(world, live_version), "1");
  assert_string_equal(sql(world, "select quarantined_by from orch.version where number = 2"), "user:oncall");
  assert_true(is_true(roll_back(world, false), "skipped")); /* twice never returns to the bad one */
  expect_file(world, "live/housing/model.txt", "one");
  assert_string_equal(sql(world, "select orch.hold_release('housing', 'fixed', 'user:oncall') ->> 'changed'"), "true");
  promote(world, "three", "3");
  expect_file(world, "live/housing/model.txt", "three");
}

/* Killed after the database knew and before the link was moved, or after that and before the database knew. */
static void test_a_killed_rollback_is_resumed(void **state) {
  struct world *world = *state;
  sql(world, link_apply);
  promote(world, "one", "1");
  promote(world, "two", "2");
  sql(world, "select orch.rollback_begin('housing', null, 'bad', 'user:oncall', false)");
  assert_false(is_true(roll_back(world, false), "skipped"));
  expect_file(world, "live/housing/model.txt", "one");
  assert_string_equal(sql(world, live_version), "1");
  assert_string_equal(sql(world, "select count(*) from orch.deployment where kind = 'rollback'"), "1");
}

/* A promotion was claimed by a process that then slept through a rollback. */
static void test_a_sleeper_is_fenced_off(void **state) {
  struct world *world = *state;
  struct err err = {0};
  sql(world, link_apply);
  promote(world, "one", "1");
  approve(world, "two"); /* the loop stands still: the deployer does not see it */
  char *claim = sql(world, "select jsonb_build_object('id', id, 'artifact', artifact, 'driver', driver)"
                           " from orch.deployment_claim('sleeper', 60000)");
  json_t *claimed = json_loads(claim, 0, NULL);
  assert_non_null(claimed);
  assert_false(is_true(roll_back(world, false), "skipped"));
  struct rollout_move late = {.pipeline = "housing",
                              .version = 2,
                              .artifact = json_string_value(json_object_get(claimed, "artifact")),
                              .driver = json_object_get(claimed, "driver"),
                              .generation = json_integer_value(json_object_get(claimed, "id"))};
  assert_false(rollout_move(&world->options, &late, NULL, &err));
  assert_int_equal(err.code, ERR_LEASE_LOST);
  expect_file(world, "live/housing/model.txt", "one");
  json_decref(claimed);
}

static void test_a_driver_that_cannot_work_leaves_the_old_version(void **state) {
  struct world *world = *state;
  sql(world, link_apply);
  promote(world, "one", "1");
  sql(world, "select world.apply('{\"symlink\": {\"path\": \"store\"}}')"); /* a folder stands there */
  approve(world, "two");
  until(world, "select state from orch.deployment where kind = 'promote' order by id desc limit 1", "aborted");
  assert_string_equal(sql(world, live_version), "1");
  expect_file(world, "live/housing/model.txt", "one");
  assert_non_null(strstr(sql(world, "select detail ->> 'error' from orch.deployment order by id desc limit 1"),
                         "no symbolic link"));
}

/* The driver runs, the lease passes on, the driver ends: what it did is put right. */
static void test_a_lost_lease_converges(void **state) {
  struct world *world = *state;
  sql(world, "select world.apply('{\"command\": {\"run\": [\"sh\", \"-c\","
             " \"[ $ORCH_VERSION = 1 ] || touch began; while [ $ORCH_VERSION = 2 ] && ! [ -e go ]; do sleep 0.02;"
             " done; printf $ORCH_VERSION > out\"]}}')");
  promote(world, "one", "1");
  expect_file(world, "out", "1");
  approve(world, "two");
  char *began = mem_printf("%s/began", world->base), *go = mem_printf("%s/go", world->base);
  while (access(began, F_OK) != 0) turn(world);
  sql(world, "select orch.deployment_finish((r ->> 'deployment')::bigint, (r ->> 'lease')::bigint, true, '{}')"
             " from orch.rollback_begin('housing', null, 'bad', 'user:oncall', false) r");
  FILE *file = fopen(go, "w");
  assert_non_null(file);
  fclose(file);
  do turn(world);
  while (deployer_is_busy(world->deployer));
  expect_file(world, "out", "1");
  assert_string_equal(sql(world, live_version), "1");
  mem_free(began);
  mem_free(go);
}

int main(void) {
  url = getenv("ORCH_TEST_DATABASE_URL");
  if (!url) {
    fprintf(stderr, "ORCH_TEST_DATABASE_URL is not set: tests/db/run starts a server and sets it\n");
    return 1;
  }
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
  const struct CMUnitTest tests[] = {
      TEST(test_there_and_back),          TEST(test_a_killed_rollback_is_resumed),
      TEST(test_a_sleeper_is_fenced_off), TEST(test_a_driver_that_cannot_work_leaves_the_old_version),
      TEST(test_a_lost_lease_converges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
