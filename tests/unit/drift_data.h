/* Reading the reference columns below tests/data/drift for the tests of the statistics. */
#ifndef ORCH_TEST_DRIFT_DATA_H
#define ORCH_TEST_DRIFT_DATA_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "stats/csv.h"
#include "stats/number.h"
#include "stats/sketch.h"

struct side {
  struct cell cells[8192];
  size_t n;
  double sorted[8192]; /* finite ones only */
  size_t n_sorted;
};
struct sides {
  struct side ref, cur;
};

static inline int drift_compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static inline void side_sort(struct side *side) {
  side->n_sorted = 0;
  for (size_t i = 0; i < side->n; i++)
    if (side->cells[i].kind == CELL_NUMBER && isfinite(side->cells[i].number))
      side->sorted[side->n_sorted++] = side->cells[i].number;
  qsort(side->sorted, side->n_sorted, sizeof(double), drift_compare);
}

static inline bool sides_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct sides *sides = arg;
  if (line == 1) return true;
  struct side *side = strcmp(fields[0].text, "ref") == 0 ? &sides->ref : &sides->cur;
  assert_int_equal(n, 2);
  assert_in_range(side->n, 0, ARRAY_LEN(side->cells) - 1);
  side->cells[side->n++] = cell_from_text(fields[1].text, fields[1].len);
  return true;
}

static inline void feed_file(const char *path, struct csv_reader *reader) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  char chunk[1009]; /* not a divisor of anything: records break anywhere */
  struct err err = {0};
  for (size_t got; (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
    if (!csv_reader_feed(reader, chunk, got, &err)) fail_msg("%s", err.text);
  assert_true(csv_reader_finish(reader, &err));
  fclose(file);
}

/* Both sides of an oracle column; free with mem_free(). */
static inline struct sides *sides_load(const char *relative) {
  struct sides *sides = mem_alloc(sizeof *sides);
  char path[512];
  snprintf(path, sizeof path, TEST_DATA "/drift/%s", relative);
  struct csv_reader *reader = csv_reader_new(sides_record, sides);
  feed_file(path, reader);
  csv_reader_free(reader);
  side_sort(&sides->ref);
  side_sort(&sides->cur);
  return sides;
}

static inline void side_sketch(const struct side *side, const struct sketch_grid *grid, struct sketch *sketch) {
  sketch_init(sketch, grid);
  for (size_t i = 0; i < side->n; i++) sketch_add_cell(sketch, side->cells[i]);
}

static inline json_t *oracle_load(void) {
  json_error_t error;
  json_t *root = json_load_file(TEST_DATA "/drift/cases.json", 0, &error);
  assert_non_null(root);
  return root;
}

static inline double oracle_number(const json_t *expected, const char *group, const char *key) {
  const json_t *value = json_object_get(group ? json_object_get(expected, group) : expected, key);
  assert_true(json_is_number(value));
  return json_number_value(value);
}

#define assert_near(got, want, tolerance)                                                                              \
  do {                                                                                                                 \
    double got_ = (got), want_ = (want);                                                                               \
    if (!(fabs(got_ - want_) <= (tolerance)))                                                                          \
      fail_msg("%s = %.12g, expected %.12g (tolerance %.3g)", #got, got_, want_, (double)(tolerance));                 \
  } while (0)

/* splitmix64: small, seeded, the seed is printed by the test that uses it. */
static inline uint64_t test_random(uint64_t *state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

#endif
