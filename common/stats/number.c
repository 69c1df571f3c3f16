#include "stats/number.h"

#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NUMBER_TEXT_MAX 64

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* What the syntax says: value = mantissa * 10^exponent when `exact`. */
struct decimal {
  uint64_t mantissa;
  int digits; /* significant digits taken into the mantissa */
  int exponent;
  bool negative;
  bool exact; /* every digit is in the mantissa */
};

static void decimal_digit(struct decimal *d, char c, bool fraction) {
  if (d->digits >= 18) {
    d->exact = false;
    return;
  }
  d->mantissa = d->mantissa * 10 + (uint64_t)(c - '0');
  if (d->mantissa) d->digits++;
  if (fraction) d->exponent--;
}

static bool decimal_scan(const char *s, size_t len, struct decimal *d) {
  const char *end = s + len;
  *d = (struct decimal){.exact = true};
  if (s < end && (*s == '+' || *s == '-')) d->negative = *s++ == '-';
  bool any = false;
  for (; s < end && is_digit(*s); s++, any = true) decimal_digit(d, *s, false);
  if (s < end && *s == '.')
    for (s++; s < end && is_digit(*s); s++, any = true) decimal_digit(d, *s, true);
  if (!any) return false;
  if (s < end && (*s == 'e' || *s == 'E')) {
    bool minus = false;
    int exponent = 0;
    s++;
    if (s < end && (*s == '+' || *s == '-')) minus = *s++ == '-';
    if (s == end) return false;
    for (; s < end && is_digit(*s); s++)
      if (exponent < 10000) exponent = exponent * 10 + (*s - '0');
    d->exponent += minus ? -exponent : exponent;
  }
  return s == end;
}

bool number_parse(const char *text, size_t len, double *ret_number) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  struct decimal d;
  if (len == 0 || len > NUMBER_TEXT_MAX || !decimal_scan(text, len, &d)) return false;
  /* Both factors are exact doubles, so one rounding gives the correctly rounded result (Clinger 1990). */
  if (d.exact && d.mantissa <= (1ull << 53) && d.exponent >= -22 && d.exponent <= 22) {
    double value = (double)d.mantissa;
    value = d.exponent < 0 ? value / powers[-d.exponent] : value * powers[d.exponent];
    *ret_number = d.negative ? -value : value;
    return true;
  }
  char copy[NUMBER_TEXT_MAX + 1];
  memcpy(copy, text, len);
  copy[len] = 0;
  locale_t c_locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
  if (!c_locale) return false;
  *ret_number = strtod_l(copy, NULL, c_locale);
  freelocale(c_locale);
  return true;
}

static bool is_word(const char *text, size_t len, const char *word) {
  return strlen(word) == len && strncasecmp(text, word, len) == 0;
}

static bool special_word(const char *text, size_t len, double *ret) {
  bool negative = false;
  if (len && (*text == '-' || *text == '+')) {
    negative = *text == '-';
    text++;
    len--;
  }
  if (is_word(text, len, "inf") || is_word(text, len, "infinity")) {
    *ret = negative ? -INFINITY : INFINITY;
    return true;
  }
  if (is_word(text, len, "nan")) {
    *ret = NAN;
    return true;
  }
  return false;
}

static bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct cell cell_from_text(const char *text, size_t len) {
  static const char *const nothing[] = {"NA", "N/A", "NULL", "None"};
  double number;
  while (len && is_space(*text)) text++, len--;
  while (len && is_space(text[len - 1])) len--;
  if (len == 0) return cell_null();
  if (number_parse(text, len, &number) || special_word(text, len, &number))
    return (struct cell){.kind = CELL_NUMBER, .number = number, .text = text, .len = len};
  for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++)
    if (is_word(text, len, nothing[i])) return cell_null();
  return cell_text(text, len);
}

struct cell cell_from_json_text(const char *text, size_t len) {
  double number;
  if (!special_word(text, len, &number)) return cell_text(text, len);
  return (struct cell){.kind = CELL_NUMBER, .number = number, .text = text, .len = len};
}
