/* Help texts, all made from the table of verbs. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

const char *cli_group_title(enum cli_group group) {
  switch (group) {
  case CLI_GROUP_START:
    return "Start and stop";
  case CLI_GROUP_PIPELINE:
    return "Pipelines";
  case CLI_GROUP_PROPOSAL:
    return "Signals and proposals";
  case CLI_GROUP_GATE:
    return "Decisions";
  case CLI_GROUP_ROLLOUT:
    return "Versions and rollout";
  case CLI_GROUP_ADMIN:
    return "Administration";
  case CLI_GROUP_ABOUT:
    return "About";
  }
  return NULL;
}

static void print_options(FILE *out, const struct cli_option *options) {
  for (; options != NULL && options->name != NULL; options++) {
    char left[64];
    char letter[8] = "    ";
    if (options->letter != 0) snprintf(letter, sizeof letter, "-%c, ", options->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, options->name, options->arg != NULL ? " " : "",
             options->arg != NULL ? options->arg : "");
    fprintf(out, "  %-26s %s\n", left, options->summary);
  }
}

void cli_help_all(struct cli *cli, FILE *out) {
  fprintf(out, "orch retrains models under human control.\n\nUsage: orch [OPTIONS] COMMAND [WORDS] [OPTIONS]\n");
  for (enum cli_group group = CLI_GROUP_START; group <= CLI_GROUP_ABOUT; group++) {
    bool titled = false;
    for (const struct cli_verb *const *verb = cli_verbs; *verb != NULL; verb++) {
      if ((*verb)->group != group) continue;
      if (!titled) fprintf(out, "\n%s\n", cli_group_title(group));
      titled = true;
      fprintf(out, "  %-12s %s\n", (*verb)->name, (*verb)->summary);
    }
  }
  fprintf(out, "\nOptions of every command\n");
  print_options(out, cli_globals);
  fprintf(out, "\nExit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused by a rule,\n"
               "5 database unreachable, 6 timed out. More: orch help COMMAND\n");
}

static void print_indented(FILE *out, const char *text) {
  for (const char *at = text; *at != '\0';) {
    size_t len = strcspn(at, "\n");
    fprintf(out, "%s%.*s\n", len > 0 ? "  " : "", (int)len, at);
    at += len + (at[len] == '\n');
  }
}

void cli_help_verb(struct cli *cli, const struct cli_verb *verb, FILE *out) {
  fprintf(out, "%s.\n\nUsage: orch %s\n\n", verb->summary, verb->usage);
  print_indented(out, verb->help);
  if (verb->options != NULL && verb->options[0].name != NULL) {
    fprintf(out, "\nOptions\n");
    print_options(out, verb->options);
  }
  fprintf(out, "\nExamples\n");
  print_indented(out, verb->examples);
  fprintf(out, "\nOptions of every command\n");
  print_options(out, cli_globals);
}
