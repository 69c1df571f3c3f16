/* The decision: order of the questions, history, words; then the housing data, where drift and fault really happen. */
#include "drift_data.h"

#include <time.h>

#include "stats/decide.h"
#include "stats/profile.h"

static const struct drift_rule rule = DRIFT_RULE_DEFAULT;

/* 1000 values spread over 0..1 plus `shift`, `null` nulls. */
static void fill(struct sketch *s, const struct sketch_grid *grid, size_t n, double shift, size_t null) {
  sketch_init(s, grid);
  for (size_t i = 0; i < n; i++) sketch_add(s, ((double)i + 0.5) / (double)n + shift);
  for (size_t i = 0; i < null; i++) sketch_add_cell(s, cell_null());
}

static struct sketch reference(void) {
  double values[1000];
  for (size_t i = 0; i < 1000; i++) values[i] = ((double)i + 0.5) / 1000;
  struct sketch_grid grid;
  sketch_grid_init(&grid, values, 1000);
  struct sketch ref;
  fill(&ref, &grid, 1000, 0, 10);
  return ref;
}

static struct drift_column decide(const struct sketch *ref, size_t n, double shift, size_t null,
                                  const struct drift_past *past, size_t n_past) {
  struct sketch now;
  struct drift_column c;
  fill(&now, &ref->grid, n, shift, null);
  drift_decide_column(&rule, ref, &now, past, n_past, 5000, &c);
  return c;
}

static void order_of_questions(void **state) {
  struct sketch ref = reference(), now;
  struct drift_column c;
  drift_decide_column(&rule, NULL, NULL, NULL, 0, 0, &c);
  assert_int_equal(c.verdict, DRIFT_INSUFFICIENT);
  assert_non_null(strstr(c.why, "training profile"));
  c = decide(&ref, 199, 0.5, 0, NULL, 0);
  assert_int_equal(c.verdict, DRIFT_INSUFFICIENT);
  assert_non_null(strstr(c.why, "199 rows, at least 200"));
  c = decide(&ref, 500, 0, 5, NULL, 0);
  assert_int_equal(c.verdict, DRIFT_OK);
  assert_false(c.hit);
  assert_int_equal(c.since_row, -1);
  /* Broken and moved at once is a fault, whatever history says. */
  struct drift_past hits[2] = {{.judged = true, .hit = true, .from_row = 4000}, {.judged = true, .hit = true}};
  c = decide(&ref, 300, 0.5, 200, hits, 2);
  assert_int_equal(c.verdict, DRIFT_FAULT);
  assert_false(c.hit);
  assert_non_null(strstr(c.why, "from 1.0 % to 40.0 %"));
  /* All cells gone: still the fault, not "too few". */
  sketch_init(&now, &ref.grid);
  for (int i = 0; i < 300; i++) sketch_add_cell(&now, cell_bad());
  drift_decide_column(&rule, &ref, &now, NULL, 0, 0, &c);
  assert_int_equal(c.verdict, DRIFT_FAULT);
  assert_non_null(strstr(c.why, "300 not a number"));
  /* Fewer missing values than in training is no fault. */
  fill(&ref, &ref.grid, 500, 0, 300);
  c = decide(&ref, 500, 0, 0, NULL, 0);
  assert_int_equal(c.verdict, DRIFT_OK);
}

static void jump_must_be_significant(void **state) {
  struct sketch ref = reference();
  struct drift_rule loose = rule;
  struct drift_column c;
  struct sketch now;
  loose.min_rows = 5;
  loose.p_value = 1e-9;
  fill(&now, &ref.grid, 8, 0, 2); /* 20 % of ten rows */
  drift_decide_column(&loose, &ref, &now, NULL, 0, 0, &c);
  assert_int_equal(c.verdict, DRIFT_OK);
  fill(&now, &ref.grid, 8, 0, 0);
  for (size_t i = 0; i < 92; i++) sketch_add_cell(&now, cell_null());
  drift_decide_column(&loose, &ref, &now, NULL, 0, 0, &c);
  assert_int_equal(c.verdict, DRIFT_FAULT);
}

static void two_of_three(void **state) {
  struct sketch ref = reference();
  struct drift_column c = decide(&ref, 400, 0.4, 0, NULL, 0);
  assert_true(c.hit);
  assert_int_equal(c.verdict, DRIFT_OK);
  assert_int_equal(c.since_row, 5000);
  assert_non_null(strstr(c.why, "in 1 of the 2 windows needed"));
  struct drift_past past[6] = {
      {.judged = true, .hit = false, .from_row = 4000}, {.judged = true, .hit = true, .from_row = 3000},
      {.judged = true, .hit = true, .from_row = 2000},  {.judged = true, .hit = false, .from_row = 1000},
      {.judged = true, .hit = false, .from_row = 500},  {.judged = true, .hit = true, .from_row = 0}};
  c = decide(&ref, 400, 0.4, 0, past, 6); /* H - H: two of three; the run goes back to 2000, not across two misses */
  assert_int_equal(c.verdict, DRIFT_DRIFT);
  assert_int_equal(c.since_row, 2000);
  assert_int_equal(c.hits, 2);
  assert_non_null(strstr(c.why, "drift in 2 of the last 3 windows"));
  assert_non_null(strstr(c.why, "(up)"));
  c = decide(&ref, 400, 0, 0, past, 6); /* - - H */
  assert_int_equal(c.verdict, DRIFT_OK);
  c = decide(&ref, 400, 0, 0, past + 1, 5); /* - H H: still drift, so one good window does not end an episode */
  assert_int_equal(c.verdict, DRIFT_DRIFT);
  /* Windows that could not be judged are not there at all. */
  past[0].judged = false;
  c = decide(&ref, 400, 0, 0, past, 6);
  assert_int_equal(c.verdict, DRIFT_DRIFT);
}

/* Enough movement but too few rows for significance, and the other way round: both must hold. */
static void both_thresholds(void **state) {
  struct sketch ref = reference();
  struct drift_rule r = rule;
  struct drift_column c;
  struct sketch now;
  r.min_rows = 1;
  fill(&now, &ref.grid, 12, 0.35, 0);
  drift_decide_column(&r, &ref, &now, NULL, 0, 0, &c);
  assert_true(c.psi >= r.psi && c.ks.sufficient);
  assert_true(c.hit == (c.chi2.p_value < r.p_value));
  fill(&now, &ref.grid, 40000, 0.05, 0);
  drift_decide_column(&r, &ref, &now, NULL, 0, 0, &c);
  assert_true(c.chi2.p_value < 1e-6 && c.psi < 0.2);
  assert_false(c.hit);
}

static void window_verdicts(void **state) {
  struct drift_column c[3] = {{.verdict = DRIFT_INSUFFICIENT}, {.verdict = DRIFT_INSUFFICIENT}};
  assert_int_equal(drift_decide_window(c, 2).verdict, DRIFT_INSUFFICIENT);
  c[0].verdict = DRIFT_OK;
  assert_int_equal(drift_decide_window(c, 2).verdict, DRIFT_OK);
  c[1].verdict = DRIFT_DRIFT;
  assert_int_equal(drift_decide_window(c, 2).verdict, DRIFT_DRIFT);
  c[2].verdict = DRIFT_FAULT;
  struct drift_window w = drift_decide_window(c, 3);
  assert_int_equal(w.verdict, DRIFT_FAULT);
  assert_true(w.held);
}

/* ---- Texas housing ---- */

#define HOUSING_COLUMNS 3 /* sales, listings, inventory */
static const char *const housing_names[HOUSING_COLUMNS] = {"sales", "listings", "inventory"};
struct housing {
  size_t n;
  struct {
    int year;
    struct cell cells[HOUSING_COLUMNS];
  } rows[9000];
};

static bool housing_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct housing *h = arg;
  if (line == 1) return true;
  assert_int_equal(n, 5);
  h->rows[h->n].year = (int)cell_from_text(fields[0].text, fields[0].len).number;
  for (size_t i = 0; i < HOUSING_COLUMNS; i++)
    h->rows[h->n].cells[i] = cell_from_text(fields[2 + i].text, fields[2 + i].len);
  h->n++;
  return true;
}

static struct housing *housing_load(void) {
  struct housing *h = mem_alloc(sizeof *h);
  struct csv_reader *reader = csv_reader_new(housing_record, h);
  feed_file(TEST_DATA "/drift/housing.csv", reader);
  csv_reader_free(reader);
  return h;
}

static struct profile *housing_profile(const struct housing *h, size_t *ret_rows) {
  struct err err = {0};
  struct profile_builder *builder = profile_builder_new(housing_names, HOUSING_COLUMNS, &err);
  *ret_rows = 0;
  for (size_t i = 0; i < h->n && h->rows[i].year <= 2002; i++, (*ret_rows)++)
    assert_true(profile_builder_row(builder, h->rows[i].cells, &err));
  struct profile *profile = profile_builder_finish(builder, &err);
  assert_non_null(profile);
  profile_builder_free(builder);
  return profile;
}

/* History per column across windows, newest first. */
struct history {
  struct drift_past past[HOUSING_COLUMNS][4];
  size_t n;
};

static struct drift_window judge(const struct profile *profile, struct history *history, int64_t from_row,
                                 struct sketch *sketches, struct drift_column *columns) {
  for (size_t i = 0; i < HOUSING_COLUMNS; i++) {
    drift_decide_column(&rule, profile_find(profile, housing_names[i]), &sketches[i], history->past[i], history->n,
                        from_row, &columns[i]);
    memmove(&history->past[i][1], &history->past[i][0], 3 * sizeof history->past[i][0]);
    history->past[i][0] =
        (struct drift_past){.judged = columns[i].verdict == DRIFT_OK || columns[i].verdict == DRIFT_DRIFT,
                            .hit = columns[i].hit,
                            .from_row = from_row};
  }
  if (history->n < 4) history->n++;
  return drift_decide_window(columns, HOUSING_COLUMNS);
}

/* One window of the rows [from, to), judged against the profile. */
static struct drift_window housing_window(const struct housing *h, const struct profile *profile,
                                          struct history *history, size_t from, size_t to,
                                          struct drift_column columns[HOUSING_COLUMNS]) {
  struct sketch *sketches = mem_calloc(HOUSING_COLUMNS, sizeof *sketches);
  for (size_t i = 0; i < HOUSING_COLUMNS; i++) {
    sketch_init(&sketches[i], &profile_find(profile, housing_names[i])->grid);
    for (size_t at = from; at < to; at++) sketch_add_cell(&sketches[i], h->rows[at].cells[i]);
  }
  struct drift_window window = judge(profile, history, (int64_t)from, sketches, columns);
  print_message("%d %-5s%s inventory: %s\n", h->rows[from].year, drift_verdict_name(window.verdict),
                window.held ? " held" : "", columns[2].why);
  mem_free(sketches);
  return window;
}

/* Reference 2000-2002, one window a year: what moved and what broke in which year. */
static void housing_years(void **state) {
  struct housing *h = housing_load();
  size_t rows;
  struct profile *profile = housing_profile(h, &rows);
  struct history history = {0};
  struct drift_column years[2016][HOUSING_COLUMNS];
  for (size_t at = rows, to; at < h->n; at = to) {
    int year = h->rows[at].year;
    for (to = at; to < h->n && h->rows[to].year == year;) to++;
    struct drift_window window = housing_window(h, profile, &history, at, to, years[year]);
    if (years[year][2].verdict == DRIFT_FAULT) assert_int_equal(window.verdict, DRIFT_FAULT);
  }
  assert_true(years[2003][2].hit);
  assert_near(years[2003][2].psi, 0.38, 0.03);
  assert_near(years[2010][2].psi, 1.35, 0.05);
  assert_int_equal(years[2005][2].verdict, DRIFT_FAULT);
  assert_int_equal(years[2006][2].verdict, DRIFT_FAULT);
  assert_near(years[2006][2].missing.now, 0.317, 0.001);
  for (int year = 2009; year <= 2014; year++) assert_int_equal(years[year][2].verdict, DRIFT_DRIFT);
  profile_free(profile);
  mem_free(h);
}

/* Windows of 250 rows, as a monitor has them: the drift of 2003 is an alarm in 2003, and the faults come after it. */
static void housing_rolling(void **state) {
  struct housing *h = housing_load();
  size_t rows;
  struct profile *profile = housing_profile(h, &rows);
  struct history history = {0};
  int first_drift = 0, first_fault = 0;
  for (size_t at = rows; at + 250 <= h->n; at += 250) {
    struct drift_column columns[HOUSING_COLUMNS];
    housing_window(h, profile, &history, at, at + 250, columns);
    int year = h->rows[at].year;
    if (columns[2].verdict == DRIFT_DRIFT && !first_drift) first_drift = year;
    if (columns[2].verdict == DRIFT_FAULT && !first_fault) first_fault = year;
    if (year == 2005 || year == 2006) assert_int_equal(columns[2].verdict, DRIFT_FAULT);
    if (year >= 2009) assert_int_equal(columns[2].verdict, DRIFT_DRIFT);
  }
  assert_int_equal(first_drift, 2003);
  assert_int_equal(first_fault, 2004);
  profile_free(profile);
  mem_free(h);
}

/* 500 windows drawn without drift: the alarms counted are what people would be woken by. */
static unsigned alarms_among(const struct housing *h, const struct profile *profile, size_t rows, size_t size,
                             unsigned windows, uint64_t *random, unsigned *ret_hits) {
  struct sketch *sketches = mem_calloc(HOUSING_COLUMNS, sizeof *sketches);
  struct history history = {0};
  unsigned alarms = 0;
  *ret_hits = 0;
  for (unsigned w = 0; w < windows; w++) {
    struct drift_column columns[HOUSING_COLUMNS];
    for (size_t i = 0; i < HOUSING_COLUMNS; i++)
      sketch_init(&sketches[i], &profile_find(profile, housing_names[i])->grid);
    for (size_t n = 0; n < size; n++) {
      size_t at = test_random(random) % rows;
      for (size_t i = 0; i < HOUSING_COLUMNS; i++) sketch_add_cell(&sketches[i], h->rows[at].cells[i]);
    }
    struct drift_window window = judge(profile, &history, w, sketches, columns);
    alarms += window.verdict == DRIFT_DRIFT || window.verdict == DRIFT_FAULT;
    for (size_t i = 0; i < HOUSING_COLUMNS; i++) *ret_hits += columns[i].hit;
  }
  mem_free(sketches);
  return alarms;
}

static void housing_false_alarms(void **state) {
  struct housing *h = housing_load();
  size_t rows;
  struct profile *profile = housing_profile(h, &rows);
  uint64_t random = (uint64_t)time(NULL);
  const char *given = getenv("ORCH_TEST_SEED");
  if (given) random = strtoull(given, NULL, 10);
  print_message("seed %llu, %zu reference rows\n", (unsigned long long)random, rows);
  static const size_t sizes[] = {200, 500, 1000};
  for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
    unsigned hits, alarms = alarms_among(h, profile, rows, sizes[i], 500, &random, &hits);
    print_message("windows of %zu rows: %u alarms in 500 windows, %u hits in 1500 columns\n", sizes[i], alarms, hits);
    assert_true(alarms <= 5); /* at most 1 % */
  }
  profile_free(profile);
  mem_free(h);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(order_of_questions), cmocka_unit_test(jump_must_be_significant),
                                     cmocka_unit_test(two_of_three),       cmocka_unit_test(both_thresholds),
                                     cmocka_unit_test(window_verdicts),    cmocka_unit_test(housing_years),
                                     cmocka_unit_test(housing_rolling),    cmocka_unit_test(housing_false_alarms)};
  return cmocka_run_group_tests_name("decide", tests, NULL, NULL);
}
