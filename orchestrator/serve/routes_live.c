/* GET /v1/pipelines/{p}/live: what a service asks often. An unchanged answer is 304; with ?wait= it comes once there is
 * a change, or when the time is over. */
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/units.h"
#include "serve/routes.h"

#define LIVE_MAGIC 0x4c495645u
#define LIVE_WAIT_MAX_MS 25000 /* below the time that a handler has */
#define LIVE_LOOK_MS 1000
#define LIVE_WAITING_MAX 64
#define LIVE_ETAG_SIZE 35

struct live {
  uint32_t magic;
  struct serve *serve;
  struct http_request *req;
  struct db_request request;
  uv_timer_t timer;
  int64_t until_us; /* monotonic; 0: does not wait */
};

static unsigned waiting; /* the loop's thread only */

static void ask(struct live *live);

static void on_closed(uv_handle_t *handle) {
  struct live *live = handle->data;
  MAGIC_CHECK(live, LIVE_MAGIC);
  if (live->until_us > 0) waiting--;
  live->magic = 0;
  mem_free(live);
}

static void on_look(uv_timer_t *timer) {
  struct live *live = timer->data;
  MAGIC_CHECK(live, LIVE_MAGIC);
  if (!live->serve->stopping) {
    ask(live);
    return;
  }
  http_reply_empty(live->req, 304); /* nothing has changed as far as we know; the client asks another server */
  uv_close((uv_handle_t *)timer, on_closed);
}

static void make_etag(const char *document, char etag[LIVE_ETAG_SIZE]) {
  uint8_t digest[DIGEST_BYTES];
  digest_bytes(document, strlen(document), digest);
  etag[0] = '"';
  digest_hex(digest, 16, etag + 1);
  etag[33] = '"';
  etag[34] = 0;
}

static void on_answer(void *arg, struct db_result *result, const struct err *err) {
  struct live *live = arg;
  MAGIC_CHECK(live, LIVE_MAGIC);
  const char *document = result ? db_get_document(result) : NULL;
  const char *have = http_header(live->req, "If-None-Match");
  char etag[LIVE_ETAG_SIZE] = "";
  if (document) make_etag(document, etag);
  bool same = document && have && strstr(have, etag);
  if (same && clock_mono_us() < live->until_us && !live->serve->stopping) {
    uv_timer_start(&live->timer, on_look, (uint64_t)clock_jitter_ms(LIVE_LOOK_MS, 0.2), 0);
    return;
  }
  if (err) {
    http_problem_err(live->req, err);
  } else if (!document) {
    http_problem(live->req, 404, "not_found", "no pipeline has this name", NULL);
  } else {
    http_reply_header(live->req, "ETag", etag);
    http_reply_header(live->req, "Cache-Control", "no-cache");
    if (same)
      http_reply_empty(live->req, 304);
    else
      http_reply_json(live->req, 200, document);
  }
  uv_close((uv_handle_t *)&live->timer, on_closed);
}

static void ask(struct live *live) {
  struct db_value values[] = {db_text(live->req->params[0])};
  live->request = (struct db_request){.timeout_ms = 4000, .repeatable = true};
  db_query(live->serve->db, &live->request, "select orch.pipeline_live($1)", ARRAY_LEN(values), values, on_answer,
           live);
}

static void on_live(struct http_request *req, void *ctx) {
  struct serve *serve = ctx;
  MAGIC_CHECK(serve, SERVE_MAGIC);
  const char *wait = http_query(req, "wait");
  int64_t wait_ms = 0;
  if (wait && (!units_parse_duration_ms(wait, &wait_ms) || wait_ms > LIVE_WAIT_MAX_MS)) {
    http_problem(req, 400, "usage", "the parameter 'wait' must be a time of at most 25s", "write ?wait=20s");
    return;
  }
  if (waiting >= LIVE_WAITING_MAX) wait_ms = 0; /* rather an early answer than none */
  struct live *live = mem_alloc(sizeof(*live));
  live->magic = LIVE_MAGIC;
  live->serve = serve;
  live->req = req;
  uv_timer_init(serve->loop, &live->timer);
  live->timer.data = live;
  if (wait_ms > 0) {
    live->until_us = clock_mono_us() + wait_ms * 1000;
    waiting++;
  }
  ask(live);
}

const struct http_route routes_live[] = {
    {"GET", "/v1/pipelines/{p}/live", "read", 0, on_live, 0, "The champion; with ETag, and ?wait=20s for a change"},
    ROUTES_END,
};
