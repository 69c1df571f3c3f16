/* YAML as a plain tree that remembers lines and columns, read through libyaml's events.
 *
 * A strict subset: one document of maps, lists and scalars. Anchors, aliases, tags and duplicate keys are refused, and
 * bytes, nodes and depth are capped. Everything wrong goes to a `struct problems`. */
#ifndef ORCH_CONF_YAML_H
#define ORCH_CONF_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "conf/problems.h"

#define YAML_TREE_BYTES_MAX ((size_t)256 << 10)
#define YAML_TREE_NODES_MAX 20000
#define YAML_TREE_KEYS_MAX 1000 /* of one map */
#define YAML_TREE_DEPTH_MAX 16

enum yaml_kind { YAML_TREE_SCALAR, YAML_TREE_LIST, YAML_TREE_MAP };

struct yaml_node {
  enum yaml_kind kind;
  unsigned line, column; /* where the value starts, from 1 */
  const char *text;      /* scalars: never NULL, UTF-8, no NUL inside */
  bool plain;            /* scalars: without quotes, so `true` and `7` are no text */
  /* children of lists and maps, in order */
  struct yaml_node *first, *last, *next;
  size_t count;
  /* members of a map */
  const char *key; /* NULL otherwise */
  unsigned key_line, key_column;
};

/* The root, in the arena, or NULL when there is nothing to go on with. A tree may come back together with problems
 * (a duplicate key, a tag), so that the caller can look for more: nothing may be used while problems->count > 0. */
struct yaml_node *yaml_tree_read(const char *text, size_t len, struct arena *arena, struct problems *problems);

/* The member of a map, or NULL. */
const struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key);

/* A whole file into memory (mem_free). ERR_NOT_FOUND, ERR_IO, ERR_INVALID (no regular file), ERR_LIMIT over `max`. */
bool yaml_tree_read_file(const char *path, size_t max, char **ret_text, size_t *ret_len,
                         struct err *err) ORCH_MUST_CHECK;

#endif
