#include "conf/take.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "conf/nearest.h"

static const char *kind_name(const struct yaml_node *node) {
  return node->kind == YAML_TREE_MAP ? "a map" : node->kind == YAML_TREE_LIST ? "a list" : "a single value";
}

static bool is_null(const struct yaml_node *node) {
  return node->kind == YAML_TREE_SCALAR && node->plain &&
         (node->text[0] == '\0' || strcmp(node->text, "~") == 0 || strcasecmp(node->text, "null") == 0);
}

/* Adds "WHAT is SEEN, expected EXPECTED" and returns false. */
static bool wrong(struct problems *problems, const struct yaml_node *node, const char *what, const char *expected) {
  if (is_null(node)) {
    problems_add(problems, node->line, node->column, "%s is empty, expected %s", what, expected);
  } else if (node->kind != YAML_TREE_SCALAR) {
    problems_add(problems, node->line, node->column, "%s is %s, expected %s", what, kind_name(node), expected);
  } else {
    problems_add(problems, node->line, node->column, "%s is '%.60s', expected %s", what, node->text, expected);
  }
  return false;
}

bool take_listed(const char *const *words, const char *word) {
  for (; words != NULL && *words != NULL; words++) {
    if (strcmp(*words, word) == 0) return true;
  }
  return false;
}

void take_unknown_key(struct problems *problems, const struct yaml_node *member, const char *what,
                      const char *const *known) {
  const char *near = nearest_word(member->key, known);
  if (near != NULL) {
    problems_add(problems, member->key_line, member->key_column, "unknown key '%.60s' in %s, expected '%s'?",
                 member->key, what, near);
    return;
  }
  struct strbuf all;
  strbuf_init(&all, 512);
  for (size_t i = 0; known[i] != NULL; i++) strbuf_printf(&all, "%s%s", i > 0 ? ", " : "", known[i]);
  problems_add(problems, member->key_line, member->key_column, "unknown key '%.60s' in %s, expected one of: %s",
               member->key, what, strbuf_text(&all));
  strbuf_fini(&all);
}

bool take_map(struct problems *problems, const struct yaml_node *node, const char *what, const char *const *known,
              const char *const *later) {
  if (node == NULL) return false;
  if (node->kind != YAML_TREE_MAP) return wrong(problems, node, what, "a map of keys");
  for (const struct yaml_node *m = node->first; m != NULL; m = m->next) {
    if (take_listed(known, m->key)) continue;
    if (take_listed(later, m->key)) {
      problems_add(problems, m->key_line, m->key_column, "'%s' in %s is not supported yet, expected it to be left out",
                   m->key, what);
    } else {
      take_unknown_key(problems, m, what, known);
    }
  }
  return true;
}

bool take_list(struct problems *problems, const struct yaml_node *node, const char *what, size_t min, size_t max) {
  if (node == NULL) return false;
  if (node->kind != YAML_TREE_LIST) return wrong(problems, node, what, "a list");
  if (node->count >= min && node->count <= max) return true;
  problems_add(problems, node->line, node->column, "%s has %zu items, expected %zu to %zu", what, node->count, min,
               max);
  return false;
}

const struct yaml_node *take_required(struct problems *problems, const struct yaml_node *map, const char *key,
                                      const char *what, const char *expected) {
  const struct yaml_node *node = yaml_tree_get(map, key);
  if (node == NULL) {
    problems_add(problems, map->line, map->column, "%s has no '%s', expected %s", what, key, expected);
  }
  return node;
}

static bool take_printable(struct problems *problems, const struct yaml_node *node, const char *what,
                           const char *spaces, const char **ret) {
  if (node->kind != YAML_TREE_SCALAR || node->text[0] == '\0' || is_null(node)) {
    return wrong(problems, node, what, "text");
  }
  if (strlen(node->text) > TAKE_TEXT_MAX) {
    problems_add(problems, node->line, node->column, "%s has %zu bytes, expected at most %d", what, strlen(node->text),
                 TAKE_TEXT_MAX);
    return false;
  }
  for (const char *c = node->text; *c != '\0'; c++) {
    if (((unsigned char)*c < 0x20 && strchr(spaces, *c) == NULL) || *c == 0x7f) {
      return wrong(problems, node, what,
                   *spaces != '\0' ? "text without control characters" : "one line without control characters");
    }
  }
  *ret = node->text;
  return true;
}

bool take_text(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret) {
  return node != NULL && take_printable(problems, node, what, "", ret);
}

bool take_lines(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret) {
  return node != NULL && take_printable(problems, node, what, "\n\t", ret);
}

bool take_name(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret) {
  static const char expected[] = "a name of a-z, 0-9 and, inside, '-', at most 63 long";
  if (node == NULL) return false;
  if (node->kind != YAML_TREE_SCALAR) return wrong(problems, node, what, expected);
  size_t len = strlen(node->text);
  bool fine = len > 0 && len <= TAKE_NAME_MAX && node->text[0] != '-' && node->text[len - 1] != '-' && !is_null(node);
  if (!fine || strspn(node->text, "abcdefghijklmnopqrstuvwxyz0123456789-") != len) {
    return wrong(problems, node, what, expected);
  }
  *ret = node->text;
  return true;
}

bool take_person(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret) {
  static const char expected[] = "a name of letters, 0-9 and, inside, '.', '_' or '-', at most 63 long";
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  if (node == NULL) return false;
  if (node->kind != YAML_TREE_SCALAR) return wrong(problems, node, what, expected);
  size_t len = strlen(node->text);
  bool fine = len > 0 && len <= TAKE_NAME_MAX && strchr("._-", node->text[0]) == NULL && !is_null(node);
  if (!fine || strspn(node->text, letters) != len) return wrong(problems, node, what, expected);
  *ret = node->text;
  return true;
}

bool take_env_name(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret) {
  static const char expected[] = "the name of an environment variable, as in API_SECRET";
  if (node == NULL) return false;
  if (node->kind != YAML_TREE_SCALAR) return wrong(problems, node, what, expected);
  size_t len = strlen(node->text);
  bool fine = len > 0 && len <= TAKE_NAME_MAX && node->text[0] >= 'A' && node->text[0] <= 'Z';
  if (!fine || strspn(node->text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != len) {
    return wrong(problems, node, what, expected);
  }
  *ret = node->text;
  return true;
}

bool take_warehouse(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret) {
  const char *name;
  if (!take_env_name(problems, node, what, &name)) return false;
  if (strncmp(name, "ORCH_", 5) == 0 || strncmp(name, "PG", 2) == 0) {
    return wrong(problems, node, what, "a variable of its own, as in WAREHOUSE_URL: ORCH_ and PG are the server's");
  }
  *ret = name;
  return true;
}

bool take_bool(struct problems *problems, const struct yaml_node *node, const char *what, bool *ret) {
  if (node == NULL) return false;
  bool yes = node->kind == YAML_TREE_SCALAR && node->plain && strcmp(node->text, "true") == 0;
  bool no = node->kind == YAML_TREE_SCALAR && node->plain && strcmp(node->text, "false") == 0;
  if (!yes && !no) return wrong(problems, node, what, "true or false");
  *ret = yes;
  return true;
}

/* -?(0|[1-9][0-9]*) */
static bool looks_whole(const char *text) {
  const char *digits = text + (*text == '-');
  size_t len = strspn(digits, "0123456789");
  return len > 0 && digits[len] == '\0' && (digits[0] != '0' || len == 1);
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?, a subset of JSON's */
static bool looks_real(const char *text) {
  const char *at = text + (*text == '-');
  size_t whole = strspn(at, "0123456789");
  if (whole == 0 || (at[0] == '0' && whole > 1)) return false;
  at += whole;
  if (*at == '.') {
    size_t fraction = strspn(at + 1, "0123456789");
    if (fraction == 0) return false;
    at += 1 + fraction;
  }
  if (*at == 'e' || *at == 'E') {
    at++;
    if (*at == '+' || *at == '-') at++;
    size_t exponent = strspn(at, "0123456789");
    if (exponent == 0) return false;
    at += exponent;
  }
  return *at == '\0';
}

static size_t significant_digits(const char *text) {
  size_t count = 0;
  for (; *text != '\0' && *text != 'e' && *text != 'E'; text++) {
    if (isdigit((unsigned char)*text) && (*text != '0' || count > 0)) count++;
  }
  return count;
}

bool take_int(struct problems *problems, const struct yaml_node *node, const char *what, int64_t min, int64_t max,
              int64_t *ret) {
  if (node == NULL) return false;
  char expected[96];
  snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)min, (long long)max);
  if (node->kind != YAML_TREE_SCALAR || !node->plain || !looks_whole(node->text)) {
    return wrong(problems, node, what, expected);
  }
  errno = 0;
  long long value = strtoll(node->text, NULL, 10);
  if (errno != 0 || value < min || value > max) return wrong(problems, node, what, expected);
  *ret = value;
  return true;
}

bool take_real(struct problems *problems, const struct yaml_node *node, const char *what, double min, double max,
               double *ret) {
  if (node == NULL) return false;
  char expected[96];
  snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
  if (node->kind != YAML_TREE_SCALAR || !node->plain || !looks_real(node->text)) {
    return wrong(problems, node, what, expected);
  }
  if (significant_digits(node->text) > 15) return wrong(problems, node, what, "at most 15 significant digits");
  double value = strtod(node->text, NULL);
  if (!isfinite(value) || value < min || value > max) return wrong(problems, node, what, expected);
  *ret = value;
  return true;
}

const char *take_count(const struct yaml_node *node, int64_t min, int64_t max, int64_t *ret) {
  if (node->kind != YAML_TREE_SCALAR) return NULL;
  size_t digits = strspn(node->text, "0123456789");
  if (digits == 0 || digits > 12) return NULL;
  int64_t value = strtoll(node->text, NULL, 10);
  if (value < min || value > max) return NULL;
  *ret = value;
  const char *words = node->text + digits;
  return words + strspn(words, " ");
}

bool take_duration(struct problems *problems, const struct yaml_node *node, const char *what, int64_t min_ms,
                   int64_t max_ms, int64_t *ret_ms) {
  if (node == NULL) return false;
  int64_t value;
  if (node->kind == YAML_TREE_SCALAR && node->plain && looks_whole(node->text)) {
    problems_add(problems, node->line, node->column, "%s is '%.60s' without a unit, expected a duration such as %s%s",
                 what, node->text, strlen(node->text) < 6 ? node->text : "30", "s, or with ms, m, h or d");
    return false;
  }
  if (node->kind != YAML_TREE_SCALAR || !units_parse_duration_ms(node->text, &value)) {
    return wrong(problems, node, what, "a duration such as 30s, 5m, 2h or 7d");
  }
  if (value < min_ms || value > max_ms) {
    char low[UNITS_TEXT_SIZE], high[UNITS_TEXT_SIZE], expected[96];
    units_format_duration(min_ms, low);
    units_format_duration(max_ms, high);
    snprintf(expected, sizeof expected, "from %s to %s", low, high);
    return wrong(problems, node, what, expected);
  }
  *ret_ms = value;
  return true;
}

bool take_size(struct problems *problems, const struct yaml_node *node, const char *what, int64_t min, int64_t max,
               int64_t *ret_bytes) {
  if (node == NULL) return false;
  int64_t value;
  if (node->kind == YAML_TREE_SCALAR && node->plain && looks_whole(node->text)) {
    problems_add(problems, node->line, node->column,
                 "%s is '%.60s' without a unit, expected a size such as 512MiB or 2GiB", what, node->text);
    return false;
  }
  if (node->kind != YAML_TREE_SCALAR || !units_parse_size_bytes(node->text, &value)) {
    return wrong(problems, node, what, "a size such as 512MiB or 2GiB");
  }
  if (value < min || value > max) {
    char low[UNITS_TEXT_SIZE], high[UNITS_TEXT_SIZE], expected[96];
    units_format_size(min, low);
    units_format_size(max, high);
    snprintf(expected, sizeof expected, "from %s to %s", low, high);
    return wrong(problems, node, what, expected);
  }
  *ret_bytes = value;
  return true;
}

bool take_choice(struct problems *problems, const struct yaml_node *node, const char *what, const char *const *choices,
                 const char *const *later, const char **ret) {
  if (node == NULL) return false;
  if (node->kind == YAML_TREE_SCALAR && take_listed(choices, node->text)) {
    *ret = node->text;
    return true;
  }
  struct strbuf all;
  strbuf_init(&all, 256);
  for (size_t i = 0; choices[i] != NULL; i++) {
    strbuf_printf(&all, "%s%s", i == 0 ? "" : choices[i + 1] == NULL ? " or " : ", ", choices[i]);
  }
  if (node->kind == YAML_TREE_SCALAR && take_listed(later, node->text)) {
    problems_add(problems, node->line, node->column, "%s is '%s', which is not supported yet, expected %s", what,
                 node->text, strbuf_text(&all));
  } else {
    wrong(problems, node, what, strbuf_text(&all));
  }
  strbuf_fini(&all);
  return false;
}

void take_unique(struct problems *problems, const struct yaml_node *node, const char *what, const char *word,
                 json_t *names) {
  for (size_t i = 0; i < json_array_size(names); i++) {
    if (strcmp(json_string_value(json_array_get(names, i)), word) != 0) continue;
    problems_add(problems, node->line, node->column, "%s '%.60s' is given twice, expected each once", what, word);
    return;
  }
  json_array_append_new(names, json_string(word));
}

bool take_texts(struct problems *problems, const struct yaml_node *node, const char *what, size_t min, size_t max,
                bool unique, json_t *array) {
  if (!take_list(problems, node, what, min, max)) return false;
  bool fine = true;
  for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
    const char *text;
    char item_what[160];
    snprintf(item_what, sizeof item_what, "an item of %s", what);
    if (!take_text(problems, item, item_what, &text)) {
      fine = false;
    } else if (unique) {
      take_unique(problems, item, item_what, text, array);
    } else {
      json_array_append_new(array, json_string(text));
    }
  }
  return fine;
}
