/* Listening, accepting, and the first head of a connection: looked at with MSG_PEEK before the library gets the socket,
 * so that a slow, oversized or malformed head is answered by a problem document and costs no parser. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/http_private.h"

/* ---- listening ---- */

static bool already_there(const char *address, struct err *err) {
  err_set(err, ERR_CONFLICT, "another server is already listening on %s", address);
  return err_hint(err, "stop it, or give this one another address with --listen or ORCH_LISTEN");
}

static int listen_unix(const char *path, struct err *err) {
  struct sockaddr_un sun = {.sun_family = AF_UNIX};
  if (strlen(path) == 0 || strlen(path) >= sizeof(sun.sun_path)) {
    err_set(err, ERR_USAGE, "the socket's path must have 1 to %zu bytes", sizeof(sun.sun_path) - 1);
    return -1;
  }
  memcpy(sun.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    err_errno(err, errno, "cannot make a socket");
    return -1;
  }
  struct stat st;
  if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 || errno == EAGAIN || errno == EINPROGRESS) {
      (void)already_there(path, err);
      close(fd);
      return -1;
    }
    if (errno == ECONNREFUSED) (void)unlink(path); /* left over by a server that was killed */
  }
  mode_t old = umask(0117); /* owner and group */
  int rc = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
  int failed = errno;
  umask(old);
  if (rc == 0) return fd;
  if (failed == EADDRINUSE)
    (void)already_there(path, err);
  else
    err_errno(err, failed, "cannot bind %s", path);
  close(fd);
  return -1;
}

/* "host:port" or "[v6]:port"; the host must be an address or a name that resolves to one. */
static bool split_listen(const char *listen, char *host, size_t host_size, const char **ret_port) {
  const char *colon = strrchr(listen, ':');
  if (!colon || colon[1] == 0) return false;
  const char *start = listen;
  size_t len = (size_t)(colon - listen);
  if (len >= 2 && start[0] == '[' && start[len - 1] == ']') {
    start++;
    len -= 2;
  }
  if (len == 0 || len >= host_size) return false;
  memcpy(host, start, len);
  host[len] = 0;
  *ret_port = colon + 1;
  return true;
}

static int listen_tcp(const char *listen, struct err *err) {
  char host[256];
  const char *port;
  if (!split_listen(listen, host, sizeof(host), &port)) {
    err_set(err, ERR_USAGE, "'%s' is no address to listen on", listen);
    err_hint(err, "write 127.0.0.1:8077, [::1]:8077 or unix:/path/to/socket");
    return -1;
  }
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  struct addrinfo *found = NULL;
  int rc = getaddrinfo(host, port, &hints, &found);
  if (rc != 0) {
    err_set(err, ERR_USAGE, "'%s' is no address to listen on: %s", listen, gai_strerror(rc));
    return -1;
  }
  int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int on = 1;
  if (fd >= 0) (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (fd < 0) {
    err_errno(err, errno, "cannot make a socket");
  } else if (bind(fd, found->ai_addr, found->ai_addrlen) != 0) {
    if (errno == EADDRINUSE)
      (void)already_there(listen, err);
    else
      err_errno(err, errno, "cannot bind %s", listen);
    close(fd);
    fd = -1;
  }
  freeaddrinfo(found);
  return fd;
}

static char *bound_address(int fd, const char *listen) {
  struct sockaddr_storage ss = {0};
  socklen_t len = sizeof(ss);
  char host[64];
  if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0) return mem_strdup(listen);
  if (ss.ss_family == AF_INET) {
    struct sockaddr_in *in = (struct sockaddr_in *)&ss;
    return mem_printf("%s:%u", inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)), ntohs(in->sin_port));
  }
  if (ss.ss_family == AF_INET6) {
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
    return mem_printf("[%s]:%u", inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)), ntohs(in6->sin6_port));
  }
  return mem_strdup(listen);
}

/* ---- connections ---- */

void http_conn_start(struct http_conn *conn, enum http_phase phase) {
  conn->phase = phase;
  conn->since_us = clock_mono_us();
}

static void on_poll_closed(uv_handle_t *handle) {
  struct http_conn *conn = handle->data;
  MAGIC_CHECK(conn, HTTP_CONN_MAGIC);
  conn->polling = false;
  if (conn->server == NULL) mem_free(conn);
}

static void stop_polling(struct http_conn *conn) {
  if (!conn->polling || uv_is_closing((uv_handle_t *)&conn->poll)) return;
  uv_poll_stop(&conn->poll);
  uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
}

void http_conn_free(struct http_conn *conn) {
  MAGIC_CHECK(conn, HTTP_CONN_MAGIC);
  struct http_server *server = conn->server;
  if (conn->prev)
    conn->prev->next = conn->next;
  else
    server->conns = conn->next;
  if (conn->next) conn->next->prev = conn->prev;
  server->n_conns--;
  stop_polling(conn);
  conn->server = NULL;
  if (!conn->polling) mem_free(conn);
}

void http_conn_end(struct http_conn *conn) {
  if (conn->with_library) {
    if (!conn->shut) (void)shutdown(conn->fd, SHUT_RDWR);
    conn->shut = true;
    http_kick(conn->server);
    return;
  }
  stop_polling(conn);
  close(conn->fd);
  http_conn_free(conn);
}

void http_conn_refuse(struct http_conn *conn, const struct http_refusal *refusal) {
  char body[512];
  int body_len = snprintf(body, sizeof(body),
                          "{\"type\":\"urn:orch:problem:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}\n",
                          refusal->code, http_status_title(refusal->status), refusal->status, refusal->detail);
  char answer[1024];
  int len = snprintf(answer, sizeof(answer),
                     "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
                     "Connection: close\r\n\r\n%s",
                     refusal->status, http_status_title(refusal->status), body_len, body);
  (void)send(conn->fd, answer, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
  (void)shutdown(conn->fd, SHUT_WR);
  /* What the client has sent is read and thrown away: closing with unread bytes would reset the connection, and the
   * client would lose the refusal. */
  for (unsigned i = 0; i < 32 && recv(conn->fd, conn->server->peek, sizeof(conn->server->peek), MSG_DONTWAIT) > 0;) i++;
  conn->server->refused_heads++;
  log_event(LOG_INFO, "http.refused", LOG_S("peer", conn->peer), LOG_I("status", refusal->status),
            LOG_S("why", refusal->detail));
}

static void refuse_and_end(struct http_conn *conn, const struct http_refusal *refusal) {
  http_conn_refuse(conn, refusal);
  http_conn_end(conn);
}

/* ---- the first head ---- */

static void on_readable(uv_poll_t *poll, int status, int events);

static bool wait_for_more(struct http_conn *conn) {
  int want = (int)conn->peeked + 1;
  (void)setsockopt(conn->fd, SOL_SOCKET, SO_RCVLOWAT, &want, sizeof(want));
  if (!conn->polling) {
    if (uv_poll_init(conn->server->loop, &conn->poll, conn->fd) != 0) return false;
    conn->poll.data = conn;
    conn->polling = true;
  }
  return uv_poll_start(&conn->poll, UV_READABLE, on_readable) == 0;
}

bool http_conn_at_end(const struct http_conn *conn) {
  char byte;
  return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static bool has_hung_up(const struct http_conn *conn) {
  struct pollfd pfd = {.fd = conn->fd, .events = POLLRDHUP};
  return poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

void http_conn_look(struct http_conn *conn) {
  struct http_server *server = conn->server;
  struct http_refusal refusal;
  ssize_t n = recv(conn->fd, server->peek, sizeof(server->peek), MSG_PEEK | MSG_DONTWAIT);
  bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
  if (n == 0 || (n < 0 && !again)) {
    http_conn_end(conn);
    return;
  }
  size_t head_len = 0;
  enum http_scan scan = again ? HTTP_SCAN_MORE : http_guard_scan(server->peek, (size_t)n, &head_len, &refusal);
  if (scan == HTTP_SCAN_MORE) {
    /* Readable, yet nothing new: the client has closed its side, or the socket (AF_UNIX) knows no low-water mark. The
     * sweep looks again at the latter. */
    bool stale = !again && (size_t)n == conn->peeked;
    if (!again) conn->peeked = (size_t)n;
    if (stale && has_hung_up(conn)) {
      static const struct http_refusal cut = {400, "bad_request", "the request's head ends early"};
      refuse_and_end(conn, &cut);
      return;
    }
    if (stale && conn->polling)
      uv_poll_stop(&conn->poll);
    else if (!wait_for_more(conn))
      http_conn_end(conn);
    return;
  }
  struct http_head head;
  if (scan == HTTP_SCAN_REFUSED || !http_guard_split(server->peek, head_len, &head, &refusal) ||
      !http_guard_check(&head, &refusal)) {
    refuse_and_end(conn, &refusal);
    return;
  }
  stop_polling(conn);
  int one = 1;
  (void)setsockopt(conn->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
  if (!http_adopt(conn)) http_conn_free(conn); /* the library has closed the socket */
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  struct http_conn *conn = poll->data;
  MAGIC_CHECK(conn, HTTP_CONN_MAGIC);
  (void)status; /* an error shows in recv() */
  (void)events;
  http_conn_look(conn);
}

/* ---- accepting ---- */

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
  if (a->ss_family != b->ss_family) return false;
  if (a->ss_family == AF_INET)
    return ((const struct sockaddr_in *)a)->sin_addr.s_addr == ((const struct sockaddr_in *)b)->sin_addr.s_addr;
  if (a->ss_family == AF_INET6) /* a household or a host has a /64 */
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr, 8) == 0;
  return false;
}

static unsigned from_same_host(const struct http_conn *conn) {
  unsigned count = 0;
  for (const struct http_conn *other = conn->server->conns; other; other = other->next)
    count += same_host(&conn->address, &other->address);
  return count;
}

static void name_peer(struct http_conn *conn) {
  const struct sockaddr_storage *ss = &conn->address;
  const void *address = ss->ss_family == AF_INET    ? (const void *)&((const struct sockaddr_in *)ss)->sin_addr
                        : ss->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)ss)->sin6_addr
                                                    : NULL;
  if (!address || !inet_ntop(ss->ss_family, address, conn->peer, sizeof(conn->peer)))
    snprintf(conn->peer, sizeof(conn->peer), "unix");
}

static void accepted(struct http_server *server, int fd, const struct sockaddr_storage *address, socklen_t len) {
  struct http_conn *conn = mem_alloc(sizeof(*conn));
  conn->magic = HTTP_CONN_MAGIC;
  conn->server = server;
  conn->fd = fd;
  conn->address = *address;
  conn->address_len = len;
  name_peer(conn);
  http_conn_start(conn, HTTP_PHASE_PEEK);
  conn->next = server->conns;
  if (server->conns) server->conns->prev = conn;
  server->conns = conn;
  server->n_conns++;
  server->accepted++;
  int on = 1;
  if (address->ss_family != AF_UNIX) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  static const struct http_refusal full = {503, "busy", "the server has as many connections as it takes"};
  static const struct http_refusal greedy = {429, "too_many_connections", "too many connections from this address"};
  if (server->n_conns > server->options.max_connections) {
    server->refused_conns++;
    refuse_and_end(conn, &full);
  } else if (from_same_host(conn) > server->options.max_connections_per_address) {
    server->refused_conns++;
    refuse_and_end(conn, &greedy);
  } else {
    http_conn_look(conn);
  }
}

static void on_connection(uv_poll_t *poll, int status, int events) {
  struct http_server *server = poll->data;
  MAGIC_CHECK(server, HTTP_SERVER_MAGIC);
  (void)status;
  (void)events;
  for (unsigned i = 0; i < 64; i++) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    int fd = accept4(server->listen_fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      accepted(server, fd, &address, len);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EMFILE || errno == ENFILE) {
      log_event(LOG_ERROR, "http.no_descriptors", LOG_I("connections", server->n_conns));
      uv_poll_stop(poll); /* else the loop would spin; the sweep starts it again */
    }
    return;
  }
}

bool http_listen(struct http_server *server, struct err *err) {
  const char *listen_on = server->options.listen;
  bool is_unix = strncmp(listen_on, "unix:", 5) == 0;
  int fd = is_unix ? listen_unix(listen_on + 5, err) : listen_tcp(listen_on, err);
  if (fd < 0) return false;
  if (listen(fd, 511) != 0) {
    bool busy = errno == EADDRINUSE;
    err_errno(err, errno, "cannot listen on %s", listen_on);
    if (busy) (void)already_there(listen_on, err);
    close(fd);
    return false;
  }
  server->listen_fd = fd;
  server->address = is_unix ? mem_strdup(listen_on) : bound_address(fd, listen_on);
  if (is_unix) server->unlink_path = mem_strdup(listen_on + 5);
  int rc = uv_poll_init(server->loop, &server->listen_poll, fd);
  ORCH_ASSERT(rc == 0);
  server->listen_poll.data = server;
  server->open_handles++;
  rc = uv_poll_start(&server->listen_poll, UV_READABLE, on_connection);
  ORCH_ASSERT(rc == 0);
  return true;
}

void http_listen_resume(struct http_server *server) {
  if (server->listen_fd >= 0 && !uv_is_active((uv_handle_t *)&server->listen_poll))
    (void)uv_poll_start(&server->listen_poll, UV_READABLE, on_connection);
}

void http_listen_stop(struct http_server *server) {
  if (server->listen_fd < 0) return;
  uv_poll_stop(&server->listen_poll);
  close(server->listen_fd);
  server->listen_fd = -1;
  if (server->unlink_path) (void)unlink(server->unlink_path);
}
