/* Reading: each route is one orch.api_* function, whose document is the answer. */
#include "serve/routes.h"

static void on_status(struct http_request *req, void *ctx) {
  route_call(req, ctx, "select orch.api_status()", 0, NULL);
}

static void on_pipelines(struct http_request *req, void *ctx) {
  route_call(req, ctx, "select orch.api_pipelines()", 0, NULL);
}

static void on_pipeline(struct http_request *req, void *ctx) {
  struct db_value values[] = {db_text(req->params[0])};
  route_call(req, ctx, "select orch.api_pipeline($1)", ARRAY_LEN(values), values);
}

static void on_history(struct http_request *req, void *ctx) {
  struct db_value values[] = {db_text(req->params[0])};
  route_call(req, ctx, "select orch.api_history($1)", ARRAY_LEN(values), values);
}

static void call_filtered(struct http_request *req, void *ctx, const char *sql, const char *const *names) {
  const char *filter = route_filter(req, names);
  if (!filter) return;
  struct db_value values[] = {db_text(filter)};
  route_call(req, ctx, sql, ARRAY_LEN(values), values);
}

static void on_proposals(struct http_request *req, void *ctx) {
  static const char *const names[] = {"pipeline", "state", NULL};
  call_filtered(req, ctx, "select orch.api_proposals($1::jsonb)", names);
}

static void on_signals(struct http_request *req, void *ctx) {
  static const char *const names[] = {"pipeline", "disposition", "status", "kind", NULL};
  call_filtered(req, ctx, "select orch.api_signals($1::jsonb)", names);
}

static void on_incidents(struct http_request *req, void *ctx) {
  static const char *const names[] = {"pipeline", "state", NULL};
  call_filtered(req, ctx, "select orch.api_incidents($1::jsonb)", names);
}

static void on_incident(struct http_request *req, void *ctx) {
  int64_t id;
  if (!http_param_id(req, 0, &id)) return;
  struct db_value values[] = {db_i64(id)};
  route_call(req, ctx, "select orch.api_incident($1)", ARRAY_LEN(values), values);
}

static void on_monitors(struct http_request *req, void *ctx) {
  static const char *const names[] = {"pipeline", "kind", "verdict", NULL};
  call_filtered(req, ctx, "select orch.api_monitors($1::jsonb)", names);
}

static void on_audit(struct http_request *req, void *ctx) {
  static const char *const names[] = {"pipeline", NULL};
  call_filtered(req, ctx, "select orch.api_audit($1::jsonb)", names);
}

static void on_outbox(struct http_request *req, void *ctx) {
  static const char *const names[] = {"state", NULL};
  call_filtered(req, ctx, "select orch.api_outbox($1::jsonb)", names);
}

static void on_proposal(struct http_request *req, void *ctx) {
  int64_t id;
  if (!http_param_id(req, 0, &id)) return;
  struct db_value values[] = {db_i64(id)};
  route_call(req, ctx, "select orch.api_proposal($1)", ARRAY_LEN(values), values);
}

static void on_gate(struct http_request *req, void *ctx) {
  int64_t id;
  if (!http_param_id(req, 0, &id)) return;
  struct db_value values[] = {db_i64(id)};
  route_call(req, ctx, "select orch.api_gate($1)", ARRAY_LEN(values), values);
}

static void on_versions(struct http_request *req, void *ctx) {
  struct db_value values[] = {db_text(req->params[0])};
  route_call(req, ctx, "select orch.api_versions($1)", ARRAY_LEN(values), values);
}

/* A version's number is an int: what is larger cannot be one. */
static bool version_number(struct http_request *req, unsigned index, int64_t *ret_number) {
  int64_t number;
  if (!http_param_id(req, index, &number)) return false;
  *ret_number = number > INT32_MAX ? INT32_MAX : number;
  return true;
}

static void on_version(struct http_request *req, void *ctx) {
  int64_t number;
  if (!version_number(req, 1, &number)) return;
  struct db_value values[] = {db_text(req->params[0]), db_i64(number)};
  route_call(req, ctx, "select orch.api_version($1, $2)", ARRAY_LEN(values), values);
}

static void on_lineage(struct http_request *req, void *ctx) {
  int64_t number;
  if (!version_number(req, 1, &number)) return;
  struct db_value values[] = {db_text(req->params[0]), db_i64(number)};
  route_call(req, ctx, "select orch.api_lineage($1, $2)", ARRAY_LEN(values), values);
}

const struct http_route routes_read[] = {
    {"GET", "/v1/status", "read", 0, on_status, 0, "What is live, since when, what waits for whom"},
    {"GET", "/v1/pipelines", "read", 0, on_pipelines, 0, "All pipelines"},
    {"GET", "/v1/pipelines/{p}", "read", 0, on_pipeline, 0, "One pipeline"},
    {"GET", "/v1/pipelines/{p}/history", "read", 0, on_history, 0, "What was live, and from when to when"},
    {"GET", "/v1/proposals", "read", 0, on_proposals, 0, "Proposals; ?pipeline= ?state= ?limit= ?after="},
    {"GET", "/v1/proposals/{id}", "read", 0, on_proposal, 0, "One proposal with its jobs, evidence and gate"},
    {"GET", "/v1/versions/{p}", "read", 0, on_versions, 0, "The versions of a pipeline"},
    {"GET", "/v1/versions/{p}/{n}", "read", 0, on_version, 0, "One version"},
    {"GET", "/v1/versions/{p}/{n}/lineage", "read", 0, on_lineage, 0, "Where a version comes from and where it went"},
    {"GET", "/v1/signals", "read", 0, on_signals, 0,
     "Signals; ?pipeline= ?status= ?kind= ?disposition= ?limit= ?after="},
    {"GET", "/v1/incidents", "read", 0, on_incidents, 0,
     "Pipelines that fired together; ?pipeline= ?state= ?limit= ?after="},
    {"GET", "/v1/incidents/{id}", "read", 0, on_incident, 0, "One incident with its signals and what came of each"},
    {"GET", "/v1/monitors", "read", 0, on_monitors, 0,
     "Monitors with their last window; ?pipeline= ?kind= ?verdict= ?limit= ?after="},
    {"GET", "/v1/audit", "read", 0, on_audit, 0, "The audit trail; ?pipeline= ?limit= ?after="},
    {"GET", "/v1/outbox", "read", 0, on_outbox, 0, "What waits to be told, and dead letters; ?state= ?limit= ?after="},
    {"GET", "/v1/gates/{id}", "read", 0, on_gate, 0, "A gate with its policy, evidence and decisions"},
    ROUTES_END,
};
