/* CloudEvents 1.0, structured, batched and binary -> one signal per event. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "trigger/signal_private.h"

#define ATTRIBUTE_MAX 1024 /* bytes of one attribute */
#define HOW "?pipeline=NAME, an attribute `pipeline`, or data.orch_pipeline"

/* ---- an event as one JSON object, whichever way it came, becomes a signal ---- */

static const char *pipeline_of(const json_t *event, const json_t *data, const char *fallback) {
  const char *name = fallback ? fallback : "";
  if (!*name) name = signal_text(event, "pipeline");
  if (!*name) name = signal_text(data, "orch_pipeline");
  if (!*name) name = signal_text(data, "pipeline");
  return name;
}

static bool ends_with(const char *text, const char *tail) {
  size_t len = strlen(text), tail_len = strlen(tail);
  return len >= tail_len && strcmp(text + len - tail_len, tail) == 0;
}

/* NULL when data.status is there and is neither. */
static const char *status_of(const char *type, const json_t *data) {
  const char *status = signal_text(data, "status");
  if (strcmp(status, "firing") == 0) return "firing";
  if (strcmp(status, "resolved") == 0) return "resolved";
  if (*status) return NULL;
  return ends_with(type, ".resolved") || ends_with(type, ".recovered") ? "resolved" : "firing";
}

static const char *kind_of(const json_t *data) {
  const char *kind = signal_text(data, "kind");
  for (size_t i = 0; signal_kinds[i]; i++)
    if (strcmp(kind, signal_kinds[i]) == 0) return signal_kinds[i];
  return "external";
}

/* "; psi 0.31 (threshold 0.2)" when the data say so. */
static void add_measure(const json_t *data, struct strbuf *title) {
  const json_t *value = json_object_get(data, "value"), *threshold = json_object_get(data, "threshold");
  const char *metric = signal_text(data, "metric");
  if (!*metric || !json_is_number(value)) return;
  strbuf_printf(title, ": %.60s %.6g", metric, json_number_value(value));
  if (json_is_number(threshold)) strbuf_printf(title, " (threshold %.6g)", json_number_value(threshold));
}

static void put_title(const json_t *event, const json_t *data, json_t *signal) {
  static const char *const keys[] = {"title", "summary", "message"};
  struct strbuf title;
  strbuf_init(&title, SIGNAL_BODY_MAX);
  for (size_t i = 0; i < ARRAY_LEN(keys) && title.len == 0; i++) strbuf_puts(&title, signal_text(data, keys[i]));
  if (title.len == 0) {
    const char *subject = signal_text(event, "subject");
    strbuf_puts(&title, signal_text(event, "type"));
    if (*subject) strbuf_printf(&title, " %s", subject);
    add_measure(data, &title);
  }
  signal_set_title(signal, strbuf_text(&title));
  strbuf_fini(&title);
}

static void put_identity(struct signal_in *in, const json_t *event) {
  const char *source = signal_text(event, "source");
  char *about = mem_printf("%s|%s|%s", source, signal_text(event, "type"), signal_text(event, "subject"));
  signal_set_fingerprint(in->signal, about);
  mem_free(about);
  /* source and id together name an event (specification, "id"): the same again is the same delivery. */
  signal_episode("cloudevents", source, signal_text(event, "id"), in->delivery);
}

static bool attributes_fine(struct signal_in *in, const json_t *event) {
  static const char *const required[] = {"specversion", "id", "source", "type"};
  static const char *const optional[] = {"subject", "time", "datacontenttype", "dataschema", "pipeline"};
  for (size_t i = 0; i < ARRAY_LEN(required) + ARRAY_LEN(optional); i++) {
    const char *name = i < ARRAY_LEN(required) ? required[i] : optional[i - ARRAY_LEN(required)];
    const json_t *value = json_object_get(event, name);
    if (!value && i >= ARRAY_LEN(required)) continue;
    if (!json_is_string(value) || json_string_length(value) == 0) {
      SIGNAL_PROBLEM(in, "the attribute %s must be a text that is not empty", name);
      return false;
    }
    if (json_string_length(value) > ATTRIBUTE_MAX) {
      SIGNAL_PROBLEM(in, "the attribute %s is over %d bytes", name, ATTRIBUTE_MAX);
      return false;
    }
  }
  if (strcmp(signal_text(event, "specversion"), "1.0") != 0) {
    SIGNAL_PROBLEM(in, "specversion is \"%.20s\"; 1.0 is known here", signal_text(event, "specversion"));
    return false;
  }
  return true;
}

static void read_event(struct signal_in *in, json_t *event, const char *fallback) {
  const json_t *data = json_object_get(event, "data");
  int64_t wall_us;
  if (!json_is_object(event)) return SIGNAL_PROBLEM(in, "an event must be an object");
  if (!attributes_fine(in, event)) return;
  if (!signal_name_pipeline(in, pipeline_of(event, data, fallback), HOW)) return;
  const char *time = signal_text(event, "time"), *status = status_of(signal_text(event, "type"), data);
  if (*time && !clock_parse_rfc3339(time, &wall_us)) return SIGNAL_PROBLEM(in, "the attribute time is no time");
  if (!status) return SIGNAL_PROBLEM(in, "data.status must be firing or resolved");
  in->signal = json_pack("{ss ss ss}", "source", "cloudevents", "kind", kind_of(data), "status", status);
  put_identity(in, event);
  put_title(event, data, in->signal);
  if (*time) json_object_set_new(in->signal, "at", json_string(time));
  signal_set_detail(in->signal, json_deep_copy(event));
}

static bool take_list(struct signal_list *ret, json_t *root, const char *fallback, struct err *err) {
  size_t n = json_is_array(root) ? json_array_size(root) : 1;
  if (n > SIGNAL_ALERTS_MAX)
    return err_set(err, ERR_LIMIT, "%zu events; at most %d are taken at once", n, SIGNAL_ALERTS_MAX);
  if (n == 0) return err_set(err, ERR_INVALID, "the batch holds no event");
  struct signal_list list = {.n = n, .items = mem_calloc(n, sizeof list.items[0])};
  for (size_t i = 0; i < n; i++)
    read_event(&list.items[i], json_is_array(root) ? json_array_get(root, i) : root, fallback);
  *ret = list;
  return true;
}

bool signal_parse_cloudevents(struct signal_list *ret, const char *body, size_t len, bool batch, const char *fallback,
                              struct err *err) {
  json_t *root = signal_load_any(body, len, err);
  if (!root) return false;
  bool fine = json_is_array(root) == batch;
  if (!fine)
    err_set(err, ERR_INVALID, batch ? "a batch of CloudEvents is a JSON array" : "a CloudEvent is a JSON object");
  else
    fine = take_list(ret, root, fallback, err);
  json_decref(root);
  return fine;
}

/* ---- binary mode ---- */

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* A header's value as text: a quoted string unquoted, then percent-decoded once (HTTP binding, 3.1.3.2). NULL when the
 * result is no UTF-8 (overlong forms are none) or an escape is broken. */
static json_t *attribute_text(const char *value) {
  size_t len = strlen(value);
  bool quoted = len >= 2 && value[0] == '"' && value[len - 1] == '"';
  char *out = mem_alloc(len + 1);
  size_t used = 0;
  bool fine = true;
  for (size_t i = quoted ? 1 : 0, end = quoted ? len - 1 : len; fine && i < end; i++) {
    if (quoted && value[i] == '\\' && i + 1 < end) {
      out[used++] = value[++i];
    } else if (value[i] == '%') {
      int high = i + 1 < end ? hex_digit(value[i + 1]) : -1, low = i + 2 < end ? hex_digit(value[i + 2]) : -1;
      fine = high >= 0 && low >= 0 && (high | low) != 0;
      out[used++] = (char)(high * 16 + low);
      i += 2;
    } else {
      out[used++] = value[i];
    }
  }
  json_t *text = fine ? json_stringn(out, used) : NULL;
  mem_free(out);
  return text;
}

static bool take_attributes(json_t *event, const struct signal_header *headers, size_t n, struct err *err) {
  for (size_t i = 0; i < n; i++) {
    if (strncasecmp(headers[i].name, "ce-", 3) != 0) continue;
    char name[64];
    size_t len = strlen(headers[i].name + 3);
    if (len == 0 || len >= sizeof name || strcasecmp(headers[i].name + 3, "data") == 0)
      return err_set(err, ERR_INVALID, "the header %.80s names no attribute", headers[i].name);
    for (size_t c = 0; c <= len; c++) {
      char letter = headers[i].name[3 + c];
      name[c] = letter >= 'A' && letter <= 'Z' ? (char)(letter + ('a' - 'A')) : letter;
    }
    json_t *text = attribute_text(headers[i].value);
    if (!text) return err_set(err, ERR_INVALID, "the header ce-%s is not percent-encoded UTF-8", name);
    json_object_set_new(event, name, text);
  }
  return true;
}

static bool is_json_type(const char *type) {
  size_t len = type ? strcspn(type, "; \t") : 0;
  return (len == 16 && strncasecmp(type, "application/json", 16) == 0) ||
         (len > 5 && strncasecmp(type + len - 5, "+json", 5) == 0);
}

bool signal_parse_cloudevent_binary(struct signal_list *ret, const struct signal_header *headers, size_t n,
                                    const char *content_type, const char *body, size_t len, const char *fallback,
                                    struct err *err) {
  json_t *event = json_object();
  bool fine = take_attributes(event, headers, n, err);
  if (fine && len > 0 && is_json_type(content_type)) {
    json_t *data = signal_load_any(body, len, err);
    fine = data != NULL;
    if (fine) json_object_set_new(event, "data", data);
  } else if (fine && len > 0) {
    json_t *text = len <= SIGNAL_DETAIL_MAX ? json_stringn(body, len) : NULL; /* NULL: binary, or too long to keep */
    json_object_set_new(event, text ? "data" : "data_bytes", text ? text : json_integer((json_int_t)len));
  }
  if (fine) fine = take_list(ret, event, fallback, err);
  json_decref(event);
  return fine;
}
