/* One look of a monitor that asks another system: an answer in, a result document, its memory and signals out. Pure: no
 * I/O.
 *
 * An answer is a list of named numbers: the series of a Prometheus query, or the rows of a warehouse's. The condition
 * `above` or `below` holds when it holds for any of them; when it has held for `for_ms` the monitor fires, and the
 * first answer in which it does not hold resolves it. An answer without a usable number (no series, NaN, NULL) says
 * nothing: the monitor stays as it was. So does a look that failed; after PROBE_PATIENCE failures in a row people are
 * told.
 *
 * Result: {"monitor", "kind", "from_at", "to_at", "rows", "verdict": ok|alarm|insufficient, "summary", "value" (the
 * worst one), "threshold", "since_at"?, "series": [{"name", "value", "beyond"}] (the worst first, at most
 * PROBE_SHOWN)}. Memory: {"beyond_since"?, "firing"?, "episode"?, "failures"?, "failing_since"?}. Signals: source
 * "monitor:NAME", kind "alert", fingerprint "NAME/alert", and "NAME/unreachable" (told to people only). */
#ifndef ORCH_TRIGGER_PROBE_EVAL_H
#define ORCH_TRIGGER_PROBE_EVAL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PROBE_SERIES_MAX 1000 /* numbers of one answer */
#define PROBE_NAME_MAX 200    /* bytes of a series' name; longer ones are cut at a character */
#define PROBE_SHOWN 20
#define PROBE_PATIENCE 5

struct probe_number {
  char name[PROBE_NAME_MAX + 1]; /* "" when there is only one */
  double value;                  /* may be NaN or infinite */
};
struct probe_answer {
  size_t n;
  struct probe_number *numbers; /* PROBE_SERIES_MAX of them */
  char warning[200];            /* what the other system remarked; usually empty */
};
void probe_answer_init(struct probe_answer *answer);
void probe_answer_fini(struct probe_answer *answer);
/* False with ERR_LIMIT when there is no more room. `name` is cut and control characters in it are replaced. */
bool probe_answer_add(struct probe_answer *answer, const char *name, double value, struct err *err) ORCH_MUST_CHECK;

/* The body of Prometheus' GET or POST /api/v1/query (HTTP API, "Instant queries"): vectors and scalars. ERR_INVALID for
 * anything else, with Prometheus' own error where it gives one. Series are named by their labels: job="a", code="500".
 */
bool probe_read_prometheus(struct probe_answer *answer, const char *body, size_t len, struct err *err) ORCH_MUST_CHECK;

/* Judges. `spec` and `memory` as JSON objects; exactly one of `answer` and `failure` (a sentence) is given. The outputs
 * are new documents: a result, the next memory, an array of signals. */
void probe_judge(const json_t *spec, const json_t *memory, const struct probe_answer *answer, const char *failure,
                 int64_t asked_us, json_t **ret_result, json_t **ret_memory, json_t **ret_signals);

#endif
