/* The loops that this processor gets against those for any: the same offsets, squares, cells and range. */
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "drift_data.h"
#include "stats/distance.h"
/* The loops are nobody else's business; the library's copy of this file is not linked then. */
#include "stats/sketch_many.c"

static uint64_t random_state;

static double random_value(const struct sketch_grid *grid) {
  uint64_t pick = test_random(&random_state);
  double share = (double)(pick >> 11) * 0x1p-53;
  switch (pick % 8) {
  case 0:
    return grid->edges[(pick >> 8) % (grid->n_edges ? grid->n_edges : 1)];
  case 1: /* as far out as is allowed */
    return grid->origin + (pick & 256 ? 1 : -1) * nextafter(grid->reach, 0) * (pick & 512 ? 1 : share);
  case 2:
    return pick & 256 ? 0.0 : -0.0;
  default:
    return grid->low + share * (grid->high - grid->low);
  }
}

static void prepare_is_the_same(void **state) {
  random_state = (uint64_t)time(NULL);
  const char *given = getenv("ORCH_TEST_SEED");
  if (given) random_state = strtoull(given, NULL, 10);
  print_message("ORCH_TEST_SEED=%" PRIu64 "\n", random_state);
  static struct block a, b;
  for (int round = 0; round < 2000; round++) {
    double reference[64], values[BLOCK];
    size_t n = 1 + test_random(&random_state) % 64, some = 4 * (1 + test_random(&random_state) % (BLOCK / 4));
    double factor = ldexp(1, (int)(test_random(&random_state) % 200) - 100);
    for (size_t i = 0; i < n; i++)
      reference[i] = factor * ((double)(test_random(&random_state) % 2000) - (double)(round % 3) * 1000);
    distance_sort(reference, n);
    struct sketch_grid grid;
    struct sketch_index index;
    sketch_grid_init(&grid, reference, n);
    sketch_index_init(&index, &grid);
    for (size_t i = 0; i < some; i++) {
      values[i] = random_value(&grid);
      if (!(fabs(values[i] - grid.origin) < grid.reach)) values[i] = grid.origin;
    }
    a.squares = b.squares = 0;
    a.min = a.max = b.min = b.max = values[0];
    prepare_anywhere(&a, &grid, &index, values, some);
    prepare(&b, &grid, &index, values, some);
    assert_memory_equal(a.whole, b.whole, some * sizeof a.whole[0]);
    assert_memory_equal(a.cells, b.cells, some * sizeof a.cells[0]);
    assert_true(a.squares == b.squares);
    if (a.min != b.min || a.max != b.max) fail_msg("range %g..%g, %g..%g", a.min, a.max, b.min, b.max);
    for (size_t i = 0; i < some; i++) assert_in_range(a.cells[i], 0, SKETCH_INDEX_CELLS - 1);
    assert_true(all_within_anywhere(values, some, grid.origin, grid.reach));
    assert_true(all_within(values, some, grid.origin, grid.reach));
    size_t where = test_random(&random_state) % some;
    values[where] = round % 2 ? NAN : grid.origin + 1.5 * grid.reach;
    assert_false(all_within_anywhere(values, some, grid.origin, grid.reach));
    assert_false(all_within(values, some, grid.origin, grid.reach));
  }
}

/* Block by block or value by value: the same bytes, also with values that a block cannot take. */
static void many_are_as_single_ones(void **state) {
  for (int round = 0; round < 200; round++) {
    double reference[500], values[3000];
    size_t n = test_random(&random_state) % 500, some = test_random(&random_state) % 3000;
    for (size_t i = 0; i < n; i++) reference[i] = (double)(test_random(&random_state) % (round % 5 ? 100000 : 7)) / 8;
    distance_sort(reference, n);
    struct sketch_grid grid;
    struct sketch_index index;
    struct sketch single, many, indexed;
    sketch_grid_init(&grid, reference, n);
    sketch_index_init(&index, &grid);
    sketch_init(&single, &grid);
    many = indexed = single;
    for (size_t i = 0; i < some; i++) {
      uint64_t pick = test_random(&random_state);
      values[i] = n ? random_value(&grid) : (double)(pick % 100);
      if (pick % 3000 == 0) values[i] = pick & 65536 ? NAN : INFINITY;
      if (pick % 2000 == 1) values[i] = 1e300;
      sketch_add(&single, values[i]);
    }
    sketch_add_many(&many, values, some);
    sketch_add_indexed(&indexed, &index, values, some);
    struct strbuf a, b, c;
    strbuf_init(&a, SKETCH_ENCODED_MAX);
    strbuf_init(&b, SKETCH_ENCODED_MAX);
    strbuf_init(&c, SKETCH_ENCODED_MAX);
    sketch_encode(&single, &a);
    sketch_encode(&many, &b);
    sketch_encode(&indexed, &c);
    assert_int_equal(a.len, b.len);
    assert_int_equal(a.len, c.len);
    assert_memory_equal(strbuf_text(&a), strbuf_text(&b), a.len);
    assert_memory_equal(strbuf_text(&a), strbuf_text(&c), a.len);
    strbuf_fini(&a);
    strbuf_fini(&b);
    strbuf_fini(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(prepare_is_the_same), cmocka_unit_test(many_are_as_single_ones)};
  return cmocka_run_group_tests_name("sketch_many", tests, NULL, NULL);
}
