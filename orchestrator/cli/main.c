/* The `orch` binary: everything starts in the table of verbs. */
#include "cli/cli.h"

int main(int argc, char **argv) {
  return cli_main(argc, argv);
}
