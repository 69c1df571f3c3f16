#include "trigger/observe_labels.h"

#include "base/mem.h"

struct judging {
  struct observe_labels *labels;
  struct row_parser *parser;
};

static bool check(const struct row_cell *id, const struct row_cell *label, struct err *err) {
  if ((id->kind != ROW_TEXT && id->kind != ROW_NUMBER) || id->len == 0)
    return err_set(err, ERR_INVALID, "a label needs an id: a text or a number");
  if (id->len > OBSERVE_ID_MAX) return err_set(err, ERR_LIMIT, "an id of more than %d bytes", OBSERVE_ID_MAX);
  if (label->kind != ROW_TEXT && label->kind != ROW_NUMBER && label->kind != ROW_BOOL)
    return err_set(err, ERR_INVALID, "a label is a number, a text or a boolean");
  if (label->len > OBSERVE_ID_MAX) return err_set(err, ERR_LIMIT, "a label of more than %d bytes", OBSERVE_ID_MAX);
  return true;
}

static void take_line(void *arg, uint64_t number, const char *line, size_t len) {
  const struct judging *judging = arg;
  struct observe_labels *labels = judging->labels;
  const struct row_parser *row = judging->parser;
  struct err why = {0};
  int64_t at_us = 0;
  bool fine = row_parse(judging->parser, line, len, &why) && check(row_key(row, ROW_ID), row_cells(row), &why);
  bool timed = fine && row_time(row, &at_us);
  if (fine && !timed && row_key(row, ROW_AT)->kind > ROW_NULL)
    fine = err_set(&why, ERR_INVALID, "`at` must be a time such as 2026-01-31T12:00:00Z");
  if (timed && at_us < 0) fine = err_set(&why, ERR_INVALID, "a label's time is before 1970");
  if (!fine) return observe_reject(&labels->batch, number, &why);
  observe_add_text(&labels->ids, row_key(row, ROW_ID));
  observe_add_text(&labels->labels, row_cells(row));
  observe_add_int(&labels->at, timed, at_us);
  labels->batch.rows++;
}

bool observe_labels_parse(struct observe_labels *labels, const char *body, size_t len, struct err *err) {
  static const char *const wanted[] = {"label"};
  *labels = (struct observe_labels){0};
  struct strbuf *const lists[] = {&labels->ids, &labels->labels, &labels->at};
  for (size_t i = 0; i < ARRAY_LEN(lists); i++) strbuf_init(lists[i], (size_t)4 * OBSERVE_BODY_MAX);
  if (len > OBSERVE_BODY_MAX)
    return err_set(err, ERR_LIMIT, "a body of %zu bytes; at most %d are taken, send smaller batches", len,
                   OBSERVE_BODY_MAX);
  struct judging judging = {labels, row_parser_new(wanted, ARRAY_LEN(wanted), NULL)};
  observe_each_line(body, len, take_line, &judging);
  row_parser_free(judging.parser);
  if (labels->batch.rows > OBSERVE_LABELS_MAX)
    return err_set(err, ERR_LIMIT, "a body of %d labels; at most %d are taken, send smaller batches",
                   labels->batch.rows, OBSERVE_LABELS_MAX);
  for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
    if (lists[i]->len == 0) strbuf_putc(lists[i], '{');
    strbuf_putc(lists[i], '}');
  }
  return true;
}

void observe_labels_fini(struct observe_labels *labels) {
  strbuf_fini(&labels->ids);
  strbuf_fini(&labels->labels);
  strbuf_fini(&labels->at);
  observe_fini(&labels->batch);
}

void observe_labels_values(const struct observe_labels *labels, const char *pipeline, const char *key,
                           struct db_value values[OBSERVE_LABELS_VALUES]) {
  values[0] = db_text(pipeline);
  values[1] = db_text(strbuf_text(&labels->ids));
  values[2] = db_text(strbuf_text(&labels->labels));
  values[3] = db_text(strbuf_text(&labels->at));
  values[4] = db_text(key);
}
