#include "stats/fastcsv.h"

#include <float.h>
#include <string.h>

#include "base/mem.h"
#include "stats/decimal.h"

#define REPEAT(byte) (0x0101010101010101u * (uint64_t)(byte))
#define HIGH_BITS REPEAT(0x80)
#define BATCH 1024 /* bytes whose separators are found before their fields are read */
#define ROOM 2048  /* fields kept row by row, beside one row: few enough for the processor's first cache */

/* Codes of fields that are no value; to decimal.h they are ready. */
#define CODE_NULL (DECIMAL_READY | 1)
#define CODE_BAD (DECIMAL_READY | 2)
#define CODE_NOTHING (DECIMAL_READY | 3) /* skipped, or given to text() */

void fastcsv_init(struct fastcsv *csv, const enum fastcsv_want *want, size_t n_columns, fastcsv_block_fn *block,
                  fastcsv_text_fn *text, void *arg) {
  *csv = (struct fastcsv){.n_columns = n_columns, .block = block, .text = text, .arg = arg};
  ORCH_ASSERT(n_columns >= 1 && n_columns <= CSV_FIELDS_MAX);
  csv->columns = mem_calloc(n_columns, sizeof csv->columns[0]);
  csv->bits = mem_calloc(ROOM + n_columns + 4, sizeof csv->bits[0]);
  csv->codes = mem_calloc(ROOM + n_columns + 4, sizeof csv->codes[0]);
  csv->want = mem_calloc(n_columns, sizeof csv->want[0]);
  csv->others = mem_calloc(n_columns, sizeof csv->others[0]);
  csv->holes = mem_calloc(n_columns, sizeof csv->holes[0]);
  for (size_t i = 0; i < n_columns; i++) {
    csv->columns[i].want = want[i];
    csv->want[i] = (uint8_t)want[i];
    for (size_t j = 0; j < 4; j++) csv->others[i] |= (uint8_t)((want[(i + j) % n_columns] != FASTCSV_NUMBERS) << j);
  }
}

void fastcsv_fini(struct fastcsv *csv) {
  mem_free(csv->columns);
  mem_free(csv->bits);
  mem_free(csv->codes);
  mem_free(csv->want);
  mem_free(csv->others);
  mem_free(csv->holes);
}

/* ---- from rows to columns ---- */

static void block_out(struct fastcsv *csv) {
  if (csv->rows == 0) return;
  csv->block(csv->arg, csv);
  for (size_t i = 0; i < csv->n_columns; i++) csv->columns[i].n_values = csv->columns[i].null = csv->columns[i].bad = 0;
  csv->rows = 0;
}

/* One column of `rows` rows that are kept. */
static void move_column(struct fastcsv *csv, size_t index, size_t first, size_t rows) {
  struct fastcsv_column *column = &csv->columns[index];
  const uint64_t *bits = csv->bits + first + index;
  const uint8_t *codes = csv->codes + first + index;
  size_t stride = csv->n_columns;
  double *values = column->values + column->n_values;
  if (!csv->holes[index]) {
    for (size_t r = 0; r < rows; r++) memcpy(&values[r], bits + r * stride, sizeof *bits);
    column->n_values += (uint32_t)rows;
    return;
  }
  for (size_t r = 0; r < rows; r++, bits += stride, codes += stride) {
    memcpy(values, bits, sizeof *bits);
    column->null += *codes == CODE_NULL;
    column->bad += *codes == CODE_BAD;
    values += *codes <= DECIMAL_READY || *codes >= DECIMAL_NEGATIVE;
  }
  column->n_values = (uint32_t)(values - column->values);
}

/* Moves the whole rows that are kept to their columns. */
static void drain(struct fastcsv *csv) {
  size_t n = csv->n_columns, rows = csv->n_fields / n, first = 0;
  if (csv->integers) decimal_convert(csv->bits, csv->codes, rows * n, csv->widest);
  while (rows > 0) {
    size_t some = FASTCSV_ROWS - csv->rows;
    if (some > rows) some = rows;
    for (size_t i = 0; i < n; i++)
      if (csv->want[i] != FASTCSV_SKIP) move_column(csv, i, first, some);
    csv->rows += (uint32_t)some;
    if (csv->rows == FASTCSV_ROWS) block_out(csv);
    rows -= some;
    first += some * n;
  }
  csv->n_fields -= first;
  memmove(csv->bits, csv->bits + first, csv->n_fields * sizeof csv->bits[0]);
  memmove(csv->codes, csv->codes + first, csv->n_fields);
  if (csv->n_fields > 0) return;
  csv->integers = false;
  csv->widest = 0;
  memset(csv->holes, 0, n * sizeof csv->holes[0]);
}

void fastcsv_flush(struct fastcsv *csv) {
  drain(csv);
  block_out(csv);
}

/* A field of which nothing goes to the column's values. */
static void put_hole(struct fastcsv *csv, size_t at, size_t index, uint8_t code) {
  csv->bits[at] = 0;
  csv->codes[at] = code;
  csv->holes[index] = true;
}

static inline void put_number(struct fastcsv *csv, size_t at, double number) {
  memcpy(&csv->bits[at], &number, sizeof number);
  csv->codes[at] = DECIMAL_READY;
}

static void put_cell(struct fastcsv *csv, size_t at, size_t index, const char *text, size_t len) {
  if (csv->want[index] == FASTCSV_SKIP) {
    put_hole(csv, at, index, CODE_NOTHING);
    return;
  }
  struct cell cell = cell_from_text(text, len);
  if (cell.kind == CELL_NULL) {
    put_hole(csv, at, index, CODE_NULL);
  } else if (csv->want[index] == FASTCSV_TEXTS) {
    csv->text(csv->arg, index, cell);
    put_hole(csv, at, index, CODE_NOTHING);
  } else if (cell.kind == CELL_NUMBER) {
    put_number(csv, at, cell.number);
  } else {
    put_hole(csv, at, index, CODE_BAD);
  }
}

void fastcsv_take(struct fastcsv *csv, const struct csv_field *fields) {
  for (size_t i = 0; i < csv->n_columns; i++) put_cell(csv, csv->n_fields++, i, fields[i].text, fields[i].len);
  if (csv->n_fields >= ROOM) drain(csv);
}

/* ---- numbers ---- */

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

struct constants; /* what the loops for one processor keep at hand */

/* A field as bits and code; false: somebody else must look. */
static inline bool field_read(const char *start, const char *end, uint64_t *ret_bits, uint8_t *ret_code,
                              uint64_t *widest, const struct constants *k) {
  double value;
  if (!field_number(start, end, &value)) return false;
  memcpy(ret_bits, &value, sizeof value);
  *ret_code = DECIMAL_READY;
  return true;
}

/* ---- fields ---- */

/* Separators of 64 bytes, as bits. */
struct marks {
  uint64_t separators, newlines; /* commas and newlines; newlines alone */
  bool odd;                      /* a quote or NUL is among them */
};

#define AT_ONCE 16 /* room for separators noted without counting them first */
#define AT_ONCE_EACH 8

/* The separators of one batch. at[0] is the one before it, relative to the batch as all of them. */
struct separators {
  size_t n, newlines;
  int32_t at[1 + BATCH + AT_ONCE];
};

static inline struct marks find_marks(const char *at, const struct constants *k) {
  struct marks marks = {0};
  for (unsigned i = 0; i < 64; i++) {
    marks.separators |= (uint64_t)(at[i] == ',' || at[i] == '\n') << i;
    marks.newlines |= (uint64_t)(at[i] == '\n') << i;
    marks.odd |= at[i] == '"' || at[i] == 0;
  }
  return marks;
}

/* Everything about a field that is not the usual number. */
static __attribute__((noinline)) void take_other(struct fastcsv *csv, size_t at, size_t index, const char *start,
                                                 const char *end) {
  double value;
  if (index + 1 == csv->n_columns && end > start && end[-1] == '\r') end--;
  if (csv->want[index] == FASTCSV_NUMBERS && end == start)
    put_hole(csv, at, index, CODE_NULL);
  else if (csv->want[index] == FASTCSV_NUMBERS && number(start, &value) == end)
    put_number(csv, at, value);
  else
    put_cell(csv, at, index, start, (size_t)(end - start));
}

#ifdef __x86_64__
#include "stats/fastcsv_x86.h"
#endif

typedef struct marks find_marks_fn(const char *at, const struct constants *k);
typedef bool field_read_fn(const char *start, const char *end, uint64_t *ret_bits, uint8_t *ret_code, uint64_t *widest,
                           const struct constants *k);

/* Notes where the bits are, from `base` on. Several are written whether they are there or not: how many there are is
 * not predictable, so a loop that ends with the last would cost more. Returns behind the last true one. */
static inline int32_t *note_bits(int32_t *out, int32_t base, uint64_t bits) {
  unsigned n = (unsigned)__builtin_popcountll(bits), done = AT_ONCE_EACH;
  for (unsigned i = 0; i < AT_ONCE_EACH; i++, bits &= bits - 1) out[i] = base + __builtin_ctzll(bits | 1ull << 63);
  if (__builtin_expect(n > AT_ONCE_EACH, 0))
    for (; done < n; done++, bits &= bits - 1) out[done] = base + __builtin_ctzll(bits);
  return out + n;
}

/* Finds the separators of text[0..len). False when odd. */
static inline __attribute__((always_inline)) bool find_separators(const char *text, size_t len, find_marks_fn *find,
                                                                  const struct constants *k, struct separators *ret) {
  int32_t *out = ret->at + 1;
  ret->newlines = 0;
  for (size_t at = 0; at < len; at += 64) {
    struct marks marks = find(text + at, k);
    if (__builtin_expect(len - at < 64, 0)) { /* what lies behind the text means nothing */
      char rest[64];
      memset(rest, ' ', sizeof rest);
      memcpy(rest, text + at, len - at);
      marks = find(rest, k);
    }
    if (__builtin_expect(marks.odd, 0)) return false;
    out = note_bits(out, (int32_t)at, marks.separators);
    ret->newlines += (size_t)__builtin_popcountll(marks.newlines);
  }
  ret->n = (size_t)(out - ret->at) - 1;
  return true;
}

static inline bool is_blank(const char *start, const char *end) {
  return end == start || (end == start + 1 && *start == '\r');
}

/* The fields that end in a batch, one after the other. False when a record has the wrong width. */
static inline __attribute__((always_inline)) bool take_each(struct fastcsv *csv, const char *batch,
                                                            const struct separators *separators, field_read_fn *read,
                                                            const struct constants *k) {
  /* Copies: bytes that are written could be any of these, as far as a compiler knows. */
  const int32_t *at = separators->at, *end_at = at + separators->n;
  uint64_t *bits = csv->bits, widest = csv->widest;
  uint8_t *codes = csv->codes;
  const uint8_t *want = csv->want;
  size_t n = csv->n_fields, index = csv->column, last = csv->n_columns - 1;
  for (; at < end_at; at++) {
    const char *start = batch + at[0] + 1, *end = batch + at[1], *stop = end;
    if (__builtin_expect(index == last || *end != ',', 0)) {
      if (index == 0 && *end == '\n' && is_blank(start, end)) continue;
      if (index != last || *end != '\n') return false;
      stop -= end > start && end[-1] == '\r';
    }
    if (__builtin_expect(want[index] != FASTCSV_NUMBERS || !read(start, stop, bits + n, codes + n, &widest, k), 0))
      take_other(csv, n, index, start, end);
    n++;
    index = index == last ? 0 : index + 1;
  }
  csv->n_fields = n;
  csv->column = index;
  csv->widest = widest;
  csv->integers = true;
  return true;
}

/* What one kind of processor does: see fastcsv_level(). */
struct level {
  bool (*find)(const char *text, size_t len, struct separators *ret);
  bool (*groups)(struct fastcsv *csv, const char *batch, struct separators *separators); /* may be NULL */
  bool (*each)(struct fastcsv *csv, const char *batch, const struct separators *separators);
};

static bool find_anywhere(const char *text, size_t len, struct separators *ret) {
  return find_separators(text, len, find_marks, NULL, ret);
}

static bool each_anywhere(struct fastcsv *csv, const char *batch, const struct separators *separators) {
  return take_each(csv, batch, separators, field_read, NULL);
}

#ifdef __x86_64__
AVX2 static bool find_avx2(const char *text, size_t len, struct separators *ret) {
  return find_separators(text, len, find_marks_avx2, hidden(), ret);
}

AVX2 static bool each_avx2(struct fastcsv *csv, const char *batch, const struct separators *separators) {
  return take_each(csv, batch, separators, field_read_avx2, hidden());
}

#endif

static const struct level levels[] = {
    {find_anywhere, NULL, each_anywhere},
#ifdef __x86_64__
    {find_avx2, NULL, each_avx2},
    {find_avx512, groups_avx512, each_avx2},
#endif
};

int fastcsv_level(void) {
#ifdef __x86_64__
  /* Every processor with BMI2 has LZCNT, after which clang cannot ask. */
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
              __builtin_cpu_supports("popcnt");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
                __builtin_cpu_supports("avx512vbmi2");
  return avx2 + avx512;
#else
  return 0;
#endif
}

bool fastcsv_feed_level(struct fastcsv *csv, const char *text, size_t len, int number) {
  ORCH_ASSERT(number >= 0 && number < (int)ARRAY_LEN(levels) && (len == 0 || text[len - 1] == '\n'));
  const struct level *level = &levels[number];
  struct separators separators;
  const char *before = text - 1; /* the separator before the batch */
  for (const char *batch = text; batch < text + len; batch += BATCH) {
    size_t left = (size_t)(text + len - batch);
    if (csv->n_fields > ROOM - BATCH) drain(csv);
    if (!level->find(batch, left < BATCH ? left : BATCH, &separators)) return false;
    if (separators.n == 0) continue;
    separators.at[0] = (int32_t)(before - batch);
    if (!(level->groups && level->groups(csv, batch, &separators)) && !level->each(csv, batch, &separators))
      return false;
    before = batch + separators.at[separators.n];
  }
  return true;
}

bool fastcsv_feed(struct fastcsv *csv, const char *text, size_t len) {
  return fastcsv_feed_level(csv, text, len, fastcsv_level());
}
