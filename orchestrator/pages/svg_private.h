/* What the charts share: the frame, shapes in coordinates of one size, labels. */
#ifndef ORCH_PAGES_SVG_PRIVATE_H
#define ORCH_PAGES_SVG_PRIVATE_H

#include "pages/svg.h"

/* Every chart is drawn on a sheet of this width and scaled to its place by the browser. */
#define SHEET_WIDTH 360.0

/* Opens <svg role="img"> with its title and description, and <g> for the shapes; svg_frame_close() closes both. */
void svg_frame_open(struct html *h, const char *id, const char *title, const char *description, double height);
void svg_frame_close(struct html *h);

void svg_line(struct html *h, const char *classes, double x1, double y1, double x2, double y2);
void svg_rect(struct html *h, const char *classes, double x, double y, double width, double height);
/* `anchor`: "start", "middle" or "end". */
void svg_label(struct html *h, const char *classes, double x, double y, const char *anchor, const char *text);
/* The shape of a verdict around a point. */
void svg_mark(struct html *h, enum svg_verdict verdict, double x, double y, double radius);
const char *svg_verdict_word(enum svg_verdict verdict);

/* A tick's label with as many digits as the step needs. */
const char *svg_tick(double value, double step, char out[SVG_NUMBER_SIZE]);

#endif
