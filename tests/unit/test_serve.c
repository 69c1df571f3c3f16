/* The pure parts of a server: when a duty runs next, which schema is ours, how a document becomes metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/schema_embedded.h"
#include "serve/duties.h"
#include "serve/metrics.h"
#include "serve/ready.h"

static void test_duty_delay(void **state) {
  (void)state;
  assert_int_equal(duties_delay_ms("0", 0, 5000, 200), 5000);
  assert_int_equal(duties_delay_ms("199", 0, 5000, 200), 5000);
  assert_int_equal(duties_delay_ms("200", 0, 5000, 200), 50); /* there was more */
  assert_int_equal(duties_delay_ms("{\"expired\": 3}", 0, 5000, 200), 5000);
  assert_int_equal(duties_delay_ms("{\"seen\": 1, \"requeued\": 200}", 0, 5000, 200), 50);
  assert_int_equal(duties_delay_ms("{\"next_due_ms\": 700}", 0, 5000, 200), 700);
  assert_int_equal(duties_delay_ms("{\"next_due_ms\": 9000}", 0, 5000, 200), 5000);
  assert_int_equal(duties_delay_ms("{\"next_due_ms\": -5}", 0, 5000, 200), 50);
  assert_int_equal(duties_delay_ms("no json", 0, 5000, 200), 5000);
  assert_int_equal(duties_delay_ms(NULL, 1, 1000, 200), 2000); /* failing: slower, up to a minute */
  assert_int_equal(duties_delay_ms(NULL, 3, 1000, 200), 8000);
  assert_int_equal(duties_delay_ms(NULL, 60, 1000, 200), 60000);
  assert_int_equal(duties_delay_ms(NULL, 4000000000u, 600000, 200), 600000);
}

/* The names of the first `count` embedded migrations, one a line. */
static void names(struct strbuf *out, unsigned count) {
  strbuf_init(out, 65536);
  for (unsigned i = 0; i < count; i++) {
    if (i > 0) strbuf_putc(out, '\n');
    strbuf_puts(out, schema_migrations[i].name);
  }
}

static void test_schema(void **state) {
  (void)state;
  struct strbuf have;
  struct err err = {0};
  names(&have, schema_migrations_count);
  assert_true(ready_compare(strbuf_text(&have), &err));
  strbuf_puts(&have, "\n9999_future.sql");
  assert_false(ready_compare(strbuf_text(&have), &err));
  assert_int_equal(err.code, ERR_REFUSED);
  assert_non_null(strstr(err.text, "newer"));
  strbuf_fini(&have);
  names(&have, schema_migrations_count - 1);
  assert_false(ready_compare(strbuf_text(&have), &err));
  assert_non_null(strstr(err.text, "lacks migration"));
  assert_non_null(strstr(err.hint, "orch migrate"));
  strbuf_fini(&have);
  assert_false(ready_compare("0001_other.sql", &err));
  assert_false(ready_compare("", &err));
}

static void test_flatten(void **state) {
  (void)state;
  struct strbuf out;
  strbuf_init(&out, 65536);
  metrics_flatten("{\"queue\": {\"queued\": 3, \"oldest_queued_ms\": 1500, \"workers\": {\"active\": 2}, \"x\": null},"
                  " \"proposals\": {\"a\\\"b\": 1}, \"odd-key\": 1.5, \"text\": \"no\", \"up\": true}",
                  &out);
  const char *text = strbuf_text(&out);
  assert_non_null(strstr(text, "\norch_queue_queued 3\n"));
  assert_non_null(strstr(text, "\norch_queue_oldest_queued_seconds 1.5\n"));
  assert_non_null(strstr(text, "\norch_queue_workers{state=\"active\"} 2\n"));
  assert_non_null(strstr(text, "\norch_proposals{state=\"a\\\"b\"} 1\n"));
  assert_non_null(strstr(text, "\norch_odd_key 1.5\n"));
  assert_non_null(strstr(text, "\norch_up 1\n"));
  assert_null(strstr(text, "text"));
  assert_null(strstr(text, "queue_x"));
  strbuf_reset(&out);
  metrics_flatten("not json", &out);
  assert_int_equal(out.len, 0);
  strbuf_fini(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_duty_delay), cmocka_unit_test(test_schema),
                                     cmocka_unit_test(test_flatten)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
