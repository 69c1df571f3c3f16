/* fetch against a small server on the same loop: it answers by path, one request per connection. */
#include "cm.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/fetch.h"
#include "io/fetch_private.h"

static uv_loop_t loop;
static uv_tcp_t server;
static int port;
static unsigned connections;
static char last_request[8192];

struct peer {
  uv_tcp_t tcp;
  uv_write_t write;
  char buffer[8192];
  size_t len;
  char *answer;
  bool closing;
};

static void peer_closed(uv_handle_t *handle) {
  struct peer *peer = handle->data;
  mem_free(peer->answer);
  mem_free(peer);
}

static void peer_close(struct peer *peer) {
  if (peer->closing) return;
  peer->closing = true;
  uv_close((uv_handle_t *)&peer->tcp, peer_closed);
}

static void written(uv_write_t *write, int status) {
  (void)status;
  peer_close(write->data);
}

static char *answer_for(const char *request) {
  if (strstr(request, " /hang ")) return NULL;
  if (strstr(request, " /redirect "))
    return mem_strdup("HTTP/1.1 302 Found\r\nLocation: /hello\r\nContent-Length: 0\r\n\r\n");
  if (strstr(request, " /busy "))
    return mem_strdup("HTTP/1.1 429 Slow Down\r\nretry-after: 7\r\nContent-Length: 4\r\n\r\nbusy");
  if (strstr(request, " /interim "))
    return mem_strdup("HTTP/1.1 103 Early\r\nX-A: early\r\n\r\nHTTP/1.1 200 OK\r\nX-B: 1\r\nX-B: 2\r\n"
                      "Content-Length: 2\r\n\r\nok");
  if (strstr(request, " /cut ")) return mem_strdup("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
  if (strstr(request, " /big ")) {
    char *answer = mem_alloc(100100);
    int head = snprintf(answer, 100, "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n");
    memset(answer + head, 'x', 99999);
    return answer;
  }
  return mem_strdup("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello");
}

static void peer_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buf) {
  struct peer *peer = handle->data;
  (void)wanted;
  *buf = uv_buf_init(peer->buffer + peer->len, (unsigned)(sizeof(peer->buffer) - 1 - peer->len));
}

static void peer_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf) {
  struct peer *peer = stream->data;
  (void)buf;
  if (got < 0) {
    peer_close(peer);
    return;
  }
  peer->len += (size_t)got;
  const char *end = strstr(peer->buffer, "\r\n\r\n");
  const char *length = strstr(peer->buffer, "Content-Length: ");
  size_t body = length && end ? strtoul(length + 16, NULL, 10) : 0;
  if (!end || peer->len < (size_t)(end + 4 - peer->buffer) + body) return;
  snprintf(last_request, sizeof(last_request), "%s", peer->buffer);
  peer->answer = answer_for(peer->buffer);
  if (!peer->answer) return;
  uv_buf_t out = uv_buf_init(peer->answer, (unsigned)strlen(peer->answer));
  peer->write.data = peer;
  uv_write(&peer->write, stream, &out, 1, written);
}

static void connected(uv_stream_t *listener, int status) {
  assert_int_equal(status, 0);
  connections++;
  struct peer *peer = mem_alloc(sizeof(*peer));
  uv_tcp_init(&loop, &peer->tcp);
  peer->tcp.data = peer;
  assert_int_equal(uv_accept(listener, (uv_stream_t *)&peer->tcp), 0);
  uv_read_start((uv_stream_t *)&peer->tcp, peer_room, peer_read);
}

static int start(void **state) {
  struct sockaddr_in address;
  int size = sizeof(address);
  connections = 0;
  uv_loop_init(&loop);
  uv_tcp_init(&loop, &server);
  uv_ip4_addr("127.0.0.1", 0, &address);
  if (uv_tcp_bind(&server, (const struct sockaddr *)&address, 0) != 0) return -1;
  if (uv_listen((uv_stream_t *)&server, 16, connected) != 0) return -1;
  uv_tcp_getsockname(&server, (struct sockaddr *)&address, &size);
  port = ntohs(address.sin_port);
  return 0;
}

static int stop(void **state) {
  uv_close((uv_handle_t *)&server, NULL);
  for (int i = 0; i < 100 && uv_run(&loop, UV_RUN_NOWAIT); i++) uv_sleep(1);
  return uv_loop_close(&loop);
}

struct got {
  bool done;
  int status;
  char body[200], header[100];
  int64_t retry_after_ms;
  struct err err;
};

static void keep(void *arg, const struct fetch_response *response, const struct err *err) {
  struct got *got = arg;
  assert_false(got->done);
  assert_true((response == NULL) != (err == NULL));
  got->done = true;
  if (err) {
    got->err = *err;
    return;
  }
  got->status = response->status;
  got->retry_after_ms = fetch_retry_after_ms(response);
  snprintf(got->body, sizeof(got->body), "%s", response->body);
  const char *header = fetch_header(response, "x-b");
  snprintf(got->header, sizeof(got->header), "%s", header ? header : "none");
  assert_null(fetch_header(response, "X-Absent"));
}

static void wait_for(const bool *flag) {
  int64_t until_us = clock_mono_us() + 30 * 1000000LL;
  while (!*flag) {
    assert_true(clock_mono_us() < until_us);
    if (!uv_run(&loop, UV_RUN_NOWAIT) || !*flag) uv_sleep(1); /* RUN_ONCE would sleep after a timer has run */
  }
}

static void note(void *arg) {
  *(bool *)arg = true;
}

static void free_fetch(struct fetch *fetch) {
  bool closed = false;
  fetch_free(fetch, note, &closed);
  wait_for(&closed);
}

static struct got get_with(struct fetch *fetch, const char *path, struct fetch_request request) {
  struct got got = {0};
  char url[200];
  snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port, path);
  if (!request.url) request.url = url;
  fetch_start(fetch, &request, keep, &got);
  assert_false(got.done);
  wait_for(&got.done);
  return got;
}

static struct got get(struct fetch *fetch, const char *path) {
  return get_with(fetch, path, (struct fetch_request){0});
}

static void test_answers(void **state) {
  struct fetch *fetch = fetch_new(&loop, &(struct fetch_options){0});
  struct got got = get(fetch, "/hello");
  assert_int_equal(got.status, 200);
  assert_string_equal(got.body, "hello");
  assert_int_equal(got.retry_after_ms, -1);
  assert_non_null(strstr(last_request, "User-Agent: orch/"));
  got = get(fetch, "/busy");
  assert_int_equal(got.status, 429);
  assert_int_equal(got.retry_after_ms, 7000);
  got = get(fetch, "/interim");
  assert_int_equal(got.status, 200);
  assert_string_equal(got.header, "2");
  got = get(fetch, "/redirect");
  assert_int_equal(got.status, 302);
  free_fetch(fetch);
}

static void test_post(void **state) {
  struct fetch *fetch = fetch_new(&loop, &(struct fetch_options){0});
  const char *headers[] = {"Content-Type: application/json", "X-Sign: v1,abc", NULL};
  struct got got =
      get_with(fetch, "/hello", (struct fetch_request){.headers = headers, .body = "{\"a\": 1}", .body_len = 8});
  assert_int_equal(got.status, 200);
  assert_non_null(strstr(last_request, "POST /hello HTTP/1.1\r\n"));
  assert_non_null(strstr(last_request, "X-Sign: v1,abc\r\n"));
  assert_non_null(strstr(last_request, "\r\n\r\n{\"a\": 1}"));
  assert_null(strstr(last_request, "Expect"));
  free_fetch(fetch);
}

static void test_refusals(void **state) {
  struct fetch *fetch = fetch_new(&loop, &(struct fetch_options){0});
  struct got got = get_with(fetch, "", (struct fetch_request){.url = "file:///etc/passwd"});
  assert_int_equal(got.err.code, ERR_INVALID);
  got = get_with(fetch, "", (struct fetch_request){.url = "http://"});
  assert_int_equal(got.err.code, ERR_INVALID);
  const char *headers[] = {"X: a\r\nHost: evil", NULL};
  got = get_with(fetch, "/hello", (struct fetch_request){.headers = headers});
  assert_int_equal(got.err.code, ERR_INVALID);
  got = get_with(fetch, "/hello", (struct fetch_request){.method = "GET /x"});
  assert_int_equal(got.err.code, ERR_INVALID);
  got = get_with(fetch, "/big", (struct fetch_request){.response_max = 50000});
  assert_int_equal(got.err.code, ERR_LIMIT);
  got = get(fetch, "/big");
  assert_int_equal(got.status, 200);
  got = get(fetch, "/cut");
  assert_int_equal(got.err.code, ERR_IO);
  got = get_with(fetch, "/hang", (struct fetch_request){.timeout_ms = 100});
  assert_int_equal(got.err.code, ERR_TIMEOUT);
  got = get_with(fetch, "", (struct fetch_request){.url = "http://127.0.0.1:1/"});
  assert_int_equal(got.err.code, ERR_IO);
  free_fetch(fetch);
}

static void test_address_policy(void **state) {
  struct fetch *fetch = fetch_new(&loop, &(struct fetch_options){.policy = fetch_address_is_public});
  char url[100];
  struct got got = get(fetch, "/hello");
  assert_int_equal(got.err.code, ERR_DENIED);
  snprintf(url, sizeof(url), "http://localhost:%d/hello", port); /* a name is judged by its address */
  got = get_with(fetch, "", (struct fetch_request){.url = url});
  assert_int_equal(got.err.code, ERR_DENIED);
  assert_int_equal(connections, 0);
  got = get_with(fetch, "/hello", (struct fetch_request){.private_ok = true});
  assert_int_equal(got.status, 200);
  got = get(fetch, "/hello"); /* and the open connection of the last one does not help */
  assert_int_equal(got.err.code, ERR_DENIED);
  assert_int_equal(connections, 1);
  free_fetch(fetch);
}

static void never(void *arg, const struct fetch_response *response, const struct err *err) {
  fail_msg("called back after an abort");
}

static void test_abort_and_close(void **state) {
  struct fetch *fetch = fetch_new(&loop, &(struct fetch_options){.calls_max = 3});
  char url[100];
  snprintf(url, sizeof(url), "http://127.0.0.1:%d/hang", port);
  struct fetch_request request = {.url = url};
  fetch_abort(fetch_start(fetch, &request, never, NULL));
  struct got hanging = {0}, more[3] = {{0}};
  fetch_start(fetch, &request, keep, &hanging);
  for (int i = 0; i < 20; i++) uv_run(&loop, UV_RUN_NOWAIT);
  for (int i = 0; i < 3; i++) fetch_start(fetch, &request, keep, &more[i]);
  wait_for(&more[2].done);
  assert_int_equal(more[2].err.code, ERR_LIMIT);
  assert_false(more[1].done);
  fetch_abort(fetch_start(fetch, &request, never, NULL));
  free_fetch(fetch);
  assert_int_equal(hanging.err.code, ERR_IO);
  assert_int_equal(more[0].err.code, ERR_IO);
  assert_int_equal(more[1].err.code, ERR_IO);
}

static void test_many_at_once(void **state) {
  struct fetch *fetch = fetch_new(&loop, &(struct fetch_options){0});
  struct got got[60] = {{0}};
  char url[100];
  snprintf(url, sizeof(url), "http://127.0.0.1:%d/hello", port);
  for (size_t i = 0; i < ARRAY_LEN(got); i++) fetch_start(fetch, &(struct fetch_request){.url = url}, keep, &got[i]);
  for (size_t i = 0; i < ARRAY_LEN(got); i++) {
    wait_for(&got[i].done);
    assert_int_equal(got[i].status, 200);
  }
  free_fetch(fetch);
}

static bool public(const char *text) {
  struct sockaddr_in in = {.sin_family = AF_INET};
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
  if (inet_pton(AF_INET, text, &in.sin_addr) == 1) return fetch_address_is_public(NULL, (struct sockaddr *)&in);
  assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
  return fetch_address_is_public(NULL, (struct sockaddr *)&in6);
}

static void test_public_addresses(void **state) {
  static const char *const yes[] = {"1.1.1.1",         "8.8.8.8",         "172.15.255.255", "172.32.0.1",
                                    "100.63.0.1",      "100.128.0.1",     "192.169.0.1",    "198.17.0.1",
                                    "223.255.255.254", "2606:4700::1111", "2a00::1",        "2001:4860:4860::8888"};
  static const char *const no[] = {"0.0.0.0",
                                   "10.1.2.3",
                                   "100.64.0.1",
                                   "127.0.0.1",
                                   "127.9.9.9",
                                   "169.254.169.254",
                                   "172.16.0.1",
                                   "172.31.255.255",
                                   "192.168.1.1",
                                   "198.19.0.1",
                                   "224.0.0.1",
                                   "255.255.255.255",
                                   "240.0.0.1",
                                   "::",
                                   "::1",
                                   "::ffff:10.0.0.1",
                                   "::ffff:8.8.8.8",
                                   "fe80::1",
                                   "fc00::1",
                                   "fd12::1",
                                   "ff02::1",
                                   "64:ff9b::a00:1",
                                   "2001:db8::1",
                                   "2002:a00:1::1",
                                   "2001::1"};
  for (size_t i = 0; i < ARRAY_LEN(yes); i++)
    if (!public(yes[i])) fail_msg("%s is public", yes[i]);
  for (size_t i = 0; i < ARRAY_LEN(no); i++)
    if (public(no[i])) fail_msg("%s is not public", no[i]);
  struct sockaddr other = {.sa_family = AF_UNIX};
  assert_false(fetch_address_is_public(NULL, &other));
}

static void test_retry_after(void **state) {
  assert_int_equal(fetch_parse_retry_after_ms("0", 0), 0);
  assert_int_equal(fetch_parse_retry_after_ms("120", 0), 120000);
  assert_int_equal(fetch_parse_retry_after_ms("999999999999999999999", 0), 86400000);
  assert_int_equal(fetch_parse_retry_after_ms("Thu, 01 Jan 1970 00:01:00 GMT", 30), 30000);
  assert_int_equal(fetch_parse_retry_after_ms("Thu, 01 Jan 1970 00:01:00 GMT", 90), 0);
  assert_int_equal(fetch_parse_retry_after_ms("soon", 0), -1);
  assert_int_equal(fetch_parse_retry_after_ms("", 0), -1);
  assert_int_equal(fetch_parse_retry_after_ms(NULL, 0), -1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
  const struct CMUnitTest tests[] = {
      TEST(test_answers),
      TEST(test_post),
      TEST(test_refusals),
      TEST(test_address_policy),
      TEST(test_abort_and_close),
      TEST(test_many_at_once),
      cmocka_unit_test(test_public_addresses),
      cmocka_unit_test(test_retry_after),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
