/* A value over time: a line, a mark for each window by its verdict, the threshold. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "pages/svg.h"
#include "pages/svg_private.h"

#define HEIGHT 160.0
#define TOP 26.0
#define BOTTOM 138.0
#define LEFT 40.0
#define RIGHT (SHEET_WIDTH - 10.0)
#define SPARK_WIDTH 120.0
#define SPARK_HEIGHT 28.0
#define CROWDED 60
#define DAY_US 86400e6

struct plot {
  double x0, x1, y0, y1;           /* of the values */
  double left, right, top, bottom; /* of the sheet */
};

static double place_x(const struct plot *plot, double x) {
  return plot->x1 > plot->x0 ? plot->left + (plot->right - plot->left) * (x - plot->x0) / (plot->x1 - plot->x0)
                             : (plot->left + plot->right) / 2;
}

static double place_y(const struct plot *plot, double y) {
  return plot->bottom - (plot->bottom - plot->top) * (y - plot->y0) / (plot->y1 - plot->y0);
}

/* The ranges of what there is; false when there is nothing to draw. */
static bool measure(const struct svg_point *points, size_t count, double threshold, struct plot *plot) {
  bool any = false;
  plot->y0 = plot->y1 = isfinite(threshold) ? threshold : 0;
  bool have_y = isfinite(threshold);
  for (size_t i = 0; i < count; i++) {
    if (!isfinite(points[i].x)) continue;
    plot->x0 = any ? fmin(plot->x0, points[i].x) : points[i].x;
    plot->x1 = any ? fmax(plot->x1, points[i].x) : points[i].x;
    any = true;
    if (!isfinite(points[i].value)) continue;
    plot->y0 = have_y ? fmin(plot->y0, points[i].value) : points[i].value;
    plot->y1 = have_y ? fmax(plot->y1, points[i].value) : points[i].value;
    have_y = true;
  }
  if (!any || !have_y || !isfinite(plot->y1 - plot->y0)) return false;
  double pad = plot->y1 > plot->y0 ? (plot->y1 - plot->y0) * 0.08 : plot->y1 != 0 ? fabs(plot->y1) * 0.1 : 1;
  bool positive = plot->y0 >= 0;
  plot->y0 -= pad;
  plot->y1 += pad;
  if (positive && plot->y0 < 0) plot->y0 = 0; /* what cannot be negative has no axis below zero */
  return true;
}

static void line(struct html *h, const struct plot *plot, const struct svg_point *points, size_t count) {
  struct strbuf path;
  bool pen_down = false;
  strbuf_init(&path, 64 * 1024);
  for (size_t i = 0; i < count; i++) {
    bool there = isfinite(points[i].value) && isfinite(points[i].x);
    if (there)
      strbuf_printf(&path, "%c%.1f %.1f", pen_down ? 'L' : 'M', place_x(plot, points[i].x),
                    place_y(plot, points[i].value));
    pen_down = there;
  }
  html_open_class(h, "path", "line");
  html_attr(h, "d", strbuf_text(&path));
  html_close(h);
  strbuf_fini(&path);
}

static void marks(struct html *h, const struct plot *plot, const struct svg_point *points, size_t count,
                  double radius) {
  for (size_t i = 0; i < count; i++)
    if (isfinite(points[i].value) && isfinite(points[i].x))
      svg_mark(h, points[i].verdict, place_x(plot, points[i].x), place_y(plot, points[i].value),
               points[i].verdict == SVG_OK && count > CROWDED ? radius / 2 : radius);
}

static void axis_y(struct html *h, const struct plot *plot) {
  char text[SVG_NUMBER_SIZE];
  double step = svg_nice_step(plot->y1 - plot->y0, 3);
  int drawn = 0;
  for (double at = ceil(plot->y0 / step) * step; at <= plot->y1 && drawn < 10; at += step, drawn++) {
    double y = place_y(plot, at);
    svg_line(h, "grid", plot->left, y, plot->right, y);
    svg_label(h, "tick", plot->left - 5, y + 3.5, "end", svg_tick(at, step, text));
  }
}

static void time_text(double us, double range_us, char out[32]) {
  static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  struct tm tm = {0};
  time_t seconds = (time_t)(us / 1e6);
  if (!gmtime_r(&seconds, &tm) || tm.tm_mon < 0 || tm.tm_mon > 11) {
    out[0] = 0;
    return;
  }
  if (range_us < DAY_US * 2)
    snprintf(out, 32, "%d %s %02d:%02d", tm.tm_mday, months[tm.tm_mon], tm.tm_hour, tm.tm_min);
  else if (range_us < DAY_US * 300)
    snprintf(out, 32, "%d %s", tm.tm_mday, months[tm.tm_mon]);
  else
    snprintf(out, 32, "%s %d", months[tm.tm_mon], tm.tm_year + 1900);
}

static void axis_x(struct html *h, const struct plot *plot, bool by_time) {
  static const char *const anchors[] = {"start", "middle", "end"};
  double range = plot->x1 - plot->x0;
  for (int i = range > 0 ? 0 : 1; i < (range > 0 ? 3 : 2); i++) {
    double value = plot->x0 + range * i / 2;
    char text[32], number[SVG_NUMBER_SIZE];
    if (by_time)
      time_text(value, range, text);
    else
      snprintf(text, sizeof text, "row %s", svg_number(floor(value), number));
    svg_label(h, "tick", place_x(plot, value), plot->bottom + 15, anchors[i], text);
  }
}

/* How far the values stay away from the threshold in the plot's left or right third, at the closest. */
static double room(const struct plot *plot, const struct svg_point *points, size_t count, double threshold,
                   bool right) {
  double least = INFINITY, third = (plot->x1 - plot->x0) / 3;
  for (size_t i = 0; i < count; i++) {
    bool there = right ? points[i].x >= plot->x1 - third : points[i].x <= plot->x0 + third;
    if (there && isfinite(points[i].value)) least = fmin(least, fabs(points[i].value - threshold));
  }
  return least;
}

static void limit(struct html *h, const struct plot *plot, double threshold, bool right) {
  char text[SVG_NUMBER_SIZE + 16], number[SVG_NUMBER_SIZE];
  double y = place_y(plot, threshold);
  svg_line(h, "limit", plot->left, y, plot->right, y);
  snprintf(text, sizeof text, "limit %s", svg_number(threshold, number));
  bool high = y < plot->top + 14;
  svg_label(h, "limit", right ? plot->right : plot->left + 2, high ? y + 12 : y - 4, right ? "end" : "start", text);
}

/* The verdicts that occur, each with its mark. */
static void legend(struct html *h, const struct svg_point *points, size_t count) {
  double x = LEFT + 4;
  for (int v = SVG_OK; v <= SVG_UNJUDGED; v++) {
    bool there = false;
    for (size_t i = 0; i < count && !there; i++) there = (int)points[i].verdict == v && isfinite(points[i].value);
    if (!there) continue;
    svg_mark(h, (enum svg_verdict)v, x, 9, 4);
    svg_label(h, "key", x + 9, 13, "start", svg_verdict_word((enum svg_verdict)v));
    x += v == SVG_OK ? 36 : 60;
  }
}

/* The newest that fit. */
static size_t newest(const struct svg_point **points, size_t count) {
  if (count <= SVG_POINTS_MAX) return count;
  *points += count - SVG_POINTS_MAX;
  return SVG_POINTS_MAX;
}

void svg_timeline(struct html *h, const struct svg_timeline *chart) {
  struct plot plot = {.left = LEFT, .right = RIGHT, .top = TOP, .bottom = BOTTOM};
  const struct svg_point *points = chart->points;
  size_t count = newest(&points, chart->count);
  if (!measure(points, count, chart->threshold, &plot)) return;
  svg_frame_open(h, chart->id, chart->title, chart->description, HEIGHT);
  legend(h, points, count);
  axis_y(h, &plot);
  svg_line(h, "axis", plot.left, plot.bottom, plot.right, plot.bottom);
  axis_x(h, &plot, chart->by_time);
  line(h, &plot, points, count);
  marks(h, &plot, points, count, 4);
  if (isfinite(chart->threshold))
    limit(h, &plot, chart->threshold,
          room(&plot, points, count, chart->threshold, true) >= room(&plot, points, count, chart->threshold, false));
  svg_frame_close(h);
}

void svg_spark(struct html *h, const char *title, const struct svg_point *points, size_t count, double threshold) {
  struct plot plot = {.left = 4, .right = SPARK_WIDTH - 4, .top = 4, .bottom = SPARK_HEIGHT - 4};
  count = newest(&points, count);
  if (!measure(points, count, threshold, &plot)) return;
  html_open_class(h, "svg", "spark");
  html_attrf(h, "viewBox", "0 0 %.0f %.0f", SPARK_WIDTH, SPARK_HEIGHT);
  html_attr(h, "role", "img");
  html_element(h, "title", NULL, title);
  if (isfinite(threshold))
    svg_line(h, "limit", plot.left, place_y(&plot, threshold), plot.right, place_y(&plot, threshold));
  line(h, &plot, points, count);
  for (size_t i = 0; i < count; i++) /* what stands out, and where it is now */
    if (isfinite(points[i].value) && isfinite(points[i].x) &&
        (i + 1 == count || (points[i].verdict != SVG_OK && points[i].verdict != SVG_UNJUDGED)))
      svg_mark(h, points[i].verdict, place_x(&plot, points[i].x), place_y(&plot, points[i].value),
               i + 1 == count ? 3 : 2);
  html_close(h);
}
