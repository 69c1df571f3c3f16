/* A judged window in words and numbers: the result that is recorded and the signals that go out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "trigger/signal_in.h"
#include "trigger/window_private.h"

#define SIGNAL_COLUMNS_MAX 20

static json_t *real(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *reals(const double *values, size_t n) {
  json_t *array = json_array();
  for (size_t i = 0; i < n; i++) json_array_append_new(array, real(values[i]));
  return array;
}

static json_t *column_document(const struct window_column *column, const struct drift_column *c) {
  json_t *doc = json_pack("{ss ss sb ss}", "name", column->name, "verdict", drift_verdict_name(c->verdict), "hit",
                          c->hit, "why", c->why);
  if (!doc) doc = json_object(); /* only for a name that is no UTF-8, which jansson never hands out */
  if (c->since_row >= 0) json_object_set_new(doc, "since_row", json_integer(c->since_row));
  json_object_set_new(doc, "psi", real(c->d.psi));
  json_object_set_new(doc, "ks",
                      json_pack("{so so so}", "statistic", real(c->d.ks.statistic), "bound", real(c->d.ks.bound),
                                "p_value", real(c->d.ks.p_value)));
  json_object_set_new(doc, "noise_corrected", real(c->d.noise_corrected));
  json_object_set_new(doc, "chi2",
                      json_pack("{so si so}", "statistic", real(c->d.chi2.statistic), "df", (int)c->d.chi2.df,
                                "p_value", real(c->d.chi2.p_value)));
  json_object_set_new(doc, "missing",
                      json_pack("{so so so so}", "ref", real(c->d.missing.ref), "now", real(c->d.missing.now), "z",
                                real(c->d.missing.z), "p_value", real(c->d.missing.p_value)));
  json_object_set_new(doc, "quantiles",
                      json_pack("{so so so}", "levels", reals(drift_quantile_levels, DRIFT_QUANTILES), "ref",
                                reals(c->quantiles_ref, DRIFT_QUANTILES), "now",
                                reals(c->quantiles_now, DRIFT_QUANTILES)));
  json_object_set_new(doc, "n_ref", json_integer((json_int_t)c->d.n_ref));
  json_object_set_new(doc, "n_now", json_integer((json_int_t)c->d.n_now));
  json_object_set_new(doc, "rows_ref", json_integer((json_int_t)c->d.rows_ref));
  json_object_set_new(doc, "rows_now", json_integer((json_int_t)c->d.rows_now));
  return doc;
}

/* The columns with this verdict, the most moved first. */
static size_t ranked(const struct window_eval *eval, enum drift_verdict verdict, size_t *order) {
  size_t n = 0;
  for (size_t i = 0; i < eval->n_columns; i++) {
    if (eval->said[i].verdict != verdict) continue;
    size_t at = n++;
    for (; at > 0; at--) {
      const struct drift_column *before = &eval->said[order[at - 1]], *it = &eval->said[i];
      if (before->effect >= it->effect) break;
      order[at] = order[at - 1];
    }
    order[at] = i;
  }
  return n;
}

/* The columns that a signal is about: the first SIGNAL_COLUMNS_MAX in full, so that its detail stays small. */
static void put_columns(const struct window_eval *eval, enum drift_verdict verdict, json_t *detail) {
  size_t *order = mem_calloc(eval->n_columns, sizeof order[0]);
  size_t n = ranked(eval, verdict, order), shown = n < SIGNAL_COLUMNS_MAX ? n : SIGNAL_COLUMNS_MAX;
  json_t *array = json_array();
  for (size_t i = 0; i < shown; i++)
    json_array_append_new(array, column_document(&eval->columns[order[i]], &eval->said[order[i]]));
  json_object_set_new(detail, "columns", array);
  if (n > shown) json_object_set_new(detail, "more_columns", json_integer((json_int_t)(n - shown)));
  mem_free(order);
}

/* One kind's memory across windows. */
struct state {
  bool firing;
  int64_t since_row;
  char since_at[CLOCK_RFC3339_SIZE]; /* "" when rows carry no times */
  char episode[DIGEST_TEXT_SIZE];
};

static const json_t *last_state(const struct window_eval *eval, const char *kind) {
  for (size_t i = 0; i < eval->n_past; i++) {
    const json_t *state = json_object_get(eval->past[i].result, "state"); /* none: that window could not be judged */
    if (state) return json_object_get(state, kind);
  }
  return NULL;
}

static void copy_text(char *out, size_t size, const json_t *text) {
  snprintf(out, size, "%s", json_is_string(text) ? json_string_value(text) : "");
}

static struct state state_load(const json_t *doc) {
  struct state s = {.firing = json_is_true(json_object_get(doc, "firing")),
                    .since_row = json_integer_value(json_object_get(doc, "since_row"))};
  copy_text(s.since_at, sizeof s.since_at, json_object_get(doc, "since_at"));
  copy_text(s.episode, sizeof s.episode, json_object_get(doc, "episode"));
  return s;
}

static json_t *state_document(const struct state *s) {
  json_t *doc = json_pack("{sb}", "firing", s->firing);
  if (!s->firing) return doc;
  json_object_set_new(doc, "since_row", json_integer(s->since_row));
  if (*s->since_at) json_object_set_new(doc, "since_at", json_string(s->since_at));
  json_object_set_new(doc, "episode", json_string(s->episode));
  return doc;
}

/* A new episode begins at the first window of the run that led to it. */
static void state_begin(const struct window_eval *eval, const char *kind, int64_t since_row, struct state *s) {
  char source[SIGNAL_NAME_MAX], fingerprint[SIGNAL_NAME_MAX], start[64];
  *s = (struct state){.firing = true, .since_row = since_row};
  if (since_row == eval->from_row && eval->has_times) clock_format_rfc3339(eval->oldest_us, s->since_at);
  for (size_t i = 0; i < eval->n_past; i++)
    if (eval->past[i].from_row == since_row)
      copy_text(s->since_at, sizeof s->since_at, json_object_get(eval->past[i].result, "oldest_at"));
  snprintf(source, sizeof source, "monitor:%.100s", eval->name);
  snprintf(fingerprint, sizeof fingerprint, "%.100s/%s", eval->name, kind);
  snprintf(start, sizeof start, "%d|%lld", eval->champion, (long long)since_row);
  signal_episode(source, fingerprint, start, s->episode);
}

static void since_words(const struct state *s, struct strbuf *out) {
  strbuf_printf(out, "since row %lld", (long long)s->since_row);
  if (*s->since_at) strbuf_printf(out, " (%.10s)", s->since_at);
}

/* "; also listings, sales and 2 more": the columns after the first. */
static void name_others(const struct window_eval *eval, const size_t *order, size_t n, struct strbuf *out) {
  for (size_t i = 1; i < n && i < 4; i++) {
    strbuf_puts(out, i == 1 ? "; also " : i + 1 == n ? " and " : ", ");
    strbuf_puts(out, eval->columns[order[i]].name);
  }
  if (n > 4) strbuf_printf(out, " and %zu more", n - 4);
}

static void title_words(const struct window_eval *eval, enum drift_verdict verdict, const struct state *s,
                        struct strbuf *out) {
  size_t *order = mem_calloc(eval->n_columns, sizeof order[0]);
  size_t n = ranked(eval, verdict, order);
  const struct drift_column *first = &eval->said[order[0]];
  strbuf_puts(out, eval->columns[order[0]].name);
  if (verdict == DRIFT_FAULT)
    strbuf_printf(out, " broken: %s %.1f %% -> %.1f %%, ", quality_check_name(first->faults[0].check),
                  100 * first->faults[0].share_ref, 100 * first->faults[0].share_now);
  else if (first->d.categorical)
    strbuf_printf(out, " drifted: PSI %.2f, largest change of a share %.1f points, ", first->d.psi,
                  100 * first->d.linf);
  else
    strbuf_printf(out, " drifted: PSI %.2f, median %.4g -> %.4g, ", first->d.psi, first->quantiles_ref[2],
                  first->quantiles_now[2]);
  since_words(s, out);
  name_others(eval, order, n, out);
  mem_free(order);
}

static void push_signal(const struct window_eval *eval, const char *kind, enum drift_verdict verdict, bool firing,
                        const struct state *s, json_t *signals) {
  struct strbuf title;
  strbuf_init(&title, 1000);
  bool fault = verdict == DRIFT_FAULT;
  if (firing)
    title_words(eval, verdict, s, &title);
  else
    strbuf_printf(&title, "%s: %s", eval->name, fault ? "the data are sound again" : "no drift any more");
  json_t *signal =
      json_pack("{s:s+ s:s s:s+ s:s s:s}", "source", "monitor:", eval->name, "kind", fault ? "data_fault" : "drift",
                "fingerprint", eval->name, fault ? "/fault" : "/drift", "status", firing ? "firing" : "resolved",
                "title", title.failed ? kind : strbuf_text(&title));
  if (*s->episode) json_object_set_new(signal, "episode", json_string(s->episode));
  if (eval->has_times) {
    char at[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(eval->newest_us, at);
    json_object_set_new(signal, "at", json_string(at));
  }
  json_t *detail =
      json_pack("{ss si s{sI sI sI}}", "monitor", eval->name, "champion", eval->champion, "window", "from_row",
                (json_int_t)eval->from_row, "to_row", (json_int_t)eval->to_row, "rows", (json_int_t)eval->rows);
  if (firing) {
    json_object_set_new(detail, "since_row", json_integer(s->since_row));
    if (*s->since_at) json_object_set_new(detail, "since_at", json_string(s->since_at));
    put_columns(eval, verdict, detail);
  }
  json_object_set_new(signal, "detail", detail);
  json_array_append_new(signals, signal);
  strbuf_fini(&title);
}

/* Moves one kind on by this window and says so. `fires`: this window shows it; `healthy`: this window shows it is over;
 * neither: the state stays as it is. */
static json_t *step_state(const struct window_eval *eval, const char *kind, enum drift_verdict verdict, bool fires,
                          bool healthy, int64_t since_row, json_t *signals) {
  struct state s = state_load(last_state(eval, kind));
  bool was = s.firing;
  if (fires) {
    if (!was) state_begin(eval, kind, since_row, &s);
    push_signal(eval, kind, verdict, true, &s, signals);
  } else if (healthy) {
    /* The first window against a champion also ends what fired against the one before. */
    if (was || eval->n_past == 0) push_signal(eval, kind, verdict, false, &s, signals);
    s = (struct state){0};
  }
  return state_document(&s);
}

static void summary_words(const struct window_eval *eval, struct strbuf *out) {
  const struct drift_window *w = &eval->window;
  strbuf_printf(out, "rows %lld to %lld: ", (long long)eval->from_row, (long long)eval->to_row - 1);
  size_t *order = mem_calloc(eval->n_columns, sizeof order[0]);
  size_t n = ranked(eval, w->verdict, order);
  switch (w->verdict) {
  case DRIFT_OK:
    strbuf_printf(out, "%zu of %zu columns as in training", n, eval->n_columns);
    break;
  case DRIFT_INSUFFICIENT:
    strbuf_printf(out, "nothing could be compared: %s", eval->said[0].why);
    break;
  case DRIFT_DRIFT:
  case DRIFT_FAULT:
    strbuf_puts(out, eval->columns[order[0]].name);
    strbuf_printf(out, ": %s", eval->said[order[0]].why);
    if (n > 1) strbuf_printf(out, "; and %zu more", n - 1);
    if (w->held) strbuf_printf(out, "; %zu columns drift too, which waits until the data are sound", w->drifts);
    break;
  }
  mem_free(order);
}

static json_t *result_head(const struct window_eval *eval) {
  struct strbuf summary;
  strbuf_init(&summary, 2000);
  summary_words(eval, &summary);
  json_t *doc = json_pack("{ss ss si sI sI sI ss sb ss}", "monitor", eval->name, "kind", "drift", "champion",
                          eval->champion, "from_row", (json_int_t)eval->from_row, "to_row", (json_int_t)eval->to_row,
                          "rows", (json_int_t)eval->rows, "verdict", drift_verdict_name(eval->window.verdict), "held",
                          eval->window.held, "summary", strbuf_text(&summary));
  strbuf_fini(&summary);
  if (eval->has_times) {
    char at[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(eval->oldest_us, at);
    json_object_set_new(doc, "oldest_at", json_string(at));
    clock_format_rfc3339(eval->newest_us, at);
    json_object_set_new(doc, "newest_at", json_string(at));
  }
  return doc;
}

static char *dump(json_t *doc) {
  char *text = json_dumps(doc, JSON_COMPACT);
  ORCH_ASSERT(text != NULL);
  char *copy = mem_strdup(text); /* jansson's memory is libc's; ours is freed by mem_free() */
  free(text);
  json_decref(doc);
  return copy;
}

void window_say(const struct window_eval *eval, char **ret_result, char **ret_signals) {
  const struct drift_window *w = &eval->window;
  json_t *doc = result_head(eval), *signals = json_array(), *columns = json_array();
  int64_t drift_since = eval->from_row;
  for (size_t i = 0; i < eval->n_columns; i++) {
    const struct drift_column *c = &eval->said[i];
    if (c->verdict == DRIFT_DRIFT && c->since_row >= 0 && c->since_row < drift_since) drift_since = c->since_row;
    json_array_append_new(columns, column_document(&eval->columns[i], c));
  }
  bool judged = w->verdict != DRIFT_INSUFFICIENT;
  json_t *fault =
      step_state(eval, "fault", DRIFT_FAULT, w->faults > 0, judged && w->faults == 0, eval->from_row, signals);
  json_t *drift = step_state(eval, "drift", DRIFT_DRIFT, w->drifts > 0, judged && w->drifts == 0 && w->faults == 0,
                             drift_since, signals);
  json_object_set_new(doc, "state", json_pack("{so so}", "drift", drift, "fault", fault));
  json_object_set_new(doc, "columns", columns);
  *ret_result = dump(doc);
  *ret_signals = dump(signals);
}

char *window_eval_unable(const struct window_task *task, const char *reason) {
  json_t *doc = json_pack("{ss si sI sI sI ss sb ss s[]}", "kind", "drift", "champion", task->champion, "from_row",
                          (json_int_t)task->from_row, "to_row", (json_int_t)task->to_row, "rows",
                          (json_int_t)(task->to_row - task->from_row), "verdict", "insufficient", "held", 0, "summary",
                          reason, "columns");
  return dump(doc);
}
