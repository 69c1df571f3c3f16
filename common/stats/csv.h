/* A CSV reader that is fed bytes and hands out records: no I/O, bounded memory, lines counted for error texts. */
#ifndef ORCH_STATS_CSV_H
#define ORCH_STATS_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CSV_RECORD_MAX (1024 * 1024) /* bytes of one record, quotes removed */
#define CSV_FIELDS_MAX 4096

/* One field of a record; valid during the callback, NUL-terminated too. */
struct csv_field {
  const char *text;
  size_t len;
};

/* Called per record with its first line's number (from 1). Return false with `err` set to stop. */
typedef bool csv_record_fn(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err);

struct csv_reader;
/* RFC 4180: comma, optional double quotes with "" for one, LF or CRLF; a byte order mark and blank lines are skipped.
 */
struct csv_reader *csv_reader_new(csv_record_fn *fn, void *arg);
void csv_reader_free(struct csv_reader *reader); /* NULL is fine */
/* Chunks of any size. ERR_INVALID for a stray quote, ERR_LIMIT for too long or too wide a record, or the callback's. */
bool csv_reader_feed(struct csv_reader *reader, const char *bytes, size_t len, struct err *err) ORCH_MUST_CHECK;
/* The last record when it had no newline; ERR_INVALID inside an open quote. */
bool csv_reader_finish(struct csv_reader *reader, struct err *err) ORCH_MUST_CHECK;

#endif
