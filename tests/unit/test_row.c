/* Rows as flat columns: what nests, what stands twice, what is refused, and that the quick way says what the slow says.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "trigger/row.h"

static bool parse(struct row_parser *p, const char *line, struct err *err) {
  *err = (struct err){0};
  return row_parse(p, line, strlen(line), err);
}

static void assert_cell(const struct row_cell *cell, enum row_kind kind, const char *text) {
  assert_int_equal(cell->kind, kind);
  if (!text) return;
  assert_int_equal(cell->len, strlen(text));
  assert_memory_equal(cell->text, text, cell->len);
}

static void flat_columns(void **state) {
  const char *const names[] = {"a", "f.income", "f", "list", "none", "a", "f.deep.er", "b", "t", "odd \"é\""};
  struct row_parser *p = row_parser_new(names, ARRAY_LEN(names), NULL);
  struct err err;
  for (int round = 0; round < 3; round++) { /* anew, as before, as before */
    assert_true(parse(p,
                      "{\"a\":1.50,\"f\":{\"income\":null,\"x\":2,\"deep\":{\"er\":\"so\"}},\"list\":[1,{\"a\":7}],"
                      "\"b\":true,\"t\":\"q\\\"\\u00e9\\ud83d\\ude00\",\"odd \\\"\\u00e9\\\"\":-2e-3}",
                      &err));
    const struct row_cell *c = row_cells(p);
    assert_cell(&c[0], ROW_NUMBER, "1.50");
    assert_true(c[0].number == 1.5);
    assert_cell(&c[1], ROW_NULL, NULL);
    assert_cell(&c[2], ROW_BAD, NULL);
    assert_cell(&c[3], ROW_BAD, NULL);
    assert_cell(&c[4], ROW_ABSENT, NULL);
    assert_cell(&c[5], ROW_NUMBER, "1.50");
    assert_cell(&c[6], ROW_TEXT, "so");
    assert_cell(&c[7], ROW_BOOL, "true");
    assert_cell(&c[8], ROW_TEXT, "q\"é😀");
    assert_true(c[9].kind == ROW_NUMBER && c[9].number == -2e-3);
  }
  assert_true(parse(p, "{\"f.income\":4,\"b\":false}", &err));
  assert_cell(&row_cells(p)[0], ROW_ABSENT, NULL);
  assert_cell(&row_cells(p)[1], ROW_NUMBER, "4");
  assert_cell(&row_cells(p)[7], ROW_BOOL, "false");
  assert_false(parse(p, "{\"f.income\":4,\"b\":fals}", &err));
  assert_cell(&row_cells(p)[1], ROW_ABSENT, NULL);
  row_parser_free(p);
}

static void twice(void **state) {
  static const char *const bad[] = {
      "{\"a\":1,\"a\":1}",
      "{\"f\":{\"a\":1},\"f\":{\"b\":1}}",
      "{\"f\":{\"a\":1,\"a\":2}}",
      "{\"f.a\":1,\"f\":{\"a\":2}}",
      "{\"f\":{\"a\":2},\"f.a\":1}",
      "{\"x\":[{\"a\":1,\"a\":2}]}",
      "{\"x\":[[{\"a\":{\"b\":1,\"b\":1}}]]}",
      "{\"x\":1,\"\\u0078\":2}",
      "{\"f.g\":{\"h\":1},\"f\":{\"g.h\":1}}",
  };
  static const char *const good[] = {
      "{\"x\":[{\"a\":1},{\"a\":2}],\"a\":3}",
      "{\"f\":{\"a\":1},\"g\":{\"a\":1},\"a\":{}}",
      "{\"x\":[{\"a\":1,\"b\":{\"a\":1}}]}",
  };
  struct row_parser *p = row_parser_new(NULL, 0, NULL);
  struct err err;
  for (size_t round = 0; round < 2; round++)
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
      assert_false(parse(p, bad[i], &err));
      assert_non_null(strstr(err.text, "duplicate"));
      assert_true(parse(p, good[i % ARRAY_LEN(good)], &err));
    }
  assert_false(parse(p, bad[3], &err));
  assert_non_null(strstr(err.text, "inside an object"));
  row_parser_free(p);
}

static void refused(void **state) {
  static const char *const bad[] = {
      "",
      "1",
      "[{\"a\":1}]",
      "{}",
      "{\"a\":1} x",
      "{\"a\":1}{\"b\":2}",
      "{\"a\":1",
      "{\"a\":}",
      "{\"a\" 1}",
      "{\"a\":01}",
      "{\"a\":1.}",
      "{\"a\":NaN}",
      "{\"a\":1e999}",
      "{a:1}",
      "{\"\":1}",
      "{\"a\":1,}",
      "{\"a\":\"\\x\"}",
      "{\"a\":tru}",
      "{\"a\":'b'}",
      "{\"a\":\"\t\"}",
      "null",
      "/**/{\"a\":1}",
      "{\"a\":\"\\u0000\"}",
      "{\"a\":\"\\ud800\"}",
      "{\"a\":\"\\udc00\\ud800\"}",
      "{\"\\ud800\":1}",
      "{\"a\":\"\\ud800\\u0041\"}",
      "{\"a\":\"\xff\"}",
      "{\"a\":\"\xc0\xaf\"}",
      "{\"a\":\"\xed\xa0\x80\"}",
      "{\"a\":\"\xf4\x90\x80\x80\"}",
      "{\"a\":\"\xc3",
      "{\"a\":-}",
      "{\"a\":+1}",
      "{\"a\":1}\x01",
  };
  struct row_parser *p = row_parser_new(NULL, 0, NULL);
  struct err err;
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
    if (parse(p, bad[i], &err)) fail_msg("taken: %s", bad[i]);
    assert_true(err.code == ERR_INVALID && err.text[0] && !strchr(err.text, '\n'));
  }
  assert_false(row_parse(p, "{\"a\":1\0}", 8, &err));
  assert_true(parse(p, " {\"a\" : [ ] , \"b\":\"\\\\ud800 \\/\", \"c\":1E+2}\t", &err));
  assert_false(parse(p, "{\"a\":12345678901234567890123456789012345678901234567890123456789012345}", &err));
  assert_int_equal(err.code, ERR_LIMIT);
  row_parser_free(p);
}

static void reserved_keys(void **state) {
  const char *const names[] = {"score"};
  const struct row_keys keys = {.id = "meta.request", .at = "when", .latency = "ms"};
  struct row_parser *p = row_parser_new(names, 1, &keys);
  struct err err;
  int64_t us = 0;
  assert_true(parse(p,
                    "{\"meta\":{\"request\":\"r-1\"},\"when\":\"2003-01-31T00:00:00Z\",\"at\":\"2004-01-31T00:00:00Z\","
                    "\"prediction\":\"yes\",\"score\":0.25,\"version\":3,\"ms\":12.5}",
                    &err));
  assert_cell(row_key(p, ROW_ID), ROW_TEXT, "r-1");
  assert_cell(row_key(p, ROW_PREDICTION), ROW_TEXT, "yes");
  assert_true(row_key(p, ROW_SCORE)->number == 0.25 && row_cells(p)[0].number == 0.25);
  assert_true(row_key(p, ROW_VERSION)->number == 3 && row_key(p, ROW_LATENCY)->number == 12.5);
  assert_true(row_time(p, &us));
  assert_int_equal(us, 1043971200000000);
  row_parser_free(p);
  p = row_parser_new(NULL, 0, NULL);
  assert_true(parse(p, "{\"timestamp\":\"2003-01-31T00:00:00Z\",\"at\":\"2004-01-01T00:00:00Z\"}", &err));
  assert_true(row_time(p, &us));
  assert_int_equal(us, 1072915200000000);
  assert_true(parse(p, "{\"at\":3,\"timestamp\":\"soon\"}", &err));
  assert_false(row_time(p, &us));
  row_parser_free(p);
}

static void views(void **state) {
  const char *const names[] = {"a"};
  struct row_parser *p = row_parser_new(names, 1, NULL);
  struct err err;
  const char *text;
  size_t len;
  assert_true(parse(p, "{\"a\":\"-Infinity\"}", &err));
  assert_true(isinf(row_number(row_cells(p)).number));
  assert_true(parse(p, "{\"a\":\"12\"}", &err));
  assert_int_equal(row_number(row_cells(p)).kind, CELL_BAD);
  assert_true(row_category(row_cells(p), &text, &len) && len == 2);
  assert_true(parse(p, "{\"a\":true}", &err));
  assert_true(row_number(row_cells(p)).number == 1);
  assert_true(parse(p, "{\"b\":true}", &err));
  assert_int_equal(row_number(row_cells(p)).kind, CELL_NULL);
  assert_false(row_category(row_cells(p), &text, &len));
  row_parser_free(p);
}

/* ---- a random walk: a parser that has seen other rows says what a new one says ---- */

static uint64_t random_state;
static uint64_t next_random(void) { /* splitmix64 */
  uint64_t z = random_state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static void random_value(struct strbuf *out, int depth) {
  uint64_t dice = next_random();
  switch (depth > 5 ? dice % 4 : dice % 7) {
  case 0:
    strbuf_printf(out, "%d", (int)(dice >> 40) % 100);
    return;
  case 1:
    strbuf_puts(out, "null");
    return;
  case 2:
    strbuf_puts(out, (dice >> 20) % 4 ? "\"text\"" : "\"\\u00e9\"");
    return;
  case 3:
    strbuf_puts(out, "true");
    return;
  case 4:
    strbuf_putc(out, '[');
    for (int i = 0; i < (int)(dice >> 30) % 3; i++) {
      if (i) strbuf_putc(out, ',');
      random_value(out, depth + 1);
    }
    strbuf_putc(out, ']');
    return;
  default:
    strbuf_putc(out, '{');
    for (int i = 0; i < (int)(dice >> 30) % 4; i++) {
      static const char *const keys[] = {"a", "b", "c", "a.b", "b.c", "d", "\\u0061"};
      strbuf_printf(out, "%s\"%s\":", i ? "," : "", keys[next_random() % ARRAY_LEN(keys)]);
      random_value(out, depth + 1);
    }
    strbuf_putc(out, '}');
  }
}

static void quick_way_is_the_slow_way(void **state) {
  const char *const names[] = {"a", "b", "c", "a.b", "b.c", "d", "a.a", "a.b.c", "b.a"};
  struct row_parser *old = row_parser_new(names, ARRAY_LEN(names), NULL);
  struct strbuf lines[4];
  int taken = 0;
  random_state = getenv("ORCH_SEED") ? strtoul(getenv("ORCH_SEED"), NULL, 10) : 20260105;
  print_message("seed %llu (ORCH_SEED)\n", (unsigned long long)random_state);
  for (int i = 0; i < 4; i++) strbuf_init(&lines[i], 60000);
  for (int i = 0; i < 4000; i++) {
    /* Mostly rows that were seen before, among others: the order in which they come must not matter. */
    struct strbuf *line = &lines[next_random() % 4];
    if (line->len == 0 || next_random() % 3 == 0) {
      strbuf_reset(line);
      do {
        strbuf_reset(line);
        random_value(line, 0);
      } while (line->data[0] != '{');
    }
    struct row_parser *new = row_parser_new(names, ARRAY_LEN(names), NULL);
    struct err a = {0}, b = {0};
    bool fine = row_parse(new, line->data, line->len, &a);
    if (row_parse(old, line->data, line->len, &b) != fine) fail_msg("%s: %s / %s", line->data, a.text, b.text);
    assert_string_equal(a.text, b.text);
    json_t *tree = json_loadb(line->data, line->len, JSON_REJECT_DUPLICATES, NULL);
    if (fine) assert_non_null(tree); /* what jansson refuses is refused */
    json_decref(tree);
    taken += fine;
    for (size_t k = 0; k < ARRAY_LEN(names); k++) {
      const struct row_cell *x = &row_cells(new)[k], *y = &row_cells(old)[k];
      if (x->kind != y->kind || x->len != y->len || (x->len && memcmp(x->text, y->text, x->len) != 0))
        fail_msg("%s: column %s", line->data, names[k]);
    }
    row_parser_free(new);
  }
  assert_true(taken > 500 && taken < 3900);
  for (int i = 0; i < 4; i++) strbuf_fini(&lines[i]);
  row_parser_free(old);
}

/* ---- the grammar: what jansson reads is read, what it refuses is refused ---- */

/* Bytes of which JSON is made, so that a changed line is often nearly right. */
static void mutate(struct strbuf *line) {
  static const char bytes[] = "{}[]\",:\\ueE+-.0123456789truefalsnl \t\x01\x7f\xc3\xa9/b";
  for (uint64_t n = next_random() % 3 + 1; n > 0 && line->len > 1; n--) {
    size_t at = next_random() % line->len;
    char byte = bytes[next_random() % (sizeof bytes - 1)];
    switch (next_random() % 3) {
    case 0:
      line->data[at] = byte;
      break;
    case 1: /* taken out */
      memmove(line->data + at, line->data + at + 1, line->len - at);
      line->len--;
      break;
    default:
      strbuf_putc(line, 0);
      memmove(line->data + at + 1, line->data + at, line->len - 1 - at);
      line->data[at] = byte;
    }
  }
}

static void as_another_reader(void **state) {
  static const char *const seeds[] = {
      "{\"id\":\"r-17\",\"city\":\"El Paso\",\"a\":-12.5e+3,\"b\":[1,{\"x\":null}],\"c\":{\"d\":true,\"e\":false}}",
      "{\"t\":\"\\u00e9\\ud83d\\ude00\\n\\\\\\\"/\",\"long text of more than sixteen bytes\":0.000123456789,\"z\":0}",
      " { \"a\" : [ ] , \"b\" : { } , \"c\" : [ [ 1 , 2 ] , -0 ] , \"d\" : \"\" } ",
  };
  struct row_parser *p = row_parser_new(NULL, 0, NULL);
  struct strbuf line;
  int fine = 0, rounds = 60000;
  random_state = getenv("ORCH_SEED") ? strtoul(getenv("ORCH_SEED"), NULL, 10) : 20260105;
  print_message("seed %llu (ORCH_SEED)\n", (unsigned long long)random_state);
  strbuf_init(&line, 1000);
  for (int i = 0; i < rounds; i++) {
    struct err err = {0};
    json_error_t why;
    strbuf_reset(&line);
    strbuf_puts(&line, seeds[next_random() % ARRAY_LEN(seeds)]);
    mutate(&line);
    bool taken = row_parse(p, line.data, line.len, &err);
    json_t *tree = json_loadb(line.data, line.len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &why);
    bool grammar = strncmp(err.text, "no JSON", 7) == 0;
    if (taken && !tree) fail_msg("taken, but %s: %s", why.text, line.data);
    if (grammar && json_is_object(tree)) fail_msg("refused (%s): %s", err.text, line.data);
    fine += taken;
    json_decref(tree);
  }
  assert_true(fine > rounds / 20 && fine < rounds * 19 / 20);
  strbuf_fini(&line);
  row_parser_free(p);
}

/* Every length of line around the eight bytes that are looked at together. */
static void lengths(void **state) {
  const char *const names[] = {"n", "t"};
  struct row_parser *p = row_parser_new(names, 2, NULL);
  struct err err;
  for (int digits = 1; digits <= 40; digits++) {
    char line[256], number[64];
    for (int i = 0; i < digits; i++) number[i] = (char)('1' + i % 9);
    number[digits] = 0;
    if (digits > 3) number[3] = '.';
    int len = snprintf(line, sizeof line, "{\"t\":\"%.*s\",\"n\":%s}", digits,
                       "abcdefgh\xc3\xa9ijklmnopqrstuvwxyz0123456789ABCDEFG", number);
    char *exact = malloc((size_t)len); /* so that a sanitizer sees a byte too many */
    memcpy(exact, line, (size_t)len);
    bool cut = digits == 9; /* half of an e with an accent */
    bool fine = digits == 4 ? false : !cut;
    assert_int_equal(row_parse(p, exact, (size_t)len, &err), fine);
    if (fine) {
      assert_true(row_cells(p)[0].number == strtod(number, NULL));
      assert_int_equal(row_cells(p)[1].len, digits);
    }
    free(exact);
  }
  row_parser_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(flat_columns),      cmocka_unit_test(twice),   cmocka_unit_test(refused),
      cmocka_unit_test(reserved_keys),     cmocka_unit_test(views),   cmocka_unit_test(quick_way_is_the_slow_way),
      cmocka_unit_test(as_another_reader), cmocka_unit_test(lengths),
  };
  return cmocka_run_group_tests_name("row", tests, NULL, NULL);
}
