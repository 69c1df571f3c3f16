/* Timed duties: SQL functions that find what is due and do it. Safe to run in any number of servers at once.
 *
 * Each runs again at its interval (with jitter), sooner when it has done as much as one call may, or when its answer
 * carries "next_due_ms"; later while it fails. */
#ifndef ORCH_SERVE_DUTIES_H
#define ORCH_SERVE_DUTIES_H

#include "base/strbuf.h"
#include "serve/serve.h"

struct duties;
struct duties *duties_new(uv_loop_t *loop, struct db *db);
/* Runs all soon, those that ran a moment ago excepted. */
void duties_wake(struct duties *duties);
/* Frees; what was sent to the database runs to its end there. */
void duties_stop(struct duties *duties, void (*stopped)(void *arg), void *arg);
void duties_metrics(const struct duties *duties, struct strbuf *out);

/* The delay until a duty's next run, pure. `document` is its answer (NULL: it failed `failures` times in a row): an
 * integer, or an object of counts. */
int64_t duties_delay_ms(const char *document, unsigned failures, int64_t interval_ms, int64_t limit);

#endif
