/* Operations: is the process alive, is it ready, its numbers, and what this server offers. */
#include <string.h>

#include "serve/metrics.h"
#include "serve/ready.h"
#include "serve/routes.h"
#include "serve/serve_private.h"

static void on_healthz(struct http_request *req, void *ctx) {
  (void)ctx;
  http_reply_json(req, 200, "{\"status\":\"alive\",\"version\":\"" ORCH_VERSION "\"}");
}

static void on_ready_known(void *arg, const struct err *err) {
  struct http_request *req = arg;
  if (err)
    http_problem(req, 503, "not_ready", err->text, err->hint);
  else
    http_reply_json(req, 200, "{\"status\":\"ready\"}");
}

static void on_readyz(struct http_request *req, void *ctx) {
  struct serve *serve = ctx;
  if (serve->stopping)
    http_problem(req, 503, "not_ready", "the server is stopping", NULL);
  else
    ready_ask(serve, on_ready_known, req);
}

static void on_metrics(struct http_request *req, void *ctx) {
  struct serve *serve = ctx;
  metrics_answer(serve->own->metrics, req);
}

/* ---- what there is ---- */

struct paths {
  struct strbuf *out;
  const struct http_server *http;
  const char *pattern;
  unsigned n_paths, n_methods;
};

static void write_params(struct strbuf *out, const char *pattern) {
  bool first = true;
  strbuf_puts(out, "\"parameters\":[");
  for (const char *open = strchr(pattern, '{'); open; open = strchr(open + 1, '{')) {
    size_t len = strcspn(open + 1, "}");
    strbuf_printf(out, "%s{\"name\":\"%.*s\",\"in\":\"path\",\"required\":true,\"schema\":{\"type\":\"string\"}}",
                  first ? "" : ",", (int)len, open + 1);
    first = false;
  }
  strbuf_puts(out, "],");
}

static void write_method(const struct http_route *route, void *arg) {
  struct paths *paths = arg;
  if (strcmp(route->pattern, paths->pattern) != 0) return;
  struct strbuf *out = paths->out;
  strbuf_puts(out, paths->n_methods++ > 0 ? ",\"" : "\"");
  for (const char *c = route->method; *c; c++) strbuf_putc(out, (char)(*c - 'A' + 'a'));
  strbuf_puts(out, "\":{\"summary\":");
  strbuf_add_json(out, route->summary);
  strbuf_putc(out, ',');
  write_params(out, route->pattern);
  if (route->max_body_bytes > 0) strbuf_puts(out, "\"requestBody\":{\"content\":{\"*/*\":{}}},");
  if (route->scope[0]) strbuf_printf(out, "\"security\":[{\"bearer\":[\"%s\"]}],", route->scope);
  strbuf_puts(out, "\"responses\":{\"200\":{\"description\":\"Done\"},\"default\":{\"description\":\"A problem\","
                   "\"content\":{\"application/problem+json\":{}}}}}");
}

struct first_of {
  const char *pattern;
  const struct http_route *first;
};

static void find_first(const struct http_route *route, void *arg) {
  struct first_of *first_of = arg;
  if (!first_of->first && strcmp(route->pattern, first_of->pattern) == 0) first_of->first = route;
}

/* One path with all its methods, at the first route of that path. */
static void write_path(const struct http_route *route, void *arg) {
  struct paths *paths = arg;
  struct first_of first_of = {.pattern = route->pattern};
  http_server_each_route(paths->http, find_first, &first_of);
  if (first_of.first != route) return;
  if (paths->n_paths++ > 0) strbuf_putc(paths->out, ',');
  strbuf_add_json(paths->out, route->pattern);
  strbuf_puts(paths->out, ":{");
  paths->pattern = route->pattern;
  paths->n_methods = 0;
  http_server_each_route(paths->http, write_method, paths);
  strbuf_putc(paths->out, '}');
}

static void on_openapi(struct http_request *req, void *ctx) {
  struct serve *serve = ctx;
  CLEANUP(strbuf_fini_p) struct strbuf out;
  strbuf_init(&out, 256 * 1024);
  strbuf_puts(&out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"orch\",\"version\":\"" ORCH_VERSION "\"},"
                    "\"components\":{\"securitySchemes\":{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"}}},"
                    "\"paths\":{");
  struct paths paths = {.out = &out, .http = serve->http};
  http_server_each_route(serve->http, write_path, &paths);
  strbuf_puts(&out, "}}\n");
  http_reply(req, 200, "application/json", strbuf_text(&out), out.len);
}

const struct http_route routes_health[] = {
    {"GET", "/healthz", "", 0, on_healthz, HTTP_ROUTE_QUIET, "The process is alive"},
    {"GET", "/readyz", "", 0, on_readyz, HTTP_ROUTE_QUIET, "The database answers and has this server's schema"},
    {"GET", "/metrics", "", 0, on_metrics, HTTP_ROUTE_QUIET, "Numbers for Prometheus"},
    {"GET", "/openapi.json", "", 0, on_openapi, HTTP_ROUTE_QUIET, "This description"},
    ROUTES_END,
};
