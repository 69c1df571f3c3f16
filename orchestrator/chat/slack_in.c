#include "chat/slack_in.h"

#include <jansson.h>
#include <string.h>

#include "chat/form.h"

#define ID_MAX 32
#define VALUE_MAX 3000
#define URL_MAX 2048

/* ---- bounded copies ---- */

/* The text at a path of object members, or NULL when any step is missing, null or of another type. */
static const char *text_at(const json_t *node, const char *first, const char *second, const char *third) {
  const char *path[] = {first, second, third};
  for (size_t i = 0; i < ARRAY_LEN(path) && path[i] != NULL; i++) node = json_object_get(node, path[i]);
  return json_string_value(node);
}

/* Copies one text into the arena; an absent one stays NULL. */
static bool keep(struct arena *arena, const char **slot, const char *text, size_t max, const char *what,
                 struct err *err) {
  if (text == NULL || *text == '\0') return true;
  if (strlen(text) > max) return err_set(err, ERR_LIMIT, "Slack's %s is over %zu bytes", what, max);
  *slot = arena_strdup(arena, text);
  return *slot != NULL || err_set(err, ERR_LIMIT, "Slack's payload is too large");
}

/* An id is made of capital letters and digits: it becomes part of "TEAM/USER" and of log lines. */
static bool keep_id(struct arena *arena, const char **slot, const char *text, const char *what, struct err *err) {
  if (text != NULL && text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")] != '\0')
    return err_set(err, ERR_INVALID, "Slack's %s is not an id", what);
  return keep(arena, slot, text, ID_MAX, what, err);
}

static bool keep_ts(struct arena *arena, const char **slot, const char *text, struct err *err) {
  if (text != NULL && text[strspn(text, "0123456789.")] != '\0')
    return err_set(err, ERR_INVALID, "Slack's message_ts is not a timestamp");
  return keep(arena, slot, text, ID_MAX, "message_ts", err);
}

/* ---- who ---- */

/* In an org-wide install `team` is null and the enterprise stands for it; then a person from elsewhere shows only by
 * an enterprise of their own. */
static bool read_person(struct arena *arena, const json_t *root, struct slack_in *in, struct err *err) {
  const char *enterprise = text_at(root, "enterprise", "id", NULL);
  const char *team = text_at(root, "team", "id", NULL);
  const char *users = text_at(root, "user", "enterprise_id", NULL);
  if (!keep_id(arena, &in->team, team != NULL ? team : enterprise, "team", err) ||
      !keep_id(arena, &in->user, text_at(root, "user", "id", NULL), "user", err) ||
      !keep_id(arena, &in->user_team, text_at(root, "user", "team_id", NULL), "user's team", err))
    return false;
  if (team != NULL)
    in->external = in->user_team != NULL && strcmp(in->user_team, team) != 0;
  else
    in->external = users != NULL && enterprise != NULL && strcmp(users, enterprise) != 0;
  return true;
}

bool slack_in_identity(const struct slack_in *in, char out[SLACK_IDENTITY_SIZE]) {
  const char *team = in->external ? in->user_team : in->team;
  if (team == NULL || in->user == NULL) return false;
  snprintf(out, SLACK_IDENTITY_SIZE, "%s/%s", team, in->user);
  return true;
}

/* ---- what ---- */

static bool read_actions(struct arena *arena, const json_t *root, struct slack_in *in, struct err *err) {
  const json_t *action = json_array_get(json_object_get(root, "actions"), 0);
  const char *channel = text_at(root, "channel", "id", NULL);
  const char *ts = text_at(root, "container", "message_ts", NULL);
  in->kind = SLACK_IN_BLOCK_ACTIONS;
  return keep(arena, &in->action_id, text_at(action, "action_id", NULL, NULL), 255, "action_id", err) &&
         keep(arena, &in->value, text_at(action, "value", NULL, NULL), VALUE_MAX, "value", err) &&
         keep_id(arena, &in->channel, channel ? channel : text_at(root, "container", "channel_id", NULL), "channel",
                 err) &&
         keep_ts(arena, &in->message_ts, ts != NULL ? ts : text_at(root, "message", "ts", NULL), err) &&
         keep(arena, &in->response_url, text_at(root, "response_url", NULL, NULL), URL_MAX, "response_url", err);
}

/* The text of the first text input; a modal of ours has one. */
static const char *find_comment(const json_t *view) {
  const char *block_id, *action_id;
  json_t *block, *element;
  json_object_foreach(json_object_get(json_object_get(view, "state"), "values"), block_id, block) {
    json_object_foreach(block, action_id, element) {
      const char *type = text_at(element, "type", NULL, NULL);
      if (type != NULL && strcmp(type, "plain_text_input") == 0) return text_at(element, "value", NULL, NULL);
    }
  }
  return NULL;
}

static bool read_view(struct arena *arena, const json_t *root, struct slack_in *in, struct err *err) {
  const json_t *view = json_object_get(root, "view");
  return keep(arena, &in->callback_id, text_at(view, "callback_id", NULL, NULL), 255, "callback_id", err) &&
         keep(arena, &in->private_metadata, text_at(view, "private_metadata", NULL, NULL), VALUE_MAX,
              "private_metadata", err) &&
         keep(arena, &in->comment, find_comment(view), (size_t)SLACK_IN_COMMENT_MAX * 4, "comment", err);
}

static bool read_payload(struct arena *arena, const json_t *root, struct slack_in *in, struct err *err) {
  const char *type = text_at(root, "type", NULL, NULL);
  if (type == NULL) return err_set(err, ERR_INVALID, "Slack's payload has no type");
  if (!read_person(arena, root, in, err) ||
      !keep(arena, &in->trigger_id, text_at(root, "trigger_id", NULL, NULL), 255, "trigger_id", err))
    return false;
  if (strcmp(type, "block_actions") == 0) return read_actions(arena, root, in, err);
  if (strcmp(type, "view_submission") == 0) in->kind = SLACK_IN_VIEW_SUBMISSION;
  if (strcmp(type, "view_closed") == 0) in->kind = SLACK_IN_VIEW_CLOSED;
  return in->kind == SLACK_IN_OTHER || read_view(arena, root, in, err);
}

/* ---- forms ---- */

static bool field(struct arena *arena, const char *body, size_t len, const char *name, const char **ret_value,
                  struct err *err) {
  if (!form_field(arena, body, len, name, ret_value, err)) return false;
  if (*ret_value != NULL && **ret_value == '\0') *ret_value = NULL;
  return true;
}

static bool read_command(struct arena *arena, const char *body, size_t len, struct slack_in *in, struct err *err) {
  const char *team, *enterprise, *org, *user, *channel, *text, *trigger, *url;
  if (!field(arena, body, len, "team_id", &team, err) || !field(arena, body, len, "enterprise_id", &enterprise, err) ||
      !field(arena, body, len, "is_enterprise_install", &org, err) || !field(arena, body, len, "user_id", &user, err) ||
      !field(arena, body, len, "channel_id", &channel, err) || !field(arena, body, len, "text", &text, err) ||
      !field(arena, body, len, "trigger_id", &trigger, err) || !field(arena, body, len, "response_url", &url, err))
    return false;
  bool by_enterprise = enterprise != NULL && org != NULL && strcmp(org, "true") == 0;
  in->kind = SLACK_IN_COMMAND;
  return keep_id(arena, &in->team, by_enterprise ? enterprise : team, "team", err) &&
         keep_id(arena, &in->user, user, "user", err) && keep_id(arena, &in->channel, channel, "channel", err) &&
         keep(arena, &in->text, text, VALUE_MAX, "text", err) &&
         keep(arena, &in->trigger_id, trigger, 255, "trigger_id", err) &&
         keep(arena, &in->response_url, url, URL_MAX, "response_url", err);
}

bool slack_in_parse(struct arena *arena, const char *body, size_t len, struct slack_in *ret_in, struct err *err) {
  struct slack_in in = {0};
  const char *payload = NULL, *ssl_check = NULL;
  if (len > SLACK_IN_BODY_MAX) return err_set(err, ERR_LIMIT, "Slack's form is over %d bytes", SLACK_IN_BODY_MAX);
  if (!form_field(arena, body, len, "payload", &payload, err)) return false;
  if (payload == NULL) {
    if (!field(arena, body, len, "ssl_check", &ssl_check, err) || !field(arena, body, len, "command", &in.command, err))
      return false;
    if (in.command == NULL && ssl_check == NULL)
      return err_set(err, ERR_INVALID, "Slack's form has neither a payload nor a command");
    in.kind = SLACK_IN_SSL_CHECK;
    if (in.command != NULL && !read_command(arena, body, len, &in, err)) return false;
    *ret_in = in;
    return true;
  }
  json_error_t why;
  json_t *root = json_loads(payload, JSON_REJECT_DUPLICATES, &why);
  if (!json_is_object(root)) {
    json_decref(root);
    return err_set(err, ERR_INVALID, "Slack's payload is not a JSON object");
  }
  bool good = read_payload(arena, root, &in, err);
  json_decref(root);
  if (good) *ret_in = in;
  return good;
}
