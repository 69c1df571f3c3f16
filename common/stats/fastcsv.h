/* Reads plain CSV at up to a gigabyte a second and core: records in, numbers gathered by column out.
 *
 * It takes exactly what csv.h and number.h take, bit for bit, as long as a file has no quotes; what it does not know
 * (quotes, a record of the wrong width, NUL bytes) it calls odd and leaves to csv.h, which reads it or says what is
 * wrong. No I/O: the caller feeds text, in pieces that begin at a record, from as many threads as it likes (one
 * `struct fastcsv` each).
 *
 * Where the speed comes from: separators are found 64 bytes at a time; a field's digits, up to 19, become one integer
 * in a few instructions without a branch that depends on their number (with AVX-512 four short fields or two long ones
 * together, with AVX2 one, elsewhere eight digits at once by the well known multiply-and-shift on a 64-bit word);
 * decimal.h turns many integers into doubles together. What is not of the common kind goes to number_parse(). */
#ifndef ORCH_STATS_FASTCSV_H
#define ORCH_STATS_FASTCSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stats/csv.h"
#include "stats/number.h"

#define FASTCSV_ROWS 1024  /* rows of a block */
#define FASTCSV_PADDING 64 /* bytes before and behind the text that may be read (they mean nothing) */

enum fastcsv_want {
  FASTCSV_SKIP,
  FASTCSV_NUMBERS,
  FASTCSV_TEXTS, /* the texts themselves go to text() */
};

/* One column of a block. Every cell of a wanted column is one value, one null or one bad cell (CELL_NULL and CELL_BAD
 * of cell_from_text()); of a column of texts it is one null or one call of text(). */
struct fastcsv_column {
  enum fastcsv_want want;
  uint32_t n_values, null, bad;
  double values[FASTCSV_ROWS]; /* in the file's order; NaN and infinities too */
};

struct fastcsv;
/* A block of 1 to FASTCSV_ROWS rows is full: csv->rows and csv->columns hold it until the function returns. */
typedef void fastcsv_block_fn(void *arg, const struct fastcsv *csv);
/* A cell of a column of texts that is not null, from cell_from_text(); its text is valid during the call. */
typedef void fastcsv_text_fn(void *arg, size_t column, struct cell cell);

struct fastcsv {
  size_t n_columns;
  uint32_t rows; /* in this block */
  struct fastcsv_column *columns;
  fastcsv_block_fn *block;
  fastcsv_text_fn *text; /* may be NULL when no column wants texts */
  void *arg;
  /* Fields that were read and are not yet in `columns`, row by row: bits and codes of decimal.h. */
  size_t n_fields, column; /* how many; the column of the next one */
  uint64_t *bits;
  uint8_t *codes;
  uint64_t widest;       /* the mantissas among them, or-ed together */
  bool integers;         /* some of them are no doubles yet */
  unsigned long_batches; /* to come, as far as can be foreseen: fields of more than 15 characters */
  bool *holes;           /* by column: some of those fields are no values */
  uint8_t *want;         /* enum fastcsv_want by column */
  uint8_t *others;       /* by column, of the four fields that begin there: which are not wanted as numbers, as bits */
};

/* `want` has n_columns (1 to CSV_FIELDS_MAX) entries. */
void fastcsv_init(struct fastcsv *csv, const enum fastcsv_want *want, size_t n_columns, fastcsv_block_fn *block,
                  fastcsv_text_fn *text, void *arg);
void fastcsv_fini(struct fastcsv *csv);

/* Reads the records of text[0..len): it begins where a record begins and ends with a newline (or is empty); before and
 * behind it FASTCSV_PADDING bytes are readable. False when something is odd: what was counted so far is then of no use.
 */
bool fastcsv_feed(struct fastcsv *csv, const char *text, size_t len) ORCH_MUST_CHECK;
/* One record from csv.h's reader instead; `fields` has n_columns entries. */
void fastcsv_take(struct fastcsv *csv, const struct csv_field *fields);
/* Hands out the last, unfinished block. */
void fastcsv_flush(struct fastcsv *csv);

/* The same by the instructions of the given level (0: any processor, 1: AVX2, 2: AVX-512), for tests that compare them.
 * fastcsv_feed() takes the highest that the processor has, which fastcsv_level() tells. */
bool fastcsv_feed_level(struct fastcsv *csv, const char *text, size_t len, int level) ORCH_MUST_CHECK;
int fastcsv_level(void);

/* The number that text begins with, exactly as number_parse() reads it, when it is of the common kind: optional minus,
 * at most 19 digits with at least one before a full stop, optional exponent. Returns where it ends, or NULL when
 * number_parse() must look. FASTCSV_PADDING bytes behind the number are readable. */
const char *fastcsv_number(const char *text, double *ret_number);

#endif
