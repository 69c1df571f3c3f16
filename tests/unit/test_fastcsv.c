/* The fast reader against the exact one: random and hostile texts give the same numbers, bit for bit, or are odd. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "drift_data.h"
#include "stats/fastcsv.h"

#define COLUMNS 24
#define FEW 3 /* columns of a small table */

/* What a reader made of a text, as one long line of text. */
struct seen {
  struct strbuf out[COLUMNS];
  uint64_t rows;
};

static void seen_init(struct seen *seen) {
  seen->rows = 0;
  for (int i = 0; i < COLUMNS; i++) strbuf_init(&seen->out[i], 1 << 22);
}

static void seen_fini(struct seen *seen) {
  for (int i = 0; i < COLUMNS; i++) strbuf_fini(&seen->out[i]);
}

static void note(struct strbuf *out, double value) {
  uint64_t bits;
  if (isnan(value)) value = NAN;
  memcpy(&bits, &value, sizeof bits);
  strbuf_printf(out, "%016llx ", (unsigned long long)(isnan(value) ? 0x7ff8000000000000 : bits));
}

static void on_block(void *arg, const struct fastcsv *csv) {
  struct seen *seen = arg;
  assert_in_range(csv->rows, 1, FASTCSV_ROWS);
  seen->rows += csv->rows;
  for (size_t i = 0; i < csv->n_columns; i++) {
    const struct fastcsv_column *c = &csv->columns[i];
    for (uint32_t j = 0; j < c->n_values; j++) note(&seen->out[i], c->values[j]);
    if (c->want == FASTCSV_NUMBERS) assert_int_equal(c->n_values + c->null + c->bad, csv->rows);
    if (c->want == FASTCSV_SKIP) assert_int_equal(c->n_values + c->null + c->bad, 0);
  }
}

static void on_text(void *arg, size_t column, struct cell cell) {
  struct seen *seen = arg;
  strbuf_puts(&seen->out[column], "<");
  strbuf_add(&seen->out[column], cell.text, cell.len);
  strbuf_puts(&seen->out[column], ">");
}

#define THREE_BY_THREE(a, b, c)                                                                                        \
  { a, b, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b, c, a, b, c }
static const enum fastcsv_want wants[][COLUMNS] = {
    THREE_BY_THREE(FASTCSV_NUMBERS, FASTCSV_NUMBERS, FASTCSV_NUMBERS),
    THREE_BY_THREE(FASTCSV_TEXTS, FASTCSV_NUMBERS, FASTCSV_SKIP),
    THREE_BY_THREE(FASTCSV_SKIP, FASTCSV_TEXTS, FASTCSV_NUMBERS),
};

static bool exact_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct fastcsv *csv = arg;
  if (n != csv->n_columns) return err_set(err, ERR_INVALID, "line %llu", (unsigned long long)line);
  fastcsv_take(csv, fields);
  return true;
}

/* Both readers over one text, the fast one in random pieces and by the instructions of a level. Returns whether the
 * fast one could read it. */
static bool both_at(int level, const char *text, size_t len, const enum fastcsv_want *want, size_t columns,
                    uint64_t *random) {
  struct seen fast, exact;
  struct fastcsv a, b;
  struct err err = {0};
  seen_init(&fast);
  seen_init(&exact);
  fastcsv_init(&a, want, columns, on_block, on_text, &fast);
  fastcsv_init(&b, want, columns, on_block, on_text, &exact);
  struct csv_reader *reader = csv_reader_new(exact_record, &b);
  bool fine = csv_reader_feed(reader, text, len, &err) && csv_reader_finish(reader, &err), read = true;
  csv_reader_free(reader);
  fastcsv_flush(&b);

  for (size_t at = 0; read && at < len;) {
    size_t stop = at + 1 + test_random(random) % (test_random(random) % 4 ? 300 : 6000);
    while (stop < len && text[stop - 1] != '\n') stop++;
    if (stop > len) stop = len;
    bool ends = text[stop - 1] == '\n';
    /* Its own allocation: sanitizers see every byte too far. */
    char *memory = mem_alloc(stop - at + 1 + 2 * FASTCSV_PADDING), *piece = memory + FASTCSV_PADDING;
    memcpy(piece, text + at, stop - at);
    if (!ends) piece[stop - at] = '\n';
    read = fastcsv_feed_level(&a, piece, stop - at + !ends, level);
    mem_free(memory);
    at = stop;
  }
  if (read) fastcsv_flush(&a); /* otherwise a record may be half counted */
  if (read && !fine) fail_msg("the fast reader took what the exact one refuses (%s): %.*s", err.text, (int)len, text);
  bool quoted = memchr(text, '"', len) != NULL;
  if (!read && fine && !quoted) fail_msg("odd, but the exact reader takes it: %.*s", (int)len, text);
  if (read) {
    assert_int_equal(fast.rows, exact.rows);
    for (size_t i = 0; i < columns; i++) {
      if (strcmp(strbuf_text(&fast.out[i]), strbuf_text(&exact.out[i])) != 0)
        fail_msg("level %d, column %zu differs for: %.*s\nfast  %s\nexact %s", level, i, (int)len, text,
                 strbuf_text(&fast.out[i]), strbuf_text(&exact.out[i]));
      assert_int_equal(a.columns[i].null, b.columns[i].null);
    }
  }
  fastcsv_fini(&a);
  fastcsv_fini(&b);
  seen_fini(&fast);
  seen_fini(&exact);
  return read;
}

/* At every level that this processor has. */
static bool both(const char *text, size_t len, const enum fastcsv_want *want, size_t columns, uint64_t *random) {
  bool read = both_at(0, text, len, want, columns, random);
  for (int level = 1; level <= fastcsv_level(); level++)
    assert_int_equal(both_at(level, text, len, want, columns, random), read);
  return read;
}

static uint64_t seed(const char *what) {
  uint64_t state = (uint64_t)time(NULL);
  const char *given = getenv("ORCH_TEST_SEED");
  if (given) state = strtoull(given, NULL, 10);
  print_message("%s: ORCH_TEST_SEED=%llu\n", what, (unsigned long long)state);
  return state;
}

/* A number as programs write it: every count of digits, both signs, with and without fraction and exponent. */
static int random_number(char *out, size_t size, uint64_t *random) {
  uint64_t bits = test_random(random), mantissa = bits >> (test_random(random) % 64);
  double value;
  switch (test_random(random) % 6) {
  case 0:
    return snprintf(out, size, "%s%llu", bits & 1 ? "-" : "", (unsigned long long)mantissa);
  case 1:
    return snprintf(out, size, "%s%llu.%0*llu", bits & 1 ? "-" : "", (unsigned long long)(mantissa % 100000),
                    (int)(1 + bits % 12), (unsigned long long)(bits % 1000000));
  case 2: /* any double at all, in the shortest form that reads back */
    memcpy(&value, &bits, sizeof value);
    return snprintf(out, size, "%.17g", value);
  case 3:
    return snprintf(out, size, "%.*g", (int)(1 + bits % 19), (double)mantissa / 1e9);
  case 4: /* near the middle between two doubles, where a second rounding would show */
    value = (double)(mantissa >> 11);
    return snprintf(out, size, "%.1f%llu", value + 0.5, (unsigned long long)(bits % 1000));
  default:
    return snprintf(out, size, "%llu.%llue%d", (unsigned long long)(mantissa % 1000),
                    (unsigned long long)(bits % 100000), (int)(bits % 80) - 40);
  }
}

/* As most tables have them: up to 15 characters, now and then something that only looks like a number. */
static int short_number(char *out, size_t size, uint64_t *random) {
  uint64_t bits = test_random(random);
  if (bits % 50 == 0) {
    static const char alphabet[] = "00112233445566778899....----";
    size_t len = test_random(random) % 17;
    for (size_t i = 0; i < len; i++) out[i] = alphabet[test_random(random) % (sizeof alphabet - 1)];
    out[len] = 0;
    return (int)len;
  }
  return snprintf(out, size, "%.*f", (int)(bits % 8), (double)((int64_t)bits >> 20) / 1e7);
}

static void numbers_are_bit_identical(void **state) {
  uint64_t random = seed("numbers"), taken = 0;
  for (int i = 0; i < 300000; i++) {
    char text[128 + FASTCSV_PADDING] = "";
    double fast, exact;
    int len = random_number(text, 128, &random);
    const char *end = fastcsv_number(text, &fast);
    if (!end) continue;
    taken++;
    assert_ptr_equal(end, text + len);
    assert_true(number_parse(text, (size_t)len, &exact));
    if (fast != exact || signbit(fast) != signbit(exact)) fail_msg("%s: %.17g, exactly %.17g", text, fast, exact);
  }
  assert_true(taken > 150000); /* the fast path is the usual one */
}

static void known_texts(void **state) {
  static const struct {
    const char *text;
    bool read;
  } cases[] = {
      {"1,2,3\n4,5,6\n", true},
      {"1,2,3\r\n4,5,6\r\n", true},
      {"1,2,3", true},
      {",,\n", true},
      {"NA,nan,-inf\n 7 , +8,none\n", true},
      {"\n\r\n1,2,3\n\n\n", true},
      {"1e5,1E-05,.5\n5.,0x10,1 000\n", true},
      {"-0,-0.0,00012\n", true},
      {"9007199254740993,9007199254740992.5,18446744073709551615\n", true},
      {"18446744073709551616,99999999999999999999,0.00000000000000000000000001\n", true},
      {"1,2\n", false},
      {"1,2,3,4\n", false},
      {"1,\"2\",3\n", false},
      {"1,2\"2,3\n", false},
      {"\r\r\n", false},
      {"1,2,3\r", true},
      {"1,2,3\r\r\n", true},
      {"1\r,2\r,3\n", true},
      {"", true},
      {"abc,d\u00e9f,-\n", true},
  };
  uint64_t random = 1;
  for (size_t i = 0; i < ARRAY_LEN(cases); i++)
    for (size_t w = 0; w < ARRAY_LEN(wants); w++)
      if (both(cases[i].text, strlen(cases[i].text), wants[w], FEW, &random) != cases[i].read)
        fail_msg("case %zu: %s", i, cases[i].text);
  assert_false(both("1,2,\0003\n", 7, wants[0], FEW, &random));
  assert_false(both("1,2,3\0\n", 7, wants[0], FEW, &random));
}

struct counted {
  uint64_t rows, blocks, values[3], null[3], bad[3];
};

static void count_block(void *arg, const struct fastcsv *csv) {
  struct counted *c = arg;
  assert_int_equal(csv->rows, c->blocks < 2 ? FASTCSV_ROWS : 3000 - 2 * FASTCSV_ROWS);
  for (size_t i = 0; i < 3; i++) {
    for (uint32_t j = 0; j < csv->columns[i].n_values; j++, c->values[i]++)
      if (csv->columns[i].values[j] != (double)(c->values[i] % 997) / 8) fail_msg("column %zu, %u", i, j);
    c->null[i] += csv->columns[i].null;
    c->bad[i] += csv->columns[i].bad;
  }
  c->rows += csv->rows;
  c->blocks++;
}

/* Values in their order, and the cells that are none, over several blocks: told by the table, not by the other reader.
 */
static void blocks_hold_what_the_table_says(void **state) {
  for (int level = 0; level <= fastcsv_level(); level++) {
    struct counted c = {0};
    struct fastcsv csv;
    struct strbuf text;
    uint64_t next[3] = {0}, null = 0, bad = 0;
    strbuf_init(&text, 1 << 20);
    for (size_t i = 0; i < FASTCSV_PADDING; i++) strbuf_puts(&text, " ");
    for (int row = 0; row < 3000; row++)
      for (int i = 0; i < 3; i++) {
        bool is_null = i == 1 && row % 7 == 3, is_bad = i == 2 && row % 900 == 899;
        if (!is_null && !is_bad) strbuf_printf(&text, "%.3f", (double)(next[i]++ % 997) / 8);
        if (is_bad) strbuf_puts(&text, "high");
        strbuf_puts(&text, i == 2 ? "\n" : ",");
        null += is_null;
        bad += is_bad;
      }
    size_t len = text.len - FASTCSV_PADDING;
    for (size_t i = 0; i < FASTCSV_PADDING; i++) strbuf_puts(&text, " ");
    fastcsv_init(&csv, wants[0], 3, count_block, NULL, &c);
    assert_true(fastcsv_feed_level(&csv, strbuf_text(&text) + FASTCSV_PADDING, len, level));
    fastcsv_flush(&csv);
    fastcsv_fini(&csv);
    strbuf_fini(&text);
    assert_int_equal(c.rows, 3000);
    assert_int_equal(c.blocks, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(c.values[i], next[i]);
    assert_int_equal(c.null[1], null);
    assert_int_equal(c.bad[2], bad);
    assert_int_equal(c.null[0] + c.null[2] + c.bad[0] + c.bad[1], 0);
  }
}

static void random_tables(void **state) {
  uint64_t random = seed("tables");
  static const char *const cells[] = {"",   "NA",     "nan",  "x",   " 12 ", "-inf",
                                      "+3", "Dallas", "a\rb", "1,5", "3\"",  "0x1"};
  for (int round = 0; round < 300; round++) {
    struct strbuf text;
    strbuf_init(&text, 1 << 20);
    size_t columns = 1 + test_random(&random) % (round % 2 ? COLUMNS : FEW), rows = test_random(&random) % 700;
    bool narrow = test_random(&random) % 2;
    unsigned wild = test_random(&random) % 4 ? 0 : 4;
    for (size_t r = 0; r < rows; r++)
      for (size_t c = 0; c < columns; c++) {
        char cell[128];
        if (narrow)
          short_number(cell, sizeof cell, &random);
        else
          random_number(cell, sizeof cell, &random);
        uint64_t pick = test_random(&random);
        bool other = pick % (narrow ? 40 : 9) == 0;
        /* Cells that break the table are rare, so that most texts are read to their end. */
        size_t kinds = ARRAY_LEN(cells) - 3 + (wild && pick % 1000 < wild ? 3 : 0);
        strbuf_puts(&text, other ? cells[(pick >> 10) % kinds] : cell);
        strbuf_puts(&text, c + 1 < columns ? "," : pick % 5 ? "\n" : "\r\n");
      }
    both(strbuf_text(&text), text.len, wants[round % 3], columns, &random);
    strbuf_fini(&text);
  }
}

static void hostile_bytes(void **state) {
  uint64_t random = seed("bytes");
  static const char alphabet[] = "0123456789.-+eE,,,,\n\n\r\"NAnaif x\xef\xbb\xbf";
  for (int round = 0; round < 20000; round++) {
    char text[64];
    size_t len = test_random(&random) % sizeof text;
    for (size_t i = 0; i < len; i++) {
      uint64_t pick = test_random(&random);
      text[i] = pick % 50 == 0 ? (char)(pick >> 8) : alphabet[(pick >> 8) % (sizeof alphabet - 1)];
    }
    /* A byte order mark at the very front is the header's business, which csv.h reads. */
    if (len && (unsigned char)text[0] == 0xef) text[0] = '1';
    both(text, len, wants[round % 3], 1 + (size_t)round % FEW, &random);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_are_bit_identical), cmocka_unit_test(known_texts),
                                     cmocka_unit_test(blocks_hold_what_the_table_says), cmocka_unit_test(random_tables),
                                     cmocka_unit_test(hostile_bytes)};
  return cmocka_run_group_tests_name("fastcsv", tests, NULL, NULL);
}
