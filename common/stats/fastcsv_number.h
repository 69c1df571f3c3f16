/* The part of fastcsv.c that reads one number at a time, eight digits at once, on any processor. */
#ifndef ORCH_STATS_FASTCSV_NUMBER_H
#define ORCH_STATS_FASTCSV_NUMBER_H

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "stats/decimal.h"

#define REPEAT(byte) (0x0101010101010101u * (uint64_t)(byte))
#define HIGH_BITS REPEAT(0x80)

/* Eight characters, the first in the lowest byte. */
static inline uint64_t load8(const char *text) {
  uint64_t word;
  memcpy(&word, text, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap64(word);
#endif
  return word;
}

/* How many of the eight characters are digits, counted from the first. `x` is the word with '0' taken off each byte. A
 * carry out of a byte only reaches later ones, so the first that is no digit is found exactly. */
static inline unsigned count_digits(uint64_t x) {
  uint64_t others = ((x + REPEAT(0x76)) | x) & HIGH_BITS;
  return others ? (unsigned)__builtin_ctzll(others) >> 3 : 8;
}

/* The number that the first n (1 to 8) digits make: pairs, then fours, then eights. */
static inline uint64_t convert(uint64_t x, unsigned n) {
  x <<= 64 - 8 * n; /* leading zeros in front */
  x = x * 10 + (x >> 8);
  return (((x & 0x000000FF000000FF) * (100 + (1000000ull << 32))) +
          (((x >> 16) & 0x000000FF000000FF) * (1 + (10000ull << 32)))) >>
         32;
}

/* Up to 8 digits at `*at`, appended to `*mantissa`. Returns how many. */
static inline unsigned take_digits(const char **at, uint64_t *mantissa) {
  static const uint32_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
  uint64_t x = load8(*at) ^ REPEAT('0');
  unsigned n = count_digits(x);
  if (n == 0) return 0;
  *mantissa = *mantissa * powers[n] + convert(x, n);
  *at += n;
  return n;
}

/* The same as often as there are eight; more than DECIMAL_DIGITS_MAX stop it (the mantissa has then overflowed). */
static inline unsigned take_all_digits(const char **at, uint64_t *mantissa) {
  unsigned n = take_digits(at, mantissa);
  if (__builtin_expect(n == 8, 0))
    for (unsigned more = 8; more == 8 && n <= DECIMAL_DIGITS_MAX; n += more) more = take_digits(at, mantissa);
  return n;
}

/* mantissa * 10^exponent in one division or product of exact factors; false when that could round wrongly. */
static inline bool scale(uint64_t mantissa, int exponent, double *ret) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (mantissa <= 1ull << 53 && exponent >= -22 && exponent <= 22) {
    *ret = exponent < 0 ? (double)mantissa / powers[-exponent] : (double)mantissa * powers[exponent];
    return true;
  }
#if LDBL_MANT_DIG == 64
  /* 64 bits of mantissa hold every factor (5^27 < 2^63), so the quotient is rounded correctly to 64 bits. Rounding that
   * to 53 bits gives the right double unless it lies exactly between two: only there the first rounding matters. */
  static const long double wide[] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
                                     1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
                                     1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
  if (exponent >= -27 && exponent <= 27) {
    long double value = exponent < 0 ? (long double)mantissa / wide[-exponent] : (long double)mantissa * wide[exponent];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits); /* the explicit mantissa comes first */
    *ret = (double)value;
    return (bits & 0x7FF) != 0x400;
  }
#endif
  return false;
}

static inline const char *number(const char *text, double *ret) {
  bool negative = *text == '-';
  const char *at = text + negative;
  uint64_t mantissa = 0;
  int exponent = 0;
  unsigned n = take_all_digits(&at, &mantissa);
  if (n == 0) return NULL;
  if (*at == '.') {
    at++;
    unsigned fraction = take_all_digits(&at, &mantissa);
    exponent = -(int)fraction;
    n += fraction;
  }
  if (n > DECIMAL_DIGITS_MAX) return NULL;
  if (__builtin_expect((*at | 0x20) == 'e', 0)) {
    const char *e = at + 1;
    bool minus = *e == '-';
    uint64_t power = 0;
    e += *e == '-' || *e == '+';
    unsigned width = take_digits(&e, &power);
    if (width == 0 || width > 3) return NULL;
    exponent += minus ? -(int)power : (int)power;
    at = e;
  }
  double value;
  if (!scale(mantissa, exponent, &value)) return NULL;
  *ret = negative ? -value : value;
  return at;
}

static __attribute__((noinline)) bool long_number(const char *start, const char *end, double *ret) {
  return end > start && number(start, ret) == end;
}

/* The whole field [start, end) as a number of the common kind; false: somebody else must look. */
static inline bool field_number(const char *start, const char *end, double *ret) {
  static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7};
  uint64_t negative = *start == '-';
  size_t len = (size_t)(end - start) - negative;
  if (len - 1 >= 8) return long_number(start, end, ret);
  /* At most eight characters: the digits move to the high end, zeros before them, and the full stop is taken out. */
  uint64_t x = (load8(start + negative) ^ REPEAT('0')) << (64 - 8 * len);
  uint64_t stop = x ^ REPEAT('.' ^ '0'), fraction = 0;
  stop = (stop - REPEAT(1)) & ~stop & HIGH_BITS;
  if (stop) {
    unsigned bit = (unsigned)__builtin_ctzll(stop) - 7; /* where the full stop's byte begins */
    uint64_t before = ((uint64_t)1 << bit) - 1;
    fraction = 7 - bit / 8;
    x = (x & before) << 8 | (x & ~before & ~((uint64_t)0xFF << bit));
    if (len == 1) return false;
  }
  if (((x + REPEAT(0x76)) | x) & HIGH_BITS) return false;
  double value = (double)convert(x, 8) / powers[fraction];
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits |= negative << 63;
  memcpy(ret, &bits, sizeof bits);
  return true;
}

#endif
