#include "stats/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/bytes.h"

#define MAGIC "ORCHPROF"
enum { VERSION_NUMERIC = 1, VERSION = 2, KIND_CATEGORICAL = 2 };

const char *profile_kind_name(enum profile_kind kind) {
  return kind == PROFILE_CATEGORICAL ? "categorical" : "numeric";
}

void profile_free(struct profile *profile) {
  if (!profile) return;
  for (size_t i = 0; i < profile->n_columns; i++) profile_column_fini(&profile->columns[i]);
  mem_free(profile->columns);
  mem_free(profile);
}

const struct profile_column *profile_column(const struct profile *profile, const char *name) {
  for (size_t i = 0; i < profile->n_columns; i++)
    if (strcmp(profile->columns[i].name, name) == 0) return &profile->columns[i];
  return NULL;
}

const struct sketch *profile_find(const struct profile *profile, const char *name) {
  const struct profile_column *column = profile_column(profile, name);
  return column && column->kind == PROFILE_NUMERIC ? &column->sketch : NULL;
}

double profile_duplicates(const struct profile *profile) {
  if (profile->rows == 0 || profile->distinct_rows == 0 || profile->distinct_rows >= profile->rows) return 0;
  return 1 - (double)profile->distinct_rows / (double)profile->rows;
}

/* ---- columns ---- */

void profile_column_window(struct profile_column *now, const struct profile_column *ref) {
  *now = (struct profile_column){.kind = ref->kind};
  memcpy(now->name, ref->name, sizeof now->name);
  if (ref->kind == PROFILE_NUMERIC) {
    sketch_init(&now->sketch, &ref->sketch.grid);
    return;
  }
  now->category = mem_alloc(sizeof *now->category);
  category_init(now->category, &ref->category->dict);
}

void profile_column_fini(struct profile_column *column) {
  mem_free(column->category);
  column->category = NULL;
}

void profile_column_add(struct profile_column *column, struct cell cell) {
  if (column->kind == PROFILE_CATEGORICAL) {
    category_add_cell(column->category, cell);
    return;
  }
  sketch_add_cell(&column->sketch, cell);
  if (cell.kind == CELL_NUMBER) order_add(&column->order, cell.number);
}

void profile_column_add_numbers(struct profile_column *column, const double *values, size_t n) {
  sketch_add_many(&column->sketch, values, n);
  for (size_t i = 0; i < n; i++) order_add(&column->order, values[i]);
}

bool profile_column_merge(struct profile_column *into, const struct profile_column *from, struct err *err) {
  if (into->kind != from->kind) return err_set(err, ERR_INVALID, "columns of different kinds cannot be merged");
  if (into->kind == PROFILE_CATEGORICAL) return category_merge(into->category, from->category, err);
  if (!sketch_merge(&into->sketch, &from->sketch, err)) return false;
  if (!from->order.any) return true;
  into->order.up += from->order.up;
  into->order.down += from->order.down;
  into->order.level += from->order.level;
  into->order.last = from->order.last;
  into->order.any = true;
  return true;
}

/* ---- "ORCHPROF", u16 version, u16 zero, u32 columns, u64 rows; since version 2: u64 distinct rows. Per column u16
 * length and name, then a sketch or a categorical one (its first byte says which); since version 2 a numeric one has
 * varints up, down, level ---- */

void profile_encode(const struct profile *profile, struct strbuf *out) {
  strbuf_add(out, MAGIC, 8);
  bytes_put(out, VERSION, 2);
  bytes_put(out, 0, 2);
  bytes_put(out, profile->n_columns, 4);
  bytes_put(out, profile->rows, 8);
  bytes_put(out, profile->distinct_rows, 8);
  for (size_t i = 0; i < profile->n_columns; i++) {
    const struct profile_column *column = &profile->columns[i];
    size_t len = strlen(column->name);
    bytes_put(out, len, 2);
    strbuf_add(out, column->name, len);
    if (column->kind == PROFILE_CATEGORICAL) {
      category_encode(column->category, out);
      continue;
    }
    sketch_encode(&column->sketch, out);
    bytes_put_varint(out, column->order.up);
    bytes_put_varint(out, column->order.down);
    bytes_put_varint(out, column->order.level);
  }
}

static bool decode_name(struct profile *profile, struct profile_column *column, struct bytes_reader *in,
                        struct err *err) {
  size_t len = bytes_get(in, 2);
  if (in->failed || len > in->left) return err_set(err, ERR_INVALID, "a profile is cut short");
  if (len == 0 || len > PROFILE_NAME_MAX || memchr(in->at, 0, len))
    return err_set(err, ERR_INVALID, "a profile with an impossible column name");
  memcpy(column->name, in->at, len);
  in->at += len;
  in->left -= len;
  if (profile_column(profile, column->name))
    return err_set(err, ERR_INVALID, "a profile with column \"%s\" twice", column->name);
  return true;
}

static bool decode_order(struct order *order, struct bytes_reader *in, struct err *err) {
  uint64_t *const steps[] = {&order->up, &order->down, &order->level};
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    unsigned __int128 value = bytes_get_varint(in);
    if (in->failed || value > SKETCH_COUNT_MAX)
      return err_set(err, ERR_INVALID, "a profile is cut short or has an impossible order");
    *steps[i] = (uint64_t)value;
  }
  return true;
}

static bool decode_column(struct profile *profile, uint64_t version, struct bytes_reader *in, struct err *err) {
  struct profile_column *column = &profile->columns[profile->n_columns];
  size_t used;
  if (!decode_name(profile, column, in, err)) return false;
  bool categorical = version >= VERSION && in->left > 0 && in->at[0] == KIND_CATEGORICAL;
  if (categorical) {
    column->kind = PROFILE_CATEGORICAL;
    column->category = mem_alloc(sizeof *column->category);
  }
  profile->n_columns++; /* from here on it is freed with the profile */
  bool fine = categorical ? category_decode(column->category, in->at, in->left, &used, err)
                          : sketch_decode(&column->sketch, in->at, in->left, &used, err);
  if (!fine) return err_prefix(err, "column \"%s\"", column->name);
  in->at += used;
  in->left -= used;
  return categorical || version < VERSION || decode_order(&column->order, in, err);
}

struct profile *profile_decode(const void *bytes, size_t len, struct err *err) {
  struct bytes_reader in = {.at = bytes, .left = len};
  if (len > PROFILE_ENCODED_MAX) {
    err_set(err, ERR_LIMIT, "a profile of %zu bytes; at most %d are taken", len, PROFILE_ENCODED_MAX);
    return NULL;
  }
  if (len < 24 || memcmp(bytes, MAGIC, 8) != 0) {
    err_set(err, ERR_INVALID, "these bytes are no profile");
    return NULL;
  }
  in.at += 8;
  in.left -= 8;
  uint64_t version = bytes_get(&in, 2), zero = bytes_get(&in, 2), n = bytes_get(&in, 4), rows = bytes_get(&in, 8);
  if (version < VERSION_NUMERIC || version > VERSION || zero) {
    err_set(err, ERR_INVALID, "a profile of version %u, which is not known here", (unsigned)version);
    return NULL;
  }
  if (n > PROFILE_COLUMNS_MAX) {
    err_set(err, ERR_LIMIT, "a profile of %u columns; at most %d are taken", (unsigned)n, PROFILE_COLUMNS_MAX);
    return NULL;
  }
  struct profile *profile = mem_alloc(sizeof *profile);
  profile->rows = rows;
  profile->distinct_rows = version >= VERSION ? bytes_get(&in, 8) : 0;
  profile->columns = mem_calloc(n ? n : 1, sizeof profile->columns[0]);
  for (uint64_t i = 0; i < n; i++)
    if (!decode_column(profile, version, &in, err)) goto fail;
  if (in.failed || in.left) {
    err_set(err, ERR_INVALID, in.failed ? "a profile is cut short" : "a profile with %zu bytes behind its end",
            in.left);
    goto fail;
  }
  return profile;
fail:
  profile_free(profile);
  return NULL;
}
