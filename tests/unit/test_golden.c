/* The binary forms as they lie in databases: committed files that every release must read, and write again to the same
 * bytes. Their values are whole numbers and halves, so no machine rounds them otherwise. A new version of a form gets a
 * new file and the old one stays: ORCH_GOLDEN_WRITE=1 writes files that are not there yet. */
#include "drift_data.h"

#include <time.h>

#include "stats/adwin.h"
#include "stats/decide.h"
#include "stats/distance.h"
#include "stats/latency.h"
#include "stats/page_hinkley.h"
#include "stats/profile.h"

#define GOLDEN_MAX (64 * 1024)

/* Encodes into `out` what the committed bytes were made from. */
typedef void make_fn(struct strbuf *out);
/* Decodes all of `bytes` and encodes it again into `out`; fails the test when it cannot. */
typedef void again_fn(const char *bytes, size_t len, struct strbuf *out);

static size_t golden_read(const char *name, char *bytes, const struct strbuf *made) {
  char path[512];
  snprintf(path, sizeof path, TEST_DATA "/stats/%s", name);
  FILE *file = fopen(path, "rb");
  if (!file && getenv("ORCH_GOLDEN_WRITE")) {
    file = fopen(path, "w+b");
    assert_non_null(file);
    assert_int_equal(fwrite(made->data, 1, made->len, file), made->len);
    rewind(file);
  }
  if (!file) fail_msg("%s is not there", path);
  size_t len = fread(bytes, 1, GOLDEN_MAX, file);
  fclose(file);
  return len;
}

static void check(const char *name, make_fn *make, again_fn *again) {
  struct strbuf made, back;
  CLEANUP(mem_free_p) char *bytes = mem_alloc(GOLDEN_MAX);
  strbuf_init(&made, GOLDEN_MAX);
  strbuf_init(&back, GOLDEN_MAX);
  make(&made);
  assert_false(made.failed);
  size_t len = golden_read(name, bytes, &made);
  print_message("%s: %zu bytes\n", name, len);
  assert_int_equal(made.len, len);
  assert_memory_equal(made.data, bytes, len);
  again(bytes, len, &back);
  assert_int_equal(back.len, len);
  assert_memory_equal(back.data, bytes, len);
  strbuf_fini(&made);
  strbuf_fini(&back);
}

/* Whole numbers and halves, mostly small; every bit of them is the same everywhere. */
static double value(uint64_t *random) {
  return (double)(test_random(random) % 2001) / 2 - 250;
}

/* ---- sketches ---- */

static void fill(struct sketch *s, const struct sketch_grid *grid, uint64_t seed) {
  sketch_init(s, grid);
  for (int i = 0; i < 500; i++) sketch_add(s, value(&seed));
  sketch_add_cell(s, cell_null());
  sketch_add_cell(s, cell_bad());
  sketch_add(s, NAN);
  sketch_add(s, INFINITY);
  sketch_add(s, -INFINITY);
}

static void grid_of(struct sketch_grid *grid, uint64_t seed) {
  double values[300];
  for (size_t i = 0; i < ARRAY_LEN(values); i++) values[i] = value(&seed);
  distance_sort(values, ARRAY_LEN(values));
  sketch_grid_init(grid, values, ARRAY_LEN(values));
}

static void make_sketch(struct strbuf *out) {
  struct sketch_grid grid;
  struct sketch s;
  grid_of(&grid, 1);
  fill(&s, &grid, 2);
  sketch_encode(&s, out);
}

/* With values far out on both sides, on two levels. */
static void make_far_sketch(struct strbuf *out) {
  struct sketch_grid grid;
  struct sketch s;
  grid_of(&grid, 3);
  fill(&s, &grid, 4);
  sketch_add(&s, 0x1p30);
  sketch_add(&s, -0x1p31);
  sketch_add(&s, 0x3p55);
  sketch_encode(&s, out);
}

static void make_constant_sketch(struct strbuf *out) {
  struct sketch_grid grid;
  struct sketch s;
  sketch_grid_init(&grid, (double[]){7, 7}, 2);
  fill(&s, &grid, 5);
  for (int i = 0; i < 100; i++) sketch_add(&s, 7);
  sketch_encode(&s, out);
}

/* The reference had no value. */
static void make_empty_sketch(struct strbuf *out) {
  struct sketch_grid grid;
  struct sketch s;
  sketch_grid_init(&grid, NULL, 0);
  fill(&s, &grid, 6);
  sketch_encode(&s, out);
}

static void again_sketch(const char *bytes, size_t len, struct strbuf *out) {
  struct sketch s;
  struct err err;
  size_t used;
  if (!sketch_decode(&s, bytes, len, &used, &err)) fail_msg("%s", err.text);
  assert_int_equal(used, len);
  assert_true(s.null == 1 && s.bad == 1 && s.nan == 1 && s.pos_inf == 1 && s.neg_inf == 1);
  assert_in_range(s.finite, 500, 600);
  sketch_encode(&s, out);
}

static void sketches(void **state) {
  check("sketch.v2", make_sketch, again_sketch);
  check("sketch-far.v2", make_far_sketch, again_sketch);
  check("sketch-constant.v2", make_constant_sketch, again_sketch);
  check("sketch-empty.v2", make_empty_sketch, again_sketch);
}

/* ---- categories and distinct counts ---- */

static struct cell word(uint64_t *random, uint64_t many, char text[100]) {
  uint64_t which = test_random(random) % many;
  if (which == 7) return cell_null();
  if (which == 8) return cell_bad();
  if (which == 9) return cell_number(12.5);
  int len = snprintf(text, 100, which % 50 == 3 ? "%072llu" : "wört %llu", (unsigned long long)which);
  return cell_text(text, (size_t)len);
}

static void make_words(struct category *ret, uint64_t many) {
  struct category_builder *builder = category_builder_new();
  char text[100];
  uint64_t random = many;
  for (int i = 0; i < 6000; i++) category_builder_add_cell(builder, word(&random, many, text));
  category_builder_finish(builder, ret);
  category_builder_free(builder);
}

static void make_few_words(struct strbuf *out) {
  struct category c;
  make_words(&c, 40);
  category_encode(&c, out);
}

/* A window on a dictionary with a filter: known, other and unseen values. */
static void make_many_words(struct strbuf *out) {
  struct category ref, now;
  char text[100];
  uint64_t random = 5;
  make_words(&ref, 900);
  category_init(&now, &ref.dict);
  for (int i = 0; i < 3000; i++) category_add_cell(&now, word(&random, 1200, text));
  for (int i = 0; i < 3; i++) category_add_cell(&now, (struct cell[]){cell_null(), cell_bad(), cell_number(12.5)}[i]);
  assert_true(now.other > 0 && now.unseen > 0 && now.null > 0 && now.bad > 0 && now.numbers > 0);
  category_encode(&now, out);
}

/* More than are counted one by one: counts may be too low. */
static void make_too_many_words(struct strbuf *out) {
  struct category c;
  make_words(&c, 5000);
  assert_true(c.slack > 0);
  category_encode(&c, out);
}

static void again_category(const char *bytes, size_t len, struct strbuf *out) {
  struct category c;
  struct err err;
  size_t used;
  if (!category_decode(&c, bytes, len, &used, &err)) fail_msg("%s", err.text);
  assert_int_equal(used, len);
  category_encode(&c, out);
}

static void make_distinct(uint64_t n, struct strbuf *out) {
  struct distinct d = {0};
  uint64_t random = n;
  for (uint64_t i = 0; i < n; i++) distinct_add(&d, test_random(&random));
  distinct_encode(&d, out);
}
static void make_sparse(struct strbuf *out) {
  make_distinct(100, out);
}
static void make_dense(struct strbuf *out) {
  make_distinct(100000, out);
}

static void again_distinct(const char *bytes, size_t len, struct strbuf *out) {
  struct distinct d;
  struct err err;
  size_t used;
  if (!distinct_decode(&d, bytes, len, &used, &err)) fail_msg("%s", err.text);
  assert_int_equal(used, len);
  distinct_encode(&d, out);
}

static void categories(void **state) {
  check("category.v1", make_few_words, again_category);
  check("category-window.v1", make_many_words, again_category);
  check("category-slack.v1", make_too_many_words, again_category);
  check("distinct-sparse.v1", make_sparse, again_distinct);
  check("distinct-dense.v1", make_dense, again_distinct);
}

/* Parts of a stream in any order, repeats in several parts: the same bytes as the whole, few values or many. */
static void distinct_merges_in_any_order(void **state) {
  uint64_t random = (uint64_t)time(NULL);
  struct distinct *parts = mem_calloc(16, sizeof *parts);
  print_message("seed %llu\n", (unsigned long long)random);
  for (int round = 0; round < 60; round++) {
    struct distinct whole = {0};
    size_t left = 1 + test_random(&random) % 16, n = (size_t)1 << (test_random(&random) % 15);
    memset(parts, 0, 16 * sizeof *parts);
    for (size_t i = 0; i < n; i++) {
      uint64_t hash = test_random(&random) >> (i % 64 == 63 ? 63 : 0); /* also the longest runs of zeros */
      distinct_add(&whole, hash);
      distinct_add(&parts[test_random(&random) % left], hash);
      if (i % 3 == 0) distinct_add(&parts[test_random(&random) % left], hash);
    }
    while (left > 1) {
      size_t a = test_random(&random) % left, b = test_random(&random) % left;
      if (a == b) continue;
      distinct_merge(&parts[a], &parts[b]);
      parts[b] = parts[--left];
    }
    struct strbuf one, other;
    strbuf_init(&one, DISTINCT_ENCODED_MAX);
    strbuf_init(&other, DISTINCT_ENCODED_MAX);
    distinct_encode(&whole, &one);
    distinct_encode(&parts[0], &other);
    assert_int_equal(one.len, other.len);
    assert_memory_equal(one.data, other.data, one.len);
    strbuf_fini(&one);
    strbuf_fini(&other);
  }
  mem_free(parts);
}

/* ---- profiles ---- */

static void make_profile(struct strbuf *out) {
  static const char *const names[] = {"number", "town", "flat", "nothing"};
  struct err err;
  char text[100];
  uint64_t random = 11;
  struct profile_builder *builder = profile_builder_new(names, 4, &err);
  assert_non_null(builder);
  for (int i = 0; i < 400; i++) {
    struct cell cells[4] = {cell_number(value(&random)), word(&random, 30, text), cell_number(2.5), cell_null()};
    assert_true(profile_builder_row(builder, cells, &err));
  }
  struct profile *profile = profile_builder_finish(builder, &err);
  assert_non_null(profile);
  assert_int_equal(profile->columns[1].kind, PROFILE_CATEGORICAL);
  profile_encode(profile, out);
  profile_free(profile);
  profile_builder_free(builder);
}

static void again_profile(const char *bytes, size_t len, struct strbuf *out) {
  struct err err;
  struct profile *profile = profile_decode(bytes, len, &err);
  if (!profile) fail_msg("%s", err.text);
  assert_int_equal(profile->rows, 400);
  profile_encode(profile, out);
  profile_free(profile);
}

static void profiles(void **state) {
  check("profile.v2", make_profile, again_profile);
}

/* ---- what monitors carry from window to window ---- */

static void make_adwin(struct strbuf *out) {
  struct adwin adwin;
  uint64_t random = 21;
  adwin_init(&adwin, ADWIN_DEFAULT);
  for (int i = 0; i < 2048; i++) (void)adwin_add(&adwin, (double)(test_random(&random) % 2));
  adwin_encode(&adwin, out);
}
static void again_adwin(const char *bytes, size_t len, struct strbuf *out) {
  struct adwin adwin;
  struct err err;
  if (!adwin_decode(&adwin, bytes, len, &err)) fail_msg("%s", err.text);
  adwin_encode(&adwin, out);
}

static void make_page_hinkley(struct strbuf *out) {
  struct page_hinkley ph;
  uint64_t random = 22;
  page_hinkley_init(&ph, PAGE_HINKLEY_DEFAULT);
  for (int i = 0; i < 100; i++) (void)page_hinkley_add(&ph, (double)(test_random(&random) % 2));
  page_hinkley_encode(&ph, out);
}
static void again_page_hinkley(const char *bytes, size_t len, struct strbuf *out) {
  struct page_hinkley ph;
  struct err err;
  if (!page_hinkley_decode(&ph, bytes, len, &err)) fail_msg("%s", err.text);
  page_hinkley_encode(&ph, out);
}

static void make_latency(struct strbuf *out) {
  struct latency *latency = mem_alloc(sizeof *latency);
  uint64_t random = 23;
  for (int i = 0; i < 2000; i++) latency_add(latency, (double)(test_random(&random) % 4096) / 8);
  latency_add(latency, -1);
  latency_add(latency, 0x1p31);
  latency_encode(latency, out);
  mem_free(latency);
}
static void again_latency(const char *bytes, size_t len, struct strbuf *out) {
  struct latency *latency = mem_alloc(sizeof *latency);
  struct err err;
  if (!latency_decode(latency, bytes, len, &err)) fail_msg("%s", err.text);
  assert_true(latency->n == 2001 && latency->refused == 1 && latency->over == 1);
  latency_encode(latency, out);
  mem_free(latency);
}

static void make_memory(struct strbuf *out) {
  struct drift_rule rule = DRIFT_RULE_DEFAULT;
  struct drift_memory memory;
  char text[DRIFT_MEMORY_TEXT_SIZE];
  drift_memory_init(&memory);
  for (int i = 0; i < 70; i++) drift_memory_add(&rule, &memory, i % 7 < 3, 500 * i);
  drift_memory_to_text(&memory, text);
  strbuf_add(out, text, strlen(text));
}
static void again_memory(const char *bytes, size_t len, struct strbuf *out) {
  struct drift_memory memory;
  char text[DRIFT_MEMORY_TEXT_SIZE];
  CLEANUP(mem_free_p) char *copy = mem_strndup(bytes, len);
  assert_true(drift_memory_from_text(copy, &memory));
  drift_memory_to_text(&memory, text);
  strbuf_add(out, text, strlen(text));
}

static void states(void **state) {
  check("adwin.v1", make_adwin, again_adwin);
  check("page-hinkley.v1", make_page_hinkley, again_page_hinkley);
  check("latency.v1", make_latency, again_latency);
  check("memory.txt", make_memory, again_memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(sketches), cmocka_unit_test(categories),
                                     cmocka_unit_test(distinct_merges_in_any_order), cmocka_unit_test(profiles),
                                     cmocka_unit_test(states)};
  return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
