/* Distances: the oracle's Wasserstein, Jensen-Shannon and PSI, whole and as sketches (test_category.c has the rest);
 * edge cases; sorting. */
#include "drift_data.h"

#include <time.h>

#include "stats/distance.h"

/* Counts over evidently's equal-width edges, as numpy.histogram has them: [e[i], e[i+1]), the last one closed. */
static size_t evidently_counts(const json_t *edges, const struct side *side, uint64_t *counts) {
  size_t k = json_array_size(edges) - 1;
  memset(counts, 0, k * sizeof counts[0]);
  for (size_t i = 0; i < side->n_sorted; i++) {
    size_t bin = 0;
    while (bin + 1 < k && side->sorted[i] >= json_number_value(json_array_get(edges, bin + 1))) bin++;
    counts[bin]++;
  }
  return k;
}

static void check_numeric(const char *id, const json_t *expected, const char *file) {
  CLEANUP(mem_free_p) struct sides *sides = sides_load(file);
  const struct side *ref = &sides->ref, *cur = &sides->cur;
  double raw = oracle_number(expected, "wasserstein", "raw"),
         normed = oracle_number(expected, "wasserstein", "evidently_norm");
  struct distance_wasserstein exact =
      distance_wasserstein_sorted(ref->sorted, ref->n_sorted, cur->sorted, cur->n_sorted);
  assert_near(exact.raw, raw, 1e-9 * raw);
  assert_near(exact.normed, normed, 1e-9 * normed); /* every deviation here is above evidently's floor */

  const json_t *edges = json_object_get(json_object_get(expected, "evidently"), "edges");
  uint64_t a[64], b[64];
  size_t k = evidently_counts(edges, ref, a);
  assert_int_equal(evidently_counts(edges, cur, b), k);
  assert_near(distance_js_counts(a, b, k), oracle_number(expected, "evidently", "js_distance_nat"), 1e-9);
  assert_near(measure_psi_counts(a, b, k), oracle_number(expected, "evidently", "psi"), 1e-9);

  struct sketch_grid grid;
  struct distances d;
  sketch_grid_init(&grid, ref->sorted, ref->n_sorted);
  CLEANUP(mem_free_p) struct sketch *p = mem_alloc(sizeof *p), *q = mem_alloc(sizeof *q);
  side_sketch(ref, &grid, p);
  side_sketch(cur, &grid, q);
  distance_numeric(p, q, &d);
  print_message("%-22s Wasserstein %.6f, sketch %.6f; JS %.4f TVD %.4f Hellinger %.4f linf %.4f\n", id, normed,
                d.wasserstein.normed, d.js, d.tvd, d.hellinger, d.linf);
  double tolerance = normed < 0.05 ? 0.05 : 0.005;
  assert_near(d.wasserstein.normed, normed, tolerance * normed);
  assert_near(d.psi, oracle_number(expected, "psi_ref_deciles", "psi"), 1e-9);
  assert_near(d.noise_corrected, measure_noise_corrected(d.ks.statistic, (double)p->finite, (double)q->finite), 1e-12);
  /* Over one set of groups: Hellinger^2 <= TVD <= sqrt 2 Hellinger; linf <= TVD; JS^2 <= ln 2 TVD. */
  assert_true(d.hellinger * d.hellinger <= d.tvd + 1e-12 && d.tvd <= M_SQRT2 * d.hellinger + 1e-12);
  assert_true(d.linf <= d.tvd + 1e-12 && d.js * d.js <= M_LN2 * d.tvd + 1e-12);
}

static void oracle_cases(void **state) {
  json_t *root = oracle_load();
  size_t index, n = 0;
  json_t *item;
  json_array_foreach(json_object_get(root, "cases"), index, item) {
    if (strcmp(json_string_value(json_object_get(item, "kind")), "numeric") != 0) continue;
    check_numeric(json_string_value(json_object_get(item, "id")), json_object_get(item, "expected"),
                  json_string_value(json_object_get(item, "file")));
    n++;
  }
  assert_int_equal(n, 5);
  json_decref(root);
}

static void sketch_of(struct sketch *s, const struct sketch_grid *grid, const double *values, size_t n) {
  sketch_init(s, grid);
  for (size_t i = 0; i < n; i++) sketch_add(s, values[i]);
}

/* A reference of one value has no deviation to divide by, and none is made up. */
static void constant_reference(void **state) {
  const double same[4] = {7, 7, 7, 7}, other[4] = {7, 7, 7, 7.5}, tiny[4] = {7e-9, 8e-9, 9e-9, 1e-8},
               moved[4] = {17e-9, 18e-9, 19e-9, 2e-8};
  struct distance_wasserstein w = distance_wasserstein_sorted(same, 4, same, 4);
  assert_true(w.raw == 0 && w.normed == 0 && !w.constant_broken);
  w = distance_wasserstein_sorted(same, 4, other, 4);
  assert_near(w.raw, 0.125, 1e-15);
  assert_true(isnan(w.normed) && w.constant_broken);
  struct sketch_grid grid;
  struct sketch a, b;
  sketch_grid_init(&grid, same, 4);
  sketch_of(&a, &grid, same, 4);
  sketch_of(&b, &grid, same, 4);
  w = distance_wasserstein(&a, &b);
  assert_true(w.raw == 0 && w.normed == 0 && !w.constant_broken);
  sketch_of(&b, &grid, other, 4);
  w = distance_wasserstein(&a, &b);
  assert_near(w.raw, 0.125, 1e-9);
  assert_true(isnan(w.normed) && w.constant_broken);
  /* Small numbers are as far apart as large ones. */
  w = distance_wasserstein_sorted(tiny, 4, moved, 4);
  assert_true(w.normed > 8);
  sketch_grid_init(&grid, tiny, 4);
  sketch_of(&a, &grid, tiny, 4);
  sketch_of(&b, &grid, moved, 4);
  assert_near(distance_wasserstein(&a, &b).normed, w.normed, 1e-6 * w.normed);
}

/* Values 0, 1, ... n - 1 of a unit on top of an offset: their deviation is known. Neither a large offset nor a small
 * unit, whose square is no longer a number, may spoil it. */
static void deviation_at_any_scale(void **state) {
  enum { N = 3000 };
  static const struct {
    double offset, unit;
  } cases[] = {{0, 1},         {1e9, 0x1p-20},       {-3e15, 1},   {0, 0x1p-500},
               {0, 0x1p-1000}, {0x1p-900, 0x1p-950}, {0, 0x1p480}, {-0x1p490, 0x1p478}};
  double *ref = mem_calloc(N, sizeof ref[0]), *cur = mem_calloc(N, sizeof cur[0]);
  for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
    double deviations = 1 / sqrt(((double)N * N - 1) / 12);
    for (size_t i = 0; i < N; i++) {
      ref[i] = cases[c].offset + (double)i * cases[c].unit;
      cur[i] = ref[i] + cases[c].unit;
    }
    struct distance_wasserstein w = distance_wasserstein_sorted(ref, N, cur, N);
    assert_near(w.normed, deviations, 1e-9 * deviations);
    assert_false(w.constant_broken);
  }
  mem_free(ref);
  mem_free(cur);
}

/* A sketch counts in quanta that are no smaller than 2^-500: of values closer together it has no deviation, and does
 * not call them constant. */
static void too_close_for_a_sketch(void **state) {
  const double ref[4] = {1e-300, 2e-300, 3e-300, 4e-300}, cur[4] = {11e-300, 12e-300, 13e-300, 14e-300};
  struct sketch_grid grid;
  struct sketch a, b;
  sketch_grid_init(&grid, ref, 4);
  sketch_of(&a, &grid, ref, 4);
  sketch_of(&b, &grid, cur, 4);
  struct distance_wasserstein w = distance_wasserstein(&a, &b);
  assert_true(isnan(w.normed) && !w.constant_broken);
  assert_true(distance_wasserstein(&a, &a).normed == 0);
}

static void edge_cases(void **state) {
  uint64_t none[2] = {0, 0}, left[2] = {5, 0}, right[2] = {0, 8}, both[2] = {10, 0};
  assert_true(isnan(distance_js_counts(none, left, 2)) && isnan(distance_tvd_counts(left, none, 2)));
  assert_true(isnan(distance_hellinger_counts(none, none, 2)) && isnan(distance_linf_counts(none, left, 2)));
  assert_near(distance_js_counts(left, right, 2), sqrt(M_LN2), 1e-15); /* natural logarithm */
  assert_true(distance_tvd_counts(left, right, 2) == 1 && distance_hellinger_counts(left, right, 2) == 1);
  assert_true(distance_linf_counts(left, right, 2) == 1 && distance_js_counts(left, both, 2) == 0);
  assert_true(isnan(distance_wasserstein_sorted(NULL, 0, (double[]){1}, 1).raw));
  struct sketch_grid grid;
  struct sketch a, b;
  struct distances d;
  sketch_grid_init(&grid, NULL, 0);
  sketch_init(&a, &grid);
  sketch_init(&b, &grid);
  distance_numeric(&a, &b, &d);
  assert_true(isnan(d.psi) && isnan(d.js) && isnan(d.wasserstein.raw) && isnan(d.chi2.p_value) && isnan(d.ks.p_value));
  sketch_add_cell(&b, cell_null());
  distance_numeric(&a, &b, &d);
  assert_true(isnan(d.missing.p_value) && d.rows_now == 1);
}

/* Rare groups are tested together: two hundred that occur once or twice are not two hundred degrees of freedom. */
static void rare_groups_are_pooled(void **state) {
  uint64_t a[202], b[202];
  a[0] = 500, a[1] = 300, b[0] = 480, b[1] = 320;
  for (size_t i = 2; i < 202; i++) a[i] = i % 2, b[i] = 1 - i % 2;
  struct measure_chi2 whole = distance_chi2_pooled(a, b, 202, 202, 0),
                      pooled = distance_chi2_pooled(a, b, 202, 202, 0.01);
  assert_int_equal(whole.df, 201);
  assert_near(whole.statistic, measure_chi2_counts(a, b, 202).statistic, 1e-12);
  assert_int_equal(pooled.df, 2);
  assert_true(pooled.p_value > 0.3);
}

static void sorting(void **state) {
  uint64_t random = (uint64_t)time(NULL);
  static const size_t sizes[] = {0, 1, 2, 3, 20, 511, 512, 513, 5000, 40000};
  print_message("seed %llu\n", (unsigned long long)random);
  for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
    for (int kind = 0; kind < 3; kind++) {
      size_t n = sizes[i];
      double *values = mem_calloc(n + 1, sizeof *values), *want = mem_calloc(n + 1, sizeof *want);
      for (size_t j = 0; j < n; j++) {
        uint64_t bits = test_random(&random);
        memcpy(&values[j], &bits, sizeof bits);
        if (kind > 0 || isnan(values[j])) values[j] = (double)(int64_t)(bits % 1000) - (kind == 2 ? 0 : 500);
      }
      memcpy(want, values, n * sizeof *want);
      qsort(want, n, sizeof *want, drift_compare);
      distance_sort(values, n);
      for (size_t j = 0; j < n; j++) assert_true(values[j] == want[j]);
      mem_free(values);
      mem_free(want);
    }
}

/* A tail that reaches a hundred times as far as nine tenths of the values, so that the last bin is nearly all of the
 * range, on a grid that a part of the reference made. */
static void a_long_tail(void **state) {
  enum { MOST = 20011, LEAST = 20000 };
  double *ref = mem_calloc(MOST, sizeof ref[0]), *cur = mem_calloc(MOST, sizeof cur[0]);
  CLEANUP(mem_free_p) struct sketch *a = mem_alloc(sizeof *a), *b = mem_alloc(sizeof *b);
  for (size_t n = LEAST; n <= MOST; n++) { /* of each size the shares are rounded otherwise */
    for (size_t i = 0; i < n; i++) ref[i] = pow((double)(n - i) / (double)(n + 1), -0.5);
    for (size_t i = 0; i < n; i++) cur[i] = 1.1 * ref[i];
    double part[101];
    for (size_t i = 0; i < 101; i++) part[i] = ref[i * (n - 1) / 101];
    struct sketch_grid grid;
    sketch_grid_init(&grid, part, 101);
    sketch_init(a, &grid);
    sketch_init(b, &grid);
    sketch_add_many(a, ref, n);
    sketch_add_many(b, cur, n);
    struct distance_wasserstein exact = distance_wasserstein_sorted(ref, n, cur, n), w = distance_wasserstein(a, b);
    assert_near(w.raw, exact.raw, 0.005 * exact.raw);
    assert_near(w.normed, exact.normed, 0.005 * exact.normed);
  }
  mem_free(ref);
  mem_free(cur);
}

/* Two heaps far apart, of slightly different weights: where F and G cross shortly before the empty stretch between
 * them, that stretch counts whole and no more. */
static void a_gap(void **state) {
  enum { N = 2000, HALF = N / 2 };
  double ref[N], cur[N];
  struct sketch_grid grid;
  for (size_t more = 0; more <= 40; more += 4) {
    size_t low = HALF + more / 4;
    for (size_t i = 0; i < N; i++) ref[i] = i < HALF ? -11 + 2 * (double)i / HALF : 9 + 2 * (double)(i - HALF) / HALF;
    for (size_t i = 0; i < N; i++)
      cur[i] = i < low ? -10.96 + 2 * (double)i / (double)low : 9 + 2 * (double)(i - low) / (double)(N - low);
    sketch_grid_init(&grid, ref, N);
    CLEANUP(mem_free_p) struct sketch *a = mem_alloc(sizeof *a), *b = mem_alloc(sizeof *b);
    sketch_of(a, &grid, ref, N);
    sketch_of(b, &grid, cur, N);
    double exact = distance_wasserstein_sorted(ref, N, cur, N).normed, got = distance_wasserstein(a, b).normed;
    print_message("%zu more: %.5f, sketch %.5f\n", low - HALF, exact, got);
    assert_near(got, exact, 0.05 * exact);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(oracle_cases),
                                     cmocka_unit_test(constant_reference),
                                     cmocka_unit_test(edge_cases),
                                     cmocka_unit_test(rare_groups_are_pooled),
                                     cmocka_unit_test(deviation_at_any_scale),
                                     cmocka_unit_test(too_close_for_a_sketch),
                                     cmocka_unit_test(sorting),
                                     cmocka_unit_test(a_long_tail),
                                     cmocka_unit_test(a_gap)};
  return cmocka_run_group_tests_name("distance", tests, NULL, NULL);
}
