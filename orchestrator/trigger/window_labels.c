/* What monitors of labels and of estimates share: predictions and labels as classes, numbers and probabilities. */
#include "trigger/window_labels.h"

#include <math.h>
#include <string.h>

#include "stats/number.h"

static bool number_in(const struct row_cell *cell, double *ret) {
  if (cell->kind == ROW_NUMBER || cell->kind == ROW_BOOL) {
    *ret = cell->number;
    return true;
  }
  return cell->kind == ROW_TEXT && number_parse(cell->text, cell->len, ret) && isfinite(*ret);
}

bool label_number(const struct row_cell *cell, double *ret) {
  return cell->kind != ROW_BOOL && number_in(cell, ret);
}

bool label_class(const struct row_cell *cell, struct label_class *ret) {
  double number;
  ret->text = NULL;
  if (cell->kind == ROW_BOOL || (cell->kind == ROW_TEXT && !number_in(cell, &number))) {
    ret->text = cell->text;
    ret->len = cell->len;
    return true;
  }
  if (!number_in(cell, &number)) return false;
  ret->len = category_number_text(number, ret->own);
  ret->text = ret->own;
  return true;
}

bool label_is_positive(const struct row_cell *cell, const char *positive, bool *ret) {
  struct label_class is;
  if (!label_class(cell, &is)) return false;
  if (!positive) {
    *ret = (is.len == 1 && *is.text == '1') || (is.len == 4 && memcmp(is.text, "true", 4) == 0);
    return true;
  }
  struct row_cell want = {.kind = ROW_TEXT, .text = positive, .len = strlen(positive)};
  struct label_class wanted;
  *ret = label_class(&want, &wanted) && wanted.len == is.len && memcmp(wanted.text, is.text, is.len) == 0;
  return true;
}
