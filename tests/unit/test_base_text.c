/* base: errors, memory, strings and their escapes, units. */
#include "cm.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "base/units.h"

static void errors_keep_text_and_place(void **state) {
  struct err err = {0};
  assert_false(err_set(&err, ERR_NOT_FOUND, "no pipeline %s", "housing"));
  assert_int_equal(err.code, ERR_NOT_FOUND);
  assert_string_equal(err.text, "no pipeline housing");
  assert_non_null(strstr(err.file, "test_base_text.c"));
  assert_true(err.line > 0);
  assert_false(err_hint(&err, "apply it first"));
  assert_false(err_prefix(&err, "orch show"));
  assert_string_equal(err.text, "orch show: no pipeline housing");
  assert_string_equal(err.hint, "apply it first");
  assert_false(err_set(&err, ERR_IO, "again: %s", err.text)); /* arguments may point into the error itself */
  assert_string_equal(err.text, "again: orch show: no pipeline housing");
  assert_string_equal(err.hint, "");
  assert_false(err_set(NULL, ERR_IO, "nobody listens"));
}

static void errors_are_one_line_of_utf8(void **state) {
  struct err err = {0};
  err_set(&err, ERR_DB, "ERROR:  bad\nLINE 1: x\r\n\n");
  assert_string_equal(err.text, "ERROR:  bad LINE 1: x");
  char text[600];
  memset(text, 'a', sizeof text);
  memcpy(text + sizeof err.text - 3, "\xe2\x82\xac", 4); /* a sign of three bytes across the end of the buffer */
  err_set(&err, ERR_DB, "%s", text);
  assert_int_equal(strlen(err.text), sizeof err.text - 3);
  err_set(&err, ERR_DB, "na\xc3\xafve \xe2\x82\xac");
  assert_string_equal(err.text, "na\xc3\xafve \xe2\x82\xac");
}

static void errno_of_both_signs(void **state) {
  struct err err = {0};
  err_errno(&err, ENOENT, "cannot open %s", "x");
  assert_string_equal(err.text, "cannot open x: No such file or directory");
  err_errno(&err, -ENOENT, "cannot open %s", "x");
  assert_string_equal(err.text, "cannot open x: No such file or directory");
  assert_int_equal(err.code, ERR_IO);
  err_errno(&err, -4095, "read");
  assert_string_equal(err.text, "read: end of file");
}

static void codes_map_to_exits_and_statuses(void **state) {
  assert_int_equal(err_exit_code(ERR_NONE), 0);
  assert_int_equal(err_exit_code(ERR_USAGE), 2);
  assert_int_equal(err_exit_code(ERR_NOT_FOUND), 3);
  assert_int_equal(err_exit_code(ERR_REFUSED), 4);
  assert_int_equal(err_exit_code(ERR_DB_DOWN), 5);
  assert_int_equal(err_exit_code(ERR_TIMEOUT), 6);
  assert_int_equal(err_http_status(ERR_LIMIT), 413);
  assert_int_equal(err_http_status((enum err_code)999), 500);
  assert_string_equal(err_code_name(ERR_LEASE_LOST), "lease_lost");
}

static void arenas_have_a_cap(void **state) {
  CLEANUP(arena_fini_p) struct arena arena;
  arena_init(&arena, 10000);
  char *first = arena_strdup(&arena, "hello");
  assert_string_equal(first, "hello");
  assert_int_equal((uintptr_t)arena_alloc(&arena, 3) % 16, 0);
  char *large = arena_alloc(&arena, 5000);
  for (int i = 0; i < 5000; i++) assert_int_equal(large[i], 0);
  memset(large, 'x', 5000);
  assert_null(arena_alloc(&arena, 9000));
  assert_true(arena.failed);
  assert_null(arena_alloc(&arena, 1)); /* sticky */
  assert_string_equal(first, "hello");
  arena_reset(&arena);
  char *again = arena_alloc(&arena, 5000);
  for (int i = 0; i < 5000; i++) assert_int_equal(again[i], 0); /* zeroed although the block was used before */
  assert_null(arena_alloc(&arena, SIZE_MAX));
}

static void arenas_hold_many_small_things(void **state) {
  CLEANUP(arena_fini_p) struct arena arena;
  arena_init(&arena, 16 * 10000);
  char *texts[1000];
  for (int i = 0; i < 1000; i++) texts[i] = arena_printf(&arena, "number %d", i);
  for (int i = 0; i < 1000; i++) {
    char want[32];
    snprintf(want, sizeof want, "number %d", i);
    assert_string_equal(texts[i], want);
  }
  for (int i = 0; i < 9000; i++) assert_non_null(arena_alloc(&arena, 1)); /* the cap counts what is handed out */
  assert_null(arena_alloc(&arena, 1));
}

static void memory_helpers(void **state) {
  CLEANUP(mem_free_p) char *cut = mem_strndup("hello world", 5);
  assert_string_equal(cut, "hello");
  CLEANUP(mem_free_p) char *made = mem_printf("%s-%d", "a", 7);
  assert_string_equal(made, "a-7");
  CLEANUP(mem_free_p) unsigned char *zero = mem_calloc(7, 9);
  for (int i = 0; i < 63; i++) assert_int_equal(zero[i], 0);
  mem_free(NULL);
  mem_free_secret(NULL);
  mem_free_secret(mem_strdup("secret"));
}

static int64_t resident_kb(void) {
  char text[8192];
  FILE *file = fopen("/proc/self/status", "r");
  size_t len = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[len] = 0;
  return strtoll(strstr(text, "VmRSS:") + 6, NULL, 10);
}

static void memory_is_given_back(void **state) {
  struct err err = {0};
  char *kept[1000];
  for (int i = 0; i < 1000; i++) kept[i] = mem_printf("kept %d", i);
  void *large[64];
  for (int i = 0; i < 64; i++) {
    large[i] = mem_alloc(100000); /* below malloc's threshold for mappings: the heap grows */
    memset(large[i], 'x', 100000);
  }
  for (int i = 0; i < 64; i++) mem_free(large[i]);
  int64_t before = resident_kb();
  mem_trim();
#ifndef __SANITIZE_ADDRESS__
  assert_true(resident_kb() < before);
#endif
  /* Everything still is what it was: code, constants, relocated tables, heap. */
  err_set(&err, ERR_REFUSED, "after %d", 1);
  assert_string_equal(err.text, "after 1");
  assert_string_equal(err_code_name(ERR_TIMEOUT), "timeout");
  for (int i = 0; i < 1000; i++) {
    assert_int_equal(strtoll(kept[i] + 5, NULL, 10), i);
    mem_free(kept[i]);
  }
  assert_true(before > 0);
}

/* What a child that must abort ended with. */
static int signal_of(void (*act)(void)) {
  pid_t pid = fork();
  if (pid == 0) {
    fclose(stderr);
    act();
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

struct thing {
  uint32_t magic;
};
static void wrong_magic(void) {
  struct thing thing = {7}, *other = &thing;
  MAGIC_CHECK(other, 8u);
}
static void right_magic(void) {
  struct thing thing = {8}, *other = &thing;
  MAGIC_CHECK(other, 8u);
}
static void broken(void) {
  ORCH_ASSERT(getpid() == 0);
}

static void broken_promises_abort(void **state) {
  assert_int_equal(signal_of(wrong_magic), SIGABRT);
  assert_int_equal(signal_of(right_magic), 0);
  assert_int_equal(signal_of(broken), SIGABRT);
}

static void builders_fail_once_and_stay_failed(void **state) {
  CLEANUP(strbuf_fini_p) struct strbuf sb;
  strbuf_init(&sb, 10);
  assert_string_equal(strbuf_text(&sb), "");
  strbuf_puts(&sb, "0123456789");
  assert_false(sb.failed);
  strbuf_putc(&sb, 'x');
  assert_true(sb.failed);
  strbuf_reset(&sb);
  strbuf_puts(&sb, "01234");
  strbuf_printf(&sb, "%d", 567890); /* one too many */
  strbuf_putc(&sb, 'x');
  assert_true(sb.failed);
  assert_string_equal(strbuf_text(&sb), "01234");
  char *taken = strbuf_take(&sb);
  assert_string_equal(taken, "01234");
  mem_free(taken);
  assert_int_equal(sb.len, 0);
  strbuf_printf(&sb, "%s", "again");
  assert_string_equal(strbuf_text(&sb), "again");
}

typedef void escaper(struct strbuf *sb, const char *text);
static void expect(escaper *escape, const char *in, const char *out) {
  CLEANUP(strbuf_fini_p) struct strbuf sb;
  strbuf_init(&sb, 1000);
  escape(&sb, in);
  assert_false(sb.failed);
  assert_string_equal(strbuf_text(&sb), out);
}

static void escapes_by_place(void **state) {
  expect(strbuf_add_html, "<a href=\"x\">it's & more</a>", "&lt;a href=&quot;x&quot;&gt;it&#39;s &amp; more&lt;/a&gt;");
  expect(strbuf_add_json, "a\"b\\c\n\x01\x7f\xc3\xa4", "\"a\\\"b\\\\c\\n\\u0001\\u007f\xc3\xa4\"");
  expect(strbuf_add_json, NULL, "\"\"");
  expect(strbuf_add_mrkdwn, "a<b & c>d", "a&lt;b &amp; c&gt;d");
  expect(strbuf_add_mrkdwn, "<!channel> drop", "&lt;!channel&gt; drop");
  expect(strbuf_add_mrkdwn, "\"q\" 'x'", "\"q\" 'x'");
  expect(strbuf_add_terminal, "ok\x1b[31m\n\t\xc2\x9b", "ok\\x1b[31m\\x0a\\x09\\x9b");
  expect(strbuf_add_logfmt, "plain/value:1", "plain/value:1");
  expect(strbuf_add_logfmt, "two words", "\"two words\"");
  expect(strbuf_add_logfmt, "", "\"\"");
  expect(strbuf_add_logfmt, "a=b", "\"a=b\"");
  expect(strbuf_add_logfmt, "x\ny\xc2\x9b", "\"x\\ny\\u009b\"");
  expect(strbuf_add_url, "a b/\xc3\xa4~-._", "a%20b%2F%C3%A4~-._");
}

static void invalid_utf8_is_replaced(void **state) {
  expect(strbuf_add_html,
         "a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b");
  expect(strbuf_add_html, "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd");                 /* overlong slash */
  expect(strbuf_add_html, "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* half of a surrogate pair */
  expect(strbuf_add_html, "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* > U+10FFFF */
  expect(strbuf_add_html, "\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd");                                 /* ends too early */
  expect(strbuf_add_html, "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
}

static void units_of_people(void **state) {
  int64_t value = -1;
  assert_true(units_parse_duration_ms("30s", &value) && value == 30000);
  assert_true(units_parse_duration_ms("5m", &value) && value == 300000);
  assert_true(units_parse_duration_ms("250ms", &value) && value == 250);
  assert_true(units_parse_duration_ms("7d", &value) && value == 7 * 86400000LL);
  static const char *const bad[] = {"",    "5",  "s",    "-5s", "+5s",   "1.5h",
                                    "5 s", "5S", "5sec", " 5s", "4000d", "99999999999999999999s"};
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(units_parse_duration_ms(bad[i], &value));
  assert_int_equal(value, 7 * 86400000LL); /* untouched on error */
  assert_true(units_parse_size_bytes("2GiB", &value) && value == 2LL << 30);
  assert_true(units_parse_size_bytes("8192TiB", &value) && value == 1LL << 53);
  assert_false(units_parse_size_bytes("8193TiB", &value));
  assert_false(units_parse_size_bytes("2GB", &value));
}

static void expect_duration(int64_t ms, const char *want) {
  char out[UNITS_TEXT_SIZE];
  units_format_duration(ms, out);
  assert_string_equal(out, want);
}
static void expect_size(int64_t bytes, const char *want) {
  char out[UNITS_TEXT_SIZE];
  units_format_size(bytes, out);
  assert_string_equal(out, want);
}

static void expect_number(double value, const char *want) {
  char out[UNITS_TEXT_SIZE];
  units_format_number(value, out);
  assert_string_equal(out, want);
}

static void units_for_people(void **state) {
  expect_duration(0, "0 ms");
  expect_duration(950, "950 ms");
  expect_duration(42999, "42 s");
  expect_duration(310000, "5 m 10 s");
  expect_duration(7500000, "2 h 5 m");
  expect_duration(3 * 86400000LL + 4 * 3600000LL, "3 d 4 h");
  expect_duration(3600000, "1 h");
  expect_duration(-950, "-950 ms");
  expect_duration(INT64_MIN, "-106751991167 d 7 h");
  expect_size(512, "512 B");
  expect_size(1468006, "1.4 MiB");
  expect_size(1048575, "1.0 MiB");
  expect_size(INT64_MAX, "8388608.0 TiB");
  expect_number(0, "0");
  expect_number(0.042126, "0.04213");
  expect_number(6.25, "6.25");
  expect_number(999.3, "999.3");
  expect_number(999.96, "1000");
  expect_number(-41000.4, "-41000");
  expect_number(123456789, "123456789");
  expect_number(1.5e9, "1.5e+09");
  expect_number(0.00001, "1e-05");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(errors_keep_text_and_place),
      cmocka_unit_test(errors_are_one_line_of_utf8),
      cmocka_unit_test(errno_of_both_signs),
      cmocka_unit_test(codes_map_to_exits_and_statuses),
      cmocka_unit_test(arenas_have_a_cap),
      cmocka_unit_test(arenas_hold_many_small_things),
      cmocka_unit_test(memory_helpers),
      cmocka_unit_test(memory_is_given_back),
      cmocka_unit_test(broken_promises_abort),
      cmocka_unit_test(builders_fail_once_and_stay_failed),
      cmocka_unit_test(escapes_by_place),
      cmocka_unit_test(invalid_utf8_is_replaced),
      cmocka_unit_test(units_of_people),
      cmocka_unit_test(units_for_people),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
