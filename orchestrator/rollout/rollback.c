#include "rollout/rollback.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

static json_t *call(struct db_sync *db, const char *sql, size_t count, const struct db_value *values, struct err *err) {
  CLEANUP(mem_free_p) char *text = db_sync_call(db, sql, count, values, err);
  if (!text) return NULL;
  json_t *document = json_loads(text, JSON_DECODE_ANY, NULL);
  if (!document) err_set(err, ERR_INTERNAL, "the database answered with something that is no JSON");
  return document;
}

static json_t *begin(struct db_sync *db, const struct rollback_request *request, struct err *err) {
  struct db_value values[] = {db_text(request->pipeline), request->to ? db_i64(request->to) : db_null(),
                              db_text(request->reason), db_text(request->actor), db_bool(request->dry_run)};
  return call(db, "select orch.rollback_begin($1, $2, $3, $4, $5)", ARRAY_LEN(values), values, err);
}

static int64_t number(const json_t *document, const char *key) {
  return json_integer_value(json_object_get(document, key));
}

/* Records the outcome; `driver_err` is NULL when the driver succeeded. */
static bool finish(struct db_sync *db, const json_t *plan, json_t *detail, const struct err *driver_err,
                   struct err *err) {
  if (driver_err) json_object_set_new(detail, "error", json_string(driver_err->text));
  char *text = json_dumps(detail, JSON_COMPACT);
  struct db_value values[] = {db_i64(number(plan, "deployment")), db_i64(number(plan, "lease")),
                              db_bool(driver_err == NULL), db_text(text)};
  json_t *answer = call(db, "select orch.deployment_finish($1, $2, $3, $4)", ARRAY_LEN(values), values, err);
  free(text);
  bool ok = answer != NULL;
  json_decref(answer);
  return ok;
}

static bool drive(struct db_sync *db, const struct rollout_options *options, json_t *plan, struct err *err) {
  struct rollout_move move = {.pipeline = json_string_value(json_object_get(plan, "pipeline")),
                              .version = number(plan, "version"),
                              .artifact = json_string_value(json_object_get(plan, "artifact")),
                              .driver = json_object_get(plan, "driver"),
                              .generation = number(plan, "generation")};
  if (!move.pipeline || !move.artifact) return err_set(err, ERR_INTERNAL, "the rollback's plan lacks its artifact");
  json_t *detail = NULL;
  bool moved = rollout_move(options, &move, &detail, err);
  if (!detail) detail = json_object();
  struct err finish_err = {0};
  bool finished = finish(db, plan, detail, moved ? NULL : err, &finish_err);
  json_object_set_new(plan, "detail", detail);
  if (!moved) {
    err_prefix(err, "the rollback is recorded but its driver failed");
    return err->hint[0] ? false : err_hint(err, "run it again to resume; a running orch serve tries again too");
  }
  if (!finished) {
    *err = finish_err;
    if (err->code == ERR_LEASE_LOST) return err_hint(err, "another process took it over; see orch history");
    return err_hint(err, "the pointer was moved; run it again to record that");
  }
  json_object_set_new(plan, "state", json_string("live"));
  return true;
}

bool rollback_run(struct db_sync *db, const struct rollout_options *options, const struct rollback_request *request,
                  json_t **ret_answer, struct err *err) {
  int64_t began_us = clock_mono_us();
  json_t *plan = begin(db, request, err);
  if (!plan) return false;
  bool nothing_to_do = request->dry_run || json_is_true(json_object_get(plan, "skipped"));
  if (!nothing_to_do && !drive(db, options, plan, err)) {
    json_decref(plan);
    return false;
  }
  if (request->dry_run && !json_is_true(json_object_get(plan, "skipped"))) {
    struct err damage = {0};
    const char *artifact = json_string_value(json_object_get(plan, "artifact"));
    bool intact = artifact && store_verify_tree(options->store, artifact, &damage);
    json_object_set_new(plan, "artifact_intact", json_boolean(intact));
  }
  json_object_set_new(plan, "took_ms", json_real((double)(clock_mono_us() - began_us) / 1000));
  *ret_answer = plan;
  return true;
}
