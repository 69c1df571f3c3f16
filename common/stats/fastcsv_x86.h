/* The parts of fastcsv.c that are written for x86 processors; it includes them in its middle.
 *
 * AVX2: one field in a 32-byte register, its last character last. AVX-512: four fields of up to 15 characters, each at
 * the end of its 16 bytes, or two of up to 21 characters, each at the end of its 32 bytes. Either way a byte that is no
 * digit is 0 or makes the field somebody else's. */
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#define AVX512                                                                                                         \
  __attribute__((                                                                                                      \
      target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2")))

#define TIMES_16(byte) byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte
#define TIMES_32(byte) TIMES_16(byte), TIMES_16(byte)

/* Constants of the loops. A compiler that knows them builds them anew for every field, which costs more than all the
 * rest: so it only gets a pointer, see hidden(). */
struct constants {
  uint8_t before[32], ones[32], after[32]; /* a window that slides over them masks from the left or the right */
  uint8_t stop[32], zero[32], nine[32], comma[32], newline[32], quote[32];
  double powers[16];
};
static const struct constants constants __attribute__((aligned(64))) = {
    .ones = {TIMES_32(255)},
    .stop = {TIMES_32('.')},
    .zero = {TIMES_32('0')},
    .nine = {TIMES_32(9)},
    .comma = {TIMES_32(',')},
    .newline = {TIMES_32('\n')},
    .quote = {TIMES_32('"')},
    .powers = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15},
};

static inline const struct constants *hidden(void) {
  const struct constants *k = &constants;
  __asm__("" : "+r"(k));
  return k;
}

AVX2 static inline __m256i load32(const void *from) {
  return _mm256_loadu_si256((const __m256i *)from);
}

AVX2 static inline __m128i load16(const void *from) {
  return _mm_loadu_si128((const __m128i *)from);
}

/* ---- AVX2 ---- */

AVX2 static inline struct marks find_marks_avx2(const char *at, const struct constants *k) {
  __m256i a = load32(at), b = load32(at + 32), zero = _mm256_setzero_si256();
  __m256i a_lines = _mm256_cmpeq_epi8(a, load32(k->newline)), b_lines = _mm256_cmpeq_epi8(b, load32(k->newline));
  __m256i a_commas = _mm256_cmpeq_epi8(a, load32(k->comma)), b_commas = _mm256_cmpeq_epi8(b, load32(k->comma));
  __m256i quotes = _mm256_or_si256(_mm256_cmpeq_epi8(a, load32(k->quote)), _mm256_cmpeq_epi8(b, load32(k->quote)));
  __m256i odd = _mm256_or_si256(quotes, _mm256_cmpeq_epi8(_mm256_min_epu8(a, b), zero));
  uint64_t newlines = (uint64_t)(uint32_t)_mm256_movemask_epi8(b_lines) << 32 | (uint32_t)_mm256_movemask_epi8(a_lines);
  uint64_t commas = (uint64_t)(uint32_t)_mm256_movemask_epi8(b_commas) << 32 | (uint32_t)_mm256_movemask_epi8(a_commas);
  return (struct marks){.separators = newlines | commas, .newlines = newlines, .odd = !_mm256_testz_si256(odd, odd)};
}

/* The digits of [start, end) as an integer, however many there are: the field is read so that it ends with the
 * register; what stands before the full stop is read one byte further to the left, so that it closes the gap. */
AVX2 static inline bool field_read_avx2(const char *start, const char *end, uint64_t *ret_bits, uint8_t *ret_code,
                                        uint64_t *widest, const struct constants *k) {
  unsigned negative = *start == '-';
  size_t len = (size_t)(end - start) - negative;
  if (__builtin_expect(len - 1 > DECIMAL_DIGITS_MAX, 0)) return false;
  __m256i behind = load32(end - 32), before = load32(end - 33);
  uint32_t stops = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(behind, load32(k->stop))) & ~0u << (32 - len);
  size_t fraction = _lzcnt_u32(stops); /* DECIMAL_WHOLE without one */
  size_t digits = len - (stops != 0);
  __m256i text = _mm256_blendv_epi8(behind, before, load32(k->ones + fraction));
  text = _mm256_and_si256(_mm256_sub_epi8(text, load32(k->zero)), load32(k->before + digits));
  __m256i others = _mm256_subs_epu8(text, load32(k->nine));
  if (__builtin_expect(!_mm256_testz_si256(others, others) | (digits - 1 >= DECIMAL_DIGITS_MAX), 0)) return false;
  /* Pairs, fours, eights: four numbers of eight digits, of which the first is 0. */
  __m256i pairs = _mm256_maddubs_epi16(text, _mm256_set1_epi16(0x010A));
  __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00010064));
  __m256i eights = _mm256_madd_epi16(_mm256_packus_epi32(fours, fours), _mm256_set1_epi32(0x00012710));
  uint64_t high = (uint64_t)_mm_cvtsi128_si64(_mm256_castsi256_si128(eights)) >> 32;
  uint64_t low = (uint64_t)_mm_cvtsi128_si64(_mm256_extracti128_si256(eights, 1));
  uint64_t mantissa = high * 10000000000000000 + (low & 0xFFFFFFFF) * 100000000 + (low >> 32);
  *ret_bits = mantissa;
  *ret_code = (uint8_t)(fraction | negative << 7);
  *widest |= mantissa;
  return true;
}

/* ---- AVX-512 ---- */

/* find_separators(), where the bits become numbers without a loop over them. */
AVX512 static bool find_avx512(const char *text, size_t len, struct separators *ret) {
  const __m512i every =
      _mm512_set_epi8(63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40,
                      39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16,
                      15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  int32_t *out = ret->at + 1;
  ret->newlines = 0;
  for (size_t at = 0; at < len; at += 64) {
    __mmask64 within = len - at < 64 ? (1ull << (len - at)) - 1 : ~0ull;
    __m512i bytes = _mm512_loadu_si512(text + at);
    uint64_t newlines = _mm512_mask_cmpeq_epi8_mask(within, bytes, _mm512_set1_epi8('\n'));
    uint64_t commas = _mm512_mask_cmpeq_epi8_mask(within, bytes, _mm512_set1_epi8(','));
    uint64_t quotes = _mm512_mask_cmpeq_epi8_mask(within, bytes, _mm512_set1_epi8('"'));
    if (__builtin_expect((quotes | _mm512_mask_testn_epi8_mask(within, bytes, bytes)) != 0, 0)) return false;
    __m512i places = _mm512_maskz_compress_epi8(newlines | commas, every);
    unsigned n = (unsigned)__builtin_popcountll(newlines | commas);
    for (unsigned done = 0;; done += 16) {
      _mm512_storeu_si512(out + done, _mm512_add_epi32(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(places)),
                                                       _mm512_set1_epi32((int)at)));
      if (__builtin_expect(done + 16 >= n, 1)) break;
      places = _mm512_shuffle_i64x2(places, places, 0x39); /* the next 16 */
    }
    out += n;
    ret->newlines += (size_t)__builtin_popcountll(newlines);
  }
  ret->n = (size_t)(out - ret->at) - 1;
  return true;
}

/* What stands in the fields of a register, a bit for each of its bytes. */
struct characters {
  uint64_t stops, minuses;
  uint64_t wrong; /* not zero in the part of a field that is no plain number (two full stops do not count) */
  __m512i values; /* of the digits; 0 elsewhere */
};

/* `firsts` has the first bit of each part of `width` bits. */
AVX512 static inline struct characters read_characters(__m512i text, uint64_t inside, uint64_t firsts, unsigned width) {
  struct characters c;
  c.stops = _mm512_mask_cmpeq_epi8_mask(inside, text, _mm512_set1_epi8('.'));
  c.minuses = _mm512_mask_cmpeq_epi8_mask(inside, text, _mm512_set1_epi8('-'));
  uint64_t digits = inside & ~(c.stops | c.minuses);
  c.values = _mm512_maskz_sub_epi8(digits, text, _mm512_set1_epi8('0'));
  c.wrong = _mm512_cmpgt_epu8_mask(c.values, _mm512_set1_epi8(9));
  c.wrong |= c.minuses & inside << 1; /* a minus that is not the first character */
  /* No digit at all: the last bit of a part that is 0. A carry can also set it above such a part, which costs time. */
  c.wrong |= (digits - firsts) & ~digits & firsts << (width - 1);
  return c;
}

/* Which of the four 16-bit parts are not zero, as four bits. */
AVX512 static inline unsigned parts(uint64_t mask) {
  __m128i words = _mm_cvtsi64_si128((long long)mask);
  return _mm_test_epi16_mask(words, words) & 15u;
}

/* Reads the fields that end at ends[0..3] (ends[-1] is the separator before them) as doubles. Returns those that it
 * could not read, as bits. */
AVX512 static inline unsigned four_fields(const char *batch, const int32_t *ends, uint64_t *ret_bits,
                                          const struct constants *k) {
  const __m512i from_end = _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m512i own_part =
      _mm512_set_epi32(0x0c0c0c0c, 0x0c0c0c0c, 0x0c0c0c0c, 0x0c0c0c0c, 0x08080808, 0x08080808, 0x08080808, 0x08080808,
                       0x04040404, 0x04040404, 0x04040404, 0x04040404, 0, 0, 0, 0);
  __m128i lens = _mm_add_epi32(_mm_sub_epi32(load16(ends), load16(ends - 1)), _mm_set1_epi32(-1));
  unsigned refused = _mm_cmpgt_epu32_mask(lens, _mm_set1_epi32(15));
  /* The bytes of the fields: the last len of each part. */
  __mmask64 inside = _mm512_cmpgt_epu8_mask(_mm512_permutexvar_epi8(own_part, _mm512_castsi128_si512(lens)), from_end);
  __m512i text = _mm512_castsi128_si512(load16(batch + ends[0] - 16));
  text = _mm512_inserti32x4(text, load16(batch + ends[1] - 16), 1);
  text = _mm512_inserti32x4(text, load16(batch + ends[2] - 16), 2);
  text = _mm512_inserti32x4(text, load16(batch + ends[3] - 16), 3);
  struct characters c = read_characters(text, inside, 0x0001000100010001, 16);
  __m512i values = c.values;
  /* Digits behind the full stop; 16 without one. More than one full stop leaves a bit below. */
  __m128i stop = _mm_cvtepu16_epi32(_mm_cvtsi64_si128((long long)c.stops));
  refused |= _mm_test_epi32_mask(stop, _mm_add_epi32(stop, _mm_set1_epi32(-1)));
  __m128i fraction = _mm_sub_epi32(_mm_lzcnt_epi32(stop), _mm_set1_epi32(16));
  /* What stands before the full stop moves one byte to the right, over it. */
  __mmask64 before =
      _mm512_cmpge_epu8_mask(from_end, _mm512_permutexvar_epi8(own_part, _mm512_castsi128_si512(fraction)));
  values = _mm512_mask_mov_epi8(values, before, _mm512_bslli_epi128(values, 1));
  /* Pairs, fours, eights, and both eights of a field together. */
  __m512i pairs = _mm512_maddubs_epi16(values, _mm512_set1_epi16(0x010A));
  __m512i fours = _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x00010064));
  __m512i eights = _mm512_madd_epi16(_mm512_packus_epi32(fours, fours), _mm512_set1_epi32(0x00012710));
  __m512i twice =
      _mm512_add_epi64(_mm512_mul_epu32(eights, _mm512_set1_epi64(100000000)), _mm512_srli_epi64(eights, 32));
  __m256i mantissas = _mm512_castsi512_si256(_mm512_permutexvar_epi64(_mm512_set_epi64(0, 0, 0, 0, 6, 4, 2, 0), twice));
  /* At most 15 digits: one exact division. */
  __m512i which = _mm512_castsi256_si512(_mm256_cvtepu32_epi64(fraction));
  __m256d powers =
      _mm512_castpd512_pd256(_mm512_permutex2var_pd(_mm512_loadu_pd(k->powers), which, _mm512_loadu_pd(k->powers + 8)));
  __m256d result = _mm256_div_pd(_mm256_cvtepi64_pd(mantissas), powers);
  __m256i signs = _mm256_cvtepu16_epi64(_mm_cvtsi64_si128((long long)c.minuses));
  __mmask8 negative = _mm256_test_epi64_mask(signs, signs);
  result = _mm256_mask_xor_pd(result, negative, result, _mm256_set1_pd(-0.0));
  _mm256_storeu_pd((double *)(void *)ret_bits, result);
  return refused | (c.wrong ? parts(c.wrong) : 0);
}

/* Reads the fields that end at ends[0] and ends[1] (ends[-1] is the separator before them) as mantissas and codes.
 * Returns those that it could not read, as bits. */
AVX512 static inline unsigned two_fields(const char *batch, const int32_t *ends, uint64_t *ret_bits, uint8_t *ret_codes,
                                         __m128i *widest) {
  const __m512i from_end =
      _mm512_broadcast_i64x4(_mm256_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                                             21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31));
  const __m512i own_half = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi8(4), 1);
  __m128i ends_two = _mm_loadu_si64(ends), before_two = _mm_loadu_si64(ends - 1);
  __m128i lens = _mm_add_epi32(_mm_sub_epi32(ends_two, before_two), _mm_set1_epi32(-1));
  unsigned refused = _mm_cmpgt_epu32_mask(lens, _mm_set1_epi32(DECIMAL_DIGITS_MAX + 2)) & 3u;
  __mmask64 inside = _mm512_cmpgt_epu8_mask(_mm512_permutexvar_epi8(own_half, _mm512_castsi128_si512(lens)), from_end);
  __m512i text =
      _mm512_inserti64x4(_mm512_castsi256_si512(load32(batch + ends[0] - 32)), load32(batch + ends[1] - 32), 1);
  struct characters c = read_characters(text, inside, 0x100000001, 32);
  __m512i values = c.values;
  __m128i stop = _mm_cvtsi64_si128((long long)c.stops);
  refused |= _mm_test_epi32_mask(stop, _mm_add_epi32(stop, _mm_set1_epi32(-1)));
  __m128i fraction = _mm_lzcnt_epi32(stop); /* DECIMAL_WHOLE without one */
  /* What stands before the full stop moves one byte to the right, over it. */
  __mmask64 before =
      _mm512_cmpge_epu8_mask(from_end, _mm512_permutexvar_epi8(own_half, _mm512_castsi128_si512(fraction)));
  __m512i lower = _mm512_maskz_shuffle_i64x2(0xCC, values, values, 0xA0); /* the first 16 bytes of each, as its last */
  values = _mm512_mask_mov_epi8(values, before, _mm512_alignr_epi8(values, lower, 15));
  /* Pairs, fours, eights, sixteens; of the first sixteen only three can be digits, or there are too many. */
  __m512i pairs = _mm512_maddubs_epi16(values, _mm512_set1_epi16(0x010A));
  __m512i fours = _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x00010064));
  __m512i eights = _mm512_madd_epi16(_mm512_packus_epi32(fours, fours), _mm512_set1_epi32(0x00012710));
  __m512i sixteens =
      _mm512_add_epi64(_mm512_mul_epu32(eights, _mm512_set1_epi64(100000000)), _mm512_srli_epi64(eights, 32));
  __m256i parted = _mm512_castsi512_si256(_mm512_permutexvar_epi64(_mm512_set_epi64(0, 0, 0, 0, 6, 2, 4, 0), sixteens));
  __m128i high = _mm256_castsi256_si128(parted), low = _mm256_extracti128_si256(parted, 1);
  refused |= _mm_cmpgt_epu64_mask(high, _mm_set1_epi64x(999));
  __m128i mantissas = _mm_add_epi64(_mm_mullo_epi64(high, _mm_set1_epi64x(10000000000000000)), low);
  _mm_storeu_si128((__m128i *)(void *)ret_bits, mantissas);
  *widest = _mm_or_si128(*widest, mantissas);
  uint64_t both = (uint64_t)_mm_cvtsi128_si64(fraction);
  ret_codes[0] = (uint8_t)(both | ((c.minuses & 0xFFFFFFFF) != 0) << 7);
  ret_codes[1] = (uint8_t)(both >> 32 | (c.minuses >> 32 != 0) << 7);
  return refused | ((c.wrong & 0xFFFFFFFF) != 0) | (unsigned)(c.wrong >> 32 != 0) << 1;
}

/* Whether every n-th separator is a newline, and no other one. */
static inline bool is_regular(const struct fastcsv *csv, const char *batch, const struct separators *separators) {
  size_t rows = 0;
  if (csv->n_columns == 1) return false; /* a blank line would be a record */
  for (size_t i = csv->n_columns - csv->column; i <= separators->n; i += csv->n_columns, rows++)
    if (batch[separators->at[i]] != '\n') return false;
  return rows == separators->newlines;
}

/* Those of four fields, the first the i-th of its batch, that are left. Returns how many. */
AVX512 static __attribute__((noinline)) unsigned
take_refused(struct fastcsv *csv, const char *batch, const struct separators *separators, size_t i, unsigned refused) {
  unsigned n = 0;
  for (; refused != 0; refused &= refused - 1, n++) {
    size_t field = i + (unsigned)__builtin_ctz(refused), at = csv->n_fields + field;
    if (field >= separators->n) break;
    size_t index = (csv->column + field) % csv->n_columns;
    const char *start = batch + separators->at[field] + 1, *end = batch + separators->at[field + 1];
    if (csv->want[index] == FASTCSV_NUMBERS &&
        field_read_avx2(start, end, &csv->bits[at], &csv->codes[at], &csv->widest, hidden()))
      csv->integers = true;
    else
      take_other(csv, at, index, start, end);
  }
  return n;
}

/* The fields that end in a batch, four by four. Returns how many had to be read otherwise. */
AVX512 static size_t fours_avx512(struct fastcsv *csv, const char *batch, const struct separators *separators) {
  const struct constants *k = hidden();
  const uint32_t ready = DECIMAL_READY * 0x01010101u;
  uint64_t *bits = csv->bits + csv->n_fields;
  uint8_t *codes = csv->codes + csv->n_fields;
  const uint8_t *others = csv->others;
  const int32_t *ends = separators->at + 1;
  size_t n = separators->n, columns = csv->n_columns, index = csv->column, n_refused = 0;
  for (size_t i = 0; i < n; i += 4) {
    unsigned refused = four_fields(batch, ends + i, bits + i, k) | others[index];
    memcpy(codes + i, &ready, sizeof ready);
    if (__builtin_expect(refused != 0, 0)) n_refused += take_refused(csv, batch, separators, i, refused);
    for (index += 4; index >= columns;) index -= columns;
  }
  return n_refused;
}

/* The same two by two. */
AVX512 static void twos_avx512(struct fastcsv *csv, const char *batch, const struct separators *separators) {
  uint64_t *bits = csv->bits + csv->n_fields;
  uint8_t *codes = csv->codes + csv->n_fields;
  const uint8_t *others = csv->others;
  const int32_t *ends = separators->at + 1;
  size_t n = separators->n, columns = csv->n_columns, index = csv->column;
  __m128i widest = _mm_setzero_si128();
  for (size_t i = 0; i < n; i += 2) {
    unsigned refused = two_fields(batch, ends + i, bits + i, codes + i, &widest) | (others[index] & 3);
    if (__builtin_expect(refused != 0, 0)) take_refused(csv, batch, separators, i, refused);
    for (index += 2; index >= columns;) index -= columns;
  }
  csv->widest |= (uint64_t)_mm_cvtsi128_si64(widest) | (uint64_t)_mm_extract_epi64(widest, 1);
  csv->integers = true;
}

#define LONG_BATCHES 32 /* are read two by two after one of which few fields were read four by four */

/* The fields that end in a batch, in groups. False when they have to be taken one by one; nothing was done then. */
AVX512 static bool groups_avx512(struct fastcsv *csv, const char *batch, struct separators *separators) {
  size_t n = separators->n;
  if (!is_regular(csv, batch, separators)) return false;
  for (size_t i = n + 1; i < n + 4; i++) separators->at[i] = separators->at[n];
  if (csv->long_batches > 0) {
    csv->long_batches--;
    twos_avx512(csv, batch, separators);
  } else if (fours_avx512(csv, batch, separators) > n / 4) {
    csv->long_batches = LONG_BATCHES;
  }
  csv->n_fields += n;
  csv->column = (csv->column + n) % csv->n_columns;
  return true;
}
