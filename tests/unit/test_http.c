/* The HTTP server on a real loop and real sockets: late answers, time-outs, keep-alive, stopping, hostile second heads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "serve/http.h"

static struct {
  uv_loop_t loop;
  uv_thread_t thread;
  uv_async_t stop;
  struct http_server *server;
  unsigned port;
  struct http_request *kept[8]; /* never answered until the server has stopped */
  unsigned n_kept;
  unsigned grace_ms;
  struct http_options options;
} t;

static void on_echo(struct http_request *req, void *ctx) {
  (void)ctx;
  http_reply(req, 200, "application/octet-stream", req->body, req->body_len);
}

static void on_name(struct http_request *req, void *ctx) {
  (void)ctx;
  char *text = arena_printf(&req->arena, "%s|%s|%s", req->params[0], http_query(req, "q") ? http_query(req, "q") : "-",
                            req->principal.actor ? req->principal.actor : "nobody");
  http_reply_text(req, 200, text);
}

static void on_timer_closed(uv_handle_t *handle) {
  mem_free(handle);
}

static void on_late(uv_timer_t *timer) {
  http_reply_text(timer->data, 200, "late");
  uv_close((uv_handle_t *)timer, on_timer_closed);
}

static void on_later(struct http_request *req, void *ctx) {
  (void)ctx;
  uv_timer_t *timer = mem_alloc(sizeof(*timer));
  uv_timer_init(&t.loop, timer);
  timer->data = req;
  uv_timer_start(timer, on_late, 10, 0);
}

static void on_never(struct http_request *req, void *ctx) {
  (void)ctx;
  t.kept[t.n_kept++] = req;
}

static const struct http_route routes[] = {
    {"POST", "/echo", "", 10000, on_echo, 0, "Echo"},
    {"GET", "/name/{n}", "", 0, on_name, 0, "Name"},
    {"GET", "/name/literal", "", 0, on_later, 0, "Literals win"},
    {"GET", "/later", "", 0, on_later, 0, "Later"},
    {"GET", "/never", "", 0, on_never, 0, "Never"},
    {"GET", "/secret/{n}", "read", 0, on_name, 0, "Secret"},
};

static void authorise(struct http_request *req, const char *token, const char *scope, void *arg) {
  (void)arg;
  if (strcmp(token, "good") != 0 || strcmp(scope, "read") != 0) {
    http_problem(req, 403, "denied", "no", NULL);
    return;
  }
  http_authorised(req, &(struct http_principal){.actor = "token:t"});
}

static void on_done(void *arg) {
  (void)arg;
  for (unsigned i = 0; i < t.n_kept; i++) http_reply_text(t.kept[i], 200, "too late"); /* goes nowhere */
  t.n_kept = 0;
  http_server_free(t.server);
  uv_close((uv_handle_t *)&t.stop, NULL);
}

static void on_stop(uv_async_t *async) {
  (void)async;
  http_server_stop(t.server, t.grace_ms, on_done, NULL);
}

static void loop_main(void *arg) {
  (void)arg;
  uv_run(&t.loop, UV_RUN_DEFAULT);
}

static int start(void **state) {
  (void)state;
  struct err err = {0};
  log_set_level(LOG_ERROR);
  uv_loop_init(&t.loop);
  uv_async_init(&t.loop, &t.stop, on_stop);
  t.grace_ms = 300;
  t.options = (struct http_options){.listen = "127.0.0.1:0",
                                    .head_timeout_ms = 400,
                                    .request_timeout_ms = 400,
                                    .body_timeout_ms = 400,
                                    .max_connections = 20,
                                    .max_connections_per_address = 10,
                                    .authorise = authorise};
  t.server = http_server_new(&t.loop, &t.options, &err);
  if (!t.server) print_error("%s\n", err.text);
  if (!t.server) return -1;
  http_server_add(t.server, routes, ARRAY_LEN(routes), NULL);
  t.port = (unsigned)strtoul(strrchr(http_server_address(t.server), ':') + 1, NULL, 10);
  uv_thread_create(&t.thread, loop_main, NULL);
  return 0;
}

static int stop(void **state) {
  (void)state;
  uv_async_send(&t.stop);
  uv_thread_join(&t.thread);
  return uv_loop_close(&t.loop) == 0 ? 0 : -1;
}

static int dial(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)t.port)};
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
  return fd;
}

/* Reads until the other side closes, the text `until` was seen, or 5 s have passed. */
static char *read_until(int fd, const char *until) {
  static char buffer[65536];
  size_t len = 0;
  struct pollfd pfd = {.fd = fd, .events = POLLIN};
  buffer[0] = 0;
  while (len < sizeof(buffer) - 1 && poll(&pfd, 1, 5000) == 1) {
    ssize_t n = recv(fd, buffer + len, sizeof(buffer) - 1 - len, 0);
    if (n <= 0) break;
    len += (size_t)n;
    buffer[len] = 0;
    if (until && strstr(buffer, until)) break;
  }
  return buffer;
}

static void say(int fd, const char *text) {
  assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static const char *ask(const char *text, const char *until) {
  int fd = dial();
  say(fd, text);
  const char *answer = read_until(fd, until);
  close(fd);
  return answer;
}

#define assert_has(text, part)                                                                                         \
  do {                                                                                                                 \
    const char *text_ = (text);                                                                                        \
    if (!strstr(text_, part)) print_error("wanted '%s' in:\n%s\n", part, text_);                                       \
    assert_non_null(strstr(text_, part));                                                                              \
  } while (0)

#define H "Host: a\r\n"
static void test_answers(void **state) {
  (void)state;
  const char *answer = ask("POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhe\nlo", "he\nlo");
  assert_has(answer, "HTTP/1.1 200 ");
  assert_has(answer, "X-Request-Id: ");
  assert_has(ask("GET /later HTTP/1.1\r\n" H "\r\n", "late"), "\r\n\r\nlate");
  assert_has(ask("GET /name/a%2Fb?q=1+2%26 HTTP/1.1\r\n" H "\r\n", "nobody"), "a/b|1 2&|nobody");
  assert_has(ask("GET /name/literal HTTP/1.1\r\n" H "\r\n", "late"), "late");
  answer = ask("HEAD /name/x HTTP/1.1\r\n" H "Connection: close\r\n\r\n", NULL);
  assert_has(answer, "Content-Length: 10\r\n");
  assert_null(strstr(answer, "x|-"));
}

static void test_refusals(void **state) {
  (void)state;
  assert_has(ask("GET /nothing HTTP/1.1\r\n" H "\r\n", "}"), "HTTP/1.1 404 ");
  const char *answer = ask("DELETE /echo HTTP/1.1\r\n" H "\r\n", "}");
  assert_has(answer, "HTTP/1.1 405 ");
  assert_has(answer, "Allow: POST\r\n");
  assert_has(answer, "application/problem+json");
  assert_has(ask("PUT /later HTTP/1.1\r\n" H "\r\n", "}"), "Allow: GET, HEAD\r\n");
  assert_has(ask("GET /name/ HTTP/1.1\r\n" H "\r\n", "}"), " 404 ");
  assert_has(ask("GET /secret/1 HTTP/1.1\r\n" H "\r\n", "}"), "WWW-Authenticate: Bearer");
  assert_has(ask("GET /secret/1 HTTP/1.1\r\n" H "Authorization: Bearer bad\r\n\r\n", "}"), " 403 ");
  assert_has(ask("GET /secret/1 HTTP/1.1\r\n" H "Authorization: Bearer good\r\n\r\n", "t:t"), "1|-|token:t");
  assert_has(ask("POST /echo HTTP/1.1\r\n" H "Content-Length: 10001\r\n\r\n", NULL), " 413 ");
  assert_has(ask("GET /later HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nx", "}"), " 413 ");
  assert_has(ask("GET /name/x?q=1&q=2 HTTP/1.1\r\n" H "\r\n", "}"), " 400 ");
  assert_has(ask("GARBAGE\r\n\r\n", NULL), "HTTP/1.1 400 ");
}

static void test_chunked(void **state) {
  (void)state;
  const char *head = "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n";
  int fd = dial();
  say(fd, head);
  say(fd, "3\r\nabc\r\n");
  say(fd, "2\r\nde\r\n0\r\n\r\n");
  const char *answer = read_until(fd, NULL);
  close(fd);
  assert_has(answer, "abcde");
  assert_has(answer, "Connection: close");
  fd = dial();
  say(fd, head);
  char chunk[1100];
  memset(chunk, 'x', sizeof(chunk));
  memcpy(chunk, "400\r\n", 5);
  memcpy(chunk + 5 + 1024, "\r\n", 3);
  for (int i = 0; i < 11; i++) say(fd, chunk);
  say(fd, "0\r\n\r\n");
  assert_has(read_until(fd, NULL), " 413 ");
  close(fd);
}

/* Behind a first, harmless request on the same connection: there the library reads, and hides what it has mended. */
static void test_second_heads(void **state) {
  (void)state;
  static const char *const bad[] = {
      "GET /name/x HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n",
      "GET /name/x HTTP/1.1\r\n" H "X:\r\n b\r\n\r\n",
      "POST /echo HTTP/1.1\r\n" H "Content-Leng: 5\r\n th\r\n\r\n",
      "GET /name/x HTTP/1.1\n" H "\r\n",
      "GET /name/x HTTP/1.1\r\n" H "X: a\n\r\n",
      "GET /name/x HTTP/1.1\r\n" H "X : a\r\n\r\n",
      "POST /echo HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
      "POST /echo HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "GET /%00 HTTP/1.1\r\n" H "\r\n",
      "GET /name/x HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n",
  };
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
    int fd = dial();
    say(fd, "GET /name/first HTTP/1.1\r\n" H "\r\n");
    assert_has(read_until(fd, "nobody"), "first|-|nobody");
    say(fd, bad[i]);
    const char *answer = read_until(fd, NULL);
    if (!strstr(answer, "HTTP/1.1 400 ")) print_error("second head %zu\n", i);
    assert_has(answer, "HTTP/1.1 400 ");
    assert_null(strstr(answer, "HTTP/1.1 200 "));
    close(fd);
  }
  int fd = dial();
  say(fd, "GET /name/first HTTP/1.1\r\n" H "\r\nGET /name/second HTTP/1.1\r\n" H "\r\n"); /* pipelined */
  assert_has(read_until(fd, "second|-|nobody"), "second|-|nobody");
  static const char nul[] = "GET /name/x HTTP/1.1\r\n" H "X: a\0b\r\n\r\n";
  assert_int_equal(send(fd, nul, sizeof(nul) - 1, MSG_NOSIGNAL), sizeof(nul) - 1);
  assert_has(read_until(fd, NULL), "HTTP/1.1 400 ");
  close(fd);
}

static void test_slow(void **state) {
  (void)state;
  int fd = dial();
  say(fd, "GET /name/slow HTTP/1.1\r\n");
  usleep(50 * 1000);
  say(fd, H);
  assert_has(read_until(fd, NULL), "HTTP/1.1 408 ");
  close(fd);
  fd = dial();
  say(fd, "POST /echo HTTP/1.1\r\n" H "Content-Length: 100\r\n\r\nabc");
  assert_has(read_until(fd, NULL), "HTTP/1.1 408 ");
  close(fd);
  assert_has(ask("GET /never HTTP/1.1\r\n" H "\r\n", "}"), "HTTP/1.1 504 ");
  fd = dial(); /* in two pieces, but in time */
  say(fd, "GET /name/pieces HTTP/1.1\r\nHost:");
  usleep(20 * 1000);
  say(fd, " a\r\n\r\n");
  assert_has(read_until(fd, "nobody"), "pieces|-|nobody");
  close(fd);
}

static void test_too_many(void **state) {
  (void)state;
  int fds[10];
  for (int i = 0; i < 10; i++) fds[i] = dial();
  assert_has(ask("GET /name/x HTTP/1.1\r\n" H "\r\n", NULL), "HTTP/1.1 429 ");
  for (int i = 0; i < 10; i++) close(fds[i]);
}

static void test_client_leaves(void **state) {
  (void)state;
  for (int i = 0; i < 5; i++) {
    int fd = dial();
    say(fd, "GET /later HTTP/1.1\r\n" H "\r\n");
    close(fd);
  }
  assert_has(ask("GET /later HTTP/1.1\r\n" H "\r\n", "late"), "late");
}

static void test_stop_answers(void **state) {
  (void)state;
  int fd = dial();
  say(fd, "GET /never HTTP/1.1\r\n" H "\r\n");
  usleep(50 * 1000);
  uv_async_send(&t.stop);
  assert_has(read_until(fd, NULL), "HTTP/1.1 503 ");
  close(fd);
}

static void test_address_taken(void **state) {
  (void)state;
  struct err err = {0};
  uv_loop_t loop;
  uv_loop_init(&loop);
  struct http_options options = {.listen = http_server_address(t.server)};
  assert_null(http_server_new(&loop, &options, &err));
  assert_int_equal(err.code, ERR_CONFLICT);
  assert_has(err.text, "already listening");
  options.listen = "nonsense";
  assert_null(http_server_new(&loop, &options, &err));
  assert_int_equal(err.code, ERR_USAGE);
  uv_loop_close(&loop);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_answers, start, stop),
      cmocka_unit_test_setup_teardown(test_refusals, start, stop),
      cmocka_unit_test_setup_teardown(test_chunked, start, stop),
      cmocka_unit_test_setup_teardown(test_second_heads, start, stop),
      cmocka_unit_test_setup_teardown(test_slow, start, stop),
      cmocka_unit_test_setup_teardown(test_too_many, start, stop),
      cmocka_unit_test_setup_teardown(test_client_leaves, start, stop),
      cmocka_unit_test_setup_teardown(test_stop_answers, start, stop),
      cmocka_unit_test_setup_teardown(test_address_taken, start, stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
