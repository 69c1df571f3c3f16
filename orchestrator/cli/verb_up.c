/* orch up: the private cluster, the schema, one server, one worker. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cluster.h"
#include "cli/daemon.h"
#include "cli/home.h"
#include "io/migrate.h"

static const int64_t ready_ms = 60000;
static const char default_listen[] = "127.0.0.1:8077";

struct up {
  struct cli *cli;
  char home[PATH_MAX];
  const char *url;    /* of the database */
  const char *listen; /* where the server is */
  bool private_cluster;
  bool started_serve, started_worker;
};

static void say(const char *line) {
  fprintf(stderr, "%s\n", line);
}

static void say_file(void *arg, const char *line) {
  (void)arg;
  fprintf(stderr, "  %s\n", line);
}

/* ---- the database ---- */

static bool find_database(struct up *up, struct err *err) {
  struct cli *cli = up->cli;
  up->url = cli->database;
  if (up->url == NULL && !cli_env(cli, "ORCH_DATABASE_URL", &up->url, err)) return false;
  if (up->url != NULL) return true;
  up->private_cluster = true;
  struct cluster cluster;
  char *url = NULL;
  bool ok = cluster_open(&cluster, home_path(cli, up->home, ""), err) && cluster_start(&cluster, say, &url, err);
  cluster_close(&cluster);
  if (ok) up->url = arena_strdup(&cli->arena, url);
  mem_free(url);
  return ok;
}

static bool migrate(struct up *up, struct err *err) {
  CLEANUP(db_sync_close_p) struct db_sync *db = db_sync_open(up->url, "orch up", err);
  if (db == NULL) return false;
  struct migrate_source source = migrate_embedded();
  struct err behind = {0};
  if (migrate_check(db, &source, &behind)) return true;
  say("migrating the database");
  return migrate_apply(db, &source, say_file, NULL, NULL, err);
}

/* ---- the processes ---- */

static bool own_program(char out[PATH_MAX], struct err *err) {
  ssize_t len = readlink("/proc/self/exe", out, PATH_MAX - 1);
  if (len < 0) return err_errno(err, errno, "cannot tell where this program is");
  out[len] = '\0';
  return true;
}

/* Settings travel in the environment: a database URL on a command line would stand in everybody's ps. */
static bool set_surroundings(struct up *up, struct err *err) {
  struct cli *cli = up->cli;
  const char *store = cli->store != NULL ? cli->store : home_path(cli, up->home, "store");
  bool ok = setenv("ORCH_DATABASE_URL", up->url, 1) == 0 && setenv("ORCH_STORE", store, 1) == 0 &&
            setenv("ORCH_LISTEN", up->listen, 1) == 0;
  if (ok && cli->config != NULL) ok = setenv("ORCH_CONFIG", cli->config, 1) == 0;
  if (!ok) return err_errno(err, errno, "cannot set the environment");
  unsetenv("ORCH_DATABASE_URL_FILE");
  if (cli->store == NULL && mkdir(store, 0755) != 0 && errno != EEXIST)
    return err_errno(err, errno, "cannot make %s", store);
  return true;
}

static bool write_listen(struct up *up, struct err *err) {
  const char *path = home_path(up->cli, up->home, "listen");
  FILE *file = fopen(path, "we");
  bool ok = file != NULL && fprintf(file, "%s\n", up->listen) > 0;
  if (file != NULL && fclose(file) != 0) ok = false;
  return ok || err_errno(err, errno, "cannot write %s", path);
}

static bool start_processes(struct up *up, struct err *err) {
  struct cli *cli = up->cli;
  char program[PATH_MAX];
  const char *slots = cli_opt(cli, "slots");
  if (!own_program(program, err) || !set_surroundings(up, err)) return false;
  const char *serve_pid = home_path(cli, up->home, "serve.pid"), *worker_pid = home_path(cli, up->home, "worker.pid");
  if (daemon_pid(serve_pid) == 0) {
    say("starting orch serve");
    const char *argv[] = {program, "serve", NULL};
    if (!write_listen(up, err)) return false;
    if (!daemon_start(argv, up->home, home_path(cli, up->home, "log/serve.log"), serve_pid, err)) return false;
    up->started_serve = true;
  } else {
    const char *listen = home_listen(cli, up->home);
    if (listen != NULL) up->listen = listen;
  }
  if (cli_flag(cli, "no-worker") || daemon_pid(worker_pid) != 0) return true;
  say("starting orch worker");
  const char *argv[] = {program, "worker", slots != NULL ? "--slots" : NULL, slots, NULL};
  up->started_worker = true;
  return daemon_start(argv, up->home, home_path(cli, up->home, "log/worker.log"), worker_pid, err);
}

/* ---- readiness ---- */

static bool still_there(struct up *up, const char *name, struct err *err) {
  const char *pid = arena_printf(&up->cli->arena, "%s/.orch/%s.pid", up->home, name);
  if (pid == NULL || daemon_pid(pid) != 0) return true;
  err_set(err, ERR_IO, "orch %s has ended right after its start", name);
  return err_hint(err, "see %s/.orch/log/%s.log", up->home, name);
}

/* The worker has told the database that it is there. Whoever may not look takes its process for an answer. */
static bool worker_is_ready(struct db_sync *db, pid_t pid) {
  struct err ignored = {0};
  struct db_value values[] = {db_i64(pid)};
  char *text = db_sync_call(db, "select exists (select from orch.worker where pid = $1 and state = 'active')",
                            ARRAY_LEN(values), values, &ignored);
  bool ready = text == NULL || text[0] == 't';
  mem_free(text);
  return ready;
}

static bool wait_until_ready(struct up *up, struct err *err) {
  struct cli *cli = up->cli;
  CLEANUP(db_sync_close_p) struct db_sync *db = db_sync_open(up->url, "orch up", err);
  if (db == NULL) return false;
  int64_t until_us = clock_mono_us() + ready_ms * 1000;
  bool serve = false, worker = cli_flag(cli, "no-worker");
  while (!serve || !worker) {
    if (!still_there(up, "serve", err)) return false;
    if (!worker && !still_there(up, "worker", err)) return false;
    serve = serve || home_server_is_ready(up->listen);
    worker = worker || worker_is_ready(db, daemon_pid(home_path(cli, up->home, "worker.pid")));
    if (serve && worker) break;
    if (clock_mono_us() > until_us) {
      err_set(err, ERR_TIMEOUT, "%s is not ready after %lld s", serve ? "orch worker" : "orch serve",
              (long long)ready_ms / 1000);
      return err_hint(err, "see %s/.orch/log/", up->home);
    }
    usleep(20000);
  }
  return true;
}

/* ---- the verb ---- */

static void print(struct up *up) {
  struct cli *cli = up->cli;
  bool unix_socket = strncmp(up->listen, "unix:", 5) == 0;
  const char *server = unix_socket ? up->listen : arena_printf(&cli->arena, "http://%s", up->listen);
  bool already = !up->started_serve && !up->started_worker;
  struct strbuf where;
  strbuf_init(&where, 1000);
  db_describe_url(up->url, &where);
  if (cli->json) {
    json_t *document = json_pack("{s:s, s:s, s:s, s:b, s:b}", "url", server, "database", strbuf_text(&where), "home",
                                 up->home, "private_cluster", up->private_cluster, "already_up", already);
    cli_print_json(cli, document);
    json_decref(document);
  } else {
    cli_printf("%s\n", already ? "already up" : "up");
    cli_printf("  server    %s\n", cli_safe(cli, server));
    if (!unix_socket)
      cli_printf("  pages     %s/  (orch token create NAME --scope read signs you in)\n", cli_safe(cli, server));
    cli_printf("  database  %s%s\n", cli_safe(cli, strbuf_text(&where)), up->private_cluster ? " (private)" : "");
    cli_printf("  logs      %s/.orch/log/\n", cli_safe(cli, up->home));
    cli_printf("'orch status' shows what goes on; 'orch down' stops it all\n");
  }
  strbuf_fini(&where);
}

static bool run(struct cli *cli, struct err *err) {
  struct up *up = arena_alloc(&cli->arena, sizeof(*up));
  ORCH_ASSERT(up != NULL);
  up->cli = cli;
  up->listen = cli_opt(cli, "listen");
  int64_t slots;
  if (cli_opt(cli, "slots") != NULL && !cli_parse_int(cli_opt(cli, "slots"), "--slots", 1, 1000, &slots, err))
    return false;
  if (up->listen == NULL && !cli_env(cli, "ORCH_LISTEN", &up->listen, err)) return false;
  if (up->listen == NULL) up->listen = default_listen;
  if (!home_find(up->home, err) || !home_make(up->home, err) || !home_lock(up->home, err)) return false;
  if (!find_database(up, err) || !migrate(up, err) || !start_processes(up, err)) return false;
  if (!wait_until_ready(up, err)) return false;
  print(up);
  return true;
}

static const struct cli_option options[] = {
    {"listen", 'l', "ADDRESS", "where the server listens (else ORCH_LISTEN, else 127.0.0.1:8077)"},
    {"slots", 0, "N", "jobs that the worker runs at once (1)"},
    {"no-worker", 0, NULL, "start no worker"},
    {0},
};

const struct cli_verb verb_up = {
    .name = "up",
    .group = CLI_GROUP_START,
    .summary = "Start everything here: database, server, one worker",
    .usage = "up [--listen ADDRESS] [--slots N] [--no-worker]",
    .help = "Makes a private PostgreSQL cluster under .orch/ (a unix socket, no TCP, never\n"
            "as root), brings it to this orch's schema, starts 'orch serve' and one\n"
            "'orch worker' in the background and waits until they are ready. What runs\n"
            "already is left alone, so it can be given again at any time.\n"
            "\n"
            "With --database or ORCH_DATABASE_URL that server is used instead, and no\n"
            "cluster is made.",
    .examples = "orch up\n"
                "orch up --listen 127.0.0.1:9000 --slots 4",
    .options = options,
    .run = run,
};
