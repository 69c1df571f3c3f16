#include "serve/routes.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/strbuf.h"

#define ROUTE_QUERY_MS 10000
#define ROUTE_DEPTH_MAX 32
#define ROUTE_CALL_MAGIC 0x524f5543u

struct route_one {
  uint32_t magic;
  struct db_request request;
  struct http_request *req;
  struct serve *serve;
  route_then then;
};

static void on_answer(void *arg, struct db_result *result, const struct err *err) {
  struct route_one *call = arg;
  MAGIC_CHECK(call, ROUTE_CALL_MAGIC);
  struct route_one copy = *call;
  call->magic = 0;
  mem_free(call);
  copy.then(copy.req, copy.serve, err ? NULL : db_get_document(result), err);
}

void route_call_then(struct http_request *req, struct serve *serve, const char *sql, size_t count,
                     const struct db_value *values, route_then then) {
  MAGIC_CHECK(serve, SERVE_MAGIC);
  struct route_one *call = mem_alloc(sizeof(*call));
  *call = (struct route_one){.magic = ROUTE_CALL_MAGIC, .req = req, .serve = serve, .then = then};
  call->request.timeout_ms = ROUTE_QUERY_MS;
  call->request.repeatable = strcmp(req->method, "GET") == 0 || strcmp(req->method, "HEAD") == 0;
  db_query(serve->db, &call->request, sql, count, values, on_answer, call);
}

static void answer_plainly(struct http_request *req, struct serve *serve, const char *document, const struct err *err) {
  (void)serve;
  if (err)
    http_problem_err(req, err);
  else if (!document)
    http_problem(req, 404, "not_found", "there is nothing with this name", NULL);
  else
    http_reply_json(req, 200, document);
}

void route_call(struct http_request *req, struct serve *serve, const char *sql, size_t count,
                const struct db_value *values) {
  route_call_then(req, serve, sql, count, values, answer_plainly);
}

/* ---- bodies ---- */

bool route_type_is(struct http_request *req, const char *const *words, const char *hint) {
  const char *type = http_header(req, "Content-Type");
  size_t len = type ? strcspn(type, "; \t") : 0;
  for (; type && *words; words++)
    if (strlen(*words) == len && strncasecmp(type, *words, len) == 0) return true;
  http_problem(req, 415, "media_type", type ? "this Content-Type is not taken here" : "the Content-Type is missing",
               hint);
  return false;
}

static bool too_deep(const char *body, size_t len) {
  int depth = 0;
  bool in_text = false;
  for (size_t i = 0; i < len; i++) {
    char c = body[i];
    if (in_text) {
      if (c == '\\')
        i++;
      else if (c == '"')
        in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '{' || c == '[') {
      if (++depth > ROUTE_DEPTH_MAX) return true;
    } else if (c == '}' || c == ']') {
      depth--;
    }
  }
  return false;
}

static bool is_json_type(const char *type) {
  size_t len = strcspn(type, "; \t");
  if (len == 16 && strncasecmp(type, "application/json", 16) == 0) return true;
  return len > 17 && strncasecmp(type, "application/", 12) == 0 && strncasecmp(type + len - 5, "+json", 5) == 0;
}

json_t *route_body(struct http_request *req) {
  if (req->body_len == 0) return json_object();
  const char *type = http_header(req, "Content-Type");
  if (!type || !is_json_type(type)) {
    http_problem(req, 415, "media_type", "the body must be JSON", "send Content-Type: application/json");
    return NULL;
  }
  if (too_deep(req->body, req->body_len)) {
    http_problem(req, 422, "invalid", "the JSON is nested too deeply", NULL);
    return NULL;
  }
  json_error_t error;
  json_t *body = json_loadb(req->body, req->body_len, JSON_REJECT_DUPLICATES, &error);
  if (!body) {
    const char *detail = arena_printf(&req->arena, "the body is no valid JSON: line %d, column %d: %s", error.line,
                                      error.column, error.text);
    http_problem(req, 400, "usage", detail ? detail : "the body is no valid JSON", NULL);
    return NULL;
  }
  if (!json_is_object(body)) {
    json_decref(body);
    http_problem(req, 422, "invalid", "the body must be a JSON object", NULL);
    return NULL;
  }
  return body;
}

const char route_required[] = "";

static bool refuse_key(struct http_request *req, const char *key, const char *what) {
  const char *detail = arena_printf(&req->arena, "'%s' %s", key, what);
  http_problem(req, 422, "invalid", detail ? detail : what, NULL);
  return false;
}

bool route_text(struct http_request *req, const json_t *body, const char *key, size_t max_bytes, const char *fallback,
                const char **ret_text) {
  const json_t *value = json_object_get(body, key);
  if (!value || json_is_null(value)) {
    if (fallback == route_required) return refuse_key(req, key, "is missing");
    *ret_text = fallback;
    return true;
  }
  if (!json_is_string(value)) return refuse_key(req, key, "must be a string");
  const char *text = json_string_value(value);
  size_t len = json_string_length(value);
  if (len > max_bytes) return refuse_key(req, key, "is too long");
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)text[i];
    if ((c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f)
      return refuse_key(req, key, "has control characters");
  }
  const char *copy = arena_strndup(&req->arena, text, len);
  if (!copy) return refuse_key(req, key, "is too long");
  *ret_text = copy;
  return true;
}

bool route_keys(struct http_request *req, const json_t *body, const char *const *known) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)body, key, value) {
    size_t i = 0;
    while (known[i] && strcmp(known[i], key) != 0) i++;
    if (!known[i]) return refuse_key(req, key, "is not known here");
  }
  return true;
}

const char *route_filter(struct http_request *req, const char *const *names) {
  int64_t limit, after;
  if (!http_query_int(req, "limit", 50, 1, 500, &limit)) return NULL;
  if (!http_query_int(req, "after", 0, 0, INT64_MAX, &after)) return NULL;
  for (size_t q = 0; q < req->n_query; q++) {
    const char *name = req->query[q].name;
    size_t i = 0;
    while (names[i] && strcmp(names[i], name) != 0) i++;
    if (names[i] || strcmp(name, "limit") == 0 || strcmp(name, "after") == 0) continue;
    const char *detail = arena_printf(&req->arena, "the parameter '%s' is not known here", name);
    http_problem(req, 400, "usage", detail ? detail : "unknown parameter", NULL);
    return NULL;
  }
  CLEANUP(strbuf_fini_p) struct strbuf filter;
  strbuf_init(&filter, 64 * 1024);
  strbuf_printf(&filter, "{\"limit\":%lld", (long long)limit);
  if (after > 0) strbuf_printf(&filter, ",\"after\":%lld", (long long)after);
  for (size_t i = 0; names[i]; i++) {
    const char *value = http_query(req, names[i]);
    if (!value) continue;
    strbuf_printf(&filter, ",\"%s\":", names[i]);
    strbuf_add_json(&filter, value);
  }
  strbuf_puts(&filter, "}");
  const char *text = arena_strdup(&req->arena, strbuf_text(&filter));
  if (!text) http_problem(req, 413, "limit", "the query is too long", NULL);
  return text;
}
