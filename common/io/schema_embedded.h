/* The SQL files below schema/, as they were when the binary was built. */
#ifndef ORCH_IO_SCHEMA_EMBEDDED_H
#define ORCH_IO_SCHEMA_EMBEDDED_H

#include <stddef.h>

struct schema_file {
  const char *name; /* "0001_tables.sql" */
  const char *text; /* NUL-terminated */
  size_t len;
};

extern const struct schema_file schema_migrations[]; /* in name order; ends with a NULL name */
extern const unsigned schema_migrations_count;
extern const struct schema_file schema_functions[];
extern const unsigned schema_functions_count;

#endif
