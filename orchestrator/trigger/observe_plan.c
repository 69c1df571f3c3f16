#include "trigger/observe_plan.h"

#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define PLANS_MAX 256
/* A plan that is too old is found out by its revision; this only bounds how long one is kept. */
#define PLAN_AGE_US 10000000

struct observe_plan *observe_plan_new(const char *document, struct err *err) {
  json_t *doc = document ? json_loads(document, 0, NULL) : NULL;
  const json_t *revision = json_object_get(doc, "revision"), *keys = json_object_get(doc, "keys");
  if (!json_is_integer(revision) || !json_is_object(keys)) {
    json_decref(doc);
    err_set(err, ERR_INTERNAL, "the database's plan for observations cannot be read");
    return NULL;
  }
  const struct row_keys names = {.id = json_string_value(json_object_get(keys, "id")),
                                 .at = json_string_value(json_object_get(keys, "at")),
                                 .prediction = json_string_value(json_object_get(keys, "prediction")),
                                 .score = json_string_value(json_object_get(keys, "score")),
                                 .version = json_string_value(json_object_get(keys, "version")),
                                 .latency = json_string_value(json_object_get(keys, "latency"))};
  struct observe_plan *plan = mem_alloc(sizeof *plan);
  *plan = (struct observe_plan){.refs = 1,
                                .revision = json_integer_value(revision),
                                .labels = json_is_true(json_object_get(doc, "labels")),
                                .id = mem_strdup(names.id ? names.id : "id"),
                                .parser = row_parser_new(NULL, 0, &names),
                                .document = mem_strdup(document)};
  json_decref(doc);
  return plan;
}

struct observe_plan *observe_plan_copy(const struct observe_plan *plan) {
  struct err err = {0};
  struct observe_plan *copy = observe_plan_new(plan->document, &err);
  ORCH_ASSERT(copy != NULL); /* it could be read before */
  return copy;
}

struct observe_plan *observe_plan_ref(struct observe_plan *plan) {
  plan->refs++;
  return plan;
}

void observe_plan_unref(struct observe_plan *plan) {
  if (!plan || --plan->refs > 0) return;
  row_parser_free(plan->parser);
  mem_free(plan->id);
  mem_free(plan->document);
  mem_free(plan);
}

/* ---- the ones in use ---- */

struct kept {
  char *pipeline; /* NULL: free */
  struct observe_plan *plan;
  int64_t since_us;
};
struct observe_plans {
  struct kept kept[PLANS_MAX];
};

struct observe_plans *observe_plans_new(void) {
  return mem_alloc(sizeof(struct observe_plans));
}

static void forget(struct kept *kept) {
  mem_free(kept->pipeline);
  observe_plan_unref(kept->plan);
  *kept = (struct kept){0};
}

void observe_plans_free(struct observe_plans *plans) {
  for (size_t i = 0; plans && i < PLANS_MAX; i++) forget(&plans->kept[i]);
  mem_free(plans);
}

static struct kept *find(struct observe_plans *plans, const char *pipeline) {
  for (size_t i = 0; i < PLANS_MAX; i++)
    if (plans->kept[i].pipeline && strcmp(plans->kept[i].pipeline, pipeline) == 0) return &plans->kept[i];
  return NULL;
}

struct observe_plan *observe_plans_find(struct observe_plans *plans, const char *pipeline) {
  struct kept *kept = find(plans, pipeline);
  if (!kept) return NULL;
  if (clock_mono_us() - kept->since_us < PLAN_AGE_US) return observe_plan_ref(kept->plan);
  forget(kept);
  return NULL;
}

void observe_plans_put(struct observe_plans *plans, const char *pipeline, struct observe_plan *plan) {
  struct kept *place = find(plans, pipeline);
  for (size_t i = 0; !place && i < PLANS_MAX; i++)
    if (!plans->kept[i].pipeline) place = &plans->kept[i];
  if (!place) { /* the oldest makes room */
    place = &plans->kept[0];
    for (size_t i = 1; i < PLANS_MAX; i++)
      if (plans->kept[i].since_us < place->since_us) place = &plans->kept[i];
  }
  forget(place);
  *place = (struct kept){mem_strdup(pipeline), observe_plan_ref(plan), clock_mono_us()};
}

void observe_plans_drop(struct observe_plans *plans, const char *pipeline) {
  struct kept *kept = find(plans, pipeline);
  if (kept) forget(kept);
}
