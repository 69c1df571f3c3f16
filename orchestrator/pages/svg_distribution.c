/* Distributions: the reference is a filled area, the present a line (numeric) or an outlined bar (categories). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "pages/svg.h"
#include "pages/svg_private.h"

#define HEIGHT 150.0
#define TOP 24.0
#define BOTTOM 130.0
#define LEFT 6.0
#define RIGHT (SHEET_WIDTH - 6.0)
#define ROW 26.0
#define NAME_WIDTH 104.0
#define SHARES_WIDTH 92.0
#define NAME_CHARS 14
#define WIDE_BIN 0.6 /* one bin with so much of the axis leaves nothing to see of the others */

static double share(const double *shares, size_t i) {
  return shares && isfinite(shares[i]) && shares[i] > 0 ? fmin(shares[i], 1) : 0;
}

static void legend(struct html *h, bool lines) {
  svg_rect(h, "ref", LEFT, 4, 14, 9);
  svg_label(h, "key", LEFT + 19, 12.5, "start", "reference");
  if (lines)
    svg_line(h, "now", LEFT + 92, 8.5, LEFT + 108, 8.5);
  else
    svg_rect(h, "nowbar", LEFT + 92, 4.5, 14, 8);
  svg_label(h, "key", LEFT + 113, 12.5, "start", "now");
}

/* ---- numeric ---- */

/* The borders of `count` bins in `out`, open ends closed by the width of their neighbours. False: nothing to scale. */
static bool borders(const struct svg_distribution *chart, double out[SVG_BINS_MAX + 1], bool *ret_open_low,
                    bool *ret_open_high) {
  size_t n = chart->count;
  bool inner = n >= 3 && chart->n_edges == n - 1;
  if (!inner && chart->n_edges != n + 1) return false;
  for (size_t i = 0; i <= n; i++) out[i] = inner ? (i == 0 || i == n ? NAN : chart->edges[i - 1]) : chart->edges[i];
  for (size_t i = 1; i < n; i++)
    if (!isfinite(out[i]) || (i > 1 && out[i] < out[i - 1])) return false;
  *ret_open_low = !isfinite(out[0]);
  *ret_open_high = !isfinite(out[n]);
  if (n < 3 && (*ret_open_low || *ret_open_high)) return false;
  if (*ret_open_low) out[0] = out[1] - (out[2] - out[1]);
  if (*ret_open_high) out[n] = out[n - 1] + (out[n - 1] - out[n - 2]);
  return out[0] <= out[1] && out[n - 1] <= out[n] && isfinite(out[n] - out[0]);
}

static bool is_even_enough(const double *edge, size_t n) {
  double range = edge[n] - edge[0];
  if (!(range > 0)) return false;
  for (size_t i = 0; i < n; i++)
    if (n > 1 && edge[i + 1] - edge[i] > WIDE_BIN * range) return false;
  return true;
}

struct bars {
  double x[SVG_BINS_MAX + 1];                       /* on the sheet */
  double ref[SVG_BINS_MAX], now[SVG_BINS_MAX], top; /* heights, and the highest */
};

/* To scale, a bin's area is its share; else all bins are as wide and its height is. */
static void lay_out(const struct svg_distribution *chart, const double *edge, bool to_scale, struct bars *bars) {
  size_t n = chart->count;
  double range = edge[n] - edge[0], least = range / (double)n / 50;
  bars->top = 0;
  for (size_t i = 0; i <= n; i++)
    bars->x[i] = LEFT + (RIGHT - LEFT) * (to_scale ? (edge[i] - edge[0]) / range : (double)i / (double)n);
  for (size_t i = 0; i < n; i++) {
    double width = to_scale ? fmax(edge[i + 1] - edge[i], least) : 1; /* a spike stays on the sheet */
    bars->ref[i] = share(chart->ref, i) / width;
    bars->now[i] = share(chart->now, i) / width;
    bars->top = fmax(bars->top, fmax(bars->ref[i], bars->now[i]));
  }
  if (!(bars->top > 0)) bars->top = 1;
}

static double height(const struct bars *bars, double value) {
  return BOTTOM - (BOTTOM - TOP) * value / bars->top;
}

/* A path of steps over the bins; closed down to the axis when it is an area. */
static void steps(struct html *h, const char *classes, const struct bars *bars, const double *heights, size_t n) {
  struct strbuf path;
  strbuf_init(&path, 64 * 1024);
  strbuf_printf(&path, "M%.1f %.1f", bars->x[0], BOTTOM);
  for (size_t i = 0; i < n; i++) strbuf_printf(&path, "V%.1fH%.1f", height(bars, heights[i]), bars->x[i + 1]);
  strbuf_printf(&path, "V%.1f", BOTTOM);
  html_open_class(h, "path", classes);
  html_attr(h, "d", strbuf_text(&path));
  html_close(h);
  strbuf_fini(&path);
}

static void axis_to_scale(struct html *h, const double *edge, size_t n) {
  char text[SVG_NUMBER_SIZE];
  double low = edge[0], range = edge[n] - low, step = svg_nice_step(range, 4);
  int drawn = 0;
  for (double at = ceil(low / step) * step; at <= edge[n] && drawn < 10; at += step, drawn++) {
    double x = LEFT + (RIGHT - LEFT) * (at - low) / range;
    svg_line(h, "axis", x, BOTTOM, x, BOTTOM + 3);
    const char *anchor = x < LEFT + 16 ? "start" : x > RIGHT - 16 ? "end" : "middle";
    svg_label(h, "tick", x, BOTTOM + 14, anchor, svg_tick(at, step, text));
  }
}

static void axis_of_bins(struct html *h, const struct bars *bars, const double *edge, size_t n) {
  char text[SVG_NUMBER_SIZE];
  size_t every = n > 5 ? (n + 4) / 5 : 1;
  for (size_t i = 0; i <= n; i += every) {
    const char *anchor = i == 0 ? "start" : i == n ? "end" : "middle";
    svg_line(h, "axis", bars->x[i], BOTTOM, bars->x[i], BOTTOM + 3);
    svg_label(h, "tick", bars->x[i], BOTTOM + 14, anchor, svg_number(edge[i], text));
  }
}

static void numeric(struct html *h, const struct svg_distribution *chart) {
  double edge[SVG_BINS_MAX + 1];
  bool open_low = false, open_high = false;
  size_t n = chart->count;
  bool known = borders(chart, edge, &open_low, &open_high);
  for (size_t i = 0; !known && i <= n; i++) edge[i] = (double)i;
  bool to_scale = known && is_even_enough(edge, n);
  struct bars bars;
  lay_out(chart, edge, to_scale, &bars);
  svg_frame_open(h, chart->id, chart->title, chart->description, HEIGHT);
  legend(h, true);
  if (chart->ref) steps(h, "ref", &bars, bars.ref, n);
  svg_line(h, "axis", LEFT, BOTTOM, RIGHT, BOTTOM);
  if (known && to_scale)
    axis_to_scale(h, edge, n);
  else if (known)
    axis_of_bins(h, &bars, edge, n);
  if (chart->now) steps(h, "now", &bars, bars.now, n);
  svg_frame_close(h);
}

/* ---- categories ---- */

/* The text's first characters; the whole of it is the element's title. */
static void name_label(struct html *h, double y, const char *name) {
  char cut[NAME_CHARS * 4 + 4];
  size_t bytes = 0, chars = 0;
  while (name[bytes] && chars < NAME_CHARS) {
    bytes++;
    while (((unsigned char)name[bytes] & 0xc0) == 0x80) bytes++;
    chars++;
  }
  bool whole = name[bytes] == 0;
  snprintf(cut, sizeof cut, "%.*s%s", (int)bytes, name, whole ? "" : "\xe2\x80\xa6");
  html_open_class(h, "text", "name");
  html_attrf(h, "x", "%.1f", NAME_WIDTH - 6);
  html_attrf(h, "y", "%.1f", y);
  html_attr(h, "text-anchor", "end");
  html_text(h, name[0] ? cut : "(empty)");
  if (!whole) html_element(h, "title", NULL, name);
  html_close(h);
}

/* A share in percent with as many digits as a glance needs: "31", "4.2", "0.03". */
static const char *percent(double of_one, char out[16]) {
  double p = 100 * of_one;
  snprintf(out, 16, p >= 9.95 ? "%.0f" : "%.2g", p);
  return out;
}

static void category(struct html *h, double y, const char *name, double ref, double now, double most) {
  char text[64], from[16], to[16];
  double width = RIGHT - SHARES_WIDTH - NAME_WIDTH;
  name_label(h, y + 13, name);
  svg_rect(h, "ref", NAME_WIDTH, y, width * ref / most, 9);
  svg_rect(h, "nowbar", NAME_WIDTH + 0.5, y + 10.5, fmax(width * now / most, 0.5), 8);
  snprintf(text, sizeof text, "%s \xe2\x86\x92 %s %%", percent(ref, from), percent(now, to));
  svg_label(h, "tick", RIGHT, y + 13, "end", text);
}

/* What is drawn: categories that occur, in their order; beyond the most, the rest in one. */
struct category_rows {
  size_t at[SVG_LABELS_MAX];
  size_t count, others;
  double rest_ref, rest_now, most;
};

static void pick(const struct svg_distribution *chart, struct category_rows *rows) {
  size_t occur = 0;
  for (size_t i = 0; i < chart->count; i++) occur += share(chart->ref, i) > 0 || share(chart->now, i) > 0;
  size_t room = occur <= SVG_LABELS_MAX ? SVG_LABELS_MAX : SVG_LABELS_MAX - 1;
  for (size_t i = 0; i < chart->count; i++) {
    double ref = share(chart->ref, i), now = share(chart->now, i);
    if (ref <= 0 && now <= 0) continue;
    if (rows->count < room) {
      rows->at[rows->count++] = i;
      rows->most = fmax(rows->most, fmax(ref, now));
    } else {
      rows->others++;
      rows->rest_ref += ref;
      rows->rest_now += now;
    }
  }
  rows->most = fmax(rows->most, fmax(rows->rest_ref, rows->rest_now));
}

static void categorical(struct html *h, const struct svg_distribution *chart) {
  struct category_rows rows = {0};
  pick(chart, &rows);
  if (rows.count == 0) return;
  size_t lines = rows.count + (rows.others > 0);
  svg_frame_open(h, chart->id, chart->title, chart->description, TOP + ROW * (double)lines);
  legend(h, false);
  for (size_t i = 0; i < rows.count; i++) {
    const char *label = chart->labels[rows.at[i]];
    category(h, TOP + ROW * (double)i, label ? label : "", share(chart->ref, rows.at[i]), share(chart->now, rows.at[i]),
             rows.most);
  }
  if (rows.others > 0) {
    char text[40];
    snprintf(text, sizeof text, "%zu others", rows.others);
    category(h, TOP + ROW * (double)rows.count, text, rows.rest_ref, rows.rest_now, rows.most);
  }
  svg_frame_close(h);
}

void svg_distribution(struct html *h, const struct svg_distribution *chart) {
  if (chart->count == 0 || chart->count > SVG_BINS_MAX) return;
  if (chart->labels)
    categorical(h, chart);
  else
    numeric(h, chart);
}
