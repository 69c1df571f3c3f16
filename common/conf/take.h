/* Typed reading of a YAML tree: each call either gives the value or adds the problem, with what was expected.
 *
 * `what` names the value for people ("'timeout' of step 'train'"). A NULL node is an absent key: nothing is said and
 * the output stays as it was, so that callers set the default first. All return true when a value was taken. */
#ifndef ORCH_CONF_TAKE_H
#define ORCH_CONF_TAKE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/problems.h"
#include "conf/yaml.h"

#define TAKE_NAME_MAX 63
#define TAKE_TEXT_MAX 4096

/* Is it a map with only these keys? `known` and `later` (not supported yet; may be NULL) end with NULL. Each unknown
 * key is a problem, with the nearest known one. False when it is no map. */
bool take_map(struct problems *problems, const struct yaml_node *node, const char *what, const char *const *known,
              const char *const *later);
/* Says that the key of this member of `what` is none of `known`, with the nearest one. */
void take_unknown_key(struct problems *problems, const struct yaml_node *member, const char *what,
                      const char *const *known);
/* Is the word in the list (ends with NULL; may be NULL itself)? */
bool take_listed(const char *const *words, const char *word);
/* Is it a list of at least `min` and at most `max` items? */
bool take_list(struct problems *problems, const struct yaml_node *node, const char *what, size_t min, size_t max);
/* The member, or a problem at the map that it is missing. */
const struct yaml_node *take_required(struct problems *problems, const struct yaml_node *map, const char *key,
                                      const char *what, const char *expected);

/* One line of text without control characters, not empty. */
bool take_text(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret);
/* The same with line breaks and tabs, for what is a small program itself. */
bool take_lines(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret);
/* a-z, 0-9 and inside "-", at most TAKE_NAME_MAX. */
bool take_name(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret);
/* As take_name(), with capitals, "." and "_": a reviewer may be named like a login. */
bool take_person(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret);
/* [A-Z][A-Z0-9_]* of an environment variable. */
bool take_env_name(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret);
/* As take_env_name(), for the address of a warehouse: the server's own variables (ORCH_…, PG…) are refused. */
bool take_warehouse(struct problems *problems, const struct yaml_node *node, const char *what, const char **ret);
bool take_bool(struct problems *problems, const struct yaml_node *node, const char *what, bool *ret);
bool take_int(struct problems *problems, const struct yaml_node *node, const char *what, int64_t min, int64_t max,
              int64_t *ret);
bool take_real(struct problems *problems, const struct yaml_node *node, const char *what, double min, double max,
               double *ret);
/* "500 rows", "3 per week": the number from `min` to `max`, and the words after it, which are returned. NULL when it is
 * something else; nothing is said. */
const char *take_count(const struct yaml_node *node, int64_t min, int64_t max, int64_t *ret);
bool take_duration(struct problems *problems, const struct yaml_node *node, const char *what, int64_t min_ms,
                   int64_t max_ms, int64_t *ret_ms);
bool take_size(struct problems *problems, const struct yaml_node *node, const char *what, int64_t min, int64_t max,
               int64_t *ret_bytes);
/* One of `choices`; words in `later` are "not supported yet". */
bool take_choice(struct problems *problems, const struct yaml_node *node, const char *what, const char *const *choices,
                 const char *const *later, const char **ret);
/* A list of texts as a JSON array appended to `array`; duplicates are a problem when `unique`. */
bool take_texts(struct problems *problems, const struct yaml_node *node, const char *what, size_t min, size_t max,
                bool unique, json_t *array);
/* Anything, as JSON; a map in `config`. Ambiguous words (yes, on, 007, .nan) are problems. NULL after a problem. */
json_t *take_any(struct problems *problems, const struct yaml_node *node, const char *what);

/* `word` must not be in `names` already (a JSON array of texts); it is appended. */
void take_unique(struct problems *problems, const struct yaml_node *node, const char *what, const char *word,
                 json_t *names);

#endif
