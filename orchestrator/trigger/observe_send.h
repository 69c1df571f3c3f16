/* The call that stores rows of one or many requests: orch.observations_append_many(), its parameters and its answers.
 */
#ifndef ORCH_TRIGGER_OBSERVE_SEND_H
#define ORCH_TRIGGER_OBSERVE_SEND_H

#include <jansson.h>

#include "io/db.h"
#include "trigger/observe_labels.h"

#define OBSERVE_SEND_SQL "select orch.observations_append_many($1::jsonb, $2, $3, $4, $5, $6, $7, $8, $9)"
#define OBSERVE_SEND_VALUES 9
#define OBSERVE_SEND_ITEMS 500                       /* requests of one call */
#define OBSERVE_SEND_BYTES ((size_t)8 * 1024 * 1024) /* of one call, unless it is a single request */

#define OBSERVE_SEND_LABELS_SQL "select orch.labels_append_many($1::jsonb, $2, $3, $4)"
#define OBSERVE_SEND_LABELS_VALUES 4

/* One request's rows, or its labels. What it points to must stay until they were sent. */
struct observe_item {
  const char *pipeline;
  const char *key;                   /* the idempotency key; NULL for none */
  int64_t revision;                  /* of the plan that the rows were read by */
  const struct observe_batch *batch; /* rows */
  const struct observe_labels *labels;
};

/* Where the parameters are built: the same for one call after another, all zero before the first. */
struct observe_send {
  struct strbuf items, body, item, row, id, at, version, prediction, score;
};

/* Builds the parameters. Items of one pipeline should stand side by side: their rows become one batch. `values` point
 * into `send` and the first item's batch: both stay until the call was answered. */
void observe_send_fill(struct observe_send *send, const struct observe_item *const *items, size_t n,
                       struct db_value values[OBSERVE_SEND_VALUES]);
/* The same for requests with labels. */
void observe_send_fill_labels(struct observe_send *send, const struct observe_item *const *items, size_t n,
                              struct db_value values[OBSERVE_SEND_LABELS_VALUES]);
/* What the buffers hold on to. */
size_t observe_send_bytes(const struct observe_send *send);
void observe_send_fini(struct observe_send *send);

struct observe_sent {
  int64_t first_row;              /* of rows */
  int64_t joined, waiting, known; /* of labels */
  bool repeated;                  /* the key was seen before: nothing was stored now */
};
/* One item's answer out of the call's. False: this item was refused. */
bool observe_sent_read(const json_t *answers, size_t index, struct observe_sent *ret, struct err *err) ORCH_MUST_CHECK;

#endif
