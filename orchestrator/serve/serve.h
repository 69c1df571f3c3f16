/* `orch serve`: one event loop with HTTP, timed duties, the outbox, monitors and deployments.
 *
 * Any number of servers may run on one database: whatever is due is claimed there. The process holds no state that
 * PostgreSQL does not have, so it may be killed at any instruction. */
#ifndef ORCH_SERVE_SERVE_H
#define ORCH_SERVE_SERVE_H

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "io/db.h"
#include "serve/http.h"
#include "serve/login_guard.h"

/* All texts must live as long as serve_main() runs. Secrets are not among them: who needs one reads it with
 * secret_get(). */
struct serve_options {
  const char *database_url; /* required */
  const char *listen;       /* NULL: 127.0.0.1:8077 */
  const char *store;        /* the artifact store; NULL: none, then no deployment is carried out here */
  const char *base;         /* absolute folder that relative paths of rollout drivers are below; needed with `store` */
  unsigned connections;     /* of the database pool; 0: 4 */
  unsigned grace_ms;        /* for requests and leases in flight when stopping; 0: 10 s */
  bool no_prepared;         /* for PgBouncer in transaction mode */
  const char *public_url;   /* what browsers call this server, "https://orch.example.com"; NULL: what their Host says */
};

/* What routes, duties and flows share: the `ctx` of every route. */
struct serve {
  uint32_t magic;
  uv_loop_t *loop;
  struct db *db;
  struct http_server *http;
  struct serve_options options; /* with the defaults filled in */
  char *owner;                  /* this process, as claims name it: "serve:HOST:PID:RANDOM" */
  bool stopping;
  struct login_guard logins;
  struct chat_routes *chat;    /* flow_chat's, for routes_chat; NULL while it does not run */
  struct observing *observing; /* routes_observe's */
  struct serve_own *own;       /* serve.c's */
};
#define SERVE_MAGIC 0x53455256u

/* Runs until SIGTERM or SIGINT; true after a graceful stop. Errors: ERR_CONFLICT when the address is taken, ERR_USAGE
 * for what cannot be listened on, ERR_TIMEOUT when stopping took longer than its bound. An unreachable database is no
 * error: /readyz says so until it is back. */
ORCH_MUST_CHECK bool serve_main(const struct serve_options *options, struct err *err);

#endif
