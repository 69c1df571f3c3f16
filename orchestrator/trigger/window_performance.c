/* Monitors of kind performance: a metric over predictions whose labels have come, however late; and a detector on the
 * error of each label, which sees a fall before a window's mean does. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "stats/adwin.h"
#include "stats/page_hinkley.h"
#include "stats/score.h"
#include "trigger/monitor_private.h"
#include "trigger/window_labels.h"

enum metric { ACCURACY, F1, AUC, LOG_LOSS, MAE, RMSE, METRICS };
static const char *const metric_names[METRICS] = {"accuracy", "f1", "auc", "log_loss", "mae", "rmse"};
enum detector { NONE, ADWIN, PAGE_HINKLEY };

struct own {
  enum metric metric;
  double limit;
  bool at_least; /* `limit` is the least that is good, else the most */
  const char *positive;
  size_t label, row_of; /* places among the cells: the label, and the number of the row that was predicted */
  enum detector detector;
  struct adwin adwin;
  struct page_hinkley page_hinkley;
  /* A rise of the error that has been seen and is not over: mean error before and after, and where. */
  bool risen, news; /* news: in this window */
  double before, after;
  int64_t row;
};

struct acc {
  struct score_classes classes;
  struct score_probs probs;
  struct score_errors errors;
  uint64_t n;                             /* pairs that could be scored */
  double first_predicted, last_predicted; /* the outermost rows that they were predicted for */
  double error_sum;
};

/* ---- the detector and its memory ---- */

static void load_detector(struct monitor *m, struct own *own) {
  const char *name = json_string_value(json_object_get(m->spec, "detector"));
  const json_t *state = json_object_get(m->state, "detector");
  const char *base64 = json_string_value(json_object_get(state, "memory"));
  uint8_t bytes[ADWIN_ENCODED_MAX];
  size_t len = 0;
  struct err ignored = {0};
  if (!name) return;
  own->detector = strcmp(name, "adwin") == 0 ? ADWIN : strcmp(name, "page_hinkley") == 0 ? PAGE_HINKLEY : NONE;
  bool have = base64 && digest_unbase64(base64, strlen(base64), bytes, sizeof bytes, &len);
  if (own->detector == ADWIN && !(have && adwin_decode(&own->adwin, bytes, len, &ignored)))
    adwin_init(&own->adwin, ADWIN_DEFAULT);
  if (own->detector == PAGE_HINKLEY && !(have && page_hinkley_decode(&own->page_hinkley, bytes, len, &ignored)))
    page_hinkley_init(&own->page_hinkley, PAGE_HINKLEY_DEFAULT);
  const json_t *row = json_object_get(state, "row");
  if (!json_is_integer(row)) return;
  own->risen = true;
  own->row = json_integer_value(row);
  own->before = json_number_value(json_object_get(state, "before"));
  own->after = json_number_value(json_object_get(state, "after"));
}

static void save_detector(struct monitor *m, const struct own *own) {
  struct strbuf bytes;
  if (own->detector == NONE) return;
  strbuf_init(&bytes, ADWIN_ENCODED_MAX);
  if (own->detector == ADWIN)
    adwin_encode(&own->adwin, &bytes);
  else
    page_hinkley_encode(&own->page_hinkley, &bytes);
  CLEANUP(mem_free_p) char *base64 = mem_alloc(4 * (bytes.len / 3 + 1) + 1);
  digest_base64((const uint8_t *)strbuf_text(&bytes), bytes.len, base64);
  json_t *state = json_pack("{ss}", "memory", base64);
  if (own->risen) {
    json_object_set_new(state, "row", json_integer(own->row));
    json_object_set_new(state, "before", json_real(own->before));
    json_object_set_new(state, "after", json_real(own->after));
  }
  json_object_set_new(m->state, "detector", state);
  strbuf_fini(&bytes);
}

/* A fall of the error is no reason for anything; only ADWIN tells of one. */
static void detect(struct own *own, double error, int64_t row) {
  double before = own->detector == ADWIN ? adwin_mean(&own->adwin) : own->page_hinkley.mean;
  bool rise = own->detector == ADWIN ? adwin_add(&own->adwin, error) && adwin_mean(&own->adwin) > before
                                     : page_hinkley_add(&own->page_hinkley, error);
  if (!rise || own->risen) return; /* the first one is what people want to know of */
  own->risen = own->news = true;
  own->row = row;
  own->before = own->after = before;
}

/* ---- the window ---- */

static bool prepare(struct monitor *m, struct wanted *wanted, struct err *err) {
  struct own *own = mem_alloc(sizeof *own);
  m->own = own;
  const char *metric = json_string_value(json_object_get(m->spec, "metric"));
  for (own->metric = 0; metric && own->metric < METRICS; own->metric++)
    if (strcmp(metric, metric_names[own->metric]) == 0) break;
  if (!metric || own->metric == METRICS)
    return err_set(err, ERR_INVALID, "monitor %s: no metric is named %.40s", m->name, metric ? metric : "(none)");
  double min = spec_number(m, "min", NAN), max = spec_number(m, "max", NAN);
  if (isnan(min) == isnan(max)) return err_set(err, ERR_INVALID, "monitor %s needs min or max", m->name);
  own->at_least = !isnan(min);
  own->limit = own->at_least ? min : max;
  own->positive = json_string_value(json_object_get(m->spec, "positive"));
  own->label = wanted_add(wanted, "label");
  own->row_of = wanted_add(wanted, "row");
  load_detector(m, own);
  return true;
}

static void release(struct monitor *m) {
  mem_free(m->own);
}
static void *open_acc(struct monitor *m) {
  (void)m;
  return mem_alloc(sizeof(struct acc));
}
static void drop_acc(struct monitor *m, void *acc) {
  (void)m;
  score_probs_fini(&((struct acc *)acc)->probs);
  mem_free(acc);
}
static size_t bytes(const struct monitor *m) {
  (void)m;
  return sizeof(struct acc) + SCORE_KEPT_MAX * sizeof(struct score_kept);
}

/* Scores one pair; false when it is none. The error is what a detector watches: 0 or 1 for classes, the distance of the
 * probability or of the number else. */
static bool score(const struct own *own, struct acc *acc, const struct monitor_row *row, double *ret_error) {
  const struct row_cell *label = &row_cells(row->parser)[own->label];
  const struct row_cell *prediction = row_key(row->parser, ROW_PREDICTION);
  struct label_class predicted, actual;
  double p, y;
  bool positive;
  switch (own->metric) {
  case ACCURACY:
  case F1:
    if (!label_class(prediction, &predicted) || !label_class(label, &actual)) return false;
    score_classes_add(&acc->classes, predicted.text, predicted.len, actual.text, actual.len);
    *ret_error = predicted.len != actual.len || memcmp(predicted.text, actual.text, actual.len) != 0;
    return true;
  case AUC:
  case LOG_LOSS:
    if (!label_number(row_key(row->parser, ROW_SCORE), &p) || !label_is_positive(label, own->positive, &positive) ||
        !(p >= 0 && p <= 1))
      return false;
    score_probs_add(&acc->probs, p, positive);
    *ret_error = positive ? 1 - p : p;
    return true;
  default:
    if (!label_number(prediction, &p) || !label_number(label, &y)) return false;
    score_errors_add(&acc->errors, p, y);
    *ret_error = fabs(p - y);
    return true;
  }
}

static void add(struct monitor *m, void *acc_of, const struct monitor_row *row, bool champion) {
  struct own *own = m->own;
  struct acc *acc = acc_of;
  double error;
  if (row->broken || !score(own, acc, row, &error)) return;
  const struct row_cell *row_of = &row_cells(row->parser)[own->row_of];
  double predicted = row_of->kind == ROW_NUMBER ? row_of->number : NAN;
  acc->first_predicted = acc->n ? fmin(acc->first_predicted, predicted) : predicted;
  acc->last_predicted = acc->n ? fmax(acc->last_predicted, predicted) : predicted;
  acc->n++;
  acc->error_sum += error;
  if (champion && own->detector != NONE) detect(own, error, row->number);
}

static double value_of(const struct monitor *m, void *acc_of) {
  const struct own *own = m->own;
  const struct acc *acc = acc_of;
  struct label_class positive;
  switch (own->metric) {
  case ACCURACY:
    return score_accuracy(&acc->classes);
  case F1:
    if (!own->positive) return score_macro_f1(&acc->classes);
    label_class(&(struct row_cell){.kind = ROW_TEXT, .text = own->positive, .len = strlen(own->positive)}, &positive);
    return score_class_prf(&acc->classes, positive.text, positive.len).f1;
  case AUC:
    return score_auc(&acc->probs).auc;
  case LOG_LOSS:
    return score_log_loss(&acc->probs);
  case MAE:
    return score_mae(&acc->errors);
  default:
    return score_rmse(&acc->errors);
  }
}

static int64_t count_of(const void *acc) {
  return (int64_t)((const struct acc *)acc)->n;
}

/* A rise is over when the mean error of a later window is nearer to what it was before than to the worst since. */
static void look_at_rise(struct own *own, const struct acc *acc) {
  if (!own->risen || acc->n == 0) return;
  double mean = acc->error_sum / (double)acc->n;
  if (!own->news && mean < (own->before + own->after) / 2) own->risen = false;
  own->after = fmax(own->after, mean);
  own->news = false;
}

static void put_members(const struct monitor *m, const struct window *w, const struct window_said *said, json_t *into) {
  const struct own *own = m->own;
  const struct acc *acc = w->acc;
  const json_t *reference = json_object_get(m->metrics, metric_names[own->metric]);
  json_object_set_new(into, "metric", json_string(metric_names[own->metric]));
  json_object_set_new(into, "value", json_number(said->value));
  json_object_set_new(into, "reference", json_number(json_is_number(reference) ? json_number_value(reference) : NAN));
  json_object_set_new(into, "labels", json_integer((json_int_t)acc->n));
  if (acc->n && isfinite(acc->first_predicted) && isfinite(acc->last_predicted))
    json_object_set_new(into, "prediction_rows",
                        json_pack("[I, I]", (json_int_t)acc->first_predicted, (json_int_t)acc->last_predicted));
  json_object_set_new(into, "labels_missing", json_null()); /* the database knows, and puts it here */
  if (own->detector != NONE)
    json_object_set_new(into, "detector",
                        json_pack("{ss sb so}", "name", own->detector == ADWIN ? "adwin" : "page_hinkley", "drift",
                                  own->risen, "row", own->risen ? json_integer(own->row) : json_null()));
}

static void judge(struct monitor *m, struct window *w, json_t *result, struct window_said *said) {
  struct own *own = m->own;
  const struct acc *acc = w->acc;
  const char *metric = metric_names[own->metric];
  said->value = value_of(m, w->acc);
  said->threshold = own->limit;
  look_at_rise(own, acc);
  save_detector(m, own);
  put_members(m, w, said, result);
  window_judge_versions(m, w, result, said,
                        (struct window_line){.value = value_of,
                                             .count = count_of,
                                             .limit = own->limit,
                                             .at_least = own->at_least,
                                             .what = metric,
                                             .unit = ""});
  if ((int64_t)acc->n < m->min_rows) return window_too_few(m, said, (int64_t)acc->n, "labels");
  if (isnan(said->value)) {
    said->verdict = WINDOW_INSUFFICIENT;
    strbuf_printf(&said->summary, ": %s cannot be computed from %llu labels", metric, (unsigned long long)acc->n);
    return;
  }
  bool hit = own->at_least ? said->value < own->limit : said->value > own->limit;
  char words[256], over[120];
  int len = snprintf(words, sizeof words, "%s is %.4g, at %s %.4g (%llu labels)", metric, said->value,
                     own->at_least ? "least" : "most", own->limit, (unsigned long long)acc->n);
  if (own->risen && len > 0 && (size_t)len < sizeof words)
    snprintf(words + len, sizeof words - (size_t)len, "; its error rose at label row %lld (%.3g before)",
             (long long)own->row, own->before);
  snprintf(over, sizeof over, "%.60s: %s is %.4g again", m->name, metric, said->value);
  json_t *detail = json_object();
  put_members(m, w, said, detail);
  window_conclude(
      m, w, said,
      (struct window_alarm){
          .alarm = WINDOW_ALARM, .hit = hit, .forced = own->risen, .words = words, .over = over, .detail = detail});
}

const struct window_kind window_kind_performance = {"performance", "performance", prepare, release, open_acc,
                                                    drop_acc,      bytes,         add,     judge};
