#include "stats/fastcsv.h"

#include <string.h>

#include "base/mem.h"
#include "stats/decimal.h"
#include "stats/fastcsv_number.h"

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

/* ---- fields ---- */

const char *fastcsv_number(const char *text, double *ret_number) {
  return number(text, ret_number);
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
