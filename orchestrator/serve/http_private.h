/* What the files of the HTTP server share among themselves: connections, the inside of a request, the route list. */
#ifndef ORCH_SERVE_HTTP_PRIVATE_H
#define ORCH_SERVE_HTTP_PRIVATE_H

#include <microhttpd.h>
#include <sys/socket.h>

#include "serve/http.h"
#include "serve/http_guard.h"

#define HTTP_SERVER_MAGIC 0x48545352u
#define HTTP_CONN_MAGIC 0x4854434eu
#define HTTP_REQUEST_MAGIC 0x48545251u

#define HTTP_POOL_BYTES (16u * 1024)        /* libmicrohttpd's memory of one connection */
#define HTTP_ARENA_BYTES (4u * 1024 * 1024) /* the most one request may take beside its body */
/* Of a refused body, so that the client gets to read the refusal: many write all of a body before they read. */
#define HTTP_DRAIN_MAX_BYTES (32u * 1024 * 1024)
#define HTTP_DRAIN_MAX_MS 2000u
#define HTTP_SWEEP_MS 250
#define HTTP_STATUS_KINDS 12
#define HTTP_BUCKETS 12

/* Where a connection is; each phase has its own deadline. */
enum http_phase {
  HTTP_PHASE_PEEK, /* ours: waiting for the first whole head */
  HTTP_PHASE_IDLE, /* the library's: between requests, or in a later head */
  HTTP_PHASE_BODY,
  HTTP_PHASE_WORK, /* the handler has the request */
  HTTP_PHASE_SEND,
};

struct http_conn {
  uint32_t magic;
  struct http_server *server;
  int fd;
  enum http_phase phase;
  int64_t since_us; /* monotonic: when the phase began */
  struct sockaddr_storage address;
  socklen_t address_len;
  char peer[48];
  bool polling;      /* `poll` is initialised and not yet closed */
  bool with_library; /* libmicrohttpd owns the socket now */
  bool shut;         /* shut down by us; the library will notice */
  size_t peeked;     /* bytes of the first head seen so far */
  uv_poll_t poll;
  struct MHD_Connection *mhd;
  struct http_request *request;
  struct http_conn *next, *prev;
};

struct http_route_stats {
  struct {
    int status;
    uint64_t count;
  } by_status[HTTP_STATUS_KINDS];
  uint64_t buckets[HTTP_BUCKETS]; /* not cumulative; the last one is +Inf */
  uint64_t count;
  double seconds;
};

struct http_entry {
  const struct http_route *route;
  void *ctx;
  struct http_route_stats stats;
};

/* The inside of a request. */
struct http_own {
  struct http_request req;  /* first: what handlers see */
  struct http_conn *conn;   /* NULL once the connection is gone */
  struct http_entry *entry; /* NULL: no such route */
  char *raw_target;
  const char *target_at; /* where the library has the target, for the layout check */
  struct strbuf received;
  size_t reserved_bytes; /* of the server's body budget */
  struct http_pair reply_headers[8];
  size_t n_reply_headers;
  struct MHD_Response *response;
  int status;                   /* 0 until answered */
  struct http_refusal given_up; /* the server's own answer, if it was that */
  size_t reply_len;
  int refs;          /* the connection's and the handler's */
  bool with_handler; /* handed over and not answered by the handler yet */
  bool head_seen;    /* the library's first call came */
  bool dispatched;
  bool suspended;
  bool refused;     /* refused before dispatch: the body is thrown away */
  bool close_after; /* no second request on this connection */
};

struct http_server {
  uint32_t magic;
  uv_loop_t *loop;
  struct http_options options;
  struct MHD_Daemon *daemon;
  char *address;
  char *unlink_path; /* of our unix socket */
  int listen_fd;
  uv_poll_t listen_poll, epoll_poll;
  uv_timer_t run_timer, sweep_timer;
  uv_check_t check;
  unsigned open_handles;
  bool kick;    /* the library has something to do at the end of this turn */
  bool running; /* inside MHD_run() */
  bool stopping, closing, closed;
  int64_t stop_at_us;
  void (*done)(void *arg);
  void *done_arg;
  struct http_entry **entries; /* each stays in place */
  size_t n_entries;
  struct http_route_stats unmatched;
  struct http_conn *conns;
  struct http_conn *adopting; /* while the library is being given it */
  unsigned n_conns;
  size_t body_bytes;
  uint64_t accepted, refused_conns, refused_heads, timed_out;
  char peek[HTTP_GUARD_HEAD_MAX];
};

/* http_accept.c */
ORCH_MUST_CHECK bool http_listen(struct http_server *server, struct err *err);
void http_listen_stop(struct http_server *server);
void http_listen_resume(struct http_server *server); /* after descriptors had run out */
/* Looks at the first head: hands the connection over, refuses it, or waits for more. */
void http_conn_look(struct http_conn *conn);
void http_conn_start(struct http_conn *conn, enum http_phase phase);
void http_conn_free(struct http_conn *conn);
/* The client has closed its side and everything it sent was read. The library, which is told of each event once, misses
 * that when the end came together with the last bytes. */
bool http_conn_at_end(const struct http_conn *conn);
/* Ends it from our side: what is not the library's is closed, what is the library's is shut down. */
void http_conn_end(struct http_conn *conn);
/* Writes a refusal past the library; only while no answer is under way. */
void http_conn_refuse(struct http_conn *conn, const struct http_refusal *refusal);

/* http.c */
/* False: the library has closed the socket and the connection is still to be freed. */
ORCH_MUST_CHECK bool http_adopt(struct http_conn *conn);
void http_kick(struct http_server *server);
struct http_conn *http_conn_of(struct MHD_Connection *mhd);

/* http_reply.c */
/* The server's own answer, for refusals and time-outs: keeps the handler's right to answer (into nothing). */
void http_give_up(struct http_own *own, int status, const char *code, const char *detail);
void http_own_unref(struct http_own *own);
const char *http_status_title(int status);

/* http_request.c: the library's callbacks */
void *http_on_target(void *cls, const char *target, struct MHD_Connection *mhd);
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                const char *version, const char *upload, size_t *upload_len, void **slot);
void http_on_completed(void *cls, struct MHD_Connection *mhd, void **slot, enum MHD_RequestTerminationCode code);

/* http_route.c */
/* NULL: `ret_allow` (an Allow value in the arena) is set when another method would do. */
struct http_entry *http_route_find(struct http_server *server, struct http_request *req, const char *raw_path,
                                   size_t raw_len, const char **ret_allow);
void http_route_count(struct http_route_stats *stats, int status, double seconds);

#endif
