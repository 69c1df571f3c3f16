/* Building a profile: numbers are kept per column until the edges are known, then counted on them; texts are counted at
 * once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/csv.h"
#include "stats/distance.h"
#include "stats/profile.h"
#include "stats/quality.h"

/* A column whose first values are so many numbers is no longer counted as texts too. */
#define NUMBERS_FIRST 256

enum told { TOLD_NOTHING, TOLD_NUMERIC, TOLD_CATEGORICAL };

struct builder_column {
  char name[PROFILE_NAME_MAX + 1];
  enum told told;
  double *values; /* every number, also NaN and infinite ones */
  size_t n_values, size;
  uint64_t null, bad;
  struct order order;
  struct category_builder *texts; /* NULL while only numbers have been seen, but for the first few */
};

struct profile_builder {
  struct builder_column *columns;
  size_t n_columns;
  uint64_t rows;
  size_t cells;
  struct distinct distinct_rows;
};

static bool name_set(struct profile_builder *builder, size_t index, const char *name, struct err *err) {
  size_t len = strlen(name);
  if (len == 0) return err_set(err, ERR_INVALID, "column %zu has no name", index + 1);
  if (len > PROFILE_NAME_MAX)
    return err_set(err, ERR_INVALID, "the name of column %zu has more than %d bytes", index + 1, PROFILE_NAME_MAX);
  for (size_t i = 0; i < index; i++)
    if (strcmp(builder->columns[i].name, name) == 0)
      return err_set(err, ERR_INVALID, "column \"%s\" is named twice", name);
  memcpy(builder->columns[index].name, name, len);
  return true;
}

struct profile_builder *profile_builder_new(const char *const *names, size_t n, struct err *err) {
  if (n > PROFILE_COLUMNS_MAX) {
    err_set(err, ERR_LIMIT, "%zu columns; a profile takes at most %d", n, PROFILE_COLUMNS_MAX);
    return NULL;
  }
  struct profile_builder *builder = mem_alloc(sizeof *builder);
  builder->columns = mem_calloc(n ? n : 1, sizeof builder->columns[0]);
  builder->n_columns = n;
  for (size_t i = 0; i < n; i++)
    if (!name_set(builder, i, names[i], err)) {
      profile_builder_free(builder);
      return NULL;
    }
  return builder;
}

void profile_builder_free(struct profile_builder *builder) {
  if (!builder) return;
  for (size_t i = 0; i < builder->n_columns; i++) {
    mem_free(builder->columns[i].values);
    category_builder_free(builder->columns[i].texts);
  }
  mem_free(builder->columns);
  mem_free(builder);
}

void profile_builder_kind(struct profile_builder *builder, size_t index, enum profile_kind kind) {
  builder->columns[index].told = kind == PROFILE_CATEGORICAL ? TOLD_CATEGORICAL : TOLD_NUMERIC;
}

static bool keep_number(struct profile_builder *builder, struct builder_column *column, double number,
                        struct err *err) {
  if (builder->cells == PROFILE_CELLS_MAX)
    return err_set(err, ERR_LIMIT, "more than %d numbers for a profile", PROFILE_CELLS_MAX) ||
           err_hint(err, "write a random sample of the training rows, and only the columns that are monitored");
  if (column->n_values == column->size) {
    column->size = column->size ? column->size * 2 : 256;
    column->values = mem_realloc(column->values, column->size * sizeof column->values[0]);
  }
  column->values[column->n_values++] = number;
  order_add(&column->order, number);
  builder->cells++;
  return true;
}

/* A text after numbers alone: what came before is counted as texts now, each number in its shortest form. */
static void begin_texts(struct builder_column *column) {
  column->texts = category_builder_new();
  for (size_t i = 0; i < column->n_values; i++)
    category_builder_add_cell(column->texts, cell_number(column->values[i]));
  for (uint64_t i = 0; i < column->null; i++) category_builder_add_cell(column->texts, cell_null());
}

static void count_text(struct builder_column *column, struct cell cell) {
  bool any_text = column->bad > 0 || column->told == TOLD_CATEGORICAL;
  if (column->texts && !any_text && column->n_values == NUMBERS_FIRST) {
    category_builder_free(column->texts);
    column->texts = NULL;
  }
  if (!column->texts && !any_text && column->n_values >= NUMBERS_FIRST && cell.kind != CELL_BAD) return;
  if (!column->texts) begin_texts(column);
  category_builder_add_cell(column->texts, cell);
}

bool profile_builder_row(struct profile_builder *builder, const struct cell *cells, struct err *err) {
  uint64_t hash = 0;
  for (size_t i = 0; i < builder->n_columns; i++) {
    struct builder_column *column = &builder->columns[i];
    hash = quality_row_hash(hash, cells[i]);
    if (column->told != TOLD_NUMERIC) count_text(column, cells[i]);
    column->null += cells[i].kind == CELL_NULL;
    column->bad += cells[i].kind == CELL_BAD;
    if (cells[i].kind == CELL_NUMBER && column->told != TOLD_CATEGORICAL &&
        !keep_number(builder, column, cells[i].number, err))
      return false;
  }
  distinct_add(&builder->distinct_rows, hash);
  builder->rows++;
  return true;
}

static void column_sketch(const struct builder_column *column, struct sketch *sketch) {
  double *sorted = mem_calloc(column->n_values + 1, sizeof sorted[0]);
  size_t n = 0;
  for (size_t i = 0; i < column->n_values; i++)
    if (fabs(column->values[i]) <= SKETCH_ABS_MAX) sorted[n++] = column->values[i]; /* false for NaN */
  distance_sort(sorted, n);
  struct sketch_grid grid;
  sketch_grid_init(&grid, sorted, n);
  mem_free(sorted);
  sketch_init(sketch, &grid);
  sketch_add_many(sketch, column->values, column->n_values);
  sketch->n += column->null + column->bad;
  sketch->null = column->null;
  sketch->bad = column->bad;
}

static void column_finish(const struct builder_column *column, struct profile_column *made) {
  memcpy(made->name, column->name, sizeof made->name);
  bool texts = column->told == TOLD_CATEGORICAL || (column->told == TOLD_NOTHING && column->bad > column->n_values);
  if (texts && column->texts) {
    made->kind = PROFILE_CATEGORICAL;
    made->category = mem_alloc(sizeof *made->category);
    category_builder_finish(column->texts, made->category);
    return;
  }
  made->order = column->order;
  made->order.any = false; /* the step to a window's first row is none */
  made->order.last = 0;
  column_sketch(column, &made->sketch);
}

struct profile *profile_builder_finish(struct profile_builder *builder, struct err *err) {
  if (builder->rows == 0) {
    err_set(err, ERR_INVALID, "no rows to make a profile of");
    return NULL;
  }
  struct profile *profile = mem_alloc(sizeof *profile);
  profile->rows = builder->rows;
  profile->columns = mem_calloc(builder->n_columns + 1, sizeof profile->columns[0]);
  profile->distinct_rows = (uint64_t)fmin(rint(distinct_estimate(&builder->distinct_rows)), (double)builder->rows);
  profile->n_columns = builder->n_columns;
  for (size_t i = 0; i < builder->n_columns; i++) column_finish(&builder->columns[i], &profile->columns[i]);
  return profile;
}

struct profile_csv {
  struct csv_reader *reader;
  struct profile_builder *builder; /* once the header was read */
  struct cell *cells;
};

static bool csv_header(struct profile_csv *csv, const struct csv_field *fields, size_t n, struct err *err) {
  if (n > PROFILE_COLUMNS_MAX)
    return err_set(err, ERR_LIMIT, "%zu columns; a profile takes at most %d", n, PROFILE_COLUMNS_MAX);
  const char *names[PROFILE_COLUMNS_MAX];
  for (size_t i = 0; i < n; i++) names[i] = fields[i].text;
  csv->builder = profile_builder_new(names, n, err);
  csv->cells = mem_calloc(n, sizeof csv->cells[0]);
  return csv->builder != NULL;
}

static bool csv_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct profile_csv *csv = arg;
  if (!csv->builder) return csv_header(csv, fields, n, err) || err_prefix(err, "line %llu", (unsigned long long)line);
  if (n != csv->builder->n_columns)
    return err_set(err, ERR_INVALID, "line %llu: %zu fields, but the header names %zu columns",
                   (unsigned long long)line, n, csv->builder->n_columns);
  for (size_t i = 0; i < n; i++) csv->cells[i] = cell_from_text(fields[i].text, fields[i].len);
  return profile_builder_row(csv->builder, csv->cells, err) || err_prefix(err, "line %llu", (unsigned long long)line);
}

struct profile_csv *profile_csv_new(void) {
  struct profile_csv *csv = mem_alloc(sizeof *csv);
  csv->reader = csv_reader_new(csv_record, csv);
  return csv;
}

void profile_csv_free(struct profile_csv *csv) {
  if (!csv) return;
  csv_reader_free(csv->reader);
  profile_builder_free(csv->builder);
  mem_free(csv->cells);
  mem_free(csv);
}

bool profile_csv_feed(struct profile_csv *csv, const char *bytes, size_t len, struct err *err) {
  return csv_reader_feed(csv->reader, bytes, len, err);
}

struct profile *profile_csv_finish(struct profile_csv *csv, struct err *err) {
  if (!csv_reader_finish(csv->reader, err)) return NULL;
  if (!csv->builder) {
    err_set(err, ERR_INVALID, "the file is empty: a header line with the names of the columns was expected");
    return NULL;
  }
  return profile_builder_finish(csv->builder, err);
}
