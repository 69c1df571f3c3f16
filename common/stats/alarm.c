#include "stats/alarm.h"

#include <math.h>

#include "stats/special.h"

#define POINTS 32 /* equally likely values of s */
#define GROUPS 10 /* decile bins */

/* The value that a chi-square exceeds with probability p. */
static double chi2_critical(double p, double df) {
  double low = 0, high = 1;
  if (p >= 1) return 0;
  while (special_chi2_tail(high, df) > p && high < 1e6) high *= 2;
  for (int i = 0; i < 60; i++) {
    double middle = (low + high) / 2;
    if (special_chi2_tail(middle, df) > p)
      low = middle;
    else
      high = middle;
  }
  return high;
}

/* Upper tail of the noncentral chi-square: a mixture of central ones with Poisson weights (Johnson, Kotz, Balakrishnan,
 * Continuous Univariate Distributions 2, 29.2). */
static double noncentral_tail(double x, double df, double lambda) {
  double weight = exp(-lambda / 2), tail = 0, left = 1;
  for (int j = 0; j < 2000 && left > 1e-12; j++) {
    tail += weight * special_chi2_tail(x, df + 2 * j);
    left -= weight;
    weight *= lambda / 2 / (j + 1);
  }
  return fmin(1, tail);
}

/* P(Binomial(n, h) >= k). */
static double binomial_tail(unsigned n, unsigned k, double h) {
  double term = pow(1 - h, n), tail = k == 0 ? term : 0;
  for (unsigned i = 1; i <= n; i++) {
    term = h >= 1 ? i == n : term * (n - i + 1) / i * h / (1 - h);
    if (i >= k) tail += term;
  }
  return fmin(1, tail);
}

double alarm_of_hits(double h, unsigned hits, unsigned of) {
  return h * binomial_tail(of - 1, hits - 1, h);
}

struct column {
  double groups;      /* that the measures go over */
  double size, level; /* PSI at least this, p-value below that */
  double otherwise;   /* the chance of being large in another way */
};

/* Adds what `n` such columns do. */
static void add_columns(const struct drift_rule *rule, double ref, double now, double n, const struct column *column,
                        struct alarm_rate *rate) {
  double df = column->groups - 1, noise = 1 / ref + 1 / now;
  double critical = noise * chi2_critical(column->level, df), bound = fmax(column->size, critical);
  for (int i = 0; i < POINTS; i++) {
    double s = chi2_critical((i + 0.5) / POINTS, df);
    double h = noncentral_tail(now * bound, df, s * now / ref);
    h = fmin(1, h + fmin(column->otherwise, noncentral_tail(now * critical, df, s * now / ref)));
    rate->hits += n * h / POINTS;
    rate->alarms += n * alarm_of_hits(h, rule->hits, rule->of) / POINTS;
  }
}

struct alarm_rate alarm_expected(const struct drift_rule *rule, const struct alarm_task *task) {
  struct alarm_rate rate = {0};
  double now = (double)task->rows, ref = task->ref_rows ? (double)task->ref_rows : 10 * now;
  double all = (double)task->numeric + task->categorical, k = task->categories ? task->categories : 20;
  if (all == 0 || task->rows == 0 || task->rows < rule->min_rows) return rate;
  double level = rule->each_alone ? rule->p_value : rule->p_value / all, noise = 1 / ref + 1 / now;
  struct column numeric = {.groups = GROUPS, .size = rule->psi, .level = level};
  if (task->numeric) add_columns(rule, ref, now, task->numeric, &numeric, &rate);
  /* A share differs by linf beyond its noise: its deviation is at most half of sqrt(noise). */
  double z = (rule->linf + 1.8 * sqrt(noise)) / (0.5 * sqrt(noise));
  struct column categorical = {.groups = fmax(2, k),
                               .size = rule->psi + (fmax(2, k) - 1) * noise,
                               .level = level,
                               .otherwise = fmin(1, k * special_normal_two_sided(z))};
  if (task->categorical) add_columns(rule, ref, now, task->categorical, &categorical, &rate);
  return rate;
}

/* Terms from the largest k downwards, each from the one before. Once past the mode they only fall. */
double alarm_share_below(double p, uint64_t n, double min) {
  double trials = (double)n, k = ceil(min * trials - 1e-9) - 1;
  int sign;
  if (n == 0 || k < 0) return 0;
  if (p <= 0 || k >= trials) return 1;
  if (p >= 1) return 0;
  bool above = k > trials * p;
  if (above) k = trials - k - 1, p = 1 - p; /* P(X <= k) = 1 - P(n - X <= n - k - 1) */
  double term = exp(lgamma_r(trials + 1, &sign) - lgamma_r(k + 1, &sign) - lgamma_r(trials - k + 1, &sign) +
                    k * log(p) + (trials - k) * log1p(-p));
  double sum = term;
  for (uint64_t i = (uint64_t)k; i > 0 && term > 1e-12 * sum; i--) {
    term *= (double)i / (double)(n - i + 1) * (1 - p) / p;
    sum += term;
  }
  sum = fmin(1, sum);
  return above ? 1 - sum : sum;
}

double alarm_jump(double jump, double p_value, uint64_t rows, uint64_t ref_rows) {
  double now = (double)rows, ref = ref_rows ? (double)ref_rows : 10 * now;
  if (rows == 0) return 0;
  double z = jump / (0.5 * sqrt(1 / now + 1 / ref));
  return fmin(p_value, special_normal_two_sided(z)) / 2;
}
