/* The drivers: atomic moves, fencing by generation, leftovers of crashes, damaged artifacts. */
#include "cm.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "rollout/driver.h"

struct world {
  char base[64];
  struct store *store;
  struct rollout_options options;
  char digest[4][DIGEST_TEXT_SIZE]; /* versions 1 to 3 */
};

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  assert_int_equal(fclose(file), 0);
}

static char *at(struct world *world, const char *name) {
  static char paths[4][4200];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof(paths[0]), "%s/%s", world->base, name);
  return path;
}

static char *read_file(const char *path) {
  static char text[5000];
  FILE *file = fopen(path, "r");
  if (!file) return NULL;
  text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
  fclose(file);
  return text;
}

static int start(void **state) {
  struct world *world = mem_alloc(sizeof(*world));
  struct err err = {0};
  snprintf(world->base, sizeof(world->base), "/tmp/orch-test-rollout.XXXXXX");
  assert_non_null(mkdtemp(world->base));
  world->store = store_open(at(world, "store"), &err);
  assert_non_null(world->store);
  for (int version = 1; version <= 3; version++) {
    struct store_ref ref;
    char text[20];
    mkdir(at(world, "tree"), 0755);
    snprintf(text, sizeof(text), "model %d", version);
    write_file(at(world, "tree/model.txt"), text);
    assert_true(store_put_tree(world->store, at(world, "tree"), NULL, &ref, &err));
    memcpy(world->digest[version], ref.digest, sizeof(ref.digest));
  }
  world->options = (struct rollout_options){.store = world->store, .base = world->base, .timeout_ms = 10000};
  *state = world;
  return 0;
}

static int stop(void **state) {
  struct world *world = *state;
  struct err err = {0};
  store_close(world->store);
  bool ok = store_remove_folder(world->base, &err);
  mem_free(world);
  return ok ? 0 : -1;
}

static bool move(struct world *world, const char *driver, int version, int64_t generation, bool converge,
                 struct err *err) {
  json_t *json = json_loads(driver, 0, NULL), *detail = NULL;
  assert_non_null(json);
  *err = (struct err){0};
  struct rollout_move what = {.pipeline = "housing",
                              .version = version,
                              .artifact = world->digest[version],
                              .driver = json,
                              .generation = generation,
                              .converge = converge};
  bool ok = rollout_move(&world->options, &what, &detail, err);
  assert_true(ok == (detail != NULL));
  json_decref(json);
  json_decref(detail);
  return ok;
}

static const char *const link_driver = "{\"symlink\": {\"path\": \"live/housing\"}}";

static void expect_live(struct world *world, int version) {
  char expected[20];
  snprintf(expected, sizeof(expected), "model %d", version);
  char *text = read_file(at(world, "live/housing/model.txt"));
  assert_non_null(text);
  assert_string_equal(text, expected);
}

static void test_symlink_moves(void **state) {
  struct world *world = *state;
  struct err err;
  assert_true(move(world, link_driver, 1, 10, false, &err));
  expect_live(world, 1);
  assert_true(move(world, link_driver, 2, 11, false, &err));
  expect_live(world, 2);
  assert_true(move(world, link_driver, 2, 11, false, &err)); /* done twice has the effect of once */
  expect_live(world, 2);
  assert_true(move(world, link_driver, 1, 12, false, &err));
  expect_live(world, 1);
  char target[500] = {0};
  assert_true(readlink(at(world, "live/housing"), target, sizeof(target) - 1) > 0);
  assert_true(strncmp(target, ".housing.orch/versions/", 23) == 0);
}

static void test_an_older_generation_is_refused(void **state) {
  struct world *world = *state;
  struct err err;
  assert_true(move(world, link_driver, 1, 10, false, &err));
  assert_true(move(world, link_driver, 1, 12, false, &err));  /* the rollback */
  assert_false(move(world, link_driver, 2, 11, false, &err)); /* the promotion that was paused */
  assert_int_equal(err.code, ERR_LEASE_LOST);
  assert_true(rollout_error_is_permanent(&err));
  expect_live(world, 1);
  assert_true(move(world, link_driver, 3, 13, false, &err));
  expect_live(world, 3);
}

/* After "deployment 13 was aborted, put back what is live", a sleeping thread of 13 has lost as well. */
static void test_converging_fences_its_own_generation(void **state) {
  struct world *world = *state;
  struct err err;
  assert_true(move(world, link_driver, 2, 13, false, &err));
  assert_true(move(world, link_driver, 1, 13, true, &err));
  expect_live(world, 1);
  assert_false(move(world, link_driver, 2, 13, false, &err));
  assert_int_equal(err.code, ERR_LEASE_LOST);
  assert_true(move(world, link_driver, 1, 13, true, &err));
  expect_live(world, 1);
  assert_true(move(world, link_driver, 2, 14, false, &err));
  expect_live(world, 2);
}

static void test_a_missing_or_corrupt_artifact_changes_nothing(void **state) {
  struct world *world = *state;
  struct err err;
  assert_true(move(world, link_driver, 1, 10, false, &err));
  char real[DIGEST_TEXT_SIZE];
  memcpy(real, world->digest[2], sizeof(real));
  memset(world->digest[2] + 7, 'a', 64);
  assert_false(move(world, link_driver, 2, 11, false, &err));
  assert_int_equal(err.code, ERR_NOT_FOUND);
  memcpy(world->digest[2], real, sizeof(real));
  uint8_t bytes[DIGEST_BYTES];
  char file_digest[DIGEST_TEXT_SIZE];
  digest_bytes("model 2", 7, bytes);
  digest_to_text(bytes, file_digest);
  char *object = store_object_path(world->store, file_digest);
  chmod(object, 0644);
  write_file(object, "model X");
  mem_free(object);
  assert_false(move(world, link_driver, 2, 11, false, &err));
  assert_int_equal(err.code, ERR_INTERNAL);
  expect_live(world, 1);
  assert_false(move(world, link_driver, 2, 9, false, &err)); /* nor was a generation used up by the failures */
  assert_true(move(world, link_driver, 3, 11, false, &err));
}

/* Somebody wrote into the materialised folder: it is not trusted, and what is live is not pulled away under readers. */
static void test_a_damaged_copy_is_replaced(void **state) {
  struct world *world = *state;
  struct err err;
  assert_true(move(world, link_driver, 1, 10, false, &err));
  chmod(at(world, "live/housing/model.txt"), 0644);
  write_file(at(world, "live/housing/model.txt"), "model 7");
  assert_true(move(world, link_driver, 1, 11, false, &err));
  expect_live(world, 1);
}

static void test_leftovers_of_a_crash(void **state) {
  struct world *world = *state;
  struct err err;
  assert_true(move(world, link_driver, 1, 10, false, &err));
  /* killed between making the new link and renaming it, with the generation already recorded */
  assert_int_equal(symlink("nowhere", at(world, "live/.housing.orch/link.tmp")), 0);
  write_file(at(world, "live/.housing.orch/state.json"), "{\"generation\": 11, \"converge\": false, \"version\": 2}");
  write_file(at(world, "live/.housing.orch/state.json.tmp"), "{\"gener");
  assert_true(move(world, link_driver, 2, 11, false, &err));
  expect_live(world, 2);
}

static void test_a_damaged_state_is_not_guessed(void **state) {
  struct world *world = *state;
  struct err err;
  assert_true(move(world, link_driver, 1, 10, false, &err));
  write_file(at(world, "live/.housing.orch/state.json"), "");
  assert_false(move(world, link_driver, 2, 11, false, &err));
  assert_int_equal(err.code, ERR_INVALID);
  expect_live(world, 1);
}

static void test_what_is_no_link_stays(void **state) {
  struct world *world = *state;
  struct err err;
  mkdir(at(world, "live"), 0755);
  mkdir(at(world, "live/housing"), 0755);
  write_file(at(world, "live/housing/precious"), "data");
  assert_false(move(world, link_driver, 1, 10, false, &err));
  assert_int_equal(err.code, ERR_INVALID);
  assert_string_equal(read_file(at(world, "live/housing/precious")), "data");
  assert_false(move(world, "{\"symlink\": {\"path\": \"live/..\"}}", 1, 10, false, &err));
  assert_int_equal(err.code, ERR_INVALID);
  assert_false(move(world, "{}", 1, 10, false, &err));
  assert_int_equal(err.code, ERR_INVALID);
}

static void test_old_artifacts_leave(void **state) {
  struct world *world = *state;
  struct err err;
  for (int i = 0; i < 9; i++) {
    char *other = mem_printf("%s/live/.housing.orch/versions/%064d", world->base, i);
    mkdir(at(world, "live"), 0755);
    mkdir(at(world, "live/.housing.orch"), 0755);
    mkdir(at(world, "live/.housing.orch/versions"), 0755);
    assert_int_equal(mkdir(other, 0755), 0);
    struct timespec times[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};
    assert_int_equal(utimensat(AT_FDCWD, other, times, 0), 0);
    mem_free(other);
  }
  assert_true(move(world, link_driver, 1, 10, false, &err));
  expect_live(world, 1);
  for (int i = 0; i < 9; i++) {
    char *other = mem_printf("%s/live/.housing.orch/versions/%064d", world->base, i);
    assert_int_equal(access(other, F_OK), i >= 5 ? 0 : -1);
    mem_free(other);
  }
}

static void test_command(void **state) {
  struct world *world = *state;
  struct err err;
  assert_int_equal(setenv("ORCH_DATABASE_URL", "secret", 1), 0);
  assert_true(move(world,
                   "{\"command\": {\"run\": [\"sh\", \"-c\", \"cat $ORCH_MODEL/model.txt > out;"
                   " echo $ORCH_PIPELINE $ORCH_VERSION $ORCH_GENERATION $ORCH_DATABASE_URL. >> out\"]}}",
                   2, 21, false, &err));
  assert_string_equal(read_file(at(world, "out")), "model 2housing 2 21 .\n");
  assert_false(move(world, "{\"command\": {\"run\": [\"true\"]}}", 1, 20, false, &err));
  assert_int_equal(err.code, ERR_LEASE_LOST);
  assert_false(
      move(world, "{\"command\": {\"run\": [\"sh\", \"-c\", \"echo no space >&2; exit 3\"]}}", 1, 22, false, &err));
  assert_int_equal(err.code, ERR_IO);
  assert_non_null(strstr(err.text, "exit code 3: no space"));
  assert_false(rollout_error_is_permanent(&err));
  world->options.timeout_ms = 100;
  assert_false(move(world, "{\"command\": {\"run\": [\"sleep\", \"600\"]}}", 1, 22, false, &err));
  assert_int_equal(err.code, ERR_TIMEOUT);
  assert_false(move(world, "{\"command\": {\"run\": [\"/no/such/program\"]}}", 1, 22, false, &err));
  assert_int_equal(err.code, ERR_IO);
  assert_false(move(world, "{\"command\": {\"run\": []}}", 1, 22, false, &err));
  assert_int_equal(err.code, ERR_INVALID);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
  const struct CMUnitTest tests[] = {
      TEST(test_symlink_moves),
      TEST(test_an_older_generation_is_refused),
      TEST(test_converging_fences_its_own_generation),
      TEST(test_a_missing_or_corrupt_artifact_changes_nothing),
      TEST(test_a_damaged_copy_is_replaced),
      TEST(test_leftovers_of_a_crash),
      TEST(test_a_damaged_state_is_not_guessed),
      TEST(test_what_is_no_link_stays),
      TEST(test_old_artifacts_leave),
      TEST(test_command),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
