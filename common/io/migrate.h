/* Brings a database to the schema of this binary: numbered migrations once, functions whenever their text changed.
 *
 * All of it is one transaction under an advisory lock, so two at once are safe and a failure changes nothing. */
#ifndef ORCH_IO_MIGRATE_H
#define ORCH_IO_MIGRATE_H

#include "io/db_sync.h"
#include "io/schema_embedded.h"

struct migrate_source {
  const struct schema_file *migrations; /* in name order, "NNNN_name.sql" */
  unsigned migrations_count;
  const struct schema_file *functions;
  unsigned functions_count;
};
/* What is embedded in this binary. */
struct migrate_source migrate_embedded(void);

struct migrate_report {
  unsigned migrations_applied;
  unsigned functions_applied;
  unsigned migrations_total; /* in the database now */
};

/* `say` (may be NULL) gets a line for each file applied. Errors: ERR_REFUSED when the database has a migration this
 * binary does not know, or one with another checksum; ERR_DB with the file's name when a file fails. */
ORCH_MUST_CHECK bool migrate_apply(struct db_sync *db, const struct migrate_source *source,
                                   void (*say)(void *arg, const char *line), void *arg, struct migrate_report *ret,
                                   struct err *err);

/* For start-up: true when the database is exactly at this binary's schema. Errors: ERR_REFUSED, with the hint to run
 * `orch migrate` (older) or to upgrade the binary (newer). */
ORCH_MUST_CHECK bool migrate_check(struct db_sync *db, const struct migrate_source *source, struct err *err);

#endif
