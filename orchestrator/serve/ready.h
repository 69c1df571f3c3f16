/* Is the database there, and does it have the schema that this binary knows? Asked at the start until it does, and by
 * /readyz. */
#ifndef ORCH_SERVE_READY_H
#define ORCH_SERVE_READY_H

#include "serve/serve.h"

/* Compares the names of applied migrations (one a line, in order) with the embedded ones; pure. False with the reason.
 */
ORCH_MUST_CHECK bool ready_compare(const char *applied, struct err *err);

/* Asks the database. `then` gets NULL when all is well; called exactly once, never from inside this call. */
void ready_ask(struct serve *serve, void (*then)(void *arg, const struct err *err), void *arg);

#endif
