/* Ways in for what people's tools and other monitors see: signals, and the documents that other systems send.
 *
 * Reading a body is trigger/'s; here it is handed to the database and answered once that has committed. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "serve/routes.h"
#include "trigger/signal_in.h"

#define CALL_MS 20000
#define ANSWER_MAX (1024 * 1024)

/* True when the Content-Type is one of the words; 415 was answered otherwise. A compressed body is no such body. */
static bool type_is(struct http_request *req, const char *const *words, const char *hint) {
  const char *coding = http_header(req, "Content-Encoding");
  if (coding && strcasecmp(coding, "identity") != 0) {
    http_problem(req, 415, "media_type", "compressed bodies are not taken here", "send it without Content-Encoding");
    return false;
  }
  return route_type_is(req, words, hint);
}

static bool type_is_json(struct http_request *req) {
  static const char *const words[] = {"application/json", NULL};
  return type_is(req, words, "send Content-Type: application/json");
}

static char *compact(const json_t *document) {
  char *text = json_dumps(document, JSON_COMPACT);
  ORCH_ASSERT(text != NULL);
  return text; /* free(), not mem_free(): jansson's */
}

/* ---- documents of many signals ---- */

/* The signals of one body, handed in one after another. */
struct alerts {
  struct http_request *req;
  struct db *db;
  struct db_request request;
  struct signal_list list;
  size_t next, taken;
  struct strbuf answers; /* one JSON object per alert, comma-separated */
};

static void alerts_next(struct alerts *a);

static void alerts_free(struct alerts *a) {
  signal_list_fini(&a->list);
  strbuf_fini(&a->answers);
  mem_free(a);
}

/* 4xx only when nothing could be taken: Alertmanager never sends a 4xx again. */
static void alerts_answer(struct alerts *a) {
  struct strbuf out;
  bool nothing = a->taken == 0 && a->list.n > 0;
  strbuf_init(&out, 2 * ANSWER_MAX);
  strbuf_puts(&out, "{");
  if (nothing)
    strbuf_puts(&out, "\"type\":\"urn:orch:problem:invalid\",\"title\":\"Unprocessable Content\",\"status\":422,"
                      "\"detail\":\"none of the alerts could be taken\",");
  strbuf_printf(&out, "\"taken\":%zu,\"refused\":%zu,\"truncated_alerts\":%lld,\"alerts\":[%s]}", a->taken,
                a->list.n - a->taken, a->list.truncated, strbuf_text(&a->answers));
  http_reply(a->req, nothing ? 422 : 200, nothing ? "application/problem+json" : "application/json", strbuf_text(&out),
             out.len);
  strbuf_fini(&out);
  alerts_free(a);
}

static void alert_refused(struct alerts *a, const struct signal_in *in, const char *why) {
  const char *fingerprint = json_string_value(json_object_get(in->signal, "fingerprint"));
  if (a->answers.len) strbuf_putc(&a->answers, ',');
  strbuf_puts(&a->answers, "{\"pipeline\":");
  strbuf_add_json(&a->answers, in->pipeline);
  strbuf_puts(&a->answers, ",\"fingerprint\":");
  strbuf_add_json(&a->answers, fingerprint ? fingerprint : "");
  strbuf_puts(&a->answers, ",\"error\":");
  strbuf_add_json(&a->answers, why);
  strbuf_putc(&a->answers, '}');
}

static void alert_taken(struct alerts *a, const struct signal_in *in, const char *document) {
  json_t *answer = document ? json_loads(document, 0, NULL) : NULL;
  if (!json_is_object(answer)) {
    json_decref(answer);
    answer = json_object();
  }
  json_object_set_new(answer, "pipeline", json_string(in->pipeline));
  json_object_set(answer, "fingerprint", json_object_get(in->signal, "fingerprint"));
  json_object_set(answer, "status", json_object_get(in->signal, "status"));
  char *text = compact(answer);
  if (a->answers.len) strbuf_putc(&a->answers, ',');
  strbuf_puts(&a->answers, text);
  free(text);
  json_decref(answer);
  a->taken++;
}

static void alert_answered(void *arg, struct db_result *result, const struct err *err) {
  struct alerts *a = arg;
  const struct signal_in *in = &a->list.items[a->next++];
  bool ours = err && (err->code == ERR_NOT_FOUND || err->code == ERR_INVALID || err->code == ERR_LIMIT ||
                      err->code == ERR_REFUSED);
  if (err && !ours) {
    /* The database is away: a 5xx makes Alertmanager send all of them again, and what was taken is a repeat then. */
    http_problem_err(a->req, err);
    alerts_free(a);
    return;
  }
  if (err)
    alert_refused(a, in, err->text);
  else
    alert_taken(a, in, db_get_document(result));
  alerts_next(a);
}

static void alerts_next(struct alerts *a) {
  for (; a->next < a->list.n && !a->list.items[a->next].signal; a->next++)
    alert_refused(a, &a->list.items[a->next], a->list.items[a->next].problem);
  if (a->next == a->list.n) return alerts_answer(a);
  const struct signal_in *in = &a->list.items[a->next];
  char *text = compact(in->signal);
  struct db_value values[] = {db_text(in->pipeline), db_text(text), db_text(a->req->principal.actor),
                              db_text(*in->delivery ? in->delivery : NULL)};
  a->request = (struct db_request){.timeout_ms = CALL_MS};
  db_query(a->db, &a->request, "select orch.signal_receive_once($1, $2::jsonb, $3, $4)", ARRAY_LEN(values), values,
           alert_answered, a);
  free(text);
}

static void take_list(struct http_request *req, struct serve *serve, struct signal_list list) {
  struct alerts *a = mem_alloc(sizeof *a);
  *a = (struct alerts){.req = req, .db = serve->db, .list = list};
  strbuf_init(&a->answers, ANSWER_MAX);
  alerts_next(a);
}

/* A body of JSON, read as one of the documents that trigger/ knows; ?pipeline= names the pipeline or is the fallback.
 */
typedef bool list_parser(struct signal_list *ret, const char *body, size_t len, const char *pipeline, struct err *err);
static void on_list(struct http_request *req, void *ctx, list_parser *parse) {
  struct serve *serve = ctx;
  struct signal_list list;
  struct err err = {0};
  MAGIC_CHECK(serve, SERVE_MAGIC);
  if (!type_is_json(req)) return;
  if (!parse(&list, req->body, req->body_len, http_query(req, "pipeline"), &err)) return http_problem_err(req, &err);
  take_list(req, serve, list);
}

static void on_alertmanager(struct http_request *req, void *ctx) {
  on_list(req, ctx, signal_parse_alertmanager);
}
static void on_grafana(struct http_request *req, void *ctx) {
  on_list(req, ctx, signal_parse_grafana);
}
static void on_evidently(struct http_request *req, void *ctx) {
  on_list(req, ctx, signal_parse_evidently);
}
static void on_nannyml(struct http_request *req, void *ctx) {
  on_list(req, ctx, signal_parse_nannyml);
}

/* ---- POST /v1/signals: one signal of our own, or CloudEvents in any of their three modes ---- */

static bool has_type(const struct http_request *req, const char *word) {
  const char *type = http_header(req, "Content-Type");
  size_t len = type ? strcspn(type, "; \t") : 0;
  return strlen(word) == len && strncasecmp(type, word, len) == 0;
}

static void on_cloudevents(struct http_request *req, struct serve *serve) {
  struct signal_list list;
  struct err err = {0};
  const char *fallback = http_query(req, "pipeline");
  bool batch = has_type(req, "application/cloudevents-batch+json"), fine;
  if (batch || has_type(req, "application/cloudevents+json")) {
    fine = signal_parse_cloudevents(&list, req->body, req->body_len, batch, fallback, &err);
  } else {
    struct signal_header headers[HTTP_HEADERS_MAX];
    for (size_t i = 0; i < req->n_headers; i++)
      headers[i] = (struct signal_header){req->headers[i].name, req->headers[i].value};
    fine = signal_parse_cloudevent_binary(&list, headers, req->n_headers, http_header(req, "Content-Type"), req->body,
                                          req->body_len, fallback, &err);
  }
  if (fine)
    take_list(req, serve, list);
  else
    http_problem_err(req, &err);
}

static void on_signal(struct http_request *req, void *ctx) {
  struct serve *serve = ctx;
  struct signal_in in;
  struct err err = {0};
  MAGIC_CHECK(serve, SERVE_MAGIC);
  if (http_header(req, "ce-specversion") || has_type(req, "application/cloudevents+json") ||
      has_type(req, "application/cloudevents-batch+json"))
    return on_cloudevents(req, serve);
  if (!type_is_json(req)) return;
  if (!signal_parse(&in, req->body, req->body_len, &err)) return http_problem_err(req, &err);
  char *text = compact(in.signal);
  struct db_value values[] = {db_text(in.pipeline), db_text(text), db_text(req->principal.actor)};
  route_call(req, ctx, "select orch.signal_receive($1, $2::jsonb, $3)", ARRAY_LEN(values), values);
  free(text);
  signal_in_fini(&in);
}

/* The handshake of CloudEvents' "HTTP 1.1 Web Hooks" (section 4): a sender asks before it delivers. Whoever asks may
 * deliver; what is delivered is taken with a token only, so the answer gives nothing away. */
static void on_validation(struct http_request *req, void *ctx) {
  (void)ctx;
  const char *origin = http_header(req, "WebHook-Request-Origin"), *rate = http_header(req, "WebHook-Request-Rate");
  http_reply_header(req, "Allow", "POST, OPTIONS");
  if (origin && strlen(origin) <= 255) {
    http_reply_header(req, "WebHook-Allowed-Origin", origin);
    if (rate && strlen(rate) <= 10) http_reply_header(req, "WebHook-Allowed-Rate", rate);
  }
  http_reply_empty(req, 200);
}

const struct http_route routes_signals[] = {
    {"POST", "/v1/signals", "signal", SIGNAL_BODY_MAX, on_signal, 0,
     "Hand in a signal, or CloudEvents 1.0 (structured, batch, binary); repeats are counted"},
    {"OPTIONS", "/v1/signals", "", 0, on_validation, 0, "The handshake of CloudEvents' web hooks"},
    {"POST", "/v1/signals/alertmanager", "signal", SIGNAL_BODY_MAX, on_alertmanager, 0,
     "Alertmanager's webhook body; the label orch_pipeline or pipeline, else ?pipeline=, names the pipeline"},
    {"POST", "/v1/signals/grafana", "signal", SIGNAL_BODY_MAX, on_grafana, 0,
     "Grafana's webhook body; labels and ?pipeline= as for Alertmanager"},
    {"POST", "/v1/signals/evidently", "signal", SIGNAL_BODY_MAX, on_evidently, 0,
     "An Evidently snapshot as JSON; ?pipeline= names the pipeline"},
    {"POST", "/v1/signals/nannyml", "signal", SIGNAL_BODY_MAX, on_nannyml, 0,
     "Rows of NannyML's results as JSON; ?pipeline= names the pipeline"},
    ROUTES_END,
};
