/* Bearer tokens: only their digest is looked up, in the database, at every request, so that a revocation holds at once.
 */
#include "serve/auth.h"

#include <jansson.h>
#include <string.h>

#include "base/digest.h"
#include "base/strbuf.h"
#include "serve/routes.h"

#define AUTH_TOKEN_MAX 256

/* RFC 6750: 401 for a token that is none (any more), 403 for one that may not do this. */
static void answer_denied(struct http_request *req, const struct err *err, bool unproven) {
  if (unproven) {
    http_reply_header(req, "WWW-Authenticate", "Bearer realm=\"orch\", error=\"invalid_token\"");
    http_problem(req, 401, "denied", err->text, err->hint);
    return;
  }
  if (err->code == ERR_DENIED)
    http_reply_header(req, "WWW-Authenticate", "Bearer realm=\"orch\", error=\"insufficient_scope\"");
  http_problem_err(req, err);
}

static void on_checked(struct http_request *req, struct serve *serve, const char *document, const struct err *err) {
  (void)serve;
  if (err) {
    answer_denied(req, err, strcmp(err->sqlstate, "OR008") == 0);
    return;
  }
  json_t *who = document ? json_loads(document, 0, NULL) : NULL;
  CLEANUP(strbuf_fini_p) struct strbuf scopes;
  strbuf_init(&scopes, 1024);
  size_t i;
  json_t *scope;
  json_array_foreach(json_object_get(who, "scopes"), i, scope) {
    if (i > 0) strbuf_putc(&scopes, ',');
    strbuf_puts(&scopes, json_string_value(scope) ? json_string_value(scope) : "");
  }
  struct http_principal principal = {.actor = json_string_value(json_object_get(who, "actor")),
                                     .token = json_string_value(json_object_get(who, "token")),
                                     .reviewer = json_string_value(json_object_get(who, "reviewer")),
                                     .scopes = strbuf_text(&scopes)};
  if (principal.actor && principal.token)
    http_authorised(req, &principal);
  else
    http_problem(req, 500, "internal", "the token's owner could not be read", NULL);
  json_decref(who);
}

void auth_check(struct http_request *req, const char *token, const char *scope, void *arg) {
  struct serve *serve = arg;
  MAGIC_CHECK(serve, SERVE_MAGIC);
  uint8_t digest[DIGEST_BYTES];
  char hash[DIGEST_TEXT_SIZE];
  size_t len = strlen(token);
  if (len > AUTH_TOKEN_MAX || strncmp(token, "orch_", 5) != 0) {
    struct err err = {0};
    err_set(&err, ERR_DENIED, "this is no token of orch");
    err_hint(&err, "orch token create NAME --scope %s makes one", scope);
    answer_denied(req, &err, true);
    return;
  }
  digest_bytes(token, len, digest);
  digest_to_text(digest, hash);
  struct db_value values[] = {db_text(hash), db_text(scope)};
  route_call_then(req, serve, "select orch.token_check($1, $2)", ARRAY_LEN(values), values, on_checked);
}
