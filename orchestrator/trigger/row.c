#include "trigger/row.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "stats/fastcsv.h"
#include "trigger/row_lex.h"
#include "trigger/row_private.h"

struct level {
  bool is_array;
  struct row_place place; /* of the keys in it */
};

struct row_parser {
  struct row_names names;
  size_t n_cells;
  struct row_cell *cells;
  struct row_cell reserved[ROW_KEYS];
  int *also; /* per wanted name: the next one that is the same name, or ROW_WANTED_NONE */

  /* the line at hand */
  const char *line;
  size_t len;
  struct err *err;
  unsigned depth;
  uint32_t scopes;
  struct level levels[OBSERVE_DEPTH_MAX];
  uint32_t key;             /* index of the newest key */
  int wanted, reserved_key; /* who wants the value that comes next */
  char *unescaped;          /* texts that stand in the line in another form; as long as the longest such line was */
  size_t unescaped_len, unescaped_size;
};

/* ---- tokens ---- */

/* Puts the value where somebody wants it. Inside an array nobody does: its key has got ROW_BAD already. */
static inline void put(struct row_parser *p, struct row_cell cell) {
  for (int i = p->wanted; i != ROW_WANTED_NONE; i = p->also[i]) p->cells[i] = cell;
  if (p->reserved_key != ROW_WANTED_NONE) p->reserved[p->reserved_key] = cell;
  p->wanted = p->reserved_key = ROW_WANTED_NONE;
}

/* The lexer has checked the grammar. Without an exponent so few digits cannot overflow. */
static bool take_number(struct row_parser *p, const struct row_lex *lex) {
  double number = 0;
  if (lex->len > OBSERVE_NUMBER_MAX)
    return err_set(p->err, ERR_LIMIT, "a number of more than %d characters", OBSERVE_NUMBER_MAX);
  bool wanted = p->wanted != ROW_WANTED_NONE || p->reserved_key != ROW_WANTED_NONE;
  if (!wanted && !lex->exponent) return true;
  bool quick = lex->end - lex->text >= FASTCSV_PADDING && fastcsv_number(lex->text, &number) == lex->text + lex->len;
  if ((!quick && !number_parse(lex->text, lex->len, &number)) || !isfinite(number))
    return err_set(p->err, ERR_INVALID, "a number too large for a double");
  put(p, (struct row_cell){ROW_NUMBER, number, lex->text, lex->len});
  return true;
}

/* The token's text without its escapes, which stays until the next line. */
static bool plain_text(struct row_parser *p, struct row_lex *lex) {
  if (!lex->escaped) return true;
  /* What was unescaped is shorter than it was, so all of the line's texts fit. */
  if (p->unescaped_size < p->len) { /* the line's first: nothing points here yet */
    ORCH_ASSERT(p->unescaped_len == 0);
    p->unescaped = mem_realloc(p->unescaped, p->len);
    p->unescaped_size = p->len;
  }
  char *copy = p->unescaped + p->unescaped_len;
  ORCH_ASSERT(p->unescaped_len + lex->len <= p->unescaped_size);
  if (!row_lex_unescape(lex->text, lex->len, copy, &lex->len, p->err)) return false;
  p->unescaped_len += lex->len;
  lex->text = copy;
  return true;
}

static bool take_key(struct row_parser *p, struct row_lex *lex) {
  if (!plain_text(p, lex)) return false;
  const struct row_name *name = row_names_next(&p->names, p->levels[p->depth - 1].place, lex->text, lex->len, p->err);
  if (!name) return false;
  p->key = p->names.next - 1;
  p->wanted = name->wanted;
  p->reserved_key = name->reserved;
  return true;
}

static bool enter(struct row_parser *p, bool is_array) {
  struct level level = {.is_array = is_array, .place = {.scope = 0, .opener = ROW_NO_OPENER}};
  if (p->depth && !is_array) {
    const struct level *outer = &p->levels[p->depth - 1];
    if (outer->is_array)
      level.place.scope = ++p->scopes;
    else
      level.place = (struct row_place){outer->place.scope, p->key};
  }
  put(p, (struct row_cell){.kind = ROW_BAD});
  if (p->depth == OBSERVE_DEPTH_MAX) return err_set(p->err, ERR_LIMIT, "nested deeper than %d", OBSERVE_DEPTH_MAX);
  p->levels[p->depth++] = level;
  return true;
}

static bool take_token(struct row_parser *p, struct row_lex *lex, enum row_token token) {
  if (p->depth == 0 && token != ROW_LEX_MAP) return err_set(p->err, ERR_INVALID, "a row must be a JSON object");
  switch (token) {
  case ROW_LEX_KEY:
    return take_key(p, lex);
  case ROW_LEX_NUMBER:
    return take_number(p, lex);
  case ROW_LEX_STRING:
    if (!plain_text(p, lex)) return false;
    put(p, (struct row_cell){.kind = ROW_TEXT, .text = lex->text, .len = lex->len});
    return true;
  case ROW_LEX_TRUE:
    put(p, (struct row_cell){ROW_BOOL, 1, "true", 4});
    return true;
  case ROW_LEX_FALSE:
    put(p, (struct row_cell){ROW_BOOL, 0, "false", 5});
    return true;
  case ROW_LEX_NULL:
    put(p, (struct row_cell){.kind = ROW_NULL});
    return true;
  case ROW_LEX_MAP:
  case ROW_LEX_ARRAY:
    return enter(p, token == ROW_LEX_ARRAY);
  case ROW_LEX_CLOSE:
    p->depth--;
    return true;
  case ROW_LEX_BAD:
  case ROW_LEX_END:
    break;
  }
  return false;
}

/* ---- lines ---- */

struct row_parser *row_parser_new(const char *const *names, size_t n, const struct row_keys *keys) {
  static const struct row_keys defaults = {0};
  struct row_parser *p = mem_alloc(sizeof *p);
  if (!keys) keys = &defaults;
  const char *const reserved[ROW_KEYS] = {
      [ROW_ID] = keys->id ? keys->id : "id",
      [ROW_AT] = keys->at ? keys->at : "at",
      [ROW_TIMESTAMP] = keys->at ? NULL : "timestamp",
      [ROW_PREDICTION] = keys->prediction ? keys->prediction : "prediction",
      [ROW_SCORE] = keys->score ? keys->score : "score",
      [ROW_VERSION] = keys->version ? keys->version : "version",
      [ROW_LATENCY] = keys->latency ? keys->latency : "latency_ms",
  };
  p->n_cells = n;
  p->cells = mem_calloc(n + 1, sizeof p->cells[0]);
  p->also = mem_calloc(n + 1, sizeof p->also[0]);
  row_names_init(&p->names, names, n, reserved, p->also);
  return p;
}

void row_parser_free(struct row_parser *p) {
  if (!p) return;
  row_names_fini(&p->names);
  mem_free(p->cells);
  mem_free(p->also);
  mem_free(p->unescaped);
  mem_free(p);
}

static void forget(struct row_parser *p) {
  memset(p->cells, 0, p->n_cells * sizeof p->cells[0]);
  memset(p->reserved, 0, sizeof p->reserved);
}

static bool read_line(struct row_parser *p) {
  struct row_lex lex;
  enum row_token token;
  row_lex_init(&lex, p->line, p->len);
  while ((token = row_lex_next(&lex)) > ROW_LEX_END)
    if (!take_token(p, &lex, token)) return false;
  if (token == ROW_LEX_BAD) {
    row_lex_why(&lex, p->err);
    return false;
  }
  if (p->names.next == 0) return err_set(p->err, ERR_INVALID, "a row without columns");
  return true;
}

bool row_parse(struct row_parser *p, const char *line, size_t len, struct err *err) {
  struct err ignored = {0};
  p->line = line;
  p->len = len;
  p->err = err ? err : &ignored;
  p->depth = p->scopes = 0;
  p->unescaped_len = 0;
  p->wanted = p->reserved_key = ROW_WANTED_NONE;
  forget(p);
  row_names_start(&p->names);
  if (len > OBSERVE_LINE_MAX)
    return err_set(err, ERR_LIMIT, "a line of %zu bytes; at most %d are taken", len, OBSERVE_LINE_MAX);
  if (!utf8_is_valid(line, len)) return err_set(err, ERR_INVALID, "no JSON: the line is no UTF-8");
  bool fine = read_line(p);
  if (!fine) forget(p);
  p->err = NULL;
  return fine;
}

const struct row_cell *row_cells(const struct row_parser *p) {
  return p->cells;
}
const struct row_cell *row_key(const struct row_parser *p, enum row_key key) {
  return &p->reserved[key];
}

bool row_time(const struct row_parser *p, int64_t *ret_wall_us) {
  static const enum row_key keys[] = {ROW_AT, ROW_TIMESTAMP};
  for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
    const struct row_cell *cell = &p->reserved[keys[i]];
    char text[64];
    if (cell->kind != ROW_TEXT || cell->len >= sizeof text) continue;
    memcpy(text, cell->text, cell->len);
    text[cell->len] = 0;
    if (clock_parse_rfc3339(text, ret_wall_us)) return true;
  }
  return false;
}

struct cell row_number(const struct row_cell *cell) {
  switch (cell->kind) {
  case ROW_ABSENT:
  case ROW_NULL:
    return cell_null();
  case ROW_NUMBER:
  case ROW_BOOL:
    return cell_number(cell->number);
  case ROW_TEXT:
    return cell_from_json_text(cell->text, cell->len);
  case ROW_BAD:
    break;
  }
  return cell_bad();
}

bool row_category(const struct row_cell *cell, const char **ret_text, size_t *ret_len) {
  if (cell->kind != ROW_TEXT && cell->kind != ROW_NUMBER && cell->kind != ROW_BOOL) return false;
  *ret_text = cell->text;
  *ret_len = cell->len;
  return true;
}
