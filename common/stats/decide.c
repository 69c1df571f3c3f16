#include "stats/decide.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const double drift_quantile_levels[DRIFT_QUANTILES] = {0.05, 0.25, 0.5, 0.75, 0.95};

const char *drift_verdict_name(enum drift_verdict verdict) {
  static const char *const names[] = {"ok", "drift", "fault", "insufficient"};
  return names[verdict];
}

static void measure_all(const struct sketch *ref, const struct sketch *now, struct drift_column *c) {
  c->n_ref = ref->finite;
  c->n_now = now->finite;
  c->rows_ref = ref->n;
  c->rows_now = now->n;
  c->psi = measure_psi(ref, now);
  c->ks = measure_ks(ref, now);
  c->noise_corrected = measure_noise_corrected(c->ks.statistic, (double)ref->finite, (double)now->finite);
  c->chi2 = measure_chi2(ref, now);
  c->missing = measure_missing(ref, now);
  for (size_t i = 0; i < DRIFT_QUANTILES; i++) {
    c->quantiles_ref[i] = sketch_quantile(ref, drift_quantile_levels[i]);
    c->quantiles_now[i] = sketch_quantile(now, drift_quantile_levels[i]);
  }
}

static void column_clear(struct drift_column *c) {
  *c = (struct drift_column){.verdict = DRIFT_INSUFFICIENT,
                             .since_row = -1,
                             .psi = NAN,
                             .noise_corrected = NAN,
                             .ks = {.statistic = NAN, .bound = NAN, .p_value = NAN},
                             .chi2 = {.statistic = NAN, .p_value = NAN},
                             .missing = {.ref = NAN, .now = NAN, .z = NAN, .p_value = NAN}};
  for (size_t i = 0; i < DRIFT_QUANTILES; i++) c->quantiles_ref[i] = c->quantiles_now[i] = NAN;
}

/* What the missing cells are made of, largest kind first is not worth the words: name every kind that occurs. */
static void fault_words(const struct sketch *now, struct drift_column *c) {
  char kinds[128] = "";
  size_t used = 0;
  const struct {
    uint64_t count;
    const char *word;
  } parts[] = {
      {now->null, "absent"}, {now->nan, "NaN"}, {now->pos_inf + now->neg_inf, "infinite"}, {now->bad, "not a number"}};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    if (parts[i].count && used < sizeof kinds)
      used += (size_t)snprintf(kinds + used, sizeof kinds - used, "%s%llu %s", used ? ", " : "",
                               (unsigned long long)parts[i].count, parts[i].word);
  snprintf(
      c->why, sizeof c->why,
      "missing values rose from %.1f %% to %.1f %% (%llu of %llu rows: %s; z %.1f, p %.2g): broken data, not drift",
      100 * c->missing.ref, 100 * c->missing.now, (unsigned long long)sketch_missing(now), (unsigned long long)now->n,
      kinds, c->missing.z, c->missing.p_value);
}

/* Counts the hits among the last `of` judged windows and finds where this run of hits began: going back, the run ends
 * where so many misses lie in a row that no window of `of` could reach across them. */
static void look_back(const struct drift_rule *rule, const struct drift_past *past, size_t n_past, int64_t from_row,
                      struct drift_column *c) {
  unsigned gap = c->hit ? 0 : 1, widest = rule->of - rule->hits;
  c->hits = c->hit;
  c->judged = 1;
  if (c->hit) c->since_row = from_row;
  for (size_t i = 0; i < n_past; i++) {
    if (!past[i].judged) continue;
    if (c->judged < rule->of) {
      c->judged++;
      c->hits += past[i].hit;
    }
    gap = past[i].hit ? 0 : gap + 1;
    if (gap > widest) break;
    if (past[i].hit) c->since_row = past[i].from_row;
  }
}

static void drift_words(const struct drift_rule *rule, struct drift_column *c) {
  const char *way = c->quantiles_now[2] > c->quantiles_ref[2]   ? "up"
                    : c->quantiles_now[2] < c->quantiles_ref[2] ? "down"
                                                                : "unchanged";
  char p[32], moved[96];
  if (c->chi2.p_value < 1e-16)
    snprintf(p, sizeof p, "p < 1e-16");
  else
    snprintf(p, sizeof p, "p %.2g", c->chi2.p_value);
  snprintf(moved, sizeof moved, "median %.4g -> %.4g (%s)", c->quantiles_ref[2], c->quantiles_now[2], way);
  if (c->verdict == DRIFT_DRIFT)
    snprintf(c->why, sizeof c->why,
             "drift in %u of the last %u windows: PSI %.2f, KS %.2f, chi-square %s, %s; %llu values "
             "against %llu",
             c->hits, c->judged, c->psi, c->ks.statistic, p, moved, (unsigned long long)c->n_now,
             (unsigned long long)c->n_ref);
  else if (c->hit)
    snprintf(c->why, sizeof c->why, "moved (PSI %.2f, KS %.2f, chi-square %s, %s), in %u of the %u windows needed",
             c->psi, c->ks.statistic, p, moved, c->hits, rule->hits);
  else
    snprintf(c->why, sizeof c->why, "as in training: PSI %.2f (limit %.2g), KS %.2f, chi-square %s, %s", c->psi,
             rule->psi, c->ks.statistic, p, moved);
}

void drift_decide_column(const struct drift_rule *rule, const struct sketch *ref, const struct sketch *now,
                         const struct drift_past *past, size_t n_past, int64_t from_row, struct drift_column *c) {
  column_clear(c);
  if (!ref) {
    snprintf(c->why, sizeof c->why, "not a numeric column of the champion's training profile");
    return;
  }
  measure_all(ref, now, c);
  if (now->n < rule->min_rows) {
    snprintf(c->why, sizeof c->why, "%llu rows, at least %llu are needed", (unsigned long long)now->n,
             (unsigned long long)rule->min_rows);
    return;
  }
  if (c->missing.now - c->missing.ref > rule->null_jump && c->missing.p_value < rule->p_value) {
    c->verdict = DRIFT_FAULT;
    fault_words(now, c);
    return;
  }
  if (!c->ks.sufficient) {
    snprintf(c->why, sizeof c->why, "%llu values against %llu in training: too few to compare",
             (unsigned long long)now->finite, (unsigned long long)ref->finite);
    return;
  }
  c->hit = c->psi >= rule->psi && c->chi2.p_value < rule->p_value;
  look_back(rule, past, n_past, from_row, c);
  c->verdict = c->hits >= rule->hits ? DRIFT_DRIFT : DRIFT_OK;
  if (c->verdict == DRIFT_OK && !c->hit) c->since_row = -1;
  drift_words(rule, c);
}

struct drift_window drift_decide_window(const struct drift_column *columns, size_t n) {
  struct drift_window w = {.verdict = DRIFT_INSUFFICIENT};
  for (size_t i = 0; i < n; i++) {
    w.faults += columns[i].verdict == DRIFT_FAULT;
    w.drifts += columns[i].verdict == DRIFT_DRIFT;
    w.judged += columns[i].verdict != DRIFT_INSUFFICIENT;
  }
  if (w.faults)
    w.verdict = DRIFT_FAULT;
  else if (w.drifts)
    w.verdict = DRIFT_DRIFT;
  else if (w.judged)
    w.verdict = DRIFT_OK;
  w.held = w.faults && w.drifts;
  return w;
}
