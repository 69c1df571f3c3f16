#include "stats/quality.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/units.h"
#include "stats/distance.h"
#include "stats/hash.h"
#include "stats/measure.h"
#include "stats/special.h"

#define SORTED_SHARE 0.9
#define SHUFFLED_SHARE 0.75
#define SORTED_STEPS_MIN 30

const char *quality_check_name(enum quality_check check) {
  static const char *const names[] = {"type", "missing", "constant", "out_of_range", "unseen", "sorted", "duplicates"};
  return names[check];
}

/* The share grew by more than `jump` and not by chance; a jump that is negative or NaN is not asked. */
static bool grew(double jump, double p_value, const struct measure_share *share) {
  return jump >= 0 && share->now - share->ref > jump && share->p_value < p_value;
}

struct faults {
  struct quality_fault *list;
  size_t n;
};

static struct quality_fault *fault_new(struct faults *faults, enum quality_check check, double share_ref,
                                       double share_now, double p_value) {
  struct quality_fault *fault = &faults->list[faults->n++];
  *fault = (struct quality_fault){.check = check, .share_ref = share_ref, .share_now = share_now, .p_value = p_value};
  return fault;
}

/* "37 absent, 4 NaN": what cells without a usable value are, every kind that occurs. */
static void missing_kinds(const struct profile_column *now, char *out, size_t size) {
  const struct sketch *s = &now->sketch;
  const struct category *c = now->category;
  const struct {
    uint64_t count;
    const char *word;
  } parts[] = {{c ? c->null : s->null, "absent"},
               {c ? 0 : s->nan, "NaN"},
               {c ? 0 : s->pos_inf + s->neg_inf, "infinite"},
               {c ? c->bad : s->bad, c ? "neither text nor number" : "not a number"}};
  size_t used = 0;
  out[0] = 0;
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    if (parts[i].count && used < size)
      used += (size_t)snprintf(out + used, size - used, "%s%llu %s", used ? ", " : "",
                               (unsigned long long)parts[i].count, parts[i].word);
}

static void check_type_and_missing(const struct quality_rule *rule, const struct profile_column *now,
                                   const struct distances *d, struct faults *faults) {
  char kinds[128], p[MEASURE_P_SIZE];
  bool type = grew(rule->type_share, rule->p_value, &d->type);
  if (type) {
    struct quality_fault *fault = fault_new(faults, QUALITY_TYPE, d->type.ref, d->type.now, d->type.p_value);
    snprintf(fault->why, sizeof fault->why, "%s in a column of %s rose from %.1f %% to %.1f %% of the cells (%s)",
             d->categorical ? "numbers" : "texts", d->categorical ? "texts" : "numbers", 100 * d->type.ref,
             100 * d->type.now, measure_p_words(d->type.p_value, p));
  }
  if (!grew(rule->null_jump, rule->p_value, &d->missing)) return;
  if (type && !d->categorical && now->sketch.bad * 2 > sketch_missing(&now->sketch)) return; /* said already */
  struct quality_fault *fault = fault_new(faults, QUALITY_MISSING, d->missing.ref, d->missing.now, d->missing.p_value);
  uint64_t rows = d->rows_now, missing = now->category ? category_missing(now->category) : sketch_missing(&now->sketch);
  missing_kinds(now, kinds, sizeof kinds);
  snprintf(fault->why, sizeof fault->why,
           "missing values rose from %.1f %% to %.1f %% (%llu of %llu rows: %s; z %.1f, %s)", 100 * d->missing.ref,
           100 * d->missing.now, (unsigned long long)missing, (unsigned long long)rows, kinds, d->missing.z,
           measure_p_words(d->missing.p_value, p));
}

/* The window has one value: the share s of the reference where that value lies makes this a chance of s^m. */
static void check_constant(const struct quality_rule *rule, const struct profile_column *ref,
                           const struct profile_column *now, struct faults *faults) {
  double share, m;
  char value[CATEGORY_VALUE_MAX + 1] = "";
  if (!rule->constant) return;
  if (ref->kind == PROFILE_NUMERIC) {
    const struct sketch *a = &ref->sketch, *b = &now->sketch;
    if (a->finite == 0 || b->finite < 2 || a->min == a->max || b->min != b->max) return;
    share = (double)a->count[sketch_bin(&a->grid, b->min)] / (double)a->finite;
    m = (double)b->finite;
    units_format_number(b->min, value);
  } else {
    const struct category *a = ref->category, *b = now->category;
    uint64_t present = category_present(b);
    int only = -1;
    for (uint32_t i = 0; i < b->dict.n; i++)
      if (b->count[i] == present) only = (int)i;
    if (only < 0 || present < 2 || a->count[only] == category_present(a)) return;
    share = (double)a->count[only] / (double)category_present(a);
    m = (double)present;
    snprintf(value, sizeof value, "%s", b->dict.values[only].text);
  }
  double p = pow(share, m);
  if (p >= rule->p_value) return;
  struct quality_fault *fault = fault_new(faults, QUALITY_CONSTANT, share, 1, p);
  snprintf(fault->why, sizeof fault->why, "all %.0f values are %s, which is %.1f %% of the reference", m, value,
           100 * share);
}

static void check_range(const struct quality_rule *rule, const struct profile_column *ref,
                        const struct profile_column *now, struct faults *faults) {
  const struct sketch *a = &ref->sketch, *b = &now->sketch;
  if (ref->kind != PROFILE_NUMERIC || a->finite == 0 || b->finite == 0) return;
  struct measure_share share = measure_share_change(2, a->finite + 1, b->below + b->above, b->finite);
  if (!grew(rule->out_of_range, rule->p_value, &share)) return;
  struct quality_fault *fault = fault_new(faults, QUALITY_RANGE, 0, share.now, share.p_value);
  char low[UNITS_TEXT_SIZE], high[UNITS_TEXT_SIZE], p[MEASURE_P_SIZE];
  units_format_number(a->grid.low, low);
  units_format_number(a->grid.high, high);
  snprintf(fault->why, sizeof fault->why,
           "%.1f %% of the values are out of the reference's range %s to %s (%llu below, %llu above; %s)",
           100 * share.now, low, high, (unsigned long long)b->below, (unsigned long long)b->above,
           measure_p_words(share.p_value, p));
}

static void check_unseen(const struct quality_rule *rule, const struct distances *d, struct faults *faults) {
  char p[MEASURE_P_SIZE];
  if (!d->categorical || !grew(rule->unseen, rule->p_value, &d->unseen)) return;
  struct quality_fault *fault = fault_new(faults, QUALITY_UNSEEN, d->unseen.ref, d->unseen.now, d->unseen.p_value);
  snprintf(fault->why, sizeof fault->why,
           "%.1f %% of the values do not occur in the reference, where %.1f %% would be chance (%s)",
           100 * d->unseen.now, 100 * d->unseen.ref, measure_p_words(d->unseen.p_value, p));
}

static void check_sorted(const struct quality_rule *rule, const struct profile_column *ref,
                         const struct profile_column *now, struct faults *faults) {
  double up = (double)now->order.up, down = (double)now->order.down, steps = up + down;
  double was = order_share(&ref->order), is = order_share(&now->order);
  if (!rule->sorted || ref->kind != PROFILE_NUMERIC || steps < SORTED_STEPS_MIN) return;
  if (!(is >= SORTED_SHARE) || !(was <= SHUFFLED_SHARE)) return; /* also when the reference's order is not known */
  double p = special_normal_two_sided((up - down) / sqrt((steps + 1) / 3));
  if (p >= rule->p_value) return;
  struct quality_fault *fault = fault_new(faults, QUALITY_SORTED, was, is, p);
  snprintf(
      fault->why, sizeof fault->why,
      "the rows are sorted: %.0f %% of the steps go %s (in the reference %.0f %% go one way), so a window shows only "
      "a slice of the data",
      100 * is, up > down ? "up" : "down", 100 * was);
}

size_t quality_column(const struct quality_rule *rule, const struct profile_column *ref,
                      const struct profile_column *now, struct quality_fault ret[QUALITY_CHECKS]) {
  struct distances d;
  if (ref->kind == PROFILE_CATEGORICAL)
    distance_categorical(ref->category, now->category, &d);
  else
    distance_numeric(&ref->sketch, &now->sketch, &d);
  return quality_column_measured(rule, ref, now, &d, ret);
}

size_t quality_column_measured(const struct quality_rule *rule, const struct profile_column *ref,
                               const struct profile_column *now, const struct distances *d,
                               struct quality_fault ret[QUALITY_CHECKS]) {
  struct faults faults = {.list = ret};
  check_type_and_missing(rule, now, d, &faults);
  check_constant(rule, ref, now, &faults);
  check_range(rule, ref, now, &faults);
  check_unseen(rule, d, &faults);
  check_sorted(rule, ref, now, &faults);
  return faults.n;
}

/* ---- repeated rows ---- */

uint64_t quality_row_hash(uint64_t hash, struct cell cell) {
  uint64_t bits = (uint64_t)cell.kind;
  if (cell.kind == CELL_NUMBER) {
    double number = cell.number + 0.0;
    memcpy(&bits, &number, sizeof bits);
  } else if (cell.text) {
    bits = hash_bytes(cell.text, cell.len);
  }
  return hash_more(hash, bits);
}

static bool rows_insert(uint64_t *slots, size_t size, uint64_t hash) {
  for (size_t at = hash & (size - 1);; at = (at + 1) & (size - 1)) {
    if (slots[at] == hash) return false;
    if (slots[at]) continue;
    slots[at] = hash;
    return true;
  }
}

/* A table of `size` slots with what is still to be looked at. */
static void rows_rebuild(struct quality_rows *rows, size_t size) {
  uint64_t *old = rows->slots;
  size_t old_size = rows->size;
  rows->slots = mem_calloc(size, sizeof rows->slots[0]);
  rows->size = size;
  rows->n_slots = 0;
  for (size_t i = 0; i < old_size; i++)
    if (old[i] && (rows->dropped_bits == 0 || old[i] >> (64 - rows->dropped_bits) == 0))
      rows->n_slots += rows_insert(rows->slots, size, old[i]);
  mem_free(old);
}

void quality_rows_add(struct quality_rows *rows, uint64_t hash) {
  if (hash == 0) hash = 1; /* 0 is an empty slot */
  if (rows->dropped_bits && hash >> (64 - rows->dropped_bits)) return;
  if (2 * (rows->n_slots + 1) > rows->size) {
    if (rows->size >= 2 * QUALITY_ROWS_MAX) {
      /* Half as many hashes from now on; the share so far stands for them. */
      rows->dropped_bits++;
      rows->rows /= 2;
      rows->repeated /= 2;
    }
    rows_rebuild(rows, rows->size < 2 * QUALITY_ROWS_MAX ? (rows->size ? rows->size * 2 : 512) : rows->size);
    if (rows->dropped_bits && hash >> (64 - rows->dropped_bits)) return;
  }
  rows->rows++;
  if (rows_insert(rows->slots, rows->size, hash))
    rows->n_slots++;
  else
    rows->repeated++;
}

void quality_rows_fini(struct quality_rows *rows) {
  mem_free(rows->slots);
  *rows = (struct quality_rows){0};
}

double quality_rows_share(const struct quality_rows *rows) {
  return rows->rows ? (double)rows->repeated / (double)rows->rows : 0;
}

bool quality_duplicates(const struct quality_rule *rule, double share_ref, const struct quality_rows *rows,
                        struct quality_fault *ret) {
  double share = quality_rows_share(rows);
  if (!(rule->duplicates >= 0) || !(share - share_ref > rule->duplicates)) return false;
  /* One-sided: so many repeats among rows that repeat with the reference's probability (at least one in a thousand). */
  double expected = fmax(share_ref, 0.001), n = (double)rows->rows;
  double p = special_normal_two_sided((share - expected) / sqrt(expected * (1 - fmin(expected, 0.999)) / n)) / 2;
  if (p >= rule->p_value) return false;
  *ret = (struct quality_fault){.check = QUALITY_DUPLICATES, .share_ref = share_ref, .share_now = share, .p_value = p};
  snprintf(ret->why, sizeof ret->why,
           "%.1f %% of the rows repeat an earlier row of the window (%.1f %% in the reference)", 100 * share,
           100 * share_ref);
  return true;
}
