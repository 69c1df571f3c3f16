/* Monitors of kind quality: is what comes in still the data that the model was made for? Broken data stop and ask; they
 * never retrain. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "stats/quality.h"
#include "trigger/window_columns.h"

struct own {
  struct window_columns columns;
  struct quality_rule rule;
  double min_rows, max_rows; /* of a window by time; NaN: not asked */
};

struct acc {
  struct window_sketches *now;
  struct quality_rows rows; /* only when duplicates are asked for */
  uint64_t n;
};

static bool flag(const struct monitor *m, const char *key, bool otherwise) {
  const json_t *value = json_object_get(m->spec, key);
  return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* A number, or "not asked" when the spec says null. */
static double share_or(const struct monitor *m, const char *key, double otherwise) {
  return json_is_null(json_object_get(m->spec, key)) ? -1 : spec_number(m, key, otherwise);
}

static bool prepare(struct monitor *m, struct wanted *wanted, struct err *err) {
  struct own *own = mem_alloc(sizeof *own);
  m->own = own;
  own->rule = QUALITY_RULE_DEFAULT;
  own->rule.null_jump = share_or(m, "null_jump", own->rule.null_jump);
  own->rule.type_share = share_or(m, "type_share", own->rule.type_share);
  own->rule.out_of_range = share_or(m, "out_of_range", own->rule.out_of_range);
  own->rule.unseen = share_or(m, "unseen", own->rule.unseen);
  own->rule.duplicates = share_or(m, "duplicates", -1);
  own->rule.constant = flag(m, "constant", true);
  own->rule.sorted = flag(m, "sorted", false);
  const json_t *rows = json_object_get(m->spec, "rows");
  const json_t *min = json_object_get(rows, "min"), *max = json_object_get(rows, "max");
  own->min_rows = json_is_number(min) ? json_number_value(min) : NAN;
  own->max_rows = json_is_number(max) ? json_number_value(max) : NAN;
  return window_columns_init(&own->columns, m, NULL, wanted, err);
}

static void release(struct monitor *m) {
  if (m->own) window_columns_fini(&((struct own *)m->own)->columns);
  mem_free(m->own);
}

static void *open_acc(struct monitor *m) {
  struct acc *acc = mem_alloc(sizeof *acc);
  acc->now = window_columns_open(&((struct own *)m->own)->columns);
  return acc;
}

static void drop_acc(struct monitor *m, void *acc_of) {
  struct acc *acc = acc_of;
  window_columns_drop(&((struct own *)m->own)->columns, acc->now);
  quality_rows_fini(&acc->rows);
  mem_free(acc);
}

static size_t bytes(const struct monitor *m) {
  const struct own *own = m->own;
  return sizeof(struct acc) + window_columns_bytes(&own->columns) +
         (own->rule.duplicates >= 0 ? 2 * QUALITY_ROWS_MAX * sizeof(uint64_t) : 0);
}

static void add(struct monitor *m, void *acc_of, const struct monitor_row *row, bool champion) {
  (void)champion;
  const struct own *own = m->own;
  struct acc *acc = acc_of;
  acc->n++;
  if (own->rule.duplicates < 0) return window_columns_add(&own->columns, acc->now, row);
  uint64_t hash = 0;
  for (size_t i = 0; i < own->columns.n; i++) {
    if (!own->columns.items[i].ref) continue;
    struct cell cell = window_columns_cell(&own->columns.items[i], row);
    window_columns_add_cell(acc->now, i, cell);
    hash = quality_row_hash(hash, cell);
  }
  quality_rows_add(&acc->rows, hash);
}

static double missing_share(const struct profile_column *c) {
  uint64_t n = c->kind == PROFILE_NUMERIC ? c->sketch.n : c->category->n;
  uint64_t missing = c->kind == PROFILE_NUMERIC ? sketch_missing(&c->sketch) : category_missing(c->category);
  return n ? (double)missing / (double)n : NAN;
}

/* The largest missing share of any column. */
static double value_of(const struct monitor *m, void *acc_of) {
  const struct own *own = m->own;
  const struct acc *acc = acc_of;
  const struct profile_column *now = window_columns_whole(&own->columns, acc->now);
  double largest = NAN;
  for (size_t i = 0; i < own->columns.n; i++)
    if (own->columns.items[i].ref) largest = fmax(largest, missing_share(&now[i]));
  return largest;
}

static void put_fault(json_t *faults, const char *column, const char *check, const char *why, double ref, double now) {
  json_array_append_new(faults, json_pack("{ss? ss ss so so}", "column", column, "check", check, "why", why,
                                          "share_ref", json_number(ref), "share_now", json_number(now)));
}

static void rows_fault(const struct own *own, const struct window *w, json_t *faults) {
  char why[160];
  if (!w->span.by_time) return;
  if ((double)w->rows < own->min_rows)
    snprintf(why, sizeof why, "%lld rows came, at least %.0f are expected", (long long)w->rows, own->min_rows);
  else if ((double)w->rows > own->max_rows)
    snprintf(why, sizeof why, "%lld rows came, at most %.0f are expected", (long long)w->rows, own->max_rows);
  else
    return;
  put_fault(faults, NULL, "rows", why, NAN, NAN);
}

static void find_faults(const struct monitor *m, const struct acc *acc, json_t *faults) {
  const struct own *own = m->own;
  const struct profile_column *now = window_columns_whole(&own->columns, acc->now);
  struct quality_fault found[QUALITY_CHECKS];
  for (size_t i = 0; i < own->columns.n; i++) {
    const struct window_column *column = &own->columns.items[i];
    size_t n = column->ref ? quality_column(&own->rule, column->ref, &now[i], found) : 0;
    for (size_t k = 0; k < n; k++)
      put_fault(faults, column->name, quality_check_name(found[k].check), found[k].why, found[k].share_ref,
                found[k].share_now);
  }
  if (own->rule.duplicates >= 0 &&
      quality_duplicates(&own->rule, m->profile ? profile_duplicates(m->profile) : 0, &acc->rows, &found[0]))
    put_fault(faults, NULL, quality_check_name(found[0].check), found[0].why, found[0].share_ref, found[0].share_now);
}

static void fault_words(const json_t *faults, size_t columns, struct strbuf *out) {
  const json_t *first = json_array_get(faults, 0);
  const char *column = json_string_value(json_object_get(first, "column"));
  if (!first)
    strbuf_printf(out, "%zu columns are sound", columns);
  else
    strbuf_printf(out, "%s%s%s", column ? column : "", column ? ": " : "",
                  json_string_value(json_object_get(first, "why")));
  if (json_array_size(faults) > 1) strbuf_printf(out, "; and %zu more", json_array_size(faults) - 1);
}

static bool has_fault(const json_t *faults, const json_t *like) {
  size_t i;
  json_t *fault;
  json_array_foreach(faults, i, fault) {
    if (json_equal(json_object_get(fault, "column"), json_object_get(like, "column")) &&
        json_equal(json_object_get(fault, "check"), json_object_get(like, "check")))
      return true;
  }
  return false;
}

/* A version differs when something is broken in its rows that is sound in the champion's. */
static void judge_versions(struct monitor *m, const struct window *w, const json_t *champion, json_t *result,
                           const struct window_said *said) {
  const struct own *own = m->own;
  json_t *versions = json_array();
  for (size_t v = 0; v < w->n_versions; v++) {
    json_t *faults = json_array(), *own_faults = json_array(), *fault;
    struct strbuf words;
    size_t i;
    bool enough = w->versions[v].rows >= m->min_rows && w->champion_rows >= m->min_rows;
    if (enough) find_faults(m, w->versions[v].acc, faults);
    json_array_foreach(faults, i, fault) if (!has_fault(champion, fault)) json_array_append(own_faults, fault);
    strbuf_init(&words, 700);
    fault_words(own_faults, own->columns.n, &words);
    window_version_judge(m, w, said, v,
                         (struct window_version_said){.enough = enough,
                                                      .differs = json_array_size(own_faults) > 0,
                                                      .words = strbuf_text(&words),
                                                      .detail = json_pack("{so}", "faults", own_faults)});
    json_array_append_new(versions, json_pack("{si sI so so}", "version", w->versions[v].version, "rows",
                                              (json_int_t)w->versions[v].rows, "value",
                                              json_number(value_of(m, w->versions[v].acc)), "faults", faults));
    strbuf_fini(&words);
  }
  window_put_versions(w, result, versions);
}

static json_t *first_of(const json_t *array, size_t most) {
  json_t *first = json_array();
  for (size_t i = 0; i < json_array_size(array) && i < most; i++) json_array_append(first, json_array_get(array, i));
  return first;
}

static void judge(struct monitor *m, struct window *w, json_t *result, struct window_said *said) {
  const struct own *own = m->own;
  json_t *faults = json_array();
  bool enough = w->champion_rows >= m->min_rows;
  said->value = value_of(m, w->acc);
  rows_fault(own, w, faults);
  if (enough) find_faults(m, w->acc, faults);
  json_object_set_new(result, "faults", faults);
  judge_versions(m, w, faults, result, said);
  if (!enough && json_array_size(faults) == 0) return window_too_few(m, said, w->champion_rows, "rows");
  struct strbuf words;
  char over[160];
  strbuf_init(&words, 700);
  fault_words(faults, own->columns.n, &words);
  snprintf(over, sizeof over, "%.100s: the data are sound again", m->name);
  window_conclude(m, w, said,
                  (struct window_alarm){.alarm = WINDOW_FAULT,
                                        .hit = json_array_size(faults) > 0,
                                        .words = strbuf_text(&words),
                                        .over = over,
                                        .detail = json_pack("{so}", "faults", first_of(faults, WINDOW_COLUMNS_SAID))});
  strbuf_fini(&words);
}

const struct window_kind window_kind_quality = {"quality", "data_fault", prepare, release, open_acc,
                                                drop_acc,  bytes,        add,     judge};
