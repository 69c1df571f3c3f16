/* Charts as inline SVG: distributions side by side, a value over time, a sparkline. Static pictures without script;
 * colours, strokes and type come from the style sheet by class, so that light, dark and print each get their own.
 *
 * Nothing is told by colour alone: the reference is filled and the present is a line, and verdicts have shapes. Each
 * picture carries a title and a description; the numbers behind it stand in a table beside it (the caller's). */
#ifndef ORCH_PAGES_SVG_H
#define ORCH_PAGES_SVG_H

#include <stddef.h>

#include "pages/html.h"

#define SVG_BINS_MAX 200   /* of a distribution; more are not drawn */
#define SVG_LABELS_MAX 12  /* categories that are drawn; the table has them all */
#define SVG_POINTS_MAX 400 /* of a chart over time: the newest */

/* How a window was judged; each has its own mark. */
enum svg_verdict { SVG_OK, SVG_DRIFT, SVG_FAULT, SVG_ALARM, SVG_UNJUDGED };
enum svg_verdict svg_verdict_of(const char *word); /* "ok", "drift", "fault", "alarm"; anything else is unjudged */

/* A distribution over `count` bins. Numeric: `edges` are the count+1 borders, or the count-1 inner ones when the
 * outermost bins are open; a border that is not finite opens its bin. Categorical: `labels`, and no edges. `ref` and
 * `now` are shares (0..1); either may be NULL. */
struct svg_distribution {
  const char *id; /* unique on the page, an XML name: the title's and the description's ids are made from it */
  const char *title, *description;
  const double *edges;
  size_t n_edges;
  const char *const *labels;
  const double *ref, *now;
  size_t count;
};
void svg_distribution(struct html *h, const struct svg_distribution *chart);

/* One point of a chart over time: x is microseconds since 1970 or a row number; a value that is not finite has no
 * mark and breaks the line. */
struct svg_point {
  double x, value;
  enum svg_verdict verdict;
};
struct svg_timeline {
  const char *id;
  const char *title, *description;
  const struct svg_point *points; /* by x, ascending */
  size_t count;
  double threshold; /* NAN: none */
  bool by_time;     /* else by row number */
};
void svg_timeline(struct html *h, const struct svg_timeline *chart);
/* Small, without axes; the same points. `title` says in words what it shows. */
void svg_spark(struct html *h, const char *title, const struct svg_point *points, size_t count, double threshold);

/* A round step for about `want` intervals over a range, 1, 2 or 5 times a power of ten; 1 for an empty range. */
double svg_nice_step(double range, int want);
/* A number as axes and tables show it, at most about seven characters: "0.083", "1.2k", "34.5M"; "–" when it is none.
 */
#define SVG_NUMBER_SIZE 24
const char *svg_number(double value, char out[SVG_NUMBER_SIZE]);

#endif
