/* POST /v1/pipelines/{p}/rollback: the same blocking rollback as the command's, in a thread and on a connection of its
 * own, so that neither the loop nor the pool waits for a driver. */
#include <stdlib.h>

#include "base/log.h"
#include "rollout/rollback.h"
#include "serve/routes.h"
#include "serve/serve_private.h"

#define ROLLBACK_BODY_MAX (64 * 1024)
#define ROLLBACK_AT_ONCE 2 /* uv's threads are few */
#define ROLLBACK_MAGIC 0x524f4c4cu

struct rolling {
  uint32_t magic;
  uv_work_t work;
  struct serve *serve;
  struct http_request *req;
  struct rollback_request request;
  json_t *answer;
  bool ok;
  struct err err;
};

static unsigned at_once; /* the loop's thread only */

static void roll(uv_work_t *work) {
  struct rolling *rolling = work->data;
  const struct serve_options *options = &rolling->serve->options;
  CLEANUP(db_sync_close_p)
  struct db_sync *db = db_sync_open(options->database_url, "orch serve rollback", &rolling->err);
  if (!db) return;
  struct store *store = store_open(options->store, &rolling->err);
  if (!store) return;
  struct rollout_options rollout = {.store = store, .base = options->base};
  rolling->ok = rollback_run(db, &rollout, &rolling->request, &rolling->answer, &rolling->err);
  store_close(store);
}

static void on_rolled(uv_work_t *work, int status) {
  struct rolling *rolling = work->data;
  MAGIC_CHECK(rolling, ROLLBACK_MAGIC);
  struct serve *serve = rolling->serve;
  char *text = rolling->ok && status == 0 ? json_dumps(rolling->answer, JSON_COMPACT) : NULL;
  if (rolling->ok)
    log_event(LOG_INFO, "rollback.done", LOG_S("pipeline", rolling->request.pipeline),
              LOG_S("actor", rolling->request.actor), LOG_S("id", rolling->req->id));
  if (text)
    http_reply_json(rolling->req, 200, text);
  else
    http_problem_err(rolling->req, &rolling->err);
  free(text);
  json_decref(rolling->answer);
  rolling->magic = 0;
  mem_free(rolling);
  at_once--;
  serve_release(serve);
}

/* {"to"?: N, "reason"?: "…", "dry_run"?: true}; texts live in the request's arena. False: answered. */
static bool read_wish(struct http_request *req, struct rollback_request *ret_wish) {
  static const char *const known[] = {"to", "reason", "dry_run", NULL};
  json_t *body = route_body(req);
  if (!body) return false;
  struct rollback_request wish = {.pipeline = req->params[0], .actor = req->principal.actor};
  const json_t *to = json_object_get(body, "to"), *dry_run = json_object_get(body, "dry_run");
  bool good = route_keys(req, body, known) && route_text(req, body, "reason", 2000, NULL, &wish.reason);
  if (good && to && (!json_is_integer(to) || json_integer_value(to) < 1 || json_integer_value(to) > INT32_MAX)) {
    http_problem(req, 422, "invalid", "'to' must be a version's number", NULL);
    good = false;
  } else if (good && dry_run && !json_is_boolean(dry_run)) {
    http_problem(req, 422, "invalid", "'dry_run' must be true or false", NULL);
    good = false;
  }
  wish.to = json_integer_value(to);
  wish.dry_run = json_is_true(dry_run);
  json_decref(body);
  if (good) *ret_wish = wish;
  return good;
}

static void on_rollback(struct http_request *req, void *ctx) {
  struct serve *serve = ctx;
  struct rollback_request wish;
  MAGIC_CHECK(serve, SERVE_MAGIC);
  if (!read_wish(req, &wish)) return;
  if (!serve->options.store || !serve->options.base) {
    http_problem(req, 503, "no_store", "this server has no store to verify artifacts in",
                 "orch rollback does it where one is");
    return;
  }
  if (at_once >= ROLLBACK_AT_ONCE) {
    http_reply_header(req, "Retry-After", "1");
    http_problem(req, 503, "busy", "other rollbacks are under way", "orch rollback needs no server");
    return;
  }
  struct rolling *rolling = mem_alloc(sizeof(*rolling));
  *rolling = (struct rolling){.magic = ROLLBACK_MAGIC, .serve = serve, .req = req, .request = wish};
  rolling->work.data = rolling;
  at_once++;
  serve_hold(serve);
  int rc = uv_queue_work(serve->loop, &rolling->work, roll, on_rolled);
  ORCH_ASSERT(rc == 0);
}

const struct http_route routes_rollback[] = {
    {"POST", "/v1/pipelines/{p}/rollback", "operate", ROLLBACK_BODY_MAX, on_rollback, 0,
     "Return to the last good version at once; {to?, reason?, dry_run?}"},
    ROUTES_END,
};
