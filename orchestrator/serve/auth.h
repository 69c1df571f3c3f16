/* Who is asking: the digest of a bearer token, or on pages of a session's cookie, against the database. */
#ifndef ORCH_SERVE_AUTH_H
#define ORCH_SERVE_AUTH_H

#include "base/digest.h"
#include "serve/http.h"

/* The prefix makes browsers keep it to this host, over TLS or on loopback, and to all of its paths. */
#define AUTH_COOKIE "__Host-orch"
#define AUTH_COOKIE_LEN 64u /* 32 random bytes in hex */

/* As http_options.authorise; `arg` is the struct serve. */
void auth_check(struct http_request *req, const char *token, const char *scope, void *arg);

/* What stands in the database for a secret: its digest. */
void auth_digest(const char *secret, char out[DIGEST_TEXT_SIZE]);
/* Whether it can be a token at all. */
bool auth_is_token(const char *text);

#endif
