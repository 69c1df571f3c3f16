/* Chat beside HTTP: the outbox, the state behind the chat routes, and the HTTP client that both talk through. */
#include "base/clock.h"
#include "base/mem.h"
#include "chat/outbox.h"
#include "serve/flows.h"
#include "serve/routes_chat.h"

#define FLOW_CHAT_MAGIC 0x464c4354u
#define TICK_MS 20

struct flow_chat {
  uint32_t magic;
  struct serve *serve;
  struct fetch *fetch;
  struct outbox *outbox;
  struct chat_routes *routes;
  uv_timer_t timer; /* while stopping */
  int64_t deadline_us;
  unsigned open;
  void (*stopped)(void *arg);
  void *arg;
};

static void *start(struct serve *serve) {
  struct flow_chat *flow = mem_alloc(sizeof(*flow));
  *flow = (struct flow_chat){.magic = FLOW_CHAT_MAGIC, .serve = serve};
  ORCH_ASSERT(uv_timer_init(serve->loop, &flow->timer) == 0);
  flow->timer.data = flow;
  flow->fetch = fetch_new(serve->loop, &(struct fetch_options){.policy = fetch_address_is_public});
  flow->outbox = outbox_new(serve->loop, &(struct outbox_options){.db = serve->db,
                                                                  .fetch = flow->fetch,
                                                                  .owner = serve->owner,
                                                                  .public_url = serve->options.public_url});
  flow->routes = chat_routes_new(serve->db, flow->fetch);
  serve->chat = flow->routes;
  return flow;
}

static void wake(void *self) {
  struct flow_chat *flow = self;
  MAGIC_CHECK(flow, FLOW_CHAT_MAGIC);
  outbox_wake(flow->outbox);
}

/* ---- stopping: what is on its way may arrive; then the outbox, then its client, then the rest ---- */

static void on_timer_closed(uv_handle_t *handle) {
  struct flow_chat *flow = handle->data;
  MAGIC_CHECK(flow, FLOW_CHAT_MAGIC);
  void (*stopped)(void *arg) = flow->stopped;
  void *arg = flow->arg;
  flow->magic = 0;
  mem_free(flow);
  stopped(arg);
}

static void on_part_closed(void *arg) {
  struct flow_chat *flow = arg;
  MAGIC_CHECK(flow, FLOW_CHAT_MAGIC);
  if (--flow->open > 0) return;
  chat_routes_free(flow->routes);
  uv_close((uv_handle_t *)&flow->timer, on_timer_closed);
}

static void on_tick(uv_timer_t *timer) {
  struct flow_chat *flow = timer->data;
  MAGIC_CHECK(flow, FLOW_CHAT_MAGIC);
  bool patient = clock_mono_us() < flow->deadline_us;
  /* Callbacks wait for the database, which answers each of them within its own bound, or for a modal of Slack's, which
   * has one too: so they are always waited for. A delivery can be made again. */
  if (chat_routes_busy(flow->routes) > 0 || (patient && outbox_in_flight(flow->outbox) > 0)) return;
  uv_timer_stop(&flow->timer);
  chat_routes_close(flow->routes);
  flow->open = 2;
  outbox_free(flow->outbox, on_part_closed, flow);
  fetch_free(flow->fetch, on_part_closed, flow);
}

static void stop(void *self, void (*stopped)(void *arg), void *arg) {
  struct flow_chat *flow = self;
  MAGIC_CHECK(flow, FLOW_CHAT_MAGIC);
  flow->stopped = stopped;
  flow->arg = arg;
  flow->serve->chat = NULL; /* new callbacks are told to come again */
  flow->deadline_us = clock_mono_us() + (int64_t)flow->serve->options.grace_ms * 1000 / 2;
  outbox_stop(flow->outbox);
  uv_timer_start(&flow->timer, on_tick, 0, TICK_MS);
}

static void metrics(const void *self, struct strbuf *out) {
  const struct flow_chat *flow = self;
  outbox_metrics(flow->outbox, out);
  chat_routes_metrics(flow->routes, out);
}

const struct flow flow_chat = {"chat", WAKE_EVENT, start, wake, stop, metrics};
