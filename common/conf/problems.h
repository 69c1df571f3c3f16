/* The bounded list of everything that is wrong with a file: `file:line:col: what is wrong, what was expected`. */
#ifndef ORCH_CONF_PROBLEMS_H
#define ORCH_CONF_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/strbuf.h"

#define PROBLEMS_MAX 100

struct problem {
  unsigned line, column; /* from 1; 0 when the whole file is meant */
  const char *text;      /* raw: escaped when printed */
};

struct problems {
  const char *file; /* as the user named it; kept by pointer */
  struct arena arena;
  struct problem list[PROBLEMS_MAX];
  size_t count;
  size_t dropped; /* beyond PROBLEMS_MAX */
};

void problems_init(struct problems *problems, const char *file);
void problems_fini(struct problems *problems);
void problems_add(struct problems *problems, unsigned line, unsigned column, const char *fmt, ...) ORCH_PRINTF(4, 5);
/* Appends one line per problem, in the order of the file, safe for a terminal. */
void problems_print(struct problems *problems, struct strbuf *out);

#endif
