/* Who is asking: a bearer token's digest against the database. */
#ifndef ORCH_SERVE_AUTH_H
#define ORCH_SERVE_AUTH_H

#include "serve/http.h"

/* As http_options.authorise; `arg` is the struct serve. */
void auth_check(struct http_request *req, const char *token, const char *scope, void *arg);

#endif
