#include "stats/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* The class of a text, made when it is new; NULL when there is no room. */
static struct score_class *class_of(struct score_classes *s, const char *text, size_t len) {
  struct category_value name = {0};
  name.len = (uint8_t)category_value_of(text, len, name.text);
  for (uint32_t i = 0; i < s->n_classes; i++)
    if (s->classes[i].name.len == name.len && memcmp(s->classes[i].name.text, name.text, name.len) == 0)
      return &s->classes[i];
  if (s->n_classes == SCORE_CLASSES_MAX) return NULL;
  s->classes[s->n_classes].name = name;
  return &s->classes[s->n_classes++];
}

void score_classes_add(struct score_classes *s, const char *predicted, size_t predicted_len, const char *actual,
                       size_t actual_len) {
  struct score_class *says = class_of(s, predicted, predicted_len), *is = class_of(s, actual, actual_len);
  bool right = says && is ? says == is
                          : predicted_len == actual_len && (actual_len == 0 || !memcmp(predicted, actual, actual_len));
  s->n++;
  s->correct += right;
  if (!says || !is) {
    s->beyond++;
    return;
  }
  says->predicted++;
  is->actual++;
  is->correct += right;
}

double score_accuracy(const struct score_classes *s) {
  return s->n ? (double)s->correct / (double)s->n : NAN;
}

static struct score_prf prf_of(const struct score_class *c) {
  double correct = (double)c->correct, predicted = (double)c->predicted, actual = (double)c->actual;
  return (struct score_prf){.precision = c->predicted ? correct / predicted : NAN,
                            .recall = c->actual ? correct / actual : NAN,
                            .f1 = c->predicted + c->actual ? 2 * correct / (predicted + actual) : NAN};
}

struct score_prf score_class_prf(const struct score_classes *s, const char *name, size_t len) {
  char value[CATEGORY_VALUE_MAX + 1];
  len = category_value_of(name, len, value);
  for (uint32_t i = 0; i < s->n_classes; i++)
    if (s->classes[i].name.len == len && memcmp(s->classes[i].name.text, value, len) == 0)
      return prf_of(&s->classes[i]);
  return (struct score_prf){.precision = NAN, .recall = NAN, .f1 = NAN};
}

double score_macro_f1(const struct score_classes *s) {
  double sum = 0;
  if (s->n == 0 || s->beyond) return NAN;
  for (uint32_t i = 0; i < s->n_classes; i++) sum += prf_of(&s->classes[i]).f1;
  return sum / s->n_classes;
}

/* ---- probabilities ---- */

static size_t bin_of(double p) {
  size_t bin = (size_t)(p * SCORE_BINS);
  return bin < SCORE_BINS ? bin : SCORE_BINS - 1;
}

static void keep(struct score_probs *s, double p, bool positive) {
  if (s->n_kept < SCORE_KEPT_MAX) {
    if (s->n_kept == s->size) {
      s->size = s->size ? s->size * 2 : 256;
      s->kept = mem_realloc(s->kept, s->size * sizeof s->kept[0]);
    }
    s->kept[s->n_kept++] = (struct score_kept){.p = p, .positive = positive};
    return;
  }
  s->bins = mem_calloc(SCORE_BINS, sizeof s->bins[0]);
  for (size_t i = 0; i < s->n_kept; i++) s->bins[bin_of(s->kept[i].p)][s->kept[i].positive]++;
  s->bins[bin_of(p)][positive]++;
  mem_free(s->kept);
  s->kept = NULL;
  s->n_kept = s->size = 0;
}

void score_probs_add(struct score_probs *s, double p, bool positive) {
  if (!(p >= 0 && p <= 1)) {
    s->refused++;
    return;
  }
  if (positive)
    s->positives++;
  else
    s->negatives++;
  double likely = fmin(1 - SCORE_EPS, fmax(SCORE_EPS, p));
  s->log_loss_sum -= positive ? log(likely) : log1p(-likely);
  if (s->bins)
    s->bins[bin_of(p)][positive]++;
  else
    keep(s, p, positive);
}

void score_probs_fini(struct score_probs *s) {
  mem_free(s->kept);
  mem_free(s->bins);
  *s = (struct score_probs){0};
}

static int by_p(const void *a, const void *b) {
  double x = ((const struct score_kept *)a)->p, y = ((const struct score_kept *)b)->p;
  return (x > y) - (x < y);
}

/* Pairs (positive, negative) with the positive ahead, ties half; and how many tie. */
struct pairs {
  double ahead, tied, below; /* `below`: negatives seen so far */
};
static void pairs_step(struct pairs *pairs, uint64_t positives, uint64_t negatives) {
  double p = (double)positives, n = (double)negatives;
  pairs->ahead += p * (pairs->below + n / 2);
  pairs->tied += p * n;
  pairs->below += n;
}

struct score_auc score_auc(const struct score_probs *s) {
  struct pairs pairs = {0};
  if (!s->positives || !s->negatives) return (struct score_auc){.auc = NAN, .slack = NAN};
  double all = (double)s->positives * (double)s->negatives;
  if (s->bins) {
    for (size_t i = 0; i < SCORE_BINS; i++) pairs_step(&pairs, s->bins[i][1], s->bins[i][0]);
    return (struct score_auc){.auc = pairs.ahead / all, .slack = pairs.tied / all / 2};
  }
  struct score_kept *sorted = mem_calloc(s->n_kept, sizeof sorted[0]);
  memcpy(sorted, s->kept, s->n_kept * sizeof sorted[0]);
  qsort(sorted, s->n_kept, sizeof sorted[0], by_p);
  for (size_t i = 0; i < s->n_kept;) {
    uint64_t here[2] = {0, 0};
    double at = sorted[i].p;
    for (; i < s->n_kept && sorted[i].p == at; i++) here[sorted[i].positive]++;
    pairs_step(&pairs, here[1], here[0]);
  }
  mem_free(sorted);
  return (struct score_auc){.auc = pairs.ahead / all, .slack = 0};
}

double score_log_loss(const struct score_probs *s) {
  uint64_t n = s->positives + s->negatives;
  return n ? s->log_loss_sum / (double)n : NAN;
}

void score_estimate_add(struct score_estimate *s, double p, bool predicted_positive) {
  if (!(p >= 0 && p <= 1)) {
    s->refused++;
    return;
  }
  s->n++;
  s->sum += predicted_positive ? p : 1 - p;
}

double score_estimated_accuracy(const struct score_estimate *s) {
  return s->n ? s->sum / (double)s->n : NAN;
}

/* ---- numbers ---- */

void score_errors_add(struct score_errors *s, double predicted, double actual) {
  double off = predicted - actual;
  if (!isfinite(off)) {
    s->refused++;
    return;
  }
  s->n++;
  s->abs_sum += fabs(off);
  s->square_sum += off * off;
}

double score_mae(const struct score_errors *s) {
  return s->n ? s->abs_sum / (double)s->n : NAN;
}

double score_rmse(const struct score_errors *s) {
  return s->n ? sqrt(s->square_sum / (double)s->n) : NAN;
}
