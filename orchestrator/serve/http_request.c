/* One request from the library's first callback to its last: head, route, body, handler, log line. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/http_private.h"

void *http_on_target(void *cls, const char *target, struct MHD_Connection *mhd) {
  struct http_server *server = cls;
  MAGIC_CHECK(server, HTTP_SERVER_MAGIC);
  struct http_own *own = mem_alloc(sizeof(*own));
  own->req.magic = HTTP_REQUEST_MAGIC;
  own->req.server = server;
  own->req.started_us = clock_mono_us();
  own->req.body = "";
  arena_init(&own->req.arena, HTTP_ARENA_BYTES);
  snprintf(own->req.id, sizeof(own->req.id), "%016llx", (unsigned long long)clock_random_u64());
  own->refs = 1;
  own->conn = http_conn_of(mhd);
  own->target_at = target;
  own->raw_target = arena_strdup(&own->req.arena, target ? target : "");
  if (own->conn) own->conn->request = &own->req;
  return own;
}

/* ---- the head ---- */

struct gather {
  struct http_head *head;
  bool too_many;
};

static enum MHD_Result on_field(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                const char *value, size_t value_len) {
  struct gather *gather = cls;
  (void)kind;
  if (gather->head->n_fields == HTTP_GUARD_FIELDS_MAX) {
    gather->too_many = true;
    return MHD_NO;
  }
  gather->head->fields[gather->head->n_fields++] =
      (struct http_field){.name = name, .name_len = name_len, .value = value ? value : "", .value_len = value_len};
  return MHD_YES;
}

static enum MHD_Result on_argument(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                   const char *value, size_t value_len) {
  struct http_request *req = cls;
  (void)kind;
  if (req->n_query == HTTP_QUERY_MAX || http_query(req, name)) {
    req->n_query = HTTP_QUERY_MAX + 1;
    return MHD_NO;
  }
  req->query[req->n_query++] = (struct http_pair){.name = arena_strndup(&req->arena, name, name_len),
                                                  .value = arena_strndup(&req->arena, value ? value : "", value_len)};
  return MHD_YES;
}

/* The layout check knows how 0.9.x cuts a head apart; 1.x is strict about the same things by itself. */
static bool layout_is_known(void) {
  return strncmp(MHD_get_version(), "0.9.", 4) == 0;
}

static void copy_fields(struct http_request *req, const struct http_head *head) {
  for (size_t i = 0; i < head->n_fields; i++) {
    const struct http_field *field = &head->fields[i];
    size_t len = field->value_len;
    while (len > 0 && (field->value[len - 1] == ' ' || field->value[len - 1] == '\t')) len--;
    req->headers[req->n_headers++] =
        (struct http_pair){.name = arena_strndup(&req->arena, field->name, field->name_len),
                           .value = arena_strndup(&req->arena, field->value, len)};
  }
}

static bool read_head(struct http_own *own, struct MHD_Connection *mhd, const char *method, const char *version,
                      struct http_refusal *refusal) {
  struct http_request *req = &own->req;
  struct http_head head = {.method = method,
                           .method_len = strlen(method),
                           .target = own->raw_target,
                           .target_len = strlen(own->raw_target),
                           .version = version,
                           .version_len = strlen(version)};
  struct gather gather = {.head = &head};
  (void)MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, on_field, &gather);
  *refusal = (struct http_refusal){431, "head_too_large", "the request has more than 64 header fields"};
  if (gather.too_many) return false;
  if (!http_guard_check(&head, refusal)) return false;
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
  head.target = own->target_at;
  if (layout_is_known() && !http_guard_layout(&head, info ? info->header_size : 0, refusal)) return false;
  req->method = arena_strdup(&req->arena, method);
  copy_fields(req, &head);
  (void)MHD_get_connection_values_n(mhd, MHD_GET_ARGUMENT_KIND, on_argument, req);
  *refusal = (struct http_refusal){400, "bad_request", "a query parameter stands twice, or there are more than 32"};
  return req->n_query <= HTTP_QUERY_MAX;
}

static bool find_route(struct http_own *own) {
  struct http_request *req = &own->req;
  size_t raw_len = strcspn(own->raw_target, "?");
  char *path = arena_alloc(&req->arena, raw_len + 1);
  http_guard_decode(own->raw_target, raw_len, path);
  req->path = path;
  const char *allow = NULL;
  own->entry = http_route_find(req->server, req, own->raw_target, raw_len, &allow);
  if (own->entry) {
    req->route = own->entry->route;
    return true;
  }
  if (allow) {
    http_reply_header(req, "Allow", allow);
    http_give_up(own, 405, "method_not_allowed", "this path does not take that method");
  } else {
    http_give_up(own, 404, "not_found", "there is nothing at this path");
  }
  return false;
}

static bool check_bearer(struct http_own *own) {
  struct http_request *req = &own->req;
  if (req->route->scope[0] == 0) return true;
  const char *authorization = http_header(req, "Authorization");
  if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0 && authorization[7] != 0) return true;
  if (!authorization && (req->route->flags & HTTP_ROUTE_PAGE)) return true; /* the authoriser looks for a session */
  http_reply_header(req, "WWW-Authenticate", "Bearer realm=\"orch\"");
  http_give_up(own, 401, "denied", "this needs a bearer token");
  return false;
}

/* ---- the body ---- */

/* Sets what the head says about the body; -1 is "chunked", 0 is none. */
static int64_t body_announced(const struct http_request *req) {
  if (http_header(req, "Transfer-Encoding")) return -1;
  const char *length = http_header(req, "Content-Length");
  return length ? strtoll(length, NULL, 10) : 0; /* the guard has seen to it that these are at most 15 digits */
}

static bool reserve(struct http_own *own, size_t bytes) {
  struct http_server *server = own->req.server;
  if (bytes > server->options.max_body_total_bytes - server->body_bytes) return false;
  server->body_bytes += bytes;
  own->reserved_bytes += bytes;
  return true;
}

static void refuse_size(struct http_own *own) {
  char detail[80];
  size_t max = own->req.route->max_body_bytes;
  snprintf(detail, sizeof detail, max ? "a body has at most %zu bytes here" : "this takes no body", max);
  http_give_up(own, 413, "body_too_large", arena_strdup(&own->req.arena, detail));
}

static bool admit_body(struct http_own *own, int64_t announced) {
  size_t max = own->req.route->max_body_bytes;
  if (announced == 0) return true;
  if (max == 0 || announced > (int64_t)max) {
    refuse_size(own);
    return false;
  }
  strbuf_init(&own->received, max);
  if (announced > 0 && !reserve(own, (size_t)announced)) {
    http_reply_header(&own->req, "Retry-After", "1");
    http_give_up(own, 503, "busy", "too many bodies are being received");
    return false;
  }
  return true;
}

static void take_body(struct http_own *own, const char *bytes, size_t len) {
  if (own->refused) return;
  bool chunked = body_announced(&own->req) < 0;
  if (chunked && !reserve(own, len)) {
    own->refused = true;
    http_reply_header(&own->req, "Retry-After", "1");
    http_give_up(own, 503, "busy", "too many bodies are being received");
    return;
  }
  strbuf_add(&own->received, bytes, len);
  if (own->received.failed) {
    own->refused = true;
    refuse_size(own);
  }
  if (own->refused) strbuf_fini(&own->received);
}

/* ---- the handler ---- */

void http_authorised(struct http_request *req, const struct http_principal *principal) {
  MAGIC_CHECK(req, HTTP_REQUEST_MAGIC);
  struct http_own *own = CONTAINER_OF(req, struct http_own, req);
  ORCH_ASSERT(own->with_handler);
  if (own->status != 0) { /* timed out meanwhile: nobody reads an answer, so nothing may happen any more */
    http_reply_empty(req, 503);
    return;
  }
  struct arena *arena = &req->arena;
  req->principal =
      (struct http_principal){.actor = principal->actor ? arena_strdup(arena, principal->actor) : NULL,
                              .token = principal->token ? arena_strdup(arena, principal->token) : NULL,
                              .reviewer = principal->reviewer ? arena_strdup(arena, principal->reviewer) : NULL,
                              .scopes = principal->scopes ? arena_strdup(arena, principal->scopes) : NULL,
                              .csrf = principal->csrf ? arena_strdup(arena, principal->csrf) : NULL};
  req->route->handle(req, own->entry->ctx);
}

static void dispatch(struct http_own *own) {
  struct http_request *req = &own->req;
  own->dispatched = true;
  if (own->received.data) {
    req->body = strbuf_text(&own->received);
    req->body_len = own->received.len;
  }
  http_conn_start(own->conn, HTTP_PHASE_WORK);
  own->with_handler = true;
  own->refs++;
  if (req->route->scope[0] == 0) {
    req->route->handle(req, own->entry->ctx);
    return;
  }
  const char *token = http_header(req, "Authorization");
  if (token) token += 7;
  while (token && *token == ' ') token++;
  const struct http_options *options = &req->server->options;
  ORCH_ASSERT(options->authorise != NULL);
  options->authorise(req, token, req->route->scope, options->authorise_arg);
}

static enum MHD_Result queue_answer(struct http_own *own, struct MHD_Connection *mhd) {
  struct MHD_Response *response = own->response;
  own->response = NULL;
  if (own->close_after || own->req.server->stopping)
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
  http_conn_start(own->conn, HTTP_PHASE_SEND);
  enum MHD_Result result = MHD_queue_response(mhd, (unsigned)own->status, response);
  MHD_destroy_response(response);
  return result;
}

/* The library's first call: the head is whole. */
static enum MHD_Result first_call(struct http_own *own, struct MHD_Connection *mhd, const char *method,
                                  const char *version) {
  struct http_refusal refusal;
  own->head_seen = true;
  own->req.started_us = clock_mono_us();
  own->req.peer = own->conn->peer;
  if (!read_head(own, mhd, method, version, &refusal)) {
    own->refused = own->close_after = true; /* where this request ends is not certain */
    own->req.server->refused_heads++;
    http_give_up(own, refusal.status, refusal.code, refusal.detail);
    return queue_answer(own, mhd);
  }
  int64_t announced = body_announced(&own->req);
  own->close_after = announced < 0; /* chunk framing is where parsers differ: no second request behind it */
  own->refused = !find_route(own) || !check_bearer(own) || !admit_body(own, announced);
  http_conn_start(own->conn, HTTP_PHASE_BODY);
  bool waits = http_header(&own->req, "Expect") != NULL;
  if (own->refused && (announced < 0 || announced > HTTP_DRAIN_MAX_BYTES || (waits && announced != 0)))
    return queue_answer(own, mhd);
  return MHD_YES;
}

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                const char *version, const char *upload, size_t *upload_len, void **slot) {
  struct http_own *own = *slot;
  (void)cls;
  (void)url;
  if (!own || !own->conn) return MHD_NO;
  MAGIC_CHECK(&own->req, HTTP_REQUEST_MAGIC);
  if (!own->head_seen) return first_call(own, mhd, method, version);
  if (*upload_len > 0) {
    take_body(own, upload, *upload_len);
    *upload_len = 0;
    return MHD_YES;
  }
  if (!own->dispatched && !own->refused) dispatch(own);
  if (own->status != 0) return queue_answer(own, mhd);
  own->suspended = true;
  MHD_suspend_connection(mhd);
  return MHD_YES;
}

/* ---- the end ---- */

static void log_request(const struct http_own *own, int64_t us) {
  const struct http_request *req = &own->req;
  bool quiet = req->route && (req->route->flags & HTTP_ROUTE_QUIET);
  log_event(quiet && own->status < 400 ? LOG_DEBUG : LOG_INFO, "http.request", LOG_S("id", req->id),
            LOG_S("method", req->method), LOG_S("path", req->path), LOG_I("status", own->status),
            LOG_F("ms", (double)us / 1000.0), LOG_I("bytes", own->reply_len), LOG_S("peer", req->peer),
            LOG_S("actor", req->principal.actor));
}

void http_on_completed(void *cls, struct MHD_Connection *mhd, void **slot, enum MHD_RequestTerminationCode code) {
  struct http_server *server = cls;
  MAGIC_CHECK(server, HTTP_SERVER_MAGIC);
  struct http_own *own = *slot;
  (void)mhd;
  (void)code;
  *slot = NULL;
  if (!own) return;
  MAGIC_CHECK(&own->req, HTTP_REQUEST_MAGIC);
  if (own->head_seen && own->status != 0) {
    int64_t us = clock_mono_us() - own->req.started_us;
    http_route_count(own->entry ? &own->entry->stats : &server->unmatched, own->status, (double)us / 1e6);
    log_request(own, us);
  }
  if (own->conn) {
    own->conn->request = NULL;
    http_conn_start(own->conn, HTTP_PHASE_IDLE);
  }
  own->conn = NULL;
  own->req.peer = "gone";
  server->body_bytes -= own->reserved_bytes;
  own->reserved_bytes = 0;
  http_own_unref(own);
}
