#include "trigger/signal_in.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "trigger/signal_private.h"

void signal_in_fini(struct signal_in *in) {
  json_decref(in->signal);
  *in = (struct signal_in){0};
}

void signal_list_fini(struct signal_list *list) {
  for (size_t i = 0; i < list->n; i++) signal_in_fini(&list->items[i]);
  mem_free(list->items);
  *list = (struct signal_list){0};
}

bool signal_is_pipeline_name(const char *name) {
  size_t len = strlen(name);
  if (len == 0 || len > 63 || name[0] == '-' || name[len - 1] == '-') return false;
  return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

void signal_episode(const char *source, const char *fingerprint, const char *starts_at, char *out) {
  uint8_t bytes[DIGEST_BYTES];
  struct digest_state *state = digest_new();
  digest_add(state, source, strlen(source));
  digest_add(state, "|", 1);
  digest_add(state, fingerprint, strlen(fingerprint));
  digest_add(state, "|", 1);
  digest_add(state, starts_at, strlen(starts_at));
  digest_finish(state, bytes);
  digest_to_text(bytes, out);
}

static bool too_deep(json_t *value, unsigned depth) {
  if (!json_is_object(value) && !json_is_array(value)) return false;
  if (depth > SIGNAL_DEPTH_MAX) return true;
  size_t index;
  const char *name;
  json_t *item;
  if (json_is_array(value)) {
    json_array_foreach(value, index, item) if (too_deep(item, depth + 1)) return true;
  } else {
    json_object_foreach(value, name, item) if (too_deep(item, depth + 1)) return true;
  }
  return false;
}

json_t *signal_load_any(const char *body, size_t len, struct err *err) {
  json_error_t problem;
  if (len > SIGNAL_BODY_MAX) {
    err_set(err, ERR_LIMIT, "a body of %zu bytes; at most %d are taken", len, SIGNAL_BODY_MAX);
    return NULL;
  }
  json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &problem);
  if (!root) {
    err_set(err, ERR_USAGE, "the body is no JSON: %.150s (line %d, column %d)", problem.text, problem.line,
            problem.column);
    return NULL;
  }
  if (!too_deep(root, 1)) return root;
  err_set(err, ERR_LIMIT, "the body is nested deeper than %d", SIGNAL_DEPTH_MAX);
  json_decref(root);
  return NULL;
}

json_t *signal_load_body(const char *body, size_t len, struct err *err) {
  json_t *root = signal_load_any(body, len, err);
  if (!root || json_is_object(root)) return root;
  err_set(err, ERR_INVALID, "the body must be a JSON object");
  json_decref(root);
  return NULL;
}

bool signal_name_pipeline(struct signal_in *in, const char *pipeline, const char *how) {
  if (!*pipeline)
    SIGNAL_PROBLEM(in, "no pipeline is named: %s", how);
  else if (!signal_is_pipeline_name(pipeline))
    SIGNAL_PROBLEM(in, "\"%.80s\" is no pipeline's name", pipeline);
  else
    snprintf(in->pipeline, sizeof in->pipeline, "%s", pipeline);
  return !*in->problem;
}

const char *signal_text(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* Length of `text` cut to at most `max` characters, never inside one. */
static size_t cut_length(const char *text, size_t max) {
  size_t at = 0;
  for (size_t chars = 0; text[at]; chars++) {
    if (chars == max) break;
    at++;
    while (((unsigned char)text[at] & 0xC0) == 0x80) at++;
  }
  return at;
}

void signal_set_title(json_t *signal, const char *title) {
  json_object_set_new(signal, "title", json_stringn(title, cut_length(title, SIGNAL_TITLE_MAX)));
}

void signal_set_fingerprint(json_t *signal, const char *text) {
  char digest[DIGEST_TEXT_SIZE];
  if (strlen(text) > SIGNAL_NAME_MAX) {
    uint8_t bytes[DIGEST_BYTES];
    digest_bytes(text, strlen(text), bytes);
    digest_to_text(bytes, digest);
    text = digest;
  }
  json_object_set_new(signal, "fingerprint", json_string(text));
}

bool signal_detail_fits(const json_t *detail) {
  return json_dumpb(detail, NULL, 0, JSON_COMPACT) <= SIGNAL_DETAIL_MAX;
}

void signal_set_detail(json_t *signal, json_t *detail) {
  if (!signal_detail_fits(detail)) {
    json_object_clear(detail);
    json_object_set_new(detail, "cut", json_string("what came with it was over the limit of a detail"));
  }
  json_object_set_new(signal, "detail", detail);
}

/* ---- POST /v1/signals ---- */

static bool one_of(const char *text, const char *const *words) {
  for (; *words; words++)
    if (strcmp(text, *words) == 0) return true;
  return false;
}

/* A text member within `max` bytes, or `otherwise` when absent or null. NULL with `err` set when it is neither. */
static const char *member_text(const json_t *root, const char *key, size_t max, const char *otherwise,
                               struct err *err) {
  const json_t *value = json_object_get(root, key);
  if (!value || json_is_null(value)) return otherwise;
  if (!json_is_string(value) || json_string_length(value) == 0)
    err_set(err, ERR_INVALID, "\"%s\" must be a text that is not empty", key);
  else if (json_string_length(value) > max)
    err_set(err, ERR_LIMIT, "\"%s\" has %zu bytes; at most %zu are taken", key, json_string_length(value), max);
  else
    return json_string_value(value);
  return NULL;
}

static bool known_keys_only(json_t *root, struct err *err) {
  static const char *const known[] = {"pipeline", "title",   "source", "kind",   "fingerprint",
                                      "status",   "episode", "at",     "detail", NULL};
  const char *key;
  json_t *value;
  json_object_foreach(root, key, value) if (!one_of(key, known)) return err_set(
      err, ERR_INVALID,
      "unknown key \"%.60s\"; known are pipeline, title, source, kind, fingerprint, status, episode, at, detail", key);
  return true;
}

const char *const signal_kinds[] = {"external", "alert", "drift", "data_fault", "performance", "latency", NULL};

static bool fill_signal(struct signal_in *in, json_t *root, struct err *err) {
  static const char *const states[] = {"firing", "resolved", NULL};
  char words[SIGNAL_NAME_MAX + 40];
  const char *pipeline = member_text(root, "pipeline", 63, "", err);
  if (!pipeline) return false;
  if (!signal_is_pipeline_name(pipeline)) return err_set(err, ERR_INVALID, "\"pipeline\" must name a pipeline");
  const char *source = member_text(root, "source", SIGNAL_NAME_MAX, "api", err);
  if (!source) return false;
  if (strncmp(source, "monitor:", 8) == 0)
    return err_set(err, ERR_INVALID,
                   "\"source\" must not start with \"monitor:\": that is how orch's own monitors sign");
  const char *kind = member_text(root, "kind", 20, "external", err);
  if (!kind) return false;
  if (!one_of(kind, signal_kinds))
    return err_set(err, ERR_INVALID, "\"kind\" must be external, alert, drift, data_fault, performance or latency");
  const char *status = member_text(root, "status", 20, "firing", err);
  if (!status) return false;
  if (!one_of(status, states)) return err_set(err, ERR_INVALID, "\"status\" must be firing or resolved");
  snprintf(words, sizeof words, "a signal from %s", source);
  const char *title = member_text(root, "title", SIGNAL_DETAIL_MAX, words, err);
  if (!title) return false;
  const char *fingerprint = member_text(root, "fingerprint", SIGNAL_NAME_MAX, title, err);
  if (!fingerprint) return false;
  const char *episode = member_text(root, "episode", SIGNAL_NAME_MAX, "", err);
  if (!episode) return false;
  const char *at = member_text(root, "at", 40, "", err);
  int64_t wall_us;
  if (!at) return false;
  if (*at && !clock_parse_rfc3339(at, &wall_us))
    return err_set(err, ERR_INVALID, "\"at\" must be a time as in RFC 3339, for example 2026-01-05T09:04:05Z");
  json_t *detail = json_object_get(root, "detail");
  if (detail && !json_is_null(detail) && !json_is_object(detail))
    return err_set(err, ERR_INVALID, "\"detail\" must be an object");
  if (json_is_object(detail) && !signal_detail_fits(detail))
    return err_set(err, ERR_LIMIT, "\"detail\" is over %d bytes", SIGNAL_DETAIL_MAX);

  snprintf(in->pipeline, sizeof in->pipeline, "%s", pipeline);
  in->signal = json_pack("{ss ss ss}", "source", source, "kind", kind, "status", status);
  signal_set_title(in->signal, title);
  signal_set_fingerprint(in->signal, fingerprint);
  if (*episode) json_object_set_new(in->signal, "episode", json_string(episode));
  if (*at) json_object_set_new(in->signal, "at", json_string(at));
  json_object_set_new(in->signal, "detail", json_is_object(detail) ? json_incref(detail) : json_object());
  return true;
}

bool signal_parse(struct signal_in *ret, const char *body, size_t len, struct err *err) {
  json_t *root = signal_load_body(body, len, err);
  if (!root) return false;
  struct signal_in in = {0};
  bool fine = known_keys_only(root, err) && fill_signal(&in, root, err);
  json_decref(root);
  if (fine) *ret = in;
  return fine;
}
