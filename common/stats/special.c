#include "stats/special.h"

#include <math.h>

#define TERMS_MAX 2000
#define PRECISION 1e-16
#define TINY 1e-300

/* x^a e^-x / Gamma(a), through logarithms so that neither factor overflows. */
static double gamma_front(double a, double x) {
  int sign;
  return exp(a * log(x) - x - lgamma_r(a, &sign));
}

/* P(a, x) by its power series (DLMF 8.7.1): front / a * (1 + x/(a+1) + x^2/((a+1)(a+2)) + ...). */
static double gamma_p_series(double a, double x) {
  double term = 1 / a, total = term;
  for (int i = 1; i < TERMS_MAX; i++) {
    term *= x / (a + i);
    total += term;
    if (term < total * PRECISION) break;
  }
  return total * gamma_front(a, x);
}

/* Q(a, x) by its continued fraction (DLMF 8.9.2, even part), evaluated from the front by the modified Lentz method. */
static double gamma_q_fraction(double a, double x) {
  double b = x + 1 - a;
  double c = 1 / TINY, d = 1 / b, value = d;
  for (int i = 1; i < TERMS_MAX; i++) {
    double an = -i * (i - a);
    b += 2;
    d = an * d + b;
    if (fabs(d) < TINY) d = TINY;
    c = b + an / c;
    if (fabs(c) < TINY) c = TINY;
    d = 1 / d;
    double step = c * d;
    value *= step;
    if (fabs(step - 1) < PRECISION) break;
  }
  return value * gamma_front(a, x);
}

double special_gamma_q(double a, double x) {
  if (!(a > 0) || isnan(x)) return NAN;
  if (x <= 0) return 1;
  if (isinf(x)) return 0;
  double q = x < a + 1 ? 1 - gamma_p_series(a, x) : gamma_q_fraction(a, x);
  return fmin(1, fmax(0, q));
}

double special_kolmogorov_q(double x) {
  if (isnan(x)) return NAN;
  if (x <= 0) return 1;
  double total = 0;
  if (x < 1.18) {
    for (int k = 1; k <= 8; k++) {
      double odd = 2 * k - 1;
      total += exp(-odd * odd * M_PI * M_PI / (8 * x * x));
    }
    return fmin(1, fmax(0, 1 - sqrt(2 * M_PI) / x * total));
  }
  for (int k = 1; k <= 20; k++) {
    double term = exp(-2.0 * k * k * x * x);
    total += k % 2 ? term : -term;
    if (term < total * 1e-17) break;
  }
  return fmin(1, fmax(0, 2 * total));
}

double special_normal_two_sided(double z) {
  return erfc(fabs(z) / M_SQRT2);
}

double special_chi2_tail(double x, double df) {
  return special_gamma_q(df / 2, x / 2);
}
