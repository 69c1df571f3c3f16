#include "stats/decide.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/units.h"
#include "stats/fdr.h"

const double drift_quantile_levels[DRIFT_QUANTILES] = {0.05, 0.25, 0.5, 0.75, 0.95};

const char *drift_verdict_name(enum drift_verdict verdict) {
  static const char *const names[] = {"ok", "drift", "fault", "insufficient"};
  return names[verdict];
}

const char *drift_direction_name(enum drift_direction direction) {
  static const char *const names[] = {NULL, "up", "down", "spread", "shape", "categories"};
  return names[direction];
}

/* ---- measuring ---- */

static void column_clear(struct drift_column *c) {
  *c = (struct drift_column){
      .verdict = DRIFT_INSUFFICIENT, .since_row = -1, .p_value = NAN, .p_adjusted = NAN, .effect = NAN};
  distance_none(&c->d);
  for (size_t i = 0; i < DRIFT_QUANTILES; i++) c->quantiles_ref[i] = c->quantiles_now[i] = NAN;
}

static enum drift_direction direction_of(const struct drift_column *c) {
  if (c->d.categorical) return DRIFT_CATEGORIES;
  double spread_ref = c->quantiles_ref[3] - c->quantiles_ref[1], spread_now = c->quantiles_now[3] - c->quantiles_now[1];
  double step = c->quantiles_now[2] - c->quantiles_ref[2];
  if (isnan(step)) return DRIFT_NO_DIRECTION;
  if (step != 0 && fabs(step) >= 0.1 * spread_ref) return step > 0 ? DRIFT_UP : DRIFT_DOWN;
  return spread_now >= 1.25 * spread_ref || spread_now <= 0.8 * spread_ref ? DRIFT_SPREAD : DRIFT_SHAPE;
}

/* Of categories: unseen values are tested apart, too, so two tests make one p. */
static double p_of(const struct distances *d) {
  if (!d->categorical) return d->chi2.p_value;
  if (d->n_ref == 0 || d->n_now == 0) return NAN;
  double unseen = d->unseen.z > 0 ? d->unseen.p_value : 1;
  return fmin(1, 2 * fmin(d->common.p_value, unseen));
}

void drift_measure(const struct profile_column *ref, const struct profile_column *now, struct drift_column *c) {
  column_clear(c);
  if (ref->kind == PROFILE_CATEGORICAL) {
    distance_categorical(ref->category, now->category, &c->d);
  } else {
    distance_numeric(&ref->sketch, &now->sketch, &c->d);
    sketch_quantiles(&ref->sketch, drift_quantile_levels, DRIFT_QUANTILES, c->quantiles_ref);
    sketch_quantiles(&now->sketch, drift_quantile_levels, DRIFT_QUANTILES, c->quantiles_now);
  }
  c->p_value = p_of(&c->d);
  c->effect = c->d.categorical ? c->d.common.psi : c->d.psi;
  c->direction = direction_of(c);
}

/* ---- memory ---- */

void drift_memory_init(struct drift_memory *memory) {
  *memory = (struct drift_memory){.since = -1};
}

void drift_memory_to_text(const struct drift_memory *m, char ret_text[DRIFT_MEMORY_TEXT_SIZE]) {
  snprintf(ret_text, DRIFT_MEMORY_TEXT_SIZE, "%" PRIx64 ":%u:%u:%" PRId64, m->ring, m->judged, m->misses, m->since);
}

bool drift_memory_from_text(const char *text, struct drift_memory *ret) {
  struct drift_memory m;
  char again[DRIFT_MEMORY_TEXT_SIZE];
  char *end;
  m.ring = strtoull(text, &end, 16);
  if (*end != ':') return false;
  m.judged = (unsigned)strtoul(end + 1, &end, 10);
  if (*end != ':') return false;
  m.misses = (unsigned)strtoul(end + 1, &end, 10);
  if (*end != ':') return false;
  m.since = strtoll(end + 1, &end, 10);
  drift_memory_to_text(&m, again);
  if (strcmp(text, again) != 0 || m.judged > DRIFT_OF_MAX || m.since < -1) return false;
  if (m.judged < 64 && m.ring >> m.judged) return false;
  *ret = m;
  return true;
}

/* A run of hits ends where so many misses lie in a row that no window of `of` could reach across them. */
void drift_memory_add(const struct drift_rule *rule, struct drift_memory *m, bool hit, int64_t from) {
  unsigned widest = rule->of - rule->hits;
  m->ring = m->ring << 1 | hit;
  if (m->judged < DRIFT_OF_MAX) m->judged++;
  if (hit) {
    if (m->since < 0 || m->misses > widest) m->since = from;
    m->misses = 0;
    return;
  }
  if (m->misses < UINT32_MAX) m->misses++;
  if (m->misses > widest) m->since = -1;
}

static void look_back(const struct drift_rule *rule, const struct drift_memory *m, struct drift_column *c) {
  c->judged = m->judged < rule->of ? m->judged : rule->of;
  uint64_t mask = c->judged < 64 ? (1ull << c->judged) - 1 : ~0ull;
  c->hits = (unsigned)__builtin_popcountll(m->ring & mask);
  c->verdict = c->hits >= rule->hits ? DRIFT_DRIFT : DRIFT_OK;
  c->since_row = c->hit || c->verdict == DRIFT_DRIFT ? m->since : -1;
}

/* ---- words ---- */

static void moved_words(const struct drift_column *c, char *out, size_t size) {
  if (c->d.categorical) {
    char chance[48] = "";
    if (c->d.unseen.ref > 0) snprintf(chance, sizeof chance, " where %.1f %% is chance", 100 * c->d.unseen.ref);
    snprintf(out, size,
             "over common values, of which %.2f is noise, largest change of a share %.1f points, %.1f %% unseen%s",
             c->d.common.noise, 100 * c->d.common.linf, 100 * c->d.unseen.now, chance);
    return;
  }
  const char *way = c->quantiles_now[2] > c->quantiles_ref[2]   ? "up"
                    : c->quantiles_now[2] < c->quantiles_ref[2] ? "down"
                                                                : "unchanged";
  char before[UNITS_TEXT_SIZE], after[UNITS_TEXT_SIZE];
  units_format_number(c->quantiles_ref[2], before);
  units_format_number(c->quantiles_now[2], after);
  snprintf(out, size, "KS %.2f, median %s -> %s (%s)", c->d.ks.statistic, before, after, way);
}

static void drift_words(const struct drift_rule *rule, struct drift_column *c) {
  char p[MEASURE_P_SIZE], moved[200];
  double psi = c->effect;
  measure_p_words(c->p_adjusted, p);
  moved_words(c, moved, sizeof moved);
  if (c->verdict == DRIFT_DRIFT) {
    char windows[64] = "drift";
    if (rule->of > 1) snprintf(windows, sizeof windows, "drift in %u of the last %u windows", c->hits, c->judged);
    snprintf(c->why, sizeof c->why, "%s: PSI %.2f, %s, %s; %llu values against %llu", windows, psi, moved, p,
             (unsigned long long)c->d.n_now, (unsigned long long)c->d.n_ref);
  } else if (c->hit)
    snprintf(c->why, sizeof c->why, "moved (PSI %.2f, %s, %s), in %u of the %u windows needed", psi, moved, p, c->hits,
             rule->hits);
  else
    snprintf(c->why, sizeof c->why, "as in the reference: PSI %.2f (limit %.2g), %s, %s", psi, rule->psi, moved, p);
}

/* ---- deciding ---- */

/* Everything before the tests are weighed against each other. True when the column may be a hit. */
static bool judge_alone(const struct drift_rule *rule, const struct drift_input *in, struct drift_column *c) {
  if (!in->ref) {
    column_clear(c);
    snprintf(c->why, sizeof c->why, "not a column of the champion's training profile");
    return false;
  }
  drift_measure(in->ref, in->now, c);
  if (c->d.rows_now < rule->min_rows) {
    snprintf(c->why, sizeof c->why, "%llu rows, at least %llu are needed", (unsigned long long)c->d.rows_now,
             (unsigned long long)rule->min_rows);
    return false;
  }
  c->n_faults = quality_column_measured(&rule->quality, in->ref, in->now, &c->d, c->faults);
  if (c->n_faults) {
    c->verdict = DRIFT_FAULT;
    c->effect = c->faults[0].share_now - c->faults[0].share_ref;
    snprintf(c->why, sizeof c->why, "%s: broken data, not drift", c->faults[0].why);
    return false;
  }
  double n = (double)c->d.n_ref, m = (double)c->d.n_now;
  if (isnan(c->p_value) || n * m / (n + m) < MEASURE_EN_MIN) {
    snprintf(c->why, sizeof c->why, "%llu values against %llu in the reference: too few to compare",
             (unsigned long long)c->d.n_now, (unsigned long long)c->d.n_ref);
    return false;
  }
  return true;
}

static bool is_large(const struct drift_rule *rule, const struct distances *d) {
  if (!d->categorical) return d->psi >= rule->psi;
  return d->common.psi - d->common.noise >= rule->psi ||
         measure_noise_corrected(d->common.linf, (double)d->n_ref, (double)d->n_now) >= rule->linf;
}

void drift_decide(const struct drift_rule *rule, const struct drift_input *inputs, size_t n, int64_t from,
                  struct drift_column *ret, struct drift_window *ret_window) {
  double *p = mem_calloc(n + 1, sizeof p[0]);
  for (size_t i = 0; i < n; i++) p[i] = judge_alone(rule, &inputs[i], &ret[i]) ? ret[i].p_value : NAN;
  if (!rule->each_alone) fdr_adjust(p, n, p);
  for (size_t i = 0; i < n; i++) {
    struct drift_column *c = &ret[i];
    if (isnan(p[i])) {
      c->direction = DRIFT_NO_DIRECTION;
      continue;
    }
    c->p_adjusted = p[i];
    c->hit = is_large(rule, &c->d) && c->p_adjusted < rule->p_value;
    drift_memory_add(rule, inputs[i].memory, c->hit, from);
    look_back(rule, inputs[i].memory, c);
    if (!c->hit && c->verdict != DRIFT_DRIFT) c->direction = DRIFT_NO_DIRECTION;
    drift_words(rule, c);
  }
  mem_free(p);
  *ret_window = drift_decide_window(ret, n);
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
