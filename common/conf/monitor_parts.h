/* What the kinds of monitors of a pipeline file have in common, and the table of them. Internal to conf. */
#ifndef ORCH_CONF_MONITOR_PARTS_H
#define ORCH_CONF_MONITOR_PARTS_H

#include "conf/pipeline_parts.h"

struct monitor_kind {
  const char *name;                 /* `kind` in the file */
  const char *what;                 /* for people: "a drift monitor" */
  const char *then;                 /* the default: "propose" or "tell" */
  const char *never_proposes;       /* why `then: propose` is refused; NULL: it is not */
  bool labels;                      /* its windows count labels, not rows */
  int64_t min_rows, min_rows_least; /* default and lower bound; 0: it has no windows */
  int64_t hits, of;                 /* default of `for`, in windows */
  const char *const *known;         /* its keys, ends with NULL */
  /* Sets the members of the kind in `monitor`. */
  void (*read)(struct pipeline_reader *r, const struct yaml_node *item, json_t *monitor);
};

/* Ends with a kind whose name is NULL. */
extern const struct monitor_kind monitor_kinds[];

/* `window`, `lateness`, `min_rows`, `for`, `warmup` of a monitor that looks at windows. */
void monitor_read_window(struct pipeline_reader *r, const struct yaml_node *item, const struct monitor_kind *kind,
                         json_t *monitor);

#endif
