/* Options, dispatch and the one line of an error. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/nearest.h"

#define ARENA_MAX ((size_t)64 << 20)
#define OPTIONS_MAX 32

const struct cli_option cli_globals[] = {
    {"database", 0, "URL", "the PostgreSQL server (else ORCH_DATABASE_URL, else the private one under .orch/)"},
    {"config", 0, "FILE", "the server's file (else ORCH_CONFIG, else orch.yaml)"},
    {"store", 0, "DIR", "the store of artifacts (else ORCH_STORE, else .orch/store)"},
    {"json", 0, NULL, "print the document that the HTTP API returns"},
    {"no-color", 0, NULL, "no colours; NO_COLOR in the environment says the same"},
    {"help", 'h', NULL, "show help and stop"},
    {0},
};

const struct cli_verb *cli_find_verb(const char *name) {
  for (const struct cli_verb *const *verb = cli_verbs; *verb != NULL; verb++) {
    if (strcmp((*verb)->name, name) == 0) return *verb;
  }
  return NULL;
}

const char *cli_opt_nth(const struct cli *cli, const char *name, size_t nth) {
  for (size_t i = 0; i < cli->value_count; i++) {
    if (strcmp(cli->values[i].name, name) == 0 && nth-- == 0) return cli->values[i].value;
  }
  return NULL;
}

const char *cli_opt(const struct cli *cli, const char *name) {
  const char *last = NULL;
  for (size_t i = 0; i < cli->value_count; i++) {
    if (strcmp(cli->values[i].name, name) == 0) last = cli->values[i].value;
  }
  return last;
}

bool cli_flag(const struct cli *cli, const char *name) {
  return cli_opt(cli, name) != NULL;
}

static bool unknown_verb(struct cli *cli, const char *name, struct err *err) {
  const char *known[128];
  size_t count = 0;
  for (; cli_verbs[count] != NULL && count < ARRAY_LEN(known) - 1; count++) known[count] = cli_verbs[count]->name;
  known[count] = NULL;
  const char *near = nearest_word(name, known);
  err_set(err, ERR_USAGE, "there is no command '%s'", cli_safe(cli, name));
  return near != NULL ? err_hint(err, "did you mean 'orch %s'?", near) : err_hint(err, "'orch help' lists them");
}

static bool unknown_option(struct cli *cli, char **argv, const struct option *table, struct err *err) {
  const char *word = optind > 0 ? argv[optind - 1] : "";
  if (optopt != 0 && optopt < 256 && strncmp(word, "--", 2) != 0) {
    err_set(err, ERR_USAGE, "unknown option -%s", cli_safe(cli, (char[]){(char)optopt, 0}));
  } else {
    const char *known[OPTIONS_MAX + 1];
    size_t count = 0;
    for (; table[count].name != NULL; count++) known[count] = table[count].name;
    known[count] = NULL;
    char *name = arena_strdup(&cli->arena, word + (strncmp(word, "--", 2) == 0 ? 2 : 0));
    if (name != NULL) name[strcspn(name, "=")] = '\0';
    for (size_t i = 0; name != NULL && i < count; i++) {
      if (strcmp(known[i], name) == 0) return err_set(err, ERR_USAGE, "option --%s takes no value", known[i]);
    }
    err_set(err, ERR_USAGE, "unknown option '%s'", cli_safe(cli, word));
    const char *near = nearest_word(name, known);
    if (near != NULL) return err_hint(err, "did you mean --%s?", near);
  }
  return cli->verb != NULL ? err_hint(err, "see 'orch %s --help'", cli->verb->name) : err_hint(err, "see 'orch help'");
}

static void take_option(struct cli *cli, const struct cli_option *option, const char *value, bool global) {
  if (!global) {
    cli->values[cli->value_count].name = option->name;
    cli->values[cli->value_count++].value = value != NULL ? value : "";
    return;
  }
  if (strcmp(option->name, "database") == 0) cli->database = value;
  if (strcmp(option->name, "config") == 0) cli->config = value;
  if (strcmp(option->name, "store") == 0) cli->store = value;
  if (strcmp(option->name, "json") == 0) cli->json = true;
  if (strcmp(option->name, "no-color") == 0) cli->color = false;
}

/* One pass of getopt_long. `verb` NULL: only the globals, and stop at the first word. */
static bool parse_options(struct cli *cli, int argc, char **argv, const struct cli_verb *verb, bool *ret_help,
                          struct err *err) {
  const struct cli_option *options[OPTIONS_MAX];
  struct option table[OPTIONS_MAX + 1] = {0};
  char letters[2 + 2 * OPTIONS_MAX + 1] = {verb == NULL ? '+' : ':', ':', 0};
  size_t count = 0, used = verb == NULL ? 2 : 1, globals = 0;
  for (const struct cli_option *o = cli_globals; o->name != NULL; o++) options[count++] = o;
  globals = count;
  for (const struct cli_option *o = verb != NULL ? verb->options : NULL; o != NULL && o->name != NULL; o++) {
    ORCH_ASSERT(count < OPTIONS_MAX);
    options[count++] = o;
  }
  for (size_t i = 0; i < count; i++) {
    bool value = options[i]->arg != NULL;
    table[i] = (struct option){options[i]->name, value ? required_argument : no_argument, NULL, 256 + (int)i};
    if (options[i]->letter == 0) continue;
    letters[used++] = options[i]->letter;
    if (value) letters[used++] = ':';
  }
  letters[used] = '\0';
  opterr = 0;
  optind = 0;
  for (int got; (got = getopt_long(argc, argv, letters, table, NULL)) != -1;) {
    if (got == '?') return unknown_option(cli, argv, table, err);
    if (got == ':') return err_set(err, ERR_USAGE, "option %s needs a value", cli_safe(cli, argv[optind - 1]));
    size_t at = 0;
    while (at < count && (int)at + 256 != got && options[at]->letter != got) at++;
    ORCH_ASSERT(at < count);
    if (strcmp(options[at]->name, "help") == 0 && at < globals) *ret_help = true;
    if (cli->value_count == CLI_VALUES_MAX) return err_set(err, ERR_LIMIT, "more than %d options", CLI_VALUES_MAX);
    take_option(cli, options[at], optarg, at < globals);
  }
  return true;
}

static bool check_arg_count(const struct cli *cli, const struct cli_verb *verb, struct err *err) {
  if (cli->argc >= verb->min_args && (verb->max_args < 0 || cli->argc <= verb->max_args)) return true;
  err_set(err, ERR_USAGE, "%s: %s", verb->name, cli->argc < verb->min_args ? "too few words" : "too many words");
  return err_hint(err, "usage: orch %s", verb->usage);
}

static bool run(struct cli *cli, int argc, char **argv, struct err *err) {
  bool help = false;
  static char version[] = "version";
  if (argc >= 2 && strcmp(argv[1], "--version") == 0) argv[1] = version; /* what everybody tries first */
  if (!parse_options(cli, argc, argv, NULL, &help, err)) return false;
  int first = optind;
  if (help || first >= argc) {
    cli_help_all(cli, help ? stdout : stderr);
    cli->exit_code = help ? 0 : 2;
    return true;
  }
  cli->verb = cli_find_verb(argv[first]);
  if (cli->verb == NULL) return unknown_verb(cli, argv[first], err);
  if (!parse_options(cli, argc - first, argv + first, cli->verb, &help, err)) return false;
  if (help) {
    cli_help_verb(cli, cli->verb, stdout);
    return true;
  }
  cli->argc = argc - first - optind;
  cli->argv = argv + first + optind;
  if (!check_arg_count(cli, cli->verb, err)) return false;
  return cli->verb->run(cli, err);
}

/* Database roles decide what a login may do; PostgreSQL names the function, we name the way out. */
static void explain_privilege(struct err *err) {
  if (strcmp(err->sqlstate, "42501") != 0 || err->hint[0] != '\0') return;
  err->code = ERR_DENIED;
  err_hint(err,
           "this database login lacks the role for it: ask its owner to GRANT orch_operator (or orch_reader) TO it");
}

static void print_error(struct cli *cli, const struct err *err) {
  /* Text of an error may quote what came from outside. */
  struct strbuf line;
  strbuf_init(&line, 4096);
  strbuf_puts(&line, "orch: ");
  strbuf_add_terminal(&line, err->text[0] != '\0' ? err->text : "failed without saying why");
  if (err->hint[0] != '\0') {
    strbuf_puts(&line, "; ");
    strbuf_add_terminal(&line, err->hint);
  }
  fflush(stdout);
  fprintf(stderr, "%s\n", strbuf_text(&line));
  strbuf_fini(&line);
}

int cli_main(int argc, char **argv) {
  struct cli cli = {0};
  struct err err = {0};
  setlocale(LC_ALL, "");
  setlocale(LC_NUMERIC, "C"); /* numbers are read and written with a full stop everywhere */
  arena_init(&cli.arena, ARENA_MAX);
  cli.terminal = isatty(STDOUT_FILENO) == 1;
  const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
  cli.color = cli.terminal && (no_color == NULL || no_color[0] == '\0') && (term == NULL || strcmp(term, "dumb") != 0);
  cli.config = getenv("ORCH_CONFIG");
  cli.store = getenv("ORCH_STORE");
  int code;
  if (run(&cli, argc, argv, &err)) {
    code = cli.exit_code;
  } else {
    explain_privilege(&err);
    print_error(&cli, &err);
    code = err_exit_code(err.code);
  }
  if (fflush(stdout) != 0 && code == 0) {
    fprintf(stderr, "orch: the output could not be written: %s\n", strerror(errno));
    code = 1;
  }
  db_sync_close(cli.db);
  arena_fini(&cli.arena);
  return code;
}
