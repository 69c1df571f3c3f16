/* orch completion bash: made from the table of verbs, so that it never lags behind it. */
#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

static void print_options(const struct cli_option *options) {
  for (; options != NULL && options->name != NULL; options++) printf(" --%s", options->name);
}

static void print_verbs(void) {
  for (const struct cli_verb *const *verb = cli_verbs; *verb != NULL; verb++) printf(" %s", (*verb)->name);
}

static bool completion_run(struct cli *cli, struct err *err) {
  if (strcmp(cli->argv[0], "bash") != 0) {
    return err_set(err, ERR_USAGE, "no completion for '%s'; known is: bash", cli_safe(cli, cli->argv[0]));
  }
  printf("# bash completion for orch; made by 'orch completion bash'\n"
         "_orch() {\n"
         "  local cur=${COMP_WORDS[COMP_CWORD]} verb='' word\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    case $word in -*) ;; *) verb=$word; break ;; esac\n"
         "  done\n"
         "  local options='");
  print_options(cli_globals);
  printf("'\n  if [ -z \"$verb\" ]; then\n    options+='");
  print_verbs();
  printf("'\n  fi\n  case $verb in\n");
  for (const struct cli_verb *const *verb = cli_verbs; *verb != NULL; verb++) {
    bool takes_verbs = strcmp((*verb)->name, "help") == 0;
    if ((*verb)->options == NULL && !takes_verbs) continue;
    printf("    %s) options+='", (*verb)->name);
    print_options((*verb)->options);
    if (takes_verbs) print_verbs();
    printf("' ;;\n");
  }
  printf("  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
         "}\n"
         "complete -o default -F _orch orch\n");
  return true;
}

const struct cli_verb verb_completion = {
    .name = "completion",
    .group = CLI_GROUP_ABOUT,
    .summary = "Print the shell's completion script",
    .usage = "completion bash",
    .help = "Prints a script that completes commands and options. Load it from your\n"
            "~/.bashrc, or store it where bash-completion looks.",
    .examples = "source <(orch completion bash)\n"
                "orch completion bash > /etc/bash_completion.d/orch",
    .min_args = 1,
    .max_args = 1,
    .run = completion_run,
};
