/* NDJSON observations: what is taken byte for byte, what is refused with its line, what the bounds are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "trigger/observe.h"
#include "trigger/observe_csv.h"

static struct observe_batch parse(const char *body) {
  struct observe_batch batch;
  assert_true(observe_parse(&batch, body, strlen(body), NULL));
  return batch;
}

static void one_bad_line(void **state) {
  struct observe_batch b =
      parse("{\"a\":1,\"b\":null}\r\n\n{\"a\":}\n  {\"a\": 2.50}  \n[1]\n{}\n{\"a\":1,\"a\":2}\n{\"z\":9}");
  assert_int_equal(b.rows, 3);
  assert_string_equal(strbuf_text(&b.accepted), "{\"a\":1,\"b\":null}\n  {\"a\": 2.50}  \n{\"z\":9}\n");
  assert_int_equal(b.rejected, 4);
  assert_int_equal(b.n_errors, 4);
  assert_int_equal(b.errors[0].line, 3);
  assert_int_equal(b.errors[1].line, 5);
  assert_non_null(strstr(b.errors[1].text, "object"));
  assert_int_equal(b.errors[2].line, 6);
  assert_int_equal(b.errors[3].line, 7);
  assert_non_null(strstr(b.errors[3].text, "duplicate"));
  struct strbuf answer;
  strbuf_init(&answer, 10000);
  observe_answer(&b, &answer);
  json_t *doc = json_loads(strbuf_text(&answer), 0, NULL);
  assert_int_equal(json_integer_value(json_object_get(doc, "accepted")), 3);
  assert_int_equal(json_integer_value(json_object_get(doc, "rejected_count")), 4);
  assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(doc, "rejected"), 1), "line")), 5);
  json_decref(doc);
  strbuf_fini(&answer);
  observe_fini(&b);
}

static void odd_bodies(void **state) {
  struct observe_batch b = parse("");
  assert_true(b.rows == 0 && b.rejected == 0);
  observe_fini(&b);
  b = parse("{\"c\":null}\r\r\n");
  assert_string_equal(strbuf_text(&b.accepted), "{\"c\":null}\n");
  observe_fini(&b);
  b = parse("\n\r\n \n");
  assert_true(b.rows == 0 && b.rejected == 0);
  observe_fini(&b);
  assert_true(observe_parse(&b, "{\"a\":1}\n\0\n{\"a\":2}", 17, NULL));
  assert_int_equal(b.rows, 2);
  assert_int_equal(b.errors[0].line, 2);
  observe_fini(&b);
  b = parse("{\"a\":\"\xff\xfe\"}\n{\"a\":1e999}\n{\"a\":123456789012345678901234567890}\n\"text\"\n{\"\":1}\nNaN\n{"
            "\"a\":NaN}");
  assert_int_equal(b.rows, 1); /* a big whole number is a number */
  assert_int_equal(b.rejected, 6);
  observe_fini(&b);
}

static void bounds(void **state) {
  struct strbuf body;
  struct err err = {0};
  struct observe_batch b;
  strbuf_init(&body, OBSERVE_BODY_MAX * 2);
  strbuf_puts(&body, "{\"a\":\"");
  while (body.len < OBSERVE_LINE_MAX) strbuf_putc(&body, 'x');
  strbuf_puts(&body, "\"}\n{\"a\":[[[[[[[1]]]]]]]}\n{\"a\":[[[[[[[[1]]]]]]]]}\n{");
  for (int i = 0; i < OBSERVE_COLUMNS_MAX + 1; i++) strbuf_printf(&body, "%s\"c%d\":%d", i ? "," : "", i, i);
  strbuf_puts(&body, "}\n{\"");
  for (int i = 0; i < OBSERVE_NAME_MAX + 1; i++) strbuf_putc(&body, 'n');
  strbuf_puts(&body, "\":1}\n");
  assert_true(observe_parse(&b, body.data, body.len, &err));
  assert_int_equal(b.rows, 1);
  assert_int_equal(b.rejected, 4);
  assert_non_null(strstr(b.errors[0].text, "65536"));
  assert_non_null(strstr(b.errors[1].text, "nested"));
  assert_non_null(strstr(b.errors[2].text, "columns"));
  assert_non_null(strstr(b.errors[3].text, "name"));
  observe_fini(&b);
  strbuf_reset(&body);
  for (int i = 0; i < 5000; i++) strbuf_puts(&body, "{\n");
  assert_true(observe_parse(&b, body.data, body.len, &err));
  assert_int_equal(b.rejected, 5000);
  assert_int_equal(b.n_errors, OBSERVE_ERRORS_MAX);
  observe_fini(&b);
  while (body.len <= OBSERVE_BODY_MAX) strbuf_puts(&body, "{\"a\":1}\n");
  assert_false(observe_parse(&b, body.data, body.len, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  observe_fini(&b);
  /* A body that just fits and lacks its last newline. */
  strbuf_reset(&body);
  while (body.len + 8 <= OBSERVE_BODY_MAX - 7) strbuf_puts(&body, "{\"a\":1}\n");
  strbuf_puts(&body, "{\"a\":1}");
  assert_true(observe_parse(&b, body.data, body.len, &err));
  assert_false(b.accepted.failed);
  assert_int_equal(b.accepted.len, body.len + 1);
  observe_fini(&b);
  strbuf_fini(&body);
}

static void row_times(void **state) {
  int64_t us = 0;
  struct err err;
  const char *line = "{\"at\":\"2003-01-31T00:00:00Z\",\"timestamp\":\"2004-01-01T00:00:00Z\"}";
  json_t *row = observe_row(line, strlen(line), &err);
  assert_true(observe_row_time(row, &us));
  assert_int_equal(us, 1043971200000000);
  json_decref(row);
  row = observe_row("{\"at\":3,\"timestamp\":\"soon\"}", 27, &err);
  assert_false(observe_row_time(row, &us));
  json_decref(row);
}

/* What a CSV file says arrives as rows that observe_parse() takes. */
static void csv_rows(void **state) {
  const struct csv_field head[] = {{"a", 1}, {"b \"q\"", 5}, {"c", 1}}, twice[] = {{"a", 1}, {"a", 1}},
                         none[] = {{"", 0}};
  const struct csv_field first[] = {{"1.50", 4}, {"Dallas", 6}, {"", 0}},
                         second[] = {{"+.5", 3}, {"NA", 2}, {"-inf", 4}},
                         third[] = {{"007", 3}, {"1e5", 3}, {"nan", 3}};
  struct observe_csv csv;
  struct err err = {0};
  struct strbuf out;
  strbuf_init(&out, 10000);
  assert_true(observe_csv_header(&csv, head, 3, &err));
  assert_true(observe_csv_row(&csv, first, 3, &out, &err) && observe_csv_row(&csv, second, 3, &out, &err) &&
              observe_csv_row(&csv, third, 3, &out, &err));
  assert_string_equal(strbuf_text(&out), "{\"a\":1.50,\"b \\\"q\\\"\":\"Dallas\",\"c\":null}\n"
                                         "{\"a\":0.5,\"b \\\"q\\\"\":null,\"c\":\"-Infinity\"}\n"
                                         "{\"a\":7.0,\"b \\\"q\\\"\":1e5,\"c\":\"NaN\"}\n");
  struct observe_batch b = parse(strbuf_text(&out));
  assert_int_equal(b.rows, 3);
  observe_fini(&b);
  assert_false(observe_csv_row(&csv, first, 2, &out, &err));
  observe_csv_fini(&csv);
  assert_false(observe_csv_header(&csv, twice, 2, &err));
  assert_non_null(strstr(err.text, "twice"));
  assert_false(observe_csv_header(&csv, none, 1, &err));
  strbuf_fini(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(one_bad_line), cmocka_unit_test(odd_bodies),
                                     cmocka_unit_test(bounds), cmocka_unit_test(row_times), cmocka_unit_test(csv_rows)};
  return cmocka_run_group_tests_name("observe", tests, NULL, NULL);
}
