#include "trigger/observe_csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/mem.h"
#include "stats/number.h"
#include "trigger/observe.h"

bool observe_csv_header(struct observe_csv *csv, const struct csv_field *fields, size_t n, const char *const *texts,
                        struct err *err) {
  *csv = (struct observe_csv){0};
  if (n > OBSERVE_COLUMNS_MAX)
    return err_set(err, ERR_LIMIT, "%zu columns; at most %d are taken", n, OBSERVE_COLUMNS_MAX);
  if (n == 1 && strpbrk(fields[0].text, ";\t"))
    return err_set(err, ERR_INVALID,
                   "the header names one column, with semicolons or tabs in it: fields are separated by "
                   "commas here");
  for (size_t i = 0; i < n; i++) {
    if (!utf8_is_valid(fields[i].text, fields[i].len))
      return err_set(err, ERR_INVALID, "the name of column %zu is no UTF-8: save the file as UTF-8", i + 1);
    if (fields[i].len == 0) return err_set(err, ERR_INVALID, "column %zu has no name", i + 1);
    if (fields[i].len > OBSERVE_NAME_MAX)
      return err_set(err, ERR_INVALID, "the name of column %zu has more than %d bytes", i + 1, OBSERVE_NAME_MAX);
    for (size_t j = 0; j < i; j++)
      if (strcmp(fields[i].text, fields[j].text) == 0)
        return err_set(err, ERR_INVALID, "column \"%s\" is named twice", fields[i].text);
  }
  csv->names = mem_calloc(n + 1, sizeof csv->names[0]);
  csv->as_text = mem_calloc(n + 1, sizeof csv->as_text[0]);
  for (; csv->n_names < n; csv->n_names++) {
    const char *name = csv->names[csv->n_names] = mem_strdup(fields[csv->n_names].text);
    for (size_t i = 0; texts && texts[i]; i++) csv->as_text[csv->n_names] |= strcmp(texts[i], name) == 0;
  }
  return true;
}

void observe_csv_fini(struct observe_csv *csv) {
  for (size_t i = 0; i < csv->n_names; i++) mem_free(csv->names[i]);
  mem_free(csv->names);
  mem_free(csv->as_text);
  *csv = (struct observe_csv){0};
}

/* JSON's grammar of a number is narrower than ours: no plus, no bare point, no leading zeros. */
static bool is_json_number(const char *text) {
  if (*text == '-') text++;
  size_t whole = strspn(text, "0123456789");
  if (whole == 0 || (whole > 1 && text[0] == '0')) return false;
  text += whole;
  if (*text == '.') {
    size_t fraction = strspn(text + 1, "0123456789");
    if (fraction == 0) return false;
    text += 1 + fraction;
  }
  if (*text == 'e' || *text == 'E') {
    text++;
    if (*text == '+' || *text == '-') text++;
    size_t exponent = strspn(text, "0123456789");
    if (exponent == 0) return false;
    text += exponent;
  }
  return *text == 0;
}

static void add_cell(const struct csv_field *field, struct strbuf *out) {
  struct cell cell = cell_from_text(field->text, field->len);
  if (cell.kind == CELL_NULL)
    strbuf_puts(out, "null");
  else if (cell.kind == CELL_BAD)
    strbuf_add_json(out, field->text);
  else if (isnan(cell.number))
    strbuf_puts(out, "\"NaN\"");
  else if (isinf(cell.number))
    strbuf_puts(out, cell.number > 0 ? "\"Infinity\"" : "\"-Infinity\"");
  else if (is_json_number(field->text))
    strbuf_puts(out, field->text);
  else {
    /* Rare, so the way through a JSON library is good enough: it writes no comma in any locale. */
    json_t *number = json_real(cell.number);
    char *text = json_dumps(number, JSON_ENCODE_ANY);
    strbuf_puts(out, text ? text : "null");
    free(text);
    json_decref(number);
  }
}

bool observe_csv_row(const struct observe_csv *csv, const struct csv_field *fields, size_t n, struct strbuf *out,
                     struct err *err) {
  if (n != csv->n_names)
    return err_set(err, ERR_INVALID, "%zu fields, but the header names %zu columns", n, csv->n_names);
  for (size_t i = 0; i < n; i++)
    if (!utf8_is_valid(fields[i].text, fields[i].len))
      return err_set(err, ERR_INVALID, "field %zu is no UTF-8: save the file as UTF-8", i + 1);
  for (size_t i = 0; i < n; i++) {
    strbuf_putc(out, i ? ',' : '{');
    strbuf_add_json(out, csv->names[i]);
    strbuf_putc(out, ':');
    if (csv->as_text[i] && cell_from_text(fields[i].text, fields[i].len).kind != CELL_NULL)
      strbuf_add_json(out, fields[i].text);
    else
      add_cell(&fields[i], out);
  }
  strbuf_puts(out, "}\n");
  return true;
}
