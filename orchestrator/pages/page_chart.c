/* Pictures of values over time, each with its numbers as a table. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "pages/page.h"

#define TABLE_POINTS_MAX 60

/* Opens what holds the table beside a picture; who cannot see the picture hears which it is. */
void page_numbers(struct page *page, const char *of) {
  html_literal(&page->h, "<details><summary>Numbers<span class=\"hidden\"> of ");
  html_text(&page->h, of);
  html_literal(&page->h, "</span></summary>");
}

struct series {
  struct svg_point points[SVG_POINTS_MAX];
  const json_t *docs[SVG_POINTS_MAX]; /* in the order of the points */
  size_t count;
  double threshold;
  bool by_time;
};

static bool time_of(const json_t *point, long long *ret_us) {
  static const char *const keys[] = {"at", "to_at", "newest_at", "closed_at"};
  for (size_t i = 0; i < ARRAY_LEN(keys); i++)
    if (doc_time(point, keys[i], ret_us)) return true;
  return false;
}

static double row_of(const json_t *point) {
  double row = doc_number(point, "row");
  return isfinite(row) ? row : doc_number(point, "to_row");
}

static enum svg_verdict judge(const struct page_series *in, const json_t *doc, double threshold) {
  const char *verdict = doc_text(doc, "verdict");
  double value = doc_number(doc, "value");
  if (verdict) return svg_verdict_of(verdict);
  if (!in->better || !isfinite(threshold) || !isfinite(value)) return SVG_OK;
  return (strcmp(in->better, "down") == 0 ? value > threshold : value < threshold) ? SVG_ALARM : SVG_OK;
}

/* By time when every point has one, else by row number, else by their order. */
static void read_series(const struct page_series *in, struct series *out) {
  size_t total = json_array_size(in->points), rows = 0;
  size_t n = total < SVG_POINTS_MAX ? total : SVG_POINTS_MAX;
  out->count = n;
  out->threshold = in->threshold;
  out->by_time = n > 0;
  for (size_t i = 0; i < n; i++) {
    const json_t *doc = json_array_get(in->points, in->oldest_first ? total - n + i : n - 1 - i);
    long long us;
    double own = doc_number(doc, "threshold");
    out->docs[i] = doc;
    out->by_time = out->by_time && time_of(doc, &us);
    rows += isfinite(row_of(doc));
    if (!isfinite(in->threshold) && isfinite(own)) out->threshold = own; /* the newest one's */
  }
  for (size_t i = 0; i < n; i++) {
    const json_t *doc = out->docs[i];
    long long us = 0;
    (void)time_of(doc, &us);
    out->points[i] = (struct svg_point){.x = out->by_time ? (double)us
                                             : rows == n  ? row_of(doc)
                                                          : (double)i,
                                        .value = doc_number(doc, "value"),
                                        .verdict = judge(in, doc, out->threshold)};
  }
  for (size_t i = 1; i < n; i++) /* time that goes backwards would draw loops */
    if (out->points[i].x < out->points[i - 1].x) out->points[i].x = out->points[i - 1].x;
}

/* "0.42 at the last of 12 windows, between 0.01 and 0.42; limit 0.2": what a picture would show. */
static char *describe(const struct series *series) {
  char last[UNITS_TEXT_SIZE], low[UNITS_TEXT_SIZE], high[UNITS_TEXT_SIZE], limit[UNITS_TEXT_SIZE];
  double least = NAN, most = NAN, newest = NAN;
  size_t off = 0;
  for (size_t i = 0; i < series->count; i++) {
    double value = series->points[i].value;
    off += series->points[i].verdict != SVG_OK && series->points[i].verdict != SVG_UNJUDGED;
    if (!isfinite(value)) continue;
    least = isfinite(least) ? fmin(least, value) : value;
    most = isfinite(most) ? fmax(most, value) : value;
    newest = value;
  }
  struct strbuf out;
  strbuf_init(&out, 1024);
  strbuf_printf(&out, "%s at the end of %zu points, between %s and %s", page_number(newest, last), series->count,
                page_number(least, low), page_number(most, high));
  if (off > 0) strbuf_printf(&out, "; %zu of them fired", off);
  if (isfinite(series->threshold)) strbuf_printf(&out, "; limit %s", page_number(series->threshold, limit));
  return strbuf_take(&out);
}

static void points_table(struct page *page, const struct series *series, const char *title) {
  size_t from = series->count > TABLE_POINTS_MAX ? series->count - TABLE_POINTS_MAX : 0;
  page_table(page, title, (const char *const[]){"when", ">rows", ">value", ">limit", "verdict", NULL});
  for (size_t i = series->count; i-- > from;) {
    const json_t *doc = series->docs[i];
    double own = doc_number(doc, "threshold");
    html_open(&page->h, "tr");
    html_open_class(&page->h, "td", "nowrap");
    if (series->by_time) {
      char stamp[CLOCK_RFC3339_SIZE];
      clock_format_rfc3339((int64_t)series->points[i].x, stamp);
      html_textf(&page->h, "%.10s %.5s UTC", stamp, stamp + 11);
    } else {
      html_textf(&page->h, "row %.0f", series->points[i].x);
    }
    html_close(&page->h);
    page_cell_number(page, doc_number(doc, "rows"));
    page_cell_number(page, series->points[i].value);
    page_cell_number(page, isfinite(own) ? own : series->threshold);
    html_open(&page->h, "td");
    page_verdict(page, doc_text(doc, "verdict"));
    html_close(&page->h);
    html_close(&page->h);
  }
  page_table_end(page);
}

void page_timeline(struct page *page, const struct page_series *in) {
  struct series *series = mem_alloc(sizeof *series);
  char id[32];
  read_series(in, series);
  if (series->count > 0) {
    CLEANUP(mem_free_p) char *description = describe(series);
    snprintf(id, sizeof id, "chart%u", ++page->charts);
    html_open_class(&page->h, "div", "figure");
    svg_timeline(&page->h, &(struct svg_timeline){.id = id,
                                                  .title = in->title,
                                                  .description = description,
                                                  .points = series->points,
                                                  .count = series->count,
                                                  .threshold = series->threshold,
                                                  .by_time = series->by_time});
    html_close(&page->h);
    page_numbers(page, in->title);
    points_table(page, series, in->title);
    html_literal(&page->h, "</details>");
  }
  mem_free(series);
}

void page_spark(struct page *page, const struct page_series *in) {
  struct series *series = mem_alloc(sizeof *series);
  read_series(in, series);
  if (series->count > 0) {
    CLEANUP(mem_free_p) char *description = describe(series);
    CLEANUP(mem_free_p) char *title = mem_printf("%s: %s", in->title ? in->title : "monitor", description);
    svg_spark(&page->h, title, series->points, series->count, series->threshold);
  }
  mem_free(series);
}
