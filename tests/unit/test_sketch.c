/* Sketches: the grid, counting, merging in any order, the binary form against hostile bytes. */
#include "drift_data.h"

#include <time.h>

#include "base/digest.h"
#include "stats/bytes.h"
#include "stats/measure.h"

static uint64_t seed_of_run(void) {
  const char *given = getenv("ORCH_TEST_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
  print_message("seed %llu (ORCH_TEST_SEED repeats it)\n", (unsigned long long)seed);
  return seed;
}

static struct cell random_cell(uint64_t *state) {
  uint64_t roll = test_random(state) % 100;
  double value = (double)(int64_t)(test_random(state) % 2000001) / 1000 - 1000;
  if (roll < 4) return cell_null();
  if (roll < 6) return cell_number(NAN);
  if (roll < 7) return cell_number(INFINITY);
  if (roll < 8) return cell_number(-INFINITY);
  if (roll < 9) return cell_bad();
  if (roll < 11) return cell_number(ldexp(value, (int)(test_random(state) % 400))); /* far out, at every size */
  if (roll < 30) return cell_number((double)(int64_t)(value / 100));
  return cell_number(value);
}

#define VALUES 3000
#define PARTS 16

static struct strbuf encode(const struct sketch *s) {
  struct strbuf out;
  strbuf_init(&out, SKETCH_ENCODED_MAX);
  sketch_encode(s, &out);
  assert_false(out.failed);
  return out;
}

/* The same sketch: the same bytes, and they are read back. */
static void sketches_equal(const struct sketch *got, const struct sketch *want) {
  struct strbuf a = encode(got), b = encode(want);
  struct sketch back;
  struct err err = {0};
  size_t used;
  if (!sketch_decode(&back, a.data, a.len, &used, &err)) fail_msg("%s", err.text);
  assert_int_equal(a.len, b.len);
  assert_memory_equal(a.data, b.data, a.len);
  strbuf_fini(&a);
  strbuf_fini(&b);
}

/* Leaves the far values out of the reference, so that they lie far out of its range. */
static void side_keep_near(struct side *side) {
  size_t n = 0;
  for (size_t i = 0; i < side->n_sorted; i++)
    if (fabs(side->sorted[i]) <= 1000) side->sorted[n++] = side->sorted[i];
  side->n_sorted = n;
}

/* Random splits, merged in random order as a random tree, are the sketch of the whole. */
static void merging_in_any_order(void **state) {
  uint64_t random = seed_of_run();
  struct cell *cells = mem_calloc(VALUES, sizeof *cells);
  struct sketch *parts = mem_calloc(PARTS, sizeof *parts), *whole = mem_alloc(sizeof *whole);
  struct side *side = mem_alloc(sizeof *side);
  for (int round = 0; round < 30; round++) {
    for (size_t i = 0; i < VALUES; i++) cells[i] = random_cell(&random);
    side->n = VALUES;
    memcpy(side->cells, cells, VALUES * sizeof *cells);
    side_sort(side);
    if (round % 3) side_keep_near(side);
    struct sketch_grid grid;
    sketch_grid_init(&grid, side->sorted, side->n_sorted);
    side_sketch(side, &grid, whole);
    size_t left = 1 + test_random(&random) % PARTS;
    for (size_t i = 0; i < left; i++) sketch_init(&parts[i], &grid);
    for (size_t i = 0; i < VALUES; i++) sketch_add_cell(&parts[test_random(&random) % left], cells[i]);
    while (left > 1) {
      size_t a = test_random(&random) % left, b = test_random(&random) % left;
      if (a == b) continue;
      assert_true(sketch_merge(&parts[a], &parts[b], NULL));
      parts[b] = parts[--left];
    }
    assert_int_equal(parts[0].n, VALUES);
    assert_true(round % 3 == 0 || whole->far.level > 1);
    sketches_equal(&parts[0], whole);
  }
  mem_free(cells);
  mem_free(parts);
  mem_free(whole);
  mem_free(side);
}

/* The fast way counts what the plain way counts. */
static void many_at_once(void **state) {
  uint64_t random = seed_of_run();
  struct sketch *plain = mem_alloc(sizeof *plain), *fast = mem_alloc(sizeof *fast);
  struct side *side = mem_alloc(sizeof *side);
  double *values = mem_calloc(VALUES, sizeof *values);
  static const size_t edges_of[] = {0, 1, 2, 5, 40, VALUES};
  for (size_t round = 0; round < 60; round++) {
    struct sketch_grid grid;
    size_t n = test_random(&random) % VALUES;
    side->n = edges_of[round % ARRAY_LEN(edges_of)];
    for (size_t i = 0; i < VALUES; i++) {
      struct cell cell = random_cell(&random);
      side->cells[i] = cell;
      values[i] = cell.kind == CELL_NUMBER ? cell.number : -0.0;
    }
    side_sort(side);
    if (round % 3) side_keep_near(side);
    sketch_grid_init(&grid, side->sorted, side->n_sorted);
    sketch_init(plain, &grid);
    sketch_init(fast, &grid);
    for (size_t i = 0; i < n; i++) sketch_add(plain, values[i]);
    for (size_t at = 0, step; at < n; at += step) {
      step = 1 + test_random(&random) % 700;
      if (step > n - at) step = n - at;
      sketch_add_many(fast, values + at, step);
    }
    assert_int_equal(fast->n, n);
    sketches_equal(fast, plain);
  }
  mem_free(plain);
  mem_free(fast);
  mem_free(side);
  mem_free(values);
}

/* The index only changes how bins are found: everything is the same to the last bit, on grids of every kind. */
static void indexed_is_the_same(void **state) {
  uint64_t random = seed_of_run();
  struct sketch *plain = mem_alloc(sizeof *plain), *fast = mem_alloc(sizeof *fast);
  double *values = mem_calloc(VALUES, sizeof *values), *sorted = mem_calloc(VALUES, sizeof *sorted);
  static const size_t sizes[] = {0, 1, 2, 3, 40, VALUES};
  for (size_t round = 0; round < 120; round++) {
    size_t n = sizes[round % ARRAY_LEN(sizes)], n_sorted = 0;
    int widest = (int)(test_random(&random) % 3) * 149; /* exponents: 0, or up to 10^+-149 or beyond the bound */
    for (size_t i = 0; i < VALUES; i++) {
      struct cell cell = random_cell(&random);
      int exponent = widest ? (int)(test_random(&random) % (2 * (unsigned)widest)) - widest : 0;
      values[i] = cell.kind == CELL_NUMBER ? cell.number * pow(10, exponent) : -0.0;
      if (i < n && fabs(values[i]) <= SKETCH_ABS_MAX) sorted[n_sorted++] = values[i];
    }
    qsort(sorted, n_sorted, sizeof *sorted, drift_compare);
    struct sketch_grid grid;
    struct sketch_index index;
    sketch_grid_init(&grid, sorted, n_sorted);
    sketch_index_init(&index, &grid);
    sketch_init(plain, &grid);
    sketch_init(fast, &grid);
    sketch_add_many(plain, values, VALUES);
    sketch_add_indexed(fast, &index, values, VALUES);
    sketch_add_many(plain, grid.edges, grid.n_edges); /* values on the edges themselves */
    sketch_add_indexed(fast, &index, grid.edges, grid.n_edges);
    sketches_equal(fast, plain);
  }
  mem_free(plain);
  mem_free(fast);
  mem_free(values);
  mem_free(sorted);
}

static void merge_refuses(void **state) {
  double a[3] = {1, 2, 3}, b[3] = {1, 2, 4};
  struct sketch_grid ga, gb;
  sketch_grid_init(&ga, a, 3);
  sketch_grid_init(&gb, b, 3);
  struct sketch x, y;
  struct err err = {0};
  sketch_init(&x, &ga);
  sketch_init(&y, &gb);
  assert_false(sketch_merge(&x, &y, &err));
  assert_int_equal(err.code, ERR_INVALID);
  sketch_init(&y, &ga);
  x.n = x.null = UINT64_MAX;
  sketch_add(&y, 1);
  assert_false(sketch_merge(&x, &y, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  assert_int_equal(x.finite, 0);
}

/* numpy.quantile([1, 2, 4, 8], …) */
static void quantiles_as_numpy(void **state) {
  const double values[] = {1, 2, 4, 8};
  assert_true(sketch_quantile_of_sorted(values, 4, 0) == 1);
  assert_near(sketch_quantile_of_sorted(values, 4, 0.1), 1.3, 1e-15);
  assert_near(sketch_quantile_of_sorted(values, 4, 0.5), 3, 1e-15);
  assert_near(sketch_quantile_of_sorted(values, 4, 0.9), 6.8, 1e-14);
  assert_true(sketch_quantile_of_sorted(values, 4, 1) == 8 && sketch_quantile_of_sorted(values, 1, 0.3) == 1);
}

static void bins_are_half_open(void **state) {
  double values[1281];
  for (int i = 0; i <= 1280; i++) values[i] = i;
  struct sketch_grid grid;
  sketch_grid_init(&grid, values, 1281);
  assert_int_equal(grid.n_edges, SKETCH_EDGES_MAX);
  assert_int_equal(grid.n_cuts, SKETCH_CUTS_MAX);
  for (uint32_t i = 0; i < grid.n_edges; i++) {
    assert_int_equal(sketch_bin(&grid, grid.edges[i]), i); /* (e[i-1], e[i]] */
    assert_int_equal(sketch_bin(&grid, nextafter(grid.edges[i], INFINITY)), i + 1);
  }
  for (uint32_t i = 0; i < grid.n_cuts; i++) assert_near(grid.edges[grid.cuts[i]], 128 * (i + 1), 1e-9);
  assert_int_equal(sketch_bin(&grid, -1e100), 0);
  assert_int_equal(sketch_bin(&grid, 1e100), grid.n_edges);
}

static void odd_values(void **state) {
  struct sketch_grid grid;
  struct sketch s;
  sketch_grid_init(&grid, NULL, 0);
  assert_int_equal(grid.n_edges, 0);
  sketch_init(&s, &grid);
  assert_true(isnan(sketch_quantile(&s, 0.5)) && sketch_deviation(&s) == 0);
  sketch_add(&s, 1e200);
  sketch_add(&s, -1e200);
  sketch_add(&s, 5);
  assert_int_equal(s.pos_inf, 1);
  assert_int_equal(s.neg_inf, 1);
  assert_int_equal(s.count[0], 1);
  assert_int_equal(sketch_missing(&s), 2);
  double zeros[2] = {-0.0, 0.0};
  sketch_grid_init(&grid, zeros, 2);
  assert_true(grid.constant && !signbit(grid.edges[1]));
  assert_near(sketch_quantile(&s, 0.5), 5, 0);
}

static void sample(struct sketch *s) {
  CLEANUP(mem_free_p) struct sides *sides = sides_load("columns/tx_inventory_missing.csv");
  struct sketch_grid grid;
  sketch_grid_init(&grid, sides->ref.sorted, sides->ref.n_sorted);
  side_sketch(&sides->cur, &grid, s);
}

/* Version 1 as it was written: doubles for moments and sums, eight bytes for every count. */
static void encode_doubles(const struct sketch *s, struct strbuf *out) {
  bytes_put(out, 1, 1);
  bytes_put(out, 1, 1);
  bytes_put(out, s->grid.n_edges, 2);
  bytes_put(out, s->grid.n_cuts, 1);
  bytes_put(out, s->grid.constant, 1);
  bytes_put(out, 0, 2);
  for (uint32_t i = 0; i < s->grid.n_edges; i++) bytes_put_double(out, s->grid.edges[i]);
  strbuf_add(out, s->grid.cuts, s->grid.n_cuts);
  const uint64_t counts[] = {s->n, s->null, s->nan, s->pos_inf, s->neg_inf, s->bad};
  for (size_t i = 0; i < ARRAY_LEN(counts); i++) bytes_put(out, counts[i], 8);
  double deviation = sketch_deviation(s);
  const double moments[] = {sketch_mean(s), deviation * deviation * (double)s->finite, s->min, s->max};
  for (size_t i = 0; i < ARRAY_LEN(moments); i++) bytes_put_double(out, moments[i]);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++) bytes_put(out, s->count[i], 8);
  for (uint32_t i = 0; i <= s->grid.n_edges; i++)
    bytes_put_double(out, s->count[i] ? sketch_centroid(s, i) * (double)s->count[i] : 0);
}

static void version_1_is_read(void **state) {
  static const char *const files[] = {"columns/tx_inventory_missing.csv", "columns/chicago_temp.csv",
                                      "columns/tx_listings_inf.csv"};
  for (size_t f = 0; f < ARRAY_LEN(files); f++) {
    CLEANUP(mem_free_p) struct sides *sides = sides_load(files[f]);
    struct sketch_grid grid;
    struct sketch s, back;
    struct strbuf bytes;
    struct err err = {0};
    size_t used;
    sketch_grid_init(&grid, sides->ref.sorted, sides->ref.n_sorted);
    side_sketch(&sides->ref, &grid, &s);
    strbuf_init(&bytes, 8192);
    encode_doubles(&s, &bytes);
    if (!sketch_decode(&back, bytes.data, bytes.len, &used, &err)) fail_msg("%s", err.text);
    assert_int_equal(used, bytes.len);
    assert_true(sketch_grid_equal(&back.grid, &s.grid));
    assert_near(sketch_mean(&back), sketch_mean(&s), 1e-9 * fabs(sketch_mean(&s)));
    assert_near(sketch_deviation(&back), sketch_deviation(&s), 1e-9 * sketch_deviation(&s));
    for (uint32_t i = 0; i <= s.grid.n_edges; i++) {
      assert_int_equal(back.count[i], s.count[i]);
      if (s.count[i]) assert_near(sketch_centroid(&back, i), sketch_centroid(&s, i), 1e-9 * (s.max - s.min));
    }
    assert_true(sketch_merge(&back, &s, &err)); /* a window of today goes with it */
    for (size_t cut = 0; cut < bytes.len; cut++) assert_false(sketch_decode(&back, bytes.data, cut, &used, NULL));
    strbuf_fini(&bytes);
  }
}

/* Mean and deviation against plain sums, also where values lie far out. */
static void moments(void **state) {
  uint64_t random = seed_of_run();
  double reference[1000], values[500];
  for (int round = 0; round < 40; round++) {
    double origin = round % 4 == 0 ? 1e9 : 0, far = round % 5 == 4 ? 1e6 : 1, mean = 0, m2 = 0;
    for (size_t i = 0; i < ARRAY_LEN(reference); i++)
      reference[i] = origin + (double)(test_random(&random) % 100000) / 1000;
    qsort(reference, ARRAY_LEN(reference), sizeof reference[0], drift_compare);
    struct sketch_grid grid;
    struct sketch s;
    sketch_grid_init(&grid, reference, ARRAY_LEN(reference));
    sketch_init(&s, &grid);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
      values[i] = origin + (double)(test_random(&random) % 100000) / 1000;
      if (i % 50 == 7) values[i] *= far;
      sketch_add(&s, values[i]);
      mean += values[i] / 500.0;
    }
    for (size_t i = 0; i < ARRAY_LEN(values); i++) m2 += (values[i] - mean) * (values[i] - mean);
    double deviation = sqrt(m2 / 500.0);
    assert_near(sketch_mean(&s), mean, 1e-6 * deviation);
    assert_near(sketch_deviation(&s), deviation, 1e-6 * deviation);
    assert_true((far > 1) == (s.far.level > 0));
  }
}

/* Bars hold every value once, and a quarter of an even column in every quarter. */
static void bars(void **state) {
  double values[4000], shares[4], total = 0;
  for (int i = 0; i < 4000; i++) values[i] = i;
  struct sketch_grid grid;
  struct sketch s;
  sketch_grid_init(&grid, values, 4000);
  sketch_init(&s, &grid);
  sketch_bars(&s, 0, 1, 4, shares);
  assert_true(shares[0] == 0 && shares[3] == 0);
  sketch_add_many(&s, values, 4000);
  sketch_bars(&s, 0, 4000, 4, shares);
  for (int i = 0; i < 4; i++) assert_near(shares[i], 0.25, 0.001);
  sketch_bars(&s, 1000, 2000, 4, shares); /* what lies outside goes into the outer bars */
  for (int i = 0; i < 4; i++) total += shares[i];
  assert_near(total, 1, 1e-12);
  assert_near(shares[3], 0.0625 + 0.5, 0.01);
}

static void out_of_range(void **state) {
  double values[3] = {10, 15, 20};
  struct sketch_grid grid;
  struct sketch s, many;
  sketch_grid_init(&grid, values, 3);
  assert_true(grid.low == 10 && grid.high == 20);
  sketch_init(&s, &grid);
  sketch_init(&many, &grid);
  double mixed[64];
  for (int i = 0; i < 64; i++) mixed[i] = i;
  for (int i = 0; i < 64; i++) sketch_add(&s, mixed[i]);
  sketch_add_many(&many, mixed, 64);
  assert_int_equal(s.below, 10);
  assert_int_equal(s.above, 43);
  sketches_equal(&s, &many);
  sketch_grid_range(&grid, 0, 70); /* the values were a sample */
  sketch_init(&s, &grid);
  sketch_add(&s, 70.5);
  assert_int_equal(s.above, 1);
}

static void binary_form(void **state) {
  struct sketch *s = mem_alloc(sizeof *s), *back = mem_alloc(sizeof *back);
  struct err err = {0};
  size_t used = 0;
  sample(s);
  struct strbuf bytes = encode(s);
  /* Stable across machines and releases: a change of the format must be a new version. */
  uint8_t raw[DIGEST_BYTES];
  char text[DIGEST_TEXT_SIZE];
  digest_bytes(bytes.data, bytes.len, raw);
  digest_to_text(raw, text);
  assert_string_equal(text, "sha256:fd78d650767738850d0822d1b81bf78384d8fb372845c4799f27afb3a47ee243");
  assert_true(sketch_decode(back, bytes.data, bytes.len, &used, &err));
  assert_int_equal(used, bytes.len);
  sketches_equal(back, s);
  assert_true(sketch_mean(back) == sketch_mean(s) && sketch_deviation(back) == sketch_deviation(s));
  for (size_t cut = 0; cut < bytes.len; cut++) assert_false(sketch_decode(back, bytes.data, cut, &used, &err));
  strbuf_fini(&bytes);
  mem_free(s);
  mem_free(back);
}

/* Flipped bytes give an error or a sketch that keeps its promises; sanitizers watch for the rest. */
static void hostile_bytes(void **state) {
  uint64_t random = seed_of_run();
  struct sketch *s = mem_alloc(sizeof *s), *back = mem_alloc(sizeof *back);
  sample(s);
  struct strbuf bytes = encode(s);
  CLEANUP(mem_free_p) char *copy = mem_alloc(bytes.len);
  unsigned accepted = 0;
  for (int round = 0; round < 20000; round++) {
    memcpy(copy, bytes.data, bytes.len);
    size_t where = round % 3 ? test_random(&random) % bytes.len : test_random(&random) % 8;
    copy[where] ^= (char)(1 + test_random(&random) % 255);
    size_t used = 0;
    if (!sketch_decode(back, copy, bytes.len, &used, NULL)) continue;
    accepted++;
    uint64_t total = 0;
    for (uint32_t i = 0; i <= back->grid.n_edges; i++) total += back->count[i];
    assert_int_equal(total, back->finite);
    assert_true(isfinite(measure_psi(s, back)) || back->grid.n_cuts != s->grid.n_cuts || back->finite == 0);
    assert_true(isfinite(sketch_quantile(back, 0.5)) || back->finite == 0);
  }
  print_message("%u of 20000 damaged forms were still sound\n", accepted);
  strbuf_fini(&bytes);
  mem_free(s);
  mem_free(back);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(merging_in_any_order),
                                     cmocka_unit_test(many_at_once),
                                     cmocka_unit_test(indexed_is_the_same),
                                     cmocka_unit_test(merge_refuses),
                                     cmocka_unit_test(quantiles_as_numpy),
                                     cmocka_unit_test(bins_are_half_open),
                                     cmocka_unit_test(odd_values),
                                     cmocka_unit_test(binary_form),
                                     cmocka_unit_test(hostile_bytes),
                                     cmocka_unit_test(version_1_is_read),
                                     cmocka_unit_test(moments),
                                     cmocka_unit_test(bars),
                                     cmocka_unit_test(out_of_range)};
  return cmocka_run_group_tests_name("sketch", tests, NULL, NULL);
}
