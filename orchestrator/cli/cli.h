/* The command line: one table of verbs, global options, errors as one line, tables and JSON out.
 *
 * One verb is one file `verb_NAME.c` that exports `const struct cli_verb verb_NAME`; verbs.c lists them and is the only
 * place that names them all. A verb that reads prints a table, or with --json the SQL function's document as it is.
 * Exit codes: 0 done; 1 failed; 2 usage; 3 not found; 4 refused by a rule; 5 database unreachable; 6 timed out. */
#ifndef ORCH_CLI_CLI_H
#define ORCH_CLI_CLI_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "io/db_sync.h"

struct cli_option {
  const char *name;    /* "reason": the long option without dashes */
  char letter;         /* 'r' or 0 */
  const char *arg;     /* "TEXT" when it takes a value, NULL for a flag */
  const char *summary; /* one line, no full stop */
};

#define CLI_VALUES_MAX 64
struct cli {
  const char *database; /* --database, or NULL: ask cli_database_url() */
  const char *config;   /* --config, else ORCH_CONFIG, else NULL */
  const char *store;    /* --store, else ORCH_STORE, else NULL */
  bool json;            /* --json */
  bool color;           /* a terminal, no NO_COLOR, no --no-color */
  bool terminal;        /* stdout is a terminal */
  const struct cli_verb *verb;
  int argc; /* the words after the options */
  char **argv;
  int exit_code; /* set by a verb that has already said all there is to say; 0 otherwise */
  /* given options of the verb, in order; read them by cli_opt() */
  struct {
    const char *name;
    const char *value;
  } values[CLI_VALUES_MAX];
  size_t value_count;
  struct db_sync *db; /* cli_call()'s; closed at the end */
  struct arena arena; /* lives as long as the command; 64 MiB */
};

struct cli_verb {
  const char *name;
  enum cli_group {
    CLI_GROUP_START,
    CLI_GROUP_PIPELINE,
    CLI_GROUP_PROPOSAL,
    CLI_GROUP_GATE,
    CLI_GROUP_ROLLOUT,
    CLI_GROUP_ADMIN,
    CLI_GROUP_ABOUT,
  } group;
  const char *summary;              /* one line, starts with a verb, no full stop */
  const char *usage;                /* what follows "orch ": "rollback PIPELINE [--to N]" */
  const char *help;                 /* paragraphs; lines of at most 78 characters */
  const char *examples;             /* lines, each "orch …"; at least one */
  const struct cli_option *options; /* ends with a NULL name; NULL for none */
  int min_args, max_args;           /* max -1: any number */
  bool (*run)(struct cli *cli, struct err *err) ORCH_MUST_CHECK;
};

extern const struct cli_verb *const cli_verbs[]; /* ends with NULL; see verbs.c */
const struct cli_verb *cli_find_verb(const char *name);

/* The whole program; returns the exit code. */
int cli_main(int argc, char **argv);

/* --- options and words --- */
const char *cli_opt(const struct cli *cli, const char *name); /* the last value given, or NULL; a flag's value is "" */
bool cli_flag(const struct cli *cli, const char *name);
const char *cli_opt_nth(const struct cli *cli, const char *name, size_t nth); /* repeated options; NULL at the end */
/* Every option of all verbs and all globals, for help and completion. Ends with a NULL name. */
extern const struct cli_option cli_globals[];

bool cli_parse_int(const char *text, const char *what, int64_t min, int64_t max, int64_t *ret,
                   struct err *err) ORCH_MUST_CHECK;
/* "42" or "#42". */
bool cli_parse_id(const char *text, const char *what, int64_t *ret, struct err *err) ORCH_MUST_CHECK;
/* "housing@3": the name goes to the arena. */
bool cli_parse_version(struct cli *cli, const char *text, const char **ret_pipeline, int64_t *ret_version,
                       struct err *err) ORCH_MUST_CHECK;

/* --- surroundings --- */
/* conf/secret.h's NAME or NAME_FILE into the arena; NULL when neither is set. Errors of secret_get(). */
bool cli_env(struct cli *cli, const char *name, const char **ret_value, struct err *err) ORCH_MUST_CHECK;
/* --database, else ORCH_DATABASE_URL(_FILE), else the private cluster under .orch/ of this folder or one above it.
 * ERR_DB_DOWN with a hint when there is none. */
bool cli_database_url(struct cli *cli, const char **ret_url, struct err *err) ORCH_MUST_CHECK;
/* --store, else ORCH_STORE, else `store` in the .orch/ of home_find(). */
const char *cli_store_location(struct cli *cli);
/* `name` in that .orch/. */
const char *cli_private_folder(struct cli *cli, const char *name);
/* What relative paths of rollout drivers are below: --base, else the folder that holds .orch/, else here. */
bool cli_rollout_base(struct cli *cli, char out[PATH_MAX], struct err *err) ORCH_MUST_CHECK;

/* --- the database --- */
/* One statement that gives one jsonb: a new document (json_decref). Connects at the first call. */
bool cli_call(struct cli *cli, const char *sql, size_t count, const struct db_value *values, json_t **ret,
              struct err *err) ORCH_MUST_CHECK;
/* Who acts, as the audit trail names them: the reviewer of ORCH_TOKEN(_FILE) when one is set ("reviewer:dana"; `scope`
 * is asked for first), else who is at the keyboard ("user:NAME"). The text lives in the arena. */
bool cli_actor(struct cli *cli, const char *scope, const char **ret, struct err *err) ORCH_MUST_CHECK;
/* The digest of ORCH_TOKEN(_FILE), or NULL when none is set. */
bool cli_token_hash(struct cli *cli, const char **ret, struct err *err) ORCH_MUST_CHECK;
/* {"pipeline", "state", …} from options of the same names, with limit and after as numbers. New text in the arena. */
bool cli_filter(struct cli *cli, const char *const *names, const char **ret, struct err *err) ORCH_MUST_CHECK;
extern const struct cli_option cli_option_limit, cli_option_after;
/* "More: --after N" when the document has a next page. */
void cli_print_next(struct cli *cli, const json_t *document);

/* How much fits the terminal; off a terminal, as wide and long as one likes. */
struct cli_screen {
  int columns, rows;
};
struct cli_screen cli_screen(const struct cli *cli);
/* Draws again and again until `*ret_done`, ERR_TIMEOUT after timeout_ms (0: never) or an error. On a terminal each
 * draw replaces the one before, cut where the screen ends but for the last; otherwise they follow each other. An
 * unreachable database is waited for. */
bool cli_watch(struct cli *cli, int64_t timeout_ms,
               bool (*draw)(struct cli *cli, void *arg, bool *ret_done, struct err *err), void *arg,
               struct err *err) ORCH_MUST_CHECK;

/* --- output --- */
/* Prints the document, pretty, with a newline. */
void cli_print_json(const struct cli *cli, const json_t *document);
/* printf to stdout; every "%s" must already be safe for a terminal: see cli_safe(). */
void cli_printf(const char *fmt, ...) ORCH_PRINTF(1, 2);
/* Safe words, each with a blank before it, broken between them where the terminal ends, and a line feed. `at` columns
 * of the line are taken; further lines are indented by four. */
void cli_print_words(struct cli *cli, const char *words, size_t at);
/* Text from outside, with control characters made visible; "" for NULL. Lives in the arena. */
const char *cli_safe(struct cli *cli, const char *text);
/* A member of an object as safe text: strings as they are, numbers printed, true/false as yes/no, null and absent as
 * "". */
const char *cli_member(struct cli *cli, const json_t *object, const char *key);
/* "2026-01-05 09:04:05" in local time from an RFC 3339 text, or "" for NULL. */
const char *cli_when(struct cli *cli, const char *rfc3339);
/* "3 d 4 h ago" / "in 2 h 5 m" from an RFC 3339 text, or "". */
const char *cli_ago(struct cli *cli, const char *rfc3339);
enum cli_color { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_GREEN, CLI_RED, CLI_YELLOW, CLI_CYAN };
/* The text between escape sequences when colour is on. The text must be safe. */
const char *cli_paint(struct cli *cli, enum cli_color color, const char *text);
/* One line "NAME  value", the name padded; nothing when the value is empty. The value must be safe. */
void cli_field(struct cli *cli, const char *name, const char *value);
void cli_heading(struct cli *cli, const char *text);
/* "sha256:1a2b3c4d5e6f" for people; whole digests are in the JSON. */
const char *cli_digest(struct cli *cli, const char *digest);
/* The strings of an array joined by ", ", safe. */
const char *cli_join(struct cli *cli, const json_t *array);
/* The colour that a state's name deserves: live and approved green, failed and rejected red, waiting yellow. */
enum cli_color cli_state_color(const char *state);

/* Tables by libsmartcols. Headings end with NULL; a leading '>' aligns right, '~' may be cut at the screen's edge,
 * '|' wraps. Cells are escaped here: pass outside text as it is. */
struct cli_table;
struct cli_table *cli_table_new(struct cli *cli, const char *const *headings);
void cli_table_row(struct cli_table *table);
void cli_table_cell(struct cli_table *table, const char *text); /* NULL is an empty cell */
void cli_table_cell_color(struct cli_table *table, enum cli_color color, const char *text);
void cli_table_cell_printf(struct cli_table *table, const char *fmt, ...) ORCH_PRINTF(2, 3);
/* Prints and frees; `if_empty` (may be NULL) is printed instead of a table without rows. */
void cli_table_print(struct cli_table *table, const char *if_empty);

/* --- help --- */
void cli_help_all(struct cli *cli, FILE *out);
void cli_help_verb(struct cli *cli, const struct cli_verb *verb, FILE *out);
/* The manual page's source, for scdoc. */
void cli_help_scdoc(FILE *out);
const char *cli_group_title(enum cli_group group); /* NULL after the last */

#endif
