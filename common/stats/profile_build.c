/* Building a profile: values are kept per column until the edges are known, then counted on them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/csv.h"
#include "stats/profile.h"

struct builder_column {
  char name[PROFILE_NAME_MAX + 1];
  double *values; /* every number, also NaN and infinite ones */
  size_t n_values, size;
  uint64_t null, bad;
};

struct profile_builder {
  struct builder_column *columns;
  size_t n_columns;
  uint64_t rows;
  size_t cells;
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
  for (size_t i = 0; i < builder->n_columns; i++) mem_free(builder->columns[i].values);
  mem_free(builder->columns);
  mem_free(builder);
}

bool profile_builder_row(struct profile_builder *builder, const struct cell *cells, struct err *err) {
  for (size_t i = 0; i < builder->n_columns; i++) {
    struct builder_column *column = &builder->columns[i];
    if (cells[i].kind == CELL_NULL) column->null++;
    if (cells[i].kind == CELL_BAD) column->bad++;
    if (cells[i].kind != CELL_NUMBER) continue;
    if (builder->cells == PROFILE_CELLS_MAX)
      return err_set(err, ERR_LIMIT, "more than %d numbers for a profile", PROFILE_CELLS_MAX) ||
             err_hint(err, "write a random sample of the training rows, and only the columns that are monitored");
    if (column->n_values == column->size) {
      column->size = column->size ? column->size * 2 : 256;
      column->values = mem_realloc(column->values, column->size * sizeof column->values[0]);
    }
    column->values[column->n_values++] = cells[i].number;
    builder->cells++;
  }
  builder->rows++;
  return true;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void column_sketch(const struct builder_column *column, struct sketch *sketch) {
  double *sorted = mem_calloc(column->n_values + 1, sizeof sorted[0]);
  size_t n = 0;
  for (size_t i = 0; i < column->n_values; i++)
    if (fabs(column->values[i]) <= SKETCH_ABS_MAX) sorted[n++] = column->values[i]; /* false for NaN */
  qsort(sorted, n, sizeof sorted[0], compare_doubles);
  struct sketch_grid grid;
  sketch_grid_init(&grid, sorted, n);
  mem_free(sorted);
  sketch_init(sketch, &grid);
  sketch_add_many(sketch, column->values, column->n_values);
  sketch->n += column->null + column->bad;
  sketch->null = column->null;
  sketch->bad = column->bad;
}

struct profile *profile_builder_finish(struct profile_builder *builder, struct err *err) {
  if (builder->rows == 0) {
    err_set(err, ERR_INVALID, "no rows to make a profile of");
    return NULL;
  }
  struct profile *profile = mem_alloc(sizeof *profile);
  profile->rows = builder->rows;
  profile->columns = mem_calloc(builder->n_columns + 1, sizeof profile->columns[0]);
  for (size_t i = 0; i < builder->n_columns; i++) {
    const struct builder_column *column = &builder->columns[i];
    if (column->bad > column->n_values) continue;
    struct profile_column *made = &profile->columns[profile->n_columns++];
    memcpy(made->name, column->name, sizeof made->name);
    column_sketch(column, &made->sketch);
  }
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
