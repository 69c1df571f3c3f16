/* The inside of a server, shared by serve.c and the routes of operations. */
#ifndef ORCH_SERVE_SERVE_PRIVATE_H
#define ORCH_SERVE_SERVE_PRIVATE_H

#include "io/db_listen.h"
#include "serve/flows.h"
#include "serve/metrics.h"
#include "serve/serve.h"

struct serve_own {
  struct serve serve;
  uv_loop_t loop;
  uv_signal_t on_term, on_int;
  uv_timer_t ready_timer; /* until the schema is there */
  uv_timer_t bound_timer; /* of a stop */
  struct db_listen *listen;
  struct metrics *metrics;
  void *flows[FLOWS_MAX];
  bool flows_started, asking, overrun;
  unsigned open;       /* parts that have not stopped yet */
  unsigned reports;    /* of "not ready", to log each reason once */
  char not_ready[512]; /* why; empty when it is */
};

/* Work outside the loop: a stop waits for it, within its bound. */
void serve_hold(struct serve *serve);
void serve_release(struct serve *serve);
void serve_flow_metrics(const struct serve *serve, struct strbuf *out);

#endif
