/* Data and steps of a pipeline file. */
#include <ctype.h>
#include <string.h>

#include "conf/nearest.h"
#include "conf/pipeline_parts.h"

#define STEPS_MAX 50
#define DATA_MAX 50
#define WORDS_MAX 100

void pipeline_read_data(struct pipeline_reader *r, const struct yaml_node *list) {
  static const char *const known[] = {"name", "file", "command", NULL}, *const later[] = {"sql", NULL};
  json_t *data = json_array(), *names = json_array();
  json_object_set_new(r->spec, "data", data);
  bool fine = take_list(r->problems, list, "'data'", 0, DATA_MAX);
  for (const struct yaml_node *item = fine ? list->first : NULL; item != NULL; item = item->next) {
    if (!take_map(r->problems, item, "an item of 'data'", known, later)) continue;
    const char *name = NULL, *file = NULL;
    const struct yaml_node *node = take_required(r->problems, item, "name", "an item of 'data'", "a name");
    if (take_name(r->problems, node, "'name' of data", &name)) {
      take_unique(r->problems, node, "the data name", name, names);
    }
    const struct yaml_node *file_node = yaml_tree_get(item, "file"), *command_node = yaml_tree_get(item, "command");
    if (yaml_tree_get(item, "sql") == NULL && (file_node != NULL) == (command_node != NULL)) {
      problems_add(r->problems, item->line, item->column, "data '%s' has %s, expected either 'file' or 'command'",
                   name != NULL ? name : "?", file_node != NULL ? "both 'file' and 'command'" : "no source");
    }
    json_t *entry = json_pack("{s:s?, s:s}", "name", name, "kind", file_node != NULL ? "file" : "command");
    if (take_text(r->problems, file_node, "'file' of data", &file)) {
      pipeline_check_file(r, file_node, "'file' of data", file);
      json_object_set_new(entry, "file", json_string(file));
    }
    json_t *command = json_array();
    if (take_texts(r->problems, command_node, "'command' of data", 1, WORDS_MAX, false, command)) {
      json_object_set(entry, "command", command);
    }
    json_decref(command);
    json_array_append_new(data, entry);
  }
  json_decref(names);
}

static void read_retry(struct pipeline_reader *r, const struct yaml_node *node, json_t *step) {
  static const char *const known[] = {"limit", "backoff", "max", NULL};
  int64_t limit = r->defaults->retry_limit, backoff = r->defaults->retry_backoff_ms, max = r->defaults->retry_max_ms;
  if (take_map(r->problems, node, "'retry'", known, NULL)) {
    take_int(r->problems, yaml_tree_get(node, "limit"), "'limit' of 'retry'", 0, 20, &limit);
    bool own = take_duration(r->problems, yaml_tree_get(node, "backoff"), "'backoff' of 'retry'", 0, DAY_MS, &backoff);
    if (own && yaml_tree_get(node, "max") == NULL && max < backoff) max = backoff;
    take_duration(r->problems, yaml_tree_get(node, "max"), "'max' of 'retry'", 0, DAY_MS, &max);
    if (max < backoff) {
      problems_add(r->problems, node->line, node->column,
                   "'max' of 'retry' is less than 'backoff', expected at least as much");
    }
  }
  json_object_set_new(step, "retry",
                      json_pack("{s:I, s:I, s:I}", "limit", (json_int_t)limit, "backoff_ms", (json_int_t)backoff,
                                "max_ms", (json_int_t)max));
}

static void read_resources(struct pipeline_reader *r, const struct yaml_node *node, json_t *step) {
  static const char *const known[] = {"cpu", "memory", "gpu", "labels", NULL};
  double cpu = 1;
  int64_t memory = 0, gpu = 0;
  json_t *labels = json_array();
  if (take_map(r->problems, node, "'resources'", known, NULL)) {
    take_real(r->problems, yaml_tree_get(node, "cpu"), "'cpu'", 0.01, 1024, &cpu);
    take_size(r->problems, yaml_tree_get(node, "memory"), "'memory'", (int64_t)1 << 20, (int64_t)1 << 46, &memory);
    take_int(r->problems, yaml_tree_get(node, "gpu"), "'gpu'", 0, 64, &gpu);
    take_texts(r->problems, yaml_tree_get(node, "labels"), "'labels'", 0, 20, true, labels);
  }
  json_t *bytes = memory > 0 ? json_integer(memory) : json_null();
  bool whole = cpu >= 1 && cpu == (double)(json_int_t)cpu;
  json_object_set_new(step, "resources",
                      json_pack("{s:o, s:o, s:I, s:o}", "cpu", whole ? json_integer((json_int_t)cpu) : json_real(cpu),
                                "memory_bytes", bytes, "gpu", (json_int_t)gpu, "labels", labels));
}

/* A step's environment is clean: names that orch or the loader would act on are not handed out as secrets. */
static bool is_reserved(const char *name) {
  static const char *const words[] = {"PATH", "HOME", "TMPDIR", "IFS", "PGPASSWORD", "PGPASSFILE", NULL};
  for (size_t i = 0; words[i] != NULL; i++) {
    if (strcmp(words[i], name) == 0) return true;
  }
  return strncmp(name, "ORCH_", 5) == 0 || strncmp(name, "LD_", 3) == 0;
}

static void read_secrets(struct pipeline_reader *r, const struct yaml_node *node, json_t *step) {
  json_t *secrets = json_array();
  json_object_set_new(step, "secrets", secrets);
  if (!take_list(r->problems, node, "'secrets'", 0, 50)) return;
  for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
    const char *name;
    if (!take_env_name(r->problems, item, "an item of 'secrets'", &name)) continue;
    if (is_reserved(name)) {
      problems_add(r->problems, item->line, item->column, "secret '%s' is a reserved name, expected one of your own",
                   name);
    }
    take_unique(r->problems, item, "the secret", name, secrets);
  }
}

static void read_needs(struct pipeline_reader *r, const struct yaml_node *node, const char *name, json_t *step) {
  json_t *needs = json_array();
  json_object_set_new(step, "needs", needs);
  if (!take_list(r->problems, node, "'needs'", 0, STEPS_MAX)) return;
  for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
    const char *needed;
    if (take_name(r->problems, item, "an item of 'needs'", &needed)) {
      take_unique(r->problems, item, "the needed step", needed, needs);
    }
  }
}

/* Without 'role' the name tells: a step called train trains, one called evaluate evaluates. */
static const char *read_role(struct pipeline_reader *r, const struct yaml_node *node, const char *name) {
  static const char *const roles[] = {"train", "evaluate", "step", NULL};
  const char *role = "step";
  if (name != NULL && (strcmp(name, "train") == 0 || strcmp(name, "evaluate") == 0)) role = name;
  take_choice(r->problems, node, "'role'", roles, NULL, &role);
  return role;
}

static json_t *read_step(struct pipeline_reader *r, const struct yaml_node *item, json_t *names) {
  static const char *const known[] = {"name",  "run",       "role",     "needs",   "timeout",
                                      "retry", "resources", "executor", "secrets", NULL};
  static const char *const executors[] = {"process", NULL}, *const later[] = {"container", "slurm", "kubernetes", NULL};
  json_t *step = json_object(), *run = json_array();
  const char *name = NULL, *executor = "process";
  int64_t timeout_ms = r->defaults->step_timeout_ms;
  if (!take_map(r->problems, item, "a step", known, NULL)) {
    json_decref(run);
    return step;
  }
  const struct yaml_node *node = take_required(r->problems, item, "name", "a step", "a name");
  if (take_name(r->problems, node, "'name' of a step", &name)) take_unique(r->problems, node, "the step", name, names);
  if (name != NULL) json_object_set_new(step, "name", json_string(name));
  take_texts(r->problems, take_required(r->problems, item, "run", "a step", "a command as a list of words"), "'run'", 1,
             WORDS_MAX, false, run);
  json_object_set_new(step, "run", run);
  json_object_set_new(step, "role", json_string(read_role(r, yaml_tree_get(item, "role"), name)));
  read_needs(r, yaml_tree_get(item, "needs"), name, step);
  take_duration(r->problems, yaml_tree_get(item, "timeout"), "'timeout'", SECOND_MS, 30 * DAY_MS, &timeout_ms);
  json_object_set_new(step, "timeout_ms", json_integer(timeout_ms));
  read_retry(r, yaml_tree_get(item, "retry"), step);
  read_resources(r, yaml_tree_get(item, "resources"), step);
  take_choice(r->problems, yaml_tree_get(item, "executor"), "'executor'", executors, later, &executor);
  json_object_set_new(step, "executor", json_string(executor));
  read_secrets(r, yaml_tree_get(item, "secrets"), step);
  return step;
}

static int find_step(const json_t *steps, const char *name) {
  for (size_t i = 0; i < json_array_size(steps); i++) {
    const char *other = json_string_value(json_object_get(json_array_get(steps, i), "name"));
    if (other != NULL && strcmp(other, name) == 0) return (int)i;
  }
  return -1;
}

static bool has_role(const json_t *step, const char *role) {
  const char *own = json_string_value(json_object_get(step, "role"));
  return own != NULL && strcmp(own, role) == 0;
}

/* Every needed step must exist and must not be the evaluation, which runs last and once per model. */
static void check_needs(struct pipeline_reader *r, const struct yaml_node *item, const json_t *steps,
                        const json_t *step_names) {
  const char *known[STEPS_MAX + 1];
  size_t count = 0;
  for (; count < json_array_size(step_names) && count < STEPS_MAX; count++) {
    known[count] = json_string_value(json_array_get(step_names, count));
  }
  known[count] = NULL;
  const struct yaml_node *list = yaml_tree_get(item, "needs");
  if (list == NULL || list->kind != YAML_TREE_LIST) return;
  for (const struct yaml_node *need = list->first; need != NULL; need = need->next) {
    if (need->kind != YAML_TREE_SCALAR) continue;
    int at = find_step(steps, need->text);
    const char *near = nearest_word(need->text, known);
    if (at < 0) {
      problems_add(r->problems, need->line, need->column, "'needs' names the unknown step '%.60s', expected %s%s",
                   need->text, near != NULL ? near : "the name of another step", near != NULL ? "?" : "");
    } else if (has_role(json_array_get(steps, (size_t)at), "evaluate")) {
      problems_add(r->problems, need->line, need->column,
                   "'needs' names '%.60s', which evaluates and runs after all others, expected another step",
                   need->text);
    }
  }
}

struct walk {
  const json_t *steps;
  int state[STEPS_MAX]; /* 0 new, 1 on the path, 2 done */
  int path[STEPS_MAX];
  int depth;
};

/* Depth-first; true when a cycle was found: then path[ret_from .. depth-1] is it. Depth is bounded by the steps. */
static bool find_cycle(struct walk *w, int at, int *ret_from) {
  w->state[at] = 1;
  w->path[w->depth++] = at;
  size_t i;
  json_t *need;
  json_array_foreach(json_object_get(json_array_get(w->steps, (size_t)at), "needs"), i, need) {
    int next = find_step(w->steps, json_string_value(need));
    if (next < 0 || w->state[next] == 2) continue;
    if (w->state[next] == 1) {
      *ret_from = 0;
      while (w->path[*ret_from] != next) ++*ret_from;
      return true;
    }
    if (find_cycle(w, next, ret_from)) return true;
  }
  w->state[at] = 2;
  w->depth--;
  return false;
}

static void check_cycles(struct pipeline_reader *r, const struct yaml_node *list, const json_t *steps) {
  struct walk w = {.steps = steps};
  int from = 0, count = (int)json_array_size(steps);
  for (int i = 0; i < count; i++) {
    if (w.state[i] != 0 || !find_cycle(&w, i, &from)) continue;
    struct strbuf names;
    strbuf_init(&names, 800);
    for (int k = from; k <= w.depth; k++) {
      int at = w.path[k < w.depth ? k : from];
      strbuf_printf(&names, "%s%s", k > from ? " -> " : "",
                    json_string_value(json_object_get(json_array_get(steps, (size_t)at), "name")));
    }
    problems_add(r->problems, list->line, list->column, "'needs' go in a circle: %s, expected an order",
                 strbuf_text(&names));
    strbuf_fini(&names);
    return;
  }
}

static void check_roles(struct pipeline_reader *r, const struct yaml_node *list, const json_t *steps) {
  static const char *const roles[] = {"train", "evaluate"};
  for (size_t k = 0; k < ARRAY_LEN(roles); k++) {
    unsigned count = 0;
    for (size_t i = 0; i < json_array_size(steps); i++) count += has_role(json_array_get(steps, i), roles[k]);
    if (count == 1) continue;
    problems_add(r->problems, list->line, list->column, "%u steps have the role '%s', expected exactly one", count,
                 roles[k]);
  }
}

void pipeline_read_steps(struct pipeline_reader *r, const struct yaml_node *root, const struct yaml_node *list) {
  json_t *steps = json_array();
  json_object_set_new(r->spec, "steps", steps);
  if (list == NULL) {
    take_required(r->problems, root, "steps", "the pipeline", "a list with a step that trains and one that evaluates");
    return;
  }
  if (!take_list(r->problems, list, "'steps'", 1, STEPS_MAX)) return;
  json_t *names = json_array();
  for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
    json_array_append_new(steps, read_step(r, item, names));
  }
  for (const struct yaml_node *item = list->first; item != NULL; item = item->next) check_needs(r, item, steps, names);
  check_cycles(r, list, steps);
  check_roles(r, list, steps);
  json_decref(names);
}
