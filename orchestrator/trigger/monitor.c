#include "trigger/monitor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "trigger/monitor_private.h"

static const struct window_kind *const kinds[] = {&window_kind_drift,    &window_kind_prediction_drift,
                                                  &window_kind_quality,  &window_kind_performance,
                                                  &window_kind_estimate, &window_kind_latency};

/* ---- what is read ---- */

size_t wanted_add(struct wanted *wanted, const char *name) {
  for (size_t i = 0; i < wanted->n; i++)
    if (strcmp(wanted->names[i], name) == 0) return i;
  if (wanted->n == wanted->size) {
    wanted->size = wanted->size ? 2 * wanted->size : 32;
    wanted->names = mem_realloc(wanted->names, wanted->size * sizeof wanted->names[0]);
  }
  wanted->names[wanted->n] = mem_strdup(name);
  return wanted->n++;
}

void wanted_fini(struct wanted *wanted) {
  for (size_t i = 0; i < wanted->n; i++) mem_free(wanted->names[i]);
  mem_free(wanted->names);
  *wanted = (struct wanted){0};
}

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

struct row_parser *wanted_parser(const struct wanted *wanted, const char *stream, const char *keys) {
  json_t *doc = keys && strcmp(stream, "labels") != 0 ? json_loads(keys, 0, NULL) : NULL;
  struct row_keys names = {text_of(doc, "id"),    text_of(doc, "at"),      text_of(doc, "prediction"),
                           text_of(doc, "score"), text_of(doc, "version"), text_of(doc, "latency")};
  struct row_parser *parser = row_parser_new((const char *const *)wanted->names, wanted->n, &names);
  json_decref(doc);
  return parser;
}

void monitor_row_read(struct row_parser *parser, int64_t number, int64_t received_us, const char *line, size_t len,
                      struct monitor_row *ret) {
  struct err ignored = {0};
  *ret = (struct monitor_row){.number = number, .line = line, .len = len, .parser = parser, .at_us = received_us};
  ret->broken = !row_parse(parser, line, len, &ignored);
  int64_t at;
  /* A row that claims to be from later than it came is not asked. */
  if (!ret->broken && row_time(parser, &at) && at <= received_us) {
    ret->at_us = at;
    ret->has_at = true;
  }
}

/* ---- the monitor ---- */

double spec_number(const struct monitor *monitor, const char *key, double otherwise) {
  const json_t *value = json_object_get(monitor->spec, key);
  return json_is_number(value) ? json_number_value(value) : otherwise;
}

const char *monitor_key(const struct monitor *monitor, const char *key) {
  const char *name = text_of(monitor->keys, key);
  return name ? name : strcmp(key, "latency") == 0 ? "latency_ms" : key;
}

bool monitor_key_is_reserved(const struct monitor *monitor, const char *name) {
  static const char *const reserved[] = {"id", "prediction", "score", "version", "latency"};
  for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
    if (strcmp(name, monitor_key(monitor, reserved[i])) == 0) return true;
  const char *at = text_of(monitor->keys, "at");
  return at ? strcmp(name, at) == 0 : strcmp(name, "at") == 0 || strcmp(name, "timestamp") == 0;
}

static bool read_spec(struct monitor *m, const struct monitor_task *task, struct err *err) {
  json_error_t problem;
  m->spec = json_loads(task->spec ? task->spec : "", JSON_REJECT_DUPLICATES, &problem);
  m->name = text_of(m->spec, "name");
  const char *kind = text_of(m->spec, "kind");
  if (!m->name || !kind) return err_set(err, ERR_INVALID, "a monitor's spec needs a name and a kind");
  for (size_t i = 0; i < ARRAY_LEN(kinds) && !m->kind; i++)
    if (strcmp(kinds[i]->name, kind) == 0) m->kind = kinds[i];
  if (!m->kind) return err_set(err, ERR_INVALID, "monitor %s: %s is no kind that judges windows", m->name, kind);
  m->then = text_of(m->spec, "then");
  m->min_rows = (int64_t)fmax(1, spec_number(m, "min_rows", 200));
  const json_t *want = json_object_get(m->spec, "for");
  const json_t *of = json_object_get(want, "of"), *hits = json_object_get(want, "hits");
  m->of = (unsigned)fmin(WINDOW_OF_MAX, fmax(1, json_is_number(of) ? json_number_value(of) : 3));
  m->hits = (unsigned)fmin(m->of, fmax(1, json_is_number(hits) ? json_number_value(hits) : 2));
  return true;
}

struct monitor *monitor_new(const struct monitor_task *task, struct wanted *wanted, struct err *err) {
  struct monitor *m = mem_alloc(sizeof *m);
  m->champion = task->champion;
  m->profile = task->profile;
  m->number = task->number;
  m->warm_row = task->warm_row;
  m->warm_us = task->warm_us;
  m->signals = json_array();
  m->keys = task->keys ? json_loads(task->keys, 0, NULL) : NULL;
  m->metrics = task->metrics ? json_loads(task->metrics, 0, NULL) : NULL;
  m->state = task->state ? json_loads(task->state, 0, NULL) : NULL;
  if (!json_is_object(m->state)) {
    json_decref(m->state);
    m->state = json_object();
  }
  m->fresh = !json_is_true(json_object_get(m->state, "judged"));
  if (read_spec(m, task, err) && m->kind->prepare(m, wanted, err)) return m;
  monitor_free(m);
  return NULL;
}

void monitor_free(struct monitor *m) {
  if (!m) return;
  if (m->kind) m->kind->release(m);
  json_decref(m->spec);
  json_decref(m->state);
  json_decref(m->keys);
  json_decref(m->metrics);
  json_decref(m->signals);
  mem_free(m);
}

const char *monitor_name(const struct monitor *monitor) {
  return monitor->name;
}
size_t monitor_window_bytes(const struct monitor *monitor) {
  return sizeof(struct window) + monitor->kind->bytes(monitor);
}
json_t *monitor_state(const struct monitor *monitor) {
  return monitor->state;
}
json_t *monitor_signals(const struct monitor *monitor) {
  return monitor->signals;
}

/* ---- windows ---- */

struct window *window_open(struct monitor *monitor, const struct window_span *span) {
  struct window *w = mem_alloc(sizeof *w);
  w->monitor = monitor;
  w->span = *span;
  w->acc = monitor->kind->open(monitor);
  return w;
}

void window_drop(struct window *w) {
  if (!w) return;
  w->monitor->kind->drop(w->monitor, w->acc);
  for (size_t i = 0; i < w->n_versions; i++) w->monitor->kind->drop(w->monitor, w->versions[i].acc);
  mem_free(w);
}

int64_t window_rows(const struct window *window) {
  return window->rows;
}

/* The number of the version that a row says it was predicted by: 3, "3" or "housing@3"; the champion's when it says
 * nothing that can be read. */
static int row_version(const struct monitor *m, const struct monitor_row *row) {
  const struct row_cell *cell = row_key(row->parser, ROW_VERSION);
  if (m->champion == 0 || row->broken || (cell->kind != ROW_NUMBER && cell->kind != ROW_TEXT)) return m->champion;
  const char *at = cell->text, *end = at + cell->len;
  for (const char *c = at; c < end; c++)
    if (*c == '@') at = c + 1;
  int version = 0;
  if (at == end || end - at > 9) return m->champion;
  for (; at < end; at++) {
    if (*at < '0' || *at > '9') return m->champion;
    version = version * 10 + (*at - '0');
  }
  return version;
}

static struct window_version *version_of(struct window *w, int version) {
  for (size_t i = 0; i < w->n_versions; i++)
    if (w->versions[i].version == version) return &w->versions[i];
  if (w->n_versions == WINDOW_VERSIONS_MAX) return NULL;
  struct window_version *v = &w->versions[w->n_versions++];
  v->version = version;
  v->acc = w->monitor->kind->open(w->monitor);
  return v;
}

void window_add(struct window *w, const struct monitor_row *row) {
  struct monitor *m = w->monitor;
  if (w->rows++ == 0) w->first_row = row->number;
  w->last_row = row->number;
  if (row->has_at) {
    if (!w->has_times || row->at_us < w->oldest_us) w->oldest_us = row->at_us;
    if (!w->has_times || row->at_us > w->newest_us) w->newest_us = row->at_us;
    w->has_times = true;
  }
  int version = row_version(m, row);
  if (version == m->champion) {
    w->champion_rows++;
    m->kind->add(m, w->acc, row, true);
    return;
  }
  struct window_version *v = version_of(w, version);
  if (v) {
    v->rows++;
    m->kind->add(m, v->acc, row, false);
  } else {
    w->beyond++;
  }
}

/* ---- judging ---- */

static void put_time(json_t *doc, const char *key, bool known, int64_t us) {
  char at[CLOCK_RFC3339_SIZE];
  if (known) clock_format_rfc3339(us, at);
  json_object_set_new(doc, key, known ? json_string(at) : json_null());
}

static json_t *result_head(const char *name, const char *kind, int champion, int64_t number,
                           const struct window_span *span) {
  json_t *doc =
      json_pack("{ss* ss* si sI sI sI}", "monitor", name, "kind", kind, "champion", champion, "number",
                (json_int_t)number, "from_row", (json_int_t)span->from_row, "to_row", (json_int_t)span->to_row);
  put_time(doc, "from_at", span->by_time, span->from_us);
  put_time(doc, "to_at", span->by_time, span->to_us);
  return doc;
}

static void result_tail(json_t *doc, int64_t rows, int64_t late, const struct window_said *said) {
  json_object_set_new(doc, "rows", json_integer(rows));
  json_object_set_new(doc, "late", json_integer(late));
  json_object_set_new(doc, "verdict", json_string(window_verdict_name(said->verdict)));
  json_object_set_new(doc, "held", json_boolean(said->held));
  json_object_set_new(doc, "value", json_number(said->value));
  json_object_set_new(doc, "threshold", json_number(said->threshold));
  json_t *summary = json_string(strbuf_text(&said->summary));
  json_object_set_new(doc, "summary", summary ? summary : json_string(""));
}

static bool is_warming(const struct monitor *m, const struct window *w) {
  int64_t from_us = w->span.by_time ? w->span.from_us : w->has_times ? w->oldest_us : INT64_MAX;
  return (w->rows > 0 && w->first_row < m->warm_row) || from_us < m->warm_us;
}

json_t *monitor_judge(struct monitor *m, struct window *w, int64_t late) {
  struct window_said said = {.verdict = WINDOW_WARMING, .value = NAN, .threshold = NAN};
  strbuf_init(&said.summary, 2000);
  w->number = ++m->number;
  if (w->span.by_time) {
    w->span.from_row = w->first_row;
    w->span.to_row = w->rows ? w->last_row + 1 : w->first_row;
  }
  json_t *doc = result_head(m->name, m->kind->name, m->champion, w->number, &w->span);
  window_words(w, &said.summary);
  if (is_warming(m, w)) {
    strbuf_puts(&said.summary, ": the model is new; not judged yet");
  } else {
    m->kind->judge(m, w, doc, &said);
    window_versions_end(m, w, &said);
    if (said.verdict != WINDOW_INSUFFICIENT && m->fresh) {
      m->fresh = false;
      json_object_set_new(m->state, "judged", json_true());
    }
  }
  put_time(doc, "oldest_at", w->has_times, w->oldest_us);
  put_time(doc, "newest_at", w->has_times, w->newest_us);
  result_tail(doc, w->rows, late, &said);
  strbuf_fini(&said.summary);
  window_drop(w);
  return doc;
}

json_t *monitor_unable(struct monitor *m, const struct window_span *span, int64_t rows, const char *why) {
  struct window_said said = {.verdict = WINDOW_INSUFFICIENT, .value = NAN, .threshold = NAN};
  json_t *doc = result_head(m->name, m->kind->name, m->champion, ++m->number, span);
  strbuf_init(&said.summary, 2000);
  strbuf_puts(&said.summary, why);
  result_tail(doc, rows, 0, &said);
  strbuf_fini(&said.summary);
  return doc;
}

json_t *window_unable(const struct monitor_task *task, int64_t number, const struct window_span *span,
                      const char *why) {
  json_t *spec = task->spec ? json_loads(task->spec, 0, NULL) : NULL;
  struct window_said said = {.verdict = WINDOW_INSUFFICIENT, .value = NAN, .threshold = NAN};
  json_t *doc = result_head(text_of(spec, "name"), text_of(spec, "kind"), task->champion, number, span);
  strbuf_init(&said.summary, 2000);
  strbuf_puts(&said.summary, why);
  result_tail(doc, span->to_row - span->from_row, 0, &said);
  strbuf_fini(&said.summary);
  json_decref(spec);
  return doc;
}
