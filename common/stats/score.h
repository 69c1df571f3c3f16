/* How good a model is, from predictions and what turned out to be true: accumulators that take one pair at a time.
 *
 * Three of them, for labels that are classes, for the probability of a positive class, and for numbers. A metric that
 * does not apply is NaN. */
#ifndef ORCH_STATS_SCORE_H
#define ORCH_STATS_SCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stats/category.h"

/* ---- classes ---- */

#define SCORE_CLASSES_MAX 256

struct score_class {
  struct category_value name;
  uint64_t actual, predicted, correct;
};
/* Plain data, 24 KB; all zero is the empty one. */
struct score_classes {
  uint64_t n, correct;
  /* Pairs in which a class beyond the first SCORE_CLASSES_MAX occurred: they count in n and correct alone. */
  uint64_t beyond;
  uint32_t n_classes; /* in order of appearance */
  struct score_class classes[SCORE_CLASSES_MAX];
};
/* Texts of any length (kept as category_value_of() keeps them). */
void score_classes_add(struct score_classes *s, const char *predicted, size_t predicted_len, const char *actual,
                       size_t actual_len);
/* correct / n; NaN when n is 0. */
double score_accuracy(const struct score_classes *s);
/* Of one class: precision = correct / predicted (NaN when never predicted), recall = correct / actual (NaN when it
 * never occurred), F1 = 2 correct / (predicted + actual) (NaN when neither). Source: van Rijsbergen 1979. */
struct score_prf {
  double precision, recall, f1;
};
struct score_prf score_class_prf(const struct score_classes *s, const char *name, size_t len);
/* Macro F1: the mean of F1 over all classes that were predicted or occurred; as scikit-learn's average="macro". NaN
 * when n is 0 or `beyond` is not 0. */
double score_macro_f1(const struct score_classes *s);

/* ---- probabilities of the positive class ---- */

#define SCORE_KEPT_MAX 16384
#define SCORE_BINS 8192
#define SCORE_EPS 1e-15

/* Plain data but for `kept`; all zero is the empty one; score_probs_fini(). */
struct score_probs {
  uint64_t positives, negatives, refused; /* refused: a probability outside 0..1 */
  double log_loss_sum;                    /* of -ln p or -ln(1 - p), p clipped to SCORE_EPS .. 1 - SCORE_EPS */
  struct score_kept {
    double p;
    bool positive;
  } * kept; /* while there are at most SCORE_KEPT_MAX pairs */
  size_t n_kept, size;
  uint64_t (*bins)[2]; /* [bin][positive], SCORE_BINS of equal width over 0..1; once there are more */
};
void score_probs_add(struct score_probs *s, double p, bool positive);
void score_probs_fini(struct score_probs *s);
struct score_auc {
  double auc;
  double slack; /* how far off it may be: 0 while pairs are kept, else half of the pairs that share a bin */
};
/* Area under the ROC curve: the chance that a positive has a higher score than a negative, ties half. From ranks
 * (Mann and Whitney 1947; Hanley and McNeil 1982), exact up to SCORE_KEPT_MAX pairs. NaN when one class is missing. */
struct score_auc score_auc(const struct score_probs *s);
/* Mean negative log-likelihood, natural logarithm, clipped as above (scikit-learn's eps for doubles); NaN without
 * pairs. One class only is fine here. */
double score_log_loss(const struct score_probs *s);

/* ---- estimated performance, without labels ---- */

/* Confidence-based performance estimation for a calibrated classifier: a prediction is right with probability p when it
 * says positive and 1 - p when it says negative; the mean is the estimated accuracy. Source: NannyML's CBPE. It holds
 * while inputs stay in the range that the model was calibrated on and fails where they do not: an estimate, never
 * enough alone. Plain data; all zero is the empty one. */
struct score_estimate {
  uint64_t n, refused; /* refused: a probability outside 0..1 */
  double sum;
};
void score_estimate_add(struct score_estimate *s, double p, bool predicted_positive);
double score_estimated_accuracy(const struct score_estimate *s); /* NaN without rows */

/* ---- numbers ---- */

/* Plain data; all zero is the empty one. Pairs that are not both finite are refused. */
struct score_errors {
  uint64_t n, refused;
  double abs_sum, square_sum;
};
void score_errors_add(struct score_errors *s, double predicted, double actual);
double score_mae(const struct score_errors *s);  /* sum |error| / n; NaN without pairs */
double score_rmse(const struct score_errors *s); /* sqrt(sum error^2 / n); NaN without pairs */

#endif
