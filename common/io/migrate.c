#include "io/migrate.h"

#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

static const int oldest_server = 150000;
static const int64_t lock_key = 0x6f726368; /* "orch"; one per database */
static const int64_t migrate_timeout_ms = 30 * 60 * 1000;

static const char bookkeeping_sql[] =
    "create schema if not exists orch;"
    "create table if not exists orch.schema_migration ("
    "  name text primary key, checksum text not null, applied_at timestamptz not null default now(),"
    "  applied_by text not null default session_user, orch_version text not null);"
    "create table if not exists orch.schema_function ("
    "  name text primary key, checksum text not null, applied_at timestamptz not null default now());";

struct run {
  struct db_sync *db;
  const struct migrate_source *source;
  void (*say)(void *arg, const char *line);
  void *arg;
  struct migrate_report report;
};

struct migrate_source migrate_embedded(void) {
  return (struct migrate_source){.migrations = schema_migrations,
                                 .migrations_count = schema_migrations_count,
                                 .functions = schema_functions,
                                 .functions_count = schema_functions_count};
}

static void checksum(const struct schema_file *file, char out[DIGEST_TEXT_SIZE]) {
  uint8_t bytes[DIGEST_BYTES];
  digest_bytes(file->text, file->len, bytes);
  digest_to_text(bytes, out);
}

static const struct schema_file *find(const struct schema_file *files, unsigned count, const char *name) {
  for (unsigned i = 0; i < count; i++)
    if (strcmp(files[i].name, name) == 0) return &files[i];
  return NULL;
}

static int row_of(const struct db_result *rows, const char *name) {
  for (int i = 0; i < db_rows(rows); i++)
    if (strcmp(db_get_text(rows, i, 0), name) == 0) return i;
  return -1;
}

static bool same_checksum(const struct db_result *rows, int row, const struct schema_file *file) {
  char sum[DIGEST_TEXT_SIZE];
  checksum(file, sum);
  return strcmp(db_get_text(rows, row, 1), sum) == 0;
}

/* The database may be behind us, never ahead and never different. */
static bool history_is_ours(const struct migrate_source *source, const struct db_result *applied, struct err *err) {
  for (int i = 0; i < db_rows(applied); i++) {
    const char *name = db_get_text(applied, i, 0);
    const struct schema_file *file = find(source->migrations, source->migrations_count, name);
    if (!file) {
      err_set(err, ERR_REFUSED, "the database is newer than this orch: it has migration %s", name);
      return err_hint(err, "use the orch that migrated it, or a newer one");
    }
    if (!same_checksum(applied, i, file)) {
      err_set(err, ERR_REFUSED, "migration %s was applied from a different text than this orch has", name);
      return err_hint(err, "use a build of the same release; applied migrations never change");
    }
  }
  /* A gap would mean that a migration slipped in behind one that is applied already. */
  for (unsigned i = 0; i < (unsigned)db_rows(applied); i++)
    if (row_of(applied, source->migrations[i].name) < 0) {
      err_set(err, ERR_REFUSED, "migration %s is missing although later ones are applied", source->migrations[i].name);
      return err_hint(err, "use a build of the release that migrated this database");
    }
  return true;
}

static struct db_result *applied_files(struct db_sync *db, bool functions, struct err *err) {
  return db_sync_query(db,
                       functions ? "select name, checksum from orch.schema_function order by name"
                                 : "select name, checksum from orch.schema_migration order by name",
                       0, NULL, err);
}

static bool record(struct run *run, const char *sql, const struct schema_file *file, bool with_version,
                   struct err *err) {
  char sum[DIGEST_TEXT_SIZE];
  checksum(file, sum);
  struct db_value values[] = {db_text(file->name), db_text(sum), db_text(ORCH_VERSION)};
  char *answer = db_sync_call(run->db, sql, with_version ? 3 : 2, values, err);
  bool ok = answer != NULL;
  mem_free(answer);
  return ok;
}

static bool apply_file(struct run *run, const char *folder, const struct schema_file *file, struct err *err) {
  if (run->say) {
    char *line = mem_printf("applying %s/%s", folder, file->name);
    run->say(run->arg, line);
    mem_free(line);
  }
  if (db_sync_exec(run->db, file->text, err)) return true;
  return err_prefix(err, "schema/%s/%s", folder, file->name);
}

static bool apply_migrations(struct run *run, struct err *err) {
  const struct migrate_source *source = run->source;
  struct db_result *applied = applied_files(run->db, false, err);
  if (!applied) return false;
  bool ok = history_is_ours(source, applied, err);
  for (unsigned i = (unsigned)db_rows(applied); ok && i < source->migrations_count; i++) {
    ok = apply_file(run, "migrations", &source->migrations[i], err) &&
         record(run,
                "insert into orch.schema_migration (name, checksum, orch_version) values ($1, $2, $3) returning name",
                &source->migrations[i], true, err);
    run->report.migrations_applied += ok;
  }
  db_result_unref(applied);
  run->report.migrations_total = source->migrations_count;
  return ok;
}

static bool functions_are_current(const struct migrate_source *source, const struct db_result *applied) {
  if ((unsigned)db_rows(applied) != source->functions_count) return false;
  for (unsigned i = 0; i < source->functions_count; i++) {
    int row = row_of(applied, source->functions[i].name);
    if (row < 0 || !same_checksum(applied, row, &source->functions[i])) return false;
  }
  return true;
}

/* One changed file means all of them: a function that is dropped and made again loses the grants and triggers that
 * another file gave it. */
static bool apply_functions(struct run *run, struct err *err) {
  const struct migrate_source *source = run->source;
  struct db_result *applied = applied_files(run->db, true, err);
  if (!applied) return false;
  bool current = functions_are_current(source, applied) && run->report.migrations_applied == 0;
  db_result_unref(applied);
  if (current) return true;
  if (!db_sync_exec(run->db, "delete from orch.schema_function", err)) return false;
  for (unsigned i = 0; i < source->functions_count; i++) {
    if (!apply_file(run, "functions", &source->functions[i], err) ||
        !record(run, "insert into orch.schema_function (name, checksum) values ($1, $2) returning name",
                &source->functions[i], false, err))
      return false;
    run->report.functions_applied++;
  }
  return true;
}

static bool apply_all(struct run *run, struct err *err) {
  char *begin = mem_printf("begin; set local client_min_messages = warning; set local statement_timeout = 0;"
                           /* functions of one file call those of later ones */
                           "set local check_function_bodies = off;"
                           "set local idle_in_transaction_session_timeout = 0;"
                           "select pg_advisory_xact_lock(%lld); set local lock_timeout = '60s'",
                           (long long)lock_key);
  bool ok = db_sync_exec(run->db, begin, err) && db_sync_exec(run->db, bookkeeping_sql, err) &&
            apply_migrations(run, err) && apply_functions(run, err) && db_sync_exec(run->db, "commit", err);
  mem_free(begin);
  return ok;
}

static bool server_is_supported(const struct db_sync *db, struct err *err) {
  int version = db_sync_server_version(db);
  if (version >= oldest_server) return true;
  err_set(err, ERR_REFUSED, "the server is PostgreSQL %d, orch needs %d or newer", version / 10000,
          oldest_server / 10000);
  return err_hint(err, "use PostgreSQL 15 to 18");
}

bool migrate_apply(struct db_sync *db, const struct migrate_source *source, void (*say)(void *arg, const char *line),
                   void *arg, struct migrate_report *ret, struct err *err) {
  if (!server_is_supported(db, err)) return false;
  struct run run = {.db = db, .source = source, .say = say, .arg = arg};
  db_sync_set_timeout(db, migrate_timeout_ms);
  bool ok = apply_all(&run, err);
  if (!ok && !db_sync_is_lost(db)) {
    struct err ignored = {0};
    if (!db_sync_exec(db, "rollback", &ignored)) ok = false;
  }
  if (ok && ret) *ret = run.report;
  return ok;
}

/* ---- checking ---- */

static bool older(struct err *err) {
  err_set(err, ERR_REFUSED, "the database is older than this orch");
  return err_hint(err, "run 'orch migrate'");
}

bool migrate_check(struct db_sync *db, const struct migrate_source *source, struct err *err) {
  if (!server_is_supported(db, err)) return false;
  char *found = db_sync_call(db,
                             "select to_regclass('orch.schema_migration') is not null"
                             " and to_regclass('orch.schema_function') is not null",
                             0, NULL, err);
  if (!found) return false;
  bool there = found[0] == 't';
  mem_free(found);
  if (!there) return older(err);
  struct db_result *migrations = applied_files(db, false, err);
  struct db_result *functions = migrations ? applied_files(db, true, err) : NULL;
  bool ok = functions && history_is_ours(source, migrations, err);
  if (ok && ((unsigned)db_rows(migrations) < source->migrations_count || !functions_are_current(source, functions)))
    ok = older(err);
  db_result_unref(migrations);
  db_result_unref(functions);
  return ok;
}
