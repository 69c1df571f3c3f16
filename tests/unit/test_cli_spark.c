/* cli/cli_spark: levels, scales and glyphs, also of what is missing, equal or infinite. */
#include "cm.h"

#include <float.h>
#include <math.h>

#include "cli/cli_spark.h"

static void test_levels(void **state) {
  const double values[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  struct spark_scale scale = spark_scale(values, 9, NAN);
  static const int wanted[] = {0, 1, 2, 3, 4, 5, 6, 7, 7};
  for (int i = 0; i < 9; i++) assert_int_equal(spark_level(&scale, values[i]), wanted[i]);
  assert_int_equal(spark_level(&scale, -5), 0);
  assert_int_equal(spark_level(&scale, 50), 7);
  assert_int_equal(spark_level(&scale, INFINITY), 7);
  assert_int_equal(spark_level(&scale, -INFINITY), 0);
}

/* The threshold is inside the scale, so that values far from it look far from it. */
static void test_threshold(void **state) {
  const double values[] = {0.01, 0.02, NAN, 0.015, INFINITY};
  struct spark_scale scale = spark_scale(values, 5, 0.2);
  assert_true(scale.low == 0.01 && scale.high == 0.2);
  assert_int_equal(spark_level(&scale, 0.02), 0);
  scale = spark_scale(values, 5, NAN);
  assert_int_equal(spark_level(&scale, 0.02), 7);
}

static void test_flat_and_empty(void **state) {
  const double same[] = {3, 3, 3}, none[] = {NAN, NAN}, wide[] = {-DBL_MAX, DBL_MAX};
  struct spark_scale scale = spark_scale(same, 3, NAN);
  assert_int_equal(spark_level(&scale, 3), 4);
  scale = spark_scale(none, 2, NAN);
  assert_int_equal(spark_level(&scale, 3), 4);
  scale = spark_scale(NULL, 0, NAN);
  assert_int_equal(spark_level(&scale, 3), 4);
  scale = spark_scale(wide, 2, NAN);
  assert_int_equal(spark_level(&scale, -DBL_MAX), 0);
  assert_int_equal(spark_level(&scale, 0), 4);
  assert_int_equal(spark_level(&scale, DBL_MAX), 7);
}

static void test_glyphs(void **state) {
  const struct spark_scale scale = {0, 1};
  char out[SPARK_GLYPH_MAX];
  static const char *const blocks[] = {"\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
  for (int i = 0; i < SPARK_LEVELS; i++) {
    spark_glyph(&scale, (i + 0.5) / SPARK_LEVELS, true, out);
    assert_string_equal(out, blocks[i]);
  }
  spark_glyph(&scale, 0, false, out);
  assert_string_equal(out, "_");
  spark_glyph(&scale, 1, false, out);
  assert_string_equal(out, "#");
  spark_glyph(&scale, NAN, true, out);
  assert_string_equal(out, "\u00b7");
  spark_glyph(&scale, NAN, false, out);
  assert_string_equal(out, "?");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels), cmocka_unit_test(test_threshold),
                                     cmocka_unit_test(test_flat_and_empty), cmocka_unit_test(test_glyphs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
