/* Numbers from text, the CSV reader, and profiles made from both. */
#include "drift_data.h"

#include <locale.h>

#include "stats/profile.h"

static void numbers(void **state) {
  const struct {
    const char *text;
    double want;
  } good[] = {{"0", 0},
              {"-1.5", -1.5},
              {"+3", 3},
              {".5", 0.5},
              {"5.", 5},
              {"1e3", 1000},
              {"1E-2", 0.01},
              {"120000", 12e4},
              {"0.1", 0.1},
              {"1e400", INFINITY},
              {"1e-400", 0},
              {"4.700199999999996", 4.700199999999996},
              {"123456789012345678901234567890", 123456789012345678901234567890.0},
              {"9007199254740993", 9007199254740993.0},
              {"2.2250738585072014e-308", 2.2250738585072014e-308}};
  for (size_t i = 0; i < ARRAY_LEN(good); i++) {
    double got = -77;
    assert_true(number_parse(good[i].text, strlen(good[i].text), &got));
    assert_true(got == good[i].want);
  }
  static const char *const refused[] = {"",    "-",     ".",  "e5",  "1e",  "1e+", "0x10",
                                        "1,5", "1 000", " 1", "1_0", "--1", "nan"};
  for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
    double got = -77;
    assert_false(number_parse(refused[i], strlen(refused[i]), &got));
    assert_true(got == -77);
  }
  assert_true(signbit(cell_from_text("-0", 2).number));
}

/* What strtod says of the digits of random doubles. */
static void numbers_round_trip(void **state) {
  uint64_t random = 20260105;
  for (int i = 0; i < 20000; i++) {
    uint64_t bits = test_random(&random);
    double value, got = 0;
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value)) continue;
    char text[40];
    int len = snprintf(text, sizeof text, i % 2 ? "%.17g" : "%.6g", value);
    assert_true(number_parse(text, (size_t)len, &got));
    assert_true(got == strtod(text, NULL));
  }
}

static void cells(void **state) {
  static const char *const nothing[] = {"", "  ", "NA", "n/a", "NULL", "none", "\t"};
  for (size_t i = 0; i < ARRAY_LEN(nothing); i++)
    assert_int_equal(cell_from_text(nothing[i], strlen(nothing[i])).kind, CELL_NULL);
  assert_true(isnan(cell_from_text("NaN", 3).number));
  assert_true(cell_from_text(" -Inf ", 6).number == -INFINITY);
  assert_true(cell_from_text(" 12.5\r", 6).number == 12.5);
  assert_int_equal(cell_from_text("Dallas", 6).kind, CELL_BAD);
  assert_int_equal(cell_from_json_text("12.5", 4).kind, CELL_BAD);
  assert_int_equal(cell_from_json_text("-Infinity", 9).kind, CELL_NUMBER);
}

struct seen {
  char text[512];
  uint64_t lines[8];
  size_t n;
};
static bool note(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct seen *seen = arg;
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(strlen(fields[i].text), fields[i].len);
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%s%s", fields[i].text, i + 1 < n ? "|" : "/");
  }
  seen->lines[seen->n++] = line;
  return true;
}

static bool csv_in_chunks(const char *text, size_t chunk, struct seen *seen, struct err *err) {
  *seen = (struct seen){0};
  struct csv_reader *reader = csv_reader_new(note, seen);
  bool fine = true;
  size_t len = strlen(text);
  for (size_t at = 0; fine && at < len; at += chunk)
    fine = csv_reader_feed(reader, text + at, len - at < chunk ? len - at : chunk, err);
  fine = fine && csv_reader_finish(reader, err);
  csv_reader_free(reader);
  return fine;
}

static void csv_records(void **state) {
  const char *text = "\xEF\xBB\xBF"
                     "a,\"b,\"\"x\"\"\",c\r\n\r\n1,,\"two\nlines\"\n\n,\r\n3,4,5";
  struct seen seen;
  struct err err = {0};
  for (size_t chunk = 1; chunk < 60; chunk++) {
    if (!csv_in_chunks(text, chunk, &seen, &err)) fail_msg("%s", err.text);
    assert_string_equal(seen.text, "a|b,\"x\"|c/1||two\nlines/|/3|4|5/");
    assert_int_equal(seen.n, 4);
    assert_int_equal(seen.lines[1], 3);
    assert_int_equal(seen.lines[3], 7);
  }
  assert_false(csv_in_chunks("a,b\n1,\"x", 3, &seen, &err));
  assert_non_null(strstr(err.text, "line 2"));
  assert_false(csv_in_chunks("a,b\n1,x\"y\n", 3, &seen, &err));
  assert_false(csv_in_chunks("a\n\"x\"y\n", 3, &seen, &err));
}

static struct profile *profile_of(const char *text, struct err *err) {
  struct profile_csv *csv = profile_csv_new();
  struct profile *profile = profile_csv_feed(csv, text, strlen(text), err) ? profile_csv_finish(csv, err) : NULL;
  profile_csv_free(csv);
  return profile;
}

static void profile_from_csv(void **state) {
  struct err err = {0};
  struct profile *p = profile_of("city,sales,inventory\nAbilene,72,6.3\nAustin,1025,\nDallas,NaN,x\nWaco,10,2\n", &err);
  assert_non_null(p);
  assert_int_equal(p->rows, 4);
  assert_null(profile_find(p, "city")); /* texts: no sketch of numbers */
  const struct profile_column *city = profile_column(p, "city");
  assert_int_equal(city->kind, PROFILE_CATEGORICAL);
  assert_int_equal(city->category->dict.n, 4);
  assert_string_equal(city->category->dict.values[0].text, "Abilene");
  assert_int_equal(p->distinct_rows, 4);
  const struct sketch *sales = profile_find(p, "sales"), *inventory = profile_find(p, "inventory");
  assert_int_equal(sales->n, 4);
  assert_int_equal(sales->nan, 1);
  assert_int_equal(sales->finite, 3);
  assert_true(sales->min == 10 && sales->max == 1025);
  assert_int_equal(inventory->null, 1);
  assert_int_equal(inventory->bad, 1);
  assert_int_equal(inventory->finite, 2);
  profile_free(p);

  const struct {
    const char *text, *says;
  } refused[] = {{"", "empty"},           {"a,b\n", "no rows"},     {"a,b\n1\n", "line 2: 1 fields"},
                 {"a,a\n1,2\n", "twice"}, {"a,\n1,2\n", "no name"}, {"a\n1\n2,3\n", "line 3"}};
  for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
    assert_null(profile_of(refused[i].text, &err));
    assert_non_null(strstr(err.text, refused[i].says));
  }
}

static void profile_binary(void **state) {
  struct err err = {0};
  struct profile *p = profile_of("a,b\n1,2\n2,\n3,4\n", &err);
  struct strbuf bytes, again;
  strbuf_init(&bytes, PROFILE_ENCODED_MAX);
  strbuf_init(&again, PROFILE_ENCODED_MAX);
  profile_encode(p, &bytes);
  struct profile *back = profile_decode(bytes.data, bytes.len, &err);
  assert_non_null(back);
  assert_int_equal(back->rows, 3);
  profile_encode(back, &again);
  assert_int_equal(bytes.len, again.len);
  assert_memory_equal(bytes.data, again.data, bytes.len);
  for (size_t cut = 0; cut < bytes.len; cut++) assert_null(profile_decode(bytes.data, cut, &err));
  strbuf_putc(&bytes, 'x');
  assert_null(profile_decode(bytes.data, bytes.len, &err));
  assert_null(profile_decode("ORCHPROF", 8, &err));
  /* A head that promises more columns than any profile has. */
  char head[24] = "ORCHPROF";
  head[8] = 1;
  memset(head + 12, 0xff, 4);
  assert_null(profile_decode(head, sizeof head, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  profile_free(p);
  profile_free(back);
  strbuf_fini(&bytes);
  strbuf_fini(&again);
}

/* A profile of the first version, as a worker wrote it then: numeric columns only, no order, no distinct rows. */
static void profile_of_version_1(void **state) {
  struct err err = {0};
  char bytes[8192];
  FILE *file = fopen(TEST_DATA "/../fuzz/seeds/fuzz_profile/small", "rb");
  assert_non_null(file);
  size_t len = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  assert_int_equal(bytes[8], 1);
  struct profile *p = profile_decode(bytes, len, &err);
  if (!p) fail_msg("%s", err.text);
  assert_true(p->n_columns > 0 && p->rows > 0 && profile_duplicates(p) == 0);
  for (size_t i = 0; i < p->n_columns; i++) {
    const struct profile_column *column = &p->columns[i];
    assert_int_equal(column->kind, PROFILE_NUMERIC);
    assert_true(isnan(order_share(&column->order)));
    assert_true(column->sketch.grid.low == column->sketch.min && column->sketch.grid.high == column->sketch.max);
  }
  struct strbuf again;
  strbuf_init(&again, PROFILE_ENCODED_MAX);
  profile_encode(p, &again);
  assert_int_equal(again.data[8], 2);
  struct profile *back = profile_decode(again.data, again.len, &err);
  assert_non_null(back);
  profile_free(p);
  profile_free(back);
  strbuf_fini(&again);
}

static struct profile *built(const enum profile_kind *told, const char *const *texts, size_t n) {
  static const char *const names[] = {"x"};
  struct err err = {0};
  struct profile_builder *builder = profile_builder_new(names, 1, &err);
  if (told) profile_builder_kind(builder, 0, *told);
  for (size_t i = 0; i < n; i++) {
    struct cell cell = cell_from_text(texts[i], strlen(texts[i]));
    assert_true(profile_builder_row(builder, &cell, &err));
  }
  struct profile *p = profile_builder_finish(builder, &err);
  profile_builder_free(builder);
  assert_non_null(p);
  return p;
}

/* What a column is follows from its cells, unless it is said. */
static void kinds_of_columns(void **state) {
  static const char *const codes[] = {"00501", "10001", "10001", "90210", "", "00501"};
  const enum profile_kind categorical = PROFILE_CATEGORICAL, numeric = PROFILE_NUMERIC;
  struct profile *p = built(NULL, codes, ARRAY_LEN(codes));
  assert_int_equal(p->columns[0].kind, PROFILE_NUMERIC);
  profile_free(p);
  p = built(&categorical, codes, ARRAY_LEN(codes));
  assert_int_equal(p->columns[0].kind, PROFILE_CATEGORICAL);
  assert_int_equal(p->columns[0].category->dict.n, 3);
  assert_string_equal(p->columns[0].category->dict.values[0].text, "00501"); /* the text as it is, not the number 501 */
  assert_int_equal(p->columns[0].category->null, 1);
  assert_int_equal(p->columns[0].category->numbers, 5);
  profile_free(p);
  static const char *const mixed[] = {"a", "b", "1", "a"};
  p = built(NULL, mixed, ARRAY_LEN(mixed));
  assert_int_equal(p->columns[0].kind, PROFILE_CATEGORICAL);
  profile_free(p);
  p = built(&numeric, mixed, ARRAY_LEN(mixed));
  assert_int_equal(p->columns[0].kind, PROFILE_NUMERIC);
  assert_int_equal(p->columns[0].sketch.bad, 3);
  profile_free(p);
}

/* Texts that begin after many numbers: the numbers count as texts too, none is lost. */
static void texts_after_numbers(void **state) {
  enum { NUMBERS = 1000, TEXTS = 1500 };
  const char **texts = mem_calloc(NUMBERS + TEXTS, sizeof *texts);
  for (size_t i = 0; i < NUMBERS + TEXTS; i++) texts[i] = i < NUMBERS ? (i % 4 ? "7" : "") : i % 2 ? "red" : "blue";
  struct profile *p = built(NULL, texts, NUMBERS + TEXTS);
  const struct category *c = p->columns[0].category;
  assert_non_null(c);
  assert_int_equal(c->n, NUMBERS + TEXTS);
  assert_int_equal(c->null, NUMBERS / 4);
  assert_int_equal(c->dict.n, 3);
  assert_int_equal(c->count[0] + c->count[1] + c->count[2], NUMBERS * 3 / 4 + TEXTS);
  assert_int_equal(c->numbers, NUMBERS * 3 / 4);
  profile_free(p);
  mem_free(texts);
}

/* Windows in parts: what is merged is what one window would have counted. */
static void windows_in_parts(void **state) {
  struct err err = {0};
  struct profile *p = profile_of("city,sales\nAbilene,72\nAustin,1025\nDallas,3\nWaco,10\n", &err);
  for (size_t i = 0; i < p->n_columns; i++) {
    struct profile_column whole, parts[2];
    profile_column_window(&whole, &p->columns[i]);
    for (int part = 0; part < 2; part++) profile_column_window(&parts[part], &p->columns[i]);
    for (int row = 0; row < 40; row++) {
      struct cell cell = i ? cell_number(row * 7 % 11) : row % 3 ? cell_text("Waco", 4) : cell_text("Houston", 7);
      profile_column_add(&whole, cell);
      profile_column_add(&parts[row >= 25], cell);
    }
    assert_true(profile_column_merge(&parts[0], &parts[1], &err));
    if (i) {
      assert_int_equal(parts[0].sketch.n, 40);
      assert_true(sketch_mean(&parts[0].sketch) == sketch_mean(&whole.sketch));
      assert_int_equal(parts[0].order.up + parts[0].order.down, whole.order.up + whole.order.down - 1);
    } else {
      assert_int_equal(parts[0].category->unseen, 14);
      assert_int_equal(whole.category->unseen, 14);
    }
    profile_column_fini(&whole);
    for (int part = 0; part < 2; part++) profile_column_fini(&parts[part]);
  }
  assert_false(profile_column_merge(&p->columns[0], &p->columns[1], &err));
  profile_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(numbers),
                                     cmocka_unit_test(numbers_round_trip),
                                     cmocka_unit_test(cells),
                                     cmocka_unit_test(csv_records),
                                     cmocka_unit_test(profile_from_csv),
                                     cmocka_unit_test(profile_binary),
                                     cmocka_unit_test(profile_of_version_1),
                                     cmocka_unit_test(kinds_of_columns),
                                     cmocka_unit_test(texts_after_numbers),
                                     cmocka_unit_test(windows_in_parts)};
  return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
