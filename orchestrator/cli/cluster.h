/* The private PostgreSQL of `orch up`: made, started and stopped by us, reached by a unix socket only.
 *
 * It lies in .orch/pg, its socket in .orch/run. PostgreSQL refuses to run as root, so root's cluster belongs to the
 * user `postgres` (else `nobody`); when that user cannot reach the folder (a home of mode 0700), or when the socket's
 * path would be longer than the system allows, other places are found and remembered in .orch/cluster.json. Whoever can
 * enter the socket's folder (mode 0700) is let in: there is no password. Durable settings stay as PostgreSQL has them.
 */
#ifndef ORCH_CLI_CLUSTER_H
#define ORCH_CLI_CLUSTER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct cluster {
  char *orch;   /* the .orch folder, absolute */
  char *data;   /* PGDATA */
  char *socket; /* the socket's folder */
  char *bin;    /* where initdb and postgres are */
  char *user;   /* who owns and runs it */
  uid_t uid;
  gid_t gid;
};

/* Decides where everything is or, the second time, reads it back; makes nothing but .orch itself. */
ORCH_MUST_CHECK bool cluster_open(struct cluster *cluster, const char *orch, struct err *err);
void cluster_close(struct cluster *cluster);
/* Was it made before? */
bool cluster_exists(const struct cluster *cluster);
/* The postmaster's process id, or 0 when it does not run. */
pid_t cluster_pid(const struct cluster *cluster);
/* Makes and starts it as far as needed, makes the database and writes .orch/database-url. `*ret_url` by mem_free().
 * `say` is called before each step that takes a while. */
ORCH_MUST_CHECK bool cluster_start(struct cluster *cluster, void (*say)(const char *line), char **ret_url,
                                   struct err *err);
/* Stops it; clients are cut off. Fine when it does not run. */
ORCH_MUST_CHECK bool cluster_stop(struct cluster *cluster, struct err *err);

#endif
