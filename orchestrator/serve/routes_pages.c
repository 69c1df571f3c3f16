/* Pages for browsers: what is live and why a model is to be retrained, and the session that lets somebody look. A page
 * only shows: GET decides nothing, and the only posts are signing in and out. */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "chat/form.h"
#include "pages/pages.h"
#include "pages/static.h"
#include "serve/auth.h"
#include "serve/routes.h"

#define HTML_TYPE "text/html; charset=utf-8"
#define FORM_BYTES_MAX 8192
#define CSRF_BYTES 16
#define SESSION_COOKIE "Path=/; Secure; HttpOnly; SameSite=Strict"

/* ---- reading ---- */

static void reply_page(struct http_request *req, int status, struct strbuf *page) {
  if (page->failed)
    http_problem(req, 413, "limit", "this page would be too large", "the JSON has it all, in pages");
  else
    http_reply(req, status, HTML_TYPE, strbuf_text(page), page->len);
}

typedef void (*page_writer)(struct strbuf *out, const struct page_frame *frame, const json_t *document);

/* Numbers that are too large for an integer are still numbers. */
static json_t *parse(const char *document) {
  json_t *parsed = json_loads(document, 0, NULL);
  return parsed ? parsed : json_loads(document, JSON_DECODE_INT_AS_REAL, NULL);
}

static void show(struct http_request *req, const char *document, const struct err *err, page_writer write) {
  if (err) {
    http_problem_err(req, err);
    return;
  }
  json_t *parsed = document ? parse(document) : NULL;
  if (!parsed) {
    http_problem(req, 500, "internal", "the database's answer could not be read", NULL);
    return;
  }
  struct page_frame frame = {.actor = req->principal.actor, .csrf = req->principal.csrf, .now_us = clock_wall_us()};
  CLEANUP(strbuf_fini_p) struct strbuf page;
  strbuf_init(&page, PAGES_BYTES_MAX);
  write(&page, &frame, parsed);
  json_decref(parsed);
  reply_page(req, 200, &page);
}

static void on_home_known(struct http_request *req, struct serve *serve, const char *document, const struct err *err) {
  (void)serve;
  show(req, document, err, page_home);
}

static void on_home(struct http_request *req, void *ctx) {
  route_call_then(req, ctx, "select jsonb_build_object('status', orch.api_status(), 'trends', orch.api_trends(200))", 0,
                  NULL, on_home_known);
}

static void on_pipeline_known(struct http_request *req, struct serve *serve, const char *document,
                              const struct err *err) {
  (void)serve;
  show(req, document, err, page_pipeline);
}

static void on_pipeline(struct http_request *req, void *ctx) {
  struct db_value values[] = {db_text(req->params[0])};
  route_call_then(req, ctx,
                  "select jsonb_build_object('pipeline', orch.api_pipeline($1), 'versions', orch.api_versions($1), "
                  "'signals', orch.api_signals(jsonb_build_object('pipeline', $1::text, 'limit', 20)))",
                  ARRAY_LEN(values), values, on_pipeline_known);
}

static void on_proposal_known(struct http_request *req, struct serve *serve, const char *document,
                              const struct err *err) {
  (void)serve;
  show(req, document, err, page_proposal);
}

static void on_proposal(struct http_request *req, void *ctx) {
  int64_t id;
  if (!http_param_id(req, 0, &id)) return;
  struct db_value values[] = {db_i64(id)};
  route_call_then(req, ctx, "select orch.api_proposal($1)", ARRAY_LEN(values), values, on_proposal_known);
}

static void on_incidents_known(struct http_request *req, struct serve *serve, const char *document,
                               const struct err *err) {
  (void)serve;
  show(req, document, err, page_incidents);
}

static void on_incidents(struct http_request *req, void *ctx) {
  route_call_then(req, ctx, "select orch.api_incidents('{\"limit\": 100}')", 0, NULL, on_incidents_known);
}

static void on_incident_known(struct http_request *req, struct serve *serve, const char *document,
                              const struct err *err) {
  (void)serve;
  show(req, document, err, page_incident);
}

static void on_incident(struct http_request *req, void *ctx) {
  int64_t id;
  if (!http_param_id(req, 0, &id)) return;
  struct db_value values[] = {db_i64(id)};
  route_call_then(req, ctx, "select orch.api_incident($1)", ARRAY_LEN(values), values, on_incident_known);
}

/* ---- posts come from our own pages ---- */

static bool same_text(const char *a, const char *b) {
  return digest_equal(a, strlen(a), b, strlen(b));
}

/* "https://HOST" or "http://HOST" with the host that the browser asked for, or the public URL's. */
static bool is_own_origin(const struct http_request *req, const struct serve *serve, const char *origin) {
  const char *host = http_header(req, "Host"), *public_url = serve->options.public_url;
  if (public_url && strcasecmp(public_url, origin) == 0) return true;
  if (strncasecmp(origin, "https://", 8) == 0)
    origin += 8;
  else if (strncasecmp(origin, "http://", 7) == 0)
    origin += 7;
  else
    return false;
  return host && strcasecmp(origin, host) == 0;
}

/* What browsers say about where a form was: at least one of the two, and neither may speak of another site. False:
 * answered with 403. */
static bool from_own_page(struct http_request *req, const struct serve *serve) {
  const char *site = http_header(req, "Sec-Fetch-Site"), *origin = http_header(req, "Origin");
  bool good =
      (site || origin) && (!site || strcmp(site, "same-origin") == 0) && (!origin || is_own_origin(req, serve, origin));
  if (good) return true;
  log_event(LOG_WARN, "page.cross_site", LOG_S("id", req->id), LOG_S("path", req->path), LOG_S("origin", origin),
            LOG_S("site", site), LOG_S("peer", req->peer));
  http_problem(req, 403, "cross_site", "this form was not sent from a page of this server",
               "open the page here and try again; behind a proxy, ORCH_PUBLIC_URL names the address that browsers use");
  return false;
}

/* A field of the form, or NULL. False: answered already. */
static bool form(struct http_request *req, const char *name, const char **ret_value) {
  struct err err = {0};
  if (form_field(&req->arena, req->body, req->body_len, name, ret_value, &err)) return true;
  http_problem_err(req, &err);
  return false;
}

/* ---- signing in ---- */

struct login {
  char cookie[AUTH_COOKIE_LEN + 1];
  const char *next;
};

static void reply_login(struct http_request *req, int status, const char *next, const char *refused, const char *hint) {
  CLEANUP(strbuf_fini_p) struct strbuf page;
  strbuf_init(&page, PAGES_BYTES_MAX);
  page_login(&page, next, refused, hint);
  reply_page(req, status, &page);
}

static void on_login(struct http_request *req, void *ctx) {
  (void)ctx;
  reply_login(req, 200, http_query(req, "next"), NULL, NULL);
}

static void on_session_made(struct http_request *req, struct serve *serve, const char *document,
                            const struct err *err) {
  const struct login *login = req->own;
  (void)document;
  if (err && (err->code == ERR_DENIED || err->code == ERR_REFUSED)) {
    bool unknown = strcmp(err->sqlstate, "OR008") == 0;
    login_guard_failed(&serve->logins, req->peer, clock_mono_us());
    log_event(LOG_WARN, "page.login_refused", LOG_S("id", req->id), LOG_S("peer", req->peer), LOG_S("why", err->text));
    reply_login(req, unknown ? 401 : 403, login->next, err->text, err->hint);
    return;
  }
  if (err) {
    http_problem_err(req, err);
    return;
  }
  CLEANUP(mem_free_p) char *cookie = mem_printf(AUTH_COOKIE "=%s; " SESSION_COOKIE "; Max-Age=43200", login->cookie);
  http_reply_header(req, "Set-Cookie", cookie);
  http_redirect(req, page_is_ours(login->next) ? login->next : "/");
}

static void random_hex(size_t bytes, char *out) {
  uint8_t raw[AUTH_COOKIE_LEN / 2];
  ORCH_ASSERT(bytes <= sizeof raw);
  clock_random(raw, bytes);
  digest_hex(raw, bytes, out);
}

/* The token without the white space that comes along when it is pasted. */
static char *trim(struct arena *arena, const char *text) {
  text += strspn(text, " \t\r\n");
  size_t len = strlen(text);
  while (len > 0 && strchr(" \t\r\n", text[len - 1])) len--;
  return arena_strndup(arena, text, len);
}

static void on_login_post(struct http_request *req, void *ctx) {
  struct serve *serve = ctx;
  MAGIC_CHECK(serve, SERVE_MAGIC);
  const char *token, *next;
  int wait_s = 1;
  if (!from_own_page(req, serve) || !form(req, "token", &token) || !form(req, "next", &next)) return;
  if (!login_guard_allows(&serve->logins, req->peer, clock_mono_us(), &wait_s)) {
    CLEANUP(mem_free_p) char *seconds = mem_printf("%d", wait_s);
    http_reply_header(req, "Retry-After", seconds);
    reply_login(req, 429, next, "too many tries", "wait a minute and try again");
    return;
  }
  token = token ? trim(&req->arena, token) : NULL;
  struct login *login = arena_alloc(&req->arena, sizeof *login);
  if (!login || !token || !auth_is_token(token)) {
    login_guard_failed(&serve->logins, req->peer, clock_mono_us());
    reply_login(req, 401, next, "this is no token of orch", "it begins with orch_");
    return;
  }
  char token_hash[DIGEST_TEXT_SIZE], hash[DIGEST_TEXT_SIZE], csrf[2 * CSRF_BYTES + 1];
  random_hex(AUTH_COOKIE_LEN / 2, login->cookie);
  random_hex(CSRF_BYTES, csrf);
  auth_digest(token, token_hash);
  auth_digest(login->cookie, hash);
  login->next = next;
  req->own = login;
  struct db_value values[] = {db_text(token_hash), db_text(hash), db_text(csrf)};
  route_call_then(req, serve, "select orch.session_create($1, $2, $3)", ARRAY_LEN(values), values, on_session_made);
}

/* ---- signing out ---- */

static void on_session_ended(struct http_request *req, struct serve *serve, const char *document,
                             const struct err *err) {
  (void)serve;
  (void)document;
  if (err) {
    http_problem_err(req, err);
    return;
  }
  http_reply_header(req, "Set-Cookie", AUTH_COOKIE "=; " SESSION_COOKIE "; Max-Age=0");
  http_redirect(req, "/login");
}

static void on_logout(struct http_request *req, void *ctx) {
  const char *csrf, *cookie = http_cookie(req, AUTH_COOKIE);
  char hash[DIGEST_TEXT_SIZE];
  if (!from_own_page(req, ctx) || !form(req, "csrf", &csrf)) return;
  if (!req->principal.csrf || !cookie || !csrf || !same_text(csrf, req->principal.csrf)) {
    http_problem(req, 403, "csrf", "the form does not belong to this session", "open the page again and retry");
    return;
  }
  auth_digest(cookie, hash);
  struct db_value values[] = {db_text(hash)};
  route_call_then(req, ctx, "select orch.session_end($1)", ARRAY_LEN(values), values, on_session_ended);
}

/* ---- the files beside the pages ---- */

static void on_static(struct http_request *req, void *ctx) {
  const struct page_file *file = page_file_find(req->route->pattern + strlen("/static/"));
  const char *version = http_query(req, "v");
  (void)ctx;
  ORCH_ASSERT(file != NULL);
  /* Kept for good only under the name of this very content: another version of the server may be asked next time. */
  bool exact = version && strcmp(version, page_files_version()) == 0;
  http_reply_header(req, "Cache-Control", exact ? "public, max-age=31536000, immutable" : "no-cache");
  http_reply(req, 200, file->type, file->bytes, file->len);
}

const struct http_route routes_pages[] = {
    {"GET", "/", "read", 0, on_home, HTTP_ROUTE_PAGE, "Page: all pipelines, what waits for whom"},
    {"GET", "/pipelines/{p}", "read", 0, on_pipeline, HTTP_ROUTE_PAGE, "Page: one pipeline, its monitors over time"},
    {"GET", "/proposals/{id}", "read", 0, on_proposal, HTTP_ROUTE_PAGE, "Page: one proposal and why it is there"},
    {"GET", "/incidents", "read", 0, on_incidents, HTTP_ROUTE_PAGE, "Page: what fired together, and what came of it"},
    {"GET", "/incidents/{id}", "read", 0, on_incident, HTTP_ROUTE_PAGE, "Page: pipelines that fire together"},
    {"GET", "/login", "", 0, on_login, HTTP_ROUTE_PAGE, "Page: sign in with a token"},
    {"POST", "/login", "", FORM_BYTES_MAX, on_login_post, HTTP_ROUTE_PAGE, "Signs in: makes a session"},
    {"POST", "/logout", "read", FORM_BYTES_MAX, on_logout, HTTP_ROUTE_PAGE, "Signs out: ends the session"},
    {"GET", "/static/style.css", "", 0, on_static, HTTP_ROUTE_QUIET, "The pages' style sheet"},
    {"GET", "/static/icon.svg", "", 0, on_static, HTTP_ROUTE_QUIET, "The pages' icon"},
    ROUTES_END};
