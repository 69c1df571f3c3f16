/* The brief: all that a worker needs to know of a claimed job, read from the JSON that the claim carries.
 *
 * The database is trusted less than the code: every name that becomes a path or a variable, every digest and every
 * number is checked here, once. */
#ifndef ORCH_WORKER_BRIEF_H
#define ORCH_WORKER_BRIEF_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/mem.h"

#define BRIEF_BYTES_MAX ((size_t)4 << 20)
#define BRIEF_LIST_MAX 256
#define BRIEF_NAME_MAX 63

enum brief_role { BRIEF_STEP, BRIEF_TRAIN, BRIEF_EVALUATE };

struct brief_data {
  const char *name;           /* [a-z0-9_-], as all names here */
  const char *file;           /* one of file and command is set, unless there is a snapshot */
  const char *const *command; /* ends with NULL */
  const char *snapshot;       /* digest of an object, or NULL: to be taken */
};

struct brief_input {
  const char *step;
  const char *tree; /* digest */
};

/* All texts live as long as the brief. */
struct brief {
  int64_t proposal, version, seed, attempt;
  const char *pipeline, *step, *as_of, *executor;
  const char *bundle; /* digest */
  const char *model;  /* digest of a tree, or NULL */
  enum brief_role role;
  const char *const *run;     /* ends with NULL */
  const char *const *secrets; /* names of variables; ends with NULL */
  const struct brief_data *data;
  size_t data_count;
  const struct brief_input *inputs;
  size_t input_count;
  char *config; /* JSON text */
  int64_t timeout_ms, grace_ms;
  double cpu;
  int64_t memory_bytes, gpu; /* 0: not said */
  json_t *root;              /* private, as is the arena */
  struct arena arena;
};

/* ERR_INVALID with the key that is off; ERR_LIMIT. Free with brief_fini(), also after an error. */
ORCH_MUST_CHECK bool brief_parse(struct brief *brief, const char *text, struct err *err);
void brief_fini(struct brief *brief);

#endif
