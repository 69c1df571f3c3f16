/* Comparing files: the sampled way agrees with the exact one, whatever the order, the width or the quoting of rows. */
#include <time.h>
#include <unistd.h>

#include "drift_data.h"
#include "trigger/drift_files.h"

static char folder[] = "/tmp/orch-drift-XXXXXX";
static const struct drift_files_options whole = {.whole_numbers_max = DRIFT_WHOLE_NUMBERS};

static uint64_t seed_of_run(void) {
  const char *given = getenv("ORCH_TEST_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
  print_message("seed %llu (ORCH_TEST_SEED repeats it)\n", (unsigned long long)seed);
  return seed;
}

static const char *path_of(const char *name) {
  static char paths[4][128];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

enum layout { PLAIN, SORTED, UNEVEN, QUOTED };

static double uniform(uint64_t *random) {
  return (double)(test_random(random) >> 11) / 0x1p53;
}

/* Three columns: a bell, a steep one with missing cells, and towns. SORTED by the first; UNEVEN has long rows in its
 * second half, where values are larger too; QUOTED has line breaks inside quotes. */
static void write_file(const char *name, size_t rows, double shift, enum layout layout, uint64_t seed) {
  static const char *const towns[] = {"Austin", "Dallas", "Houston", "El Paso"};
  double *bell = mem_calloc(rows, sizeof bell[0]);
  uint64_t random = seed;
  for (size_t i = 0; i < rows; i++)
    bell[i] = uniform(&random) + uniform(&random) + uniform(&random) + uniform(&random) + shift +
              (layout == UNEVEN && i >= rows / 2 ? 1 : 0);
  if (layout == SORTED) qsort(bell, rows, sizeof bell[0], drift_compare);
  FILE *file = fopen(path_of(name), "wb");
  assert_non_null(file);
  fputs("bell,steep,town\n", file);
  for (size_t i = 0; i < rows; i++) {
    double u = uniform(&random), steep = exp(4 * u + shift);
    const char *town = towns[test_random(&random) % (shift > 0 ? 3 : 4)];
    fprintf(file, "%.6f,", bell[i]);
    if (test_random(&random) % 50) fprintf(file, layout == UNEVEN && i >= rows / 2 ? "%.17g" : "%.6g", steep);
    if (layout == QUOTED)
      fprintf(file, i % 1000 == 7 ? ",\"%s\"\r\n" : ",\"%s\"\n", town);
    else if (layout == UNEVEN && i >= rows / 2)
      fprintf(file, ",%s of the very long and winding name\n", town);
    else
      fprintf(file, i + 1 < rows ? ",%s\n" : ",%s", town); /* the last line is open */
  }
  fclose(file);
  mem_free(bell);
}

static struct drift_files *compare(const struct drift_files_options *options) {
  struct err err = {0};
  struct drift_files *files = drift_files_compare(path_of("ref.csv"), path_of("cur.csv"), options, &err);
  if (!files) fail_msg("%s", err.text);
  assert_int_equal(files->n_columns, 3);
  assert_false(files->columns[0].said.d.categorical);
  assert_false(files->columns[1].said.d.categorical);
  assert_true(files->columns[2].said.d.categorical);
  return files;
}

static void near_the_exact(const struct drift_files *sampled, const struct drift_files *exact) {
  assert_true(exact->whole);
  assert_false(sampled->whole);
  assert_int_equal(sampled->rows_ref, exact->rows_ref);
  assert_int_equal(sampled->rows_cur, exact->rows_cur);
  for (size_t i = 0; i < 2; i++) {
    const struct distances *got = &sampled->columns[i].said.d, *want = &exact->columns[i].said.d;
    assert_int_equal(got->n_ref, want->n_ref);
    assert_int_equal(got->n_now, want->n_now);
    assert_int_equal(got->rows_ref, want->rows_ref);
    assert_near(got->ks.statistic, want->ks.statistic, 0.004);
    assert_near(got->psi, want->psi, (i == 0 ? 0.03 : 0.05) * want->psi); /* the steep one ends abruptly */
    assert_near(got->wasserstein.normed, want->wasserstein.normed, 0.005 * want->wasserstein.normed);
    print_message("%s: KS %.5f (%.5f), PSI %.5f (%.5f), Wasserstein %.5f (%.5f)\n", sampled->columns[i].name,
                  got->ks.statistic, want->ks.statistic, got->psi, want->psi, got->wasserstein.normed,
                  want->wasserstein.normed);
  }
  const struct distances *got = &sampled->columns[2].said.d, *want = &exact->columns[2].said.d;
  assert_true(got->psi == want->psi && got->linf == want->linf && got->chi2.statistic == want->chi2.statistic);
}

static void sampling_agrees(enum layout layout) {
  uint64_t seed = seed_of_run();
  struct drift_files_options sampled = {.whole_numbers_max = 1000, .n_threads = 2};
  write_file("ref.csv", 300000, 0, layout, seed);
  write_file("cur.csv", 100000, 0.2, layout, seed + 1);
  struct drift_files *a = compare(&whole), *b = compare(&sampled);
  near_the_exact(b, a);
  /* It is a sample, not all of the file: otherwise this would test nothing. */
  assert_in_range(b->sampled_rows, DRIFT_SAMPLE_ROWS / 3, DRIFT_SAMPLE_ROWS * 2);
  drift_files_free(a);
  drift_files_free(b);
}

static void rows_in_any_order(void **state) {
  sampling_agrees(PLAIN);
}

static void sorted_rows(void **state) {
  sampling_agrees(SORTED);
}

/* Rows of one half are three times as long: by bytes they would be three times as likely to be drawn. */
static void long_and_short_rows(void **state) {
  sampling_agrees(UNEVEN);
}

static void quoted_rows(void **state) {
  sampling_agrees(QUOTED);
}

/* Every row belongs to exactly one range: each number 0 .. n-1 is counted once, wherever the borders fall. */
static void no_row_twice_and_none_lost(void **state) {
  uint64_t random = seed_of_run();
  for (unsigned round = 0; round < 6; round++) {
    size_t rows = 1 + test_random(&random) % 200000;
    FILE *file = fopen(path_of("ref.csv"), "wb");
    fputs("n,filler\r\n", file);
    for (size_t i = 0; i < rows; i++) {
      fprintf(file, "%zu,", i);
      if (test_random(&random) % 5000 == 0) fprintf(file, "%0*d", (int)(test_random(&random) % 60000), 1);
      fputs(test_random(&random) % 3 ? "\n" : "\r\n", file);
      if (test_random(&random) % 100 == 0) fputs("\n\r\n", file);
    }
    fclose(file);
    struct drift_files_options options = {.whole_numbers_max = 0, .n_threads = 1 + round, .columns = "n"};
    struct err err = {0};
    struct drift_files *files = drift_files_compare(path_of("ref.csv"), path_of("ref.csv"), &options, &err);
    if (!files) fail_msg("%s", err.text);
    const struct sketch *n = &files->columns[0].ref.sketch;
    assert_int_equal(files->rows_ref, rows);
    assert_int_equal(n->finite, rows);
    assert_true(n->min == 0 && n->max == (double)rows - 1);
    assert_near(sketch_mean(n), ((double)rows - 1) / 2, 1e-9 * (double)rows);
    double deviation = sqrt(((double)rows * (double)rows - 1) / 12);
    assert_near(sketch_deviation(n), deviation, 1e-9 * deviation);
    assert_true(files->columns[0].said.d.psi == 0);
    drift_files_free(files);
  }
}

/* Something odd far behind the front: the exact reader says what and where. */
static void what_is_wrong_and_where(void **state) {
  static const struct {
    const char *line, *text;
  } cases[] = {{"1,2\n", "line 150002: 2 fields, but the header names 3 columns"},
               {"1,2,3,4\n", "line 150002: 4 fields, but the header names 3 columns"},
               {"1,2\"x,3\n", "line 150002: a quote inside a field"},
               {"1,\"2\"x,3\n", "line 150002: text after a closing quote"}};
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    FILE *file = fopen(path_of("ref.csv"), "wb");
    fputs("a,b,c\n", file);
    for (int row = 0; row < 300000; row++) fputs(row == 150000 ? cases[i].line : "1,2,3\n", file);
    fclose(file);
    for (size_t most = 0; most <= DRIFT_WHOLE_NUMBERS; most += DRIFT_WHOLE_NUMBERS) {
      struct drift_files_options options = {.whole_numbers_max = most};
      struct err err = {0};
      assert_null(drift_files_compare(path_of("ref.csv"), path_of("ref.csv"), &options, &err));
      assert_int_equal(err.code, ERR_INVALID);
      assert_non_null(strstr(err.text, "ref.csv: "));
      if (!strstr(err.text, cases[i].text)) fail_msg("%s: %s", cases[i].text, err.text);
    }
  }
}

/* A column of texts with far more values than a dictionary keeps, and more categorical columns than one pass builds. */
static void many_texts(void **state) {
  uint64_t random = seed_of_run();
  for (int side = 0; side < 2; side++) {
    FILE *file = fopen(path_of(side ? "cur.csv" : "ref.csv"), "wb");
    fputs("id", file);
    for (int c = 0; c < 70; c++) fprintf(file, ",c%d", c);
    for (int row = 0; row < 3000; row++) {
      fprintf(file, "\nuser-%llu", (unsigned long long)test_random(&random));
      for (int c = 0; c < 70; c++) fprintf(file, ",%c", (char)('a' + test_random(&random) % (side && c == 69 ? 2 : 4)));
    }
    fclose(file);
  }
  struct err err = {0};
  struct drift_files *files = drift_files_compare(path_of("ref.csv"), path_of("cur.csv"), &whole, &err);
  if (!files) fail_msg("%s", err.text);
  assert_int_equal(files->n_columns, 71);
  for (size_t i = 0; i < files->n_columns; i++) {
    assert_true(files->columns[i].said.d.categorical);
    assert_int_equal(files->columns[i].said.d.n_ref, 3000);
    assert_int_equal(files->columns[i].said.d.n_now, 3000);
  }
  assert_true(files->columns[1].said.d.tvd < 0.1);
  assert_near(files->columns[70].said.d.tvd, 0.5, 0.1);
  drift_files_free(files);
}

static int make_folder(void **state) {
  return mkdtemp(folder) ? 0 : 1;
}

static int drop_folder(void **state) {
  unlink(path_of("ref.csv"));
  unlink(path_of("cur.csv"));
  return rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(rows_in_any_order),
                                     cmocka_unit_test(sorted_rows),
                                     cmocka_unit_test(long_and_short_rows),
                                     cmocka_unit_test(quoted_rows),
                                     cmocka_unit_test(no_row_twice_and_none_lost),
                                     cmocka_unit_test(what_is_wrong_and_where),
                                     cmocka_unit_test(many_texts)};
  return cmocka_run_group_tests_name("drift_files", tests, make_folder, drop_folder);
}
