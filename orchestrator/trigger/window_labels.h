/* Predictions and labels as they come in rows, told apart into classes, numbers and yes or no: "1", 1 and 1.0 are one
 * class, true and "true" are another. */
#ifndef ORCH_TRIGGER_WINDOW_LABELS_H
#define ORCH_TRIGGER_WINDOW_LABELS_H

#include "stats/category.h"
#include "trigger/row.h"

struct label_class {
  const char *text; /* not NUL-terminated; valid while the row and this struct are */
  size_t len;
  char own[CATEGORY_NUMBER_SIZE];
};
/* False when the cell holds no value. */
bool label_class(const struct row_cell *cell, struct label_class *ret);
/* Numbers, and texts that are numbers. */
bool label_number(const struct row_cell *cell, double *ret);
/* Whether it is the positive class: `positive`, or, when that is NULL, 1 or true. False when the cell holds no value.
 */
bool label_is_positive(const struct row_cell *cell, const char *positive, bool *ret);

#endif
