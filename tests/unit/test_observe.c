/* NDJSON observations: what is taken byte for byte, what is refused with its line, what the bounds are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "trigger/gunzip.h"
#include "trigger/observe.h"
#include "trigger/observe_csv.h"
#include "trigger/observe_labels.h"
#include "trigger/observe_send.h"

static struct observe_plan *plan; /* the one of a pipeline that says nothing about its rows */
static struct observe_plan *labels_plan;

static int make_plans(void **state) {
  plan = observe_plan_new("{\"revision\":1,\"keys\":{},\"labels\":false}", NULL);
  labels_plan =
      observe_plan_new("{\"revision\":7,\"keys\":{\"id\":\"meta.id\",\"at\":\"when\"},\"labels\":true}", NULL);
  return plan && labels_plan ? 0 : -1;
}

static int drop_plans(void **state) {
  observe_plan_unref(plan);
  observe_plan_unref(labels_plan);
  return 0;
}

static struct observe_batch parse_by(const struct observe_plan *by, const char *body) {
  struct observe_batch batch;
  assert_true(observe_parse(&batch, by, body, strlen(body), NULL));
  return batch;
}
static struct observe_batch parse(const char *body) {
  return parse_by(plan, body);
}

static void one_bad_line(void **state) {
  struct observe_batch b =
      parse("{\"a\":1,\"b\":null}\r\n\n{\"a\":}\n  {\"a\": 2.50}  \n[1]\n{}\n{\"a\":1,\"a\":2}\n{\"z\":9}");
  assert_int_equal(b.rows, 3);
  assert_string_equal(b.lines, "{\"a\":1,\"b\":null}\n  {\"a\": 2.50}  \n{\"z\":9}\n");
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
  strbuf_putc(&answer, '{');
  observe_add_rejected(&b, &answer);
  strbuf_putc(&answer, '}');
  json_t *doc = json_loads(strbuf_text(&answer), 0, NULL);
  assert_int_equal(json_integer_value(json_object_get(doc, "rejected_count")), 4);
  assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(doc, "rejected"), 1), "line")), 5);
  json_decref(doc);
  strbuf_fini(&answer);
  observe_fini(&b);
}

/* A body of nothing but rows is not copied; from the first other thing on it is, and says the same. */
static void views_of_bodies(void **state) {
  static const struct {
    const char *body, *lines;
    bool copied;
  } cases[] = {
      {"{\"a\":1}\n{\"a\":2}\n", "{\"a\":1}\n{\"a\":2}\n", false},
      {"\n\n{\"a\":1}\n{\"a\":2}\n", "{\"a\":1}\n{\"a\":2}\n", false},
      {"no\n{\"a\":1}\n{\"a\":2}\nno\n\n", "{\"a\":1}\n{\"a\":2}\n", false},
      {"{\"a\":1}\nno\n{\"a\":2}\n", "{\"a\":1}\n{\"a\":2}\n", true},
      {"{\"a\":1}\n\n{\"a\":2}\n", "{\"a\":1}\n{\"a\":2}\n", true},
      {"{\"a\":1}\r\n{\"a\":2}\n", "{\"a\":1}\n{\"a\":2}\n", true},
      {"{\"a\":1}\n{\"a\":2}", "{\"a\":1}\n{\"a\":2}\n", true},
      {"{\"a\":1}", "{\"a\":1}\n", true},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct observe_batch b = parse(cases[i].body);
    assert_int_equal(b.copied, cases[i].copied);
    assert_int_equal(b.bytes, strlen(cases[i].lines));
    assert_memory_equal(b.lines, cases[i].lines, b.bytes);
    assert_true(b.copied || (b.lines >= cases[i].body && b.lines < cases[i].body + strlen(cases[i].body)));
    observe_fini(&b);
  }
}

static void odd_bodies(void **state) {
  struct observe_batch b = parse("");
  assert_true(b.rows == 0 && b.rejected == 0);
  observe_fini(&b);
  b = parse("{\"c\":null}\r\r\n");
  assert_string_equal(b.lines, "{\"c\":null}\n");
  observe_fini(&b);
  b = parse("\n\r\n \n");
  assert_true(b.rows == 0 && b.rejected == 0);
  observe_fini(&b);
  assert_true(observe_parse(&b, plan, "{\"a\":1}\n\0\n{\"a\":2}", 17, NULL));
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
  assert_true(observe_parse(&b, plan, body.data, body.len, &err));
  assert_int_equal(b.rows, 1);
  assert_int_equal(b.rejected, 4);
  assert_non_null(strstr(b.errors[0].text, "65536"));
  assert_non_null(strstr(b.errors[1].text, "nested"));
  assert_non_null(strstr(b.errors[2].text, "columns"));
  assert_non_null(strstr(b.errors[3].text, "name"));
  observe_fini(&b);
  strbuf_reset(&body);
  for (int i = 0; i < 5000; i++) strbuf_puts(&body, "{\n");
  assert_true(observe_parse(&b, plan, body.data, body.len, &err));
  assert_int_equal(b.rejected, 5000);
  assert_int_equal(b.n_errors, OBSERVE_ERRORS_MAX);
  observe_fini(&b);
  while (body.len <= OBSERVE_BODY_MAX) strbuf_puts(&body, "{\"a\":1}\n");
  assert_false(observe_parse(&b, plan, body.data, body.len, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  observe_fini(&b);
  /* A body that just fits and lacks its last newline. */
  strbuf_reset(&body);
  while (body.len + 9 <= OBSERVE_BODY_MAX - 8) strbuf_puts(&body, "{\"a\":10}\n");
  strbuf_puts(&body, "{\"a\":10}");
  assert_true(observe_parse(&b, plan, body.data, body.len, &err));
  assert_true(b.copied && !b.copy.failed);
  assert_int_equal(b.bytes, body.len + 1);
  size_t bytes = 0;
  int rows = 0;
  for (size_t i = 0; i < b.n_parts; i++) {
    assert_int_equal(b.parts[i].from, bytes);
    assert_true(b.parts[i].bytes <= OBSERVE_PART_BYTES && b.parts[i].untimed && !b.parts[i].timed);
    bytes += b.parts[i].bytes;
    rows += b.parts[i].rows;
  }
  assert_true(bytes == b.bytes && rows == b.rows && b.n_parts == 33);
  observe_fini(&b);
  strbuf_reset(&body);
  for (int i = 0; i <= OBSERVE_ROWS_MAX; i++) strbuf_puts(&body, "{\"a\":1}\n");
  assert_false(observe_parse(&b, plan, body.data, body.len, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  observe_fini(&b);
  strbuf_fini(&body);
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
  assert_true(observe_csv_header(&csv, head, 3, NULL, &err));
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
  assert_false(observe_csv_header(&csv, twice, 2, NULL, &err));
  assert_non_null(strstr(err.text, "twice"));
  assert_false(observe_csv_header(&csv, none, 1, NULL, &err));
  strbuf_fini(&out);
}

/* An id keeps its zeros; a dotted name stays one key. */
static void csv_texts(void **state) {
  const struct csv_field head[] = {{"id", 2}, {"f.a", 3}}, row[] = {{"007", 3}, {"007", 3}},
                         blank[] = {{"", 0}, {"1", 1}};
  const char *const texts[] = {"id", NULL};
  struct observe_csv csv;
  struct err err = {0};
  struct strbuf out;
  strbuf_init(&out, 10000);
  assert_true(observe_csv_header(&csv, head, 2, texts, &err));
  assert_true(observe_csv_row(&csv, row, 2, &out, &err) && observe_csv_row(&csv, blank, 2, &out, &err));
  assert_string_equal(strbuf_text(&out), "{\"id\":\"007\",\"f.a\":7.0}\n{\"id\":null,\"f.a\":1}\n");
  observe_csv_fini(&csv);
  strbuf_fini(&out);
}

static void times_of_parts(void **state) {
  struct observe_batch b = parse("{\"at\":\"2003-01-31T00:00:00Z\",\"a\":1}\n{\"a\":1}\n{\"timestamp\":"
                                 "\"2003-01-30T00:00:00Z\",\"a\":1}\n{\"at\":\"0001-01-01T00:00:00Z\"}\n");
  assert_int_equal(b.rows, 3);
  assert_int_equal(b.rejected, 1);
  assert_non_null(strstr(b.errors[0].text, "1970"));
  assert_int_equal(b.n_parts, 1);
  assert_true(b.parts[0].timed && b.parts[0].untimed);
  assert_int_equal(b.parts[0].max_us, 1043971200000000);
  assert_int_equal(b.parts[0].max_us - b.parts[0].min_us, 86400000000);
  observe_fini(&b);
}

static void predictions(void **state) {
  struct observe_batch b = parse_by(
      labels_plan,
      "{\"meta\":{\"id\":\"q\\\"\\\\,\"},\"when\":\"2003-01-31T00:00:00Z\",\"prediction\":true,\"score\":1e-400,"
      "\"version\":\"housing@12\"}\n{\"prediction\":1}\n{\"meta.id\":17,\"prediction\":\"a\",\"version\":3,"
      "\"score\":\"high\"}\n{\"meta.id\":[1]}\n{\"meta.id\":\"\"}\n{\"meta.id\":\"x\",\"prediction\":{\"a\":1}}\n");
  assert_int_equal(b.rows, 3);
  assert_int_equal(b.rejected, 3);
  assert_int_equal(b.predictions.n, 2);
  assert_string_equal(strbuf_text(&b.predictions.row), "{0,2");
  assert_string_equal(strbuf_text(&b.predictions.id), "{\"q\\\"\\\\,\",\"17\"");
  assert_string_equal(strbuf_text(&b.predictions.at), "{1043971200000000,NULL");
  assert_string_equal(strbuf_text(&b.predictions.version), "{12,3");
  assert_string_equal(strbuf_text(&b.predictions.prediction), "{\"true\",\"a\"");
  assert_string_equal(strbuf_text(&b.predictions.score), "{0,NULL");
  struct observe_batch none =
      parse("{\"id\":[1],\"prediction\":2}\n"); /* where nobody needs labels an id is a column */
  assert_true(none.rows == 1 && none.predictions.n == 0);

  /* Two requests in one call: rows side by side, predictions under their request's number. */
  const struct observe_item one = {"p\"q", "key", 7, &none}, two = {"z", NULL, 8, &b};
  const struct observe_item *const items[] = {&one, &two};
  struct observe_send send = {0};
  struct db_value values[OBSERVE_SEND_VALUES];
  observe_send_fill(&send, items, 2, values);
  assert_string_equal(values[0].bytes,
                      "[{\"pipeline\":\"p\\\"q\",\"key\":\"key\",\"revision\":7,\"rows\":1,\"parts\":[[0,26,1,"
                      "null,null,true]]},{\"pipeline\":\"z\",\"revision\":8,\"rows\":3,\"parts\":[[26,187,3,"
                      "1043971200000000,1043971200000000,true]]}]");
  assert_int_equal(values[1].len, none.bytes + b.bytes);
  assert_string_equal(values[2].bytes, "{1,1}");
  assert_string_equal(values[3].bytes, "{0,2}");
  assert_string_equal(values[8].bytes, "{0,NULL}");
  const struct observe_item *const alone[] = {&one};
  observe_send_fill(&send, alone, 1, values);
  assert_ptr_equal(values[1].bytes, none.lines);
  assert_int_equal(values[2].kind, DB_VALUE_NULL);
  observe_send_fini(&send);
  observe_fini(&none);
  observe_fini(&b);
}

static void sent_answers(void **state) {
  json_t *answers =
      json_loads("[{\"first_row\":5,\"rows\":2},{\"error\":{\"code\":\"OR005\",\"message\":\"it changed\","
                 "\"hint\":\"again\"}},{\"first_row\":1,\"rows\":1,\"repeated\":true},{}]",
                 0, NULL);
  struct observe_sent sent;
  struct err err = {0};
  assert_true(observe_sent_read(answers, 0, &sent, &err));
  assert_true(sent.first_row == 5 && !sent.repeated);
  assert_false(observe_sent_read(answers, 1, &sent, &err));
  assert_int_equal(err.code, ERR_CONFLICT);
  assert_string_equal(err.hint, "again");
  assert_true(observe_sent_read(answers, 2, &sent, &err));
  assert_true(sent.repeated);
  assert_false(observe_sent_read(answers, 3, &sent, &err));
  assert_false(observe_sent_read(answers, 4, &sent, &err));
  json_decref(answers);
}

static void label_lines(void **state) {
  struct observe_labels l;
  struct err err = {0};
  const char *body =
      "{\"id\":\"a\",\"label\":1.50,\"at\":\"2003-01-31T00:00:00Z\"}\n{\"id\":2,\"label\":true,\"note\":\"x\"}\n"
      "{\"id\":\"b\"}\n{\"label\":1}\n{\"id\":\"c\",\"label\":null}\n{\"id\":\"c\",\"label\":1,\"at\":\"soon\"}\n"
      "{\"id\":\"c\",\"label\":\"\u00e9\"}";
  assert_true(observe_labels_parse(&l, body, strlen(body), &err));
  assert_int_equal(l.batch.rows, 3);
  assert_int_equal(l.batch.rejected, 4);
  assert_string_equal(strbuf_text(&l.ids), "{\"a\",\"2\",\"c\"}");
  assert_string_equal(strbuf_text(&l.labels), "{\"1.50\",\"true\",\"\u00e9\"}");
  assert_string_equal(strbuf_text(&l.at), "{1043971200000000,NULL,NULL}");
  observe_labels_fini(&l);
  assert_true(observe_labels_parse(&l, "", 0, &err));
  assert_string_equal(strbuf_text(&l.ids), "{}");
  observe_labels_fini(&l);
}

static void plans(void **state) {
  struct observe_plans *kept = observe_plans_new();
  char name[32];
  for (int i = 0; i < 600; i++) {
    snprintf(name, sizeof name, "p%d", i);
    observe_plans_put(kept, name, plan);
  }
  struct observe_plan *found = observe_plans_find(kept, "p599");
  assert_ptr_equal(found, plan);
  observe_plan_unref(found);
  assert_null(observe_plans_find(kept, "p3")); /* made room */
  observe_plans_drop(kept, "p599");
  assert_null(observe_plans_find(kept, "p599"));
  observe_plans_free(kept);
  assert_int_equal(plan->refs, 1);
  assert_null(observe_plan_new("{}", NULL));
}

static size_t pack(const char *bytes, size_t len, unsigned char *out, size_t size) {
  z_stream z = {.next_in = (unsigned char *)(uintptr_t)bytes,
                .avail_in = (unsigned)len,
                .next_out = out,
                .avail_out = (unsigned)size};
  assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
  size_t packed = z.total_out;
  deflateEnd(&z);
  return packed;
}

static void gzip_bodies(void **state) {
  unsigned char packed[40000];
  struct strbuf out;
  struct err err = {0};
  strbuf_init(&out, 1000);
  size_t n = pack("{\"a\":1}\n", 8, packed, sizeof packed);
  n += pack("{\"a\":2}\n", 8, packed + n, sizeof packed - n); /* members may follow each other */
  assert_true(gunzip(packed, n, &out, &err));
  assert_string_equal(strbuf_text(&out), "{\"a\":1}\n{\"a\":2}\n");
  for (size_t cut = 1; cut < n; cut++) { /* each cut is seen, but the one between two members */
    strbuf_reset(&out);
    if (gunzip(packed, cut, &out, &err)) assert_string_equal(strbuf_text(&out), "{\"a\":1}\n");
  }
  strbuf_reset(&out);
  assert_false(gunzip("{\"a\":1}\n", 8, &out, &err));
  assert_int_equal(err.code, ERR_INVALID);
  packed[n] = 'x';
  assert_false(gunzip(packed, n + 1, &out, &err));
  assert_false(gunzip(packed, 0, &out, &err));
  packed[n - 6] ^= 1; /* the checksum */
  assert_false(gunzip(packed, n, &out, &err));
  /* A bomb: 30 MiB in 30 KiB. What is unpacked never grows over the bound. */
  char *zeros = mem_alloc(30 << 20);
  n = pack(zeros, 30 << 20, packed, sizeof packed);
  mem_free(zeros);
  strbuf_reset(&out);
  assert_false(gunzip(packed, n, &out, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  assert_true(out.len <= 1000);
  strbuf_fini(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_bad_line),   cmocka_unit_test(views_of_bodies), cmocka_unit_test(odd_bodies),
      cmocka_unit_test(bounds),         cmocka_unit_test(csv_rows),        cmocka_unit_test(csv_texts),
      cmocka_unit_test(times_of_parts), cmocka_unit_test(predictions),     cmocka_unit_test(sent_answers),
      cmocka_unit_test(label_lines),    cmocka_unit_test(plans),           cmocka_unit_test(gzip_bodies),
  };
  return cmocka_run_group_tests_name("observe", tests, make_plans, drop_plans);
}
