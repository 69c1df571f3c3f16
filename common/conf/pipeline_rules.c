/* Retraining, checks, gates and rollout of a pipeline file. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/nearest.h"
#include "conf/pipeline_parts.h"
#include "conf/satisfy.h"

#define LIST_MAX 50

static void read_budget(struct pipeline_reader *r, const struct yaml_node *node, int64_t *count, int64_t *per_ms) {
  static const struct {
    const char *words;
    int64_t ms;
  } periods[] = {{"per hour", HOUR_MS}, {"per day", DAY_MS}, {"per week", 7 * DAY_MS}};
  if (node == NULL) return;
  int64_t value = 0;
  const char *words = take_count(node, 1, 1000, &value);
  for (size_t i = 0; words != NULL && i < ARRAY_LEN(periods); i++) {
    if (strcmp(words, periods[i].words) != 0) continue;
    *count = value;
    *per_ms = periods[i].ms;
    return;
  }
  if (node->kind == YAML_TREE_SCALAR && strcmp(node->text, "none") == 0) {
    *count = 0;
    return;
  }
  problems_add(r->problems, node->line, node->column,
               "'budget' is '%.60s', expected a number per hour, day or week as in '3 per week', or none",
               node->kind == YAML_TREE_SCALAR ? node->text : "no single value");
}

void pipeline_read_retrain(struct pipeline_reader *r, const struct yaml_node *node) {
  static const char *const known[] = {"cooldown", "budget", "schedule", NULL};
  int64_t cooldown = r->defaults->cooldown_ms, count = r->defaults->budget_count, per = r->defaults->budget_per_ms;
  if (take_map(r->problems, node, "'retrain'", known, NULL)) {
    take_duration(r->problems, yaml_tree_get(node, "cooldown"), "'cooldown'", 0, 365 * DAY_MS, &cooldown);
    read_budget(r, yaml_tree_get(node, "budget"), &count, &per);
    pipeline_read_schedule(r, yaml_tree_get(node, "schedule"));
  }
  json_t *budget =
      count > 0 ? json_pack("{s:I, s:I}", "count", (json_int_t)count, "per_ms", (json_int_t)per) : json_null();
  json_object_set_new(r->spec, "retrain",
                      json_pack("{s:I, s:o}", "cooldown_ms", (json_int_t)cooldown, "budget", budget));
}

static void set_real(struct pipeline_reader *r, const struct yaml_node *item, const char *key, double min,
                     json_t *object) {
  char what[40];
  double value;
  snprintf(what, sizeof what, "'%s' of a check", key);
  if (take_real(r->problems, yaml_tree_get(item, key), what, min, 1e15, &value)) {
    json_object_set_new(object, key, json_real(value));
  }
}

static json_t *read_check(struct pipeline_reader *r, const struct yaml_node *item) {
  json_t *check = json_object();
  const char *metric = NULL, *slice = NULL;
  if (take_text(r->problems, take_required(r->problems, item, "metric", "a check", "the name of a metric"),
                "'metric' of a check", &metric)) {
    json_object_set_new(check, "metric", json_string(metric));
  }
  set_real(r, item, "min", -1e15, check);
  set_real(r, item, "max", -1e15, check);
  set_real(r, item, "vs_champion", -1e15, check);
  if (take_text(r->problems, yaml_tree_get(item, "slice"), "'slice' of a check", &slice)) {
    json_object_set_new(check, "slice", json_string(slice));
  }
  const json_t *min = json_object_get(check, "min"), *max = json_object_get(check, "max");
  if (yaml_tree_get(item, "min") == NULL && yaml_tree_get(item, "max") == NULL &&
      yaml_tree_get(item, "vs_champion") == NULL) {
    problems_add(r->problems, item->line, item->column,
                 "the check of '%.60s' compares with nothing, expected 'min', 'max' or 'vs_champion'",
                 metric != NULL ? metric : "?");
  }
  if (min != NULL && max != NULL && json_real_value(min) > json_real_value(max)) {
    problems_add(r->problems, item->line, item->column, "the check of '%.60s' has a 'min' above its 'max', %s",
                 metric != NULL ? metric : "?", "expected some room between them");
  }
  return check;
}

void pipeline_read_checks(struct pipeline_reader *r, const struct yaml_node *root, const struct yaml_node *list) {
  static const char *const known[] = {"metric", "min", "max", "vs_champion", "slice", NULL};
  json_t *checks = json_array();
  json_object_set_new(r->spec, "checks", checks);
  if (list == NULL && r->defaults->needs_checks) {
    take_required(r->problems, root, "checks", "the pipeline", "at least one check: the production profile wants it");
  }
  bool fine = take_list(r->problems, list, "'checks'", r->defaults->needs_checks ? 1 : 0, LIST_MAX);
  for (const struct yaml_node *item = fine && list != NULL ? list->first : NULL; item != NULL; item = item->next) {
    if (take_map(r->problems, item, "a check", known, NULL)) json_array_append_new(checks, read_check(r, item));
  }
}

static void check_satisfiable(struct pipeline_reader *r, const struct yaml_node *list, const json_t *require) {
  const json_t *reviewers = json_object_get(r->options->server, "reviewers");
  json_int_t wanted = 0;
  size_t i;
  json_t *rule;
  bool groups_fine = true;
  json_array_foreach(require, i, rule) {
    const char *group = json_string_value(json_object_get(rule, "group"));
    json_int_t approvals = json_integer_value(json_object_get(rule, "approvals"));
    unsigned members = satisfy_members(reviewers, group);
    wanted += approvals;
    if (members >= approvals) continue;
    groups_fine = false;
    problems_add(r->problems, list->line, list->column,
                 "nobody can satisfy this gate: group '%s' has %u reviewers, expected at least %" JSON_INTEGER_FORMAT,
                 group, members, approvals);
  }
  unsigned votes = satisfy_votes(require, reviewers);
  if (!groups_fine || votes >= wanted) return;
  problems_add(r->problems, list->line, list->column,
               "nobody can satisfy this gate: %" JSON_INTEGER_FORMAT
               " votes are asked for, but the people in these groups can give %u, as each votes once; expected more "
               "reviewers or fewer rules",
               wanted, votes);
}

static json_t *read_require(struct pipeline_reader *r, const struct yaml_node *list) {
  static const char *const known[] = {"group", "approvals", NULL};
  json_t *require = json_array(), *groups = json_array();
  bool fine = take_list(r->problems, list, "'require'", 1, 8);
  size_t before = r->problems->count;
  for (const struct yaml_node *item = fine ? list->first : NULL; item != NULL; item = item->next) {
    const char *group = NULL;
    int64_t approvals = 1;
    if (!take_map(r->problems, item, "a rule of 'require'", known, NULL)) continue;
    const struct yaml_node *node = take_required(r->problems, item, "group", "a rule of 'require'", "a group's name");
    if (take_name(r->problems, node, "'group'", &group)) take_unique(r->problems, node, "the group", group, groups);
    take_int(r->problems, yaml_tree_get(item, "approvals"), "'approvals'", 1, 10, &approvals);
    json_array_append_new(require, json_pack("{s:s?, s:I}", "group", group, "approvals", (json_int_t)approvals));
  }
  if (fine && r->problems->count == before && r->options->server != NULL) check_satisfiable(r, list, require);
  json_decref(groups);
  return require;
}

void pipeline_read_gates(struct pipeline_reader *r, const struct yaml_node *root, const struct yaml_node *node) {
  static const char *const known[] = {"retrain", "promote", NULL}, *const later[] = {"freeze", "step", "review", NULL};
  static const char *const known_promote[] = {"require", "expires", "own_proposals", NULL};
  static const char *const later_promote[] = {"remind", "escalate", "significant", NULL};
  static const char *const autos[] = {"auto", NULL}, *const later_autos[] = {"ask", "approve", "manual", NULL};
  if (node == NULL) {
    take_required(r->problems, root, "gates", "the pipeline", "'promote' with 'require': who must approve");
    return;
  }
  if (!take_map(r->problems, node, "'gates'", known, later)) return;
  const char *retrain = "auto";
  const struct yaml_node *retrain_node = yaml_tree_get(node, "retrain");
  if (retrain_node != NULL && retrain_node->kind != YAML_TREE_SCALAR) {
    problems_add(r->problems, retrain_node->line, retrain_node->column,
                 "'retrain' with rules is not supported yet, expected auto");
  } else {
    take_choice(r->problems, retrain_node, "'retrain' of 'gates'", autos, later_autos, &retrain);
  }
  const struct yaml_node *promote =
      take_required(r->problems, node, "promote", "'gates'", "a map with 'require': who must approve");
  if (!take_map(r->problems, promote, "'promote'", known_promote, later_promote)) return;
  int64_t expires = r->defaults->gate_expires_ms;
  bool own = false;
  json_t *require = read_require(
      r, take_required(r->problems, promote, "require", "'promote'", "a list of groups that must approve"));
  take_duration(r->problems, yaml_tree_get(promote, "expires"), "'expires'", MINUTE_MS, 90 * DAY_MS, &expires);
  take_bool(r->problems, yaml_tree_get(promote, "own_proposals"), "'own_proposals'", &own);
  json_object_set_new(r->spec, "gates",
                      json_pack("{s:{s:o, s:I, s:b}}", "promote", "require", require, "expires_ms", (json_int_t)expires,
                                "own_proposals", own));
}

static json_t *read_driver(struct pipeline_reader *r, const struct yaml_node *node) {
  static const char *const known[] = {"symlink", "command", NULL};
  static const char *const later[] = {"kserve", "kubernetes", "mlflow", "http", "webhook", "s3", NULL};
  static const char *const known_symlink[] = {"path", NULL}, *const known_command[] = {"run", NULL};
  if (!take_map(r->problems, node, "'driver'", known, later)) return NULL;
  const struct yaml_node *symlink = yaml_tree_get(node, "symlink"), *command = yaml_tree_get(node, "command");
  if ((symlink != NULL) == (command != NULL)) {
    problems_add(r->problems, node->line, node->column, "'driver' names %s, expected one of symlink or command",
                 symlink != NULL ? "two" : "none that is known");
    return NULL;
  }
  if (command != NULL) {
    json_t *run = json_array();
    if (take_map(r->problems, command, "'command'", known_command, NULL)) {
      take_texts(r->problems, take_required(r->problems, command, "run", "'command'", "a list of words"), "'run'", 1,
                 100, false, run);
    }
    return json_pack("{s:{s:o}}", "command", "run", run);
  }
  const char *path = NULL;
  if (!take_map(r->problems, symlink, "'symlink'", known_symlink, NULL)) return NULL;
  const struct yaml_node *path_node = take_required(r->problems, symlink, "path", "'symlink'", "the path of the link");
  if (!take_text(r->problems, path_node, "'path' of 'symlink'", &path)) return NULL;
  size_t len = strlen(path);
  char *framed = mem_printf("/%s/", path);
  if (path[len - 1] == '/' || strstr(framed, "/../") != NULL || strstr(framed, "/./") != NULL ||
      strstr(path, "//") != NULL || len > 1000) {
    problems_add(r->problems, path_node->line, path_node->column,
                 "'path' of 'symlink' is '%.200s', expected a path without '.', '..', '//' or a slash at its end",
                 path);
  }
  mem_free(framed);
  return json_pack("{s:{s:s}}", "symlink", "path", path);
}

void pipeline_read_rollout(struct pipeline_reader *r, const struct yaml_node *root, const struct yaml_node *node) {
  static const char *const known[] = {"driver", NULL}, *const later[] = {"steps", "abort_on", NULL};
  const struct yaml_node *driver_node = NULL;
  json_t *driver = NULL;
  if (take_map(r->problems, node, "'rollout'", known, later)) driver_node = yaml_tree_get(node, "driver");
  if (driver_node != NULL) {
    driver = read_driver(r, driver_node);
  } else if (r->defaults->needs_driver && (node == NULL || node->kind == YAML_TREE_MAP)) {
    take_required(r->problems, node != NULL ? node : root, node != NULL ? "driver" : "rollout",
                  node != NULL ? "'rollout'" : "the pipeline",
                  "how a version goes live, as in driver: {symlink: {path: live/NAME}}");
  } else {
    const char *name = json_string_value(json_object_get(r->spec, "pipeline"));
    char path[TAKE_NAME_MAX + 8];
    snprintf(path, sizeof path, "live/%s", name != NULL ? name : "");
    driver = json_pack("{s:{s:s}}", "symlink", "path", path);
  }
  json_object_set_new(r->spec, "rollout", json_pack("{s:o*}", "driver", driver));
}
