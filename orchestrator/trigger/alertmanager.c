/* Alertmanager's webhook body -> one signal per alert. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "trigger/signal_in.h"

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* An alert's own labels win over what the group has in common; orch_pipeline over pipeline, which others may use. */
static const char *pipeline_of(const json_t *alert, const json_t *root, const char *fallback) {
  const json_t *places[] = {json_object_get(alert, "labels"), json_object_get(root, "commonLabels")};
  for (size_t i = 0; i < ARRAY_LEN(places); i++) {
    const char *name = text_of(places[i], "orch_pipeline");
    if (!*name) name = text_of(places[i], "pipeline");
    if (*name) return name;
  }
  return fallback ? fallback : "";
}

static void put_title(const json_t *alert, json_t *signal) {
  const json_t *notes = json_object_get(alert, "annotations");
  const char *name = text_of(json_object_get(alert, "labels"), "alertname"), *words = text_of(notes, "summary");
  if (!*words) words = text_of(notes, "description");
  if (!*name) name = "an alert";
  char title[SIGNAL_TITLE_MAX];
  int used = snprintf(title, sizeof title, "%s%s%s", name, *words ? ": " : "", words);
  size_t len = used < 0 ? 0 : (size_t)used < sizeof title ? (size_t)used : sizeof title - 1;
  /* A cut must not leave half a character behind. */
  while (used >= (int)sizeof title && len && ((unsigned char)title[len - 1] & 0xC0) == 0x80) len--;
  if (used >= (int)sizeof title && len && ((unsigned char)title[len - 1] & 0x80)) len--;
  json_object_set_new(signal, "title", json_stringn(title, len));
}

static void put_detail(const json_t *alert, const json_t *root, json_t *signal) {
  static const char *const kept[] = {"labels", "annotations", "startsAt", "endsAt", "generatorURL"};
  json_t *detail = json_object();
  for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
    json_t *value = json_object_get(alert, kept[i]);
    if (value) json_object_set(detail, kept[i], value);
  }
  json_object_set_new(detail, "receiver", json_string(text_of(root, "receiver")));
  json_object_set_new(detail, "externalURL", json_string(text_of(root, "externalURL")));
  if (json_dumpb(detail, NULL, 0, JSON_COMPACT) > SIGNAL_DETAIL_MAX) {
    json_object_clear(detail);
    json_object_set_new(detail, "cut", json_string("labels and annotations were over the limit of a detail"));
  }
  json_object_set_new(signal, "detail", detail);
}

#define PROBLEM(in, ...) ((void)snprintf((in)->problem, sizeof(in)->problem, __VA_ARGS__))

static void read_alert(struct signal_in *in, const json_t *alert, const json_t *root, const char *fallback) {
  const char *pipeline = pipeline_of(alert, root, fallback), *status = text_of(alert, "status"),
             *fingerprint = text_of(alert, "fingerprint"), *starts_at = text_of(alert, "startsAt");
  int64_t wall_us;
  if (!json_is_object(alert)) return PROBLEM(in, "an alert must be an object");
  if (!*pipeline)
    return PROBLEM(in, "no label orch_pipeline or pipeline, and the URL has no ?pipeline=NAME to fall back on");
  if (!signal_is_pipeline_name(pipeline)) return PROBLEM(in, "\"%.80s\" is no pipeline's name", pipeline);
  snprintf(in->pipeline, sizeof in->pipeline, "%s", pipeline);
  bool firing = strcmp(status, "firing") == 0;
  if (!firing && strcmp(status, "resolved") != 0) return PROBLEM(in, "status must be firing or resolved");
  if (!*fingerprint || strlen(fingerprint) > SIGNAL_NAME_MAX) return PROBLEM(in, "no fingerprint, or one too long");
  if (!clock_parse_rfc3339(starts_at, &wall_us)) return PROBLEM(in, "startsAt is no time");
  char episode[DIGEST_TEXT_SIZE];
  signal_episode("alertmanager", fingerprint, starts_at, episode);
  in->signal = json_pack("{ss ss ss ss ss}", "source", "alertmanager", "kind", "alert", "fingerprint", fingerprint,
                         "episode", episode, "status", firing ? "firing" : "resolved");
  put_title(alert, in->signal);
  put_detail(alert, root, in->signal);
}

static bool read_alerts(struct signal_list *list, const json_t *root, const char *fallback, struct err *err) {
  const json_t *alerts = json_object_get(root, "alerts"), *truncated = json_object_get(root, "truncatedAlerts");
  if (!json_is_array(alerts)) return err_set(err, ERR_INVALID, "no \"alerts\": this is no Alertmanager webhook");
  if (strcmp(text_of(root, "version"), "4") != 0)
    return err_set(err, ERR_INVALID, "an Alertmanager webhook of version \"%.20s\"; version 4 is known here",
                   text_of(root, "version"));
  size_t n = json_array_size(alerts);
  if (n > SIGNAL_ALERTS_MAX)
    return err_set(err, ERR_LIMIT, "%zu alerts; at most %d are taken, set max_alerts", n, SIGNAL_ALERTS_MAX);
  list->items = mem_calloc(n + 1, sizeof list->items[0]);
  list->n = n;
  list->truncated = json_is_integer(truncated) && json_integer_value(truncated) > 0 ? json_integer_value(truncated) : 0;
  for (size_t i = 0; i < n; i++) read_alert(&list->items[i], json_array_get(alerts, i), root, fallback);
  return true;
}

bool signal_parse_alertmanager(struct signal_list *ret, const char *body, size_t len, const char *fallback,
                               struct err *err) {
  json_t *root = signal_load_body(body, len, err);
  if (!root) return false;
  struct signal_list list = {0};
  bool fine = read_alerts(&list, root, fallback, err);
  json_decref(root);
  if (fine)
    *ret = list;
  else
    signal_list_fini(&list);
  return fine;
}
