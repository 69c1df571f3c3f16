/* orch help [VERB] */
#include "cli/verbs.h"

static bool help_run(struct cli *cli, struct err *err) {
  if (cli_flag(cli, "scdoc")) {
    cli_help_scdoc(stdout);
    return true;
  }
  if (cli->argc == 0) {
    cli_help_all(cli, stdout);
    return true;
  }
  const struct cli_verb *verb = cli_find_verb(cli->argv[0]);
  if (verb == NULL) {
    err_set(err, ERR_USAGE, "there is no command '%s'", cli_safe(cli, cli->argv[0]));
    return err_hint(err, "'orch help' lists them");
  }
  cli_help_verb(cli, verb, stdout);
  return true;
}

static const struct cli_option options[] = {{"scdoc", 0, NULL, "print the manual page's source for scdoc"}, {0}};

const struct cli_verb verb_help = {
    .name = "help",
    .group = CLI_GROUP_ABOUT,
    .summary = "Show the commands, or how to use one of them",
    .usage = "help [COMMAND]",
    .help = "Without a word it lists every command. With one it shows that command's\n"
            "options and examples, as 'orch COMMAND --help' does.",
    .examples = "orch help\norch help show\norch help --scdoc | scdoc > orch.1",
    .options = options,
    .max_args = 1,
    .run = help_run,
};
