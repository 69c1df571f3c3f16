/* The alarms that are promised without drift, beside alarms counted: windows drawn from the reference's own
 * distribution, many references, the real decision. */
#include "drift_data.h"

#include <time.h>

#include "stats/alarm.h"

static double uniform(uint64_t *random) {
  return (double)(test_random(random) >> 11) / 9007199254740992.0;
}

/* One group of a column: numbers are the value itself, categories have a share that falls off. */
static struct cell draw(bool categorical, unsigned categories, uint64_t *random) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
  double u = uniform(random);
  if (!categorical) return cell_number(u);
  return cell_text(letters + (size_t)(u * categories), 1);
}

static void make_reference(const struct alarm_task *task, bool categorical, uint64_t *random,
                           struct profile_column *ref) {
  *ref = (struct profile_column){.name = "x", .kind = categorical ? PROFILE_CATEGORICAL : PROFILE_NUMERIC};
  if (categorical) {
    struct category_builder *builder = category_builder_new();
    for (uint64_t i = 0; i < task->ref_rows; i++)
      category_builder_add_cell(builder, draw(true, task->categories, random));
    ref->category = mem_alloc(sizeof *ref->category);
    category_builder_finish(builder, ref->category);
    category_builder_free(builder);
    return;
  }
  double *values = mem_calloc(task->ref_rows, sizeof values[0]);
  for (uint64_t i = 0; i < task->ref_rows; i++) values[i] = draw(false, 0, random).number;
  distance_sort(values, task->ref_rows);
  struct sketch_grid grid;
  sketch_grid_init(&grid, values, task->ref_rows);
  sketch_init(&ref->sketch, &grid);
  sketch_add_many(&ref->sketch, values, task->ref_rows);
  mem_free(values);
}

#define COLUMNS_MAX 8

/* Counts hits and new alarms in `references` runs of `windows` windows each. */
static struct alarm_rate simulate(const struct drift_rule *rule, const struct alarm_task *task, unsigned references,
                                  unsigned windows, uint64_t *random) {
  struct alarm_rate counted = {0};
  size_t n = task->numeric + task->categorical;
  struct profile_column *refs = mem_calloc(n, sizeof refs[0]), *nows = mem_calloc(n, sizeof nows[0]);
  struct drift_column *said = mem_calloc(n, sizeof said[0]);
  struct drift_memory memories[COLUMNS_MAX];
  struct drift_input inputs[COLUMNS_MAX];
  struct drift_window window;
  assert_in_range(n, 1, COLUMNS_MAX);
  for (unsigned r = 0; r < references; r++) {
    for (size_t c = 0; c < n; c++) {
      make_reference(task, c >= task->numeric, random, &refs[c]);
      drift_memory_init(&memories[c]);
    }
    for (unsigned w = 0; w < windows; w++) {
      for (size_t c = 0; c < n; c++) {
        profile_column_window(&nows[c], &refs[c]);
        for (uint64_t i = 0; i < task->rows; i++)
          profile_column_add(&nows[c], draw(c >= task->numeric, task->categories, random));
        inputs[c] = (struct drift_input){.ref = &refs[c], .now = &nows[c], .memory = &memories[c]};
      }
      drift_decide(rule, inputs, n, w, said, &window);
      for (size_t c = 0; c < n; c++) {
        counted.hits += said[c].hit;
        counted.alarms += said[c].hit && said[c].verdict == DRIFT_DRIFT;
        profile_column_fini(&nows[c]);
      }
    }
    for (size_t c = 0; c < n; c++) profile_column_fini(&refs[c]);
  }
  mem_free(refs);
  mem_free(nows);
  mem_free(said);
  counted.hits /= (double)references * windows;
  counted.alarms /= (double)references * windows;
  return counted;
}

static void promised_and_counted(void **state) {
  uint64_t random = (uint64_t)time(NULL);
  const char *given = getenv("ORCH_TEST_SEED");
  if (given) random = strtoull(given, NULL, 10);
  print_message("seed %llu (ORCH_TEST_SEED repeats it)\n", (unsigned long long)random);
  /* Rules so loose that there is something to count. */
  static const struct {
    struct alarm_task task;
    double psi, p_value;
    unsigned hits, of;
  } cases[] = {
      {{.rows = 200, .ref_rows = 1000, .numeric = 1}, 0.08, 0.3, 1, 1}, /* the PSI decides */
      {{.rows = 200, .ref_rows = 10000, .numeric = 1}, 0.08, 0.3, 1, 1},
      {{.rows = 500, .ref_rows = 1000, .numeric = 3}, 0.0, 0.15, 1, 1}, /* the p-value decides */
      {{.rows = 200, .ref_rows = 600, .numeric = 1}, 0.09, 0.4, 2, 3},  /* windows share their reference */
      {{.rows = 300, .ref_rows = 1000, .numeric = 2}, 0.05, 0.5, 2, 2},
      {{.rows = 200, .ref_rows = 2000, .categorical = 1, .categories = 20}, 0.03, 0.3, 1, 1},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct drift_rule rule = DRIFT_RULE_DEFAULT;
    rule.psi = cases[i].psi;
    rule.p_value = cases[i].p_value;
    rule.hits = cases[i].hits;
    rule.of = cases[i].of;
    struct alarm_rate promised = alarm_expected(&rule, &cases[i].task);
    struct alarm_rate counted = simulate(&rule, &cases[i].task, 60, 20, &random);
    print_message("%zu: hits %.4f promised, %.4f counted; alarms %.4f promised, %.4f counted\n", i, promised.hits,
                  counted.hits, promised.alarms, counted.alarms);
    /* Within a factor of two either way: what a person decides on with it does not need more. */
    assert_true(counted.hits < 2 * promised.hits && counted.hits > promised.hits / 2);
    assert_true(counted.alarms < 2 * promised.alarms && counted.alarms > promised.alarms / 2);
  }
}

static void rules(void **state) {
  struct drift_rule rule = DRIFT_RULE_DEFAULT;
  struct alarm_task task = {.rows = 200, .ref_rows = 1000, .numeric = 20};
  struct alarm_rate usual = alarm_expected(&rule, &task);
  assert_true(usual.hits > 0 && usual.hits <= rule.p_value * 1.01); /* the level of the window */
  assert_true(usual.alarms < 1e-6);
  rule.each_alone = true;
  assert_true(alarm_expected(&rule, &task).hits > usual.hits);
  rule.hits = rule.of = 1;
  assert_true(alarm_expected(&rule, &task).alarms > 100 * usual.alarms);
  task.rows = 5000; /* large windows are quiet: PSI 0.2 cannot happen by chance */
  assert_true(alarm_expected(&rule, &task).alarms < 1e-9);
  task.rows = 199;
  assert_true(alarm_expected(&rule, &task).hits == 0);
  task = (struct alarm_task){.rows = 1000};
  assert_true(alarm_expected(&rule, &task).hits == 0);
}

static void close_to(double got, double expected) {
  print_message("%.10g, expected %.10g\n", got, expected);
  assert_true(fabs(got - expected) <= 1e-6 * expected);
}

/* Expected values by exact rational sums (Python's fractions). */
static void shares_of_windows(void **state) {
  close_to(alarm_share_below(0.8, 100, 0.75), 0.08747538464357311);
  close_to(alarm_share_below(0.83, 500, 0.75), 2.2986469130709036e-06);
  close_to(alarm_share_below(0.5, 20, 0.75), 0.9793052673339844); /* the bound lies above the mean */
  close_to(alarm_share_below(0.9, 4, 0.5), 0.0037);               /* at most 1 of 4 */
  assert_true(alarm_share_below(0.8, 1000000, 0.75) < 1e-300);    /* no time is lost either */
  assert_true(alarm_share_below(0.7, 1000000, 0.75) > 1 - 1e-9);
  assert_true(alarm_share_below(1, 100, 0.75) == 0 && alarm_share_below(0, 100, 0.75) == 1);
  assert_true(alarm_share_below(0.8, 0, 0.75) == 0 && alarm_share_below(0.8, 100, 0) == 0);
  close_to(alarm_of_hits(0.1, 1, 1), 0.1);
  close_to(alarm_of_hits(0.1, 2, 3), 0.1 * (1 - 0.9 * 0.9));
  close_to(alarm_of_hits(0.1, 3, 3), 0.001);
  /* Ten points on 200 rows against very many: 2.83 deviations. Small windows are kept quiet by the p-value. */
  close_to(alarm_jump(0.1, 1, 200, UINT64_MAX), 0.5 * erfc(2));
  close_to(alarm_jump(0.1, 0.001, 20, 1000), 0.0005);
  assert_true(alarm_jump(0.1, 0.001, 2000, 0) < 1e-12 && alarm_jump(0.1, 0.001, 0, 0) == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(promised_and_counted), cmocka_unit_test(rules),
                                     cmocka_unit_test(shares_of_windows)};
  return cmocka_run_group_tests_name("alarm", tests, NULL, NULL);
}
