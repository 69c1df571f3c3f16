/* Categorical sketches: dictionaries, unseen values, bounded building, merging in any order, the binary form; the
 * oracle's categorical columns. */
#include "drift_data.h"

#include <time.h>

#include "base/digest.h"
#include "stats/category.h"
#include "stats/distance.h"

static uint64_t seed_of_run(void) {
  const char *given = getenv("ORCH_TEST_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
  print_message("seed %llu (ORCH_TEST_SEED repeats it)\n", (unsigned long long)seed);
  return seed;
}

/* ---- the oracle's columns, from their files ---- */

struct oracle_side {
  struct category_builder *ref;
  struct category *sketch[2]; /* ref, cur */
  bool second;                /* the pass in which cur is counted */
};

static bool oracle_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct oracle_side *side = arg;
  if (line == 1) return true;
  assert_int_equal(n, 2);
  bool is_ref = strcmp(fields[0].text, "ref") == 0;
  struct cell cell = cell_from_text(fields[1].text, fields[1].len);
  if (is_ref && !side->second) category_builder_add_cell(side->ref, cell);
  if (!is_ref && side->second) category_add_cell(side->sketch[1], cell);
  return true;
}

static void oracle_column(const char *file, struct category *ref, struct category *cur) {
  struct oracle_side side = {.ref = category_builder_new(), .sketch = {ref, cur}};
  char path[512];
  snprintf(path, sizeof path, TEST_DATA "/drift/%s", file);
  for (int pass = 0; pass < 2; pass++) {
    struct csv_reader *reader = csv_reader_new(oracle_record, &side);
    feed_file(path, reader);
    csv_reader_free(reader);
    if (pass) break;
    category_builder_finish(side.ref, ref);
    category_init(cur, &ref->dict);
    side.second = true;
  }
  category_builder_free(side.ref);
}

static uint64_t counts_of(const json_t *array, uint64_t *ret) {
  uint64_t total = 0;
  size_t index;
  json_t *item;
  json_array_foreach(array, index, item) total += ret[index] = (uint64_t)json_integer_value(item);
  return total;
}

static void check_case(const char *id, const json_t *expected, const char *file) {
  struct category *ref = mem_alloc(sizeof *ref), *cur = mem_alloc(sizeof *cur);
  uint64_t a[512], b[512], unseen = 0;
  size_t k = json_array_size(json_object_get(expected, "ref_counts"));
  struct distances d;
  oracle_column(file, ref, cur);
  assert_int_equal(counts_of(json_object_get(expected, "ref_counts"), a), category_present(ref));
  assert_int_equal(counts_of(json_object_get(expected, "cur_counts"), b), category_present(cur));
  assert_int_equal(category_missing(ref), (uint64_t)oracle_number(expected, NULL, "n_ref_missing"));
  assert_int_equal(category_missing(cur), (uint64_t)oracle_number(expected, NULL, "n_cur_missing"));
  for (size_t i = 0; i < k; i++) unseen += a[i] == 0 ? b[i] : 0;

  /* Kept whole: to the last digits. */
  double tvd = oracle_number(expected, NULL, "tvd"), js = oracle_number(expected, NULL, "js_distance_nat"),
         hellinger = oracle_number(expected, NULL, "hellinger"), linf = oracle_number(expected, NULL, "linf");
  assert_near(measure_psi_counts(a, b, k), oracle_number(expected, NULL, "psi_evidently"), 1e-9);
  assert_near(distance_tvd_counts(a, b, k), tvd, 1e-9);
  assert_near(distance_js_counts(a, b, k), js, 1e-9);
  assert_near(distance_hellinger_counts(a, b, k), hellinger, 1e-9);
  assert_near(distance_linf_counts(a, b, k), linf, 1e-9);

  /* As sketches: still exact while the dictionary holds every value, whatever happens to unseen ones. */
  distance_categorical(ref, cur, &d);
  print_message("%-15s %3zu categories, %u kept, %llu other, %llu unseen; TVD %.4f (%.4f), p %.3g\n", id, k,
                ref->dict.n, (unsigned long long)cur->other, (unsigned long long)cur->unseen, d.tvd, tvd,
                d.chi2.p_value);
  size_t in_ref = 0;
  for (size_t i = 0; i < k; i++) in_ref += a[i] > 0;
  if (in_ref <= CATEGORY_KEPT_MAX) {
    assert_int_equal(cur->unseen, unseen);
    assert_near(d.tvd, tvd, 1e-9);
    assert_near(d.js, js, 1e-9);
    assert_near(d.hellinger, hellinger, 1e-9);
    assert_true(d.linf >= linf - 1e-12); /* unseen values together may be the largest */
  } else {
    assert_true(cur->unseen <= unseen && cur->unseen + 3 >= unseen); /* the filter's error, in its one direction */
    assert_true(d.tvd <= tvd + 1e-9 && d.tvd > 0.8 * tvd);
    assert_true(d.js <= js + 1e-9 && d.js > 0.8 * js);
    assert_true(d.linf >= linf - 1e-12);
  }
  assert_near(distinct_estimate(&ref->distinct), (double)in_ref, 1 + 0.03 * (double)in_ref);
  mem_free(ref);
  mem_free(cur);
}

static void oracle_cases(void **state) {
  json_t *root = oracle_load();
  size_t index, n = 0;
  json_t *item;
  json_array_foreach(json_object_get(root, "cases"), index, item) {
    if (strcmp(json_string_value(json_object_get(item, "kind")), "categorical") != 0) continue;
    check_case(json_string_value(json_object_get(item, "id")), json_object_get(item, "expected"),
               json_string_value(json_object_get(item, "file")));
    n++;
  }
  assert_int_equal(n, 7);
  json_decref(root);
}

/* ---- values and dictionaries ---- */

static struct category *reference_of(const char *const *values, size_t n) {
  struct category_builder *builder = category_builder_new();
  struct category *ref = mem_alloc(sizeof *ref);
  for (size_t i = 0; i < n; i++) category_builder_add(builder, values[i], strlen(values[i]));
  category_builder_finish(builder, ref);
  category_builder_free(builder);
  return ref;
}

static void values_stay_distinct(void **state) {
  char a[300], b[300], value[CATEGORY_VALUE_MAX + 1];
  memset(a, 'x', sizeof a);
  memset(b, 'x', sizeof b);
  b[299] = 'y';
  assert_int_equal(category_value_of("Dallas", 6, value), 6);
  assert_string_equal(value, "Dallas");
  assert_int_equal(category_value_of("", 0, value), 0);
  assert_int_equal(category_value_of(a, 64, value), 64);
  assert_int_equal(category_value_of(a, 65, value), 64);
  assert_int_equal(category_value_of("a\0b", 3, value), 18); /* no NUL in a value */
  assert_memory_equal(value, "a~", 2);
  /* A character is not cut in half: 46 bytes, then one of two bytes over the border. */
  memcpy(b + 46, "\xC3\xA4", 2);
  assert_int_equal(category_value_of(b, 300, value), 46 + 17);
  const char *const values[] = {"q"};
  struct category *ref = reference_of(values, 1), *long_ref;
  struct category_builder *builder = category_builder_new();
  a[299] = 'a';
  category_builder_add(builder, a, 300);
  a[299] = 'b';
  category_builder_add(builder, a, 300);
  long_ref = mem_alloc(sizeof *long_ref);
  category_builder_finish(builder, long_ref);
  assert_int_equal(long_ref->dict.n, 2);
  category_init(ref, &long_ref->dict);
  category_add(ref, a, 300);
  a[299] = 'c';
  category_add(ref, a, 300);
  assert_int_equal(ref->count[0] + ref->count[1], 1);
  assert_int_equal(ref->unseen, 1);
  category_builder_free(builder);
  mem_free(ref);
  mem_free(long_ref);
}

static void cells(void **state) {
  const char *const values[] = {"7", "0.1", "red", "", "7", "-1"};
  struct category *ref = reference_of(values, ARRAY_LEN(values)), *now = mem_alloc(sizeof *now);
  assert_string_equal(ref->dict.values[0].text, "7"); /* the most frequent first, then by bytes */
  assert_string_equal(ref->dict.values[1].text, "");
  assert_int_equal(ref->once, 4);
  category_init(now, &ref->dict);
  category_add_cell(now, cell_number(7));
  category_add_cell(now, cell_number(0.1));
  category_add_cell(now, cell_number(-1.0));
  category_add_cell(now, cell_from_text(" red ", 5));
  category_add_cell(now, cell_from_text("7", 1));
  category_add_cell(now, cell_from_json_text("", 0));
  category_add_cell(now, cell_null());
  category_add_cell(now, cell_bad());
  category_add_cell(now, cell_number(1e300));
  assert_int_equal(now->n, 9);
  assert_int_equal(now->count[0], 2);
  assert_int_equal(now->null, 1);
  assert_int_equal(now->bad, 1);
  assert_int_equal(now->numbers, 5);
  assert_int_equal(now->unseen, 1);
  assert_int_equal(now->other, 0);
  assert_int_equal(category_present(now), 7);
  mem_free(ref);
  mem_free(now);
}

/* ---- bounded memory ---- */

/* Skewed values among ten thousands of rare ones: counts are never too high, too low by at most the slack, and every
 * frequent value is there. */
static void building_in_bounds(void **state) {
  uint64_t random = seed_of_run(), frequent[40] = {0};
  struct category_builder *builder = category_builder_new();
  struct category *ref = mem_alloc(sizeof *ref);
  const uint64_t n = 300000;
  char text[40];
  for (uint64_t i = 0; i < n; i++) {
    uint64_t roll = test_random(&random) % 100;
    uint64_t which = roll < 40 ? roll : 1000 + test_random(&random) % 60000;
    if (roll < 40) frequent[roll]++;
    category_builder_add(builder, text, (size_t)snprintf(text, sizeof text, "value %llu", (unsigned long long)which));
  }
  category_builder_finish(builder, ref);
  category_builder_free(builder);
  assert_int_equal(ref->dict.n, CATEGORY_KEPT_MAX);
  assert_true(ref->slack > 0 && ref->slack <= n / 1024);
  print_message("slack %llu, once %llu, distinct %.0f, unseen error %.3f\n", (unsigned long long)ref->slack,
                (unsigned long long)ref->once, distinct_estimate(&ref->distinct), category_unseen_error(&ref->dict));
  for (size_t i = 0; i < 40; i++) {
    uint64_t got = 0;
    snprintf(text, sizeof text, "value %zu", i);
    for (uint32_t j = 0; j < ref->dict.n; j++)
      if (strcmp(ref->dict.values[j].text, text) == 0) got = ref->count[j];
    assert_true(got <= frequent[i] && got + ref->slack >= frequent[i] && got > 0);
  }
  uint64_t sum = ref->other;
  for (uint32_t j = 0; j < ref->dict.n; j++) sum += ref->count[j];
  assert_int_equal(sum, n);
  assert_near(distinct_estimate(&ref->distinct), 60000, 6000);
  mem_free(ref);
}

/* 1500 other values: all of them are known, and of strangers nearly none is. */
static void unseen_is_told(void **state) {
  struct category_builder *builder = category_builder_new();
  struct category *ref = mem_alloc(sizeof *ref), *now = mem_alloc(sizeof *now);
  char text[40];
  for (int i = 0; i < 1628; i++) category_builder_add(builder, text, (size_t)snprintf(text, sizeof text, "k%d", i));
  category_builder_finish(builder, ref);
  category_builder_free(builder);
  assert_int_equal(ref->slack, 0);
  assert_int_equal(ref->once, 1628);
  assert_int_equal(ref->other, 1500);
  category_init(now, &ref->dict);
  for (int i = 0; i < 1628; i++) category_add(now, text, (size_t)snprintf(text, sizeof text, "k%d", i));
  assert_int_equal(now->unseen, 0);
  assert_int_equal(now->other, 1500);
  for (int i = 0; i < 10000; i++) category_add(now, text, (size_t)snprintf(text, sizeof text, "stranger %d", i));
  double error = category_unseen_error(&ref->dict), missed = (double)(now->other - 1500) / 10000;
  print_message("unseen values taken for others: %.4f, promised %.4f\n", missed, error);
  assert_true(error < 0.012 && missed < 0.02 && now->unseen + now->other == 11628 - CATEGORY_KEPT_MAX);
  mem_free(ref);
  mem_free(now);
}

static void distinct_counts(void **state) {
  uint64_t random = seed_of_run();
  for (int n = 1; n <= 1000000; n *= 10) {
    double worst = 0, mean = 0;
    for (int round = 0; round < 8; round++) {
      struct distinct d = {0};
      for (int i = 0; i < n; i++) distinct_add(&d, test_random(&random));
      double off = distinct_estimate(&d) / n - 1;
      worst = fmax(worst, fabs(off));
      mean += off / 8;
    }
    print_message("%d distinct: worst %.2f %%, mean %.2f %%\n", n, 100 * worst, 100 * mean);
    assert_true(worst < 0.115 && fabs(mean) < 0.041); /* five standard errors of 2.3 % */
  }
  struct distinct none = {0};
  assert_true(distinct_estimate(&none) == 0);
}

/* ---- merging and bytes ---- */

static struct strbuf encode(const struct category *s) {
  struct strbuf out;
  strbuf_init(&out, CATEGORY_ENCODED_MAX);
  category_encode(s, &out);
  assert_false(out.failed);
  return out;
}

static void same_bytes(const struct category *a, const struct category *b) {
  struct strbuf x = encode(a), y = encode(b);
  assert_int_equal(x.len, y.len);
  assert_memory_equal(x.data, y.data, x.len);
  strbuf_fini(&x);
  strbuf_fini(&y);
}

static struct cell random_cell(uint64_t *random, char text[40]) {
  uint64_t roll = test_random(random) % 20, u = test_random(random) % 1000;
  if (roll == 0) return cell_null();
  if (roll == 1) return cell_bad();
  if (roll == 2) return cell_number((double)u / 8);
  return cell_text(text, (size_t)snprintf(text, 40, "v%llu", (unsigned long long)(u * u / 1000)));
}

static struct category *random_reference(uint64_t *random) {
  struct category_builder *builder = category_builder_new();
  struct category *ref = mem_alloc(sizeof *ref);
  char text[40];
  for (int i = 0; i < 2000; i++) category_builder_add_cell(builder, random_cell(random, text));
  category_builder_finish(builder, ref);
  category_builder_free(builder);
  return ref;
}

static void merging_in_any_order(void **state) {
  uint64_t random = seed_of_run();
  struct category *parts = mem_calloc(16, sizeof *parts), *whole = mem_alloc(sizeof *whole);
  struct err err = {0};
  char text[40];
  for (int round = 0; round < 20; round++) {
    struct category *ref = random_reference(&random);
    size_t left = 1 + test_random(&random) % 16;
    category_init(whole, &ref->dict);
    for (size_t i = 0; i < left; i++) category_init(&parts[i], &ref->dict);
    for (int i = 0; i < 3000; i++) {
      struct cell cell = random_cell(&random, text);
      category_add_cell(whole, cell);
      category_add_cell(&parts[test_random(&random) % left], cell);
    }
    while (left > 1) {
      size_t a = test_random(&random) % left, b = test_random(&random) % left;
      if (a == b) continue;
      assert_true(category_merge(&parts[a], &parts[b], NULL));
      parts[b] = parts[--left];
    }
    same_bytes(&parts[0], whole);
    mem_free(ref);
  }
  struct category *other = random_reference(&random);
  assert_false(category_merge(whole, other, &err));
  assert_int_equal(err.code, ERR_INVALID);
  parts[0] = *whole;
  parts[0].n = UINT64_MAX;
  assert_false(category_merge(whole, &parts[0], &err));
  assert_int_equal(err.code, ERR_LIMIT);
  mem_free(parts);
  mem_free(whole);
  mem_free(other);
}

static void binary_form(void **state) {
  uint64_t fixed = 4711;
  struct category *ref = random_reference(&fixed), *back = mem_alloc(sizeof *back);
  struct strbuf bytes = encode(ref);
  uint8_t raw[DIGEST_BYTES];
  char text[DIGEST_TEXT_SIZE];
  size_t used = 0;
  struct err err = {0};
  digest_bytes(bytes.data, bytes.len, raw);
  digest_to_text(raw, text);
  /* Stable across machines and releases: a change of the format must be a new version. */
  assert_string_equal(text, "sha256:def12c3b65880fc24f0c4e3541960a3cfedc86b4c33c72d80affac4e38146ceb");
  assert_true(category_decode(back, bytes.data, bytes.len, &used, &err));
  assert_int_equal(used, bytes.len);
  same_bytes(back, ref);
  for (size_t cut = 0; cut < bytes.len; cut++) assert_false(category_decode(back, bytes.data, cut, &used, &err));
  uint64_t random = seed_of_run();
  CLEANUP(mem_free_p) char *copy = mem_alloc(bytes.len);
  unsigned accepted = 0;
  for (int round = 0; round < 20000; round++) {
    memcpy(copy, bytes.data, bytes.len);
    copy[round % 3 ? test_random(&random) % bytes.len : test_random(&random) % 8] ^=
        (char)(1 + test_random(&random) % 255);
    if (!category_decode(back, copy, bytes.len, &used, NULL)) continue;
    accepted++;
    uint64_t sum = back->other + back->unseen;
    for (uint32_t i = 0; i < back->dict.n; i++) sum += back->count[i];
    assert_int_equal(sum, category_present(back));
  }
  print_message("%u of 20000 damaged forms were still sound\n", accepted);
  strbuf_fini(&bytes);
  mem_free(ref);
  mem_free(back);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(oracle_cases),         cmocka_unit_test(values_stay_distinct), cmocka_unit_test(cells),
      cmocka_unit_test(building_in_bounds),   cmocka_unit_test(unseen_is_told),       cmocka_unit_test(distinct_counts),
      cmocka_unit_test(merging_in_any_order), cmocka_unit_test(binary_form)};
  return cmocka_run_group_tests_name("category", tests, NULL, NULL);
}
