/* What runs beside HTTP in a server: each flow is started once the database has this binary's schema, woken by NOTIFY,
 * and stopped gracefully. Adding one is a line in flows.c. */
#ifndef ORCH_SERVE_FLOWS_H
#define ORCH_SERVE_FLOWS_H

#include "base/strbuf.h"
#include "serve/serve.h"

/* What NOTIFY tells: "event" (something happened: messages, deployments, duties), "rows" (a window may be full), or
 * anything else, which wakes everybody. A server takes hundreds of decisions a second, and each of them looking
 * for windows that it cannot have filled is a good part of its cost. */
enum { WAKE_EVENT = 1, WAKE_ROWS = 2, WAKE_EVERYBODY = 255 };

struct flow {
  const char *name;
  unsigned wakes_on;                                               /* WAKE_…; each flow also looks by its own timer */
  void *(*start)(struct serve *serve);                             /* NULL: not in this server */
  void (*wake)(void *self);                                        /* a hint that something may be due */
  void (*stop)(void *self, void (*stopped)(void *arg), void *arg); /* gives leases back, frees itself */
  void (*metrics)(const void *self, struct strbuf *out);           /* may be NULL */
};
extern const struct flow *const flows[]; /* ends with NULL */
#define FLOWS_MAX 8

extern const struct flow flow_duties;
extern const struct flow flow_windows;
extern const struct flow flow_probes;
extern const struct flow flow_chat;
extern const struct flow flow_deploy;

#endif
