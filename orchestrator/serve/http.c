#include "serve/http.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/http_private.h"

/* ---- turning the library's crank ---- */

static void run(struct http_server *server);

static void on_run_timer(uv_timer_t *timer) {
  run(timer->data);
}

static void run(struct http_server *server) {
  MAGIC_CHECK(server, HTTP_SERVER_MAGIC);
  if (server->running || server->closed || !server->daemon) return;
  server->running = true;
  server->kick = false;
  (void)MHD_run(server->daemon);
  server->running = false;
  MHD_UNSIGNED_LONG_LONG timeout_ms;
  if (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES)
    uv_timer_start(&server->run_timer, on_run_timer, timeout_ms, 0);
  else
    uv_timer_stop(&server->run_timer);
}

static void on_epoll(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  run(poll->data);
}

/* Runs right after the loop's poll phase, where database callbacks answer: their answers leave in the same turn. */
static void on_check(uv_check_t *check) {
  struct http_server *server = check->data;
  if (server->kick) run(server);
}

void http_kick(struct http_server *server) {
  server->kick = true;
  /* From a timer's callback the poll phase may be long: the library's wake-up descriptor ends it for answers, and this
   * ends it for shut-downs. */
  if (!server->running && !server->closed && !uv_is_active((uv_handle_t *)&server->run_timer))
    uv_timer_start(&server->run_timer, on_run_timer, 0, 0);
}

struct http_conn *http_conn_of(struct MHD_Connection *mhd) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return info ? info->socket_context : NULL;
}

static void on_connection_event(void *cls, struct MHD_Connection *mhd, void **slot,
                                enum MHD_ConnectionNotificationCode code) {
  struct http_server *server = cls;
  MAGIC_CHECK(server, HTTP_SERVER_MAGIC);
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *conn = server->conns;
    while (conn && !(conn->with_library && conn->mhd == NULL && info && conn->fd == info->connect_fd))
      conn = conn->next;
    if (conn) conn->mhd = mhd;
    *slot = conn;
    return;
  }
  struct http_conn *conn = *slot;
  if (!conn) return;
  MAGIC_CHECK(conn, HTTP_CONN_MAGIC);
  *slot = NULL;
  conn->mhd = NULL;
  ORCH_ASSERT(conn->request == NULL); /* the library completes a request before it closes the connection */
  if (server->adopting == conn) server->adopting = NULL;
  http_conn_free(conn);
}

bool http_adopt(struct http_conn *conn) {
  struct http_server *server = conn->server;
  conn->with_library = true;
  http_conn_start(conn, HTTP_PHASE_IDLE);
  server->adopting = conn;
  bool good =
      MHD_add_connection(server->daemon, conn->fd, (struct sockaddr *)&conn->address, conn->address_len) == MHD_YES;
  bool still_there = server->adopting == conn; /* the library may have announced it and taken it back */
  server->adopting = NULL;
  if (good) http_kick(server);
  return good || !still_there;
}

/* ---- deadlines ---- */

static bool is_over(const struct http_conn *conn, int64_t now_us, unsigned limit_ms) {
  return now_us - conn->since_us > (int64_t)limit_ms * 1000;
}

static void check_deadline(struct http_conn *conn, int64_t now_us) {
  static const struct http_refusal slow_head = {408, "timeout", "the request's head took too long"};
  static const struct http_refusal slow_body = {408, "timeout", "the request's body took too long"};
  static const struct http_refusal cut_body = {400, "bad_request", "the request's body ends early"};
  struct http_server *server = conn->server;
  const struct http_options *options = &server->options;
  const struct http_refusal *given_up;
  if (conn->shut) return;
  switch (conn->phase) {
  case HTTP_PHASE_PEEK:
    if (!is_over(conn, now_us, options->head_timeout_ms)) {
      if (conn->polling && !uv_is_active((uv_handle_t *)&conn->poll)) http_conn_look(conn);
      return;
    }
    server->timed_out++;
    if (conn->peeked > 0) http_conn_refuse(conn, &slow_head);
    http_conn_end(conn);
    return;
  case HTTP_PHASE_IDLE:
    if (!server->stopping && !is_over(conn, now_us, options->idle_timeout_ms) && !http_conn_at_end(conn)) return;
    http_conn_end(conn);
    return;
  case HTTP_PHASE_BODY:
    given_up = conn->request ? &CONTAINER_OF(conn->request, struct http_own, req)->given_up : NULL;
    if (given_up && given_up->status != 0 && is_over(conn, now_us, HTTP_DRAIN_MAX_MS)) {
      http_conn_refuse(conn, given_up); /* no use in waiting for the rest of what was refused */
      http_conn_end(conn);
      return;
    }
    if (http_conn_at_end(conn)) {
      http_conn_refuse(conn, &cut_body);
      http_conn_end(conn);
      return;
    }
    if (!is_over(conn, now_us, options->body_timeout_ms)) return;
    server->timed_out++;
    http_conn_refuse(conn, given_up && given_up->status != 0 ? given_up : &slow_body);
    http_conn_end(conn);
    return;
  case HTTP_PHASE_WORK:
    if (!is_over(conn, now_us, options->request_timeout_ms)) return;
    server->timed_out++;
    http_give_up(CONTAINER_OF(conn->request, struct http_own, req), 504, "timeout", "no answer in time");
    return;
  case HTTP_PHASE_SEND:
    if (!is_over(conn, now_us, options->send_timeout_ms)) return;
    server->timed_out++;
    http_conn_end(conn);
    return;
  }
}

static void close_all(struct http_server *server);

static void on_sweep(uv_timer_t *timer) {
  struct http_server *server = timer->data;
  MAGIC_CHECK(server, HTTP_SERVER_MAGIC);
  int64_t now_us = clock_mono_us();
  bool forced = server->stopping && now_us > server->stop_at_us;
  for (struct http_conn *conn = server->conns, *next; conn; conn = next) {
    next = conn->next;
    if (forced && conn->phase == HTTP_PHASE_WORK && conn->request)
      http_give_up(CONTAINER_OF(conn->request, struct http_own, req), 503, "stopping", "the server is stopping");
    check_deadline(conn, now_us);
  }
  http_listen_resume(server);
  /* One second more for the forced answers to leave. */
  if (server->stopping && (server->n_conns == 0 || now_us > server->stop_at_us + 1000000)) close_all(server);
}

/* ---- life ---- */

static void set_defaults(struct http_options *options) {
  if (!options->listen) options->listen = "127.0.0.1:8077";
  if (!options->max_connections) options->max_connections = 256;
  if (!options->max_connections_per_address) options->max_connections_per_address = 128;
  if (!options->head_timeout_ms) options->head_timeout_ms = 10 * 1000;
  if (!options->idle_timeout_ms) options->idle_timeout_ms = 60 * 1000;
  if (!options->body_timeout_ms) options->body_timeout_ms = 30 * 1000;
  if (!options->request_timeout_ms) options->request_timeout_ms = 30 * 1000;
  if (!options->send_timeout_ms) options->send_timeout_ms = 30 * 1000;
  if (!options->max_body_total_bytes) options->max_body_total_bytes = (size_t)64 * 1024 * 1024;
}

static _Noreturn void on_panic(void *cls, const char *file, unsigned int line, const char *reason) {
  (void)cls;
  log_event(LOG_ERROR, "http.library_panic", LOG_S("reason", reason), LOG_S("file", file), LOG_I("line", line));
  abort();
}

static struct MHD_Daemon *start_library(struct http_server *server) {
  MHD_set_panic_func(on_panic, NULL);
  unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME;
  return MHD_start_daemon(flags, 0, NULL, NULL, http_on_request, server,                     //
                          MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_POOL_BYTES,       //
                          MHD_OPTION_CONNECTION_LIMIT, server->options.max_connections + 16, //
                          MHD_OPTION_CONNECTION_TIMEOUT, 0u,                                 // the sweep does it
                          MHD_OPTION_STRICT_FOR_CLIENT, 1,                                   //
                          MHD_OPTION_URI_LOG_CALLBACK, http_on_target, server,               //
                          MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, server,            //
                          MHD_OPTION_NOTIFY_CONNECTION, on_connection_event, server, MHD_OPTION_END);
}

static void start_handles(struct http_server *server) {
  const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
  ORCH_ASSERT(info != NULL);
  int rc = uv_poll_init(server->loop, &server->epoll_poll, info->epoll_fd);
  ORCH_ASSERT(rc == 0);
  uv_timer_init(server->loop, &server->run_timer);
  uv_timer_init(server->loop, &server->sweep_timer);
  uv_check_init(server->loop, &server->check);
  server->epoll_poll.data = server->run_timer.data = server->sweep_timer.data = server->check.data = server;
  server->open_handles += 4;
  rc = uv_poll_start(&server->epoll_poll, UV_READABLE, on_epoll);
  ORCH_ASSERT(rc == 0);
  uv_timer_start(&server->sweep_timer, on_sweep, HTTP_SWEEP_MS, HTTP_SWEEP_MS);
  uv_check_start(&server->check, on_check);
}

struct http_server *http_server_new(uv_loop_t *loop, const struct http_options *options, struct err *err) {
  struct http_server *server = mem_alloc(sizeof(*server));
  server->magic = HTTP_SERVER_MAGIC;
  server->loop = loop;
  server->options = *options;
  server->listen_fd = -1;
  set_defaults(&server->options);
  server->daemon = start_library(server);
  if (!server->daemon) {
    err_set(err, ERR_INTERNAL, "the HTTP library did not start");
    mem_free(server);
    return NULL;
  }
  if (!http_listen(server, err)) {
    MHD_stop_daemon(server->daemon);
    mem_free(server);
    return NULL;
  }
  start_handles(server);
  run(server);
  return server;
}

const char *http_server_address(const struct http_server *server) {
  return server->address;
}

bool http_server_stopping(const struct http_server *server) {
  return server->stopping;
}

static void on_handle_closed(uv_handle_t *handle) {
  struct http_server *server = handle->data;
  MAGIC_CHECK(server, HTTP_SERVER_MAGIC);
  if (--server->open_handles > 0) return;
  server->closed = true;
  if (server->done) server->done(server->done_arg);
}

static void close_all(struct http_server *server) {
  if (server->closing) return;
  server->closing = true;
  for (struct http_conn *conn = server->conns, *next; conn; conn = next) {
    next = conn->next;
    if (!conn->with_library)
      http_conn_end(conn);
    else if (conn->phase == HTTP_PHASE_WORK && conn->request) /* a suspended one would make the library abort */
      http_give_up(CONTAINER_OF(conn->request, struct http_own, req), 503, "stopping", "the server is stopping");
  }
  uv_poll_stop(&server->epoll_poll);
  run(server);
  MHD_stop_daemon(server->daemon);
  server->daemon = NULL;
  uv_handle_t *handles[] = {(uv_handle_t *)&server->listen_poll, (uv_handle_t *)&server->epoll_poll,
                            (uv_handle_t *)&server->run_timer, (uv_handle_t *)&server->sweep_timer,
                            (uv_handle_t *)&server->check};
  for (size_t i = 0; i < ARRAY_LEN(handles); i++) uv_close(handles[i], on_handle_closed);
}

void http_server_stop(struct http_server *server, unsigned grace_ms, void (*done)(void *arg), void *arg) {
  MAGIC_CHECK(server, HTTP_SERVER_MAGIC);
  if (server->stopping) return;
  server->stopping = true;
  server->stop_at_us = clock_mono_us() + (int64_t)grace_ms * 1000;
  server->done = done;
  server->done_arg = arg;
  http_listen_stop(server);
  uv_timer_start(&server->sweep_timer, on_sweep, 0, 20);
}

void http_server_free(struct http_server *server) {
  if (!server) return;
  MAGIC_CHECK(server, HTTP_SERVER_MAGIC);
  ORCH_ASSERT(server->closed && server->conns == NULL);
  for (size_t i = 0; i < server->n_entries; i++) mem_free(server->entries[i]);
  mem_free(server->entries);
  mem_free(server->address);
  mem_free(server->unlink_path);
  server->magic = 0;
  mem_free(server);
}
