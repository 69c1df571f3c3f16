/* Labels as they come in: NDJSON, {"id": "r-17", "label": 0.5, "at": "2026-01-05T09:00:00Z"} a line, judged as rows
 * are.
 *
 * `label` is a number, a text or a boolean; `at` (RFC 3339), when the truth was known, may be absent. Other keys are
 * left alone. Pure: no I/O. */
#ifndef ORCH_TRIGGER_OBSERVE_LABELS_H
#define ORCH_TRIGGER_OBSERVE_LABELS_H

#include "io/db.h"
#include "trigger/observe.h"

#define OBSERVE_LABELS_MAX 100000 /* of one request */
#define OBSERVE_LABELS_SQL "select orch.labels_append($1, $2, $3, $4, $5)"
#define OBSERVE_LABELS_VALUES 5

struct observe_labels {
  struct observe_batch batch;    /* `rows` and what was refused; no lines */
  struct strbuf ids, labels, at; /* array literals, complete */
};

/* ERR_LIMIT for a body that is too long or has too many labels. observe_labels_fini() in any case. */
bool observe_labels_parse(struct observe_labels *labels, const char *body, size_t len, struct err *err) ORCH_MUST_CHECK;
void observe_labels_fini(struct observe_labels *labels);
/* The parameters of OBSERVE_LABELS_SQL; they point into `labels`. */
void observe_labels_values(const struct observe_labels *labels, const char *pipeline, const char *key,
                           struct db_value values[OBSERVE_LABELS_VALUES]);

#endif
