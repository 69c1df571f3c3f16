/* Every measure against the oracle's numbers: exactly where values are kept, within its sketch tolerance otherwise. */
#include "drift_data.h"

#include "stats/measure.h"
#include "stats/special.h"

/* Tolerance of a sketch for D; 0.02 would be allowed where the data has atoms. */
#define KS_TOLERANCE 0.004

static void check_numeric(const char *id, const json_t *expected, const char *file) {
  CLEANUP(mem_free_p) struct sides *sides = sides_load(file);
  const struct side *ref = &sides->ref, *cur = &sides->cur;
  assert_int_equal(ref->n_sorted, (size_t)oracle_number(expected, NULL, "n_ref"));
  assert_int_equal(cur->n_sorted, (size_t)oracle_number(expected, NULL, "n_cur"));
  double n = (double)ref->n_sorted, m = (double)cur->n_sorted;

  struct measure_ks exact = measure_ks_sorted(ref->sorted, ref->n_sorted, cur->sorted, cur->n_sorted);
  assert_near(exact.statistic, oracle_number(expected, "ks", "statistic"), 1e-9);
  double stephens = oracle_number(expected, "ks", "p_stephens");
  assert_near(exact.p_value, stephens, stephens * 1e-9);
  assert_near(measure_noise_corrected(exact.statistic, n, m), oracle_number(expected, "ks", "linf_robust_deequ"), 1e-9);

  struct sketch_grid grid;
  sketch_grid_init(&grid, ref->sorted, ref->n_sorted);
  CLEANUP(mem_free_p) struct sketch *a = mem_alloc(sizeof *a), *b = mem_alloc(sizeof *b);
  side_sketch(ref, &grid, a);
  side_sketch(cur, &grid, b);
  assert_int_equal(sketch_missing(a), (uint64_t)oracle_number(expected, NULL, "n_ref_missing"));
  assert_int_equal(sketch_missing(b), (uint64_t)oracle_number(expected, NULL, "n_cur_missing"));
  assert_near(sketch_mean(a), oracle_number(expected, NULL, "mean_ref"), 1e-9 * fabs(sketch_mean(a)));
  assert_near(sketch_deviation(a), oracle_number(expected, NULL, "std_ref_pop"), 1e-9 * sketch_deviation(a));

  /* The deciles are edges of the grid, so these two are exact and not within 3 %. */
  assert_near(measure_psi(a, b), oracle_number(expected, "psi_ref_deciles", "psi"), 1e-9);
  const json_t *edges = json_object_get(json_object_get(expected, "psi_ref_deciles"), "edges");
  assert_int_equal(json_array_size(edges), grid.n_cuts);
  for (uint32_t i = 0; i < grid.n_cuts; i++)
    assert_true(grid.edges[grid.cuts[i]] == json_number_value(json_array_get(edges, i)));

  struct measure_ks ks = measure_ks(a, b);
  assert_near(ks.statistic, exact.statistic, KS_TOLERANCE);
  assert_true(ks.statistic <= exact.statistic + 1e-12 && exact.statistic <= ks.bound + 1e-12);
  assert_near(ks.p_value, measure_ks_p(ks.statistic, n, m), 1e-12);
  print_message("%-22s psi %.6f  D %.5f (sketch %.5f, bound %.5f)\n", id, measure_psi(a, b), exact.statistic,
                ks.statistic, ks.bound);
}

static void check_categorical(const json_t *expected) {
  const json_t *ref = json_object_get(expected, "ref_counts"), *cur = json_object_get(expected, "cur_counts");
  uint64_t a[512], b[512];
  size_t k = json_array_size(ref);
  assert_in_range(k, 1, 512);
  for (size_t i = 0; i < k; i++) {
    a[i] = (uint64_t)json_integer_value(json_array_get(ref, i));
    b[i] = (uint64_t)json_integer_value(json_array_get(cur, i));
  }
  struct measure_chi2 chi2 = measure_chi2_counts(a, b, k);
  const json_t *want = json_object_get(expected, "chi2_contingency");
  if (!want) { /* one category: nothing to compare */
    assert_int_equal(chi2.df, 0);
    assert_true(chi2.p_value == 1);
    return;
  }
  double p = oracle_number(want, NULL, "p_no_yates");
  assert_near(chi2.statistic, oracle_number(want, NULL, "statistic_no_yates"), 1e-9 * chi2.statistic);
  assert_int_equal(chi2.df, (unsigned)oracle_number(want, NULL, "dof"));
  assert_near(chi2.p_value, p, 1e-9 * p);
  const json_t *z = json_object_get(expected, "z_test_evidently");
  if (z) {
    struct measure_share share = measure_share_change(a[0], a[0] + a[1], b[0], b[0] + b[1]);
    assert_near(share.z, oracle_number(z, NULL, "z"), 1e-9);
    assert_near(share.p_value, oracle_number(z, NULL, "p"), 1e-9);
  }
}

static void oracle_cases(void **state) {
  json_t *root = oracle_load();
  size_t index, numeric = 0, categorical = 0;
  json_t *item;
  json_array_foreach(json_object_get(root, "cases"), index, item) {
    const json_t *expected = json_object_get(item, "expected");
    const char *id = json_string_value(json_object_get(item, "id"));
    if (strcmp(json_string_value(json_object_get(item, "kind")), "numeric") == 0) {
      check_numeric(id, expected, json_string_value(json_object_get(item, "file")));
      numeric++;
    } else {
      check_categorical(expected);
      categorical++;
    }
  }
  assert_int_equal(numeric, 5);
  assert_true(categorical >= 5);
  json_decref(root);
}

static void special_values(void **state) {
  /* scipy.special.gammaincc */
  assert_near(special_gamma_q(0.5, 0.5), 0.31731050786291115, 1e-13);
  assert_near(special_gamma_q(50, 40), 0.9296649333406051, 1e-12);
  assert_near(special_gamma_q(4.5, 0.3), 0.9999336189284352, 1e-13);
  assert_near(special_gamma_q(0.5, 1e-8), 0.9998871620836666, 1e-13);
  assert_near(special_gamma_q(120, 60), 0.9999999999938445, 1e-13);
  assert_near(special_gamma_q(200, 260), 4.750012444300866e-05, 1e-16);
  assert_near(special_gamma_q(3, 2), 0.6766764161830634, 1e-13);
  assert_near(special_gamma_q(1, 100) / exp(-100), 1, 1e-12);
  assert_true(special_gamma_q(3, 0) == 1 && special_gamma_q(3, INFINITY) == 0 && isnan(special_gamma_q(0, 1)));
  /* The two forms of Kolmogorov's tail meet. */
  assert_near(special_kolmogorov_q(1.1799999), special_kolmogorov_q(1.1800001), 1e-6);
  assert_near(special_kolmogorov_q(1.3580986), 0.05, 1e-6);
  assert_true(special_kolmogorov_q(0) == 1 && special_kolmogorov_q(0.01) == 1);
  assert_near(special_normal_two_sided(-1.959963984540054), 0.05, 1e-12);
}

static void edge_cases(void **state) {
  uint64_t none[3] = {0, 0, 0}, some[3] = {5, 0, 5}, other[3] = {0, 0, 9};
  assert_true(isnan(measure_psi_counts(none, some, 3)) && isnan(measure_chi2_counts(some, none, 3).p_value));
  assert_true(isfinite(measure_psi_counts(some, other, 3)));
  assert_true(measure_psi_counts(some, some, 3) == 0);
  assert_int_equal(measure_chi2_counts(some, other, 3).df, 1);
  double few[3] = {1, 2, 3};
  struct measure_ks ks = measure_ks_sorted(few, 3, few, 3);
  assert_false(ks.sufficient);
  assert_true(isnan(ks.p_value) && ks.statistic == 0);
  assert_true(isnan(measure_ks_sorted(few, 3, NULL, 0).statistic));
  assert_true(measure_share_change(0, 10, 0, 10).p_value == 1);
  assert_true(measure_share_change(10, 10, 10, 10).p_value == 1);
  assert_true(isnan(measure_share_change(0, 0, 1, 2).z));
  assert_true(measure_share_change(1, 100, 40, 100).z > 0);
  assert_true(isnan(measure_noise_corrected(0.5, 0, 3)));
}

/* A constant reference sees both directions and never divides by its deviation of zero. */
static void constant_reference(void **state) {
  double same[50];
  for (size_t i = 0; i < 50; i++) same[i] = 7;
  struct sketch_grid grid;
  sketch_grid_init(&grid, same, 50);
  assert_true(grid.constant && grid.n_edges == 2);
  struct sketch ref, now;
  sketch_init(&ref, &grid);
  sketch_init(&now, &grid);
  for (size_t i = 0; i < 50; i++) sketch_add(&ref, 7), sketch_add(&now, 7);
  assert_true(measure_psi(&ref, &now) == 0 && measure_ks(&ref, &now).statistic == 0);
  assert_true(measure_chi2(&ref, &now).df == 0 && measure_chi2(&ref, &now).p_value == 1);
  for (size_t i = 0; i < 30; i++) sketch_add(&now, 6.999), sketch_add(&now, 8);
  assert_int_equal(now.count[0], 30);
  assert_int_equal(now.count[1], 50);
  assert_int_equal(now.count[2], 30);
  assert_true(measure_psi(&ref, &now) > 1 && measure_chi2(&ref, &now).p_value < 1e-6);
  assert_near(measure_ks(&ref, &now).statistic, 30.0 / 110, 1e-12);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(oracle_cases), cmocka_unit_test(special_values),
                                     cmocka_unit_test(edge_cases), cmocka_unit_test(constant_reference)};
  return cmocka_run_group_tests_name("measure", tests, NULL, NULL);
}
