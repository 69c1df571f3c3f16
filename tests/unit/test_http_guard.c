/* Heads that two parsers could read in two ways are refused, plain ones pass; the layout check sees every trick that
 * libmicrohttpd 0.9.75 would hide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "serve/http_guard.h"

#define OK 0

static int judge(const char *bytes, size_t len) {
  struct http_refusal refusal = {0};
  struct http_head head;
  size_t head_len = 0;
  enum http_scan scan = http_guard_scan(bytes, len, &head_len, &refusal);
  if (scan == HTTP_SCAN_MORE) return -1;
  if (scan == HTTP_SCAN_REFUSED) return refusal.status;
  if (!http_guard_split(bytes, head_len, &head, &refusal)) return refusal.status;
  return http_guard_check(&head, &refusal) ? OK : refusal.status;
}

#define HOST "Host: a\r\n"
static const struct {
  int status;
  const char *head;
} cases[] = {
    {OK, "GET / HTTP/1.1\r\n" HOST "\r\n"},
    {OK, "GET / HTTP/1.0\r\n\r\n"},
    {OK, "POST /v1/signals?a=b&c=%20d HTTP/1.1\r\nHost: [::1]:8077\r\nContent-Length: 12\r\n\r\n"},
    {OK, "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"},
    {OK, "GET /%C3%A4 HTTP/1.1\r\n" HOST "X-Empty:\r\nX-Tab:\ta\tb\r\n\r\n"},
    {OK, "POST /x HTTP/1.1\r\n" HOST "Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324\r\n\r\n"},
    {-1, "GET / HTTP/1.1\r\n" HOST},
    {-1, "GET"},
    {400, "\x16\x03\x01\x02"},
    {400, " GET / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "get / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "G(T / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET  / HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET / HTTP/1.1 \r\n" HOST "\r\n"},
    {400, "GET /\r\n" HOST "\r\n"},
    {400, "GET / http/1.1\r\n" HOST "\r\n"},
    {505, "GET / HTTP/2.0\r\n" HOST "\r\n"},
    {505, "GET / HTTP/1.2\r\n" HOST "\r\n"},
    {400, "GET http://a/ HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /a\x01 HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /%00 HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /%0a HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /?a=%00 HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /%7f HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /%zz HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /%4 HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /%ff HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /%C0%AF HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /%ED%A0%80 HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /%C3 HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET /a#b HTTP/1.1\r\n" HOST "\r\n"},
    {400, "GET / HTTP/1.1\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n"},
    {400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "X: a\r\n folded\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "\tX: a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "nocolon\r\n\r\n"},
    {400, "GET / HTTP/1.1\n" HOST "\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "X: a\n\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "X: \x7f\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\ncontent-length: 2\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1 \r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n"},
    {413, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000000000000000\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n"},
    {400, "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"},
    {400, "GET / HTTP/1.1\r\n" HOST "Authorization: a\r\nAuthorization: b\r\n\r\n"},
    {417, "GET / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Idempotency-Key:\r\n\r\n"},
    {400, "POST / HTTP/1.1\r\n" HOST "Idempotency-Key: a b\r\n\r\n"},
};

static void test_cases(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    int status = judge(cases[i].head, strlen(cases[i].head));
    if (status != cases[i].status) print_error("case %zu: %s\n", i, cases[i].head);
    assert_int_equal(status, cases[i].status);
  }
}

static void test_nul(void **state) {
  (void)state;
  static const char in_value[] = "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n";
  static const char in_target[] = "GET /\0 HTTP/1.1\r\n" HOST "\r\n";
  assert_int_equal(judge(in_value, sizeof(in_value) - 1), 400);
  assert_int_equal(judge(in_target, sizeof(in_target) - 1), 400);
}

static void test_sizes(void **state) {
  (void)state;
  static char big[HTTP_GUARD_HEAD_MAX * 2];
  memset(big, 'A', sizeof(big));
  assert_int_equal(judge(big, sizeof(big)), 414);
  static const char start[] = "GET / HTTP/1.1\r\nX: ";
  memcpy(big, start, sizeof(start) - 1);
  assert_int_equal(judge(big, HTTP_GUARD_HEAD_MAX - 1), -1);
  assert_int_equal(judge(big, HTTP_GUARD_HEAD_MAX), 431);
  /* 64 fields pass, 65 do not */
  char many[2048];
  size_t len = 0;
  for (int pass = 0; pass < 2; pass++) {
    len = (size_t)snprintf(many, sizeof(many), "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 63 + pass; i++) len += (size_t)snprintf(many + len, sizeof(many) - len, "X%d: 1\r\n", i);
    len += (size_t)snprintf(many + len, sizeof(many) - len, "\r\n");
    assert_int_equal(judge(many, len), pass == 0 ? OK : 431);
  }
}

/* Cuts a head as a trusting parser would, in place of the library: at each LF, with an optional CR before it. */
static bool layout_of(const char *bytes, size_t len) {
  struct http_head head;
  struct http_refusal refusal;
  if (!http_guard_split(bytes, len, &head, &refusal)) return false;
  return http_guard_layout(&head, len, &refusal);
}

static void test_layout(void **state) {
  (void)state;
  static const char plain[] = "GET /a?b HTTP/1.1\r\nHost: a\r\nX:  \tb\r\nY:\r\n\r\n";
  struct http_head head;
  struct http_refusal refusal;
  size_t len = sizeof(plain) - 1;
  assert_true(layout_of(plain, len));
  assert_true(http_guard_split(plain, len, &head, &refusal));
  /* a value that ends early (a NUL, trailing bytes cut off) */
  head.fields[1].value_len--;
  assert_false(http_guard_layout(&head, len, &refusal));
  head.fields[1].value_len++;
  /* a name that was moved elsewhere and grew, as the library does with folded lines */
  struct http_field saved = head.fields[1];
  head.fields[1].name = "Xfolded";
  head.fields[1].name_len = 7;
  assert_false(http_guard_layout(&head, len, &refusal));
  head.fields[1] = saved;
  /* a line that was left out */
  head.n_fields--;
  assert_false(http_guard_layout(&head, len, &refusal));
  head.n_fields++;
  assert_true(http_guard_layout(&head, len, &refusal));
  assert_false(http_guard_layout(&head, len - 1, &refusal)); /* a bare line feed somewhere */
  assert_false(http_guard_layout(&head, len + 3, &refusal)); /* white space somewhere */
}

static void test_decode(void **state) {
  (void)state;
  char out[64];
  assert_int_equal(http_guard_decode("a%2Fb%20c%C3%A4", 15, out), 7);
  assert_string_equal(out, "a/b c\xc3\xa4");
  assert_int_equal(http_guard_decode("%4", 2, out), 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cases),  cmocka_unit_test(test_nul),    cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_layout), cmocka_unit_test(test_decode),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
