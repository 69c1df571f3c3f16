/* How the long-running commands log: one structured line per event on stderr. */
#ifndef ORCH_CLI_CLI_LOG_H
#define ORCH_CLI_CLI_LOG_H

#include "base/log.h"
#include "cli/cli.h"

#define CLI_LOG_OPTION                                                                                                 \
  { "log-level", 0, "LEVEL", "least that is logged: debug, info, warn or error (info)" }

/* Takes the level from CLI_LOG_OPTION; --json means JSON lines. */
static inline bool cli_log_options(struct cli *cli, struct err *err) {
  const char *name = cli_opt(cli, "log-level");
  enum log_level level = LOG_INFO;
  if (name != NULL && !log_parse_level(name, &level)) {
    return err_set(err, ERR_USAGE, "--log-level is '%.40s', expected debug, info, warn or error", name);
  }
  log_set_level(level);
  log_set_json(cli->json);
  return true;
}

#endif
