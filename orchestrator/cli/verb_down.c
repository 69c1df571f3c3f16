/* orch down: stops what `orch up` started, in the order that lets each hand over its work. */
#include <stdio.h>
#include <sys/stat.h>

#include "cli/cluster.h"
#include "cli/daemon.h"
#include "cli/home.h"

static const int grace_ms = 30000;

static bool stop_daemon(struct cli *cli, const char *home, const char *name, unsigned *stopped, struct err *err) {
  const char *pid = home_path(cli, home, arena_printf(&cli->arena, "%s.pid", name));
  if (daemon_pid(pid) != 0) {
    fprintf(stderr, "stopping orch %s\n", name);
    ++*stopped;
  }
  return daemon_stop(pid, grace_ms, err);
}

static bool stop_cluster(struct cli *cli, const char *home, unsigned *stopped, struct err *err) {
  struct cluster cluster;
  struct stat info;
  if (stat(home_path(cli, home, "cluster.json"), &info) != 0) return true; /* there never was one */
  bool ok = cluster_open(&cluster, home_path(cli, home, ""), err);
  if (ok && cluster_pid(&cluster) != 0) {
    fprintf(stderr, "stopping PostgreSQL\n");
    ++*stopped;
    ok = cluster_stop(&cluster, err);
  }
  cluster_close(&cluster);
  return ok;
}

static bool run(struct cli *cli, struct err *err) {
  char home[PATH_MAX];
  struct stat info;
  unsigned stopped = 0;
  if (!home_find(home, err)) return false;
  if (stat(home_path(cli, home, ""), &info) == 0) {
    if (!home_lock(home, err)) return false;
    if (!stop_daemon(cli, home, "worker", &stopped, err) || !stop_daemon(cli, home, "serve", &stopped, err) ||
        !stop_cluster(cli, home, &stopped, err))
      return false;
  }
  if (cli->json)
    cli_printf("{\"stopped\": %u}\n", stopped);
  else
    cli_printf("%s\n", stopped > 0 ? "down" : "nothing was up here");
  return true;
}

const struct cli_verb verb_down = {
    .name = "down",
    .group = CLI_GROUP_START,
    .summary = "Stop what 'orch up' started",
    .usage = "down",
    .help = "Stops the worker (running jobs are handed back), the server and the private\n"
            "cluster. All data stays; 'orch up' goes on with it.",
    .examples = "orch down",
    .run = run,
};
