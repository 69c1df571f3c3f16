/* Monitors of kind estimated_performance: what accuracy the scores promise, while labels are not there yet. An
 * estimate, and called one: alone it never retrains. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "stats/score.h"
#include "trigger/monitor_private.h"
#include "trigger/window_labels.h"

struct own {
  double min;
  const char *positive;
};

static bool prepare(struct monitor *m, struct wanted *wanted, struct err *err) {
  struct own *own = mem_alloc(sizeof *own);
  (void)wanted;
  m->own = own;
  own->min = spec_number(m, "min", NAN);
  own->positive = json_string_value(json_object_get(m->spec, "positive"));
  if (own->min >= 0 && own->min <= 1) return true;
  return err_set(err, ERR_INVALID, "monitor %s needs min, an accuracy of 0 to 1", m->name);
}

static void release(struct monitor *m) {
  mem_free(m->own);
}
static void *open_acc(struct monitor *m) {
  (void)m;
  return mem_alloc(sizeof(struct score_estimate));
}
static void drop_acc(struct monitor *m, void *acc) {
  (void)m;
  mem_free(acc);
}
static size_t bytes(const struct monitor *m) {
  (void)m;
  return sizeof(struct score_estimate);
}

static void add(struct monitor *m, void *acc, const struct monitor_row *row, bool champion) {
  (void)champion;
  double p;
  bool positive;
  if (row->broken || !label_number(row_key(row->parser, ROW_SCORE), &p)) return;
  if (!label_is_positive(row_key(row->parser, ROW_PREDICTION), ((const struct own *)m->own)->positive, &positive))
    positive = p >= 0.5;
  score_estimate_add(acc, p, positive);
}

static double value_of(const struct monitor *m, void *acc) {
  (void)m;
  return score_estimated_accuracy(acc);
}

static int64_t count_of(const void *acc) {
  return (int64_t)((const struct score_estimate *)acc)->n;
}

static void judge(struct monitor *m, struct window *w, json_t *result, struct window_said *said) {
  const struct own *own = m->own;
  const struct score_estimate *acc = w->acc;
  said->value = value_of(m, w->acc);
  said->threshold = own->min;
  json_object_set_new(result, "metric", json_string("accuracy"));
  json_object_set_new(result, "estimate", json_true());
  const json_t *reference = json_object_get(m->metrics, "accuracy");
  json_object_set_new(result, "reference", json_number(json_is_number(reference) ? json_number_value(reference) : NAN));
  window_judge_versions(m, w, result, said,
                        (struct window_line){.value = value_of,
                                             .count = count_of,
                                             .limit = own->min,
                                             .at_least = true,
                                             .what = "estimated accuracy",
                                             .unit = ""});
  if ((int64_t)acc->n < m->min_rows) return window_too_few(m, said, (int64_t)acc->n, "scores");
  char words[200], over[120];
  snprintf(words, sizeof words, "estimated accuracy is %.4g, at least %.4g (from %llu scores, without labels)",
           said->value, own->min, (unsigned long long)acc->n);
  snprintf(over, sizeof over, "%.60s: estimated accuracy is %.4g again", m->name, said->value);
  window_conclude(m, w, said,
                  (struct window_alarm){.alarm = WINDOW_ALARM,
                                        .hit = said->value < own->min,
                                        .words = words,
                                        .over = over,
                                        .detail = json_pack("{ss sb}", "metric", "accuracy", "estimate", 1)});
}

const struct window_kind window_kind_estimate = {
    "estimated_performance", "estimate", prepare, release, open_acc, drop_acc, bytes, add, judge};
