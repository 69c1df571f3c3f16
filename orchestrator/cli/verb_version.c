/* orch version */
#include "cli/verbs.h"

static bool version_run(struct cli *cli, struct err *err) {
  if (cli->json) {
    json_t *document = json_pack("{s:s}", "version", ORCH_VERSION);
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  cli_printf("orch %s\n", ORCH_VERSION);
  return true;
}

const struct cli_verb verb_version = {
    .name = "version",
    .group = CLI_GROUP_ABOUT,
    .summary = "Show the version of this program",
    .usage = "version",
    .help = "Prints the version that this binary was built as.",
    .examples = "orch version\norch version --json",
    .run = version_run,
};
