#include "stats/decimal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#define WIDE
#endif

#include "base/mem.h"
#include "stats/number.h"

#define EXACT_MAX (1ull << 53)

/* By the lower six bits of a code; 1 where there is no full stop. */
static const double powers[64] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10,
                                  1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21,
                                  1e22, 1,    1,    1,    1,    1,    1,    1,    1,    1,    1};

static uint64_t bits_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static __attribute__((noinline)) double slowly(uint64_t mantissa, unsigned fraction) {
  char text[40];
  double value;
  int len = snprintf(text, sizeof text, "%" PRIu64 "e-%u", mantissa, fraction == DECIMAL_WHOLE ? 0 : fraction);
  ORCH_ASSERT(number_parse(text, (size_t)len, &value));
  return value;
}

static uint64_t convert_one(uint64_t mantissa, uint8_t code) {
  if (code & DECIMAL_READY) return mantissa;
  unsigned fraction = code & 63;
  double value = mantissa <= EXACT_MAX ? (double)mantissa / powers[fraction] : slowly(mantissa, fraction);
  return bits_of(value) | (uint64_t)(code & DECIMAL_NEGATIVE) << 56;
}

#ifdef WIDE
#define TARGET __attribute__((target("avx2,fma")))
#define CHUNK 64 /* mantissas that are kept until all of their quotients are known to be right */

/* The powers and signs of four codes. */
#define POWERS(codes)                                                                                                  \
  _mm256_set_pd(powers[(codes)[3] & 63], powers[(codes)[2] & 63], powers[(codes)[1] & 63], powers[(codes)[0] & 63])

TARGET static inline __m256i load(const uint64_t *from) {
  return _mm256_loadu_si256((const __m256i *)(const void *)from);
}

/* Four values with their signs; where a code says READY, what was there. */
TARGET static inline void finish(uint64_t *to, const uint8_t *codes, __m256i mantissas, __m256d values) {
  uint32_t four;
  memcpy(&four, codes, sizeof four);
  __m256i wide = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128((int)four));
  __m256i signs = _mm256_slli_epi64(_mm256_srli_epi64(wide, 7), 63);
  __m256i ready = _mm256_slli_epi64(wide, 57); /* its bit on top */
  __m256d out = _mm256_blendv_pd(_mm256_or_pd(values, _mm256_castsi256_pd(signs)), _mm256_castsi256_pd(mantissas),
                                 _mm256_castsi256_pd(ready));
  _mm256_storeu_pd((double *)(void *)to, out);
}

/* An integer's upper and lower half as doubles: put below 2^84 and 2^52 they need only those taken off. */
#define UPPER(m)                                                                                                       \
  _mm256_sub_pd(                                                                                                       \
      _mm256_castsi256_pd(_mm256_or_si256(_mm256_srli_epi64(m, 32), _mm256_castpd_si256(_mm256_set1_pd(0x1p84)))),     \
      _mm256_set1_pd(0x1p84))
#define LOWER(m)                                                                                                       \
  _mm256_sub_pd(_mm256_castsi256_pd(_mm256_blend_epi32(m, _mm256_castpd_si256(_mm256_set1_pd(0x1p52)), 0xAA)),         \
                _mm256_set1_pd(0x1p52))

TARGET static void convert_exact(uint64_t *bits, const uint8_t *codes, size_t n) {
  for (size_t i = 0; i + 4 <= n; i += 4) {
    __m256i m = load(bits + i);
    finish(bits + i, codes + i, m, _mm256_div_pd(_mm256_add_pd(UPPER(m), LOWER(m)), POWERS(codes + i)));
  }
}

/* q = high / power, its exact remainder, and what the mantissa has beyond `high`: q + (remainder + beyond) / power.
 * Returns whether somewhere the error of that correction could matter. */
TARGET static bool convert_corrected(uint64_t *bits, const uint8_t *codes, size_t n) {
  const __m256d sign = _mm256_set1_pd(-0.0), slack = _mm256_set1_pd(0x1p-48);
  __m256d doubtful = _mm256_setzero_pd();
  for (size_t i = 0; i + 4 <= n; i += 4) {
    __m256i m = load(bits + i);
    __m256d upper = UPPER(m), lower = LOWER(m), power = POWERS(codes + i);
    __m256d high = _mm256_add_pd(upper, lower), beyond = _mm256_add_pd(_mm256_sub_pd(upper, high), lower);
    __m256d q = _mm256_div_pd(high, power);
    __m256d correction = _mm256_div_pd(_mm256_add_pd(_mm256_fnmadd_pd(q, power, high), beyond), power);
    __m256d error = _mm256_mul_pd(_mm256_andnot_pd(sign, correction), slack);
    __m256d most = _mm256_add_pd(q, _mm256_add_pd(correction, error));
    __m256d least = _mm256_add_pd(q, _mm256_sub_pd(correction, error));
    __m256d differ = _mm256_cmp_pd(most, least, _CMP_NEQ_OQ);
    /* Of a READY one the bits mean something else, and it needs no quotient: its doubts do not count. */
    uint32_t four;
    memcpy(&four, codes + i, sizeof four);
    __m256i ready = _mm256_cvtepi8_epi64(_mm_cvtsi32_si128((int)(four << 1 & 0x80808080)));
    doubtful = _mm256_or_pd(doubtful, _mm256_andnot_pd(_mm256_castsi256_pd(ready), differ));
    finish(bits + i, codes + i, m, most);
  }
  return _mm256_movemask_pd(doubtful) != 0;
}

TARGET static void convert_wide(uint64_t *bits, const uint8_t *codes, size_t n) {
  uint64_t kept[CHUNK];
  for (size_t at = 0; at < n; at += CHUNK) {
    size_t some = n - at < CHUNK ? n - at : CHUNK;
    memcpy(kept, bits + at, some * sizeof kept[0]);
    if (!convert_corrected(bits + at, codes + at, some)) continue;
    for (size_t i = 0; i < some - some % 4; i++) bits[at + i] = convert_one(kept[i], codes[at + i]);
  }
}
#endif

void decimal_convert(uint64_t *bits, const uint8_t *codes, size_t n, uint64_t widest) {
  size_t done = 0;
#ifdef WIDE
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    done = n - n % 4;
    if (widest <= EXACT_MAX)
      convert_exact(bits, codes, done);
    else
      convert_wide(bits, codes, done);
  }
#endif
  for (; done < n; done++) bits[done] = convert_one(bits[done], codes[done]);
}
