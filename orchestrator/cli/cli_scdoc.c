/* orch(1) from the table of verbs, in scdoc's words: it cannot lag behind the program. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* Text for scdoc: what it would take for formatting is escaped; it allows no spaces at the start of a line. */
static void add_text(FILE *out, const char *text, size_t len) {
  bool line_start = true, indented = false;
  for (size_t i = 0; i < len; i++) {
    if (line_start && text[i] == ' ') continue;
    if (strchr("*_\\<>", text[i]) != NULL || (line_start && strchr("#-|[].", text[i]) != NULL)) fputc('\\', out);
    /* Indented lines are lists of a kind: they keep their line ends. */
    indented = line_start ? i > 0 && text[i - 1] == ' ' : indented;
    bool ends = text[i] == '\n' && !line_start && i + 1 < len && text[i + 1] != '\n';
    if (ends && (indented || text[i + 1] == ' ')) fputs("++", out);
    fputc(text[i], out);
    line_start = text[i] == '\n';
  }
}

static void add_words(FILE *out, const char *text) {
  add_text(out, text, strlen(text));
}

static void add_options(FILE *out, const struct cli_option *options) {
  for (; options != NULL && options->name != NULL; options++) {
    fputc('*', out);
    if (options->letter != 0) fprintf(out, "-%c*, *", options->letter);
    fputs("--", out);
    add_words(out, options->name);
    fputc('*', out);
    if (options->arg != NULL) {
      fputs(" _", out);
      add_words(out, options->arg);
      fputc('_', out);
    }
    fputs("\n\t", out);
    add_words(out, options->summary);
    fputs(".\n\n", out);
  }
}

static void add_verb(FILE *out, const struct cli_verb *verb) {
  fputs("## orch ", out);
  add_words(out, verb->usage);
  fputs("\n\n", out);
  add_words(out, verb->summary);
  fputs(".\n\n", out);
  add_words(out, verb->help);
  fputs("\n\n", out);
  add_options(out, verb->options);
  fputs("```\n", out);
  fputs(verb->examples, out);
  fputs(verb->examples[0] != '\0' && verb->examples[strlen(verb->examples) - 1] == '\n' ? "```\n\n" : "\n```\n\n", out);
}

void cli_help_scdoc(FILE *out) {
  fputs("orch(1)\n\n# NAME\n\norch - retrain models under human control\n\n# SYNOPSIS\n\n"
        "*orch* [options] _command_ [words] [options]\n\n# DESCRIPTION\n\n"
        "Drift signals become retraining proposals; proposals become jobs in PostgreSQL; workers run them; a finished\n"
        "candidate waits at a gate until the people whom its policy names have approved it; promotion moves the live\n"
        "pointer, and a rollback moves it back in one command.\n\n# OPTIONS OF EVERY COMMAND\n\n",
        out);
  add_options(out, cli_globals);
  for (enum cli_group group = CLI_GROUP_START; group <= CLI_GROUP_ABOUT; group++) {
    bool titled = false;
    for (const struct cli_verb *const *verb = cli_verbs; *verb != NULL; verb++) {
      if ((*verb)->group != group) continue;
      if (!titled) fprintf(out, "# COMMANDS: %s\n\n", cli_group_title(group));
      titled = true;
      add_verb(out, *verb);
    }
  }
  fputs("# EXIT STATUS\n\n"
        "*0* done; *1* failed; *2* usage; *3* not found; *4* refused by a rule; *5* database unreachable; *6* timed "
        "out.\n\n"
        "# ENVIRONMENT\n\n"
        "*ORCH\\_DATABASE\\_URL*\n\tThe PostgreSQL server; *--database* comes before it, the private cluster under "
        ".orch/ after it.\n\n"
        "*ORCH\\_TOKEN*\n\tWho you are, for decisions and for the record.\n\n"
        "*ORCH\\_STORE*, *ORCH\\_CONFIG*\n\tAs *--store* and *--config*.\n\n"
        "*NO\\_COLOR*\n\tNo colours when it is not empty.\n\n"
        "Secrets and the database's URL may also be in a file that NAME\\_FILE names, as in ORCH\\_TOKEN\\_FILE.\n",
        out);
}
