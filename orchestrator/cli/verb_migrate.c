/* orch migrate: brings the database to the schema of this binary. */
#include "cli/cli.h"

#include <stdio.h>

#include "io/migrate.h"

static void say(void *arg, const char *line) {
  const struct cli *cli = arg;
  if (!cli->json) fprintf(stderr, "%s\n", line);
}

static bool run(struct cli *cli, struct err *err) {
  const char *url = NULL;
  if (!cli_database_url(cli, &url, err)) return false;
  CLEANUP(db_sync_close_p) struct db_sync *db = db_sync_open(url, "orch migrate", err);
  if (!db) return false;
  struct migrate_source source = migrate_embedded();
  if (cli_flag(cli, "check")) {
    if (!migrate_check(db, &source, err)) return false;
    if (cli->json)
      cli_printf("{\"current\": true}\n");
    else
      cli_printf("the database is at this orch's schema\n");
    return true;
  }
  struct migrate_report report = {0};
  if (!migrate_apply(db, &source, say, cli, &report, err)) return false;
  if (cli->json) {
    json_t *document =
        json_pack("{s:i, s:i, s:i}", "migrations_applied", (int)report.migrations_applied, "functions_applied",
                  (int)report.functions_applied, "migrations_total", (int)report.migrations_total);
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  if (report.migrations_applied == 0 && report.functions_applied == 0)
    cli_printf("nothing to do: all %u migrations are applied, functions are current\n", report.migrations_total);
  else
    cli_printf("applied %u migrations and %u function files; %u migrations in all\n", report.migrations_applied,
               report.functions_applied, report.migrations_total);
  return true;
}

static const struct cli_option options[] = {
    {"check", 0, NULL, "change nothing; fail when the database is older or newer than this orch"},
    {0},
};

const struct cli_verb verb_migrate = {
    .name = "migrate",
    .group = CLI_GROUP_START,
    .summary = "Bring the database to the schema of this orch",
    .usage = "migrate [--check]",
    .help = "Applies what is missing in one transaction and says what it did: all of it\n"
            "or nothing. Two at once are safe. A database that a newer orch has\n"
            "migrated is refused. PostgreSQL 15 to 18, no extensions.",
    .examples = "orch migrate\n"
                "orch --database postgresql://db.example.com/orch migrate",
    .options = options,
    .run = run,
};
