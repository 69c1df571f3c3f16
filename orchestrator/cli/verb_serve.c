/* orch serve: the event loop in the foreground. */
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_log.h"
#include "cli/verbs.h"
#include "serve/serve.h"

#define PUBLIC_HOST_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]_"

static bool number_option(const struct cli *cli, const char *name, int64_t max, unsigned *ret, struct err *err) {
  int64_t value = 0;
  const char *text = cli_opt(cli, name);
  if (text && !cli_parse_int(text, name, 1, max, &value, err)) return false;
  *ret = (unsigned)value;
  return true;
}

/* "https://orch.example.com": a scheme, a host, perhaps a port; nothing behind. A slash at the end is taken off. */
static bool public_url(struct cli *cli, const char **ret_url, struct err *err) {
  const char *text = NULL;
  if (!cli_env(cli, "ORCH_PUBLIC_URL", &text, err)) return false;
  if (!text || !text[0]) return true;
  char *url = arena_strdup(&cli->arena, text);
  size_t len = url ? strlen(url) : 0;
  if (len > 0 && url[len - 1] == '/') url[--len] = 0;
  const char *host = url && strncmp(url, "https://", 8) == 0  ? url + 8
                     : url && strncmp(url, "http://", 7) == 0 ? url + 7
                                                              : "";
  if (host[0] == 0 || len > 255 || strspn(host, PUBLIC_HOST_CHARS) != strlen(host)) {
    err_set(err, ERR_USAGE, "ORCH_PUBLIC_URL is '%.100s', expected https://HOST or http://HOST:PORT", text);
    return err_hint(err, "it is what browsers call this server, without a path");
  }
  *ret_url = url;
  return true;
}

static bool run(struct cli *cli, struct err *err) {
  struct serve_options serve = {.store = cli_store_location(cli), .no_prepared = cli_flag(cli, "no-prepared")};
  char base[PATH_MAX];
  unsigned grace_s = 0;
  serve.base = base;
  serve.listen = cli_opt(cli, "listen");
  if (!cli_log_options(cli, err) || !cli_rollout_base(cli, base, err)) return false;
  if (!cli_database_url(cli, &serve.database_url, err)) return false;
  if (!serve.listen && !cli_env(cli, "ORCH_LISTEN", &serve.listen, err)) return false;
  if (!public_url(cli, &serve.public_url, err)) return false;
  if (!number_option(cli, "connections", 100, &serve.connections, err)) return false;
  if (!number_option(cli, "grace", 3600, &grace_s, err)) return false;
  serve.grace_ms = grace_s * 1000;
  return serve_main(&serve, err);
}

static const struct cli_option options[] = {
    {"listen", 'l', "ADDRESS", "where to serve HTTP: 127.0.0.1:8077, [::1]:8077 or unix:/path (127.0.0.1:8077)"},
    {"base", 0, "DIR", "what relative paths of rollout drivers are below (else where .orch/ is, else here)"},
    {"connections", 0, "N", "most connections to the database (4)"},
    {"grace", 0, "SECONDS", "how long requests and leases may take when stopping (10)"},
    {"no-prepared", 0, NULL, "no prepared statements, for PgBouncer in transaction mode"},
    CLI_LOG_OPTION,
    {0},
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
            "ORCH_PUBLIC_URL (https://orch.example.com) is what browsers call this server:\n"
            "messages then carry links to its pages.\n"
            "\n"
            "Log lines go to stderr, with --json as JSON objects.",
    .examples = "orch serve\n"
                "orch serve --listen unix:/run/orch/http.sock",
    .options = options,
    .min_args = 0,
    .max_args = 0,
    .run = run,
};
