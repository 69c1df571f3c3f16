/* What the routes for rows and labels keep from one request to the next: the plans of pipelines, the group commit and
 * the threads that read long bodies. */
#ifndef ORCH_SERVE_OBSERVING_H
#define ORCH_SERVE_OBSERVING_H

#include "serve/body_lane.h"
#include "trigger/appender.h"
#include "trigger/observe_plan.h"

struct observing {
  struct observe_plans *plans;
  struct appender *appender, *labels;
  struct body_lane *lane;
  size_t bytes; /* of bodies that are in work, unpacked and judged ones beside the received */
};
struct observing *observing_new(struct serve *serve);
/* After the database pool has been closed. NULL is fine. */
void observing_free(struct observing *observing);
void observing_metrics(const struct observing *observing, struct strbuf *out);

#endif
