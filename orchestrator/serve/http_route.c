/* The route table: adding, matching, counting. */
#include <string.h>

#include "serve/http_private.h"

static const double bucket_bounds[HTTP_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.05,
                                                   0.1,   0.25,   0.5,   1,    5,    0 /* +Inf */};

/* The next segment of a path behind `*at` (which points at '/'); false at the end. */
static bool next_segment(const char **at, const char *end, const char **ret_start, size_t *ret_len) {
  if (*at >= end || **at != '/') return false;
  const char *start = *at + 1;
  const char *stop = memchr(start, '/', (size_t)(end - start));
  if (!stop) stop = end;
  *ret_start = start;
  *ret_len = (size_t)(stop - start);
  *at = stop;
  return true;
}

static bool is_param(const char *segment, size_t len) {
  return len > 2 && segment[0] == '{' && segment[len - 1] == '}';
}

struct match {
  const char *at[HTTP_PARAMS_MAX]; /* raw */
  size_t len[HTTP_PARAMS_MAX];
  unsigned n;
  unsigned literals;
};

static bool match_path(const char *pattern, const char *path, size_t path_len, struct match *match) {
  const char *pattern_end = pattern + strlen(pattern);
  const char *path_end = path + path_len;
  const char *want, *have;
  size_t want_len, have_len;
  *match = (struct match){.n = 0};
  for (;;) {
    bool more = next_segment(&pattern, pattern_end, &want, &want_len);
    if (more != next_segment(&path, path_end, &have, &have_len)) return false;
    if (!more) return pattern == pattern_end && path == path_end;
    if (is_param(want, want_len)) {
      if (have_len == 0) return false;
      match->at[match->n] = have;
      match->len[match->n] = have_len;
      match->n++;
    } else if (want_len != have_len || memcmp(want, have, want_len) != 0) {
      return false;
    } else {
      match->literals++;
    }
  }
}

static bool method_serves(const char *route_method, const char *method) {
  return strcmp(route_method, method) == 0 || (strcmp(route_method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void add_allow(struct strbuf *allow, const char *method) {
  if (strstr(strbuf_text(allow), method)) return;
  if (allow->len > 0) strbuf_puts(allow, ", ");
  strbuf_puts(allow, method);
  if (strcmp(method, "GET") == 0) strbuf_puts(allow, ", HEAD");
}

struct http_entry *http_route_find(struct http_server *server, struct http_request *req, const char *raw_path,
                                   size_t raw_len, const char **ret_allow) {
  struct http_entry *best = NULL;
  struct match best_match = {.n = 0};
  CLEANUP(strbuf_fini_p) struct strbuf allow;
  strbuf_init(&allow, 128);
  for (size_t i = 0; i < server->n_entries; i++) {
    struct http_entry *entry = server->entries[i];
    struct match match;
    if (!match_path(entry->route->pattern, raw_path, raw_len, &match)) continue;
    if (!method_serves(entry->route->method, req->method)) {
      add_allow(&allow, entry->route->method);
    } else if (!best || match.literals > best_match.literals) {
      best = entry;
      best_match = match;
    }
  }
  if (!best) {
    if (allow.len > 0) *ret_allow = arena_strdup(&req->arena, strbuf_text(&allow));
    return NULL;
  }
  for (unsigned i = 0; i < best_match.n; i++) {
    char *text = arena_alloc(&req->arena, best_match.len[i] + 1);
    http_guard_decode(best_match.at[i], best_match.len[i], text);
    req->params[i] = text;
  }
  return best;
}

static void check_route(const struct http_server *server, const struct http_route *route) {
  unsigned params = 0;
  ORCH_ASSERT(route->pattern[0] == '/' && route->handle != NULL && route->scope != NULL && route->summary != NULL);
  for (const char *c = route->pattern; *c; c++) params += *c == '{';
  ORCH_ASSERT(params <= HTTP_PARAMS_MAX);
  ORCH_ASSERT(route->scope[0] == 0 || server->options.authorise != NULL);
  for (size_t i = 0; i < server->n_entries; i++)
    ORCH_ASSERT(strcmp(server->entries[i]->route->pattern, route->pattern) != 0 ||
                strcmp(server->entries[i]->route->method, route->method) != 0);
}

void http_server_add(struct http_server *server, const struct http_route *routes, size_t count, void *ctx) {
  MAGIC_CHECK(server, HTTP_SERVER_MAGIC);
  server->entries = mem_realloc(server->entries, (server->n_entries + count) * sizeof(server->entries[0]));
  for (size_t i = 0; i < count; i++) {
    check_route(server, &routes[i]);
    struct http_entry *entry = mem_alloc(sizeof(*entry));
    entry->route = &routes[i];
    entry->ctx = ctx;
    server->entries[server->n_entries++] = entry;
  }
}

void http_server_each_route(const struct http_server *server, void (*visit)(const struct http_route *route, void *arg),
                            void *arg) {
  for (size_t i = 0; i < server->n_entries; i++) visit(server->entries[i]->route, arg);
}

/* ---- counting ---- */

void http_route_count(struct http_route_stats *stats, int status, double seconds) {
  size_t i = 0;
  while (i < HTTP_STATUS_KINDS - 1 && stats->by_status[i].status != 0 && stats->by_status[i].status != status) i++;
  if (stats->by_status[i].status == 0) stats->by_status[i].status = status;
  stats->by_status[i].count++; /* a thirteenth kind of status counts as the twelfth */
  size_t bucket = 0;
  while (bucket < HTTP_BUCKETS - 1 && seconds > bucket_bounds[bucket]) bucket++;
  stats->buckets[bucket]++;
  stats->count++;
  stats->seconds += seconds;
}

static void write_counts(struct strbuf *out, const char *method, const char *pattern,
                         const struct http_route_stats *stats) {
  for (size_t i = 0; i < HTTP_STATUS_KINDS && stats->by_status[i].status != 0; i++)
    strbuf_printf(out, "orch_http_requests_total{method=\"%s\",route=\"%s\",status=\"%d\"} %llu\n", method, pattern,
                  stats->by_status[i].status, (unsigned long long)stats->by_status[i].count);
}

static void write_histogram(struct strbuf *out, const char *method, const char *pattern,
                            const struct http_route_stats *stats) {
  uint64_t below = 0;
  if (stats->count == 0) return;
  for (size_t i = 0; i < HTTP_BUCKETS; i++) {
    below += stats->buckets[i];
    strbuf_printf(out, "orch_http_request_seconds_bucket{method=\"%s\",route=\"%s\",le=\"", method, pattern);
    if (i == HTTP_BUCKETS - 1)
      strbuf_puts(out, "+Inf");
    else
      strbuf_printf(out, "%g", bucket_bounds[i]);
    strbuf_printf(out, "\"} %llu\n", (unsigned long long)below);
  }
  strbuf_printf(out, "orch_http_request_seconds_sum{method=\"%s\",route=\"%s\"} %.6f\n", method, pattern,
                stats->seconds);
  strbuf_printf(out, "orch_http_request_seconds_count{method=\"%s\",route=\"%s\"} %llu\n", method, pattern,
                (unsigned long long)stats->count);
}

static void write_gauge(struct strbuf *out, const char *name, const char *type, const char *help, uint64_t value) {
  strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name, (unsigned long long)value);
}

void http_server_metrics(const struct http_server *server, struct strbuf *out) {
  strbuf_puts(out, "# HELP orch_http_requests_total Answered requests by route and status.\n"
                   "# TYPE orch_http_requests_total counter\n");
  for (size_t i = 0; i < server->n_entries; i++)
    write_counts(out, server->entries[i]->route->method, server->entries[i]->route->pattern,
                 &server->entries[i]->stats);
  write_counts(out, "any", "unmatched", &server->unmatched);
  strbuf_puts(out, "# HELP orch_http_request_seconds From the whole head to the last byte of the answer.\n"
                   "# TYPE orch_http_request_seconds histogram\n");
  for (size_t i = 0; i < server->n_entries; i++)
    write_histogram(out, server->entries[i]->route->method, server->entries[i]->route->pattern,
                    &server->entries[i]->stats);
  write_gauge(out, "orch_http_connections", "gauge", "Open connections.", server->n_conns);
  write_gauge(out, "orch_http_connections_accepted_total", "counter", "Connections accepted.", server->accepted);
  write_gauge(out, "orch_http_connections_refused_total", "counter", "Connections over a limit.",
              server->refused_conns);
  write_gauge(out, "orch_http_heads_refused_total", "counter", "Requests refused by their head, or too slow.",
              server->refused_heads);
  write_gauge(out, "orch_http_timeouts_total", "counter", "Heads, bodies, answers or readers over their time.",
              server->timed_out);
  write_gauge(out, "orch_http_body_bytes", "gauge", "Bytes of bodies in memory.", server->body_bytes);
}
