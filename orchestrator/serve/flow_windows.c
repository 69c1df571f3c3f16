/* Monitors' windows as a flow: poked by wake-ups and by a timer. */
#include "base/clock.h"
#include "serve/flows.h"
#include "trigger/windows.h"

#define FLOW_WINDOWS_MAGIC 0x57494e44u
#define FLOW_WINDOWS_MS 1000 /* windows by time, and what a promotion made due */

struct flow_windows {
  uint32_t magic;
  struct windows *windows;
  uv_timer_t timer;
  void (*stopped)(void *arg);
  void *arg;
};

static void on_timer(uv_timer_t *timer) {
  struct flow_windows *flow = timer->data;
  MAGIC_CHECK(flow, FLOW_WINDOWS_MAGIC);
  windows_poke(flow->windows);
  uv_timer_start(timer, on_timer, (uint64_t)clock_jitter_ms(FLOW_WINDOWS_MS, 0.2), 0);
}

static void *start(struct serve *serve) {
  struct flow_windows *flow = mem_alloc(sizeof(*flow));
  flow->magic = FLOW_WINDOWS_MAGIC;
  flow->windows = windows_new(serve->loop, serve->db, serve->owner);
  uv_timer_init(serve->loop, &flow->timer);
  flow->timer.data = flow;
  uv_timer_start(&flow->timer, on_timer, 1, 0);
  return flow;
}

static void wake(void *self) {
  struct flow_windows *flow = self;
  MAGIC_CHECK(flow, FLOW_WINDOWS_MAGIC);
  windows_poke(flow->windows);
}

static void on_closed(uv_handle_t *handle) {
  struct flow_windows *flow = handle->data;
  MAGIC_CHECK(flow, FLOW_WINDOWS_MAGIC);
  void (*stopped)(void *arg) = flow->stopped;
  void *arg = flow->arg;
  flow->magic = 0;
  mem_free(flow);
  stopped(arg);
}

static void stop(void *self, void (*stopped)(void *arg), void *arg) {
  struct flow_windows *flow = self;
  MAGIC_CHECK(flow, FLOW_WINDOWS_MAGIC);
  flow->stopped = stopped;
  flow->arg = arg;
  windows_free(flow->windows);
  flow->windows = NULL;
  uv_close((uv_handle_t *)&flow->timer, on_closed);
}

static void metrics(const void *self, struct strbuf *out) {
  const struct flow_windows *flow = self;
  struct windows_stats stats;
  windows_get_stats(flow->windows, &stats);
  strbuf_printf(out,
                "# TYPE orch_windows_closed_total counter\norch_windows_closed_total %llu\n"
                "# TYPE orch_windows_rows_total counter\norch_windows_rows_total %llu\n"
                "# TYPE orch_windows_late_rows_total counter\norch_windows_late_rows_total %llu\n"
                "# TYPE orch_windows_signals_total counter\norch_windows_signals_total %llu\n"
                "# TYPE orch_windows_refused_total counter\norch_windows_refused_total %llu\n"
                "# TYPE orch_windows_failures_total counter\norch_windows_failures_total %llu\n",
                (unsigned long long)stats.closed, (unsigned long long)stats.rows, (unsigned long long)stats.late,
                (unsigned long long)stats.signals, (unsigned long long)stats.refused,
                (unsigned long long)stats.failures);
}

const struct flow flow_windows = {"windows", WAKE_ROWS, start, wake, stop, metrics};
