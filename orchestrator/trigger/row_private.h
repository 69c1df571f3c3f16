/* The names of a row: which stand twice, which are wanted. Shared by row.c (events) and row_names.c. */
#ifndef ORCH_TRIGGER_ROW_PRIVATE_H
#define ORCH_TRIGGER_ROW_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trigger/row.h"

#define ROW_SLOTS 4096 /* of the hash table of one row's names; a power of two, four times the most names */
/* The most that the whole names of one row can take. */
#define ROW_TEXT_MAX ((size_t)OBSERVE_COLUMNS_MAX * OBSERVE_DEPTH_MAX * (OBSERVE_NAME_MAX + 1))
#define ROW_NO_OPENER UINT32_MAX
#define ROW_WANTED_NONE (-1)

/* Where a key stands. Scope 0 is the row and the objects in it, whose names are one name space; each object inside an
 * array has a scope of its own. `opener` is the index of the key whose object this is. */
struct row_place {
  uint32_t scope, opener;
};

/* A key of the row: its last part as it was written, its whole name, and what is known about it. */
struct row_name {
  struct row_place place;
  uint32_t hash;
  uint32_t at, len;     /* the whole name, inside row_names.text */
  uint32_t tail;        /* where the last part starts, inside the whole name */
  int wanted, reserved; /* index of the last such wanted name and of the reserved key; or ROW_WANTED_NONE */
};

/* A name somebody wants, in a table that never changes. */
struct row_wish {
  const char *name;
  size_t len;
  uint32_t hash;
  int wanted, reserved;
};

/* The names of the row before stand in `seen`. As long as the row at hand has the same ones in the same places nothing
 * need be looked up: they were unique then and are unique now. From the first other one on, the table is used. */
struct row_names {
  struct row_name *seen;
  uint32_t n_seen, seen_size;
  uint32_t next; /* keys of this row so far */
  char *text;    /* their whole names; at most ROW_TEXT_MAX bytes */
  size_t text_len, text_size;
  bool hashed; /* the table holds this row's names */
  uint32_t generation;
  struct {
    uint32_t generation;
    uint32_t index;
  } slots[ROW_SLOTS];
  struct row_wish *wishes;
  size_t n_wishes, wish_slots; /* wish_slots is a power of two */
  uint32_t *wish_table;        /* index + 1, 0 is free */
};

/* ret_also[n]: for each wanted name another one that is the same name, or ROW_WANTED_NONE. */
void row_names_init(struct row_names *names, const char *const *wanted, size_t n, const char *const reserved[ROW_KEYS],
                    int *ret_also);
void row_names_fini(struct row_names *names);
void row_names_start(struct row_names *names);
/* The next key of the row. NULL, with the reason, when it stands there already or is one too many. */
const struct row_name *row_names_next(struct row_names *names, struct row_place place, const char *key, size_t len,
                                      struct err *err) ORCH_MUST_CHECK;

#endif
