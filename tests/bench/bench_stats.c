/* Statistics in numbers: values sketched, columns decided, NDJSON rows judged and windows evaluated, each the median of
 * seven rounds, single-threaded and from memory. Times are of the processor (one core), so other work on the machine
 * does not count, though it still takes cache and clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/mem.h"
#include "stats/decide.h"
#include "stats/profile.h"
#include "trigger/monitor.h"
#include "trigger/observe.h"

#define ROUNDS 7
#define VALUES 1000000
#define COLUMNS 20
#define WINDOW 500

static struct {
  double *values;
  struct sketch_grid grid;
  struct sketch_index index;
  struct profile_column text;
  struct profile_column ref[COLUMNS], now[COLUMNS];
  struct strbuf body, profile, spec;
  int rows;
} t;

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static uint64_t random_u64(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 11;
}

static void make_values(void) {
  uint64_t state = 7;
  double *sorted = mem_calloc(VALUES, sizeof *sorted);
  t.values = mem_calloc(VALUES, sizeof *t.values);
  for (size_t i = 0; i < VALUES; i++) {
    t.values[i] = 0; /* a sum of four: a bell */
    for (int j = 0; j < 4; j++) t.values[i] += (double)random_u64(&state) / 9007199254740992.0;
    sorted[i] = t.values[i];
  }
  qsort(sorted, VALUES, sizeof *sorted, compare);
  sketch_grid_init(&t.grid, sorted, VALUES);
  sketch_index_init(&t.index, &t.grid);
  mem_free(sorted);
}

static void make_rows(void) {
  struct profile profile = {.rows = VALUES, .n_columns = COLUMNS};
  profile.columns = mem_calloc(COLUMNS, sizeof profile.columns[0]);
  strbuf_init(&t.body, OBSERVE_BODY_MAX);
  strbuf_init(&t.profile, PROFILE_ENCODED_MAX);
  strbuf_init(&t.spec, 10000);
  strbuf_puts(&t.spec, "{\"name\":\"bench\",\"kind\":\"drift\",\"window\":{\"rows\":500},\"columns\":[");
  for (int c = 0; c < COLUMNS; c++) {
    snprintf(profile.columns[c].name, sizeof profile.columns[c].name, "column_%d", c);
    profile.columns[c].sketch = t.ref[c].sketch;
    strbuf_printf(&t.spec, "%s\"column_%d\"", c ? "," : "", c);
  }
  strbuf_puts(&t.spec, "]}");
  for (; t.body.len < OBSERVE_BODY_MAX * 3 / 4; t.rows++)
    for (int c = 0; c < COLUMNS; c++)
      strbuf_printf(&t.body, "%s\"column_%d\":%.4f%s", c ? "," : "{", c, t.values[(t.rows * COLUMNS + c) % VALUES],
                    c + 1 == COLUMNS ? "}\n" : "");
  profile_encode(&profile, &t.profile);
  mem_free(profile.columns);
}

/* Each returns how much it did. */
static double sketch_values(void) {
  for (int c = 0; c < COLUMNS; c++) sketch_init(&t.ref[c].sketch, &t.grid);
  for (size_t at = 0; at < VALUES; at += 1000)
    for (int c = 0; c < COLUMNS; c++) sketch_add_many(&t.ref[c].sketch, t.values + at, 1000);
  return (double)VALUES * COLUMNS;
}

static double sketch_indexed(void) {
  for (int c = 0; c < COLUMNS; c++) sketch_init(&t.ref[c].sketch, &t.grid);
  for (size_t at = 0; at < VALUES; at += 1000)
    for (int c = 0; c < COLUMNS; c++) sketch_add_indexed(&t.ref[c].sketch, &t.index, t.values + at, 1000);
  return (double)VALUES * COLUMNS;
}

/* One cell of each column in turn, as rows come. */
static double sketch_rows(void) {
  for (int c = 0; c < COLUMNS; c++) sketch_init(&t.ref[c].sketch, &t.grid);
  for (size_t row = 0; row < VALUES / COLUMNS; row++)
    for (int c = 0; c < COLUMNS; c++) profile_column_add(&t.ref[c], cell_number(t.values[row * COLUMNS + (size_t)c]));
  return VALUES;
}

/* Texts of 5 to 9 bytes, 400 different ones, 128 of them kept. */
static double count_texts(void) {
  static char texts[400][12];
  if (!t.text.category) {
    struct category_builder *builder = category_builder_new();
    for (int i = 0; i < 40000; i++) {
      int j = i % 400 * (i % 7 + 1) / 7;
      snprintf(texts[i % 400], sizeof texts[0], "city%d", i % 400 * 37);
      category_builder_add(builder, texts[j], strlen(texts[j]));
    }
    t.text = (struct profile_column){.kind = PROFILE_CATEGORICAL, .category = mem_alloc(sizeof *t.text.category)};
    category_builder_finish(builder, t.text.category);
    category_builder_free(builder);
  }
  for (size_t i = 0; i < VALUES; i++) {
    const char *text = texts[i * 7919 % 400];
    profile_column_add(&t.text, cell_text(text, strlen(text)));
  }
  return VALUES;
}

static double decide_columns(void) {
  struct drift_rule rule = DRIFT_RULE_DEFAULT;
  static struct drift_column said[COLUMNS];
  struct drift_memory memories[COLUMNS];
  struct drift_input inputs[COLUMNS];
  struct drift_window window;
  for (int c = 0; c < COLUMNS; c++) {
    drift_memory_init(&memories[c]);
    inputs[c] = (struct drift_input){.ref = &t.ref[c], .now = &t.now[c], .memory = &memories[c]};
  }
  for (int i = 0; i < 500; i++) drift_decide(&rule, inputs, COLUMNS, i, said, &window);
  return 500;
}

static double judge_rows(void) {
  static struct observe_plan *plan;
  struct observe_batch batch;
  struct err err;
  if (!plan) plan = observe_plan_new("{\"revision\":1,\"keys\":{},\"labels\":false}", &err);
  ORCH_ASSERT(plan && observe_parse(&batch, plan, t.body.data, t.body.len, &err) && batch.rows == t.rows);
  observe_fini(&batch);
  return t.rows;
}

static double evaluate_rows(void) {
  struct err err = {0};
  struct wanted wanted = {0};
  struct profile *profile = profile_decode(t.profile.data, t.profile.len, &err);
  ORCH_ASSERT(profile != NULL);
  struct monitor_task task = {.spec = strbuf_text(&t.spec), .profile = profile, .champion = 1, .warm_us = INT64_MIN};
  struct monitor *monitor = monitor_new(&task, &wanted, &err);
  if (!monitor) fprintf(stderr, "%s\n", err.text);
  ORCH_ASSERT(monitor != NULL);
  struct row_parser *parser = wanted_parser(&wanted, "rows", NULL);
  struct window *window = window_open(monitor, &(struct window_span){.to_row = t.rows});
  int64_t number = 0;
  for (const char *at = t.body.data, *end = at + t.body.len; at < end; number++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    struct monitor_row row;
    monitor_row_read(parser, number, INT64_MAX, at, (size_t)(newline - at), &row);
    window_add(window, &row);
    at = newline + 1;
  }
  json_decref(monitor_judge(monitor, window, 0));
  monitor_free(monitor);
  row_parser_free(parser);
  wanted_fini(&wanted);
  profile_free(profile);
  return t.rows;
}

static double cpu_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Amount per second, the median of the rounds. */
static double measure(double (*work)(void)) {
  double rates[ROUNDS];
  for (int i = 0; i < ROUNDS; i++) {
    double start = cpu_seconds(), amount = work();
    rates[i] = amount / (cpu_seconds() - start);
  }
  qsort(rates, ROUNDS, sizeof rates[0], compare);
  return rates[ROUNDS / 2];
}

int main(void) {
  struct utsname machine;
  uname(&machine);
  make_values();
  printf("statistics on %s (%s), median of %d rounds\n", machine.nodename, machine.machine, ROUNDS);
  printf("sketch ingest, %d columns:        %8.1f million values/s\n", COLUMNS, measure(sketch_values) / 1e6);
  printf("  with an index of the grid:         %8.1f million values/s\n", measure(sketch_indexed) / 1e6);
  printf("  cell by cell, row by row:          %8.1f million values/s\n", measure(sketch_rows) / 1e6);
  printf("  texts, cell by cell:               %8.1f million values/s\n", measure(count_texts) / 1e6);
  for (int c = 0; c < COLUMNS; c++) {
    sketch_init(&t.ref[c].sketch, &t.grid);
    sketch_add_many(&t.ref[c].sketch, t.values, VALUES);
    sketch_init(&t.now[c].sketch, &t.grid);
    for (int i = 0; i < WINDOW; i++) sketch_add(&t.now[c].sketch, t.values[i * 7 + c] + 0.02 * c);
  }
  printf("all measures on %d columns:       %8.1f us\n", COLUMNS, 1e6 / measure(decide_columns));
  make_rows();
  printf("NDJSON judged, %d columns:        %8.0f rows/s\n", COLUMNS, measure(judge_rows));
  printf("rows through a window, %d columns:%8.0f rows/s\n", COLUMNS, measure(evaluate_rows));
  mem_free(t.values);
  profile_column_fini(&t.text);
  strbuf_fini(&t.body);
  strbuf_fini(&t.profile);
  strbuf_fini(&t.spec);
  return 0;
}
