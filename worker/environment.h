/* The environment of a step: exactly what is added here, nothing of the worker's own. */
#ifndef ORCH_WORKER_ENVIRONMENT_H
#define ORCH_WORKER_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define ENVIRONMENT_MAX 1024 /* variables */

struct environment {
  char *items[ENVIRONMENT_MAX + 1]; /* "NAME=value"; ends with NULL */
  size_t count;
  bool failed; /* sticky; `err` says why */
  struct err err;
};

void environment_init(struct environment *environment);
void environment_fini(struct environment *environment); /* wipes the values */
/* A second value for a name is an error (ERR_INVALID): two data sources may differ only in '-' and '_'. */
void environment_add(struct environment *environment, const char *name, const char *value);
void environment_add_int(struct environment *environment, const char *name, int64_t value);
/* prefix + NAME in upper case with '-' as '_': ("ORCH_DATA_", "my-data") is ORCH_DATA_MY_DATA. */
void environment_add_named(struct environment *environment, const char *prefix, const char *name, const char *value);

#endif
