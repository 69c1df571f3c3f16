/* Performance and latency accumulators against values of scikit-learn and numpy, and against plain computing. */
#include "drift_data.h"

#include <time.h>

#include "stats/latency.h"
#include "stats/score.h"

static uint64_t seed_of_run(void) {
  const char *given = getenv("ORCH_TEST_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
  print_message("seed %llu (ORCH_TEST_SEED repeats it)\n", (unsigned long long)seed);
  return seed;
}

static void add(struct score_classes *s, const char *predicted, const char *actual) {
  score_classes_add(s, predicted, strlen(predicted), actual, strlen(actual));
}

static void classes(void **state) {
  struct score_classes *s = mem_alloc(sizeof *s);
  assert_true(isnan(score_accuracy(s)) && isnan(score_macro_f1(s)));
  /* sklearn.metrics on y_true = a a a b b c, y_pred = a a b b c d */
  static const char *const pairs[][2] = {{"a", "a"}, {"a", "a"}, {"b", "a"}, {"b", "b"}, {"c", "b"}, {"d", "c"}};
  for (size_t i = 0; i < ARRAY_LEN(pairs); i++) add(s, pairs[i][0], pairs[i][1]);
  assert_near(score_accuracy(s), 0.5, 1e-15);
  struct score_prf a = score_class_prf(s, "a", 1), c = score_class_prf(s, "c", 1), d = score_class_prf(s, "d", 1);
  assert_near(a.precision, 1, 1e-15);
  assert_near(a.recall, 2.0 / 3, 1e-15);
  assert_near(a.f1, 0.8, 1e-15);
  assert_true(c.precision == 0 && c.recall == 0 && c.f1 == 0);
  assert_true(d.precision == 0 && isnan(d.recall) && d.f1 == 0);
  assert_near(score_macro_f1(s), (0.8 + 0.5 + 0 + 0) / 4, 1e-15);
  assert_true(isnan(score_class_prf(s, "e", 1).f1));
  /* More classes than are kept: accuracy still holds, F1 does not pretend. */
  char text[20];
  for (int i = 0; i < 400; i++) {
    snprintf(text, sizeof text, "%d", i);
    add(s, text, text);
  }
  assert_int_equal(s->n_classes, SCORE_CLASSES_MAX);
  assert_near(score_accuracy(s), 403.0 / 406, 1e-15);
  assert_true(s->beyond == 148 && isnan(score_macro_f1(s)));
  mem_free(s);
}

/* Every pair of a positive and a negative, looked at one by one. */
static double auc_by_pairs(const double *p, const bool *positive, size_t n) {
  double ahead = 0, all = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++) {
      if (!positive[i] || positive[j]) continue;
      all++;
      ahead += p[i] > p[j] ? 1 : p[i] == p[j] ? 0.5 : 0;
    }
  return ahead / all;
}

static void probabilities(void **state) {
  struct score_probs s = {0};
  assert_true(isnan(score_auc(&s).auc) && isnan(score_log_loss(&s)));
  score_probs_add(&s, 0.8, true);
  assert_true(isnan(score_auc(&s).auc)); /* one class only */
  assert_near(score_log_loss(&s), -log(0.8), 1e-15);
  /* sklearn: roc_auc_score([1,0,0,1,1], [.8,.1,.4,.35,.8]) and log_loss */
  score_probs_add(&s, 0.1, false);
  score_probs_add(&s, 0.4, false);
  score_probs_add(&s, 0.35, true);
  score_probs_add(&s, 0.8, true);
  assert_near(score_auc(&s).auc, 5.0 / 6, 1e-15);
  assert_near(score_log_loss(&s), -(log(0.8) + log(0.9) + log(0.6) + log(0.35) + log(0.8)) / 5, 1e-15);
  score_probs_add(&s, 1, false); /* clipped, not infinite */
  assert_near(score_log_loss(&s) * 6 + log(0.8) * 2 + log(0.9) + log(0.6) + log(0.35), -log(1e-15), 0.2);
  score_probs_add(&s, 1.5, true);
  score_probs_add(&s, NAN, true);
  assert_int_equal(s.refused, 2);
  score_probs_fini(&s);
}

static void auc_kept_and_binned(void **state) {
  uint64_t random = seed_of_run();
  size_t n = 1500;
  double *p = mem_calloc(n, sizeof *p);
  bool *positive = mem_calloc(n, sizeof *positive);
  struct score_probs s = {0}, many = {0};
  for (size_t i = 0; i < n; i++) {
    positive[i] = test_random(&random) % 3 == 0;
    p[i] = (double)(test_random(&random) % 700 + (positive[i] ? 300 : 0)) / 1000; /* with ties */
    score_probs_add(&s, p[i], positive[i]);
  }
  double want = auc_by_pairs(p, positive, n);
  assert_near(score_auc(&s).auc, want, 1e-12);
  assert_true(score_auc(&s).slack == 0);
  for (int round = 0; round < 20; round++)
    for (size_t i = 0; i < n; i++) score_probs_add(&many, p[i], positive[i]);
  struct score_auc binned = score_auc(&many);
  assert_non_null(many.bins);
  print_message("AUC %.6f, binned %.6f within %.6f\n", want, binned.auc, binned.slack);
  assert_true(fabs(binned.auc - want) <= binned.slack + 1e-12 && binned.slack < 0.002);
  assert_near(score_log_loss(&many), score_log_loss(&s), 1e-9);
  score_probs_fini(&s);
  score_probs_fini(&many);
  mem_free(p);
  mem_free(positive);
}

static void estimates_and_errors(void **state) {
  struct score_estimate e = {0};
  struct score_errors r = {0};
  assert_true(isnan(score_estimated_accuracy(&e)) && isnan(score_mae(&r)) && isnan(score_rmse(&r)));
  score_estimate_add(&e, 0.9, true);
  score_estimate_add(&e, 0.2, false);
  score_estimate_add(&e, 0.6, true);
  score_estimate_add(&e, -0.1, true);
  assert_near(score_estimated_accuracy(&e), (0.9 + 0.8 + 0.6) / 3, 1e-15);
  assert_int_equal(e.refused, 1);
  score_errors_add(&r, 3, 1);
  score_errors_add(&r, -1, 0);
  score_errors_add(&r, INFINITY, 0);
  assert_near(score_mae(&r), 1.5, 1e-15);
  assert_near(score_rmse(&r), sqrt(2.5), 1e-15);
  assert_int_equal(r.refused, 1);
}

/* ---- latencies ---- */

static void latencies(void **state) {
  uint64_t random = seed_of_run();
  enum { N = 20000 };
  double *values = mem_calloc(N, sizeof *values);
  struct latency *whole = mem_alloc(sizeof *whole), *parts = mem_calloc(4, sizeof *parts);
  assert_true(isnan(latency_quantile(whole, 0.5)));
  for (size_t i = 0; i < N; i++) {
    values[i] = exp((double)(test_random(&random) % 1000000) / 1e6 * 14 - 3); /* 0.05 ms to a minute */
    latency_add(whole, values[i]);
    latency_add(&parts[test_random(&random) % 4], values[i]);
  }
  qsort(values, N, sizeof *values, drift_compare);
  double worst = 0;
  for (int i = 1; i < 1000; i++) {
    double level = i / 1000.0, want = values[(size_t)ceil(level * N) - 1];
    worst = fmax(worst, fabs(latency_quantile(whole, level) / want - 1));
  }
  print_message("worst quantile off by %.3f %%\n", 100 * worst);
  assert_true(worst <= 1.0 / 128);
  assert_true(latency_quantile(whole, 0) == values[0] && latency_quantile(whole, 1) == values[N - 1]);
  assert_near((double)latency_above(whole, values[N * 9 / 10]), N / 10.0, N * 0.002);
  /* Parts merged in another order: the same bytes. */
  for (int i = 2; i >= 0; i--) latency_merge(&parts[3], &parts[i]);
  struct strbuf a, b;
  strbuf_init(&a, LATENCY_ENCODED_MAX);
  strbuf_init(&b, LATENCY_ENCODED_MAX);
  latency_encode(whole, &a);
  latency_encode(&parts[3], &b);
  assert_int_equal(a.len, b.len);
  assert_memory_equal(a.data, b.data, a.len);
  assert_true(latency_decode(&parts[0], a.data, a.len, NULL));
  assert_memory_equal(&parts[0], whole, sizeof *whole);
  for (size_t cut = 0; cut < a.len; cut++) assert_false(latency_decode(&parts[0], a.data, cut, NULL));
  strbuf_fini(&a);
  strbuf_fini(&b);
  mem_free(values);
  mem_free(whole);
  mem_free(parts);
}

static void odd_latencies(void **state) {
  struct latency *l = mem_alloc(sizeof *l);
  latency_add(l, -1);
  latency_add(l, NAN);
  latency_add(l, INFINITY);
  assert_int_equal(l->refused, 3);
  assert_int_equal(l->n, 0);
  latency_add(l, 0);
  latency_add(l, 1e-9);
  latency_add(l, 1e12);
  assert_int_equal(l->under, 2);
  assert_int_equal(l->over, 1);
  assert_true(latency_quantile(l, 0.5) == 0 && latency_quantile(l, 1) == 1e12);
  assert_int_equal(latency_above(l, 5), 1);
  assert_int_equal(latency_above(l, 1e12), 0);
  assert_int_equal(latency_above(l, -1), 3);
  mem_free(l);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(classes),
                                     cmocka_unit_test(probabilities),
                                     cmocka_unit_test(auc_kept_and_binned),
                                     cmocka_unit_test(estimates_and_errors),
                                     cmocka_unit_test(latencies),
                                     cmocka_unit_test(odd_latencies)};
  return cmocka_run_group_tests_name("score", tests, NULL, NULL);
}
