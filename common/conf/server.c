#include "conf/server.h"

#include <string.h>

#include "conf/nearest.h"
#include "conf/take.h"

#define REVIEWERS_MAX 500
#define ENDPOINTS_MAX 50
#define GROUPS_MAX 200
#define WAREHOUSES_MAX 50

/* What an outgoing webhook may ask for: a type, a family or everything. */
static const char *const event_patterns[] = {
    "*",
    "gate.*",
    "gate.opened",
    "gate.decided",
    "gate.closed",
    "deployment.*",
    "deployment.live",
    "deployment.failed",
    "deployment.rolled_back",
    "proposal.*",
    "proposal.created",
    "proposal.blocked",
    "proposal.failed",
    "proposal.cancelled",
    "signal.*",
    "signal.fault",
    "signal.fault_resolved",
    "signal.held",
    "signal.alarm",
    "signal.alarm_resolved",
    "hold.*",
    "hold.set",
    "hold.released",
    "incident.*",
    "incident.opened",
    "incident.closed",
    NULL,
};

/* TEAM/USER: ids of Slack are capitals and digits. */
static bool is_slack_id(const char *text) {
  static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  size_t team = strspn(text, chars);
  size_t user = text[team] == '/' ? strspn(text + team + 1, chars) : 0;
  return team > 0 && user > 0 && text[team + 1 + user] == '\0';
}

static bool is_email(const char *text) {
  const char *at = strchr(text, '@');
  return at != NULL && at != text && at[1] != '\0' && strchr(at + 1, '@') == NULL && strchr(text, ' ') == NULL;
}

/* An optional text with a form; set in `object`, and unique among `seen`. */
static void take_formed(struct problems *problems, const struct yaml_node *map, const char *key, const char *what,
                        bool (*fits)(const char *text), const char *expected, json_t *object, json_t *seen) {
  const struct yaml_node *node = yaml_tree_get(map, key);
  const char *text;
  if (!take_text(problems, node, what, &text)) return;
  if (!fits(text)) {
    problems_add(problems, node->line, node->column, "%s is '%.60s', expected %s", what, text, expected);
    return;
  }
  take_unique(problems, node, what, text, seen);
  json_object_set_new(object, key, json_string(text));
}

static json_t *read_groups(struct problems *problems, const struct yaml_node *list, const char *what, json_t *all) {
  json_t *groups = json_array();
  bool fine = take_list(problems, list, what, 1, GROUPS_MAX);
  for (const struct yaml_node *item = fine ? list->first : NULL; item != NULL; item = item->next) {
    const char *group;
    if (!take_name(problems, item, "a group", &group)) continue;
    take_unique(problems, item, "the group", group, groups);
    if (all != NULL) json_object_set_new(all, group, json_true());
  }
  return groups;
}

static json_t *read_reviewers(struct problems *problems, const struct yaml_node *root, json_t *all_groups) {
  static const char *const known[] = {"name", "email", "slack", "groups", NULL}, *const later[] = {"mattermost", NULL};
  json_t *reviewers = json_array(), *names = json_array(), *slacks = json_array(), *emails = json_array();
  const struct yaml_node *list = take_required(problems, root, "reviewers", "the server's file",
                                               "a list of people: without one nothing goes live");
  bool fine = take_list(problems, list, "'reviewers'", 1, REVIEWERS_MAX);
  for (const struct yaml_node *item = fine ? list->first : NULL; item != NULL; item = item->next) {
    json_t *reviewer = json_object();
    const char *name;
    json_array_append_new(reviewers, reviewer);
    if (!take_map(problems, item, "a reviewer", known, later)) continue;
    const struct yaml_node *node = take_required(problems, item, "name", "a reviewer", "a name");
    if (take_person(problems, node, "'name' of a reviewer", &name)) {
      take_unique(problems, node, "the reviewer", name, names);
      json_object_set_new(reviewer, "name", json_string(name));
    }
    take_formed(problems, item, "email", "'email'", is_email, "an address as in dana@example.com", reviewer, emails);
    take_formed(problems, item, "slack", "'slack'", is_slack_id, "TEAM/USER as in T0001/U0001", reviewer, slacks);
    const struct yaml_node *groups = take_required(problems, item, "groups", "a reviewer", "a list of groups");
    json_object_set_new(reviewer, "groups", read_groups(problems, groups, "'groups'", all_groups));
  }
  json_decref(names);
  json_decref(slacks);
  json_decref(emails);
  return reviewers;
}

static bool is_channel(const char *text) {
  return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == strlen(text);
}

static json_t *read_chat(struct problems *problems, const struct yaml_node *node) {
  static const char *const known[] = {"slack", NULL}, *const later[] = {"mattermost", "teams", "discord", NULL};
  static const char *const known_slack[] = {"channel", NULL};
  if (!take_map(problems, node, "'chat'", known, later)) return NULL;
  const struct yaml_node *slack = yaml_tree_get(node, "slack");
  if (slack == NULL) return json_object();
  json_t *settings = json_object(), *seen = json_array();
  if (take_map(problems, slack, "'slack'", known_slack, NULL) &&
      take_required(problems, slack, "channel", "'slack'", "a channel's id as in C05MLOPS9K") != NULL) {
    take_formed(problems, slack, "channel", "'channel'", is_channel, "a channel's id as in C05MLOPS9K (not its name)",
                settings, seen);
  }
  json_decref(seen);
  return json_pack("{s:o}", "slack", settings);
}

static void take_url(struct problems *problems, const struct yaml_node *node, json_t *object) {
  const char *url;
  if (!take_text(problems, node, "'url'", &url)) return;
  const char *host = strncmp(url, "https://", 8) == 0 ? url + 8 : strncmp(url, "http://", 7) == 0 ? url + 7 : "";
  size_t authority = strcspn(host, "/?#");
  if (authority == 0 || strpbrk(url, " \"<>\\^`{|}") != NULL || strlen(url) > 2000) {
    problems_add(problems, node->line, node->column, "'url' is '%.80s', expected https://HOST/PATH", url);
  } else if (memchr(host, '@', authority) != NULL) {
    problems_add(problems, node->line, node->column,
                 "'url' holds a user or password, expected none: name the secret's variable in 'secret_env'");
  } else {
    json_object_set_new(object, "url", json_string(url));
  }
}

static void read_events(struct problems *problems, const struct yaml_node *list, json_t *webhook) {
  json_t *events = json_array();
  json_object_set_new(webhook, "events", events);
  if (!take_texts(problems, list, "'events'", 1, 30, true, events)) return;
  for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
    bool found = false;
    for (size_t i = 0; event_patterns[i] != NULL; i++) found = found || strcmp(event_patterns[i], item->text) == 0;
    if (found) continue;
    const char *near = nearest_word(item->text, event_patterns);
    problems_add(problems, item->line, item->column, "'events' has the unknown '%.60s', expected %s", item->text,
                 near != NULL ? near
                              : "gate.*, deployment.*, proposal.*, signal.*, hold.*, incident.* or a type of these");
  }
}

static json_t *read_webhooks(struct problems *problems, const struct yaml_node *list) {
  static const char *const known[] = {"name", "url", "secret_env", "events", NULL};
  json_t *webhooks = json_array(), *names = json_array();
  bool fine = take_list(problems, list, "'webhooks'", 0, ENDPOINTS_MAX);
  for (const struct yaml_node *item = fine ? list->first : NULL; item != NULL; item = item->next) {
    json_t *webhook = json_object();
    const char *name, *secret;
    json_array_append_new(webhooks, webhook);
    if (!take_map(problems, item, "a webhook", known, NULL)) continue;
    const struct yaml_node *node = take_required(problems, item, "name", "a webhook", "a name");
    if (take_name(problems, node, "'name' of a webhook", &name)) {
      take_unique(problems, node, "the webhook", name, names);
      json_object_set_new(webhook, "name", json_string(name));
    }
    take_url(problems, take_required(problems, item, "url", "a webhook", "where to send"), webhook);
    if (take_env_name(problems, take_required(problems, item, "secret_env", "a webhook", "a variable's name"),
                      "'secret_env'", &secret)) {
      json_object_set_new(webhook, "secret_env", json_string(secret));
    }
    read_events(problems, take_required(problems, item, "events", "a webhook", "a list as in [\"gate.*\"]"), webhook);
  }
  json_decref(names);
  return webhooks;
}

static void check_groups_exist(struct problems *problems, const struct yaml_node *list, json_t *all) {
  const char *known[GROUPS_MAX + 1];
  size_t count = 0;
  const char *group;
  json_t *value;
  json_object_foreach(all, group, value) {
    if (count < GROUPS_MAX) known[count++] = group;
  }
  known[count] = NULL;
  if (list == NULL || list->kind != YAML_TREE_LIST) return;
  for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
    if (item->kind != YAML_TREE_SCALAR || json_object_get(all, item->text) != NULL) continue;
    const char *near = nearest_word(item->text, known);
    problems_add(problems, item->line, item->column, "no reviewer is in the group '%.60s', expected %s%s", item->text,
                 near != NULL ? near : "a group that a reviewer has", near != NULL ? "?" : "");
  }
}

static json_t *read_callbacks(struct problems *problems, const struct yaml_node *list, json_t *all_groups) {
  static const char *const known[] = {"name", "secret_env", "may_speak_for", NULL};
  json_t *callbacks = json_array(), *names = json_array();
  bool fine = take_list(problems, list, "'callbacks'", 0, ENDPOINTS_MAX);
  for (const struct yaml_node *item = fine ? list->first : NULL; item != NULL; item = item->next) {
    json_t *callback = json_object();
    const char *name, *secret;
    json_array_append_new(callbacks, callback);
    if (!take_map(problems, item, "a callback", known, NULL)) continue;
    const struct yaml_node *node = take_required(problems, item, "name", "a callback", "a name");
    if (take_name(problems, node, "'name' of a callback", &name)) {
      take_unique(problems, node, "the callback", name, names);
      json_object_set_new(callback, "name", json_string(name));
    }
    if (take_env_name(problems, take_required(problems, item, "secret_env", "a callback", "a variable's name"),
                      "'secret_env'", &secret)) {
      json_object_set_new(callback, "secret_env", json_string(secret));
    }
    const struct yaml_node *groups =
        take_required(problems, item, "may_speak_for", "a callback", "the groups whose votes it may bring");
    json_object_set_new(callback, "may_speak_for", read_groups(problems, groups, "'may_speak_for'", NULL));
    check_groups_exist(problems, groups, all_groups);
  }
  json_decref(names);
  return callbacks;
}

/* When many pipelines fire together, a person is asked first; the numbers are in force even when nothing is said. */
static json_t *read_cascade(struct problems *problems, const struct yaml_node *node) {
  static const char *const known[] = {"pipelines", "within", "share", NULL};
  static const char *const shares[] = {"owner", "data", "column", NULL};
  int64_t pipelines = 3, within_ms = 3600000;
  if (node != NULL && node->kind == YAML_TREE_SCALAR && strcmp(node->text, "off") == 0) {
    return json_pack("{s:b}", "off", 1);
  }
  json_t *share = json_array(), *seen = json_array();
  if (node != NULL && node->kind == YAML_TREE_SCALAR) {
    problems_add(problems, node->line, node->column,
                 "'cascade' is '%.60s', expected off, or a map as in {pipelines: 3, within: 1h}", node->text);
  } else if (take_map(problems, node, "'cascade'", known, NULL)) {
    take_int(problems, yaml_tree_get(node, "pipelines"), "'pipelines'", 2, 1000, &pipelines);
    take_duration(problems, yaml_tree_get(node, "within"), "'within'", 60000, INT64_C(604800000), &within_ms);
    const struct yaml_node *list = yaml_tree_get(node, "share");
    bool fine = take_list(problems, list, "'share'", 1, ARRAY_LEN(shares) - 1);
    for (const struct yaml_node *item = fine ? list->first : NULL; item != NULL; item = item->next) {
      const char *word;
      if (!take_choice(problems, item, "an item of 'share'", shares, NULL, &word)) continue;
      take_unique(problems, item, "an item of 'share'", word, seen);
      json_array_append_new(share, json_string(word));
    }
  }
  for (size_t i = 0; json_array_size(seen) == 0 && shares[i] != NULL; i++) {
    json_array_append_new(share, json_string(shares[i]));
  }
  json_decref(seen);
  return json_pack("{s:I, s:I, s:o}", "pipelines", (json_int_t)pipelines, "within_ms", (json_int_t)within_ms, "share",
                   share);
}

static json_t *read_prometheus(struct problems *problems, const struct yaml_node *node) {
  static const char *const known[] = {"url", "token_env", NULL};
  const char *token;
  if (!take_map(problems, node, "'prometheus'", known, NULL)) return NULL;
  json_t *prometheus = json_object();
  take_url(problems, take_required(problems, node, "url", "'prometheus'", "its address as in http://prometheus:9090"),
           prometheus);
  if (take_env_name(problems, yaml_tree_get(node, "token_env"), "'token_env'", &token)) {
    json_object_set_new(prometheus, "token_env", json_string(token));
  }
  return prometheus;
}

static json_t *read_warehouses(struct problems *problems, const struct yaml_node *list) {
  json_t *warehouses = json_array();
  bool fine = take_list(problems, list, "'warehouses'", 0, WAREHOUSES_MAX);
  for (const struct yaml_node *item = fine ? list->first : NULL; item != NULL; item = item->next) {
    const char *name;
    if (!take_warehouse(problems, item, "an item of 'warehouses'", &name)) continue;
    take_unique(problems, item, "the warehouse", name, warehouses);
  }
  return warehouses;
}

json_t *server_parse(const char *text, size_t len, struct problems *problems) {
  static const char *const known[] = {"reviewers", "chat",       "webhooks",   "callbacks",
                                      "cascade",   "prometheus", "warehouses", NULL};
  struct arena arena;
  arena_init(&arena, (size_t)8 << 20);
  json_t *server = json_object(), *groups = json_object();
  const struct yaml_node *root = yaml_tree_read(text, len, &arena, problems);
  if (take_map(problems, root, "the server's file", known, NULL)) {
    json_object_set_new(server, "reviewers", read_reviewers(problems, root, groups));
    json_t *chat = read_chat(problems, yaml_tree_get(root, "chat"));
    if (chat != NULL) json_object_set_new(server, "chat", chat);
    json_object_set_new(server, "webhooks", read_webhooks(problems, yaml_tree_get(root, "webhooks")));
    json_object_set_new(server, "callbacks", read_callbacks(problems, yaml_tree_get(root, "callbacks"), groups));
    json_object_set_new(server, "cascade", read_cascade(problems, yaml_tree_get(root, "cascade")));
    json_t *prometheus = read_prometheus(problems, yaml_tree_get(root, "prometheus"));
    if (prometheus != NULL) json_object_set_new(server, "prometheus", prometheus);
    json_object_set_new(server, "warehouses", read_warehouses(problems, yaml_tree_get(root, "warehouses")));
  }
  arena_fini(&arena);
  json_decref(groups);
  if (problems->count == 0) return server;
  json_decref(server);
  return NULL;
}
