/* The monitors of a pipeline file: which kind each one is, its name, what it leads to, and the keys that fit it. */
#include <stdio.h>
#include <string.h>

#include "conf/cron.h"
#include "conf/monitor_parts.h"

#define MONITORS_MAX 50
#define SCHEDULE_NAME "schedule" /* the monitor that `retrain.schedule` becomes */

static const struct monitor_kind *find_kind(const char *name) {
  for (const struct monitor_kind *kind = monitor_kinds; kind->name != NULL; kind++) {
    if (strcmp(kind->name, name) == 0) return kind;
  }
  return NULL;
}

/* Which kinds know this key: "latency", "prometheus or sql"; false when none does. */
static bool kinds_with(const char *key, struct strbuf *out) {
  size_t count = 0, seen = 0;
  for (const struct monitor_kind *kind = monitor_kinds; kind->name != NULL; kind++)
    count += take_listed(kind->known, key);
  for (const struct monitor_kind *kind = monitor_kinds; kind->name != NULL; kind++) {
    if (!take_listed(kind->known, key)) continue;
    strbuf_printf(out, "%s%s", seen == 0 ? "" : seen + 1 == count ? " or " : ", ", kind->name);
    seen++;
  }
  return count > 0;
}

/* Unknown keys, each told apart: a key of another kind, or a mistyped one. */
static void check_keys(struct pipeline_reader *r, const struct yaml_node *item, const struct monitor_kind *kind) {
  for (const struct yaml_node *m = item->first; m != NULL; m = m->next) {
    if (take_listed(kind->known, m->key)) continue;
    struct strbuf kinds;
    strbuf_init(&kinds, 512);
    if (kinds_with(m->key, &kinds)) {
      problems_add(r->problems, m->key_line, m->key_column,
                   "'%s' is no key of %s, expected it only in a monitor of kind %s", m->key, kind->what,
                   strbuf_text(&kinds));
    } else {
      take_unknown_key(r->problems, m, kind->what, kind->known);
    }
    strbuf_fini(&kinds);
  }
}

/* NULL after a problem. */
static const struct monitor_kind *read_kind(struct pipeline_reader *r, const struct yaml_node *item) {
  const char *names[32], *name = NULL;
  size_t count = 0;
  for (const struct monitor_kind *kind = monitor_kinds; kind->name != NULL && count + 1 < ARRAY_LEN(names); kind++) {
    names[count++] = kind->name;
  }
  names[count] = NULL;
  if (item->kind != YAML_TREE_MAP) {
    take_map(r->problems, item, "a monitor", names, NULL); /* says that it is no map */
    return NULL;
  }
  const struct yaml_node *node =
      take_required(r->problems, item, "kind", "a monitor", "what it watches, as in 'kind: drift'");
  return take_choice(r->problems, node, "'kind' of a monitor", names, NULL, &name) ? find_kind(name) : NULL;
}

static void read_then(struct pipeline_reader *r, const struct yaml_node *item, const struct monitor_kind *kind,
                      json_t *monitor) {
  static const char *const choices[] = {"propose", "tell", NULL};
  const char *then = kind->then;
  const struct yaml_node *node = yaml_tree_get(item, "then");
  take_choice(r->problems, node, "'then'", choices, NULL, &then);
  if (strcmp(then, "propose") == 0 && kind->never_proposes != NULL) {
    problems_add(r->problems, node->line, node->column, "'then' of %s is 'propose', expected 'tell': %s", kind->what,
                 kind->never_proposes);
  }
  json_object_set_new(monitor, "then", json_string(then));
}

void pipeline_read_monitors(struct pipeline_reader *r, const struct yaml_node *list) {
  json_t *monitors = json_array(), *names = json_array();
  json_object_set_new(r->spec, "monitors", monitors);
  bool fine = take_list(r->problems, list, "'monitors'", 0, MONITORS_MAX);
  for (const struct yaml_node *item = fine ? list->first : NULL; item != NULL; item = item->next) {
    const char *name = NULL;
    const struct monitor_kind *kind = read_kind(r, item);
    if (kind == NULL) continue;
    json_t *monitor = json_object();
    json_array_append_new(monitors, monitor);
    check_keys(r, item, kind);
    const struct yaml_node *node = take_required(r->problems, item, "name", "a monitor", "a name");
    if (take_name(r->problems, node, "'name' of a monitor", &name)) {
      take_unique(r->problems, node, "the monitor", name, names);
      json_object_set_new(monitor, "name", json_string(name));
    }
    json_object_set_new(monitor, "kind", json_string(kind->name));
    read_then(r, item, kind, monitor);
    if (kind->min_rows > 0) monitor_read_window(r, item, kind, monitor);
    kind->read(r, item, monitor);
  }
  json_decref(names);
}

void pipeline_read_schedule(struct pipeline_reader *r, const struct yaml_node *node) {
  const char *text;
  struct cron cron;
  struct err err = {0};
  if (!take_text(r->problems, node, "'schedule'", &text)) return;
  if (!cron_parse(text, &cron, &err)) {
    problems_add(r->problems, node->line, node->column, "'schedule' is '%.80s': %s", text, err.text);
    return;
  }
  json_t *monitors = json_object_get(r->spec, "monitors"), *monitor;
  size_t i;
  json_array_foreach(monitors, i, monitor) {
    const char *name = json_string_value(json_object_get(monitor, "name"));
    if (name == NULL || strcmp(name, SCHEDULE_NAME) != 0) continue;
    problems_add(r->problems, node->line, node->column,
                 "a monitor is named '" SCHEDULE_NAME "', expected that name to be free for 'schedule' of 'retrain'");
    return;
  }
  json_array_append_new(monitors, json_pack("{s:s, s:s, s:s, s:o}", "name", SCHEDULE_NAME, "kind", "schedule", "then",
                                            "propose", "cron", cron_json(&cron, text)));
}

void pipeline_read_observations(struct pipeline_reader *r, const struct yaml_node *node) {
  static const struct {
    const char *key, *standard;
  } keys[] = {{"id", "id"},       {"at", NULL},           {"prediction", "prediction"},
              {"score", "score"}, {"version", "version"}, {"latency", "latency_ms"}};
  static const char *const known[] = {"id", "at", "prediction", "score", "version", "latency", NULL};
  json_t *names = json_array(), *section = json_object();
  json_object_set_new(r->spec, "observations", section);
  if (node != NULL) take_map(r->problems, node, "'observations'", known, NULL);
  /* What is not said first, so that a name that is said and taken is the one to be called wrong. */
  for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
    if (yaml_tree_get(node, keys[i].key) != NULL) continue;
    json_object_set_new(section, keys[i].key, keys[i].standard != NULL ? json_string(keys[i].standard) : json_null());
    if (keys[i].standard != NULL) json_array_append_new(names, json_string(keys[i].standard));
  }
  for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
    const char *name = NULL;
    char what[64];
    snprintf(what, sizeof what, "'%s' of 'observations'", keys[i].key);
    const struct yaml_node *value = yaml_tree_get(node, keys[i].key);
    if (!take_text(r->problems, value, what, &name)) continue;
    take_unique(r->problems, value, "the key", name, names);
    json_object_set_new(section, keys[i].key, json_string(name));
  }
  json_decref(names);
}
