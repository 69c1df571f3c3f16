/* Monitors of kind latency: a quantile of the time that predictions took. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "stats/latency.h"
#include "trigger/monitor_private.h"

struct own {
  double quantile, max_ms;
};

static bool prepare(struct monitor *m, struct wanted *wanted, struct err *err) {
  struct own *own = mem_alloc(sizeof *own);
  (void)wanted; /* a reserved key of every row */
  m->own = own;
  own->quantile = spec_number(m, "quantile", NAN);
  own->max_ms = spec_number(m, "max_ms", NAN);
  if (own->quantile > 0 && own->quantile <= 1 && own->max_ms >= 0) return true;
  return err_set(err, ERR_INVALID, "monitor %s needs a quantile over 0 and up to 1, and max_ms", m->name);
}

static void release(struct monitor *m) {
  mem_free(m->own);
}
static void *open_acc(struct monitor *m) {
  (void)m;
  return mem_alloc(sizeof(struct latency));
}
static void drop_acc(struct monitor *m, void *acc) {
  (void)m;
  mem_free(acc);
}
static size_t bytes(const struct monitor *m) {
  (void)m;
  return sizeof(struct latency);
}

static void add(struct monitor *m, void *acc, const struct monitor_row *row, bool champion) {
  (void)m, (void)champion;
  const struct row_cell *cell = row_key(row->parser, ROW_LATENCY);
  if (!row->broken && cell->kind == ROW_NUMBER) latency_add(acc, cell->number);
}

static double value_of(const struct monitor *m, void *acc) {
  return latency_quantile(acc, ((const struct own *)m->own)->quantile);
}

static int64_t count_of(const void *acc) {
  return (int64_t)((const struct latency *)acc)->n;
}

static json_t *quantiles(const struct latency *l) {
  return json_pack("{so so so so}", "p50", json_number(latency_quantile(l, 0.5)), "p90",
                   json_number(latency_quantile(l, 0.9)), "p99", json_number(latency_quantile(l, 0.99)), "max",
                   json_number(l->n ? l->max : NAN));
}

static void judge(struct monitor *m, struct window *w, json_t *result, struct window_said *said) {
  const struct own *own = m->own;
  const struct latency *l = w->acc;
  said->value = value_of(m, w->acc);
  said->threshold = own->max_ms;
  json_object_set_new(result, "quantile", json_real(own->quantile));
  json_object_set_new(result, "max_ms", json_real(own->max_ms));
  json_object_set_new(result, "error_bound", json_real(LATENCY_ERROR));
  json_object_set_new(result, "quantiles_ms", quantiles(l));
  json_object_set_new(result, "values", json_integer((json_int_t)l->n));
  char what[40];
  snprintf(what, sizeof what, "latency p%.4g", 100 * own->quantile);
  window_judge_versions(
      m, w, result, said,
      (struct window_line){.value = value_of, .count = count_of, .limit = own->max_ms, .what = what, .unit = " ms"});
  if ((int64_t)l->n < m->min_rows) return window_too_few(m, said, (int64_t)l->n, "latencies");
  char words[160], over[120];
  snprintf(words, sizeof words, "latency p%.4g is %.4g ms, at most %.4g ms (%llu predictions)", 100 * own->quantile,
           said->value, own->max_ms, (unsigned long long)l->n);
  snprintf(over, sizeof over, "%.60s: latency is %.4g ms again", m->name, said->value);
  window_conclude(m, w, said,
                  (struct window_alarm){.alarm = WINDOW_ALARM,
                                        .hit = said->value > own->max_ms,
                                        .words = words,
                                        .over = over,
                                        .detail = json_pack("{sf sO}", "quantile", own->quantile, "quantiles_ms",
                                                            json_object_get(result, "quantiles_ms"))});
}

const struct window_kind window_kind_latency = {"latency", "latency", prepare, release, open_acc,
                                                drop_acc,  bytes,     add,     judge};
