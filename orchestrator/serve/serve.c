#include "serve/serve.h"

#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "pages/pages.h"
#include "serve/auth.h"
#include "serve/observing.h"
#include "serve/ready.h"
#include "serve/routes.h"
#include "serve/serve_private.h"

#define SERVE_GRACE_MS 10000
#define SERVE_BOUND_MS 5000 /* after the grace, for everything else to close */
#define SERVE_READY_MS 1000

void serve_flow_metrics(const struct serve *serve, struct strbuf *out) {
  for (size_t i = 0; flows[i]; i++)
    if (serve->own->flows[i] && flows[i]->metrics) flows[i]->metrics(serve->own->flows[i], out);
  observing_metrics(serve->observing, out);
  if (serve->own->listen)
    strbuf_printf(out,
                  "# HELP orch_notify_active 1 while wake-ups arrive, 0 while only polling.\n"
                  "# TYPE orch_notify_active gauge\norch_notify_active %d\n",
                  db_listen_get_state(serve->own->listen) == DB_LISTEN_ACTIVE);
}

/* ---- getting ready ---- */

static void on_notified(void *arg, const char *channel, const char *payload) {
  struct serve_own *own = arg;
  unsigned what = strcmp(payload, "event") == 0  ? WAKE_EVENT
                  : strcmp(payload, "rows") == 0 ? WAKE_ROWS
                                                 : WAKE_EVERYBODY;
  (void)channel;
  if (own->serve.stopping) return;
  for (size_t i = 0; flows[i]; i++)
    if (own->flows[i] && ((flows[i]->wakes_on & what) || what == WAKE_EVERYBODY)) flows[i]->wake(own->flows[i]);
}

static void on_listen_state(void *arg, enum db_listen_state state) {
  (void)arg;
  log_event(LOG_INFO, "serve.wake_ups", LOG_S("state", db_listen_state_name(state)));
}

static void start_flows(struct serve_own *own) {
  own->flows_started = true;
  for (size_t i = 0; flows[i]; i++) {
    ORCH_ASSERT(i < FLOWS_MAX);
    own->flows[i] = flows[i]->start(&own->serve);
    if (own->flows[i]) own->open++;
  }
  struct db_listen_options options = {.url = own->serve.options.database_url,
                                      .name = "orch serve listen",
                                      .db = own->serve.db,
                                      .channels = {"orch_serve"},
                                      .notified = on_notified,
                                      .state_changed = on_listen_state,
                                      .arg = own};
  own->listen = db_listen_new(&own->loop, &options);
  own->open++;
}

static void on_ready_timer(uv_timer_t *timer);

static void on_ready_known(void *arg, const struct err *err) {
  struct serve_own *own = arg;
  own->asking = false;
  if (own->serve.stopping) return;
  if (!err) {
    log_event(LOG_INFO, "serve.ready");
    start_flows(own);
    return;
  }
  if (strcmp(own->not_ready, err->text) != 0) { /* each reason once */
    snprintf(own->not_ready, sizeof(own->not_ready), "%s", err->text);
    log_event(LOG_WARN, "serve.not_ready", LOG_S("why", err->text), LOG_S("hint", err->hint));
  }
  uv_timer_start(&own->ready_timer, on_ready_timer, (uint64_t)clock_jitter_ms(SERVE_READY_MS, 0.2), 0);
}

static void on_ready_timer(uv_timer_t *timer) {
  struct serve_own *own = timer->data;
  own->asking = true;
  ready_ask(&own->serve, on_ready_known, own);
}

/* ---- stopping: HTTP, then what works on leases, then the database, then the rest ---- */

static void on_closed(uv_handle_t *handle) {
  (void)handle;
}

static void on_db_closed(void *arg) {
  struct serve_own *own = arg;
  own->serve.db = NULL;
  observing_free(own->serve.observing);
  own->serve.observing = NULL;
  http_server_free(own->serve.http);
  own->serve.http = NULL;
  uv_handle_t *handles[] = {(uv_handle_t *)&own->on_term, (uv_handle_t *)&own->on_int, (uv_handle_t *)&own->ready_timer,
                            (uv_handle_t *)&own->bound_timer};
  for (size_t i = 0; i < ARRAY_LEN(handles); i++) uv_close(handles[i], on_closed);
}

static void on_part_stopped(void *arg) {
  struct serve_own *own = arg;
  ORCH_ASSERT(own->open > 0);
  if (--own->open == 0 && own->serve.stopping) db_free(own->serve.db, on_db_closed, own);
}

void serve_hold(struct serve *serve) {
  serve->own->open++;
}

void serve_release(struct serve *serve) {
  on_part_stopped(serve->own);
}

static void on_http_stopped(void *arg) {
  struct serve_own *own = arg;
  if (own->metrics) metrics_stop(own->metrics, on_part_stopped, own);
  own->metrics = NULL;
  if (own->listen) db_listen_free(own->listen, on_part_stopped, own);
  own->listen = NULL;
  on_part_stopped(own);
}

static void on_overrun(uv_timer_t *timer) {
  struct serve_own *own = timer->data;
  own->overrun = true;
  log_event(LOG_ERROR, "serve.stop_overrun", LOG_I("open_parts", own->open));
  uv_stop(&own->loop);
}

static void stop(struct serve_own *own, const char *why) {
  if (own->serve.stopping) return;
  own->serve.stopping = true;
  log_event(LOG_INFO, "serve.stopping", LOG_S("why", why));
  uv_timer_start(&own->bound_timer, on_overrun, own->serve.options.grace_ms + SERVE_BOUND_MS, 0);
  uv_timer_stop(&own->ready_timer);
  own->open += 2; /* HTTP and metrics; flows and the listener have counted themselves */
  for (size_t i = 0; flows[i]; i++) {
    void *flow = own->flows[i];
    own->flows[i] = NULL;
    if (flow) flows[i]->stop(flow, on_part_stopped, own);
  }
  http_server_stop(own->serve.http, own->serve.options.grace_ms, on_http_stopped, own);
}

static void on_signal(uv_signal_t *handle, int number) {
  stop(handle->data, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* ---- starting ---- */

static char *make_owner(void) {
  char host[128] = "?";
  (void)gethostname(host, sizeof(host) - 1);
  return mem_printf("serve:%s:%d:%08x", host, (int)getpid(), (unsigned)clock_random_u64());
}

static void add_routes(struct serve_own *own) {
#define R(name) routes_##name,
  const struct http_route *const tables[] = {ROUTES(R)};
#undef R
  for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
    size_t count = 0;
    while (tables[i][count].method) count++;
    http_server_add(own->serve.http, tables[i], count, &own->serve);
  }
}

static void start_handles(struct serve_own *own) {
  uv_signal_init(&own->loop, &own->on_term);
  uv_signal_init(&own->loop, &own->on_int);
  uv_timer_init(&own->loop, &own->ready_timer);
  uv_timer_init(&own->loop, &own->bound_timer);
  own->on_term.data = own->on_int.data = own->ready_timer.data = own->bound_timer.data = own;
  uv_signal_start(&own->on_term, on_signal, SIGTERM);
  uv_signal_start(&own->on_int, on_signal, SIGINT);
  uv_timer_start(&own->ready_timer, on_ready_timer, 0, 0);
}

/* Small memory and memory given back count for more here than the last microsecond of malloc(). */
static void tune_memory(void) {
  (void)mallopt(M_ARENA_MAX, 1);
  (void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
  (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
}

static bool start(struct serve_own *own, const struct serve_options *options, struct err *err) {
  struct http_options http = {
      .listen = options->listen, .authorise = auth_check, .authorise_arg = &own->serve, .error_page = page_error};
  own->serve.magic = SERVE_MAGIC;
  own->serve.own = own;
  own->serve.loop = &own->loop;
  own->serve.options = *options;
  if (!own->serve.options.grace_ms) own->serve.options.grace_ms = SERVE_GRACE_MS;
  own->serve.http = http_server_new(&own->loop, &http, err);
  if (!own->serve.http) return false;
  own->serve.owner = make_owner();
  struct db_options db = {.url = options->database_url,
                          .name = "orch serve",
                          .connections = options->connections,
                          .no_prepared = options->no_prepared};
  own->serve.db = db_new(&own->loop, &db);
  own->serve.observing = observing_new(&own->serve);
  own->metrics = metrics_new(&own->serve);
  add_routes(own);
  start_handles(own);
  return true;
}

bool serve_main(const struct serve_options *options, struct err *err) {
  struct serve_own *own = mem_alloc(sizeof(*own));
  tune_memory();
  (void)signal(SIGPIPE, SIG_IGN);
  int rc = uv_loop_init(&own->loop);
  ORCH_ASSERT(rc == 0);
  if (!start(own, options, err)) {
    (void)uv_run(&own->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&own->loop);
    mem_free(own);
    return false;
  }
  struct strbuf where;
  strbuf_init(&where, 1024);
  db_describe_url(options->database_url, &where);
  log_event(LOG_INFO, "serve.started", LOG_S("address", http_server_address(own->serve.http)),
            LOG_S("database", strbuf_text(&where)), LOG_S("version", ORCH_VERSION), LOG_S("owner", own->serve.owner));
  strbuf_fini(&where);
  (void)uv_run(&own->loop, UV_RUN_DEFAULT);
  if (own->overrun) return err_set(err, ERR_TIMEOUT, "stopping took longer than its bound"); /* the process ends now */
  rc = uv_loop_close(&own->loop);
  ORCH_ASSERT(rc == 0);
  log_event(LOG_INFO, "serve.stopped");
  mem_free(own->serve.owner);
  mem_free(own);
  return true;
}
