/* Monitors of the kinds drift and prediction_drift: a window's columns against the champion's training data, faults
 * before drift. */
#include "trigger/window_drift.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/units.h"
#include "stats/fdr.h"

struct own {
  struct window_columns columns;
  struct drift_rule rule;
  double *importance;
  struct drift_memory *memory;
};

/* Columns decided, in the order of what they weigh. */
struct judged {
  const struct window_columns *columns;
  const struct profile_column *now;
  struct drift_column *said;
  struct drift_window window;
  const double *importance;
  json_t *since; /* per column: when its run of hits began */
};

static struct drift_rule rule_of(const struct monitor *m) {
  struct drift_rule rule = DRIFT_RULE_DEFAULT;
  rule.min_rows = (uint64_t)m->min_rows;
  rule.psi = spec_number(m, "psi", rule.psi);
  rule.p_value = spec_number(m, "p_value", rule.p_value);
  rule.quality.null_jump = spec_number(m, "null_jump", rule.quality.null_jump);
  rule.hits = m->hits;
  rule.of = m->of;
  return rule;
}

static bool prepare(struct monitor *m, struct wanted *wanted, struct err *err) {
  struct own *own = mem_alloc(sizeof *own);
  m->own = own;
  own->rule = rule_of(m);
  const char *predictions[] = {monitor_key(m, "prediction"), monitor_key(m, "score"), NULL};
  bool of_predictions = m->kind == &window_kind_prediction_drift;
  if (of_predictions && m->profile && !profile_column(m->profile, predictions[1])) predictions[1] = NULL;
  if (!window_columns_init(&own->columns, m, of_predictions ? predictions : NULL, wanted, err)) return false;
  own->importance = mem_calloc(own->columns.n, sizeof own->importance[0]);
  own->memory = mem_calloc(own->columns.n, sizeof own->memory[0]);
  const json_t *weights = json_object_get(m->spec, "importance"), *memory = json_object_get(m->state, "columns");
  for (size_t i = 0; i < own->columns.n; i++) {
    const char *name = own->columns.items[i].name;
    const json_t *weight = json_object_get(weights, name);
    const char *text = json_string_value(json_object_get(memory, name));
    own->importance[i] = json_is_number(weight) ? json_number_value(weight) : 1;
    if (!text || !drift_memory_from_text(text, &own->memory[i])) drift_memory_init(&own->memory[i]);
  }
  return true;
}

static void release(struct monitor *m) {
  struct own *own = m->own;
  if (!own) return;
  window_columns_fini(&own->columns);
  mem_free(own->importance);
  mem_free(own->memory);
  mem_free(own);
}

static void *open_acc(struct monitor *m) {
  return window_columns_open(&((struct own *)m->own)->columns);
}
static void drop_acc(struct monitor *m, void *acc) {
  window_columns_drop(&((struct own *)m->own)->columns, acc);
}
static size_t bytes(const struct monitor *m) {
  return window_columns_bytes(&((struct own *)m->own)->columns);
}
static void add(struct monitor *m, void *acc, const struct monitor_row *row, bool champion) {
  (void)champion;
  window_columns_add(&((struct own *)m->own)->columns, acc, row);
}

/* ---- deciding ---- */

static void save_memory(struct monitor *m, const struct window *w, json_t *since) {
  const struct own *own = m->own;
  json_t *memory = json_object();
  char text[DRIFT_MEMORY_TEXT_SIZE], at[CLOCK_RFC3339_SIZE];
  window_begin_text(w, at);
  for (size_t i = 0; i < own->columns.n; i++) {
    const char *name = own->columns.items[i].name;
    drift_memory_to_text(&own->memory[i], text);
    if (own->memory[i].judged) json_object_set_new(memory, name, json_string(text));
    if (own->memory[i].since == w->span.from_row && *at)
      json_object_set_new(since, name, json_string(at));
    else if (own->memory[i].since < 0)
      json_object_del(since, name);
  }
  json_object_set_new(m->state, "columns", memory);
}

static double weight(const struct judged *j, size_t i) {
  return isfinite(j->said[i].effect) ? j->said[i].effect * j->importance[i] : -1;
}

/* The columns with this verdict, the heaviest first; returns their number. `order` has room for all. */
static size_t ranked(const struct judged *j, enum drift_verdict verdict, size_t *order) {
  size_t n = 0;
  for (size_t i = 0; i < j->columns->n; i++) {
    if (j->said[i].verdict != verdict) continue;
    size_t at = n++;
    for (; at > 0 && weight(j, order[at - 1]) < weight(j, i); at--) order[at] = order[at - 1];
    order[at] = i;
  }
  return n;
}

static json_t *column_doc(const struct judged *j, size_t i) {
  const struct window_column *column = &j->columns->items[i];
  return window_column_doc(column, &j->now[i], &j->said[i], j->importance[i],
                           json_string_value(json_object_get(j->since, column->name)));
}

/* ---- words ---- */

static void fault_words(const struct judged *j, size_t i, struct strbuf *out) {
  const struct quality_fault *fault = &j->said[i].faults[0];
  strbuf_printf(out, "%s broken: ", j->columns->items[i].name);
  if (fault->check == QUALITY_MISSING)
    strbuf_printf(out, "missing %.1f %% -> %.1f %%", 100 * fault->share_ref, 100 * fault->share_now);
  else
    strbuf_puts(out, fault->why);
}

static void drift_words(const struct judged *j, size_t i, struct strbuf *out) {
  const struct drift_column *c = &j->said[i];
  strbuf_printf(out, "%s drifted: PSI %.2f", j->columns->items[i].name, c->effect);
  if (c->d.categorical) return;
  char before[UNITS_TEXT_SIZE], after[UNITS_TEXT_SIZE];
  units_format_number(c->quantiles_ref[2], before);
  units_format_number(c->quantiles_now[2], after);
  strbuf_printf(out, ", median %s -> %s", before, after);
}

static void title_words(const struct judged *j, enum drift_verdict verdict, int64_t since_row, const char *since_at,
                        struct strbuf *out) {
  size_t *order = mem_calloc(j->columns->n, sizeof order[0]);
  size_t n = ranked(j, verdict, order);
  if (verdict == DRIFT_FAULT)
    fault_words(j, order[0], out);
  else
    drift_words(j, order[0], out);
  strbuf_printf(out, ", since row %lld", (long long)since_row);
  if (since_at && *since_at) strbuf_printf(out, " (%.10s)", since_at);
  for (size_t i = 1; i < n && i < 4; i++) {
    strbuf_puts(out, i == 1 ? "; also " : i + 1 == n ? " and " : ", ");
    strbuf_puts(out, j->columns->items[order[i]].name);
  }
  if (n > 4) strbuf_printf(out, " and %zu more", n - 4);
  mem_free(order);
}

static void summary_words(const struct monitor *m, const struct judged *j, struct strbuf *out) {
  size_t *order = mem_calloc(j->columns->n, sizeof order[0]);
  size_t n = ranked(j, j->window.verdict, order);
  strbuf_puts(out, ": ");
  switch (j->window.verdict) {
  case DRIFT_OK:
    strbuf_printf(out, "%zu of %zu columns as in training", n, j->columns->n);
    for (size_t i = 0; i < n && i < 3; i++)
      if (j->said[order[i]].hit)
        strbuf_printf(out, "; %s moved (PSI %.2f), in %u of the %u windows needed", j->columns->items[order[i]].name,
                      j->said[order[i]].effect, j->said[order[i]].hits, m->hits);
    break;
  case DRIFT_INSUFFICIENT:
    strbuf_printf(out, "nothing could be compared: %s", j->said[0].why);
    break;
  case DRIFT_DRIFT:
  case DRIFT_FAULT:
    strbuf_printf(out, "%s: %s", j->columns->items[order[0]].name, j->said[order[0]].why);
    if (n > 1) strbuf_printf(out, "; and %zu more", n - 1);
    if (j->window.held)
      strbuf_printf(out, "; %zu columns drift too, which waits until the data are sound", j->window.drifts);
    break;
  }
  mem_free(order);
}

/* ---- other versions, against the champion's rows of the same window ---- */

/* How the columns of one version stand to the champion's: moved as far as the rule asks for, and not by chance over all
 * of them; or gone missing. */
struct compared {
  struct drift_column *said;
  enum { FEW, LIKE, MOVED, GONE } * stands;
  bool enough;
  size_t worst; /* of those that are not alike the one that says most; the number of columns: none */
  double largest;
};

static bool went_missing(const struct own *own, const struct distances *d) {
  double jump = own->rule.quality.null_jump;
  return jump >= 0 && d->missing.now - d->missing.ref > jump && d->missing.p_value < own->rule.p_value;
}

static void compare(const struct own *own, const struct profile_column *champion, const struct profile_column *other,
                    struct compared *c) {
  size_t n = own->columns.n;
  double *p = mem_calloc(n, sizeof p[0]);
  c->worst = n;
  c->largest = NAN;
  for (size_t i = 0; i < n; i++) {
    p[i] = NAN;
    if (!own->columns.items[i].ref) continue;
    const struct distances *d = &c->said[i].d;
    drift_measure(&champion[i], &other[i], &c->said[i]);
    if (isfinite(d->psi) && !(d->psi <= c->largest)) c->largest = d->psi;
    if (d->rows_now < own->rule.min_rows || d->rows_ref < own->rule.min_rows) continue;
    c->enough = true;
    c->stands[i] = went_missing(own, d) ? GONE : isfinite(d->psi) ? LIKE : FEW;
    if (c->stands[i] == LIKE) p[i] = d->chi2.p_value;
  }
  fdr_adjust(p, n, p);
  for (size_t i = 0; i < n; i++) {
    if (c->stands[i] == LIKE && c->said[i].d.psi >= own->rule.psi && p[i] < own->rule.p_value) c->stands[i] = MOVED;
    if (c->stands[i] < MOVED) continue;
    size_t worst = c->worst;
    if (worst == n || c->stands[i] > c->stands[worst] ||
        (c->stands[i] == c->stands[worst] && c->said[i].d.psi > c->said[worst].d.psi))
      c->worst = i;
  }
  mem_free(p);
}

static json_t *compared_columns(const struct own *own, const struct compared *c, bool moved_only) {
  static const char *const verdicts[] = {"insufficient", "ok", "drift", "fault"};
  json_t *columns = json_array();
  for (size_t i = 0; i < own->columns.n; i++) {
    if (!own->columns.items[i].ref || (moved_only && c->stands[i] < MOVED)) continue;
    json_array_append_new(columns, json_pack("{ss so so so ss}", "name", own->columns.items[i].name, "psi",
                                             json_number(c->said[i].d.psi), "noise_corrected",
                                             json_number(c->said[i].d.noise_corrected), "missing",
                                             json_number(c->said[i].d.missing.now), "verdict", verdicts[c->stands[i]]));
  }
  return columns;
}

static void judge_version(struct monitor *m, const struct window *w, size_t v, json_t *versions,
                          struct window_said *said) {
  const struct own *own = m->own;
  size_t n = own->columns.n;
  struct compared c = {.said = mem_calloc(n, sizeof c.said[0]), .stands = mem_calloc(n, sizeof c.stands[0])};
  char words[200] = "";
  compare(own, window_columns_whole(&own->columns, w->acc), window_columns_whole(&own->columns, w->versions[v].acc),
          &c);
  bool differs = c.worst < n;
  if (differs) {
    const struct distances *d = &c.said[c.worst].d;
    const char *name = own->columns.items[c.worst].name;
    if (c.stands[c.worst] == GONE)
      snprintf(words, sizeof words, "%.120s (missing %.1f %% -> %.1f %%)", name, 100 * d->missing.ref,
               100 * d->missing.now);
    else
      snprintf(words, sizeof words, "%.120s (PSI %.2f)", name, d->psi);
    strbuf_printf(&said->summary, "; version %d differs from the champion in %s", w->versions[v].version, words);
  }
  json_t *moved =
      differs ? json_pack("{so so}", "columns", compared_columns(own, &c, true), "value", json_number(c.largest))
              : NULL;
  window_version_judge(
      m, w, said, v,
      (struct window_version_said){.enough = c.enough, .differs = differs, .words = words, .detail = moved});
  json_array_append_new(versions, json_pack("{si sI so so}", "version", w->versions[v].version, "rows",
                                            (json_int_t)w->versions[v].rows, "value", json_number(c.largest), "columns",
                                            compared_columns(own, &c, false)));
  mem_free(c.said);
  mem_free(c.stands);
}

static void judge_versions(struct monitor *m, const struct window *w, json_t *result, struct window_said *said) {
  json_t *versions = json_array();
  for (size_t v = 0; v < w->n_versions; v++) judge_version(m, w, v, versions, said);
  window_put_versions(w, result, versions);
}

/* ---- the window ---- */

static json_t *detail_of(const struct judged *j, enum drift_verdict verdict) {
  size_t *order = mem_calloc(j->columns->n, sizeof order[0]);
  size_t n = ranked(j, verdict, order);
  json_t *detail = json_object(), *columns = json_array();
  for (size_t i = 0; i < n && i < WINDOW_COLUMNS_SAID; i++) json_array_append_new(columns, column_doc(j, order[i]));
  json_object_set_new(detail, "columns", columns);
  if (n > WINDOW_COLUMNS_SAID)
    json_object_set_new(detail, "more_columns", json_integer((json_int_t)(n - WINDOW_COLUMNS_SAID)));
  mem_free(order);
  return detail;
}

static void speak(struct monitor *m, const struct window *w, const struct judged *j, const struct window_said *said,
                  enum drift_verdict verdict, bool fires, bool healthy, int64_t since_row, const char *since_at) {
  struct strbuf title;
  char over[160];
  bool fault = verdict == DRIFT_FAULT;
  const char *kind = fault ? "data_fault" : m->kind->signal;
  strbuf_init(&title, 900);
  if (fires) title_words(j, verdict, since_row, since_at, &title);
  snprintf(over, sizeof over, "%.100s: %s", m->name, fault ? "the data are as in training again" : "no drift any more");
  window_speak(m, w, said,
               (struct window_voice){.signal = kind,
                                     .fires = fires,
                                     .healthy = healthy,
                                     .since_row = since_row,
                                     .since_at = since_at,
                                     .title = title.failed ? kind : strbuf_text(&title),
                                     .over = over,
                                     .detail = fires ? detail_of(j, verdict) : NULL});
  strbuf_fini(&title);
}

/* Faults first, so that drift which comes with broken data is held back by the fault that fires, and is seen to be.
 * Drift is not over because data are broken. */
static void speak_both(struct monitor *m, const struct window *w, const struct judged *j,
                       const struct window_said *said) {
  char begin[CLOCK_RFC3339_SIZE];
  bool judged = j->window.verdict != DRIFT_INSUFFICIENT;
  int64_t since_row = w->span.from_row;
  window_begin_text(w, begin);
  const char *since_at = begin;
  for (size_t i = 0; i < j->columns->n; i++) {
    const struct drift_column *c = &j->said[i];
    if (c->verdict != DRIFT_DRIFT || c->since_row < 0 || c->since_row >= since_row) continue;
    since_row = c->since_row;
    since_at = json_string_value(json_object_get(j->since, j->columns->items[i].name));
  }
  speak(m, w, j, said, DRIFT_FAULT, j->window.faults > 0, judged && j->window.faults == 0, w->span.from_row, begin);
  speak(m, w, j, said, DRIFT_DRIFT, j->window.drifts > 0, judged && j->window.drifts == 0 && j->window.faults == 0,
        since_row, since_at);
}

static void judge(struct monitor *m, struct window *w, json_t *result, struct window_said *said) {
  static const enum window_verdict verdicts[] = {WINDOW_OK, WINDOW_DRIFT, WINDOW_FAULT, WINDOW_INSUFFICIENT};
  struct own *own = m->own;
  size_t n = own->columns.n;
  struct drift_input *inputs = mem_calloc(n, sizeof inputs[0]);
  struct judged j = {
      .columns = &own->columns, .now = window_columns_whole(&own->columns, w->acc), .importance = own->importance};
  j.said = mem_calloc(n, sizeof j.said[0]);
  for (size_t i = 0; i < n; i++)
    inputs[i] =
        (struct drift_input){own->columns.items[i].ref, own->columns.items[i].ref ? &j.now[i] : NULL, &own->memory[i]};
  drift_decide(&own->rule, inputs, n, w->span.from_row, j.said, &j.window);
  j.since = json_object_get(m->state, "since");
  if (!j.since) json_object_set_new(m->state, "since", j.since = json_object());
  save_memory(m, w, j.since);
  said->verdict = verdicts[j.window.verdict];
  said->held = j.window.held;
  said->threshold = own->rule.psi;
  json_t *columns = json_array();
  for (size_t i = 0; i < n; i++) {
    bool judged = j.said[i].verdict == DRIFT_OK || j.said[i].verdict == DRIFT_DRIFT;
    if (judged && !(weight(&j, i) <= said->value)) said->value = weight(&j, i);
    json_array_append_new(columns, column_doc(&j, i));
  }
  json_object_set_new(result, "columns", columns);
  summary_words(m, &j, &said->summary);
  speak_both(m, w, &j, said);
  judge_versions(m, w, result, said);
  mem_free(inputs);
  mem_free(j.said);
}

const struct window_kind window_kind_drift = {"drift",  "drift", prepare, release, open_acc,
                                              drop_acc, bytes,   add,     judge};
const struct window_kind window_kind_prediction_drift = {
    "prediction_drift", "prediction_drift", prepare, release, open_acc, drop_acc, bytes, add, judge};
