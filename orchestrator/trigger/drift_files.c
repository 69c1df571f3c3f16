#include "trigger/drift_files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "trigger/drift_pass.h"

#define WHOLE_BYTES_MAX (64 << 20) /* larger files are not even tried whole */
#define SAMPLE_WINDOWS 4096
#define SAMPLE_NUMBERS 1500000 /* at most aimed at: 12 MB */
#define BUILDERS_MAX 64        /* dictionaries built in one pass: about 250 KB each */

/* Measures of whole samples, which take the place of a sketch's. */
struct exact {
  bool known;
  struct measure_ks ks;
  struct distance_wasserstein wasserstein;
};

/* The comparison while it runs. */
struct work {
  struct drift_files *files;
  const struct drift_files_options *options;
  unsigned n_threads;
  bool exact_ref, exact_cur; /* the file needs the exact reader */
  size_t *in_ref, *in_cur;   /* per column: where it is in the file, or DRIFT_SKIP */
  size_t *some;              /* scratch: the columns of one pass */
  struct sketch_grid *grids;
  struct sketch_index *indexes;
  struct exact *exact; /* per column, when everything was kept */
  const struct sketch_grid **grid_of;
  const struct sketch_index **index_of;
};

/* ---- which columns ---- */

static size_t find_column(const struct csv_file *file, const char *name) {
  for (size_t i = 0; i < file->n_columns; i++)
    if (strcmp(file->columns[i], name) == 0) return i;
  return DRIFT_SKIP;
}

static bool add_column(struct work *work, size_t in_ref, struct err *err) {
  struct drift_files *files = work->files;
  if (files->n_columns == DRIFT_FILES_COLUMNS_MAX) {
    err_set(err, ERR_LIMIT, "more than %d columns to compare", DRIFT_FILES_COLUMNS_MAX);
    return err_hint(err, "name those that matter by --columns a,b");
  }
  size_t at = files->n_columns++;
  files->columns[at].name = files->ref.columns[in_ref];
  work->in_ref[at] = in_ref;
  work->in_cur[at] = find_column(&files->cur, files->columns[at].name);
  files->columns[at].missing = work->in_cur[at] == DRIFT_SKIP;
  return true;
}

/* The names of a header for an error text, cut when there are many. */
static void some_names(const struct csv_file *file, char *ret, size_t size) {
  size_t used = 0;
  ret[0] = 0;
  for (size_t i = 0; i < file->n_columns && used < size - 40; i++)
    used += (size_t)snprintf(ret + used, size - used, "%s%.30s", i ? ", " : "", file->columns[i]);
}

static bool no_column(const struct csv_file *file, const char *name, struct err *err) {
  char names[160];
  some_names(file, names, sizeof names);
  err_set(err, ERR_NOT_FOUND, "%s has no column \"%.100s\"", file->name, name);
  return err_hint(err, "it has %s", names);
}

/* One line of CSV, so that a name with a comma can be quoted; each must be a column of both files. */
static bool take_names(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct work *work = arg;
  struct drift_files *files = work->files;
  if (line > 1) return err_set(err, ERR_USAGE, "a line break among the names of columns");
  for (size_t f = 0; f < n; f++) {
    const char *name = fields[f].text;
    size_t in_ref = find_column(&files->ref, name);
    if (!*name) return err_set(err, ERR_USAGE, "an empty name among the columns");
    if (in_ref == DRIFT_SKIP) return no_column(&files->ref, name, err);
    if (find_column(&files->cur, name) == DRIFT_SKIP) return no_column(&files->cur, name, err);
    for (size_t i = 0; i < files->n_columns; i++)
      if (work->in_ref[i] == in_ref) return err_set(err, ERR_USAGE, "column \"%.100s\" is named twice", name);
    if (!add_column(work, in_ref, err)) return false;
  }
  return true;
}

static bool named_columns(struct work *work, const char *names, struct err *err) {
  struct csv_reader *reader = csv_reader_new(take_names, work);
  bool fine = csv_reader_feed(reader, names, strlen(names), err) && csv_reader_finish(reader, err);
  csv_reader_free(reader);
  if (fine && work->files->n_columns == 0) return err_set(err, ERR_USAGE, "an empty name among the columns");
  if (fine || err->code != ERR_INVALID) return fine;
  err_set(err, ERR_USAGE, "a stray quote among the columns %.100s", names);
  return err_hint(err, "a name with a comma is written as --columns '\"a,b\",c'");
}

/* All columns of the reference that have a name (pandas writes its row numbers without one). */
static bool all_columns(struct work *work, struct err *err) {
  struct drift_files *files = work->files;
  bool common = false;
  for (size_t i = 0; i < files->ref.n_columns; i++) {
    if (!*files->ref.columns[i]) continue;
    if (!add_column(work, i, err)) return false;
    common = common || !files->columns[files->n_columns - 1].missing;
  }
  for (size_t i = 0; i < files->cur.n_columns; i++)
    if (*files->cur.columns[i] && find_column(&files->ref, files->cur.columns[i]) == DRIFT_SKIP)
      files->only_cur[files->n_only_cur++] = files->cur.columns[i];
  if (common) return true;
  char ref[160], cur[160];
  some_names(&files->ref, ref, sizeof ref);
  some_names(&files->cur, cur, sizeof cur);
  err_set(err, ERR_INVALID, "the files have no column in common: %s has %s; %s has %s", files->ref.name, ref,
          files->cur.name, cur);
  return err_hint(err, "both need the same header line");
}

/* ---- passes ---- */

static struct drift_pass *pass_new(struct work *work, bool of_ref, enum drift_gather gather, unsigned n_threads) {
  struct drift_pass *pass = mem_alloc(sizeof *pass);
  *pass = (struct drift_pass){.file = of_ref ? &work->files->ref : &work->files->cur,
                              .gather = gather,
                              .n_columns = work->files->n_columns,
                              .columns = of_ref ? work->in_ref : work->in_cur,
                              .grids = work->grid_of,
                              .indexes = work->index_of,
                              .keep_max = SIZE_MAX,
                              .n_threads = n_threads};
  return pass;
}

static void pass_free(struct drift_pass *pass) {
  drift_pass_fini(pass);
  mem_free(pass);
}

static bool pass_run(struct work *work, struct drift_pass *pass, struct err *err) {
  return drift_pass_run(pass, pass->file == &work->files->ref ? &work->exact_ref : &work->exact_cur, err);
}

/* The columns of a kind, as a pass wants them. */
static const size_t *columns_of_kind(struct work *work, bool of_ref, bool categorical) {
  for (size_t i = 0; i < work->files->n_columns; i++)
    work->some[i] = (work->files->columns[i].ref.kind == PROFILE_CATEGORICAL) != categorical ? DRIFT_SKIP
                    : of_ref                                                                 ? work->in_ref[i]
                                                                                             : work->in_cur[i];
  return work->some;
}

/* Finite values to the front, sorted. Returns how many. */
static size_t sort_finite(struct drift_values *values) {
  size_t n = 0;
  for (size_t i = 0; i < values->n; i++)
    if (fabs(values->at[i]) <= SKETCH_ABS_MAX) values->at[n++] = values->at[i]; /* false for NaN */
  distance_sort(values->at, n);
  return n;
}

static void set_kind(struct drift_files_column *column, const struct drift_gathered *ref) {
  column->ref.kind = column->cur.kind = ref->bad > ref->values.n ? PROFILE_CATEGORICAL : PROFILE_NUMERIC;
}

static bool is_kind(const struct drift_files_column *column, enum profile_kind kind) {
  return !column->missing && column->ref.kind == kind;
}

/* ---- everything kept ---- */

static void count_whole(struct profile_column *column, const struct sketch_grid *grid,
                        const struct drift_gathered *from) {
  sketch_init(&column->sketch, grid);
  sketch_add_many(&column->sketch, from->values.at, from->values.n);
  column->sketch.n += from->null + from->bad;
  column->sketch.null = from->null;
  column->sketch.bad = from->bad;
  column->order = from->order;
}

static void compare_whole(struct drift_files_column *column, struct drift_gathered *ref, struct drift_gathered *cur,
                          struct exact *exact) {
  struct sketch_grid grid;
  struct drift_values sorted = {.n = ref->values.n}; /* a copy: the sketch must see what is not finite, too */
  sorted.at = mem_calloc(ref->values.n + 1, sizeof sorted.at[0]);
  if (sorted.n) memcpy(sorted.at, ref->values.at, sorted.n * sizeof sorted.at[0]);
  size_t n = sort_finite(&sorted);
  sketch_grid_init(&grid, sorted.at, n);
  count_whole(&column->ref, &grid, ref);
  count_whole(&column->cur, &grid, cur);
  size_t m = sort_finite(&cur->values);
  exact->known = true;
  exact->ks = measure_ks_sorted(sorted.at, n, cur->values.at, m);
  exact->wasserstein = distance_wasserstein_sorted(sorted.at, n, cur->values.at, m);
  mem_free(sorted.at);
}

/* Reads both files whole. `ret_fits` false: there are too many numbers, nothing was done. */
static bool try_whole(struct work *work, bool *ret_fits, struct err *err) {
  struct drift_files *files = work->files;
  struct drift_pass *ref = pass_new(work, true, DRIFT_VALUES, 1), *cur = pass_new(work, false, DRIFT_VALUES, 1);
  size_t most = work->options->whole_numbers_max;
  ref->keep_max = most;
  bool fine = pass_run(work, ref, err);
  if (fine && !ref->overflowed) {
    cur->keep_max = most - ref->sinks[0].kept;
    fine = pass_run(work, cur, err);
  }
  *ret_fits = fine && !ref->overflowed && !cur->overflowed;
  if (*ret_fits) {
    files->whole = true;
    files->rows_ref = ref->sinks[0].rows;
    files->rows_cur = cur->sinks[0].rows;
    for (size_t i = 0; i < files->n_columns; i++) {
      if (files->columns[i].missing) continue;
      set_kind(&files->columns[i], &ref->sinks[0].columns[i]);
      if (is_kind(&files->columns[i], PROFILE_NUMERIC))
        compare_whole(&files->columns[i], &ref->sinks[0].columns[i], &cur->sinks[0].columns[i], &work->exact[i]);
    }
  }
  pass_free(ref);
  pass_free(cur);
  return fine;
}

/* ---- counted on a sampled grid ---- */

/* Bytes of a row, from the front of the file. */
static double row_bytes(const struct csv_file *file) {
  char chunk[32 * 1024];
  ssize_t got = pread(file->fd, chunk, sizeof chunk, (off_t)file->body);
  size_t rows = 0;
  for (ssize_t i = 0; i < got; i++) rows += chunk[i] == '\n';
  return got > 0 ? (double)got / (double)(rows ? rows : 1) : 1;
}

/* A sample of the reference's numbers; smaller when rows turn out to be shorter than those at its front. */
static struct drift_pass *sample(struct work *work, struct err *err) {
  struct drift_files *files = work->files;
  double rows = fmin(DRIFT_SAMPLE_ROWS, (double)SAMPLE_NUMBERS / (double)files->n_columns);
  uint64_t width = (uint64_t)(rows * row_bytes(&files->ref) / SAMPLE_WINDOWS) + 1;
  for (bool fine = true; fine; width = width / 8 + 1) {
    struct drift_pass *pass = pass_new(work, true, DRIFT_VALUES, work->n_threads);
    pass->windows = SAMPLE_WINDOWS;
    pass->window_bytes = width;
    pass->share = (double)(width * SAMPLE_WINDOWS) / (double)(files->ref.size - files->ref.body + 1);
    pass->keep_max = SAMPLE_NUMBERS + SAMPLE_NUMBERS / 2;
    fine = pass_run(work, pass, err);
    if (fine && !pass->overflowed) return pass;
    pass_free(pass);
    if (fine && width == 1) fine = err_set(err, ERR_LIMIT, "%s: too many numbers for a sample", files->ref.name);
  }
  return NULL;
}

/* Columns are sorted by several threads: each takes the next one. */
struct sorting {
  struct work *work;
  struct drift_gathered *columns;
  atomic_size_t next;
};

static void make_some_grids(void *arg) {
  struct sorting *sorting = arg;
  struct work *work = sorting->work;
  for (size_t i; (i = atomic_fetch_add(&sorting->next, 1)) < work->files->n_columns;) {
    struct drift_files_column *column = &work->files->columns[i];
    struct drift_values *values = &sorting->columns[i].values;
    if (column->missing) continue;
    set_kind(column, &sorting->columns[i]);
    if (!is_kind(column, PROFILE_NUMERIC)) continue;
    sketch_grid_init(&work->grids[i], values->at, sort_finite(values));
    sketch_index_init(&work->indexes[i], &work->grids[i]);
  }
}

static bool make_grids(struct work *work, struct err *err) {
  struct drift_pass *pass = sample(work, err);
  if (!pass) return false;
  struct sorting sorting = {.work = work, .columns = pass->sinks[0].columns};
  uv_thread_t threads[DRIFT_THREADS_MAX];
  unsigned started = 1;
  work->files->sampled_rows = pass->sinks[0].rows;
  while (started < work->n_threads && uv_thread_create(&threads[started], make_some_grids, &sorting) == 0) started++;
  make_some_grids(&sorting);
  for (unsigned i = 1; i < started; i++) uv_thread_join(&threads[i]);
  pass_free(pass);
  return true;
}

static bool count_side(struct work *work, bool of_ref, struct err *err) {
  struct drift_files *files = work->files;
  struct drift_pass *pass = pass_new(work, of_ref, DRIFT_SKETCHES, work->n_threads);
  pass->columns = columns_of_kind(work, of_ref, false);
  bool fine = pass_run(work, pass, err);
  for (size_t i = 0; fine && i < files->n_columns; i++) {
    if (!is_kind(&files->columns[i], PROFILE_NUMERIC)) continue;
    struct profile_column *column = of_ref ? &files->columns[i].ref : &files->columns[i].cur;
    column->sketch = *pass->sinks[0].columns[i].sketch;
    column->order = pass->sinks[0].columns[i].order;
  }
  if (of_ref)
    files->rows_ref = pass->sinks[0].rows;
  else
    files->rows_cur = pass->sinks[0].rows;
  pass_free(pass);
  return fine;
}

static bool count_on_sampled_grids(struct work *work, struct err *err) {
  return make_grids(work, err) && count_side(work, true, err) && count_side(work, false, err);
}

/* ---- texts ---- */

/* Dictionaries and counts of some categorical columns (`columns` of both files, others skipped). */
static bool count_texts(struct work *work, const size_t *in_ref, const size_t *in_cur, struct err *err) {
  struct drift_files *files = work->files;
  struct drift_pass *ref = pass_new(work, true, DRIFT_TEXTS, 1),
                    *cur = pass_new(work, false, DRIFT_TEXTS, work->n_threads);
  const struct category_dict **dicts = mem_calloc(files->n_columns, sizeof dicts[0]);
  ref->columns = in_ref;
  cur->columns = in_cur;
  cur->dicts = dicts;
  bool fine = pass_run(work, ref, err);
  for (size_t i = 0; fine && i < files->n_columns; i++) {
    if (in_ref[i] == DRIFT_SKIP) continue;
    struct category *made = files->columns[i].ref.category = mem_alloc(sizeof *made);
    category_builder_finish(ref->sinks[0].columns[i].builder, made);
    dicts[i] = &made->dict;
  }
  drift_pass_fini(ref);
  fine = fine && pass_run(work, cur, err);
  for (size_t i = 0; fine && i < files->n_columns; i++) {
    if (in_cur[i] == DRIFT_SKIP) continue;
    files->columns[i].cur.category = cur->sinks[0].columns[i].category;
    cur->sinks[0].columns[i].category = NULL;
  }
  mem_free(dicts);
  pass_free(ref);
  pass_free(cur);
  return fine;
}

static bool count_all_texts(struct work *work, struct err *err) {
  size_t n = work->files->n_columns, next = 0;
  size_t *in_ref = mem_calloc(n, sizeof in_ref[0]), *in_cur = mem_calloc(n, sizeof in_cur[0]);
  bool fine = true;
  while (fine && next < n) {
    size_t taken = 0;
    for (size_t i = 0; i < n; i++) {
      bool now = i >= next && taken < BUILDERS_MAX && is_kind(&work->files->columns[i], PROFILE_CATEGORICAL);
      in_ref[i] = now ? work->in_ref[i] : DRIFT_SKIP;
      in_cur[i] = now ? work->in_cur[i] : DRIFT_SKIP;
      taken += now;
      if (taken == BUILDERS_MAX && now) next = i + 1;
    }
    if (taken < BUILDERS_MAX) next = n;
    fine = taken == 0 || count_texts(work, in_ref, in_cur, err);
  }
  mem_free(in_ref);
  mem_free(in_cur);
  return fine;
}

/* ---- all together ---- */

/* As a monitor decides about one window of all rows. */
static void decide(struct work *work) {
  struct drift_files *files = work->files;
  size_t n = files->n_columns;
  struct drift_rule rule = DRIFT_RULE_DEFAULT;
  struct drift_input *inputs = mem_calloc(n, sizeof inputs[0]);
  struct drift_column *said = mem_calloc(n, sizeof said[0]);
  struct drift_memory *memories = mem_calloc(n, sizeof memories[0]);
  struct drift_window window;
  rule.hits = rule.of = 1;
  for (size_t i = 0; i < n; i++) {
    struct drift_files_column *c = &files->columns[i];
    drift_memory_init(&memories[i]);
    inputs[i] = (struct drift_input){
        .ref = c->missing ? NULL : &c->ref, .now = c->missing ? NULL : &c->cur, .memory = &memories[i]};
  }
  drift_decide(&rule, inputs, n, 0, said, &window);
  for (size_t i = 0; i < n; i++) {
    struct drift_files_column *c = &files->columns[i];
    struct distances *d = &c->said.d;
    c->said = said[i];
    if (c->missing) {
      c->said.verdict = DRIFT_FAULT;
      snprintf(c->said.why, sizeof c->said.why, "the current file has no such column: broken data, not drift");
    }
    if (!work->exact[i].known) continue;
    d->ks = work->exact[i].ks;
    d->wasserstein = work->exact[i].wasserstein;
    d->noise_corrected = measure_noise_corrected(d->ks.statistic, (double)d->n_ref, (double)d->n_now);
  }
  mem_free(inputs);
  mem_free(said);
  mem_free(memories);
}

static unsigned thread_count(const struct drift_files_options *options, size_t n_columns) {
  unsigned n = options->n_threads ? options->n_threads : uv_available_parallelism();
  if (n > DRIFT_THREADS_MAX) n = DRIFT_THREADS_MAX;
  while (n > 1 && n * n_columns > 2048) n--; /* each thread has sketches of its own */
  return n;
}

static bool compare(struct work *work, const char *names, struct err *err) {
  struct drift_files *files = work->files;
  if (names ? !named_columns(work, names, err) : !all_columns(work, err)) return false;
  for (size_t i = 0; i < files->n_columns; i++) {
    struct drift_files_column *column = &files->columns[i];
    if (column->missing) work->in_ref[i] = DRIFT_SKIP;
    work->grid_of[i] = &work->grids[i];
    work->index_of[i] = &work->indexes[i];
  }
  work->n_threads = thread_count(work->options, files->n_columns);
  bool fits = false;
  if (files->ref.size + files->cur.size <= WHOLE_BYTES_MAX && !try_whole(work, &fits, err)) return false;
  if (!fits && !count_on_sampled_grids(work, err)) return false;
  if (files->rows_ref == 0 || files->rows_cur == 0)
    return err_set(err, ERR_INVALID, "%s has a header but no rows",
                   files->rows_ref == 0 ? files->ref.name : files->cur.name);
  if (!count_all_texts(work, err)) return false;
  decide(work);
  return true;
}

struct drift_files *drift_files_compare(const char *ref_path, const char *cur_path,
                                        const struct drift_files_options *options, struct err *err) {
  struct drift_files *files = mem_alloc(sizeof *files);
  struct work work = {.files = files, .options = options};
  files->ref.fd = files->cur.fd = -1;
  bool fine = false;
  if (strcmp(ref_path, "-") == 0 && strcmp(cur_path, "-") == 0)
    err_set(err, ERR_USAGE, "only one of the two files can be standard input");
  else
    fine = csv_file_open(&files->ref, ref_path, err) && csv_file_open(&files->cur, cur_path, err);
  if (fine) {
    size_t n = files->ref.n_columns;
    files->columns = mem_calloc(n, sizeof files->columns[0]);
    files->only_cur = mem_calloc(files->cur.n_columns, sizeof files->only_cur[0]);
    work.in_ref = mem_calloc(n, sizeof work.in_ref[0]);
    work.in_cur = mem_calloc(n, sizeof work.in_cur[0]);
    work.some = mem_calloc(n, sizeof work.some[0]);
    work.grids = mem_calloc(n, sizeof work.grids[0]);
    work.indexes = mem_calloc(n, sizeof work.indexes[0]);
    work.exact = mem_calloc(n, sizeof work.exact[0]);
    work.grid_of = mem_calloc(n, sizeof work.grid_of[0]);
    work.index_of = mem_calloc(n, sizeof work.index_of[0]);
    fine = compare(&work, options->columns, err);
    mem_free(work.in_ref);
    mem_free(work.in_cur);
    mem_free(work.some);
    mem_free(work.grids);
    mem_free(work.indexes);
    mem_free(work.exact);
    mem_free((void *)work.grid_of);
    mem_free((void *)work.index_of);
  }
  if (fine) return files;
  drift_files_free(files);
  return NULL;
}

void drift_files_free(struct drift_files *files) {
  if (!files) return;
  for (size_t i = 0; i < files->n_columns; i++) {
    profile_column_fini(&files->columns[i].ref);
    profile_column_fini(&files->columns[i].cur);
  }
  mem_free(files->columns);
  mem_free((void *)files->only_cur);
  csv_file_close(&files->ref);
  csv_file_close(&files->cur);
  mem_free(files);
}
