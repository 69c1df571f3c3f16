#include "trigger/row.h"

#include <math.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "trigger/row_private.h"

/* yajl's memory for one line: what does not fit here (its buffers double with the longest text) is allocated apart. */
#define YAJL_BYTES 8192
#define YAJL_MORE_MAX 64

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
  bool failed; /* `err` says why */
  unsigned depth;
  uint32_t scopes;
  struct level levels[OBSERVE_DEPTH_MAX];
  uint32_t key;             /* index of the newest key */
  int wanted, reserved_key; /* who wants the value that comes next */
  bool escapes_checked;
  char *unescaped; /* texts that stand in the line in another form; as long as the longest such line was */
  size_t unescaped_len, unescaped_size;

  size_t memory_used, n_more;
  void *more[YAJL_MORE_MAX];
  _Alignas(16) char memory[YAJL_BYTES];
};

/* ---- yajl's memory: given back as a whole after each line ---- */

static void *take_memory(void *ctx, size_t size) {
  struct row_parser *p = ctx;
  size_t need = (size + 16 + 15) & ~(size_t)15; /* its size stands before it */
  char *at = p->memory + p->memory_used;
  if (need <= YAJL_BYTES - p->memory_used) {
    p->memory_used += need;
  } else {
    ORCH_ASSERT(p->n_more < YAJL_MORE_MAX);
    at = p->more[p->n_more++] = mem_alloc(need);
  }
  memcpy(at + 16 - sizeof size, &size, sizeof size);
  return at + 16;
}

static void *retake_memory(void *ctx, void *old, size_t size) {
  void *grown = take_memory(ctx, size);
  size_t had = 0;
  if (old) memcpy(&had, (char *)old - sizeof had, sizeof had);
  if (had) memcpy(grown, old, had < size ? had : size);
  return grown;
}

static void drop_memory(void *ctx, void *old) {}

static void drop_all_memory(struct row_parser *p) {
  while (p->n_more) mem_free(p->more[--p->n_more]);
  p->memory_used = 0;
}

/* ---- events ---- */

/* The reason stands in p->err; 0 makes yajl stop. */
static int refuse(struct row_parser *p) {
  p->failed = true;
  return 0;
}

/* A value begins: at the top only an object may. */
static bool may_begin(struct row_parser *p) {
  if (p->depth) return true;
  err_set(p->err, ERR_INVALID, "a row must be a JSON object");
  return refuse(p);
}

/* Puts the value where somebody wants it. Inside an array nobody does: its key has got ROW_BAD already. */
static void put(struct row_parser *p, struct row_cell cell) {
  for (int i = p->wanted; i != ROW_WANTED_NONE; i = p->also[i]) p->cells[i] = cell;
  if (p->reserved_key != ROW_WANTED_NONE) p->reserved[p->reserved_key] = cell;
  p->wanted = p->reserved_key = ROW_WANTED_NONE;
}

static int on_null(void *ctx) {
  struct row_parser *p = ctx;
  if (!may_begin(p)) return 0;
  put(p, (struct row_cell){.kind = ROW_NULL});
  return 1;
}

static int on_boolean(void *ctx, int value) {
  struct row_parser *p = ctx;
  if (!may_begin(p)) return 0;
  put(p, (struct row_cell){ROW_BOOL, value ? 1 : 0, value ? "true" : "false", value ? 4 : 5});
  return 1;
}

/* yajl has checked the grammar. Without an exponent so few digits cannot overflow. */
static int on_number(void *ctx, const char *text, size_t len) {
  struct row_parser *p = ctx;
  double number = 0;
  if (!may_begin(p)) return 0;
  if (len > OBSERVE_NUMBER_MAX) {
    err_set(p->err, ERR_LIMIT, "a number of more than %d characters", OBSERVE_NUMBER_MAX);
    return refuse(p);
  }
  bool is_wanted = p->wanted != ROW_WANTED_NONE || p->reserved_key != ROW_WANTED_NONE, has_exponent = false;
  for (size_t i = 0; i < len && !is_wanted && !has_exponent; i++) has_exponent = (text[i] | 0x20) == 'e';
  if (!is_wanted && !has_exponent) return 1;
  if (!number_parse(text, len, &number) || !isfinite(number)) {
    err_set(p->err, ERR_INVALID, "a number too large for a double");
    return refuse(p);
  }
  put(p, (struct row_cell){ROW_NUMBER, number, text, len});
  return 1;
}

static int hex4(const char *at) {
  int value = 0;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/* yajl writes "?" for half a surrogate pair, and takes a NUL; neither can be stored as text. Backslashes stand in
 * strings only, so the line is walked once for all of them. */
static bool check_escapes(struct row_parser *p) {
  const char *end = p->line + p->len;
  p->escapes_checked = true;
  for (const char *at = p->line; (at = memchr(at, '\\', (size_t)(end - at))) && end - at >= 2;) {
    int code = at[1] == 'u' && end - at >= 6 ? hex4(at + 2) : -1;
    if (code < 0) {
      at += 2; /* another escape, or one that yajl refuses */
      continue;
    }
    at += 6;
    if (code == 0) return err_set(p->err, ERR_INVALID, "a NUL character (\\u0000) in a text");
    if (code < 0xd800 || code > 0xdfff) continue;
    int low = code < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? hex4(at + 2) : -1;
    if (low < 0xdc00 || low > 0xdfff) return err_set(p->err, ERR_INVALID, "half a surrogate pair (\\u%04x)", code);
    at += 6;
  }
  return true;
}

static bool is_in_line(const struct row_parser *p, const char *text) {
  uintptr_t at = (uintptr_t)text, from = (uintptr_t)p->line;
  return at >= from && at <= from + p->len;
}

static int on_string(void *ctx, const unsigned char *bytes, size_t len) {
  struct row_parser *p = ctx;
  const char *text = (const char *)bytes;
  if (!may_begin(p)) return 0;
  if (!is_in_line(p, text)) {
    if (!p->escapes_checked && !check_escapes(p)) return refuse(p);
    /* yajl uses its buffer again. What was unescaped is shorter than it was, so all of the line's texts fit. */
    if (p->unescaped_size < p->len) { /* the line's first: nothing points here yet */
      ORCH_ASSERT(p->unescaped_len == 0);
      p->unescaped = mem_realloc(p->unescaped, p->len);
      p->unescaped_size = p->len;
    }
    ORCH_ASSERT(p->unescaped_len + len <= p->unescaped_size);
    char *copy = p->unescaped + p->unescaped_len;
    memcpy(copy, text, len);
    p->unescaped_len += len;
    text = copy;
  }
  put(p, (struct row_cell){.kind = ROW_TEXT, .text = text, .len = len});
  return 1;
}

static int on_key(void *ctx, const unsigned char *bytes, size_t len) {
  struct row_parser *p = ctx;
  const char *text = (const char *)bytes;
  if (!is_in_line(p, text) && !p->escapes_checked && !check_escapes(p)) return refuse(p);
  const struct row_name *name = row_names_next(&p->names, p->levels[p->depth - 1].place, text, len, p->err);
  if (!name) return refuse(p);
  p->key = p->names.next - 1;
  p->wanted = name->wanted;
  p->reserved_key = name->reserved;
  return 1;
}

static bool enter(struct row_parser *p, struct level level) {
  put(p, (struct row_cell){.kind = ROW_BAD});
  if (p->depth == OBSERVE_DEPTH_MAX) {
    err_set(p->err, ERR_LIMIT, "nested deeper than %d", OBSERVE_DEPTH_MAX);
    return refuse(p);
  }
  p->levels[p->depth++] = level;
  return true;
}

static int on_start_map(void *ctx) {
  struct row_parser *p = ctx;
  struct level level = {.place = {.scope = 0, .opener = ROW_NO_OPENER}};
  if (p->depth) {
    const struct level *outer = &p->levels[p->depth - 1];
    if (outer->is_array)
      level.place.scope = ++p->scopes;
    else
      level.place = (struct row_place){outer->place.scope, p->key};
  }
  return enter(p, level);
}

static int on_start_array(void *ctx) {
  struct row_parser *p = ctx;
  return may_begin(p) && enter(p, (struct level){.is_array = true});
}

static int on_end(void *ctx) {
  struct row_parser *p = ctx;
  p->depth--;
  return 1;
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end,
};

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

/* yajl's words come with a picture of the line and newlines; one line of them is enough. */
static void say_syntax(struct row_parser *p, yajl_handle yajl) {
  unsigned char *text = yajl_get_error(yajl, 0, (const unsigned char *)p->line, p->len);
  size_t len = strcspn((const char *)text, "\n");
  err_set(p->err, ERR_INVALID, "no JSON: %.*s (column %zu)", (int)(len < 100 ? len : 100), (const char *)text,
          yajl_get_bytes_consumed(yajl) + (yajl_get_bytes_consumed(yajl) < p->len));
}

static bool read_line(struct row_parser *p) {
  yajl_alloc_funcs funcs = {.malloc = take_memory, .realloc = retake_memory, .free = drop_memory, .ctx = p};
  yajl_handle yajl = yajl_alloc(&callbacks, &funcs, p);
  yajl_config(yajl, yajl_dont_validate_strings, 1); /* it was done, and better */
  bool fine = yajl_parse(yajl, (const unsigned char *)p->line, p->len) == yajl_status_ok &&
              yajl_complete_parse(yajl) == yajl_status_ok;
  if (!fine && !p->failed) say_syntax(p, yajl);
  if (!fine) return false;
  if (p->names.next == 0) return err_set(p->err, ERR_INVALID, "a row without columns");
  return true;
}

bool row_parse(struct row_parser *p, const char *line, size_t len, struct err *err) {
  struct err ignored = {0};
  p->line = line;
  p->len = len;
  p->err = err ? err : &ignored;
  p->failed = p->escapes_checked = false;
  p->depth = p->scopes = 0;
  p->unescaped_len = 0;
  p->wanted = p->reserved_key = ROW_WANTED_NONE;
  forget(p);
  row_names_start(&p->names);
  if (len > OBSERVE_LINE_MAX)
    return err_set(err, ERR_LIMIT, "a line of %zu bytes; at most %d are taken", len, OBSERVE_LINE_MAX);
  if (!utf8_is_valid(line, len)) return err_set(err, ERR_INVALID, "no JSON: the line is no UTF-8");
  bool fine = read_line(p);
  drop_all_memory(p);
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
