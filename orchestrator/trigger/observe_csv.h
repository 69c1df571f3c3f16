/* A CSV file as observations: each record becomes one NDJSON row, columns by the header's names. Pure: no I/O. */
#ifndef ORCH_TRIGGER_OBSERVE_CSV_H
#define ORCH_TRIGGER_OBSERVE_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "stats/csv.h"

/* The header, copied. */
struct observe_csv {
  size_t n_names;
  char **names;
  bool *as_text; /* per column: keep what stands there, also "007" and "1e5" */
};
/* Takes the first record. `texts` (NULL-terminated, may be NULL) names the columns that are ids and the like, where
 * "007" is not 7. A dotted name stays as it is: it is the column that an object would nest. ERR_INVALID for empty,
 * repeated or overlong names, for what is no UTF-8 and for fields that are not separated by commas, ERR_LIMIT for too
 * many columns. */
bool observe_csv_header(struct observe_csv *csv, const struct csv_field *fields, size_t n, const char *const *texts,
                        struct err *err) ORCH_MUST_CHECK;
/* Appends one row and a newline. Numbers stay as they were written where JSON allows it; blank, NA and null become
 * null; nan and inf become texts, which monitors read as such; anything else is a text. ERR_INVALID when the number of
 * fields differs from the header's or one is no UTF-8: nothing is appended then. */
bool observe_csv_row(const struct observe_csv *csv, const struct csv_field *fields, size_t n, struct strbuf *out,
                     struct err *err) ORCH_MUST_CHECK;
void observe_csv_fini(struct observe_csv *csv);

#endif
