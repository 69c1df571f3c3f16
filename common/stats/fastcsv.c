#include "stats/fastcsv.h"

#include <float.h>
#include <string.h>
#ifdef __x86_64__
#include <smmintrin.h>
#define WIDE
#endif

#include "base/mem.h"

#define REPEAT(byte) (0x0101010101010101u * (uint64_t)(byte))
#define HIGH_BITS REPEAT(0x80)
#define DIGITS_MAX 19 /* 10^19 - 1 fits 64 bits */

void fastcsv_init(struct fastcsv *csv, const enum fastcsv_want *want, size_t n_columns, fastcsv_block_fn *block,
                  fastcsv_text_fn *text, void *arg) {
  *csv = (struct fastcsv){.n_columns = n_columns, .block = block, .text = text, .arg = arg};
  ORCH_ASSERT(n_columns >= 1);
  csv->columns = mem_calloc(n_columns, sizeof csv->columns[0]);
  for (size_t i = 0; i < n_columns; i++) csv->columns[i].want = want[i];
}

void fastcsv_fini(struct fastcsv *csv) {
  mem_free(csv->columns);
}

void fastcsv_flush(struct fastcsv *csv) {
  if (csv->rows == 0) return;
  csv->block(csv->arg, csv);
  for (size_t i = 0; i < csv->n_columns; i++) csv->columns[i].n_values = csv->columns[i].null = csv->columns[i].bad = 0;
  csv->rows = 0;
}

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

/* The same as often as there are eight; more than DIGITS_MAX stop it (the mantissa has then overflowed). */
static inline unsigned take_all_digits(const char **at, uint64_t *mantissa) {
  unsigned n = take_digits(at, mantissa);
  if (__builtin_expect(n == 8, 0))
    for (unsigned more = 8; more == 8 && n <= DIGITS_MAX; n += more) more = take_digits(at, mantissa);
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
  if (n > DIGITS_MAX) return NULL;
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

const char *fastcsv_number(const char *text, double *ret_number) {
  return number(text, ret_number);
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

#ifdef WIDE
/* The same for up to sixteen characters, which one register holds: every processor since 2008 can do this, and the
 * others are asked in fastcsv_feed(). */
__attribute__((target("sse4.1"))) static inline bool field_number_wide(const char *start, const char *end,
                                                                       double *ret) {
  static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  /* Read at offset n it moves n bytes to the high end and puts zeros before them. */
  static const int8_t slide[32] = {-128, -128, -128, -128, -128, -128, -128, -128, -128, -128, -128,
                                   -128, -128, -128, -128, -128, 0,    1,    2,    3,    4,    5,
                                   6,    7,    8,    9,    10,   11,   12,   13,   14,   15};
  uint64_t negative = *start == '-', fraction = 0;
  size_t len = (size_t)(end - start) - negative;
  if (__builtin_expect(len - 1 >= 16, 0)) return long_number(start, end, ret);
  __m128i text = _mm_loadu_si128((const __m128i *)(const void *)(start + negative));
  __m128i control = _mm_loadu_si128((const __m128i *)(const void *)(slide + len));
  unsigned stops = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(text, _mm_set1_epi8('.'))) & ((1u << len) - 1);
  if (stops) { /* what is before the full stop moves one byte further and covers it */
    unsigned at = (unsigned)__builtin_ctz(stops);
    fraction = len - 1 - at;
    control = _mm_adds_epi8(control, _mm_cmpgt_epi8(_mm_set1_epi8((char)(at + 1)), control));
    if (len == 1) return false;
  }
  __m128i digits = _mm_shuffle_epi8(_mm_sub_epi8(text, _mm_set1_epi8('0')), control);
  __m128i others = _mm_subs_epu8(digits, _mm_set1_epi8(9));
  if (!_mm_test_all_zeros(others, others)) return long_number(start, end, ret);
  /* Pairs, fours, eights. */
  __m128i pairs = _mm_maddubs_epi16(digits, _mm_set1_epi16(0x010A));
  __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00010064));
  __m128i eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours), _mm_set1_epi32(0x00012710));
  uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights), mantissa = (both & 0xFFFFFFFF) * 100000000 + (both >> 32);
  if (mantissa > 1ull << 53) return long_number(start, end, ret);
  double value = (double)(int64_t)mantissa / powers[fraction];
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits |= negative << 63;
  memcpy(ret, &bits, sizeof bits);
  return true;
}
#endif

static void take_cell(struct fastcsv *csv, size_t index, const char *text, size_t len) {
  struct fastcsv_column *column = &csv->columns[index];
  if (column->want == FASTCSV_SKIP) return;
  struct cell cell = cell_from_text(text, len);
  if (cell.kind == CELL_NULL) {
    column->null++;
  } else if (column->want == FASTCSV_TEXTS) {
    csv->text(csv->arg, index, cell);
  } else if (cell.kind == CELL_NUMBER) {
    column->values[column->n_values++] = cell.number;
  } else {
    column->bad++;
  }
}

static void row_end(struct fastcsv *csv) {
  if (++csv->rows == FASTCSV_ROWS) fastcsv_flush(csv);
}

void fastcsv_take(struct fastcsv *csv, const struct csv_field *fields) {
  for (size_t i = 0; i < csv->n_columns; i++) take_cell(csv, i, fields[i].text, fields[i].len);
  row_end(csv);
}

/* Separators of 64 bytes, as bits. */
struct marks {
  uint64_t separators; /* commas and newlines */
  uint64_t odd;        /* not zero: a quote or NUL is among them */
};

#ifdef WIDE
static inline struct marks find_marks(const char *at) {
  const __m128i comma = _mm_set1_epi8(','), newline = _mm_set1_epi8('\n'), quote = _mm_set1_epi8('"');
  struct marks marks = {0};
  __m128i odd = _mm_setzero_si128();
  for (unsigned i = 0; i < 4; i++) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + 16 * (size_t)i));
    __m128i separators = _mm_or_si128(_mm_cmpeq_epi8(bytes, comma), _mm_cmpeq_epi8(bytes, newline));
    odd = _mm_or_si128(odd, _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, _mm_setzero_si128())));
    marks.separators |= (uint64_t)(unsigned)_mm_movemask_epi8(separators) << 16 * i;
  }
  marks.odd = (uint64_t)(unsigned)_mm_movemask_epi8(odd);
  return marks;
}
#else
static inline struct marks find_marks(const char *at) {
  struct marks marks = {0};
  for (unsigned i = 0; i < 64; i++) {
    marks.separators |= (uint64_t)(at[i] == ',' || at[i] == '\n') << i;
    marks.odd |= (uint64_t)(at[i] == '"' || at[i] == 0);
  }
  return marks;
}
#endif

/* Everything about a field that is not the usual number. False when odd. */
static __attribute__((noinline)) void take_other(struct fastcsv *csv, size_t index, const char *start,
                                                 const char *end) {
  if (csv->columns[index].want == FASTCSV_SKIP) return;
  if (index + 1 == csv->n_columns && end > start && end[-1] == '\r') end--;
  if (csv->columns[index].want == FASTCSV_NUMBERS && end == start)
    csv->columns[index].null++;
  else
    take_cell(csv, index, start, (size_t)(end - start));
}

#define BATCH 2048 /* bytes whose separators are found before their fields are read */

/* Where the separators of text[0..len) are, from `base` on. False when odd. */
static inline bool find_separators(const char *text, size_t len, uint32_t *ret_at, size_t *ret_n) {
  uint32_t *out = ret_at;
  for (size_t at = 0; at < len; at += 64) {
    struct marks marks = find_marks(text + at);
    if (__builtin_expect(len - at < 64, 0)) { /* what lies behind the text means nothing */
      char rest[64];
      memset(rest, ' ', sizeof rest);
      memcpy(rest, text + at, len - at);
      marks = find_marks(rest);
    }
    if (__builtin_expect(marks.odd != 0, 0)) return false;
    for (uint64_t left = marks.separators; left; left &= left - 1)
      *out++ = (uint32_t)at + (uint32_t)__builtin_ctzll(left);
  }
  *ret_n = (size_t)(out - ret_at);
  return true;
}

typedef bool field_number_fn(const char *start, const char *end, double *ret);

/* fastcsv_feed(), with the one or the other way to read a number compiled into it. */
static inline __attribute__((always_inline)) bool feed(struct fastcsv *csv, const char *text, size_t len,
                                                       field_number_fn *field_to_number) {
  uint32_t separators[BATCH];
  const char *start = text;
  size_t index = 0, last = csv->n_columns - 1, n;
  struct fastcsv_column *column = csv->columns;
  ORCH_ASSERT(len == 0 || text[len - 1] == '\n');
  for (size_t at = 0; at < len; at += BATCH) {
    if (!find_separators(text + at, len - at < BATCH ? len - at : BATCH, separators, &n)) return false;
    for (size_t i = 0; i < n; i++) {
      const char *end = text + at + separators[i], *field = start;
      start = end + 1;
      if (index < last) {
        if (__builtin_expect(*end != ',', 0)) {
          if (index == 0 && (end == field || (end == field + 1 && *field == '\r'))) continue; /* a blank line */
          return false;
        }
        if (__builtin_expect(
                column->want == FASTCSV_NUMBERS && field_to_number(field, end, &column->values[column->n_values]), 1))
          column->n_values++;
        else
          take_other(csv, index, field, end);
        column++;
        index++;
        continue;
      }
      if (*end != '\n') return false;
      if (index == 0 && (end == field || (end == field + 1 && *field == '\r'))) continue;
      if (column->want == FASTCSV_NUMBERS &&
          field_to_number(field, end - (end > field && end[-1] == '\r'), &column->values[column->n_values]))
        column->n_values++;
      else
        take_other(csv, index, field, end);
      row_end(csv);
      column = csv->columns;
      index = 0;
    }
  }
  return true;
}

#ifdef WIDE
__attribute__((target("sse4.1"))) static bool feed_wide(struct fastcsv *csv, const char *text, size_t len) {
  return feed(csv, text, len, field_number_wide);
}
#endif

bool fastcsv_feed(struct fastcsv *csv, const char *text, size_t len) {
#ifdef WIDE
  if (__builtin_cpu_supports("sse4.1")) return feed_wide(csv, text, len);
#endif
  return feed(csv, text, len, field_number);
}
