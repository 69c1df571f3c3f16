/* The training profile: one sketch per column of the rows a version was trained on.
 *
 * The worker makes it from `profile.csv`, the version carries it, monitors compare windows with it. */
#ifndef ORCH_STATS_PROFILE_H
#define ORCH_STATS_PROFILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "stats/category.h"
#include "stats/order.h"
#include "stats/sketch.h"

#define PROFILE_COLUMNS_MAX 512
#define PROFILE_NAME_MAX 128                /* bytes of a column's name */
#define PROFILE_CELLS_MAX (8 * 1024 * 1024) /* numbers kept while building, over all columns: 64 MiB */
#define PROFILE_COLUMN_ENCODED_MAX                                                                                     \
  (CATEGORY_ENCODED_MAX > SKETCH_ENCODED_MAX ? CATEGORY_ENCODED_MAX : SKETCH_ENCODED_MAX)
/* 6.5 MiB */
#define PROFILE_ENCODED_MAX (PROFILE_COLUMNS_MAX * (2 + PROFILE_NAME_MAX + PROFILE_COLUMN_ENCODED_MAX + 30) + 40)

enum profile_kind { PROFILE_NUMERIC, PROFILE_CATEGORICAL };
/* "numeric", "categorical". */
const char *profile_kind_name(enum profile_kind kind);

/* One column: of the reference, or of a window that is compared with it. Plain data but for `category`. */
struct profile_column {
  char name[PROFILE_NAME_MAX + 1]; /* UTF-8, not empty */
  enum profile_kind kind;
  struct sketch sketch;      /* numeric */
  struct category *category; /* categorical; else NULL */
  struct order order;        /* numeric */
};
struct profile {
  uint64_t rows;
  uint64_t distinct_rows; /* estimate, of all columns together; 0: not known (version 1) */
  size_t n_columns;
  struct profile_column *columns; /* names are distinct */
};

void profile_free(struct profile *profile); /* NULL is fine */
/* NULL when there is no such column. */
const struct profile_column *profile_column(const struct profile *profile, const char *name);
/* The sketch of a numeric column; NULL when there is none of that name. */
const struct sketch *profile_find(const struct profile *profile, const char *name);
/* The share of rows that repeat an earlier one; 0 when not known. */
double profile_duplicates(const struct profile *profile);

/* An empty column that counts on the grid or the dictionary of `ref`. */
void profile_column_window(struct profile_column *now, const struct profile_column *ref);
void profile_column_fini(struct profile_column *column);
/* Counts one cell, in the order of the rows. */
void profile_column_add(struct profile_column *column, struct cell cell);
/* The same of many cells of a numeric column that are all numbers, at several times the speed. */
void profile_column_add_numbers(struct profile_column *column, const double *values, size_t n);
/* Adds a part that came after: counts exactly, `order` but for the step between the two. As sketch_merge(). */
bool profile_column_merge(struct profile_column *into, const struct profile_column *from,
                          struct err *err) ORCH_MUST_CHECK;

/* Appends the binary form ("ORCHPROF", version 2, little endian): the same profile gives the same bytes everywhere. */
void profile_encode(const struct profile *profile, struct strbuf *out);
/* Checks everything it reads: ERR_INVALID with what is wrong, ERR_LIMIT above the bounds. Reads version 1 too, which
 * had numeric columns only. Free with profile_free(). */
struct profile *profile_decode(const void *bytes, size_t len, struct err *err) ORCH_MUST_CHECK;

/* Building: name the columns, give rows, finish. Numbers are kept until the edges are known; texts are counted in
 * bounded memory (category_builder_new()). */
struct profile_builder;
/* Names are copied; ERR_INVALID for empty, overlong or repeated ones, ERR_LIMIT for too many. */
struct profile_builder *profile_builder_new(const char *const *names, size_t n, struct err *err) ORCH_MUST_CHECK;
void profile_builder_free(struct profile_builder *builder); /* NULL is fine */
/* Says what a column is; without, a column is categorical when more than half of the cells that are there are no
 * numbers. Codes that look like numbers (a postcode) need it. Before the first row. */
void profile_builder_kind(struct profile_builder *builder, size_t index, enum profile_kind kind);
/* One row: `cells` has one entry per name. ERR_LIMIT when PROFILE_CELLS_MAX numbers are exceeded. */
bool profile_builder_row(struct profile_builder *builder, const struct cell *cells, struct err *err) ORCH_MUST_CHECK;
/* The profile, every column in it. ERR_INVALID when there was no row. The builder stays to be freed. */
struct profile *profile_builder_finish(struct profile_builder *builder, struct err *err) ORCH_MUST_CHECK;

/* CSV (RFC 4180: quotes, doubled quotes, CRLF or LF; a byte order mark is skipped; blank lines are skipped; the first
 * record names the columns), fed in chunks of any size. Records must have as many fields as the header. */
struct profile_csv;
struct profile_csv *profile_csv_new(void);
void profile_csv_free(struct profile_csv *csv); /* NULL is fine */
bool profile_csv_feed(struct profile_csv *csv, const char *bytes, size_t len, struct err *err) ORCH_MUST_CHECK;
/* Takes a last record without newline, then as profile_builder_finish(). Errors name the line. */
struct profile *profile_csv_finish(struct profile_csv *csv, struct err *err) ORCH_MUST_CHECK;

#endif
