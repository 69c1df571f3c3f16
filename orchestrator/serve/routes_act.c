/* Acting: asking for a retraining, stopping one, holding, deciding. Each is one call of the function that rules. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "serve/routes.h"

#define ACT_BODY_MAX (64 * 1024)
#define ACT_REASON_MAX 2000

static void on_propose(struct http_request *req, void *ctx) {
  static const char *const known[] = {"pipeline", "reason", "mode", "as_of", NULL};
  const char *pipeline, *reason, *mode, *as_of;
  json_t *body = route_body(req);
  if (!body) return;
  bool good = route_keys(req, body, known) && route_text(req, body, "pipeline", 63, route_required, &pipeline) &&
              route_text(req, body, "reason", ACT_REASON_MAX, route_required, &reason) &&
              route_text(req, body, "mode", 32, "keep", &mode) && route_text(req, body, "as_of", 40, NULL, &as_of);
  json_decref(body);
  if (!good) return;
  int64_t at_us;
  if (as_of && !clock_parse_rfc3339(as_of, &at_us)) {
    http_problem(req, 422, "invalid", "'as_of' must be a time as in RFC 3339", "for example 2006-01-01T00:00:00Z");
    return;
  }
  struct db_value values[] = {db_text(pipeline), db_text(reason),
                              db_text(mode),     db_text(req->principal.actor),
                              db_text(as_of),    db_text(http_idempotency_key(req))};
  route_call(req, ctx, "select orch.proposal_create($1, $2, $3, $4, $5::timestamptz, $6)", ARRAY_LEN(values), values);
}

/* {"reason": "…"}; false: answered. */
static bool take_reason(struct http_request *req, const char **ret_reason) {
  static const char *const known[] = {"reason", NULL};
  json_t *body = route_body(req);
  if (!body) return false;
  bool good =
      route_keys(req, body, known) && route_text(req, body, "reason", ACT_REASON_MAX, route_required, ret_reason);
  json_decref(body);
  return good;
}

static void on_cancel(struct http_request *req, void *ctx) {
  int64_t id;
  const char *reason;
  if (!http_param_id(req, 0, &id) || !take_reason(req, &reason)) return;
  struct db_value values[] = {db_i64(id), db_text(reason), db_text(req->principal.actor)};
  route_call(req, ctx, "select orch.proposal_cancel($1, $2, $3)", ARRAY_LEN(values), values);
}

static void answer_incident(struct http_request *req, void *ctx, const char *sql) {
  int64_t id;
  const char *reason;
  if (!http_param_id(req, 0, &id) || !take_reason(req, &reason)) return;
  struct db_value values[] = {db_i64(id), db_text(reason), db_text(req->principal.actor)};
  route_call(req, ctx, sql, ARRAY_LEN(values), values);
}

static void on_incident_release(struct http_request *req, void *ctx) {
  answer_incident(req, ctx, "select orch.incident_release($1, $2, $3)");
}

static void on_incident_dismiss(struct http_request *req, void *ctx) {
  answer_incident(req, ctx, "select orch.incident_dismiss($1, $2, $3)");
}

static void on_hold(struct http_request *req, void *ctx) {
  const char *reason;
  if (!take_reason(req, &reason)) return;
  struct db_value values[] = {db_text(req->params[0]), db_text(reason), db_text(req->principal.actor)};
  route_call(req, ctx, "select orch.hold_set($1, $2, $3)", ARRAY_LEN(values), values);
}

static void on_release(struct http_request *req, void *ctx) {
  const char *reason;
  if (!take_reason(req, &reason)) return;
  struct db_value values[] = {db_text(req->params[0]), db_text(reason), db_text(req->principal.actor)};
  route_call(req, ctx, "select orch.hold_release($1, $2, $3)", ARRAY_LEN(values), values);
}

/* ---- decisions ---- */

/* A recorded refusal: 403 when it is about who decides, 409 when it is about the gate. */
static int refusal_status(const char *code) {
  static const char *const about_who[] = {"stranger",   "unproven",     "may_not_speak",
                                          "not_server", "not_eligible", "own_proposal"};
  for (size_t i = 0; i < ARRAY_LEN(about_who); i++)
    if (strcmp(code, about_who[i]) == 0) return 403;
  return 409;
}

static void answer_decision(struct http_request *req, struct serve *serve, const char *document,
                            const struct err *err) {
  (void)serve;
  if (err) {
    http_problem_err(req, err);
    return;
  }
  json_t *answer = document ? json_loads(document, 0, NULL) : NULL;
  const char *outcome = json_string_value(json_object_get(answer, "outcome"));
  const char *code = json_string_value(json_object_get(answer, "code"));
  const char *message = json_string_value(json_object_get(answer, "message"));
  if (outcome && strcmp(outcome, "refused") == 0)
    http_problem(req, refusal_status(code ? code : ""), code ? code : "refused", message ? message : "refused", NULL);
  else
    http_reply_json(req, 200, document ? document : "{}");
  json_decref(answer);
}

static const char *decision_document(struct http_request *req, const char *verdict, const char *comment,
                                     const char *digest) {
  json_t *decision =
      json_pack("{s:s, s:s, s:s?, s:s, s:s, s:s}", "verdict", verdict, "comment", comment, "digest", digest, "reviewer",
                req->principal.reviewer, "via", "api", "source", req->principal.token ? req->principal.token : "");
  const char *key = http_idempotency_key(req);
  if (decision && key) {
    const char *scope = arena_printf(&req->arena, "api:%s:%s", req->principal.token, req->params[0]);
    json_object_set_new(decision, "replay", json_pack("{s:s, s:s}", "scope", scope ? scope : "api", "key", key));
  }
  char *text = decision ? json_dumps(decision, JSON_COMPACT) : NULL;
  json_decref(decision);
  const char *copy = text ? arena_strdup(&req->arena, text) : NULL;
  free(text);
  return copy;
}

static void on_decide(struct http_request *req, void *ctx) {
  static const char *const known[] = {"verdict", "comment", "digest", NULL};
  int64_t id;
  const char *verdict, *comment, *digest;
  if (!http_param_id(req, 0, &id)) return;
  if (!req->principal.reviewer) {
    http_problem(req, 403, "denied", "this token belongs to no reviewer, and only reviewers decide",
                 "orch token create NAME --scope decide --reviewer NAME makes one that does");
    return;
  }
  json_t *body = route_body(req);
  if (!body) return;
  bool good = route_keys(req, body, known) && route_text(req, body, "verdict", 16, route_required, &verdict) &&
              route_text(req, body, "comment", 16000, "", &comment) &&
              route_text(req, body, "digest", 80, route_required, &digest);
  json_decref(body);
  if (!good) return;
  const char *decision = decision_document(req, verdict, comment, digest);
  if (!decision) {
    http_problem(req, 422, "invalid", "the decision cannot be written down", NULL);
    return;
  }
  struct db_value values[] = {db_i64(id), db_text(decision)};
  route_call_then(req, ctx, "select orch.gate_decide($1, $2::jsonb)", ARRAY_LEN(values), values, answer_decision);
}

const struct http_route routes_act[] = {
    {"POST", "/v1/proposals", "propose", ACT_BODY_MAX, on_propose, 0, "Ask for a retraining; Idempotency-Key honoured"},
    {"POST", "/v1/proposals/{id}/cancel", "propose", ACT_BODY_MAX, on_cancel, 0,
     "Stop a proposal and all it waits for"},
    {"POST", "/v1/pipelines/{p}/hold", "operate", ACT_BODY_MAX, on_hold, 0, "Nothing automatic on this pipeline"},
    {"POST", "/v1/pipelines/{p}/release", "operate", ACT_BODY_MAX, on_release, 0, "Lift a hold"},
    {"POST", "/v1/incidents/{id}/release", "operate", ACT_BODY_MAX, on_incident_release, 0,
     "Let what waits in an incident retrain"},
    {"POST", "/v1/incidents/{id}/dismiss", "operate", ACT_BODY_MAX, on_incident_dismiss, 0,
     "Retrain nothing for an incident"},
    {"POST", "/v1/gates/{id}/decisions", "decide", ACT_BODY_MAX, on_decide, 0,
     "Approve or reject what the digest names; the token's reviewer decides"},
    ROUTES_END,
};
