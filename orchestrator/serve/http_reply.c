/* Answers: from handlers and from the server itself, exactly one of which reaches the client. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "io/db.h"
#include "serve/http_private.h"

const char *http_status_title(int status) {
  switch (status) {
  case 400:
    return "Bad Request";
  case 401:
    return "Unauthorized";
  case 403:
    return "Forbidden";
  case 404:
    return "Not Found";
  case 405:
    return "Method Not Allowed";
  case 408:
    return "Request Timeout";
  case 409:
    return "Conflict";
  case 412:
    return "Precondition Failed";
  case 413:
    return "Content Too Large";
  case 414:
    return "URI Too Long";
  case 415:
    return "Unsupported Media Type";
  case 417:
    return "Expectation Failed";
  case 422:
    return "Unprocessable Content";
  case 429:
    return "Too Many Requests";
  case 431:
    return "Request Header Fields Too Large";
  case 500:
    return "Internal Server Error";
  case 502:
    return "Bad Gateway";
  case 503:
    return "Service Unavailable";
  case 504:
    return "Gateway Timeout";
  case 505:
    return "HTTP Version Not Supported";
  default:
    return status < 400 ? "OK" : "Error";
  }
}

static struct http_own *own_of(struct http_request *req) {
  MAGIC_CHECK(req, HTTP_REQUEST_MAGIC);
  return CONTAINER_OF(req, struct http_own, req);
}

void http_own_unref(struct http_own *own) {
  MAGIC_CHECK(&own->req, HTTP_REQUEST_MAGIC);
  ORCH_ASSERT(own->refs > 0);
  if (--own->refs > 0) return;
  if (own->response) MHD_destroy_response(own->response);
  strbuf_fini(&own->received);
  arena_fini(&own->req.arena);
  own->req.magic = 0;
  mem_free(own);
}

void http_reply_header(struct http_request *req, const char *name, const char *value) {
  struct http_own *own = own_of(req);
  ORCH_ASSERT(own->n_reply_headers < ARRAY_LEN(own->reply_headers));
  for (const char *c = value; *c; c++) ORCH_ASSERT((unsigned char)*c >= 0x20 && *c != 0x7f);
  own->reply_headers[own->n_reply_headers++] =
      (struct http_pair){.name = arena_strdup(&req->arena, name), .value = arena_strdup(&req->arena, value)};
}

/* A page's answer goes nowhere but to the eyes of who asked: no script, nothing from elsewhere, no frame, no trace. */
static const struct http_pair page_headers[] = {
    {"Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
                                "frame-ancestors 'none'; base-uri 'none'"},
    {"X-Frame-Options", "DENY"},
    /* "no-referrer" would make browsers send "Origin: null" with our own forms */
    {"Referrer-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

/* A browser asks: at a page's route, or for HTML at a path that is nothing. */
static bool for_browser(const struct http_own *own) {
  const struct http_request *req = &own->req;
  if (req->route) return (req->route->flags & HTTP_ROUTE_PAGE) != 0;
  const char *accept = http_header(req, "Accept");
  return own->head_seen && accept && strstr(accept, "text/html") != NULL;
}

static struct MHD_Response *make_response(struct http_own *own, const char *content_type, const void *body,
                                          size_t len) {
  struct MHD_Response *response = MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
  ORCH_ASSERT(response != NULL);
  if (content_type) (void)MHD_add_response_header(response, "Content-Type", content_type);
  (void)MHD_add_response_header(response, "X-Request-Id", own->req.id);
  (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
  for (size_t i = 0; for_browser(own) && i < ARRAY_LEN(page_headers); i++)
    (void)MHD_add_response_header(response, page_headers[i].name, page_headers[i].value);
  bool caches = false;
  for (size_t i = 0; i < own->n_reply_headers; i++) {
    const struct http_pair *pair = &own->reply_headers[i];
    if (!pair->name || !pair->value) continue; /* the arena was full */
    caches = caches || strcasecmp(pair->name, "Cache-Control") == 0;
    (void)MHD_add_response_header(response, pair->name, pair->value);
  }
  if (!caches) (void)MHD_add_response_header(response, "Cache-Control", "no-store");
  return response;
}

/* Keeps the answer for the library, which is woken if it sleeps on this request. Too late is no error. */
static void answer(struct http_own *own, int status, const char *content_type, const void *body, size_t len) {
  if (own->status != 0 || !own->conn) return;
  own->response = make_response(own, content_type, body, len);
  own->status = status;
  own->reply_len = len;
  if (!own->suspended) return;
  own->suspended = false;
  MHD_resume_connection(own->conn->mhd);
  http_kick(own->req.server);
}

void http_reply(struct http_request *req, int status, const char *content_type, const void *body, size_t len) {
  struct http_own *own = own_of(req);
  ORCH_ASSERT(own->with_handler); /* a handler that answers twice is a bug */
  own->with_handler = false;
  answer(own, status, content_type, body, len);
  http_own_unref(own);
}

void http_reply_json(struct http_request *req, int status, const char *json) {
  http_reply(req, status, "application/json", json, strlen(json));
}

void http_reply_text(struct http_request *req, int status, const char *text) {
  http_reply(req, status, "text/plain; charset=utf-8", text, strlen(text));
}

void http_reply_empty(struct http_request *req, int status) {
  http_reply(req, status, NULL, "", 0);
}

void http_redirect(struct http_request *req, const char *path) {
  ORCH_ASSERT(path[0] == '/' && path[1] != '/');
  http_reply_header(req, "Location", path);
  http_reply_empty(req, 303);
}

/* An error's body, for the one who asked: a page or a problem document. Returns its type. */
static const char *write_problem(const struct http_own *own, struct strbuf *out, int status, const char *code,
                                 const char *detail, const char *hint) {
  if (for_browser(own) && own->req.server->options.error_page) {
    strbuf_init(out, 256 * 1024);
    own->req.server->options.error_page(out, status, http_status_title(status), detail, hint);
    return "text/html; charset=utf-8";
  }
  strbuf_init(out, 16 * 1024);
  strbuf_puts(out, "{\"type\":\"urn:orch:problem:");
  strbuf_puts(out, code);
  strbuf_puts(out, "\",\"title\":");
  strbuf_add_json(out, http_status_title(status));
  strbuf_printf(out, ",\"status\":%d,\"detail\":", status);
  strbuf_add_json(out, detail);
  if (hint && hint[0]) {
    strbuf_puts(out, ",\"hint\":");
    strbuf_add_json(out, hint);
  }
  strbuf_puts(out, "}\n");
  return "application/problem+json";
}

void http_problem(struct http_request *req, int status, const char *code, const char *detail, const char *hint) {
  CLEANUP(strbuf_fini_p) struct strbuf body;
  const char *type = write_problem(own_of(req), &body, status, code, detail, hint);
  http_reply(req, status, type, strbuf_text(&body), body.len);
}

void http_give_up(struct http_own *own, int status, const char *code, const char *detail) {
  CLEANUP(strbuf_fini_p) struct strbuf body;
  const char *type = write_problem(own, &body, status, code, detail, NULL);
  if (own->status == 0) own->given_up = (struct http_refusal){status, code, detail};
  answer(own, status, type, strbuf_text(&body), body.len);
}

void http_problem_err(struct http_request *req, const struct err *err) {
  struct http_own *own = own_of(req);
  int status = err_http_status(err->code);
  bool ours = err->code == ERR_NONE || err->code == ERR_INTERNAL || err->code == ERR_DB || err->code == ERR_IO;
  if (status < 400) status = 500;
  if (db_err_is_full(err)) {
    log_event(LOG_ERROR, "http.disk_full", LOG_S("id", own->req.id), LOG_S("path", own->req.path),
              LOG_S("error", err->text));
    http_reply_header(req, "Retry-After", "10");
    http_problem(req, status, "disk_full", "the database's disk is full: nothing of this request was stored",
                 "free space there (orch's runbook: rows are not taken), then send it again; no restart is needed");
    return;
  }
  if (err->code == ERR_DB_DOWN) { /* where the database is, is nobody's business here */
    http_reply_header(req, "Retry-After", "2");
    http_problem(req, status, err_code_name(err->code), "the database cannot be reached", "GET /readyz says why");
    return;
  }
  if (!ours) {
    http_problem(req, status, err_code_name(err->code), err->text, err->hint);
    return;
  }
  log_event(LOG_ERROR, "http.failed", LOG_S("id", own->req.id), LOG_S("path", own->req.path),
            LOG_S("code", err_code_name(err->code)), LOG_S("sqlstate", err->sqlstate), LOG_S("error", err->text),
            LOG_S("file", err->file), LOG_I("line", err->line));
  CLEANUP(mem_free_p) char *detail = mem_printf("the server failed; its log names the cause under id %s", own->req.id);
  http_problem(req, status, "internal", detail, NULL);
}

/* ---- reading a request ---- */

const char *http_header(const struct http_request *req, const char *name) {
  for (size_t i = 0; i < req->n_headers; i++)
    if (strcasecmp(req->headers[i].name, name) == 0) return req->headers[i].value;
  return NULL;
}

const char *http_cookie(struct http_request *req, const char *name) {
  const char *at = http_header(req, "Cookie"), *found = NULL;
  size_t name_len = strlen(name), found_len = 0;
  while (at && *at) {
    at += strspn(at, "; \t");
    size_t len = strcspn(at, ";");
    if (len > name_len && at[name_len] == '=' && strncmp(at, name, name_len) == 0) {
      if (found) return NULL;
      found = at + name_len + 1;
      found_len = len - name_len - 1;
    }
    at += len;
  }
  return found ? arena_strndup(&req->arena, found, found_len) : NULL;
}

const char *http_query(const struct http_request *req, const char *name) {
  for (size_t i = 0; i < req->n_query; i++)
    if (strcmp(req->query[i].name, name) == 0) return req->query[i].value;
  return NULL;
}

static bool parse_int(const char *text, int64_t *ret_value) {
  char *end = NULL;
  if (text[0] != '-' && (text[0] < '0' || text[0] > '9')) return false;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno != 0 || *end != 0 || end == text) return false;
  *ret_value = value;
  return true;
}

bool http_query_int(struct http_request *req, const char *name, int64_t fallback, int64_t least, int64_t most,
                    int64_t *ret_value) {
  const char *text = http_query(req, name);
  int64_t value = fallback;
  if (text && (!parse_int(text, &value) || value < least || value > most)) {
    CLEANUP(mem_free_p)
    char *detail = mem_printf("the parameter '%s' must be a whole number from %lld to %lld", name, (long long)least,
                              (long long)most);
    http_problem(req, 400, "usage", detail, NULL);
    return false;
  }
  *ret_value = value;
  return true;
}

bool http_param_id(struct http_request *req, unsigned index, int64_t *ret_id) {
  ORCH_ASSERT(index < HTTP_PARAMS_MAX && req->params[index] != NULL);
  int64_t id;
  if (!parse_int(req->params[index], &id) || id < 1) {
    http_problem(req, 404, "not_found", "there is nothing with this id", NULL);
    return false;
  }
  *ret_id = id;
  return true;
}

const char *http_idempotency_key(const struct http_request *req) {
  return http_header(req, "Idempotency-Key");
}
