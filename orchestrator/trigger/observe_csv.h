/* A CSV file as observations: each record becomes one NDJSON row, columns by the header's names. Pure: no I/O. */
#ifndef ORCH_TRIGGER_OBSERVE_CSV_H
#define ORCH_TRIGGER_OBSERVE_CSV_H

#include <stddef.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "stats/csv.h"

/* The header, copied. */
struct observe_csv {
  size_t n_names;
  char **names;
};
/* Takes the first record. ERR_INVALID for empty, repeated or overlong names, ERR_LIMIT for too many. */
bool observe_csv_header(struct observe_csv *csv, const struct csv_field *fields, size_t n,
                        struct err *err) ORCH_MUST_CHECK;
/* Appends one row and a newline. Numbers stay as they were written where JSON allows it; blank, NA and null become
 * null; nan and inf become texts, which monitors read as such; anything else is a text. ERR_INVALID when the number of
 * fields differs from the header's. */
bool observe_csv_row(const struct observe_csv *csv, const struct csv_field *fields, size_t n, struct strbuf *out,
                     struct err *err) ORCH_MUST_CHECK;
void observe_csv_fini(struct observe_csv *csv);

#endif
