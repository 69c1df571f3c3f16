/* The parts of a pipeline file, each from its YAML node to its member of the normalised JSON. Internal to conf. */
#ifndef ORCH_CONF_PIPELINE_PARTS_H
#define ORCH_CONF_PIPELINE_PARTS_H

#include "conf/pipeline.h"
#include "conf/take.h"

/* What a profile sets when the file is silent; the table is in pipeline.c and in docs/pipeline-reference.md. */
struct pipeline_defaults {
  int64_t step_timeout_ms;
  int64_t retry_limit, retry_backoff_ms, retry_max_ms;
  int64_t cooldown_ms;
  int64_t budget_count, budget_per_ms; /* 0: no budget */
  int64_t gate_expires_ms;
  int64_t keep;
  bool needs_runbook, needs_checks, needs_driver;
};

struct pipeline_reader {
  struct problems *problems;
  const struct pipeline_options *options;
  const struct pipeline_defaults *defaults;
  json_t *spec; /* members are set here */
};

/* Is there a regular file `path` inside the folder, also after following links, and does the bundle hold it? */
void pipeline_check_file(struct pipeline_reader *r, const struct yaml_node *node, const char *what, const char *path);

void pipeline_read_data(struct pipeline_reader *r, const struct yaml_node *node);
void pipeline_read_steps(struct pipeline_reader *r, const struct yaml_node *root, const struct yaml_node *node);
void pipeline_read_monitors(struct pipeline_reader *r, const struct yaml_node *node);
/* After the monitors: a schedule of 'retrain' becomes one of them. */
void pipeline_read_schedule(struct pipeline_reader *r, const struct yaml_node *node);
void pipeline_read_observations(struct pipeline_reader *r, const struct yaml_node *node);
void pipeline_read_retrain(struct pipeline_reader *r, const struct yaml_node *node);
void pipeline_read_checks(struct pipeline_reader *r, const struct yaml_node *root, const struct yaml_node *node);
void pipeline_read_gates(struct pipeline_reader *r, const struct yaml_node *root, const struct yaml_node *node);
void pipeline_read_rollout(struct pipeline_reader *r, const struct yaml_node *root, const struct yaml_node *node);

#define SECOND_MS ((int64_t)1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

#endif
