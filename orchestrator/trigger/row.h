/* One observation, an NDJSON line, read by a streaming parser into flat columns: what ingest judges and windows count.
 *
 * A row is one JSON object. Its objects are flattened with dots: {"features": {"income": 3}} has the column
 * "features.income", and so has a literal key of that name; a row with both is refused, as is any name that stands
 * twice. An array is a cell that is no value (ROW_BAD), also what lies inside it is checked. A parser is prepared once
 * with the names somebody wants and read with line after line; it is quick when rows look alike, as those of one model
 * do.
 *
 * row_lex.h does the lexing; the line's UTF-8 is checked as a whole. jansson's trees would take over ten
 * times as long. Pure: no I/O. */
#ifndef ORCH_TRIGGER_ROW_H
#define ORCH_TRIGGER_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stats/number.h"

#define OBSERVE_LINE_MAX (64 * 1024) /* bytes of one line */
#define OBSERVE_COLUMNS_MAX 1024     /* keys of one row, nested ones included */
#define OBSERVE_DEPTH_MAX 8          /* objects and arrays inside each other, the row itself is 1 */
#define OBSERVE_NAME_MAX 128         /* bytes of one key */
#define OBSERVE_NUMBER_MAX 64        /* characters of one number */

/* The names of keys that say something about the row and are no inputs of the model: a pipeline's spec.observations.
 * NULL is the default: "id", `at` or else `timestamp`, "prediction", "score", "version", "latency_ms". */
struct row_keys {
  const char *id, *at, *prediction, *score, *version, *latency;
};
enum row_key { ROW_ID, ROW_AT, ROW_TIMESTAMP, ROW_PREDICTION, ROW_SCORE, ROW_VERSION, ROW_LATENCY, ROW_KEYS };

enum row_kind {
  ROW_ABSENT, /* the row has no such column */
  ROW_NULL,
  ROW_NUMBER, /* finite; `text` is how it was written */
  ROW_BOOL,   /* `number` is 0 or 1, `text` is "false" or "true" */
  ROW_TEXT,   /* `text`, unescaped; holds no NUL byte */
  ROW_BAD,    /* an array or an object */
};

/* `text` is not NUL-terminated and valid until the parser reads the next line, as long as the line itself is. */
struct row_cell {
  enum row_kind kind;
  double number;
  const char *text;
  size_t len;
};

struct row_parser;
/* The wanted columns by name, copied; a name twice is fine. `keys` may be NULL. Memory: about 60 KiB, and up to 3 MiB
 * for rows that need it. */
struct row_parser *row_parser_new(const char *const *names, size_t n, const struct row_keys *keys);
void row_parser_free(struct row_parser *parser); /* NULL is fine */

/* Reads one line, without its newline; then row_cells() and row_key() speak of it until the next one. False with
 * ERR_INVALID or ERR_LIMIT when it is no row; all cells are ROW_ABSENT then. */
bool row_parse(struct row_parser *parser, const char *line, size_t len, struct err *err) ORCH_MUST_CHECK;
/* One cell per wanted name, in their order. */
const struct row_cell *row_cells(const struct row_parser *parser);
/* A reserved key's cell; a key may be wanted as a column as well. */
const struct row_cell *row_key(const struct row_parser *parser, enum row_key key);
/* When the row says it happened, in microseconds; false when it says nothing that can be read. */
bool row_time(const struct row_parser *parser, int64_t *ret_wall_us);

/* The cell as a number's sketch counts it: booleans are 0 and 1, the texts "NaN", "inf" and "-Infinity" what they say,
 * absent is null, everything else bad. */
struct cell row_number(const struct row_cell *cell);
/* The cell as a category: texts, numbers as they are written, "true" and "false". False (absent, null, bad): none. */
bool row_category(const struct row_cell *cell, const char **ret_text, size_t *ret_len);

#endif
