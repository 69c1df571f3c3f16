/* Bearer tokens and the sessions that browsers have instead: only digests are looked up, in the database, at every
 * request, so that a revocation holds at once. */
#include "serve/auth.h"

#include <jansson.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "pages/pages.h"
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

/* The document of token_check or session_check. */
static void let_in(struct http_request *req, const char *document) {
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
                                     .scopes = strbuf_text(&scopes),
                                     .csrf = json_string_value(json_object_get(who, "csrf"))};
  if (principal.actor && principal.token)
    http_authorised(req, &principal);
  else
    http_problem(req, 500, "internal", "the token's owner could not be read", NULL);
  json_decref(who);
}

static void on_checked(struct http_request *req, struct serve *serve, const char *document, const struct err *err) {
  (void)serve;
  if (err)
    answer_denied(req, err, strcmp(err->sqlstate, "OR008") == 0);
  else
    let_in(req, document);
}

/* ---- sessions ---- */

/* To the form and, after it, back to where it was asked for. A link from another site comes without the cookie, which
 * is SameSite=Strict: there the browser is made to ask once more, from a page of ours. */
static void ask_to_sign_in(struct http_request *req, bool had_cookie) {
  const char *site = http_header(req, "Sec-Fetch-Site");
  CLEANUP(strbuf_fini_p) struct strbuf text;
  strbuf_init(&text, 16 * 1024);
  if (strcmp(req->method, "POST") == 0) {
    http_problem(req, 401, "denied", "you are not signed in", "go to /login and try again");
  } else if (!had_cookie && site && strcmp(site, "cross-site") == 0 && page_is_ours(req->path)) {
    page_again(&text, req->path);
    http_reply(req, 200, "text/html; charset=utf-8", strbuf_text(&text), text.len);
  } else {
    strbuf_puts(&text, "/login");
    if (page_is_ours(req->path) && req->path[1]) {
      strbuf_puts(&text, "?next=");
      strbuf_add_url(&text, req->path);
    }
    http_redirect(req, strbuf_text(&text));
  }
}

static void on_session(struct http_request *req, struct serve *serve, const char *document, const struct err *err) {
  (void)serve;
  if (!err)
    let_in(req, document);
  else if (strcmp(err->sqlstate, "OR008") == 0)
    ask_to_sign_in(req, true);
  else
    http_problem_err(req, err);
}

static void session_check(struct http_request *req, struct serve *serve, const char *scope) {
  const char *cookie = http_cookie(req, AUTH_COOKIE);
  char hash[DIGEST_TEXT_SIZE];
  if (!cookie || strlen(cookie) != AUTH_COOKIE_LEN) {
    ask_to_sign_in(req, cookie != NULL);
    return;
  }
  auth_digest(cookie, hash);
  struct db_value values[] = {db_text(hash), db_text(scope)};
  route_call_then(req, serve, "select orch.session_check($1, $2)", ARRAY_LEN(values), values, on_session);
}

/* ---- both ---- */

void auth_digest(const char *secret, char out[DIGEST_TEXT_SIZE]) {
  uint8_t digest[DIGEST_BYTES];
  digest_bytes(secret, strlen(secret), digest);
  digest_to_text(digest, out);
}

bool auth_is_token(const char *text) {
  return strlen(text) <= AUTH_TOKEN_MAX && strncmp(text, "orch_", 5) == 0;
}

void auth_check(struct http_request *req, const char *token, const char *scope, void *arg) {
  struct serve *serve = arg;
  MAGIC_CHECK(serve, SERVE_MAGIC);
  if (!token) {
    session_check(req, serve, scope);
    return;
  }
  char hash[DIGEST_TEXT_SIZE];
  if (!auth_is_token(token)) {
    struct err err = {0};
    err_set(&err, ERR_DENIED, "this is no token of orch");
    err_hint(&err, "orch token create NAME --scope %s makes one", scope);
    answer_denied(req, &err, true);
    return;
  }
  auth_digest(token, hash);
  struct db_value values[] = {db_text(hash), db_text(scope)};
  route_call_then(req, serve, "select orch.token_check($1, $2)", ARRAY_LEN(values), values, on_checked);
}
