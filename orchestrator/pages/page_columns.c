/* The columns of a window or a diagnosis: each with its distributions, its measures, and the numbers as a table. */
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "pages/page.h"

#define COLUMNS_MAX 60 /* drawn on one page; more are counted */

/* All the quantiles there are. */
static void quantiles(struct page *page, const json_t *column) {
  const json_t *q = doc_object(column, "quantiles");
  double level[16], ref[16], now[16];
  size_t n = doc_numbers(json_object_get(q, "levels"), level, ARRAY_LEN(level));
  size_t n_ref = doc_numbers(json_object_get(q, "ref"), ref, ARRAY_LEN(ref));
  size_t n_now = doc_numbers(json_object_get(q, "now"), now, ARRAY_LEN(now));
  if (n == 0 || n_ref < n || n_now < n) return;
  page_table(page, "Quantiles, reference and now", (const char *const[]){"quantile", ">reference", ">now", NULL});
  for (size_t i = 0; i < n; i++) {
    html_open(&page->h, "tr");
    html_open(&page->h, "th");
    html_attr(&page->h, "scope", "row");
    html_textf(&page->h, "%g %%", level[i] * 100);
    html_close(&page->h);
    page_cell_number(page, ref[i]);
    page_cell_number(page, now[i]);
    html_close(&page->h);
  }
  page_table_end(page);
}

/* "median 48.1 → 66.2": the middle, and with `tail` the highest quantile instead. */
static void quantile_moved(struct page *page, const json_t *column, bool tail) {
  const json_t *q = doc_object(column, "quantiles");
  double level[16], ref[16], now[16];
  char from[UNITS_TEXT_SIZE], to[UNITS_TEXT_SIZE];
  size_t n = doc_numbers(json_object_get(q, "levels"), level, ARRAY_LEN(level)), at = n;
  if (doc_numbers(json_object_get(q, "ref"), ref, ARRAY_LEN(ref)) < n) return;
  if (doc_numbers(json_object_get(q, "now"), now, ARRAY_LEN(now)) < n) return;
  for (size_t i = 0; i < n; i++)
    if (tail ? level[i] > 0.5 && level[i] < 1 : fabs(level[i] - 0.5) < 1e-9) at = i;
  if (at == n || !isfinite(ref[at]) || !isfinite(now[at])) return;
  html_open(&page->h, "span");
  if (tail)
    html_textf(&page->h, "p%g ", 100 * level[at]);
  else
    html_text(&page->h, "median ");
  html_textf(&page->h, "%s \xe2\x86\x92 %s", page_number(ref[at], from), page_number(now[at], to));
  html_close(&page->h);
}

static void share_cell(struct page *page, double share) {
  if (isfinite(share))
    html_elementf(&page->h, "td", "num", "%.3g %%", 100 * share);
  else
    html_element(&page->h, "td", "num", "\xe2\x80\x93");
}

/* What a bin is called: its category, or its borders. */
static void bin_name(struct page *page, const struct svg_distribution *chart, size_t i) {
  char low[UNITS_TEXT_SIZE], high[UNITS_TEXT_SIZE];
  html_open(&page->h, "th");
  html_attr(&page->h, "scope", "row");
  if (chart->labels) {
    html_text(&page->h, chart->labels[i] && chart->labels[i][0] ? chart->labels[i] : "(empty)");
  } else {
    bool inner = chart->n_edges + 1 == chart->count;
    double from = inner ? (i == 0 ? NAN : chart->edges[i - 1]) : i < chart->n_edges ? chart->edges[i] : NAN;
    double to = inner                    ? (i < chart->n_edges ? chart->edges[i] : NAN)
                : i + 1 < chart->n_edges ? chart->edges[i + 1]
                                         : NAN;
    if (isfinite(from) && isfinite(to))
      html_textf(&page->h, "%s to %s", page_number(from, low), page_number(to, high));
    else if (isfinite(from))
      html_textf(&page->h, "over %s", page_number(from, low));
    else if (isfinite(to))
      html_textf(&page->h, "up to %s", page_number(to, high));
    else
      html_textf(&page->h, "bin %zu", i + 1);
  }
  html_close(&page->h);
}

static void shares_table(struct page *page, const struct svg_distribution *chart) {
  page_table(page, "Shares of the values, reference and now",
             (const char *const[]){chart->labels ? "category" : "values", ">reference", ">now", NULL});
  for (size_t i = 0; i < chart->count; i++) {
    html_open(&page->h, "tr");
    bin_name(page, chart, i);
    share_cell(page, chart->ref ? chart->ref[i] : NAN);
    share_cell(page, chart->now ? chart->now[i] : NAN);
    html_close(&page->h);
  }
  page_table_end(page);
}

static void histogram(struct page *page, const json_t *column, const char *name) {
  const json_t *doc = doc_object(column, "histogram");
  const json_t *labels = json_object_get(doc, "labels");
  double edges[SVG_BINS_MAX + 1], ref[SVG_BINS_MAX], now[SVG_BINS_MAX];
  const char *names[SVG_BINS_MAX];
  char id[32];
  size_t n_ref = doc_numbers(json_object_get(doc, "ref"), ref, SVG_BINS_MAX);
  size_t n_now = doc_numbers(json_object_get(doc, "now"), now, SVG_BINS_MAX);
  struct svg_distribution chart = {.count = n_ref > n_now ? n_ref : n_now, .id = id};
  if (chart.count == 0) return;
  if (n_ref == chart.count) chart.ref = ref;
  if (n_now == chart.count) chart.now = now;
  if (json_is_array(labels)) {
    if (json_array_size(labels) < chart.count) return;
    for (size_t i = 0; i < chart.count; i++) {
      const char *text = json_string_value(json_array_get(labels, i));
      names[i] = text ? text : "";
    }
    chart.labels = names;
  } else {
    chart.n_edges = doc_numbers(json_object_get(doc, "edges"), edges, SVG_BINS_MAX + 1);
    chart.edges = edges;
  }
  snprintf(id, sizeof id, "chart%u", ++page->charts);
  CLEANUP(mem_free_p) char *title = mem_printf("%s: reference and now", name);
  CLEANUP(mem_free_p)
  char *description = mem_printf("%s. The shares of %zu %s are in the table below the picture.",
                                 doc_text(column, "why") ? doc_text(column, "why") : "Two distributions", chart.count,
                                 chart.labels ? "categories" : "ranges of values");
  chart.title = title;
  chart.description = description;
  html_open_class(&page->h, "div", "figure");
  svg_distribution(&page->h, &chart);
  html_close(&page->h);
  page_numbers(page, name);
  shares_table(page, &chart);
  quantiles(page, column);
  html_literal(&page->h, "</details>");
}

static void measure(struct page *page, const char *name, double value) {
  char text[UNITS_TEXT_SIZE];
  if (!isfinite(value)) return;
  html_open(&page->h, "span");
  html_textf(&page->h, "%s %s", name, page_number(value, text));
  html_close(&page->h);
}

static const char *direction_word(const json_t *column) {
  static const char *const words[][2] = {{"up", "values went up"},
                                         {"down", "values went down"},
                                         {"spread", "the spread changed"},
                                         {"shape", "the shape changed"},
                                         {"categories", "other categories"}};
  for (size_t i = 0; i < ARRAY_LEN(words); i++)
    if (doc_is(column, "direction", words[i][0])) return words[i][1];
  return NULL;
}

static double p_value_of(const json_t *column) {
  static const char *const within[] = {"ks", "chi2"};
  double p = doc_number(column, "p_adjusted");
  if (!isfinite(p)) p = doc_number(column, "p_value");
  for (size_t i = 0; !isfinite(p) && i < ARRAY_LEN(within); i++)
    p = doc_number(json_object_get(column, within[i]), "p_value");
  return p;
}

static void p_value(struct page *page, double p) {
  if (isfinite(p) && p < 0.0001)
    html_element(&page->h, "span", NULL, "p < 0.0001");
  else
    measure(page, "p", p);
}

/* What the order of the columns comes from, where it is not the effect alone. */
static void weight(struct page *page, const json_t *column) {
  double importance = doc_number(column, "importance"), product = doc_number(column, "weight");
  char text[UNITS_TEXT_SIZE], whole[UNITS_TEXT_SIZE];
  if (!isfinite(importance) || importance == 1) return;
  html_open(&page->h, "span");
  html_textf(&page->h, "importance %s", page_number(importance, text));
  if (isfinite(product)) html_textf(&page->h, ", so weight %s", page_number(product, whole));
  html_close(&page->h);
}

static void column_since(struct page *page, const json_t *column) {
  char stamp[CLOCK_RFC3339_SIZE];
  double row = doc_number(column, "since_row");
  long long us;
  if (doc_time(column, "since_at", &us)) {
    clock_format_rfc3339(us, stamp);
    html_elementf(&page->h, "span", NULL, "since %.10s", stamp);
  } else if (isfinite(row)) {
    html_elementf(&page->h, "span", NULL, "since row %.0f", row);
  }
}

static void measures(struct page *page, const json_t *column) {
  const json_t *missing = doc_object(column, "missing");
  const char *direction = direction_word(column);
  double ref = doc_number(missing, "ref"), now = doc_number(missing, "now");
  double n_ref = doc_number(column, "n_ref"), n_now = doc_number(column, "n_now");
  html_open_class(&page->h, "p", "lead small facts-line");
  if (direction) html_element(&page->h, "span", NULL, direction);
  quantile_moved(page, column, false);
  quantile_moved(page, column, true);
  measure(page, "PSI", doc_number(column, "psi"));
  p_value(page, p_value_of(column));
  weight(page, column);
  if (isfinite(ref) && isfinite(now) && (ref > 0 || now > 0))
    html_elementf(&page->h, "span", NULL, "missing %.3g \xe2\x86\x92 %.3g %%", 100 * ref, 100 * now);
  if (isfinite(n_ref) && isfinite(n_now))
    html_elementf(&page->h, "span", NULL, "n %.0f \xe2\x86\x92 %.0f", n_ref, n_now);
  column_since(page, column);
  html_close(&page->h);
}

static void column_card(struct page *page, const json_t *column) {
  struct html *h = &page->h;
  const char *name = doc_text(column, "name");
  html_open_class(h, "article", "card");
  html_open_class(h, "div", "title");
  html_open(h, "h3");
  html_element(h, "bdi", NULL, name ? name : "(no name)");
  html_close(h);
  page_verdict(page, doc_text(column, "verdict"));
  const char *monitor = doc_text(column, "monitor");
  if (monitor) html_element(h, "span", "end soft small", monitor);
  html_close(h);
  measures(page, column);
  if (doc_text(column, "why")) html_element(h, "p", "why", doc_text(column, "why"));
  histogram(page, column, name ? name : "column");
  html_close(h);
}

void page_columns(struct page *page, const json_t *columns, json_int_t more) {
  size_t i, count = json_array_size(columns);
  json_t *column;
  if (count == 0) return;
  html_open_class(&page->h, "div", "grid");
  json_array_foreach(columns, i, column) {
    if (i == COLUMNS_MAX) break;
    column_card(page, column);
  }
  html_close(&page->h);
  if (count > COLUMNS_MAX) more += (json_int_t)(count - COLUMNS_MAX);
  if (more > 0)
    html_elementf(&page->h, "p", "soft why", "and %lld more, with smaller effects; the JSON has them", (long long)more);
}
