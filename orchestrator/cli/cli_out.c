/* Output: safe text, colours, times, JSON, tables by libsmartcols. */
#include "cli/cli.h"

#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/units.h"

#define TEXT_MAX ((size_t)1 << 20)
#define COLUMNS_MAX 24

void cli_print_json(const struct cli *cli, const json_t *document) {
  char *text = json_dumps(document, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
  ORCH_ASSERT(text != NULL);
  for (const char *c = text; *c != '\0'; c++) {
    /* U+0080 to U+009F steer some terminals; JSON itself escapes only what is below U+0020. */
    if (cli->terminal && (unsigned char)c[0] == 0xc2 && ((unsigned char)c[1] & 0xe0) == 0x80) {
      printf("\\u00%02x", (unsigned)(unsigned char)*++c);
    } else {
      putchar(*c);
    }
  }
  putchar('\n');
  free(text); /* jansson's own allocation */
}

void cli_printf(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  vprintf(fmt, args);
  va_end(args);
}

const char *cli_safe(struct cli *cli, const char *text) {
  if (text == NULL) return "";
  struct strbuf safe;
  strbuf_init(&safe, TEXT_MAX);
  strbuf_add_terminal(&safe, text);
  const char *kept = arena_strdup(&cli->arena, strbuf_text(&safe));
  strbuf_fini(&safe);
  return kept != NULL ? kept : "";
}

const char *cli_member(struct cli *cli, const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  switch (value != NULL ? json_typeof(value) : JSON_NULL) {
  case JSON_STRING:
    return cli_safe(cli, json_string_value(value));
  case JSON_TRUE:
    return "yes";
  case JSON_FALSE:
    return "no";
  case JSON_INTEGER: {
    const char *text = arena_printf(&cli->arena, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return text != NULL ? text : "";
  }
  case JSON_REAL: {
    const char *text = arena_printf(&cli->arena, "%.6g", json_real_value(value));
    return text != NULL ? text : "";
  }
  default:
    return "";
  }
}

const char *cli_when(struct cli *cli, const char *rfc3339) {
  int64_t wall_us;
  if (rfc3339 == NULL || !clock_parse_rfc3339(rfc3339, &wall_us)) return cli_safe(cli, rfc3339);
  time_t seconds = (time_t)(wall_us / 1000000);
  struct tm local;
  char text[32];
  if (localtime_r(&seconds, &local) == NULL || strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local) == 0) {
    return cli_safe(cli, rfc3339);
  }
  const char *kept = arena_strdup(&cli->arena, text);
  return kept != NULL ? kept : "";
}

const char *cli_ago(struct cli *cli, const char *rfc3339) {
  int64_t wall_us;
  if (rfc3339 == NULL || !clock_parse_rfc3339(rfc3339, &wall_us)) return cli_safe(cli, rfc3339);
  int64_t past_ms = (clock_wall_us() - wall_us) / 1000;
  char span[UNITS_TEXT_SIZE];
  units_format_duration(past_ms < 0 ? -past_ms : past_ms, span);
  const char *text =
      past_ms >= 0 ? arena_printf(&cli->arena, "%s ago", span) : arena_printf(&cli->arena, "in %s", span);
  return text != NULL ? text : "";
}

const char *cli_digest(struct cli *cli, const char *digest) {
  if (digest == NULL) return "";
  const char *text = arena_strndup(&cli->arena, digest, strncmp(digest, "sha256:", 7) == 0 ? 19 : 64);
  return cli_safe(cli, text);
}

const char *cli_join(struct cli *cli, const json_t *array) {
  struct strbuf text;
  size_t i;
  json_t *item;
  strbuf_init(&text, TEXT_MAX);
  json_array_foreach(array, i, item) {
    if (i > 0) strbuf_puts(&text, ", ");
    if (json_is_string(item)) strbuf_add_terminal(&text, json_string_value(item));
    if (json_is_integer(item)) strbuf_printf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(item));
  }
  const char *kept = arena_strdup(&cli->arena, strbuf_text(&text));
  strbuf_fini(&text);
  return kept != NULL ? kept : "";
}

void cli_field(struct cli *cli, const char *name, const char *value) {
  if (value != NULL && value[0] != '\0')
    cli_printf("  %s %s\n", cli_paint(cli, CLI_DIM, arena_printf(&cli->arena, "%-12s", name)), value);
}

void cli_print_words(struct cli *cli, const char *words, size_t at) {
  enum { INDENT = 4 };
  size_t screen = (size_t)cli_screen(cli).columns;
  for (const char *word = words; *word != '\0'; word += strspn(word, " ")) {
    size_t len = strcspn(word, " "), columns = 0;
    for (size_t i = 0; i < len; i++) columns += ((unsigned char)word[i] & 0xc0) != 0x80;
    if (at + 1 + columns > screen && at > INDENT) {
      cli_printf("\n%*s", INDENT - 1, "");
      at = INDENT - 1;
    }
    cli_printf(" %.*s", (int)len, word);
    at += 1 + columns;
    word += len;
  }
  cli_printf("\n");
}

void cli_heading(struct cli *cli, const char *text) {
  cli_printf("\n%s\n", cli_paint(cli, CLI_BOLD, text));
}

static const char *color_sequence(enum cli_color color) {
  static const char *const sequences[] = {
      [CLI_PLAIN] = "",       [CLI_BOLD] = "\033[1m",    [CLI_DIM] = "\033[2m",   [CLI_GREEN] = "\033[32m",
      [CLI_RED] = "\033[31m", [CLI_YELLOW] = "\033[33m", [CLI_CYAN] = "\033[36m",
  };
  return sequences[color];
}

const char *cli_paint(struct cli *cli, enum cli_color color, const char *text) {
  if (!cli->color || color == CLI_PLAIN) return text;
  const char *painted = arena_printf(&cli->arena, "%s%s\033[0m", color_sequence(color), text);
  return painted != NULL ? painted : text;
}

enum cli_color cli_state_color(const char *state) {
  static const struct {
    const char *state;
    enum cli_color color;
  } known[] = {
      {"live", CLI_GREEN},     {"promoted", CLI_GREEN},  {"approved", CLI_GREEN},  {"succeeded", CLI_GREEN},
      {"accepted", CLI_GREEN}, {"delivered", CLI_GREEN}, {"failed", CLI_RED},      {"rejected", CLI_RED},
      {"refused", CLI_RED},    {"aborted", CLI_RED},     {"blocked", CLI_RED},     {"dead", CLI_RED},
      {"timed_out", CLI_RED},  {"rolled_back", CLI_RED}, {"quarantined", CLI_RED}, {"awaiting_approval", CLI_YELLOW},
      {"open", CLI_YELLOW},    {"held", CLI_YELLOW},     {"paused", CLI_YELLOW},   {"expired", CLI_YELLOW},
      {"training", CLI_CYAN},  {"evaluating", CLI_CYAN}, {"running", CLI_CYAN},    {"rolling_out", CLI_CYAN},
      {"stepping", CLI_CYAN},  {"superseded", CLI_DIM},  {"cancelled", CLI_DIM},   {"withdrawn", CLI_DIM},
  };
  for (size_t i = 0; state != NULL && i < ARRAY_LEN(known); i++) {
    if (strcmp(known[i].state, state) == 0) return known[i].color;
  }
  return CLI_PLAIN;
}

struct cli_table {
  struct cli *cli;
  struct libscols_table *table;
  struct libscols_line *line;
  size_t columns, column;
  size_t rows;
};

struct cli_table *cli_table_new(struct cli *cli, const char *const *headings) {
  struct cli_table *table = mem_alloc(sizeof *table);
  table->cli = cli;
  table->table = scols_new_table();
  ORCH_ASSERT(table->table != NULL);
  scols_table_enable_colors(table->table, cli->color);
  scols_table_set_column_separator(table->table, "  ");
  scols_table_enable_noencoding(table->table, 1); /* cells are escaped here already */
  if (!cli->terminal) scols_table_set_termforce(table->table, SCOLS_TERMFORCE_NEVER);
  for (; headings[table->columns] != NULL; table->columns++) {
    const char *name = headings[table->columns];
    int flags = *name == '>' ? SCOLS_FL_RIGHT : *name == '~' ? SCOLS_FL_TRUNC : *name == '|' ? SCOLS_FL_WRAP : 0;
    ORCH_ASSERT(table->columns < COLUMNS_MAX);
    struct libscols_column *column = scols_table_new_column(table->table, name + (flags != 0), 0, flags);
    ORCH_ASSERT(column != NULL);
    if (cli->color) scols_cell_set_color(scols_column_get_header(column), "bold");
  }
  return table;
}

void cli_table_row(struct cli_table *table) {
  table->line = scols_table_new_line(table->table, NULL);
  ORCH_ASSERT(table->line != NULL);
  table->column = 0;
  table->rows++;
}

void cli_table_cell_color(struct cli_table *table, enum cli_color color, const char *text) {
  ORCH_ASSERT(table->line != NULL && table->column < table->columns);
  struct strbuf safe;
  strbuf_init(&safe, TEXT_MAX);
  strbuf_add_terminal(&safe, text != NULL ? text : "");
  ORCH_ASSERT(scols_line_set_data(table->line, table->column, strbuf_text(&safe)) == 0);
  strbuf_fini(&safe);
  if (table->cli->color && color != CLI_PLAIN) {
    scols_cell_set_color(scols_line_get_cell(table->line, table->column), color_sequence(color));
  }
  table->column++;
}

void cli_table_cell(struct cli_table *table, const char *text) {
  cli_table_cell_color(table, CLI_PLAIN, text);
}

void cli_table_cell_printf(struct cli_table *table, const char *fmt, ...) {
  struct strbuf text;
  strbuf_init(&text, TEXT_MAX);
  va_list args;
  va_start(args, fmt);
  strbuf_vprintf(&text, fmt, args);
  va_end(args);
  cli_table_cell(table, strbuf_text(&text));
  strbuf_fini(&text);
}

void cli_table_print(struct cli_table *table, const char *if_empty) {
  if (table->rows > 0) {
    scols_print_table(table->table);
  } else if (if_empty != NULL) {
    cli_printf("%s\n", if_empty);
  }
  scols_unref_table(table->table);
  mem_free(table);
}
