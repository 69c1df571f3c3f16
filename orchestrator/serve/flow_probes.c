/* Monitors that ask other systems, as a flow: poked by wake-ups and by a timer. */
#include "base/clock.h"
#include "serve/flows.h"
#include "trigger/probes.h"

#define FLOW_PROBES_MAGIC 0x50524f42u
#define FLOW_PROBES_MS 1000

struct flow_probes {
  uint32_t magic;
  struct fetch *fetch;
  struct probes *probes;
  uv_timer_t timer;
  void (*stopped)(void *arg);
  void *arg;
};

static void on_timer(uv_timer_t *timer) {
  struct flow_probes *flow = timer->data;
  MAGIC_CHECK(flow, FLOW_PROBES_MAGIC);
  probes_poke(flow->probes);
  uv_timer_start(timer, on_timer, (uint64_t)clock_jitter_ms(FLOW_PROBES_MS, 0.2), 0);
}

static void *start(struct serve *serve) {
  struct flow_probes *flow = mem_alloc(sizeof(*flow));
  *flow = (struct flow_probes){.magic = FLOW_PROBES_MAGIC};
  flow->fetch = fetch_new(serve->loop, &(struct fetch_options){.policy = fetch_address_is_public});
  flow->probes = probes_new(serve->loop, serve->db, flow->fetch, serve->owner);
  uv_timer_init(serve->loop, &flow->timer);
  flow->timer.data = flow;
  uv_timer_start(&flow->timer, on_timer, 1, 0);
  return flow;
}

static void wake(void *self) {
  struct flow_probes *flow = self;
  MAGIC_CHECK(flow, FLOW_PROBES_MAGIC);
  probes_poke(flow->probes);
}

static void on_timer_closed(uv_handle_t *handle) {
  struct flow_probes *flow = handle->data;
  MAGIC_CHECK(flow, FLOW_PROBES_MAGIC);
  void (*stopped)(void *arg) = flow->stopped;
  void *arg = flow->arg;
  flow->magic = 0;
  mem_free(flow);
  stopped(arg);
}

static void on_fetch_closed(void *arg) {
  struct flow_probes *flow = arg;
  MAGIC_CHECK(flow, FLOW_PROBES_MAGIC);
  uv_close((uv_handle_t *)&flow->timer, on_timer_closed);
}

static void on_probes_closed(void *arg) {
  struct flow_probes *flow = arg;
  MAGIC_CHECK(flow, FLOW_PROBES_MAGIC);
  fetch_free(flow->fetch, on_fetch_closed, flow);
}

static void stop(void *self, void (*stopped)(void *arg), void *arg) {
  struct flow_probes *flow = self;
  MAGIC_CHECK(flow, FLOW_PROBES_MAGIC);
  flow->stopped = stopped;
  flow->arg = arg;
  uv_timer_stop(&flow->timer);
  struct probes *probes = flow->probes;
  flow->probes = NULL;
  probes_free(probes, on_probes_closed, flow);
}

static void metrics(const void *self, struct strbuf *out) {
  const struct flow_probes *flow = self;
  struct probes_stats stats = {0};
  if (flow->probes) probes_get_stats(flow->probes, &stats);
  strbuf_printf(out,
                "# TYPE orch_probes_looks_total counter\norch_probes_looks_total %llu\n"
                "# TYPE orch_probes_failures_total counter\norch_probes_failures_total %llu\n"
                "# TYPE orch_probes_lost_total counter\norch_probes_lost_total %llu\n"
                "# TYPE orch_probes_in_flight gauge\norch_probes_in_flight %u\n",
                (unsigned long long)stats.looks, (unsigned long long)stats.failures, (unsigned long long)stats.lost,
                stats.in_flight);
}

const struct flow flow_probes = {"probes", 0, start, wake, stop, metrics};
