/* The outbox: brings queued events to Slack and to webhooks, each at least once, in order per gate and endpoint.
 *
 * Rows are claimed with a lease on wake-up and on a jittered poll; the order and the waiting between tries are the
 * database's (orch.outbox_claim, orch.outbox_retry). A crash between sending and settling sends once more: a webhook
 * keeps its id, and a second chat message carries the same ticket as the first. */
#ifndef ORCH_CHAT_OUTBOX_H
#define ORCH_CHAT_OUTBOX_H

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "io/db.h"
#include "io/fetch.h"

struct outbox;

struct outbox_options {
  struct db *db;       /* must outlive the outbox, as must fetch */
  struct fetch *fetch; /* with fetch_address_is_public as its policy */
  /* What browsers call this server, without a slash at the end: events then say where their page is. May be NULL;
   * copied. */
  const char *public_url;
  const char *owner;    /* who holds the leases, e.g. "host:pid"; copied */
  unsigned concurrency; /* deliveries at once; 0 = 8 */
  int64_t poll_ms;      /* 0 = 5 000, plus or minus a quarter */
  int64_t lease_ms;     /* 0 = 30 000; at least three times a time-out of 10 s */
};

/* Starts polling. Never fails: what is not configured well is said by the rows that need it. */
struct outbox *outbox_new(uv_loop_t *loop, const struct outbox_options *options);
/* There may be work: on NOTIFY orch_serve. Cheap, may be called at any time. */
void outbox_wake(struct outbox *outbox);
/* Claims no more. What is on its way may finish; outbox_in_flight() tells. */
void outbox_stop(struct outbox *outbox);
unsigned outbox_in_flight(const struct outbox *outbox);
/* Aborts what is on its way (its lease runs out and it is sent again), calls `closed` (may be NULL) and frees. */
void outbox_free(struct outbox *outbox, void (*closed)(void *arg), void *arg);
/* Prometheus text: deliveries by channel and outcome, deliveries in flight. */
void outbox_metrics(const struct outbox *outbox, struct strbuf *out);

#endif
