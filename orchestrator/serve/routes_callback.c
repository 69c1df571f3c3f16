/* POST /v1/callbacks/webhook: a decision signed by a system that may speak for reviewers. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/secret.h"
#include "serve/routes_chat_private.h"

#define CALLBACK_MAGIC 0x63616c6cu
#define SOURCES_KEPT_US ((int64_t)2000000) /* a callback taken out of orch.yaml is refused after so long at most */
#define COMMENT_BYTES_MAX 16000            /* 4,000 characters, which the database counts */
#define NAME_MAX_BYTES 200

struct callback {
  uint32_t magic;
  struct chat_routes *routes;
  struct http_request *req;
  struct db_request request;
  char source[NAME_MAX_BYTES + 1];
  int64_t gate;
};

static void callback_free(struct callback *callback) {
  callback->routes->busy--;
  mem_free(callback);
}

static const char *text_of(const json_t *object, const char *name) {
  return json_string_value(json_object_get(object, name));
}

/* ---- the decision ---- */

static bool is_forbidden(const char *code) {
  static const char *const codes[] = {"stranger", "not_reviewer", "may_not_speak", "not_eligible", "own_proposal"};
  for (size_t i = 0; code != NULL && i < ARRAY_LEN(codes); i++)
    if (strcmp(code, codes[i]) == 0) return true;
  return false;
}

static void decided(void *arg, struct db_result *result, const struct err *err) {
  struct callback *callback = arg;
  MAGIC_CHECK(callback, CALLBACK_MAGIC);
  struct chat_routes *routes = callback->routes;
  if (err != NULL) {
    bool ours = err->code == ERR_NOT_FOUND || err->code == ERR_INVALID || err->code == ERR_LIMIT;
    chat_count(routes, CHAT_WEBHOOK, ours ? CHAT_MALFORMED : CHAT_UNAVAILABLE);
    http_problem_err(callback->req, err);
    callback_free(callback);
    return;
  }
  const char *text = db_get_document(result);
  json_t *answer = text != NULL ? json_loads(text, 0, NULL) : NULL;
  const char *outcome = text_of(answer, "outcome"), *code = text_of(answer, "code");
  (void)chat_count_decision(routes, CHAT_WEBHOOK, answer);
  chat_log_decision(CHAT_WEBHOOK, callback->source, callback->gate, answer);
  if (outcome == NULL || strcmp(outcome, "refused") == 0)
    http_problem(callback->req, is_forbidden(code) ? 403 : 409, code != NULL ? code : "refused",
                 text_of(answer, "message"), NULL);
  else
    http_reply_json(callback->req, 200, text);
  json_decref(answer);
  callback_free(callback);
}

static bool read_decision(const json_t *root, int64_t *ret_gate, struct err *err) {
  const json_t *data = json_object_get(root, "data"), *gate = json_object_get(data, "gate");
  const json_t *comment = json_object_get(data, "comment");
  const char *type = text_of(root, "type"), *verdict = text_of(data, "verdict");
  const char *reviewer = text_of(data, "reviewer"), *digest = text_of(data, "digest");
  if (type == NULL || strcmp(type, "gate.decision") != 0)
    return err_set(err, ERR_INVALID, "\"type\" must be \"gate.decision\"");
  if (!json_is_integer(gate) || json_integer_value(gate) <= 0)
    return err_set(err, ERR_INVALID, "\"data.gate\" must be the gate's number");
  if (verdict == NULL || (strcmp(verdict, "approve") != 0 && strcmp(verdict, "reject") != 0))
    return err_set(err, ERR_INVALID, "\"data.verdict\" must be \"approve\" or \"reject\"");
  if (reviewer == NULL || reviewer[0] == '\0' || strlen(reviewer) > NAME_MAX_BYTES)
    return err_set(err, ERR_INVALID, "\"data.reviewer\" must name the person who decided");
  if (digest == NULL || !digest_is_text(digest))
    return err_set(err, ERR_INVALID, "\"data.digest\" must be the digest of the evidence that was decided on");
  if (comment != NULL && (!json_is_string(comment) || json_string_length(comment) > COMMENT_BYTES_MAX))
    return err_set(err, ERR_INVALID, "\"data.comment\" must be a text of at most 4000 characters");
  *ret_gate = json_integer_value(gate);
  return true;
}

static void decide(struct callback *callback, const json_t *root) {
  const json_t *data = json_object_get(root, "data");
  const char *comment = text_of(data, "comment");
  CLEANUP(mem_free_p) char *scope = mem_printf("webhook:%s", callback->source);
  json_t *decision = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:{s:s, s:s}}", "verdict", text_of(data, "verdict"),
                               "comment", comment != NULL ? comment : "", "digest", text_of(data, "digest"), "reviewer",
                               text_of(data, "reviewer"), "via", "webhook", "source", callback->source, "replay",
                               "scope", scope, "key", http_header(callback->req, "webhook-id"));
  char *text = decision != NULL ? json_dumps(decision, JSON_COMPACT) : NULL;
  json_decref(decision);
  if (text == NULL) {
    chat_count(callback->routes, CHAT_WEBHOOK, CHAT_MALFORMED);
    http_problem(callback->req, 422, "malformed", "the webhook-id is not UTF-8", NULL);
    callback_free(callback);
    return;
  }
  struct db_value values[] = {db_i64(callback->gate), db_text(text)};
  callback->request = (struct db_request){.timeout_ms = CHAT_DB_TIMEOUT_MS, .repeatable = true};
  db_query(callback->routes->db, &callback->request, "select orch.gate_decide($1, $2)", ARRAY_LEN(values), values,
           decided, callback);
  free(text);
}

/* ---- who signed ---- */

static enum sign_verdict verify_source(const struct http_request *req, const json_t *source) {
  struct err err = {0};
  struct sign_keys keys = {0};
  const char *secret_env = text_of(source, "secret_env");
  char *secret = secret_env != NULL ? secret_get(secret_env, &err) : NULL;
  if (secret == NULL || !sign_keys_webhook(&keys, secret, &err))
    log_event(LOG_WARN, "callback.secret", LOG_S("source", text_of(source, "name")), LOG_S("error", err.text));
  mem_free_secret(secret);
  enum sign_verdict verdict =
      sign_webhook_verify(&keys, http_header(req, "webhook-id"), http_header(req, "webhook-timestamp"),
                          http_header(req, "webhook-signature"), req->body, req->body_len, clock_wall_us() / 1000000);
  sign_keys_fini(&keys);
  return verdict;
}

/* The first source whose secret made the signature. Sources without a usable secret say nothing about the request. */
static enum sign_verdict find_source(struct callback *callback, const json_t *sources) {
  enum sign_verdict worst = SIGN_NO_SECRET;
  size_t i;
  json_t *source;
  json_array_foreach(sources, i, source) {
    const char *name = text_of(source, "name");
    if (name == NULL || strlen(name) > NAME_MAX_BYTES) continue;
    enum sign_verdict verdict = verify_source(callback->req, source);
    if (verdict == SIGN_OK) {
      snprintf(callback->source, sizeof callback->source, "%s", name);
      return SIGN_OK;
    }
    if (verdict != SIGN_NO_SECRET) worst = verdict;
  }
  return worst;
}

static void handle_with(struct callback *callback, const json_t *sources) {
  struct http_request *req = callback->req;
  struct err err = {0};
  enum sign_verdict verdict = find_source(callback, sources);
  if (verdict != SIGN_OK) {
    chat_reject_signature(callback->routes, CHAT_WEBHOOK, req, verdict,
                          verdict == SIGN_NO_SECRET ? "list the sender under callbacks in orch.yaml and set its secret"
                                                    : NULL);
    callback_free(callback);
    return;
  }
  json_t *root = json_loadb(req->body, req->body_len, JSON_REJECT_DUPLICATES, NULL);
  bool good = json_is_object(root) ? read_decision(root, &callback->gate, &err)
                                   : err_set(&err, ERR_INVALID, "the body is not a JSON object");
  if (good) {
    decide(callback, root);
  } else {
    chat_count(callback->routes, CHAT_WEBHOOK, CHAT_MALFORMED);
    http_problem_err(req, &err);
    callback_free(callback);
  }
  json_decref(root);
}

static void sources_read(void *arg, struct db_result *result, const struct err *err) {
  struct callback *callback = arg;
  MAGIC_CHECK(callback, CALLBACK_MAGIC);
  struct chat_routes *routes = callback->routes;
  if (err != NULL) {
    chat_count(routes, CHAT_WEBHOOK, CHAT_UNAVAILABLE);
    http_problem_err(callback->req, err);
    callback_free(callback);
    return;
  }
  const char *text = db_get_document(result);
  json_decref(routes->sources);
  routes->sources = text != NULL ? json_loads(text, 0, NULL) : NULL;
  routes->sources_us = clock_mono_us();
  handle_with(callback, routes->sources);
}

void chat_handle_callback(struct http_request *req, void *ctx) {
  struct chat_routes *routes = chat_of(req, ctx);
  if (routes == NULL) return;
  if (http_header(req, "webhook-id") == NULL || http_header(req, "webhook-timestamp") == NULL ||
      http_header(req, "webhook-signature") == NULL) {
    /* Not worth a question to the database. */
    chat_reject_signature(routes, CHAT_WEBHOOK, req, SIGN_MISSING, NULL);
    return;
  }
  struct callback *callback = mem_alloc(sizeof *callback);
  *callback = (struct callback){.magic = CALLBACK_MAGIC, .routes = routes, .req = req};
  routes->busy++;
  if (routes->sources != NULL && clock_mono_us() - routes->sources_us < SOURCES_KEPT_US) {
    handle_with(callback, routes->sources);
    return;
  }
  callback->request = (struct db_request){.timeout_ms = CHAT_DB_TIMEOUT_MS, .repeatable = true};
  db_query(routes->db, &callback->request, "select orch.callback_sources()", 0, NULL, sources_read, callback);
}
