/* The top of a pipeline file: who owns it, its profile, and the parts in turn. */
#include "conf/pipeline.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/bundle.h"
#include "conf/pipeline_parts.h"

static const struct pipeline_defaults experimental = {
    .step_timeout_ms = HOUR_MS,
    .retry_limit = 1,
    .retry_backoff_ms = 10 * SECOND_MS,
    .retry_max_ms = 5 * MINUTE_MS,
    .cooldown_ms = HOUR_MS,
    .gate_expires_ms = 7 * DAY_MS,
    .keep = 3,
};
static const struct pipeline_defaults production = {
    .step_timeout_ms = HOUR_MS,
    .retry_limit = 2,
    .retry_backoff_ms = 30 * SECOND_MS,
    .retry_max_ms = 10 * MINUTE_MS,
    .cooldown_ms = 6 * HOUR_MS,
    .budget_count = 3,
    .budget_per_ms = 7 * DAY_MS,
    .gate_expires_ms = 2 * DAY_MS,
    .keep = 5,
    .needs_runbook = true,
    .needs_checks = true,
    .needs_driver = true,
};

/* Text that names a file inside the folder: relative, no "..", no empty part. */
static bool stays_inside(const char *path) {
  if (path[0] == '/') return false;
  for (const char *at = path; at != NULL; at = strchr(at, '/')) {
    at += *at == '/';
    size_t len = strcspn(at, "/");
    if (len == 0 || (len == 2 && strncmp(at, "..", 2) == 0)) return false;
  }
  return true;
}

static bool really_inside(const char *folder, const char *file) {
  char real_folder[PATH_MAX], real_file[PATH_MAX];
  if (realpath(folder, real_folder) == NULL || realpath(file, real_file) == NULL) return false;
  size_t len = strlen(real_folder);
  return strncmp(real_folder, real_file, len) == 0 && real_file[len] == '/';
}

void pipeline_check_file(struct pipeline_reader *r, const struct yaml_node *node, const char *what, const char *path) {
  ORCH_ASSERT(node != NULL);
  if (!stays_inside(path)) {
    problems_add(r->problems, node->line, node->column, "%s is '%.200s', expected a file inside the pipeline's folder",
                 what, path);
    return;
  }
  const char *folder = r->options->folder;
  if (folder == NULL) return;
  char *file = mem_printf("%s/%s", folder, path);
  struct stat info;
  bool left_out = false;
  struct err err = {0};
  if (stat(file, &info) != 0) {
    problems_add(r->problems, node->line, node->column, "%s: there is no file '%.200s' in the pipeline's folder (%s)",
                 what, path, strerror(errno));
  } else if (!S_ISREG(info.st_mode)) {
    problems_add(r->problems, node->line, node->column, "%s: '%.200s' is no regular file, expected one", what, path);
  } else if (!really_inside(folder, file)) {
    problems_add(r->problems, node->line, node->column,
                 "%s: '%.200s' links out of the pipeline's folder, expected a file inside it", what, path);
  } else if (!bundle_leaves_out(folder, path, &left_out, &err)) {
    problems_add(r->problems, node->line, node->column, "%s: %s", what, err.text);
  } else if (left_out) {
    problems_add(r->problems, node->line, node->column,
                 "%s: '%.200s' is left out by .orchignore, expected it in the bundle that workers run", what, path);
  }
  mem_free(file);
}

static void check_folder_name(struct pipeline_reader *r, const struct yaml_node *node, const char *name) {
  char real[PATH_MAX];
  if (r->options->folder == NULL || realpath(r->options->folder, real) == NULL) return;
  const char *base = strrchr(real, '/');
  base = base != NULL ? base + 1 : real;
  if (strcmp(base, name) == 0) return;
  problems_add(r->problems, node->line, node->column, "'pipeline' is '%s', expected the folder's name '%.100s'", name,
               base);
}

static void set_text(struct pipeline_reader *r, const char *key, const char *value) {
  if (value != NULL) json_object_set_new(r->spec, key, json_string(value));
}

static void read_runbook(struct pipeline_reader *r, const struct yaml_node *root) {
  const struct yaml_node *node = yaml_tree_get(root, "runbook");
  const char *text = NULL;
  if (node == NULL && r->defaults->needs_runbook) {
    take_required(r->problems, root, "runbook", "the pipeline",
                  "a file beside this one or a link: the production profile wants one");
  }
  if (!take_text(r->problems, node, "'runbook'", &text)) return;
  if (strncmp(text, "https://", 8) != 0 && strncmp(text, "http://", 7) != 0) {
    pipeline_check_file(r, node, "'runbook'", text);
  }
  set_text(r, "runbook", text);
}

static void read_identity(struct pipeline_reader *r, const struct yaml_node *root) {
  static const char *const servings[] = {"realtime", "batch", NULL};
  const char *name = NULL, *owner = NULL, *oncall = NULL, *serving = "realtime";
  const struct yaml_node *node =
      take_required(r->problems, root, "pipeline", "the pipeline", "its name, the same as the folder's");
  if (take_name(r->problems, node, "'pipeline'", &name)) check_folder_name(r, node, name);
  take_text(r->problems, take_required(r->problems, root, "owner", "the pipeline", "who owns the model"), "'owner'",
            &owner);
  take_text(r->problems, take_required(r->problems, root, "oncall", "the pipeline", "whom to call at night"),
            "'oncall'", &oncall);
  take_choice(r->problems, yaml_tree_get(root, "serving"), "'serving'", servings, NULL, &serving);
  set_text(r, "pipeline", name);
  set_text(r, "owner", owner);
  set_text(r, "oncall", oncall);
  set_text(r, "serving", serving);
  read_runbook(r, root);
}

static void read_config(struct pipeline_reader *r, const struct yaml_node *node) {
  json_t *config = NULL;
  if (node != NULL && node->kind != YAML_TREE_MAP) {
    problems_add(r->problems, node->line, node->column, "'config' is no map, expected a map of keys");
  } else if (node != NULL) {
    config = take_any(r->problems, node, "'config'");
  }
  /* The run's own seed comes from here when it is given. */
  int64_t seed;
  take_int(r->problems, yaml_tree_get(node, "seed"), "'seed' of 'config'", 0, INT32_MAX, &seed);
  json_object_set_new(r->spec, "config", config != NULL ? config : json_object());
}

static void read_all(struct pipeline_reader *r, const struct yaml_node *root) {
  static const char *const profiles[] = {"experimental", "production", NULL};
  const char *profile = "experimental";
  take_choice(r->problems, yaml_tree_get(root, "profile"), "'profile'", profiles, NULL, &profile);
  r->defaults = strcmp(profile, "production") == 0 ? &production : &experimental;
  set_text(r, "profile", profile);
  read_identity(r, root);
  pipeline_read_data(r, yaml_tree_get(root, "data"));
  read_config(r, yaml_tree_get(root, "config"));
  pipeline_read_steps(r, root, yaml_tree_get(root, "steps"));
  pipeline_read_observations(r, yaml_tree_get(root, "observations"));
  pipeline_read_monitors(r, yaml_tree_get(root, "monitors"));
  pipeline_read_retrain(r, yaml_tree_get(root, "retrain"));
  pipeline_read_checks(r, root, yaml_tree_get(root, "checks"));
  pipeline_read_gates(r, root, yaml_tree_get(root, "gates"));
  pipeline_read_rollout(r, root, yaml_tree_get(root, "rollout"));
  int64_t keep = r->defaults->keep;
  take_int(r->problems, yaml_tree_get(root, "keep"), "'keep'", 1, 100, &keep);
  json_object_set_new(r->spec, "keep", json_integer(keep));
}

json_t *pipeline_parse(const char *text, size_t len, const struct pipeline_options *options,
                       struct problems *problems) {
  static const char *const known[] = {"pipeline", "owner",  "oncall",  "runbook",      "profile",  "serving",
                                      "data",     "config", "steps",   "observations", "monitors", "retrain",
                                      "checks",   "gates",  "rollout", "keep",         NULL};
  static const struct pipeline_options none = {0};
  struct arena arena;
  arena_init(&arena, (size_t)8 << 20);
  struct pipeline_reader r = {
      .problems = problems, .options = options != NULL ? options : &none, .spec = json_object()};
  const struct yaml_node *root = yaml_tree_read(text, len, &arena, problems);
  if (root != NULL && take_map(problems, root, "the pipeline", known, NULL)) read_all(&r, root);
  arena_fini(&arena);
  if (problems->count == 0) return r.spec;
  json_decref(r.spec);
  return NULL;
}
