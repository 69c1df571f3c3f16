/* Data faults: each check fires on its fault, stays quiet without it, and says what it saw. */
#include "drift_data.h"

#include <time.h>

#include "stats/decide.h"
#include "stats/quality.h"

#define ROWS 1000

/* Columns: a number 0..999 in no order, a text of ten, a flag that is 0 in all but one of a thousand. */
static struct profile *reference(void) {
  static const char *const names[] = {"number", "text", "flag"};
  struct err err = {0};
  struct profile_builder *builder = profile_builder_new(names, 3, &err);
  for (int i = 0; i < ROWS; i++) {
    char text[8];
    struct cell cells[3] = {cell_number(i * 7919 % ROWS), cell_text(text, 1), cell_number(i == 500)};
    text[0] = (char)('a' + i * 7919 % ROWS % 10);
    assert_true(profile_builder_row(builder, cells, &err));
  }
  struct profile *profile = profile_builder_finish(builder, &err);
  profile_builder_free(builder);
  assert_non_null(profile);
  return profile;
}

static const struct quality_rule rule = QUALITY_RULE_DEFAULT;

/* The faults of a window; its text is printed so that a reader can judge the words. */
static size_t faults_of(const struct profile_column *ref, struct profile_column *now, struct quality_fault *faults) {
  size_t n = quality_column(&rule, ref, now, faults);
  for (size_t i = 0; i < n; i++) print_message("%s: %s\n", quality_check_name(faults[i].check), faults[i].why);
  profile_column_fini(now);
  profile_column_window(now, ref);
  return n;
}

static void numeric_faults(void **state) {
  struct profile *profile = reference();
  const struct profile_column *ref = &profile->columns[0];
  struct profile_column now;
  struct quality_fault f[QUALITY_CHECKS];
  assert_int_equal(ref->kind, PROFILE_NUMERIC);
  assert_near(order_share(&ref->order), 0.5, 0.42); /* a step of 7919 mod 1000 goes down by 81 and up by 919 */
  profile_column_window(&now, ref);
  for (int i = 0; i < 300; i++) profile_column_add(&now, cell_number(i * 617 % 1000));
  assert_int_equal(faults_of(ref, &now, f), 0);

  for (int i = 0; i < 300; i++)
    profile_column_add(&now, i % 3 ? cell_number(i * 617 % 1000) : i % 2 ? cell_null() : cell_number(NAN));
  assert_int_equal(faults_of(ref, &now, f), 1);
  assert_int_equal(f[0].check, QUALITY_MISSING);
  assert_near(f[0].share_now, 1.0 / 3, 1e-12);
  assert_non_null(strstr(f[0].why, "50 absent, 50 NaN"));

  /* A column that turns into texts: told as that, and not as missing once more. */
  for (int i = 0; i < 300; i++) profile_column_add(&now, i % 4 ? cell_number(i * 617 % 1000) : cell_text("12,5", 4));
  assert_int_equal(faults_of(ref, &now, f), 1);
  assert_int_equal(f[0].check, QUALITY_TYPE);

  for (int i = 0; i < 300; i++) profile_column_add(&now, cell_number(42));
  assert_int_equal(faults_of(ref, &now, f), 1);
  assert_int_equal(f[0].check, QUALITY_CONSTANT);

  for (int i = 0; i < 300; i++) profile_column_add(&now, cell_number(i * 617 % 1000 * (i % 5 ? 1 : 1000)));
  assert_int_equal(faults_of(ref, &now, f), 1);
  assert_int_equal(f[0].check, QUALITY_RANGE);
  assert_non_null(strstr(f[0].why, "0 to 999"));
  assert_non_null(strstr(f[0].why, "p < 1e-16")); /* not "p 1.2e-202", nor "p 0" */

  /* Sorted rows: a slice of the data, in both directions. */
  for (int down = 0; down < 2; down++) {
    for (int i = 0; i < 300; i++) profile_column_add(&now, cell_number(down ? 999 - 2 * i : 2 * i));
    struct profile_column shuffled = *ref;
    shuffled.order = (struct order){.up = 480, .down = 519};
    assert_int_equal(faults_of(&shuffled, &now, f), 1);
    assert_int_equal(f[0].check, QUALITY_SORTED);
    assert_non_null(strstr(f[0].why, down ? "down" : "up"));
    /* A column that was sorted in training is not asked. */
    for (int i = 0; i < 300; i++) profile_column_add(&now, cell_number(down ? 999 - 2 * i : 2 * i));
    shuffled.order = (struct order){.up = 999};
    assert_int_equal(faults_of(&shuffled, &now, f), 0);
  }
  profile_free(profile);
}

/* A flag that is 0 in all of a window though not in all of the reference: that is chance. */
static void constant_by_chance(void **state) {
  struct profile *profile = reference();
  struct profile_column now;
  struct quality_fault f[QUALITY_CHECKS];
  profile_column_window(&now, &profile->columns[2]);
  for (int i = 0; i < 300; i++) profile_column_add(&now, cell_number(0));
  assert_int_equal(faults_of(&profile->columns[2], &now, f), 0);
  for (int i = 0; i < 300; i++) profile_column_add(&now, cell_number(1));
  assert_int_equal(faults_of(&profile->columns[2], &now, f), 1);
  assert_int_equal(f[0].check, QUALITY_CONSTANT);
  profile_free(profile);
}

static void text_faults(void **state) {
  struct profile *profile = reference();
  const struct profile_column *ref = &profile->columns[1];
  struct profile_column now;
  struct quality_fault f[QUALITY_CHECKS];
  assert_int_equal(ref->kind, PROFILE_CATEGORICAL);
  profile_column_window(&now, ref);
  for (int i = 0; i < 300; i++) profile_column_add(&now, cell_text(&"abcdefghij"[i % 10], 1));
  assert_int_equal(faults_of(ref, &now, f), 0);
  for (int i = 0; i < 300; i++) profile_column_add(&now, i % 3 ? cell_text(&"abcdefghij"[i % 10], 1) : cell_bad());
  assert_int_equal(faults_of(ref, &now, f), 1);
  assert_int_equal(f[0].check, QUALITY_MISSING);
  assert_non_null(strstr(f[0].why, "100 neither text nor number"));
  for (int i = 0; i < 300; i++) profile_column_add(&now, i % 3 ? cell_text(&"abcdefghij"[i % 10], 1) : cell_number(i));
  assert_int_equal(faults_of(ref, &now, f), 2);
  assert_int_equal(f[0].check, QUALITY_TYPE);
  assert_int_equal(f[1].check, QUALITY_UNSEEN);
  for (int i = 0; i < 300; i++) profile_column_add(&now, i % 10 ? cell_text("a", 1) : cell_text("Z", 1));
  assert_int_equal(faults_of(ref, &now, f), 1);
  assert_int_equal(f[0].check, QUALITY_UNSEEN);
  assert_near(f[0].share_now, 0.1, 1e-12);
  for (int i = 0; i < 300; i++) profile_column_add(&now, cell_text("c", 1));
  assert_int_equal(faults_of(ref, &now, f), 1);
  assert_int_equal(f[0].check, QUALITY_CONSTANT);
  profile_column_fini(&now);
  profile_free(profile);
}

/* A column with many rare values always shows some that are new. Good's estimate knows that. */
static void unseen_by_chance(void **state) {
  uint64_t random = (uint64_t)time(NULL);
  const char *given = getenv("ORCH_TEST_SEED");
  if (given) random = strtoull(given, NULL, 10);
  print_message("seed %llu (ORCH_TEST_SEED repeats it)\n", (unsigned long long)random);
  struct profile_column ref = {.name = "id", .kind = PROFILE_CATEGORICAL, .category = mem_alloc(sizeof *ref.category)};
  struct profile_column now;
  struct quality_fault f[QUALITY_CHECKS];
  char text[30];
  unsigned fired = 0;
  double unseen = 0, chance = 0;
#define DRAW()                                                                                                         \
  cell_text(text, (size_t)snprintf(text, sizeof text, "%llu",                                                          \
                                   (unsigned long long)(test_random(&random) % 30 * (test_random(&random) % 40))))
  for (int round = 0; round < 100; round++) {
    struct category_builder *builder = category_builder_new();
    for (int i = 0; i < 1000; i++) category_builder_add_cell(builder, DRAW());
    category_builder_finish(builder, ref.category);
    category_builder_free(builder);
    for (int window = 0; window < 10; window++) {
      struct distances d;
      profile_column_window(&now, &ref);
      for (int i = 0; i < 300; i++) profile_column_add(&now, DRAW());
      distance_categorical(ref.category, now.category, &d);
      unseen += d.unseen.now / 1000;
      chance += d.unseen.ref / 1000;
      fired += quality_column(&rule, &ref, &now, f) > 0;
      profile_column_fini(&now);
    }
  }
  print_message("unseen %.3f, by chance %.3f; %u of 1000 windows fired\n", unseen, chance, fired);
  assert_near(unseen, chance, 0.01);
  assert_true(fired <= 20); /* 2 %; about 0.3 % are usual, ten windows share a reference */
  profile_column_fini(&ref);
}

static void repeated_rows(void **state) {
  struct quality_rows rows = {0};
  struct quality_fault fault;
  for (int i = 0; i < 1000; i++) {
    char text[20];
    struct cell cells[2] = {cell_number(i % 600), cell_text(text, (size_t)snprintf(text, sizeof text, "%d", i % 600))};
    quality_rows_add(&rows, quality_row_hash(quality_row_hash(0, cells[0]), cells[1]));
  }
  assert_near(quality_rows_share(&rows), 0.4, 1e-12);
  assert_true(quality_duplicates(&rule, 0.05, &rows, &fault));
  print_message("%s\n", fault.why);
  assert_int_equal(fault.check, QUALITY_DUPLICATES);
  assert_false(quality_duplicates(&rule, 0.35, &rows, &fault)); /* as in the reference */
  quality_rows_fini(&rows);
  assert_true(quality_rows_share(&rows) == 0);
  /* The order of the cells counts, and so does what they are. */
  assert_true(quality_row_hash(quality_row_hash(0, cell_number(1)), cell_number(2)) !=
              quality_row_hash(quality_row_hash(0, cell_number(2)), cell_number(1)));
  assert_true(quality_row_hash(0, cell_null()) != quality_row_hash(0, cell_bad()));
  /* Many more rows than are kept: each twice. */
  uint64_t random = 99;
  for (int i = 0; i < 400000; i++) {
    uint64_t hash = test_random(&random);
    quality_rows_add(&rows, hash);
    quality_rows_add(&rows, hash);
  }
  assert_near(quality_rows_share(&rows), 0.5, 0.01);
  assert_true(rows.n_slots <= QUALITY_ROWS_MAX);
  quality_rows_fini(&rows);
}

/* The housing rows sorted by price would be an enormous drift in every window: with the sortedness seen it is a fault.
 */
static void sorted_is_no_drift(void **state) {
  struct profile *profile = reference();
  struct profile_column *ref = &profile->columns[0];
  ref->order = (struct order){.up = 480, .down = 519};
  struct drift_rule drift = DRIFT_RULE_DEFAULT;
  struct drift_memory memory;
  struct drift_column said;
  struct drift_window window;
  struct profile_column now;
  drift_memory_init(&memory);
  for (int slice = 0; slice < 4; slice++) {
    profile_column_window(&now, ref);
    for (int i = 0; i < 250; i++) profile_column_add(&now, cell_number(slice * 250 + i));
    struct drift_input input = {.ref = ref, .now = &now, .memory = &memory};
    drift_decide(&drift, &input, 1, slice, &said, &window);
    assert_true(said.d.psi > 5);
    assert_int_equal(window.verdict, DRIFT_FAULT);
    assert_int_equal(said.faults[0].check, QUALITY_SORTED);
  }
  profile_free(profile);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(numeric_faults), cmocka_unit_test(constant_by_chance),
                                     cmocka_unit_test(text_faults),    cmocka_unit_test(unseen_by_chance),
                                     cmocka_unit_test(repeated_rows),  cmocka_unit_test(sorted_is_no_drift)};
  return cmocka_run_group_tests_name("quality", tests, NULL, NULL);
}
