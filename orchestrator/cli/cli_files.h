/* The files that commands are given: a pipeline's folder or YAML file, or the server's orch.yaml; read and checked. */
#ifndef ORCH_CLI_CLI_FILES_H
#define ORCH_CLI_CLI_FILES_H

#include "cli/cli.h"
#include "conf/problems.h"
#include "stats/profile.h"

struct cli_file {
  const char *path;   /* of the YAML file, as people would name it; in cli's arena */
  const char *folder; /* of a pipeline; in cli's arena */
  bool is_server;
  char *text;
  size_t len;
  json_t *document; /* normalised; NULL when there are problems */
  struct problems problems;
};

/* Reads `word`: a YAML file, or a folder that holds pipeline.yaml. Not parsed yet. */
bool cli_file_read(struct cli *cli, const char *word, struct cli_file *ret, struct err *err) ORCH_MUST_CHECK;
/* Parses by what it is; `server` (may be NULL) is the normalised orch.yaml that gates are held against. */
void cli_file_parse(struct cli_file *file, const json_t *server);
void cli_file_fini(struct cli_file *file);

/* --config, ORCH_CONFIG or ./orch.yaml, parsed. False with ERR_NOT_FOUND only when it was named; when it was not and
 * there is none, `ret->path` is NULL. */
bool cli_file_server(struct cli *cli, struct cli_file *ret, struct err *err) ORCH_MUST_CHECK;

/* The profile that a training step would write from these rows (CSV with a header). Errors are prefixed with `what`. */
bool cli_profile_csv(const char *path, const char *what, struct profile **ret, struct err *err) ORCH_MUST_CHECK;

/* Prints the problems to stderr, one a line. */
void cli_file_complain(struct cli_file *file);

#endif
