/* One line of JSON as a stream of tokens, strictly by RFC 8259: the grammar of a row, and nothing of what it means.
 *
 * Nothing is allocated and nothing copied: a text is where it stands in the line, and only one with escapes has to be
 * rewritten. Eight bytes are looked at together; it takes less than half the time of yajl. Bytes of UTF-8 are not
 * checked: do that for the line as a whole. Pure: no I/O. */
#ifndef ORCH_TRIGGER_ROW_LEX_H
#define ORCH_TRIGGER_ROW_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define ROW_LEX_DEPTH_MAX 64 /* objects and arrays inside each other */

enum row_token {
  ROW_LEX_BAD, /* no JSON: row_lex_why() */
  ROW_LEX_END, /* the line held one whole value and is over */
  ROW_LEX_KEY,
  ROW_LEX_STRING,
  ROW_LEX_NUMBER,
  ROW_LEX_TRUE,
  ROW_LEX_FALSE,
  ROW_LEX_NULL,
  ROW_LEX_MAP, /* begins */
  ROW_LEX_ARRAY,
  ROW_LEX_CLOSE, /* the innermost one ends */
};

struct row_lex {
  const char *text; /* of a key, a string (between its quotes) or a number, inside the line */
  size_t len;
  bool escaped;  /* it has backslashes: row_lex_unescape() */
  bool exponent; /* of a number */
  const char *line, *at, *end;
  const char *why;
  unsigned depth;
  uint64_t maps; /* one bit a level, the innermost in the lowest: is it an object? */
  enum { ROW_LEX_WANTS_VALUE, ROW_LEX_WANTS_ITEM, ROW_LEX_WANTS_KEY, ROW_LEX_WANTS_FIRST, ROW_LEX_WANTS_NEXT } state;
};

/* The line must stay until the last token. */
void row_lex_init(struct row_lex *lex, const char *line, size_t len);
/* After ROW_LEX_BAD or ROW_LEX_END it must not be called again. */
enum row_token row_lex_next(struct row_lex *lex);
/* Why it is no JSON, with the column: after ROW_LEX_BAD. */
void row_lex_why(const struct row_lex *lex, struct err *err);

/* Rewrites a text with escapes into `out`, which has room for `len` bytes; it never gets longer. False: an escape that
 * JSON does not know, half a surrogate pair, or a NUL, which no text of ours can hold. */
bool row_lex_unescape(const char *text, size_t len, char *out, size_t *ret_len, struct err *err) ORCH_MUST_CHECK;

#endif
