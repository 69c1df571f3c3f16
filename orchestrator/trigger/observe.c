#include "trigger/observe.h"

#include <string.h>

#include "base/mem.h"

void observe_reject(struct observe_batch *batch, uint64_t line, const struct err *why) {
  batch->rejected++;
  if (batch->n_errors == OBSERVE_ERRORS_MAX) return;
  struct observe_error *error = &batch->errors[batch->n_errors++];
  error->line = line;
  size_t len = strnlen(why->text, sizeof error->text - 1);
  memcpy(error->text, why->text, len);
  error->text[len] = 0;
}

void observe_each_line(const char *body, size_t len,
                       void (*take)(void *arg, uint64_t number, const char *line, size_t n), void *arg) {
  uint64_t number = 0;
  size_t mark = len >= 3 && memcmp(body, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* of byte order */
  for (const char *at = body + mark, *end = body + len; at < end;) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline : end;
    size_t n = (size_t)(stop - at);
    while (n && at[n - 1] == '\r') n--;
    size_t blanks = 0;
    while (blanks < n && (at[blanks] == ' ' || at[blanks] == '\t')) blanks++;
    number++;
    if (blanks < n) take(arg, number, at, n);
    at = newline ? newline + 1 : end;
  }
}

/* ---- predictions ---- */

/* Begins an element of an array literal, and the literal with the first. */
static void element(struct strbuf *out) {
  strbuf_putc(out, out->len ? ',' : '{');
}

void observe_add_text(struct strbuf *out, const struct row_cell *cell) {
  element(out);
  if (cell->kind != ROW_TEXT && cell->kind != ROW_NUMBER && cell->kind != ROW_BOOL) {
    strbuf_puts(out, "NULL");
    return;
  }
  strbuf_putc(out, '"');
  size_t from = 0; /* not written yet */
  for (size_t i = 0; i < cell->len; i++) {
    if (cell->text[i] != '"' && cell->text[i] != '\\') continue;
    strbuf_add(out, cell->text + from, i - from);
    strbuf_putc(out, '\\');
    from = i;
  }
  strbuf_add(out, cell->text + from, cell->len - from);
  strbuf_putc(out, '"');
}

void observe_add_int(struct strbuf *out, bool present, int64_t value) {
  char text[24], *at = text + sizeof text; /* as printf() would, in a fifth of its time: it is done for every row */
  element(out);
  if (!present) return strbuf_puts(out, "NULL");
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do *--at = (char)('0' + rest % 10);
  while (rest /= 10);
  if (value < 0) *--at = '-';
  strbuf_add(out, at, (size_t)(text + sizeof text - at));
}

/* A version: 3, "3" or "housing@3". Anything else says nothing. */
static int version_of(const struct row_cell *cell) {
  if (cell->kind != ROW_TEXT && cell->kind != ROW_NUMBER) return 0;
  const char *text = cell->text, *at = memrchr(text, '@', cell->len);
  size_t len = cell->len;
  if (at) {
    len -= (size_t)(at + 1 - text);
    text = at + 1;
  }
  int version = 0;
  for (size_t i = 0; i < len; i++) {
    if (text[i] < '0' || text[i] > '9' || i == 9) return 0;
    version = version * 10 + (text[i] - '0');
  }
  return version;
}

/* Ids and predictions are stored as texts of their own, so they have bounds that other cells have not. */
static bool check_prediction(const struct row_parser *row, struct err *err) {
  const struct row_cell *id = row_key(row, ROW_ID), *prediction = row_key(row, ROW_PREDICTION);
  if (id->kind == ROW_BAD || id->kind == ROW_BOOL)
    return err_set(err, ERR_INVALID, "the id must be a text or a number");
  if (id->kind == ROW_TEXT && id->len == 0) return err_set(err, ERR_INVALID, "the id is empty");
  if (id->len > OBSERVE_ID_MAX) return err_set(err, ERR_LIMIT, "an id of more than %d bytes", OBSERVE_ID_MAX);
  if (prediction->kind == ROW_BAD) return err_set(err, ERR_INVALID, "the prediction must be one value");
  if (prediction->len > OBSERVE_ID_MAX)
    return err_set(err, ERR_LIMIT, "a prediction of more than %d bytes", OBSERVE_ID_MAX);
  return true;
}

static void add_prediction(struct observe_predictions *p, const struct row_parser *row, int number, bool timed,
                           int64_t at_us) {
  const struct row_cell *id = row_key(row, ROW_ID), *score = row_key(row, ROW_SCORE);
  if (id->kind != ROW_TEXT && id->kind != ROW_NUMBER) return;
  int version = version_of(row_key(row, ROW_VERSION));
  observe_add_int(&p->row, true, number);
  observe_add_text(&p->id, id);
  observe_add_int(&p->at, timed, at_us);
  observe_add_int(&p->version, version > 0, version);
  observe_add_text(&p->prediction, row_key(row, ROW_PREDICTION));
  element(&p->score);
  if (score->kind != ROW_NUMBER)
    strbuf_puts(&p->score, "NULL");
  else if (memchr(score->text, 'e', score->len) || memchr(score->text, 'E', score->len))
    strbuf_printf(&p->score, "%.17g", score->number); /* as it is written it might be too small for PostgreSQL */
  else
    strbuf_add(&p->score, score->text, score->len);
  p->n++;
}

/* ---- bodies ---- */

struct judging {
  struct observe_batch *batch;
  const struct observe_plan *plan;
  const char *end; /* of the body */
};

/* Most bodies hold accepted lines and nothing else: then there is nothing to copy. */
static void keep_line(const struct judging *judging, const char *line, size_t len) {
  struct observe_batch *batch = judging->batch;
  if (!batch->copied && batch->bytes == 0) batch->lines = line;
  if (!batch->copied && line == batch->lines + batch->bytes && line + len < judging->end && line[len] == '\n') {
    batch->bytes += len + 1;
    return;
  }
  if (!batch->copied) strbuf_add(&batch->copy, batch->lines, batch->bytes);
  batch->copied = true;
  strbuf_add(&batch->copy, line, len);
  strbuf_putc(&batch->copy, '\n');
  batch->lines = batch->copy.data;
  batch->bytes = batch->copy.len;
}

/* The part that the next line belongs to. */
static struct observe_part *part_for(struct observe_batch *batch, size_t bytes) {
  struct observe_part *part = batch->n_parts ? &batch->parts[batch->n_parts - 1] : NULL;
  if (!part || part->bytes + bytes > OBSERVE_PART_BYTES) {
    if (batch->n_parts == batch->parts_size) {
      batch->parts_size = batch->parts_size ? 2 * batch->parts_size : 4;
      batch->parts = mem_realloc(batch->parts, batch->parts_size * sizeof batch->parts[0]);
    }
    ORCH_ASSERT(batch->parts != NULL);
    part = &batch->parts[batch->n_parts++];
    *part = (struct observe_part){.from = batch->bytes};
  }
  part->bytes += bytes;
  part->rows++;
  return part;
}

static void add_time(struct observe_part *part, bool timed, int64_t at_us) {
  if (!timed) {
    part->untimed = true;
    return;
  }
  if (!part->timed || at_us < part->min_us) part->min_us = at_us;
  if (!part->timed || at_us > part->max_us) part->max_us = at_us;
  part->timed = true;
}

static void take_line(void *arg, uint64_t number, const char *line, size_t len) {
  const struct judging *judging = arg;
  struct observe_batch *batch = judging->batch;
  struct row_parser *row = judging->plan->parser;
  struct err why = {0};
  int64_t at_us = 0;
  bool fine = row_parse(row, line, len, &why) && (!judging->plan->labels || check_prediction(row, &why));
  bool timed = fine && row_time(row, &at_us);
  if (timed && at_us < 0)
    fine = err_set(&why, ERR_INVALID, "the row's time is before 1970: some program's idea of no time");
  if (!fine) return observe_reject(batch, number, &why);
  add_time(part_for(batch, len + 1), timed, at_us);
  keep_line(judging, line, len);
  if (judging->plan->labels) add_prediction(&batch->predictions, row, batch->rows, timed, at_us);
  batch->times_unread +=
      !timed && (row_key(row, ROW_AT)->kind > ROW_NULL || row_key(row, ROW_TIMESTAMP)->kind > ROW_NULL);
  batch->rows++;
}

static void each_list(struct observe_predictions *p, void (*call)(struct strbuf *list)) {
  struct strbuf *const lists[] = {&p->row, &p->id, &p->at, &p->version, &p->prediction, &p->score};
  for (size_t i = 0; i < ARRAY_LEN(lists); i++) call(lists[i]);
}

static void start_list(struct strbuf *list) {
  strbuf_init(list,
              (size_t)4 * OBSERVE_BODY_MAX); /* each is smaller than twice the lines that it comes from, and NULLs */
}

bool observe_parse(struct observe_batch *batch, const struct observe_plan *plan, const char *body, size_t len,
                   struct err *err) {
  *batch = (struct observe_batch){.lines = ""};
  struct judging judging = {batch, plan, body + len};
  strbuf_init(&batch->copy, OBSERVE_BODY_MAX + 1); /* one newline more when the last line has none */
  each_list(&batch->predictions, start_list);
  if (len > OBSERVE_BODY_MAX)
    return err_set(err, ERR_LIMIT, "a body of %zu bytes; at most %d are taken, send smaller batches", len,
                   OBSERVE_BODY_MAX);
  observe_each_line(body, len, take_line, &judging);
  if (batch->rows > OBSERVE_ROWS_MAX)
    return err_set(err, ERR_LIMIT, "a body of %d rows; at most %d are taken, send smaller batches", batch->rows,
                   OBSERVE_ROWS_MAX);
  return true;
}

void observe_fini(struct observe_batch *batch) {
  strbuf_fini(&batch->copy);
  batch->lines = "";
  batch->bytes = 0;
  each_list(&batch->predictions, strbuf_fini);
  mem_free(batch->parts);
  batch->parts = NULL;
  batch->n_parts = batch->parts_size = 0;
}

void observe_add_rejected(const struct observe_batch *batch, struct strbuf *out) {
  strbuf_puts(out, "\"rejected\":[");
  for (size_t i = 0; i < batch->n_errors; i++) {
    strbuf_printf(out, "%s{\"line\":%llu,\"error\":", i ? "," : "", (unsigned long long)batch->errors[i].line);
    strbuf_add_json(out, batch->errors[i].text);
    strbuf_putc(out, '}');
  }
  strbuf_printf(out, "],\"rejected_count\":%llu", (unsigned long long)batch->rejected);
}
