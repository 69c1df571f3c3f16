/* A CSV file of any size, read by several threads at once in bounded memory.
 *
 * The bytes are divided into ranges, and a range stands for the records that begin in it: so every record belongs to
 * exactly one range wherever the borders fall, and a range is read without knowing what is before it. That holds as
 * long as no field has a line break inside quotes; a file with quotes is therefore read from front to back by csv.h's
 * exact reader. The same way reads narrow ranges far apart: a random sample in which every record has the same chance,
 * long or short, and in which a sorted file shows all of itself. */
#ifndef ORCH_TRIGGER_CSV_FILE_H
#define ORCH_TRIGGER_CSV_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "stats/fastcsv.h"

struct csv_file {
  const char *name; /* for messages; the caller's text */
  int fd;
  uint64_t size;
  uint64_t body; /* where the first record after the header begins */
  size_t n_columns;
  char **columns; /* names, UTF-8 */
};

/* Reads the header. "-" is standard input; it and every other thing that is no regular file are first copied into a
 * nameless file in TMPDIR. ERR_NOT_FOUND, ERR_IO, ERR_INVALID for an empty file or a header of which a name stands
 * twice. Close with csv_file_close() in any case. */
bool csv_file_open(struct csv_file *file, const char *path, struct err *err) ORCH_MUST_CHECK;
void csv_file_close(struct csv_file *file);

/* What several threads read together: `n` ranges of `width` bytes, one in every `step` bytes of the body (at a place
 * that depends on `seed` when step > width). They share one of these. */
struct csv_ranges {
  uint64_t n, step, width, seed;
  atomic_uint_least64_t next; /* the range that nobody has taken yet */
  atomic_bool stop;           /* somebody found something odd, or failed: nobody goes on */
};
/* All of the file. */
void csv_ranges_all(struct csv_ranges *ranges, const struct csv_file *file);
/* `n` windows of `width` bytes, one in each of n equal parts of the file. */
void csv_ranges_sample(struct csv_ranges *ranges, const struct csv_file *file, uint64_t n, uint64_t width,
                       uint64_t seed);

enum csv_outcome {
  CSV_DONE,
  CSV_ODD,    /* something for csv_file_read_exact(); what was counted is of no use */
  CSV_FAILED, /* `err` says why */
};
/* Takes ranges until none is left, and gives their records to `csv` (fastcsv_flush() is the caller's). One thread's
 * share of the work. */
enum csv_outcome csv_file_read(const struct csv_file *file, struct csv_ranges *ranges, struct fastcsv *csv,
                               struct err *err) ORCH_MUST_CHECK;
/* The whole file by the exact reader; of its records each with the chance `share` (1 for all), chosen by `seed`. Errors
 * name file and line: a record with another number of fields than the header, and csv.h's. */
bool csv_file_read_exact(const struct csv_file *file, double share, uint64_t seed, struct fastcsv *csv,
                         struct err *err) ORCH_MUST_CHECK;

#endif
