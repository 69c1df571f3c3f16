/* Numbers for Prometheus (text format 0.0.4): of this process and, cached for some seconds, of the database.
 *
 * The database's numbers are one document of orch.api_metrics(): every number in it becomes a gauge named after its
 * keys, "orch_queue_queued"; keys that end in _ms become seconds. */
#ifndef ORCH_SERVE_METRICS_H
#define ORCH_SERVE_METRICS_H

#include "base/strbuf.h"
#include "serve/serve.h"

struct metrics;
struct metrics *metrics_new(struct serve *serve);
/* Answers a scrape, now or when the database has answered. */
void metrics_answer(struct metrics *metrics, struct http_request *req);
/* Answers whoever waits; `stopped` when it is gone. */
void metrics_stop(struct metrics *metrics, void (*stopped)(void *arg), void *arg);

/* The document as gauges; pure. Texts and nulls are left out; at most 500 lines. */
void metrics_flatten(const char *document, struct strbuf *out);

#endif
