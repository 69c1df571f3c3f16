#include "trigger/observe.h"

#include <string.h>

#include "base/clock.h"

/* Counts keys and depth; jansson itself has refused what is no JSON, duplicates and broken UTF-8. */
static bool bounded(json_t *value, unsigned depth, size_t *keys, struct err *err) {
  if (!json_is_object(value) && !json_is_array(value)) return true;
  if (depth > OBSERVE_DEPTH_MAX) return err_set(err, ERR_LIMIT, "nested deeper than %d", OBSERVE_DEPTH_MAX);
  if (json_is_array(value)) {
    size_t index;
    json_t *item;
    json_array_foreach(value, index, item) if (!bounded(item, depth + 1, keys, err)) return false;
    return true;
  }
  const char *name;
  json_t *item;
  *keys += json_object_size(value);
  if (*keys > OBSERVE_COLUMNS_MAX) return err_set(err, ERR_LIMIT, "more than %d columns", OBSERVE_COLUMNS_MAX);
  json_object_foreach(value, name, item) {
    if (!*name) return err_set(err, ERR_INVALID, "a column without a name");
    if (strlen(name) > OBSERVE_NAME_MAX)
      return err_set(err, ERR_LIMIT, "a column name of more than %d bytes", OBSERVE_NAME_MAX);
    if (!bounded(item, depth + 1, keys, err)) return false;
  }
  return true;
}

json_t *observe_row(const char *line, size_t len, struct err *err) {
  if (len > OBSERVE_LINE_MAX) {
    err_set(err, ERR_LIMIT, "a line of %zu bytes; at most %d are taken", len, OBSERVE_LINE_MAX);
    return NULL;
  }
  json_error_t problem;
  json_t *row = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &problem);
  if (!row) {
    err_set(err, ERR_INVALID, "no JSON: %.100s (column %d)", problem.text, problem.column);
    return NULL;
  }
  size_t keys = 0;
  if (!json_is_object(row))
    err_set(err, ERR_INVALID, "a row must be a JSON object");
  else if (json_object_size(row) == 0)
    err_set(err, ERR_INVALID, "a row without columns");
  else if (bounded(row, 1, &keys, err))
    return row;
  json_decref(row);
  return NULL;
}

bool observe_row_time(const json_t *row, int64_t *ret_wall_us) {
  static const char *const names[] = {"at", "timestamp"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const char *text = json_string_value(json_object_get(row, names[i]));
    if (text && clock_parse_rfc3339(text, ret_wall_us)) return true;
  }
  return false;
}

static void reject(struct observe_batch *batch, uint64_t line, const struct err *why) {
  batch->rejected++;
  if (batch->n_errors == OBSERVE_ERRORS_MAX) return;
  struct observe_error *error = &batch->errors[batch->n_errors++];
  error->line = line;
  size_t len = strnlen(why->text, sizeof error->text - 1);
  memcpy(error->text, why->text, len);
  error->text[len] = 0;
}

static void take_line(struct observe_batch *batch, struct row_parser *parser, uint64_t number, const char *line,
                      size_t len) {
  while (len && line[len - 1] == '\r') len--;
  bool blank = true;
  for (size_t i = 0; i < len && blank; i++) blank = line[i] == ' ' || line[i] == '\t';
  if (blank) return;
  struct err why = {0};
  if (!row_parse(parser, line, len, &why)) {
    reject(batch, number, &why);
    return;
  }
  strbuf_add(&batch->accepted, line, len);
  strbuf_putc(&batch->accepted, '\n');
  batch->rows++;
}

bool observe_parse(struct observe_batch *batch, const char *body, size_t len, struct err *err) {
  *batch = (struct observe_batch){0};
  strbuf_init(&batch->accepted, OBSERVE_BODY_MAX + 1); /* one newline more when the last line has none */
  if (len > OBSERVE_BODY_MAX)
    return err_set(err, ERR_LIMIT, "a body of %zu bytes; at most %d are taken, send smaller batches", len,
                   OBSERVE_BODY_MAX);
  uint64_t number = 0;
  struct row_parser *parser = row_parser_new(NULL, 0, NULL);
  for (const char *at = body, *end = body + len; at < end;) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline : end;
    take_line(batch, parser, ++number, at, (size_t)(stop - at));
    at = newline ? newline + 1 : end;
  }
  row_parser_free(parser);
  return true;
}

void observe_fini(struct observe_batch *batch) {
  strbuf_fini(&batch->accepted);
}

void observe_answer(const struct observe_batch *batch, struct strbuf *out) {
  strbuf_printf(out, "{\"accepted\":%d,\"rejected\":[", batch->rows);
  for (size_t i = 0; i < batch->n_errors; i++) {
    strbuf_printf(out, "%s{\"line\":%llu,\"error\":", i ? "," : "", (unsigned long long)batch->errors[i].line);
    strbuf_add_json(out, batch->errors[i].text);
    strbuf_putc(out, '}');
  }
  strbuf_printf(out, "],\"rejected_count\":%llu}", (unsigned long long)batch->rejected);
}
