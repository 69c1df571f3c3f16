/* The project folder that `orch up` works in: where .orch/ is, with what belongs in it. */
#ifndef ORCH_CLI_HOME_H
#define ORCH_CLI_HOME_H

#include <limits.h>

#include "cli/cli.h"

/* The nearest folder, from here upwards, that holds .orch/ of ours; else the current one. */
ORCH_MUST_CHECK bool home_find(char out[PATH_MAX], struct err *err);
/* Makes .orch/ and .orch/log, closed to git. */
ORCH_MUST_CHECK bool home_make(const char *home, struct err *err);
/* One up or down at a time; the lock goes with the process. */
ORCH_MUST_CHECK bool home_lock(const char *home, struct err *err);
/* home/.orch/NAME, in the arena. */
const char *home_path(struct cli *cli, const char *home, const char *name);

/* Where the server that `orch up` started listens, as it wrote down then; NULL when it did not. In the arena. */
const char *home_listen(struct cli *cli, const char *home);
/* What a browser would call the server's pages: ORCH_PUBLIC_URL, else the server that runs out of this folder; NULL
 * when there is neither, or it listens on a unix socket. */
const char *home_pages_url(struct cli *cli);

/* Asks GET /readyz of the server at `listen` ("127.0.0.1:8077", "unix:/path"): true when it says 200. */
bool home_server_is_ready(const char *listen);

#endif
