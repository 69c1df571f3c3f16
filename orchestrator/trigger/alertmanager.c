/* The webhook bodies of Alertmanager and Grafana, which are of one shape -> one signal per alert. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "trigger/signal_private.h"

struct dialect {
  const char *source, *version, *who;
  bool grafana;
};
static const struct dialect alertmanager = {"alertmanager", "4", "an Alertmanager webhook", false};
static const struct dialect grafana = {"grafana", "1", "a Grafana webhook", true};

/* An alert's own labels win over what the group has in common; orch_pipeline over pipeline, which others may use. */
static const char *pipeline_of(const json_t *alert, const json_t *root, const char *fallback) {
  const json_t *places[] = {json_object_get(alert, "labels"), json_object_get(root, "commonLabels")};
  for (size_t i = 0; i < ARRAY_LEN(places); i++) {
    const char *name = signal_text(places[i], "orch_pipeline");
    if (!*name) name = signal_text(places[i], "pipeline");
    if (*name) return name;
  }
  return fallback ? fallback : "";
}

static void put_title(const json_t *alert, json_t *signal) {
  const json_t *notes = json_object_get(alert, "annotations");
  const char *name = signal_text(json_object_get(alert, "labels"), "alertname"), *words = signal_text(notes, "summary");
  if (!*words) words = signal_text(notes, "description");
  if (!*name) name = "an alert";
  char *title = mem_printf("%s%s%s", name, *words ? ": " : "", words);
  signal_set_title(signal, title);
  mem_free(title);
}

static void put_detail(const json_t *alert, const json_t *root, json_t *signal) {
  static const char *const kept[] = {"labels",       "annotations",  "startsAt", "endsAt",
                                     "generatorURL", "dashboardURL", "panelURL", "values"};
  json_t *detail = json_object();
  for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
    json_t *value = json_object_get(alert, kept[i]);
    if (value && !json_is_null(value)) json_object_set(detail, kept[i], value);
  }
  json_object_set_new(detail, "receiver", json_string(signal_text(root, "receiver")));
  json_object_set_new(detail, "externalURL", json_string(signal_text(root, "externalURL")));
  signal_set_detail(signal, detail);
}

/* Grafana turns a rule that got no data, or could not ask, into an alert of its own. Neither says anything about the
 * model: no data is told as such, an error too, and nothing is retrained for them. */
static void put_kind(const struct dialect *dialect, const json_t *alert, json_t *signal) {
  const char *name = signal_text(json_object_get(alert, "labels"), "alertname");
  bool no_data = dialect->grafana && strcmp(name, "DatasourceNoData") == 0,
       error = dialect->grafana && strcmp(name, "DatasourceError") == 0;
  json_object_set_new(signal, "kind", json_string(no_data ? "volume" : "alert"));
  if (no_data || error) json_object_set_new(signal, "then", json_string("tell"));
}

static void read_alert(const struct dialect *dialect, struct signal_in *in, const json_t *alert, const json_t *root,
                       const char *fallback) {
  const char *pipeline = pipeline_of(alert, root, fallback), *status = signal_text(alert, "status"),
             *fingerprint = signal_text(alert, "fingerprint"), *starts_at = signal_text(alert, "startsAt");
  int64_t wall_us;
  if (!json_is_object(alert)) return SIGNAL_PROBLEM(in, "an alert must be an object");
  if (!signal_name_pipeline(in, pipeline, "no label orch_pipeline or pipeline, and the URL has no ?pipeline=NAME"))
    return;
  bool firing = strcmp(status, "firing") == 0;
  if (!firing && strcmp(status, "resolved") != 0) return SIGNAL_PROBLEM(in, "status must be firing or resolved");
  if (!*fingerprint || strlen(fingerprint) > SIGNAL_NAME_MAX)
    return SIGNAL_PROBLEM(in, "no fingerprint, or one too long");
  if (!clock_parse_rfc3339(starts_at, &wall_us)) return SIGNAL_PROBLEM(in, "startsAt is no time");
  char episode[DIGEST_TEXT_SIZE];
  signal_episode(dialect->source, fingerprint, starts_at, episode);
  in->signal = json_pack("{ss ss ss ss}", "source", dialect->source, "fingerprint", fingerprint, "episode", episode,
                         "status", firing ? "firing" : "resolved");
  put_kind(dialect, alert, in->signal);
  put_title(alert, in->signal);
  put_detail(alert, root, in->signal);
}

static bool read_alerts(const struct dialect *dialect, struct signal_list *list, const json_t *root,
                        const char *fallback, struct err *err) {
  const json_t *alerts = json_object_get(root, "alerts"), *truncated = json_object_get(root, "truncatedAlerts");
  if (!json_is_array(alerts)) return err_set(err, ERR_INVALID, "no \"alerts\": this is not %s", dialect->who);
  if (strcmp(signal_text(root, "version"), dialect->version) != 0)
    return err_set(err, ERR_INVALID, "%s of version \"%.20s\"; version %s is known here", dialect->who,
                   signal_text(root, "version"), dialect->version);
  size_t n = json_array_size(alerts);
  if (n > SIGNAL_ALERTS_MAX)
    return err_set(err, ERR_LIMIT, "%zu alerts; at most %d are taken, set max_alerts", n, SIGNAL_ALERTS_MAX);
  list->items = mem_calloc(n + 1, sizeof list->items[0]);
  list->n = n;
  list->truncated = json_is_integer(truncated) && json_integer_value(truncated) > 0 ? json_integer_value(truncated) : 0;
  for (size_t i = 0; i < n; i++) read_alert(dialect, &list->items[i], json_array_get(alerts, i), root, fallback);
  return true;
}

static bool parse(const struct dialect *dialect, struct signal_list *ret, const char *body, size_t len,
                  const char *fallback, struct err *err) {
  json_t *root = signal_load_body(body, len, err);
  if (!root) return false;
  struct signal_list list = {0};
  bool fine = read_alerts(dialect, &list, root, fallback, err);
  json_decref(root);
  if (fine)
    *ret = list;
  else
    signal_list_fini(&list);
  return fine;
}

bool signal_parse_alertmanager(struct signal_list *ret, const char *body, size_t len, const char *fallback,
                               struct err *err) {
  return parse(&alertmanager, ret, body, len, fallback, err);
}

bool signal_parse_grafana(struct signal_list *ret, const char *body, size_t len, const char *fallback,
                          struct err *err) {
  return parse(&grafana, ret, body, len, fallback, err);
}
