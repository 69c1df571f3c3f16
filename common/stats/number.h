/* Text to double without the locale: what a cell of a CSV file or a JSON text says, correctly rounded. */
#ifndef ORCH_STATS_NUMBER_H
#define ORCH_STATS_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

enum cell_kind {
  CELL_NULL,   /* nothing there: blank, NA, null, an absent JSON key */
  CELL_NUMBER, /* `number` holds it; may be NaN or infinite */
  CELL_BAD,    /* something is there and it is no number */
};

/* One value of one column, as a source gave it. */
struct cell {
  enum cell_kind kind;
  double number;
  /* What the source wrote, white space around it removed, when it wrote a text; NULL otherwise (a number, object or
   * array of JSON). No NUL at the end; lives as long as the source does. A categorical column takes it as its value. */
  const char *text;
  size_t len;
};

/* Decimal notation with optional sign, fraction and exponent, nothing around it; at most 64 characters. False when
 * the text is anything else (hexadecimal, "1,5", "1 000", empty). Overflow gives infinity, underflow zero. */
bool number_parse(const char *text, size_t len, double *ret_number);

/* A cell of a CSV file, with its text. White space around it is ignored. Blank, NA, N/A, NULL and None (any case) are
 * CELL_NULL; nan, inf, infinity (any case, signed) are numbers; what number_parse() takes is a number; the rest is
 * CELL_BAD. */
struct cell cell_from_text(const char *text, size_t len);

/* A text value of a JSON row, with its text: "NaN", "inf", "Infinity" and their negatives are numbers, since JSON
 * cannot write them otherwise; every other text is CELL_BAD, also "12.5": a column that turns from numbers into texts
 * is broken. */
struct cell cell_from_json_text(const char *text, size_t len);

static inline struct cell cell_number(double number) {
  return (struct cell){.kind = CELL_NUMBER, .number = number};
}
static inline struct cell cell_null(void) {
  return (struct cell){.kind = CELL_NULL};
}
static inline struct cell cell_bad(void) {
  return (struct cell){.kind = CELL_BAD};
}
/* A text that is no number for sure, such as "true" for a boolean of JSON. */
static inline struct cell cell_text(const char *text, size_t len) {
  return (struct cell){.kind = CELL_BAD, .text = text, .len = len};
}

#endif
