/* What must be known of a pipeline to read its rows: orch.observe_plan()'s answer, prepared and counted. */
#ifndef ORCH_TRIGGER_OBSERVE_PLAN_H
#define ORCH_TRIGGER_OBSERVE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "trigger/row.h"

#define OBSERVE_PLAN_SQL "select orch.observe_plan($1)"

struct observe_plan {
  int refs;
  int64_t revision;          /* handed back with the rows: when the pipeline has changed since, they are refused */
  bool labels;               /* some monitor needs labels: rows with an id are predictions to remember */
  char *id;                  /* the name of the key that is the row's id */
  struct row_parser *parser; /* one thread at a time */
  char *document;            /* it was made of */
};

/* ERR_INTERNAL when the document cannot be read. One count is the caller's. */
struct observe_plan *observe_plan_new(const char *document, struct err *err) ORCH_MUST_CHECK;
/* The same plan with a parser of its own, for another thread. */
struct observe_plan *observe_plan_copy(const struct observe_plan *plan);
struct observe_plan *observe_plan_ref(struct observe_plan *plan);
void observe_plan_unref(struct observe_plan *plan); /* NULL is fine */

/* The plans of the pipelines whose rows came lately, for a server. */
struct observe_plans;
struct observe_plans *observe_plans_new(void);
void observe_plans_free(struct observe_plans *plans); /* NULL is fine */
/* Counted for the caller; NULL when there is none that is young enough. */
struct observe_plan *observe_plans_find(struct observe_plans *plans, const char *pipeline);
void observe_plans_put(struct observe_plans *plans, const char *pipeline, struct observe_plan *plan);
/* It has turned out to be old. */
void observe_plans_drop(struct observe_plans *plans, const char *pipeline);

#endif
