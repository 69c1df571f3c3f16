/* orch serve: the event loop in the foreground. */
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/verbs.h"
#include "serve/serve.h"

static bool number_option(const struct cli *cli, const char *name, int64_t max, unsigned *ret, struct err *err) {
  int64_t value = 0;
  const char *text = cli_opt(cli, name);
  if (text && !cli_parse_int(text, name, 1, max, &value, err)) return false;
  *ret = (unsigned)value;
  return true;
}

static bool run(struct cli *cli, struct err *err) {
  struct serve_options options = {.store = cli_store_location(cli), .no_prepared = cli_flag(cli, "no-prepared")};
  unsigned grace_s = 0;
  if (!cli_database_url(cli, &options.database_url, err)) return false;
  options.listen = cli_opt(cli, "listen");
  if (!options.listen && !cli_env(cli, "ORCH_LISTEN", &options.listen, err)) return false;
  options.public_url = cli_opt(cli, "public-url");
  if (!options.public_url && !cli_env(cli, "ORCH_PUBLIC_URL", &options.public_url, err)) return false;
  if (!number_option(cli, "connections", 100, &options.connections, err)) return false;
  if (!number_option(cli, "grace", 3600, &grace_s, err)) return false;
  options.grace_ms = grace_s * 1000;
  enum log_level level;
  const char *level_name = cli_opt(cli, "log-level");
  if (level_name) {
    if (!log_parse_level(level_name, &level)) {
      err_set(err, ERR_USAGE, "'%s' is no log level", level_name);
      return err_hint(err, "use debug, info, warn or error");
    }
    log_set_level(level);
  }
  log_set_json(cli->json);
  return serve_main(&options, err);
}

static const struct cli_option options[] = {
    {"listen", 'l', "ADDRESS", "Address to serve HTTP on: 127.0.0.1:8077, [::1]:8077 or unix:/path"},
    {"public-url", 0, "URL", "How people reach this server; for links in messages"},
    {"connections", 0, "N", "Most connections to the database; 4 unless told otherwise"},
    {"grace", 0, "SECONDS", "How long requests and leases may take when stopping; 10 unless told otherwise"},
    {"no-prepared", 0, NULL, "No prepared statements, for PgBouncer in transaction mode"},
    {"log-level", 0, "LEVEL", "Least level to log: debug, info, warn or error"},
    {NULL, 0, NULL, NULL},
};

const struct cli_verb verb_serve = {
    .name = "serve",
    .group = CLI_GROUP_START,
    .summary = "Run the server: HTTP, timed duties, messages, deployments",
    .usage = "serve [--listen ADDRESS]",
    .help = "Serves in the foreground until SIGTERM or SIGINT, then finishes what is in\n"
            "flight and exits 0. Any number of servers may run on one database.\n"
            "\n"
            "Without --listen, ORCH_LISTEN or 127.0.0.1:8077 is used. There is no TLS:\n"
            "put a proxy in front before listening on anything but loopback. The server\n"
            "starts without a database too; /readyz says 503 and why until it is there.\n"
            "\n"
            "Log lines go to stderr, with --json as JSON objects.",
    .examples = "orch serve\n"
                "orch serve --listen unix:/run/orch/http.sock --public-url https://orch.example.com\n",
    .options = options,
    .min_args = 0,
    .max_args = 0,
    .run = run,
};
