#include "trigger/window_columns.h"

#include "base/mem.h"

static void push(struct window_columns *columns, const struct monitor *m, struct wanted *wanted, const char *name) {
  struct window_column *c = &columns->items[columns->n++];
  c->name = mem_strdup(name);
  c->ref = m->profile ? profile_column(m->profile, name) : NULL;
  c->place = wanted_add(wanted, name);
}

bool window_columns_init(struct window_columns *columns, const struct monitor *m, const char *const *otherwise,
                         struct wanted *wanted, struct err *err) {
  const json_t *named = json_object_get(m->spec, "columns");
  size_t most = json_array_size(named) + 2 + (m->profile ? m->profile->n_columns : 0), i;
  json_t *name;
  columns->items = mem_calloc(most, sizeof columns->items[0]);
  json_array_foreach(named, i, name) {
    if (!json_is_string(name)) return err_set(err, ERR_INVALID, "monitor %s: columns must be texts", m->name);
    push(columns, m, wanted, json_string_value(name));
  }
  bool unnamed = columns->n == 0;
  for (i = 0; unnamed && otherwise && otherwise[i] && i < 2; i++) push(columns, m, wanted, otherwise[i]);
  if (columns->n == 0 && !otherwise && m->profile)
    for (i = 0; i < m->profile->n_columns; i++)
      if (!monitor_key_is_reserved(m, m->profile->columns[i].name))
        push(columns, m, wanted, m->profile->columns[i].name);
  if (columns->n == 0)
    return err_set(err, ERR_INVALID, "monitor %s has no column to look at: the champion has no training profile",
                   m->name);
  if (columns->n > PROFILE_COLUMNS_MAX)
    return err_set(err, ERR_INVALID, "monitor %s has more than %d columns", m->name, PROFILE_COLUMNS_MAX);
  return true;
}

void window_columns_fini(struct window_columns *columns) {
  for (size_t i = 0; i < columns->n; i++) mem_free(columns->items[i].name);
  mem_free(columns->items);
  *columns = (struct window_columns){0};
}

struct window_sketches *window_columns_open(const struct window_columns *columns) {
  struct window_sketches *now = mem_alloc(sizeof *now);
  now->columns = mem_calloc(columns->n, sizeof now->columns[0]);
  now->gathered = mem_calloc(columns->n, sizeof now->gathered[0]);
  for (size_t i = 0; i < columns->n; i++)
    if (columns->items[i].ref) profile_column_window(&now->columns[i], columns->items[i].ref);
  return now;
}

void window_columns_drop(const struct window_columns *columns, struct window_sketches *now) {
  for (size_t i = 0; i < columns->n; i++)
    if (columns->items[i].ref) profile_column_fini(&now->columns[i]);
  mem_free(now->columns);
  mem_free(now->gathered);
  mem_free(now);
}

size_t window_columns_bytes(const struct window_columns *columns) {
  size_t bytes = columns->n * (sizeof(struct profile_column) + sizeof(struct window_gathered));
  for (size_t i = 0; i < columns->n; i++)
    if (columns->items[i].ref && columns->items[i].ref->kind == PROFILE_CATEGORICAL) bytes += sizeof(struct category);
  return bytes;
}

static void count_gathered(struct window_sketches *now, size_t column) {
  struct window_gathered *gathered = &now->gathered[column];
  profile_column_add_numbers(&now->columns[column], gathered->values, gathered->n);
  gathered->n = 0;
}

struct profile_column *window_columns_whole(const struct window_columns *columns, struct window_sketches *now) {
  for (size_t i = 0; i < columns->n; i++)
    if (now->gathered[i].n) count_gathered(now, i);
  return now->columns;
}

static inline void gather(struct window_sketches *now, size_t column, double number) {
  struct window_gathered *gathered = &now->gathered[column];
  gathered->values[gathered->n++] = number;
  if (gathered->n == WINDOW_GATHERED_MAX) count_gathered(now, column);
}

struct cell window_columns_cell(const struct window_column *column, const struct monitor_row *row) {
  if (row->broken) return cell_null();
  const struct row_cell *cell = &row_cells(row->parser)[column->place];
  if (column->ref->kind == PROFILE_NUMERIC) return row_number(cell);
  struct cell value = {.kind = CELL_BAD, .number = cell->number};
  if (!row_category(cell, &value.text, &value.len)) return cell->kind == ROW_BAD ? cell_bad() : cell_null();
  if (cell->kind == ROW_NUMBER) value.kind = CELL_NUMBER; /* counted under the text that it was written as */
  return value;
}

void window_columns_add_cell(struct window_sketches *now, size_t column, struct cell cell) {
  if (cell.kind == CELL_NUMBER && now->columns[column].kind == PROFILE_NUMERIC)
    gather(now, column, cell.number);
  else
    profile_column_add(&now->columns[column], cell);
}

void window_columns_add(const struct window_columns *columns, struct window_sketches *now,
                        const struct monitor_row *row) {
  const struct row_cell *cells = row_cells(row->parser);
  for (size_t i = 0; i < columns->n; i++) {
    const struct window_column *column = &columns->items[i];
    if (!column->ref) continue;
    if (cells[column->place].kind == ROW_NUMBER && column->ref->kind == PROFILE_NUMERIC && !row->broken)
      gather(now, i, cells[column->place].number);
    else
      window_columns_add_cell(now, i, window_columns_cell(column, row));
  }
}
