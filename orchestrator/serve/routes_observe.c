/* Ways in for a live model: the rows it saw and the labels that came for them, as NDJSON, plain or gzip.
 *
 * A row's way: the pipeline's plan (kept for a while) says how to read it; bad lines are named; the others go out with
 * those of other requests in one commit, and 202 is answered after it. When the pipeline has changed since the plan was
 * made, the database says so and the body is read once more by a new plan. Long bodies and packed ones are read in a
 * thread (body_lane.h). Requests may overtake each other until they are committed; what is said twice under one
 * idempotency key is stored once, whichever comes first. */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "serve/observing.h"
#include "serve/routes.h"
#include "trigger/gunzip.h"
#include "trigger/observe_labels.h"

#define CALL_MS 20000
#define ANSWER_MAX (1024 * 1024)
#define WORK_BYTES_MAX ((size_t)64 * 1024 * 1024) /* of unpacked bodies */

struct observing *observing_new(struct serve *serve) {
  struct observing *observing = mem_alloc(sizeof *observing);
  *observing = (struct observing){.plans = observe_plans_new(),
                                  .appender = appender_new(serve->db, APPENDER_ROWS),
                                  .labels = appender_new(serve->db, APPENDER_LABELS),
                                  .lane = body_lane_new(serve)};
  return observing;
}

void observing_free(struct observing *observing) {
  if (!observing) return;
  observe_plans_free(observing->plans);
  appender_free(observing->appender);
  appender_free(observing->labels);
  body_lane_free(observing->lane);
  mem_free(observing);
}

void observing_metrics(const struct observing *observing, struct strbuf *out) {
  struct appender_stats stats, labels;
  struct body_lane_stats lane;
  if (!observing) return;
  appender_get_stats(observing->appender, &stats);
  appender_get_stats(observing->labels, &labels);
  body_lane_get_stats(observing->lane, &lane);
  strbuf_printf(out,
                "# HELP orch_observations_commits_total Commits that stored rows; requests share them.\n"
                "# TYPE orch_observations_commits_total counter\norch_observations_commits_total %llu\n"
                "# TYPE orch_observations_requests_total counter\norch_observations_requests_total %llu\n"
                "# TYPE orch_observations_rows_total counter\norch_observations_rows_total %llu\n"
                "# TYPE orch_observations_bytes_total counter\norch_observations_bytes_total %llu\n"
                "# TYPE orch_observations_failures_total counter\norch_observations_failures_total %llu\n"
                "# HELP orch_observations_waiting_bytes Rows that wait for their commit.\n"
                "# TYPE orch_observations_waiting_bytes gauge\norch_observations_waiting_bytes %zu\n"
                "# HELP orch_observations_unread_bodies Long bodies that wait to be read, or are being read.\n"
                "# TYPE orch_observations_unread_bodies gauge\norch_observations_unread_bodies %zu\n"
                "# TYPE orch_labels_commits_total counter\norch_labels_commits_total %llu\n"
                "# TYPE orch_labels_total counter\norch_labels_total %llu\n",
                (unsigned long long)stats.calls, (unsigned long long)stats.requests, (unsigned long long)stats.rows,
                (unsigned long long)stats.bytes, (unsigned long long)stats.failures, stats.waiting_bytes,
                lane.waiting + lane.running, (unsigned long long)labels.calls, (unsigned long long)labels.rows);
}

/* ---- bodies ---- */

static void answer_busy(struct http_request *req, const char *why) {
  http_reply_header(req, "Retry-After", "1");
  http_problem(req, 503, "busy", why, "send it again in a moment, with the same Idempotency-Key");
}

/* A body as lines: the request's own, or what it unpacks to. */
struct body {
  const char *at;
  size_t len;
  bool packed;            /* by gzip, and not unpacked yet */
  struct strbuf unpacked; /* counted in observing->bytes */
};

/* False: answered. */
static bool take_body(struct http_request *req, const struct observing *observing, struct body *ret) {
  static const char *const words[] = {"application/x-ndjson", "application/ndjson", "application/jsonl",
                                      "application/json", NULL};
  const char *coding = http_header(req, "Content-Encoding");
  *ret = (struct body){.at = req->body, .len = req->body_len};
  strbuf_init(&ret->unpacked, OBSERVE_BODY_MAX);
  if (!route_type_is(req, words, "send one JSON object a line, with Content-Type: application/x-ndjson")) return false;
  bool said = coding && strcasecmp(coding, "identity") != 0;
  if (!said && req->body_len >= 2 && memcmp(req->body, "\x1f\x8b", 2) == 0) {
    http_problem(req, 415, "media_type", "the body is packed by gzip, and no Content-Encoding says so",
                 "send Content-Encoding: gzip with it");
    return false;
  }
  if (!said) return true;
  if (strcasecmp(coding, "gzip") != 0 && strcasecmp(coding, "x-gzip") != 0) {
    http_problem(req, 415, "media_type", "this Content-Encoding is not taken here", "gzip is, or none");
    return false;
  }
  if (observing->bytes > WORK_BYTES_MAX) {
    answer_busy(req, "too many bodies are in work");
    return false;
  }
  ret->packed = true;
  return true;
}

/* In a thread. */
static bool body_unpack(struct body *body, struct err *err) {
  if (!body->packed) return true;
  body->packed = false;
  if (!gunzip(body->at, body->len, &body->unpacked, err)) return false;
  body->at = strbuf_text(&body->unpacked);
  body->len = body->unpacked.len;
  return true;
}

/* What a packed body unpacks to is not known before. */
static bool body_is_short(const struct body *body) {
  return !body->packed && body->len <= BODY_SHORT_BYTES;
}

/* Not one line was taken: nothing was stored, and the answer says why line by line. */
static void answer_no_lines(struct http_request *req, const struct observe_batch *batch, const char *what) {
  struct strbuf out;
  if (batch->rejected == 0) {
    http_problem(req, 422, "invalid", "the body has no lines", "send one JSON object a line");
    return;
  }
  strbuf_init(&out, ANSWER_MAX);
  strbuf_puts(&out, "{\"type\":\"urn:orch:problem:invalid\",\"title\":\"Unprocessable Content\",\"status\":422,");
  strbuf_printf(&out,
                "\"detail\":\"none of the lines is a %s\",\"hint\":\"each line is one JSON object, whole on its "
                "line: %s\",\"accepted\":0,",
                what,
                strcmp(what, "row") == 0 ? "{\\\"income\\\": 3.2, \\\"city\\\": \\\"Austin\\\"}"
                                         : "{\\\"id\\\": \\\"r-17\\\", \\\"label\\\": 1}");
  observe_add_rejected(batch, &out);
  strbuf_putc(&out, '}');
  http_reply(req, 422, "application/problem+json", strbuf_text(&out), out.len);
  strbuf_fini(&out);
}

/* ---- POST /v1/pipelines/{p}/observations ---- */

struct rows {
  struct http_request *req;
  struct serve *serve;
  struct db_request request; /* for the plan */
  struct observe_plan *plan;
  struct body body;
  size_t counted; /* of observing->bytes */
  struct observe_batch batch;
  struct appending appending;
  bool again; /* read by a second plan */
  struct body_work work;
  bool fine; /* what came of reading, else `err` */
  struct err err;
};

static void rows_free(struct rows *r) {
  r->serve->observing->bytes -= r->counted;
  observe_fini(&r->batch);
  strbuf_fini(&r->body.unpacked);
  observe_plan_unref(r->plan);
  mem_free(r);
}

static void rows_fail(struct rows *r, const struct err *err) {
  http_problem_err(r->req, err);
  rows_free(r);
}

static void rows_answer(struct rows *r, const struct observe_sent *sent) {
  struct strbuf out;
  strbuf_init(&out, ANSWER_MAX);
  strbuf_printf(&out, "{\"accepted\":%d,\"first_row\":%lld,%s", r->batch.rows, (long long)sent->first_row,
                sent->repeated ? "\"repeated\":true," : "");
  if (r->batch.times_unread) strbuf_printf(&out, "\"times_unread\":%d,", r->batch.times_unread);
  observe_add_rejected(&r->batch, &out);
  strbuf_putc(&out, '}');
  http_reply_json(r->req, 202, strbuf_text(&out));
  strbuf_fini(&out);
  rows_free(r);
}

static void rows_plan(struct rows *r);

static void rows_done(void *arg, const struct observe_sent *sent, const struct err *err) {
  struct rows *r = arg;
  if (!err) return rows_answer(r, sent);
  if (err->code != ERR_CONFLICT || r->again) return rows_fail(r, err);
  r->again = true;
  observe_plans_drop(r->serve->observing->plans, r->req->params[0]);
  observe_plan_unref(r->plan);
  r->plan = NULL;
  observe_fini(&r->batch);
  rows_plan(r);
}

static void rows_read(void *arg) {
  struct rows *r = arg;
  r->fine = body_unpack(&r->body, &r->err) && observe_parse(&r->batch, r->plan, r->body.at, r->body.len, &r->err);
}

static void rows_were_read(void *arg) {
  struct rows *r = arg;
  struct observing *observing = r->serve->observing;
  observing->bytes += r->body.unpacked.len - r->counted;
  r->counted = r->body.unpacked.len;
  if (!r->fine) return rows_fail(r, &r->err);
  if (r->batch.rows == 0) {
    answer_no_lines(r->req, &r->batch, "row");
    return rows_free(r);
  }
  r->appending = (struct appending){.item = {.pipeline = r->req->params[0],
                                             .key = http_idempotency_key(r->req),
                                             .revision = r->plan->revision,
                                             .batch = &r->batch},
                                    .done = rows_done,
                                    .arg = r};
  if (appender_add(observing->appender, &r->appending, &r->err)) return;
  answer_busy(r->req, r->err.text);
  rows_free(r);
}

/* The plan is there. In a thread its parser must be nobody else's. */
static void rows_judge(struct rows *r) {
  bool is_short = body_is_short(&r->body);
  if (!is_short) {
    struct observe_plan *own = observe_plan_copy(r->plan);
    observe_plan_unref(r->plan);
    r->plan = own;
  }
  r->work = (struct body_work){.work = rows_read, .done = rows_were_read, .arg = r};
  body_lane_run(r->serve->observing->lane, &r->work, is_short);
}

static void rows_planned(void *arg, struct db_result *result, const struct err *err) {
  struct rows *r = arg;
  struct err own = {0};
  if (err) return rows_fail(r, err);
  r->plan = observe_plan_new(db_get_document(result), &own);
  if (!r->plan) return rows_fail(r, &own);
  observe_plans_put(r->serve->observing->plans, r->req->params[0], r->plan);
  rows_judge(r);
}

static void rows_plan(struct rows *r) {
  r->plan = observe_plans_find(r->serve->observing->plans, r->req->params[0]);
  if (r->plan) return rows_judge(r);
  struct db_value values[] = {db_text(r->req->params[0])};
  r->request = (struct db_request){.timeout_ms = CALL_MS, .repeatable = true};
  db_query(r->serve->db, &r->request, OBSERVE_PLAN_SQL, ARRAY_LEN(values), values, rows_planned, r);
}

static void on_observations(struct http_request *req, void *ctx) {
  struct serve *serve = ctx;
  MAGIC_CHECK(serve, SERVE_MAGIC);
  struct rows *r = mem_alloc(sizeof *r);
  r->req = req;
  r->serve = serve;
  if (!take_body(req, serve->observing, &r->body)) {
    mem_free(r);
    return;
  }
  rows_plan(r);
}

/* ---- POST /v1/pipelines/{p}/labels ---- */

struct labels {
  struct http_request *req;
  struct serve *serve;
  struct body body;
  struct observe_labels labels;
  struct appending appending;
  struct body_work work;
  bool fine; /* what came of reading, else `err` */
  struct err err;
};

static void labels_free(struct labels *l) {
  observe_labels_fini(&l->labels);
  strbuf_fini(&l->body.unpacked);
  mem_free(l);
}

static void labels_done(void *arg, const struct observe_sent *sent, const struct err *err) {
  struct labels *l = arg;
  if (err) {
    http_problem_err(l->req, err);
    return labels_free(l);
  }
  struct strbuf out;
  strbuf_init(&out, ANSWER_MAX);
  strbuf_printf(&out, "{\"accepted\":%d,\"joined\":%lld,\"waiting\":%lld,\"known\":%lld,%s", l->labels.batch.rows,
                (long long)sent->joined, (long long)sent->waiting, (long long)sent->known,
                sent->repeated ? "\"repeated\":true," : "");
  observe_add_rejected(&l->labels.batch, &out);
  strbuf_putc(&out, '}');
  http_reply_json(l->req, 202, strbuf_text(&out));
  strbuf_fini(&out);
  labels_free(l);
}

/* In a thread. What was unpacked is not needed any more: the arrays are copies. */
static void labels_read(void *arg) {
  struct labels *l = arg;
  l->fine = body_unpack(&l->body, &l->err) && observe_labels_parse(&l->labels, l->body.at, l->body.len, &l->err);
  strbuf_fini(&l->body.unpacked);
}

static void labels_were_read(void *arg) {
  struct labels *l = arg;
  if (!l->fine || l->labels.batch.rows == 0) {
    if (l->fine)
      answer_no_lines(l->req, &l->labels.batch, "label");
    else
      http_problem_err(l->req, &l->err);
    return labels_free(l);
  }
  l->appending = (struct appending){
      .item = {.pipeline = l->req->params[0], .key = http_idempotency_key(l->req), .labels = &l->labels},
      .done = labels_done,
      .arg = l};
  if (appender_add(l->serve->observing->labels, &l->appending, &l->err)) return;
  answer_busy(l->req, l->err.text);
  labels_free(l);
}

static void on_labels(struct http_request *req, void *ctx) {
  struct serve *serve = ctx;
  MAGIC_CHECK(serve, SERVE_MAGIC);
  struct labels *l = mem_alloc(sizeof *l);
  l->req = req;
  l->serve = serve;
  if (!take_body(req, serve->observing, &l->body)) {
    mem_free(l);
    return;
  }
  l->work = (struct body_work){.work = labels_read, .done = labels_were_read, .arg = l};
  body_lane_run(serve->observing->lane, &l->work, body_is_short(&l->body));
}

const struct http_route routes_observe[] = {
    {"POST", "/v1/pipelines/{p}/observations", "observe", OBSERVE_BODY_MAX, on_observations, 0,
     "Rows a live model saw, as NDJSON, also gzip; 202 once they are durable, with the lines that were refused"},
    {"POST", "/v1/pipelines/{p}/labels", "observe", OBSERVE_BODY_MAX, on_labels, 0,
     "What was true, as NDJSON {\"id\", \"label\", \"at\"?}; joins the rows with these ids, before or after they come"},
    ROUTES_END,
};
