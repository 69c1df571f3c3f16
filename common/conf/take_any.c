/* Free values: what YAML 1.1 would read in two ways is refused, so that nobody's `no` becomes false. */
#include <stdlib.h>
#include <string.h>

#include "conf/take.h"

static bool one_of(const char *text, const char *const *words) {
  for (; *words != NULL; words++) {
    if (strcasecmp(text, *words) == 0) return true;
  }
  return false;
}

static json_t *take_scalar(struct problems *problems, const struct yaml_node *node, const char *what) {
  static const char *const nulls[] = {"", "~", "null", NULL};
  static const char *const doubtful[] = {"yes", "no", "on", "off", "y", "n", NULL};
  static const char *const unreal[] = {".inf", "-.inf", "+.inf", ".nan", NULL};
  const char *text = node->text;
  if (!node->plain) return json_string(text);
  if (one_of(text, nulls)) return json_null();
  if (strcmp(text, "true") == 0) return json_true();
  if (strcmp(text, "false") == 0) return json_false();
  if (one_of(text, doubtful) || strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0) {
    problems_add(problems, node->line, node->column, "%s has '%s', expected true or false, or text in quotes", what,
                 text);
    return NULL;
  }
  if (one_of(text, unreal)) {
    problems_add(problems, node->line, node->column, "%s has '%s', expected a finite number", what, text);
    return NULL;
  }
  if (strspn(text, "+-.0123456789eExX_") != strlen(text) || strpbrk(text, "0123456789") == NULL) {
    return json_string(text);
  }
  /* It is made of what numbers are made of; dates and versions have two dashes or dots. */
  int64_t whole;
  double real;
  struct problems none;
  problems_init(&none, "");
  json_t *value = NULL;
  if (take_int(&none, node, what, INT64_MIN, INT64_MAX, &whole)) {
    value = json_integer(whole);
  } else if (take_real(&none, node, what, -1e300, 1e300, &real)) {
    value = json_real(real);
  } else if (strchr(text + 1, '-') != NULL || (strchr(text, '.') != NULL && strchr(text, '.') != strrchr(text, '.'))) {
    value = json_string(text);
  } else {
    problems_add(problems, node->line, node->column,
                 "%s has '%.60s', expected a plain number of at most 15 digits, or text in quotes", what, text);
  }
  problems_fini(&none);
  return value;
}

/* Recursion is bounded by YAML_TREE_DEPTH_MAX. */
json_t *take_any(struct problems *problems, const struct yaml_node *node, const char *what) {
  if (node->kind == YAML_TREE_SCALAR) return take_scalar(problems, node, what);
  json_t *value = node->kind == YAML_TREE_MAP ? json_object() : json_array();
  for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
    json_t *item = take_any(problems, child, what);
    if (item == NULL) continue; /* said already: the whole document falls */
    if (node->kind == YAML_TREE_MAP) {
      json_object_set_new(value, child->key, item);
    } else {
      json_array_append_new(value, item);
    }
  }
  return value;
}
