#include "trigger/drift_pass.h"

#include <string.h>
#include <uv.h>

#include "base/mem.h"

#define ORDER_EVERY 16    /* one block of so many shows whether rows are sorted */
#define SEED 0x6472696674 /* the same files give the same sample */

/* ---- sinks ---- */

static void sink_init(struct drift_sink *sink, const struct drift_pass *pass) {
  *sink = (struct drift_sink){.pass = pass, .columns = mem_calloc(pass->n_columns, sizeof sink->columns[0])};
  for (size_t i = 0; i < pass->n_columns; i++) {
    struct drift_gathered *g = &sink->columns[i];
    if (pass->columns[i] == DRIFT_SKIP) continue;
    if (pass->gather == DRIFT_SKETCHES) {
      g->sketch = mem_alloc(sizeof *g->sketch);
      sketch_init(g->sketch, pass->grids[i]);
    } else if (pass->gather == DRIFT_TEXTS && pass->dicts) {
      g->category = mem_alloc(sizeof *g->category);
      category_init(g->category, pass->dicts[i]);
    } else if (pass->gather == DRIFT_TEXTS) {
      g->builder = category_builder_new();
    }
  }
}

static void sink_fini(struct drift_sink *sink) {
  for (size_t i = 0; sink->columns && i < sink->pass->n_columns; i++) {
    mem_free(sink->columns[i].values.at);
    mem_free(sink->columns[i].sketch);
    mem_free(sink->columns[i].category);
    category_builder_free(sink->columns[i].builder);
  }
  mem_free(sink->columns);
  *sink = (struct drift_sink){0};
}

static void keep(struct drift_values *values, const double *numbers, size_t n) {
  if (n == 0) return;
  if (values->n + n > values->size) {
    values->size = values->size ? values->size * 2 : 4096;
    if (values->size < values->n + n) values->size = values->n + n;
    values->at = mem_realloc(values->at, values->size * sizeof values->at[0]);
  }
  memcpy(values->at + values->n, numbers, n * sizeof numbers[0]);
  values->n += n;
}

static void look_at_order(struct order *order, const struct fastcsv_column *from) {
  for (uint32_t j = 0; j < from->n_values; j++) order_add(order, from->values[j]);
}

static void gather_block(struct drift_sink *sink, size_t i, const struct fastcsv_column *from) {
  const struct drift_pass *pass = sink->pass;
  struct drift_gathered *g = &sink->columns[i];
  g->null += from->null;
  g->bad += from->bad;
  if (pass->gather == DRIFT_SKETCHES) {
    sketch_add_indexed(g->sketch, pass->indexes[i], from->values, from->n_values);
    g->sketch->n += from->null + from->bad;
    g->sketch->null += from->null;
    g->sketch->bad += from->bad;
    if (sink->blocks % ORDER_EVERY == 0) {
      g->order.any = false;
      look_at_order(&g->order, from);
    }
  } else if (pass->gather == DRIFT_VALUES && sink->kept <= pass->keep_max) {
    keep(&g->values, from->values, from->n_values);
    sink->kept += from->n_values;
    if (pass->windows == 0) look_at_order(&g->order, from);
  } else if (g->category) {
    g->category->n += from->null;
    g->category->null += from->null;
  } else if (g->builder) {
    for (uint32_t j = 0; j < from->null; j++) category_builder_add_cell(g->builder, cell_null());
  }
}

static void on_block(void *arg, const struct fastcsv *csv) {
  struct drift_sink *sink = arg;
  sink->rows += csv->rows;
  for (size_t i = 0; i < sink->pass->n_columns; i++)
    if (sink->pass->columns[i] != DRIFT_SKIP) gather_block(sink, i, &csv->columns[sink->pass->columns[i]]);
  sink->blocks++;
}

/* ---- threads ---- */

struct reading {
  struct drift_pass *pass;
  struct drift_sink *sink;
  struct csv_ranges *ranges;
  size_t *owners; /* per column of the file: the column of the comparison */
  struct fastcsv csv;
  enum csv_outcome outcome;
  struct err err;
};

/* Texts are told by their column in the file. */
static void on_text(void *arg, size_t column, struct cell cell);

static void reading_block(void *arg, const struct fastcsv *csv) {
  struct reading *reading = arg;
  struct drift_pass *pass = reading->pass;
  on_block(reading->sink, csv);
  if (pass->gather == DRIFT_VALUES && reading->sink->kept > pass->keep_max)
    atomic_store_explicit(&reading->ranges->stop, true, memory_order_relaxed);
}

static void on_text(void *arg, size_t column, struct cell cell) {
  struct reading *reading = arg;
  struct drift_gathered *g = &reading->sink->columns[reading->owners[column]];
  if (g->category)
    category_add_cell(g->category, cell);
  else
    category_builder_add_cell(g->builder, cell);
}

static void reading_init(struct reading *reading, struct drift_pass *pass, struct drift_sink *sink) {
  size_t n = pass->file->n_columns;
  enum fastcsv_want *want = mem_calloc(n, sizeof want[0]);
  reading->pass = pass;
  reading->sink = sink;
  reading->owners = mem_calloc(n, sizeof reading->owners[0]);
  for (size_t i = 0; i < pass->n_columns; i++) {
    if (pass->columns[i] == DRIFT_SKIP) continue;
    want[pass->columns[i]] = pass->gather == DRIFT_TEXTS ? FASTCSV_TEXTS : FASTCSV_NUMBERS;
    reading->owners[pass->columns[i]] = i;
  }
  sink_init(sink, pass);
  fastcsv_init(&reading->csv, want, n, reading_block, on_text, reading);
  mem_free(want);
}

static void reading_fini(struct reading *reading) {
  fastcsv_fini(&reading->csv);
  mem_free(reading->owners);
}

static void read_share(void *arg) {
  struct reading *reading = arg;
  reading->outcome = csv_file_read(reading->pass->file, reading->ranges, &reading->csv, &reading->err);
  if (reading->outcome == CSV_DONE) fastcsv_flush(&reading->csv);
}

static enum csv_outcome read_in_parallel(struct drift_pass *pass, struct err *err) {
  struct csv_ranges ranges;
  struct reading readings[DRIFT_THREADS_MAX] = {0};
  uv_thread_t threads[DRIFT_THREADS_MAX];
  unsigned started = 1;
  if (pass->windows)
    csv_ranges_sample(&ranges, pass->file, pass->windows, pass->window_bytes, SEED);
  else
    csv_ranges_all(&ranges, pass->file);
  for (unsigned i = 0; i < pass->n_threads; i++) {
    readings[i].ranges = &ranges;
    reading_init(&readings[i], pass, &pass->sinks[i]);
  }
  /* This thread is the first; where another cannot be had, fewer do the work. */
  while (started < pass->n_threads && uv_thread_create(&threads[started], read_share, &readings[started]) == 0)
    started++;
  read_share(&readings[0]);
  for (unsigned i = 1; i < started; i++) uv_thread_join(&threads[i]);
  enum csv_outcome worst = CSV_DONE;
  for (unsigned i = 0; i < pass->n_threads; i++) {
    if (readings[i].outcome == CSV_FAILED) *err = readings[i].err;
    if (readings[i].outcome > worst) worst = readings[i].outcome;
    if (pass->sinks[i].kept > pass->keep_max) pass->overflowed = true;
    reading_fini(&readings[i]);
  }
  return worst;
}

static bool read_exactly(struct drift_pass *pass, struct err *err) {
  struct csv_ranges ranges = {0};
  struct reading reading = {.ranges = &ranges};
  reading_init(&reading, pass, &pass->sinks[0]);
  bool fine = csv_file_read_exact(pass->file, pass->windows ? pass->share : 1, SEED, &reading.csv, err);
  if (fine) fastcsv_flush(&reading.csv);
  pass->overflowed = pass->sinks[0].kept > pass->keep_max;
  reading_fini(&reading);
  return fine;
}

/* ---- the pass ---- */

static void merge_column(struct drift_gathered *into, struct drift_gathered *from) {
  struct err err; /* one grid, one dictionary: merging cannot fail */
  into->null += from->null;
  into->bad += from->bad;
  into->order.up += from->order.up;
  into->order.down += from->order.down;
  into->order.level += from->order.level;
  if (from->sketch) ORCH_ASSERT(sketch_merge(into->sketch, from->sketch, &err));
  if (from->category) ORCH_ASSERT(category_merge(into->category, from->category, &err));
  if (from->values.n) keep(&into->values, from->values.at, from->values.n);
}

bool drift_pass_run(struct drift_pass *pass, bool *exact_only, struct err *err) {
  ORCH_ASSERT(pass->n_threads >= 1 && pass->n_threads <= DRIFT_THREADS_MAX);
  if (!*exact_only) {
    enum csv_outcome outcome = read_in_parallel(pass, err);
    if (outcome == CSV_FAILED) return false;
    *exact_only = outcome == CSV_ODD;
    if (*exact_only) drift_pass_fini(pass);
  }
  if (*exact_only) return read_exactly(pass, err);
  for (unsigned t = 1; t < pass->n_threads; t++) {
    pass->sinks[0].rows += pass->sinks[t].rows;
    pass->sinks[0].kept += pass->sinks[t].kept;
    for (size_t i = 0; i < pass->n_columns; i++)
      if (pass->columns[i] != DRIFT_SKIP) merge_column(&pass->sinks[0].columns[i], &pass->sinks[t].columns[i]);
    sink_fini(&pass->sinks[t]);
  }
  return true;
}

void drift_pass_fini(struct drift_pass *pass) {
  for (unsigned t = 0; t < DRIFT_THREADS_MAX; t++) sink_fini(&pass->sinks[t]);
}
