#include "pages/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "pages/svg_private.h"

/* ---- numbers ---- */

double svg_nice_step(double range, int want) {
  if (!(range > 0) || !isfinite(range) || want < 1) return 1;
  double rough = range / want, power = pow(10, floor(log10(rough))), share = rough / power;
  if (!(power > 0)) return range; /* subnormal */
  return power * (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10);
}

/* Divides what is large by a power of a thousand. */
static const char *scale(double *value) {
  double size = fabs(*value);
  static const struct {
    double from, by;
    const char *suffix;
  } scales[] = {{1e13, 1, ""}, {1e9, 1e9, "G"}, {1e6, 1e6, "M"}, {1e4, 1e3, "k"}};
  for (size_t i = 0; i < ARRAY_LEN(scales); i++) {
    if (size < scales[i].from) continue;
    *value /= scales[i].by;
    return scales[i].suffix;
  }
  return "";
}

const char *svg_number(double value, char out[SVG_NUMBER_SIZE]) {
  if (!isfinite(value)) {
    snprintf(out, SVG_NUMBER_SIZE, "\xe2\x80\x93");
    return out;
  }
  bool whole = value == floor(value) && fabs(value) < 1e4;
  const char *suffix = scale(&value);
  snprintf(out, SVG_NUMBER_SIZE, whole ? "%.0f%s" : fabs(value) < 1000 ? "%.3g%s" : "%.4g%s", value, suffix);
  return out;
}

const char *svg_tick(double value, double step, char out[SVG_NUMBER_SIZE]) {
  double scaled = value;
  const char *suffix = scale(&scaled);
  double unit = value != 0 ? step * scaled / value : step;
  int decimals = unit > 0 ? (int)ceil(-log10(unit) - 1e-9) : 0;
  if (decimals > 6 || fabs(scaled) >= 1e6) return svg_number(value, out);
  if (fabs(scaled) < unit / 1000) scaled = 0; /* no "-0.00" */
  snprintf(out, SVG_NUMBER_SIZE, "%.*f%s", decimals > 0 ? decimals : 0, scaled, suffix);
  return out;
}

/* ---- verdicts ---- */

enum svg_verdict svg_verdict_of(const char *word) {
  static const enum svg_verdict all[] = {SVG_OK, SVG_DRIFT, SVG_FAULT, SVG_ALARM};
  for (size_t i = 0; word && i < ARRAY_LEN(all); i++)
    if (strcmp(word, svg_verdict_word(all[i])) == 0) return all[i];
  return SVG_UNJUDGED;
}

const char *svg_verdict_word(enum svg_verdict verdict) {
  static const char *const words[] = {[SVG_OK] = "ok",
                                      [SVG_DRIFT] = "drift",
                                      [SVG_FAULT] = "fault",
                                      [SVG_ALARM] = "alarm",
                                      [SVG_UNJUDGED] = "not judged"};
  return words[verdict];
}

void svg_mark(struct html *h, enum svg_verdict verdict, double x, double y, double radius) {
  double r = radius;
  switch (verdict) {
  case SVG_DRIFT: /* a triangle */
    html_open_class(h, "path", "mark drift");
    html_attrf(h, "d", "M%.1f %.1fL%.1f %.1fL%.1f %.1fZ", x, y - 1.3 * r, x + 1.2 * r, y + 0.8 * r, x - 1.2 * r,
               y + 0.8 * r);
    break;
  case SVG_FAULT: /* a square */
    html_open_class(h, "path", "mark fault");
    html_attrf(h, "d", "M%.1f %.1fh%.1fv%.1fh%.1fZ", x - r, y - r, 2 * r, 2 * r, -2 * r);
    break;
  case SVG_ALARM: /* a diamond */
    html_open_class(h, "path", "mark alarm");
    html_attrf(h, "d", "M%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fZ", x, y - 1.4 * r, x + 1.2 * r, y, x, y + 1.4 * r,
               x - 1.2 * r, y);
    break;
  case SVG_OK:
  case SVG_UNJUDGED:
    html_open_class(h, "circle", verdict == SVG_OK ? "mark ok" : "mark none");
    html_attrf(h, "cx", "%.1f", x);
    html_attrf(h, "cy", "%.1f", y);
    html_attrf(h, "r", "%.1f", verdict == SVG_OK ? 0.75 * r : 0.6 * r);
    break;
  }
  html_close(h);
}

/* ---- shapes ---- */

void svg_frame_open(struct html *h, const char *id, const char *title, const char *description, double height) {
  html_open_class(h, "svg", "chart");
  html_attrf(h, "viewBox", "0 0 %.0f %.0f", SHEET_WIDTH, height);
  html_attr(h, "role", "img");
  html_attrf(h, "aria-labelledby", "%s-t", id);
  html_attrf(h, "aria-describedby", "%s-d", id);
  html_open(h, "title");
  html_attrf(h, "id", "%s-t", id);
  html_text(h, title);
  html_close(h);
  html_open(h, "desc");
  html_attrf(h, "id", "%s-d", id);
  html_text(h, description);
  html_close(h);
  html_open(h, "g");
}

void svg_frame_close(struct html *h) {
  html_close(h);
  html_close(h);
}

void svg_line(struct html *h, const char *classes, double x1, double y1, double x2, double y2) {
  html_open_class(h, "path", classes);
  html_attrf(h, "d", "M%.1f %.1fL%.1f %.1f", x1, y1, x2, y2);
  html_close(h);
}

void svg_rect(struct html *h, const char *classes, double x, double y, double width, double height) {
  html_open_class(h, "rect", classes);
  html_attrf(h, "x", "%.1f", x);
  html_attrf(h, "y", "%.1f", y);
  html_attrf(h, "width", "%.1f", width > 0 ? width : 0);
  html_attrf(h, "height", "%.1f", height > 0 ? height : 0);
  html_close(h);
}

void svg_label(struct html *h, const char *classes, double x, double y, const char *anchor, const char *text) {
  html_open_class(h, "text", classes);
  html_attrf(h, "x", "%.1f", x);
  html_attrf(h, "y", "%.1f", y);
  html_attr(h, "text-anchor", anchor);
  html_text(h, text);
  html_close(h);
}
