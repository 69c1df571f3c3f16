#include "io/fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "io/fetch_private.h"

#define FETCH_MAGIC 0xFE7C4001u
#define CALL_MAGIC 0xFE7C4CA1u
static const size_t headers_max = 64 * 1024;

struct watch {
  uv_poll_t poll;
  struct fetch *fetch;
  curl_socket_t fd;
};

struct fetch_call {
  unsigned magic;
  struct fetch_call *next, *prev;
  struct fetch *fetch;
  CURL *easy;
  struct curl_slist *headers;
  char *url, *method;
  void *body;
  struct strbuf answer;
  size_t headers_len;
  size_t answer_max;
  fetch_callback callback; /* NULL once aborted */
  void *arg;
  bool private_ok, refused_address, too_large;
  bool finished; /* out of curl: waits in `done` */
  char message[CURL_ERROR_SIZE];
  struct err err;
  int64_t began_us, timeout_ms;
};

struct fetch {
  unsigned magic;
  uv_loop_t *loop;
  CURLM *multi;
  struct fetch_options options;
  char *user_agent;
  uv_timer_t timer;         /* curl's */
  uv_timer_t deliver;       /* callbacks that must not run inside the caller or inside curl */
  struct fetch_call *calls; /* all that are in flight or done */
  unsigned calls_count, handles_open;
  bool closing;
  void (*closed)(void *arg);
  void *closed_arg;
};

void *fetch_call_easy(const struct fetch_call *call) {
  return call->easy;
}

/* ---- ending a call ---- */

static void unlink_call(struct fetch_call *call) {
  struct fetch *fetch = call->fetch;
  if (call->prev) call->prev->next = call->next;
  if (call->next) call->next->prev = call->prev;
  if (fetch->calls == call) fetch->calls = call->next;
  fetch->calls_count--;
}

static void call_free(struct fetch_call *call) {
  if (call->easy && !call->finished) curl_multi_remove_handle(call->fetch->multi, call->easy);
  if (call->easy) curl_easy_cleanup(call->easy);
  curl_slist_free_all(call->headers);
  mem_free_secret(call->url); /* a URL may carry a token */
  mem_free(call->method);
  mem_free(call->body);
  strbuf_fini(&call->answer);
  mem_free(call);
}

static void deliver_due(uv_timer_t *timer);

static void finish(struct fetch_call *call) {
  call->finished = true;
  struct fetch *fetch = call->fetch;
  if (!uv_is_active((uv_handle_t *)&fetch->deliver)) uv_timer_start(&fetch->deliver, deliver_due, 0, 0);
}

static void answer(struct fetch_call *call) {
  if (!call->callback) return;
  if (call->err.code != ERR_NONE) {
    call->callback(call->arg, NULL, &call->err);
    return;
  }
  long status = 0;
  curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
  struct fetch_response response = {.status = (int)status,
                                    .body = strbuf_text(&call->answer),
                                    .body_len = call->answer.len,
                                    .elapsed_ms = (clock_mono_us() - call->began_us) / 1000,
                                    .call = call};
  call->callback(call->arg, &response, NULL);
}

static void deliver_closed(uv_handle_t *handle);

static void deliver_due(uv_timer_t *timer) {
  struct fetch *fetch = timer->data;
  for (bool again = true; again;) {
    again = false;
    for (struct fetch_call *call = fetch->calls; call; call = call->next) {
      if (!call->finished) continue;
      unlink_call(call);
      answer(call);
      call_free(call);
      again = true; /* the callback may have changed the list */
      break;
    }
  }
  if (fetch->closing && !uv_is_closing((uv_handle_t *)timer)) uv_close((uv_handle_t *)timer, deliver_closed);
}

static void fail_from_curl(struct fetch_call *call, CURLcode code) {
  const char *why = call->message[0] ? call->message : curl_easy_strerror(code);
  if (call->refused_address)
    err_set(&call->err, ERR_DENIED, "the address is private or reserved, and outgoing requests may not go there");
  else if (call->too_large)
    err_set(&call->err, ERR_LIMIT, "the answer is larger than %zu bytes", call->answer_max);
  else if (code == CURLE_OPERATION_TIMEDOUT)
    err_set(&call->err, ERR_TIMEOUT, "no answer within %lld ms", (long long)call->timeout_ms);
  else if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
    err_set(&call->err, ERR_INVALID, "not an http or https URL");
  else
    err_set(&call->err, ERR_IO, "the request failed: %s", why);
}

static void drain_messages(struct fetch *fetch) {
  int left;
  for (CURLMsg *message = curl_multi_info_read(fetch->multi, &left); message;
       message = curl_multi_info_read(fetch->multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL *easy = message->easy_handle;
    CURLcode code = message->data.result; /* `message` is gone after the removal */
    char *private = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    struct fetch_call *call = (struct fetch_call *)private;
    MAGIC_CHECK(call, CALL_MAGIC);
    curl_multi_remove_handle(fetch->multi, easy);
    if (code != CURLE_OK) fail_from_curl(call, code);
    finish(call);
  }
}

/* ---- the loop's side ---- */

static void act(struct fetch *fetch, curl_socket_t fd, int flags) {
  int running;
  if (fetch->closing) return;
  curl_multi_socket_action(fetch->multi, fd, flags, &running);
  drain_messages(fetch);
}

static void socket_event(uv_poll_t *poll, int status, int events) {
  struct watch *watch = poll->data;
  int flags = status < 0 || events == 0 ? CURL_CSELECT_ERR : 0;
  if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
  act(watch->fetch, watch->fd, flags);
}

static void timer_due(uv_timer_t *timer) {
  act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int timer_wanted(CURLM *multi, long timeout_ms, void *arg) {
  struct fetch *fetch = arg;
  (void)multi;
  if (fetch->closing) return 0;
  if (timeout_ms < 0)
    uv_timer_stop(&fetch->timer);
  else
    uv_timer_start(&fetch->timer, timer_due, (uint64_t)timeout_ms, 0);
  return 0;
}

static void watch_closed(uv_handle_t *handle) {
  mem_free(handle->data);
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg) {
  struct fetch *fetch = arg;
  struct watch *watch = socket_arg;
  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    if (!watch) return 0;
    curl_multi_assign(fetch->multi, fd, NULL);
    uv_poll_stop(&watch->poll);
    uv_close((uv_handle_t *)&watch->poll, watch_closed);
    return 0;
  }
  if (!watch) {
    watch = mem_alloc(sizeof(*watch));
    watch->fetch = fetch;
    watch->fd = fd;
    if (uv_poll_init(fetch->loop, &watch->poll, fd) != 0) {
      mem_free(watch);
      return -1;
    }
    watch->poll.data = watch;
    curl_multi_assign(fetch->multi, fd, watch);
  }
  int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  return uv_poll_start(&watch->poll, events, socket_event) == 0 ? 0 : -1;
}

/* ---- curl's callbacks of one call ---- */

static size_t body_arrived(char *bytes, size_t size, size_t count, void *arg) {
  struct fetch_call *call = arg;
  strbuf_add(&call->answer, bytes, size * count);
  if (!call->answer.failed) return size * count;
  call->too_large = true;
  return 0;
}

/* curl keeps the headers; this only bounds them. */
static size_t header_arrived(char *bytes, size_t size, size_t count, void *arg) {
  struct fetch_call *call = arg;
  (void)bytes;
  call->headers_len += size * count;
  if (call->headers_len <= headers_max) return size * count;
  call->too_large = true;
  return 0;
}

/* The address that is really connected to: a name cannot resolve to something else behind our back. */
static curl_socket_t socket_opened(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
  struct fetch_call *call = arg;
  const struct fetch_options *options = &call->fetch->options;
  if (purpose == CURLSOCKTYPE_IPCXN && options->policy && !call->private_ok &&
      !options->policy(options->policy_arg, &address->addr)) {
    call->refused_address = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- starting ---- */

static bool has_line_break(const char *text) {
  return strpbrk(text, "\r\n") != NULL;
}

static bool add_headers(struct fetch_call *call, const struct fetch_request *request) {
  struct curl_slist *list = NULL;
  for (const char *const *header = request->headers; header && *header; header++) {
    if (has_line_break(*header)) {
      curl_slist_free_all(list);
      return err_set(&call->err, ERR_INVALID, "a header has a line break in it");
    }
    struct curl_slist *longer = curl_slist_append(list, *header);
    if (!longer) abort();
    list = longer;
  }
  struct curl_slist *longer = curl_slist_append(list, "Expect:"); /* no waiting for 100 Continue */
  if (!longer) abort();
  call->headers = longer;
  return true;
}

static void set_up(struct fetch_call *call, const struct fetch_request *request) {
  CURL *easy = call->easy;
  curl_easy_setopt(easy, CURLOPT_URL, call->url);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, call->fetch->user_agent);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_arrived);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, header_arrived);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, socket_opened);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
  /* A connection that a trusted URL opened must not serve one whose address was never asked about. */
  if (call->fetch->options.policy) curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  if (call->fetch->options.policy) curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->message);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, (char *)call);
  if (request->body) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
  }
  if (call->method && strcmp(call->method, "HEAD") == 0)
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  else if (call->method)
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
}

static bool check_request(struct fetch_call *call, const struct fetch_request *request) {
  static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  struct fetch *fetch = call->fetch;
  unsigned most = fetch->options.calls_max ? fetch->options.calls_max : 100;
  if (fetch->closing) return err_set(&call->err, ERR_IO, "outgoing requests are being shut down");
  if (fetch->calls_count > most) return err_set(&call->err, ERR_LIMIT, "more than %u requests are in flight", most);
  if (strncasecmp(call->url, "http://", 7) != 0 && strncasecmp(call->url, "https://", 8) != 0)
    return err_set(&call->err, ERR_INVALID, "not an http or https URL");
  if (call->method && (!*call->method || strspn(call->method, upper) != strlen(call->method)))
    return err_set(&call->err, ERR_INVALID, "not an HTTP method");
  return add_headers(call, request);
}

struct fetch_call *fetch_start(struct fetch *fetch, const struct fetch_request *request, fetch_callback callback,
                               void *arg) {
  MAGIC_CHECK(fetch, FETCH_MAGIC);
  struct fetch_call *call = mem_alloc(sizeof(*call));
  call->magic = CALL_MAGIC;
  call->fetch = fetch;
  call->callback = callback;
  call->arg = arg;
  call->private_ok = request->private_ok;
  call->began_us = clock_mono_us();
  call->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : 10000;
  call->answer_max = request->response_max ? request->response_max : 1 << 20;
  strbuf_init(&call->answer, call->answer_max);
  call->url = mem_strdup(request->url);
  if (request->method) call->method = mem_strdup(request->method);
  if (request->body) {
    call->body = mem_alloc(request->body_len + 1);
    memcpy(call->body, request->body, request->body_len);
  }
  call->next = fetch->calls;
  if (call->next) call->next->prev = call;
  fetch->calls = call;
  fetch->calls_count++;
  if (!check_request(call, request)) {
    finish(call);
    return call;
  }
  call->easy = curl_easy_init();
  if (!call->easy) abort();
  set_up(call, request);
  if (curl_multi_add_handle(fetch->multi, call->easy) != CURLM_OK) {
    err_set(&call->err, ERR_INTERNAL, "curl refused the request");
    finish(call);
  }
  return call;
}

void fetch_abort(struct fetch_call *call) {
  MAGIC_CHECK(call, CALL_MAGIC);
  call->callback = NULL;
  if (call->finished) return;
  if (call->easy) curl_multi_remove_handle(call->fetch->multi, call->easy);
  finish(call);
}

/* ---- the whole ---- */

struct fetch *fetch_new(uv_loop_t *loop, const struct fetch_options *options) {
  static bool initialised;
  if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) abort();
  initialised = true;
  struct fetch *fetch = mem_alloc(sizeof(*fetch));
  fetch->magic = FETCH_MAGIC;
  fetch->loop = loop;
  fetch->options = *options;
  fetch->user_agent = mem_strdup(options->user_agent ? options->user_agent : "orch/" ORCH_VERSION);
  fetch->multi = curl_multi_init();
  if (!fetch->multi) abort();
  uv_timer_init(loop, &fetch->timer);
  uv_timer_init(loop, &fetch->deliver);
  fetch->timer.data = fetch->deliver.data = fetch;
  fetch->handles_open = 2;
  curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
  curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETDATA, fetch);
  curl_multi_setopt(fetch->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
  curl_multi_setopt(fetch->multi, CURLMOPT_TIMERDATA, fetch);
  curl_multi_setopt(fetch->multi, CURLMOPT_MAX_HOST_CONNECTIONS, 8L);
  return fetch;
}

static void one_closed(struct fetch *fetch) {
  if (--fetch->handles_open > 0) return;
  void (*closed)(void *arg) = fetch->closed;
  void *arg = fetch->closed_arg;
  mem_free(fetch->user_agent);
  mem_free(fetch);
  if (closed) closed(arg);
}

static void timer_closed(uv_handle_t *handle) {
  one_closed(handle->data);
}

static void deliver_closed(uv_handle_t *handle) {
  struct fetch *fetch = handle->data;
  curl_multi_cleanup(fetch->multi); /* idle connections leave through socket_wanted() */
  one_closed(fetch);
}

void fetch_free(struct fetch *fetch, void (*closed)(void *arg), void *arg) {
  MAGIC_CHECK(fetch, FETCH_MAGIC);
  ORCH_ASSERT(!fetch->closing);
  fetch->closed = closed;
  fetch->closed_arg = arg;
  for (struct fetch_call *call = fetch->calls; call; call = call->next) {
    if (call->finished) continue;
    if (call->easy) curl_multi_remove_handle(fetch->multi, call->easy);
    err_set(&call->err, ERR_IO, "the request was cut short: outgoing requests are being shut down");
    finish(call);
  }
  fetch->closing = true;
  uv_close((uv_handle_t *)&fetch->timer, timer_closed);
  uv_timer_start(&fetch->deliver, deliver_due, 0, 0);
}
