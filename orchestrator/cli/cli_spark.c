#include "cli/cli_spark.h"

#include <langinfo.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct spark_scale spark_scale(const double *values, size_t count, double threshold) {
  struct spark_scale scale = {isfinite(threshold) ? threshold : INFINITY, isfinite(threshold) ? threshold : -INFINITY};
  for (size_t i = 0; i < count; i++) {
    if (!isfinite(values[i])) continue;
    if (values[i] < scale.low) scale.low = values[i];
    if (values[i] > scale.high) scale.high = values[i];
  }
  return scale;
}

int spark_level(const struct spark_scale *scale, double value) {
  /* Halves, since the difference of two large numbers may be infinite. */
  double span = scale->high / 2 - scale->low / 2;
  if (!(span > 0)) return SPARK_LEVELS / 2;
  double share = (value / 2 - scale->low / 2) / span;
  int level = (int)(fmin(fmax(share, 0), 1) * SPARK_LEVELS);
  return level < SPARK_LEVELS ? level : SPARK_LEVELS - 1;
}

void spark_glyph(const struct spark_scale *scale, double value, bool utf8, char out[SPARK_GLYPH_MAX]) {
  static const char ascii[SPARK_LEVELS + 1] = "_.-:=+*#";
  if (isnan(value)) {
    snprintf(out, SPARK_GLYPH_MAX, "%s", utf8 ? "\xc2\xb7" : "?"); /* U+00B7, a middle dot */
    return;
  }
  int level = spark_level(scale, value);
  if (utf8) {
    snprintf(out, SPARK_GLYPH_MAX, "\xe2\x96%c", '\x81' + level);
  } else {
    snprintf(out, SPARK_GLYPH_MAX, "%c", ascii[level]);
  }
}

bool spark_utf8(void) {
  return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}
