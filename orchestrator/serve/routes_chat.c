#include "serve/routes_chat.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "chat/slack_in.h"
#include "chat/slack_out.h"
#include "chat/ticket.h"
#include "chat/whisper.h"
#include "conf/secret.h"
#include "serve/routes_chat_private.h"

#define INTERACTION_MAGIC 0x736c6b69u
#define ARENA_MAX ((size_t)4 * 1024 * 1024)
#define REPLAY_TTL_MS ((int64_t)600000) /* twice the tolerance: what is older is stale by itself */
#define VIEW_TIMEOUT_MS 2500            /* a trigger lives for three seconds */
#define CALLBACK_BODY_MAX ((size_t)64 * 1024)

/* ---- counting ---- */

static const char *const surface_names[CHAT_SURFACES] = {"slack", "webhook"};
static const char *const result_names[CHAT_RESULTS] = {"accepted",         "duplicate",     "refused",    "replayed",
                                                       "unknown_reviewer", "bad_signature", "stale",      "unsigned",
                                                       "no_secret",        "malformed",     "unavailable"};

void chat_count(struct chat_routes *routes, enum chat_surface surface, enum chat_result result) {
  routes->counts[surface][result]++;
}

void chat_routes_metrics(const struct chat_routes *routes, struct strbuf *out) {
  strbuf_puts(out, "# HELP orch_callbacks_total Signed callbacks by how they ended.\n"
                   "# TYPE orch_callbacks_total counter\n");
  for (size_t i = 0; i < CHAT_SURFACES; i++)
    for (size_t j = 0; j < CHAT_RESULTS; j++)
      strbuf_printf(out, "orch_callbacks_total{surface=\"%s\",result=\"%s\"} %llu\n", surface_names[i], result_names[j],
                    (unsigned long long)routes->counts[i][j]);
}

void chat_reject_signature(struct chat_routes *routes, enum chat_surface surface, struct http_request *req,
                           enum sign_verdict verdict, const char *hint) {
  static const struct {
    enum chat_result result;
    int status;
    const char *detail;
  } answers[] = {[SIGN_NO_SECRET] = {CHAT_NO_SECRET, 503, "there is no secret to verify this request with"},
                 [SIGN_MISSING] = {CHAT_UNSIGNED, 401, "the request is not signed: headers are missing or malformed"},
                 [SIGN_STALE] = {CHAT_STALE, 401, "the request's timestamp is more than 300 s away from our clock"},
                 [SIGN_MISMATCH] = {CHAT_BAD_SIGNATURE, 401, "the signature was not made with our secret"}};
  ORCH_ASSERT(verdict != SIGN_OK);
  const char *code = result_names[answers[verdict].result];
  chat_count(routes, surface, answers[verdict].result);
  log_event(LOG_WARN, "callback.refused", LOG_S("surface", surface_names[surface]), LOG_S("cause", code),
            LOG_S("peer", req->peer), LOG_S("request", req->id));
  http_problem(req, answers[verdict].status, code, answers[verdict].detail, hint);
}

enum chat_result chat_count_decision(struct chat_routes *routes, enum chat_surface surface, const json_t *answer) {
  static const char *const strangers[] = {"stranger", "not_reviewer", "may_not_speak", "unproven"};
  const char *outcome = json_string_value(json_object_get(answer, "outcome"));
  const char *code = json_string_value(json_object_get(answer, "code"));
  enum chat_result result = CHAT_REFUSED;
  if (json_is_true(json_object_get(answer, "repeated"))) {
    result = CHAT_REPLAYED;
  } else if (outcome != NULL && strcmp(outcome, "accepted") == 0) {
    result = CHAT_ACCEPTED;
  } else if (outcome != NULL && strcmp(outcome, "duplicate") == 0) {
    result = CHAT_DUPLICATE;
  } else {
    for (size_t i = 0; code != NULL && i < ARRAY_LEN(strangers); i++)
      if (strcmp(code, strangers[i]) == 0) result = CHAT_UNKNOWN_REVIEWER;
  }
  chat_count(routes, surface, result);
  return result;
}

void chat_log_decision(enum chat_surface surface, const char *who, int64_t gate, const json_t *answer) {
  log_event(LOG_INFO, "gate.decision", LOG_S("via", surface_names[surface]), LOG_I("gate", gate), LOG_S("who", who),
            LOG_S("outcome", json_string_value(json_object_get(answer, "outcome"))),
            LOG_S("code", json_string_value(json_object_get(answer, "code"))),
            LOG_S("reviewer", json_string_value(json_object_get(answer, "reviewer"))));
}

/* ---- one press or one sent modal ---- */

struct interaction {
  uint32_t magic;
  struct chat_routes *routes;
  struct http_request *req; /* NULL once answered */
  struct arena arena;
  struct slack_in in;
  struct ticket ticket;
  char identity[SLACK_IDENTITY_SIZE];
  const char *signature; /* the key of the replay store */
  const char *channel;   /* where a private word goes */
  struct db_request request;
};

static void interaction_free(struct interaction *it) {
  it->routes->busy--;
  arena_fini(&it->arena);
  mem_free(it);
}

/* Slack shows an error of its own for anything but 200, so that is what it always gets. */
static void reply_ok(struct interaction *it) {
  if (it->req != NULL) http_reply_empty(it->req, 200);
  it->req = NULL;
}

static void tell(struct interaction *it, const char *text) {
  if (it->in.user == NULL) return;
  whisper_send(&it->routes->slack, it->channel, it->in.user, it->in.response_url, text);
}

static void tell_trouble(struct interaction *it, const struct err *err) {
  chat_count(it->routes, CHAT_SLACK, CHAT_UNAVAILABLE);
  log_err(LOG_ERROR, "slack.decision_failed", err);
  if (err->code == ERR_NOT_FOUND || err->code == ERR_INVALID)
    tell(it, err->text);
  else if (it->request.fate == DB_FATE_UNKNOWN)
    tell(it, "It is not certain that your answer was recorded. Please press again: an answer counts once.");
  else
    tell(it, "Your answer was NOT recorded: the database did not answer. Please press again in a moment.");
}

static void tell_outcome(struct interaction *it, const json_t *answer) {
  const json_t *gate = json_object_get(answer, "gate");
  const char *message = json_string_value(json_object_get(answer, "message"));
  const char *state = json_string_value(json_object_get(gate, "state"));
  bool open = state != NULL && strcmp(state, "open") == 0;
  CLEANUP(mem_free_p)
  char *text = mem_printf("Your answer did not count: %s.%s%s", message != NULL ? message : "no reason was given",
                          it->in.external ? " You belong to another organisation than this channel's." : "",
                          open ? " The gate is still waiting." : "");
  tell(it, text);
}

static void decided(void *arg, struct db_result *result, const struct err *err) {
  struct interaction *it = arg;
  MAGIC_CHECK(it, INTERACTION_MAGIC);
  reply_ok(it);
  if (err != NULL) {
    tell_trouble(it, err);
  } else {
    const char *text = db_get_document(result);
    json_t *answer = text != NULL ? json_loads(text, 0, NULL) : NULL;
    enum chat_result outcome = chat_count_decision(it->routes, CHAT_SLACK, answer);
    chat_log_decision(CHAT_SLACK, it->identity, it->ticket.gate, answer);
    if (outcome != CHAT_ACCEPTED && outcome != CHAT_REPLAYED) tell_outcome(it, answer);
    json_decref(answer);
  }
  interaction_free(it);
}

/* The decision first, then the message it was pressed on, in one transaction: the decision takes the locks in the order
 * that all others do, and whoever delivers its outcome finds the message among those to edit. */
static void decide(struct interaction *it, const char *verdict, const char *comment) {
  static const char sql[] =
      "with decided as materialized (select orch.gate_decide($1, $2) as answer), "
      "recorded as materialized (select orch.chat_message_record($1, $3, $4) as done from decided where $3 is not null)"
      " select answer from decided left join recorded on true";
  bool from_modal = it->in.kind == SLACK_IN_VIEW_SUBMISSION;
  const char *ts = from_modal ? it->ticket.message_ts : it->in.message_ts;
  bool known = it->channel != NULL && ts != NULL && ts[0] != '\0';
  json_t *decision = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:{s:s, s:s}}", "verdict", verdict, "comment", comment,
                               "digest", it->ticket.digest, "nonce", it->ticket.nonce, "slack", it->identity, "via",
                               "slack", "replay", "scope", "slack", "key", it->signature);
  char *text = json_dumps(decision, JSON_COMPACT);
  ORCH_ASSERT(text != NULL);
  struct db_value values[] = {db_i64(it->ticket.gate), db_text(text), db_text(known ? it->channel : NULL),
                              db_text(known ? ts : NULL)};
  it->request = (struct db_request){.timeout_ms = CHAT_DB_TIMEOUT_MS, .repeatable = true};
  db_query(it->routes->db, &it->request, sql, ARRAY_LEN(values), values, decided, it);
  free(text);
  json_decref(decision);
}

/* ---- rejecting: first a modal that asks why ---- */

static void view_answered(void *arg, const struct slack_api_answer *answer) {
  struct interaction *it = arg;
  MAGIC_CHECK(it, INTERACTION_MAGIC);
  if (answer->outcome != SLACK_API_OK) {
    log_event(LOG_WARN, "slack.view_failed", LOG_I("gate", it->ticket.gate), LOG_S("error", answer->error));
    CLEANUP(mem_free_p)
    char *text =
        mem_printf("Nothing was rejected: the dialogue for the comment could not be opened (%s). Please press again.",
                   answer->error);
    tell(it, text);
  }
  interaction_free(it);
}

static void open_view(struct interaction *it) {
  struct err err = {0};
  struct ticket ticket = it->ticket;
  snprintf(ticket.channel, sizeof ticket.channel, "%s", it->in.channel != NULL ? it->in.channel : "");
  snprintf(ticket.message_ts, sizeof ticket.message_ts, "%s", it->in.message_ts != NULL ? it->in.message_ts : "");
  json_t *body = slack_out_reject_view(it->in.trigger_id, &ticket, &err);
  struct slack_call *call = NULL;
  if (body != NULL)
    call = slack_api_post(&it->routes->slack, "views.open", body, VIEW_TIMEOUT_MS, view_answered, it, &err);
  json_decref(body);
  if (call != NULL) return;
  log_err(LOG_ERROR, "slack.view_failed", &err);
  tell(it, "Nothing was rejected: the dialogue for the comment could not be opened.");
  interaction_free(it);
}

static void replay_checked(void *arg, struct db_result *result, const struct err *err) {
  struct interaction *it = arg;
  MAGIC_CHECK(it, INTERACTION_MAGIC);
  reply_ok(it);
  if (err != NULL) {
    tell_trouble(it, err);
    interaction_free(it);
  } else if (db_get_bool(result, 0, 0)) {
    chat_count(it->routes, CHAT_SLACK, CHAT_REPLAYED);
    interaction_free(it);
  } else {
    open_view(it);
  }
}

static void ask_why(struct interaction *it) {
  struct db_value values[] = {db_text("slack"), db_text(it->signature), db_i64(REPLAY_TTL_MS)};
  it->request = (struct db_request){.timeout_ms = CHAT_DB_TIMEOUT_MS};
  db_query(it->routes->db, &it->request, "select orch.replay_seen($1, $2, $3)", ARRAY_LEN(values), values,
           replay_checked, it);
}

/* ---- what was pressed or sent ---- */

static bool is_blank(const char *text) {
  return text == NULL || text[strspn(text, " \t\r\n")] == '\0';
}

/* Takes `it` over when it returns true; otherwise there is nothing to do but to answer. */
static bool act_on_press(struct interaction *it) {
  struct err err = {0};
  bool approve = it->in.action_id != NULL && strcmp(it->in.action_id, SLACK_ACTION_APPROVE) == 0;
  bool reject = it->in.action_id != NULL && strcmp(it->in.action_id, SLACK_ACTION_REJECT) == 0;
  it->channel = it->in.channel;
  if (!approve && !reject) return false; /* a link was followed */
  if (it->in.value == NULL || !ticket_read(it->in.value, &it->ticket, &err) ||
      !slack_in_identity(&it->in, it->identity) || (reject && it->in.trigger_id == NULL)) {
    chat_count(it->routes, CHAT_SLACK, CHAT_MALFORMED);
    tell(it, "This button does not belong to a gate of this orchestrator.");
    return false;
  }
  if (approve)
    decide(it, "approve", "");
  else
    ask_why(it);
  return true;
}

static bool act_on_modal(struct interaction *it) {
  struct err err = {0};
  if (it->in.callback_id == NULL || strcmp(it->in.callback_id, SLACK_VIEW_REJECT) != 0) return false;
  if (it->in.private_metadata == NULL || !ticket_read(it->in.private_metadata, &it->ticket, &err) ||
      !slack_in_identity(&it->in, it->identity)) {
    chat_count(it->routes, CHAT_SLACK, CHAT_MALFORMED);
    return false;
  }
  it->channel = it->ticket.channel[0] != '\0' ? it->ticket.channel : NULL;
  if (is_blank(it->in.comment)) {
    json_t *body = slack_out_comment_error("Please say why: a rejection needs a comment.");
    char *text = json_dumps(body, JSON_COMPACT);
    http_reply_json(it->req, 200, text);
    it->req = NULL;
    free(text);
    json_decref(body);
    return false;
  }
  decide(it, "reject", it->in.comment);
  return true;
}

static enum sign_verdict verify(const struct http_request *req, struct err *err) {
  struct sign_keys keys = {0};
  char *secret = secret_get(SLACK_API_SIGNING_ENV, err);
  if (secret != NULL && !sign_keys_slack(&keys, secret, err)) err_hint(err, "see " SLACK_API_SIGNING_ENV);
  mem_free_secret(secret);
  enum sign_verdict verdict =
      sign_slack_verify(&keys, http_header(req, "X-Slack-Request-Timestamp"), http_header(req, "X-Slack-Signature"),
                        req->body, req->body_len, clock_wall_us() / 1000000);
  sign_keys_fini(&keys);
  return verdict;
}

static void handle_interaction(struct http_request *req, void *ctx) {
  struct chat_routes *routes = chat_of(req, ctx);
  if (routes == NULL) return;
  struct err err = {0};
  enum sign_verdict verdict = verify(req, &err);
  if (verdict != SIGN_OK) {
    const char *hint = verdict == SIGN_MISMATCH ? "check " SLACK_API_SIGNING_ENV : NULL;
    chat_reject_signature(routes, CHAT_SLACK, req, verdict, verdict == SIGN_NO_SECRET ? err.text : hint);
    return;
  }
  struct interaction *it = mem_alloc(sizeof *it);
  *it = (struct interaction){.magic = INTERACTION_MAGIC, .routes = routes, .req = req};
  routes->busy++;
  arena_init(&it->arena, ARENA_MAX);
  if (!slack_in_parse(&it->arena, req->body, req->body_len, &it->in, &err)) {
    chat_count(routes, CHAT_SLACK, CHAT_MALFORMED);
    http_problem_err(req, &err);
    interaction_free(it);
    return;
  }
  it->signature = arena_strdup(&it->arena, http_header(req, "X-Slack-Signature"));
  bool taken = false;
  if (it->signature != NULL && it->in.kind == SLACK_IN_BLOCK_ACTIONS) taken = act_on_press(it);
  if (it->signature != NULL && it->in.kind == SLACK_IN_VIEW_SUBMISSION) taken = act_on_modal(it);
  if (taken) return;
  reply_ok(it);
  interaction_free(it);
}

/* ---- the routes ---- */

const struct http_route routes_chat[] = {
    {"POST", "/slack/interactions", "", SLACK_IN_BODY_MAX, handle_interaction, 0,
     "Buttons and modals of Slack, signed by Slack (v0)"},
    {"POST", "/v1/callbacks/webhook", "", CALLBACK_BODY_MAX, chat_handle_callback, 0,
     "A decision signed by Standard Webhooks, naming the reviewer"},
    ROUTES_END,
};

struct chat_routes *chat_of(struct http_request *req, void *ctx) {
  struct serve *serve = ctx;
  MAGIC_CHECK(serve, SERVE_MAGIC);
  if (serve->chat == NULL) http_problem(req, 503, "not_ready", "the server is starting or stopping", "send it again");
  return serve->chat;
}

struct chat_routes *chat_routes_new(struct db *db, struct fetch *fetch) {
  struct chat_routes *routes = mem_alloc(sizeof *routes);
  *routes = (struct chat_routes){.db = db};
  slack_api_init(&routes->slack, fetch);
  return routes;
}

unsigned chat_routes_busy(const struct chat_routes *routes) {
  return routes->busy;
}

void chat_routes_close(struct chat_routes *routes) {
  slack_api_close(&routes->slack);
}

void chat_routes_free(struct chat_routes *routes) {
  if (routes == NULL) return;
  ORCH_ASSERT(routes->busy == 0);
  slack_api_fini(&routes->slack);
  json_decref(routes->sources);
  mem_free(routes);
}
