/* Sparklines: a few numbers as a line of blocks, for a terminal. */
#ifndef ORCH_CLI_CLI_SPARK_H
#define ORCH_CLI_CLI_SPARK_H

#include <stdbool.h>
#include <stddef.h>

#define SPARK_GLYPH_MAX 5 /* bytes, with the NUL */
#define SPARK_LEVELS 8

/* What the numbers of one line are drawn between. */
struct spark_scale {
  double low, high;
};

/* From the smallest to the largest of the values and, when it is finite, the threshold. NaN is a missing value. */
struct spark_scale spark_scale(const double *values, size_t count, double threshold);
/* 0 (at or under low) to SPARK_LEVELS - 1 (at or over high); the middle when all are the same. `value` is no NaN. */
int spark_level(const struct spark_scale *scale, double value);
/* One column: U+2581 to U+2588, or with utf8 false a rising row of ASCII; a dot for NaN. */
void spark_glyph(const struct spark_scale *scale, double value, bool utf8, char out[SPARK_GLYPH_MAX]);
/* Does the terminal's locale say that it shows UTF-8? */
bool spark_utf8(void);

#endif
