/* One column of a judged window as a document: measures, quantiles and a small histogram. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "trigger/window_drift.h"

#define BARS 12
#define LABELS 10

/* Shares for a picture: four digits are enough, and keep a result small. */
static json_t *shares_of(const double *shares, size_t n) {
  json_t *array = json_array();
  for (size_t i = 0; i < n; i++) json_array_append_new(array, json_real(round(shares[i] * 1e4) / 1e4));
  return array;
}

static json_t *bars(const struct profile_column *ref, const struct profile_column *now) {
  const double outer[] = {0.01, 0.99};
  double a[2], b[2], shares[2][BARS], edges[BARS + 1];
  sketch_quantiles(&ref->sketch, outer, 2, a);
  sketch_quantiles(&now->sketch, outer, 2, b);
  double low = fmin(a[0], b[0]), high = fmax(a[1], b[1]); /* fmin takes the one that is no NaN */
  if (!(low < high)) return json_null();
  sketch_bars(&ref->sketch, low, high, BARS, shares[0]);
  sketch_bars(&now->sketch, low, high, BARS, shares[1]);
  double unit = pow(10, floor(log10((high - low) / BARS)) - 2); /* three digits of a bar's width */
  for (int i = 0; i <= BARS; i++) edges[i] = round((low + (high - low) * i / BARS) / unit) * unit;
  return json_pack("{so so so}", "edges", json_numbers(edges, BARS + 1), "ref", shares_of(shares[0], BARS), "now",
                   shares_of(shares[1], BARS));
}

static double share(uint64_t count, uint64_t of) {
  return of ? (double)count / (double)of : 0;
}

/* The reference's commonest values, the rest together, and what the reference has not. */
static json_t *labels(const struct category *ref, const struct category *now) {
  uint64_t n = category_present(ref), m = category_present(now), rest[2] = {0, 0};
  json_t *names = json_array(), *before = json_array(), *after = json_array();
  for (uint32_t i = 0; i < ref->dict.n; i++) {
    json_t *name = i < LABELS ? json_stringn(ref->dict.values[i].text, ref->dict.values[i].len) : NULL;
    if (!name) { /* beyond, or no UTF-8 */
      rest[0] += ref->count[i];
      rest[1] += now->count[i];
      continue;
    }
    json_array_append_new(names, name);
    json_array_append_new(before, json_real(share(ref->count[i], n)));
    json_array_append_new(after, json_real(share(now->count[i], m)));
  }
  json_array_append_new(names, json_string("(others)"));
  json_array_append_new(before, json_real(share(rest[0] + ref->other, n)));
  json_array_append_new(after, json_real(share(rest[1] + now->other, m)));
  json_array_append_new(names, json_string("(unseen)"));
  json_array_append_new(before, json_real(share(ref->unseen, n)));
  json_array_append_new(after, json_real(share(now->unseen, m)));
  return json_pack("{so so so}", "labels", names, "ref", before, "now", after);
}

static void put_measures(json_t *doc, const struct drift_column *c) {
  const struct distances *d = &c->d;
  json_object_set_new(doc, "psi", json_number(d->psi));
  json_object_set_new(doc, "ks",
                      json_pack("{so so so}", "statistic", json_number(d->ks.statistic), "bound",
                                json_number(d->ks.bound), "p_value", json_number(d->ks.p_value)));
  json_object_set_new(doc, "chi2",
                      json_pack("{so si so}", "statistic", json_number(d->chi2.statistic), "df", (int)d->chi2.df,
                                "p_value", json_number(d->chi2.p_value)));
  json_object_set_new(doc, "p_value", json_number(c->p_value));
  json_object_set_new(doc, "p_adjusted", json_number(c->p_adjusted));
  json_object_set_new(doc, "js_distance", json_number(d->js));
  json_object_set_new(doc, "wasserstein_normed", json_number(d->wasserstein.normed));
  json_object_set_new(doc, "tvd", json_number(d->tvd));
  json_object_set_new(doc, "hellinger", json_number(d->hellinger));
  json_object_set_new(doc, "linf", json_number(d->linf));
  json_object_set_new(doc, "noise_corrected", json_number(d->noise_corrected));
  json_object_set_new(doc, "missing",
                      json_pack("{so so so so}", "ref", json_number(d->missing.ref), "now", json_number(d->missing.now),
                                "z", json_number(d->missing.z), "p_value", json_number(d->missing.p_value)));
  json_object_set_new(doc, "n_ref", json_integer((json_int_t)d->n_ref));
  json_object_set_new(doc, "n_now", json_integer((json_int_t)d->n_now));
  json_object_set_new(doc, "rows_ref", json_integer((json_int_t)d->rows_ref));
  json_object_set_new(doc, "rows_now", json_integer((json_int_t)d->rows_now));
}

json_t *window_column_doc(const struct window_column *column, const struct profile_column *now,
                          const struct drift_column *c, double importance, const char *since_at) {
  const struct profile_column *ref = column->ref;
  const char *direction = drift_direction_name(c->direction);
  json_t *doc =
      json_pack("{ss so ss sb ss so so so}", "name", column->name, "kind",
                ref ? json_string(profile_kind_name(ref->kind)) : json_null(), "verdict",
                drift_verdict_name(c->verdict), "hit", c->hit, "why", c->why, "effect", json_number(c->effect),
                "importance", json_number(importance), "direction", direction ? json_string(direction) : json_null());
  if (!doc) return json_object(); /* only for a name that is no UTF-8, which jansson never hands out */
  if (c->since_row >= 0) {
    json_object_set_new(doc, "since_row", json_integer(c->since_row));
    if (since_at && *since_at) json_object_set_new(doc, "since_at", json_string(since_at));
  }
  put_measures(doc, c);
  bool numeric = ref && ref->kind == PROFILE_NUMERIC;
  json_object_set_new(doc, "quantiles",
                      numeric ? json_pack("{so so so}", "levels", json_numbers(drift_quantile_levels, DRIFT_QUANTILES),
                                          "ref", json_numbers(c->quantiles_ref, DRIFT_QUANTILES), "now",
                                          json_numbers(c->quantiles_now, DRIFT_QUANTILES))
                              : json_null());
  json_object_set_new(doc, "histogram",
                      numeric ? bars(ref, now)
                      : ref   ? labels(ref->category, now->category)
                              : json_null());
  return doc;
}
