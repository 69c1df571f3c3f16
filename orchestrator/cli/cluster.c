#include "cli/cluster.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/daemon.h"
#include "io/db_sync.h"
#include "io/store.h"

#define PORT "5432"

/* ---- who and where ---- */

static bool find_user(struct cluster *cluster, struct err *err) {
  const struct passwd *entry = geteuid() != 0 ? getpwuid(geteuid()) : getpwnam("postgres");
  if (!entry && geteuid() == 0) entry = getpwnam("nobody");
  if (!entry && geteuid() != 0) {
    cluster->user = mem_printf("%ld", (long)geteuid());
    cluster->uid = geteuid();
    cluster->gid = getegid();
    return true;
  }
  if (!entry || entry->pw_uid == 0) {
    err_set(err, ERR_REFUSED, "PostgreSQL does not run as root, and there is no user postgres or nobody");
    return err_hint(err, "run orch as another user, or use a server of your own with ORCH_DATABASE_URL");
  }
  cluster->user = mem_strdup(entry->pw_name);
  cluster->uid = entry->pw_uid;
  cluster->gid = entry->pw_gid;
  return true;
}

/* Ours alone: a folder of that name which somebody else has made first is not used. */
static bool own_folder(const char *path, uid_t uid, gid_t gid) {
  struct stat info;
  if (mkdir(path, 0700) == 0) {
    if (geteuid() == 0 && chown(path, uid, gid) != 0) return false;
  } else if (errno != EEXIST) {
    return false;
  }
  return lstat(path, &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == uid && chmod(path, 0700) == 0;
}

static void place_hash(const char *orch, char out[13]) {
  uint8_t bytes[DIGEST_BYTES];
  digest_bytes(orch, strlen(orch), bytes);
  digest_hex(bytes, 6, out);
}

static char *place_data(const struct cluster *cluster, const char *hash) {
  if (daemon_can_enter(cluster->orch, cluster->uid, cluster->gid)) return mem_printf("%s/pg", cluster->orch);
  if (geteuid() == 0 && (mkdir("/var/lib/orch", 0755) == 0 || errno == EEXIST) &&
      daemon_can_enter("/var/lib/orch", cluster->uid, cluster->gid)) {
    char *folder = mem_printf("/var/lib/orch/%s", hash);
    bool ok = own_folder(folder, cluster->uid, cluster->gid);
    char *data = ok ? mem_printf("%s/pg", folder) : NULL;
    mem_free(folder);
    if (data) return data;
  }
  return mem_printf("/tmp/orch-%s/pg", hash);
}

static bool socket_fits(const char *folder) {
  return strlen(folder) + strlen("/.s.PGSQL." PORT) < sizeof(((struct sockaddr_un *)0)->sun_path) - 1 &&
         strpbrk(folder, "\"'\\,") == NULL;
}

static char *place_socket(const struct cluster *cluster, const char *hash) {
  char *folder = mem_printf("%s/run", cluster->orch);
  if (socket_fits(folder) && daemon_can_enter(cluster->orch, cluster->uid, cluster->gid)) return folder;
  mem_free(folder);
  const char *runtime = getenv("XDG_RUNTIME_DIR");
  folder = runtime && geteuid() != 0 ? mem_printf("%s/orch-%s", runtime, hash) : NULL;
  if (folder && socket_fits(folder) && access(runtime, W_OK) == 0) return folder;
  mem_free(folder);
  return mem_printf("/tmp/orch-run-%s", hash);
}

/* Digits of the newest installation, or of the one that the data was made by. */
static char *find_binaries(const struct cluster *cluster, struct err *err) {
  char wanted[16] = "";
  char *path = mem_printf("%s/PG_VERSION", cluster->data);
  FILE *file = fopen(path, "re");
  if (file && fgets(wanted, sizeof(wanted), file)) wanted[strcspn(wanted, "\n")] = '\0';
  if (file) fclose(file);
  mem_free(path);
  const char *given = getenv("ORCH_PG_HOME");
  if (given && *given) return mem_printf("%s/bin", given);
  char *found = NULL;
  long newest = 0;
  DIR *dir = opendir("/usr/lib/postgresql");
  for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
    long version = strtol(entry->d_name, NULL, 10);
    if (version <= newest || (*wanted && strcmp(wanted, entry->d_name) != 0)) continue;
    char *bin = mem_printf("/usr/lib/postgresql/%s/bin", entry->d_name), *initdb = mem_printf("%s/initdb", bin);
    bool there = access(initdb, X_OK) == 0;
    mem_free(initdb);
    mem_free(there ? found : bin);
    if (!there) continue;
    found = bin;
    newest = version;
  }
  if (dir) closedir(dir);
  const char *search = getenv("PATH");
  while (!found && search && *search) {
    size_t len = strcspn(search, ":");
    char *initdb = mem_printf("%.*s/initdb", (int)len, search);
    if (len && access(initdb, X_OK) == 0) found = mem_strndup(search, len);
    mem_free(initdb);
    search += len + (search[len] == ':');
  }
  if (found) return found;
  err_set(err, ERR_NOT_FOUND, "there is no PostgreSQL %s%sserver on this machine", wanted, *wanted ? " " : "");
  err_hint(err, "install Debian's package postgresql, or give a server with ORCH_DATABASE_URL");
  return NULL;
}

static bool remember(const struct cluster *cluster, struct err *err) {
  char *path = mem_printf("%s/cluster.json", cluster->orch);
  json_t *document =
      json_pack("{s:s, s:s, s:s}", "data", cluster->data, "socket", cluster->socket, "user", cluster->user);
  bool ok = document && json_dump_file(document, path, JSON_INDENT(2)) == 0;
  if (!ok) err_errno(err, errno, "cannot write %s", path);
  json_decref(document);
  mem_free(path);
  return ok;
}

static void recall(struct cluster *cluster) {
  char *path = mem_printf("%s/cluster.json", cluster->orch);
  json_t *document = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
  const char *data = json_string_value(json_object_get(document, "data"));
  const char *socket = json_string_value(json_object_get(document, "socket"));
  if (data && socket && data[0] == '/' && socket[0] == '/' && access(data, F_OK) == 0) {
    cluster->data = mem_strdup(data);
    cluster->socket = mem_strdup(socket);
  }
  json_decref(document);
  mem_free(path);
}

bool cluster_open(struct cluster *cluster, const char *orch, struct err *err) {
  char hash[13];
  size_t len = strlen(orch);
  while (len > 1 && orch[len - 1] == '/') len--;
  *cluster = (struct cluster){.orch = mem_strndup(orch, len)};
  if (mkdir(orch, 0755) != 0 && errno != EEXIST) return err_errno(err, errno, "cannot make %s", orch);
  if (!find_user(cluster, err)) return false;
  place_hash(cluster->orch, hash);
  recall(cluster);
  if (!cluster->data) {
    cluster->data = place_data(cluster, hash);
    cluster->socket = place_socket(cluster, hash);
  }
  /* A checkout that was moved makes the remembered socket's path too long, or leaves it elsewhere. */
  if (!socket_fits(cluster->socket))
    return err_set(err, ERR_LIMIT, "the socket's path %s is too long", cluster->socket);
  return true;
}

void cluster_close(struct cluster *cluster) {
  mem_free(cluster->orch);
  mem_free(cluster->data);
  mem_free(cluster->socket);
  mem_free(cluster->bin);
  mem_free(cluster->user);
  *cluster = (struct cluster){0};
}

bool cluster_exists(const struct cluster *cluster) {
  char *path = mem_printf("%s/PG_VERSION", cluster->data);
  bool there = access(path, F_OK) == 0;
  mem_free(path);
  return there;
}

/* ---- running or not ---- */

static pid_t recorded_pid(const struct cluster *cluster) {
  char *path = mem_printf("%s/postmaster.pid", cluster->data), text[32] = {0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
  if (fd >= 0) close(fd);
  mem_free(path);
  long pid = got > 0 ? strtol(text, NULL, 10) : 0;
  return pid > 1 ? (pid_t)pid : 0;
}

/* A postmaster works in its data folder, so a stale file whose number somebody else has now is not believed. */
pid_t cluster_pid(const struct cluster *cluster) {
  pid_t pid = recorded_pid(cluster);
  if (!pid || !daemon_start_ticks(pid)) return 0;
  char link[64], cwd[4096], real[4096];
  snprintf(link, sizeof(link), "/proc/%ld/cwd", (long)pid);
  ssize_t len = readlink(link, cwd, sizeof(cwd) - 1);
  if (len < 0 || !realpath(cluster->data, real)) return 0;
  cwd[len] = '\0';
  return strcmp(cwd, real) == 0 ? pid : 0;
}

static void remove_stale(const struct cluster *cluster) {
  char *paths[] = {mem_printf("%s/postmaster.pid", cluster->data),
                   mem_printf("%s/.s.PGSQL." PORT ".lock", cluster->socket),
                   mem_printf("%s/.s.PGSQL." PORT, cluster->socket)};
  for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
    unlink(paths[i]);
    mem_free(paths[i]);
  }
}

/* ---- making ---- */

static bool initialise(struct cluster *cluster, const char *log, struct err *err) {
  char *initdb = mem_printf("%s/initdb", cluster->bin), *fresh = mem_printf("%s.new", cluster->data);
  const char *argv[] = {initdb, "-D", fresh, "-U", "orch", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", NULL};
  char *parent = mem_strndup(cluster->data, (size_t)(strrchr(cluster->data, '/') - cluster->data));
  bool in_orch = strcmp(parent, cluster->orch) == 0;
  bool ok = in_orch || own_folder(parent, cluster->uid, cluster->gid);
  if (!ok) err_set(err, ERR_DENIED, "%s is not a folder of %s alone", parent, cluster->user);
  /* What a killed initdb left is not a cluster: it is made beside its place and renamed. */
  ok = ok && store_remove_folder(fresh, err);
  if (ok && !own_folder(fresh, cluster->uid, cluster->gid)) ok = err_errno(err, errno, "cannot make %s", fresh);
  ok = ok && daemon_run(argv, parent, cluster->uid, cluster->gid, log, err);
  if (ok && rename(fresh, cluster->data) != 0) ok = err_errno(err, errno, "cannot rename %s", fresh);
  mem_free(initdb);
  mem_free(fresh);
  mem_free(parent);
  return ok;
}

/* The folder belongs to the server's user: a link laid there must not lead root's pen elsewhere. */
static FILE *open_in_data(const struct cluster *cluster, const char *name, int flags) {
  char *path = mem_printf("%s/%s", cluster->data, name);
  int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
  mem_free(path);
  FILE *file = fd >= 0 ? fdopen(fd, (flags & O_ACCMODE) == O_RDWR ? "r+" : "w") : NULL;
  if (!file && fd >= 0) close(fd);
  return file;
}

static bool add_include(const struct cluster *cluster, struct err *err) {
  static const char line[] = "\ninclude_if_exists = 'orch.conf'\n";
  char *text = mem_alloc(65536);
  FILE *file = open_in_data(cluster, "postgresql.conf", O_RDWR);
  size_t got = file ? fread(text, 1, 65535, file) : 0;
  text[got] = '\0';
  bool ok = file && (strstr(text, line) != NULL || (fseek(file, 0, SEEK_END) == 0 && fputs(line, file) >= 0));
  if (file && fclose(file) != 0) ok = false;
  mem_free(text);
  return ok || err_errno(err, errno, "cannot write %s/postgresql.conf", cluster->data);
}

static bool configure(const struct cluster *cluster, struct err *err) {
  FILE *file = open_in_data(cluster, "orch.conf", O_WRONLY | O_CREAT | O_TRUNC);
  bool ok = file && fprintf(file,
                            "# Written by orch up at every start.\nlisten_addresses = ''\nport = " PORT "\n"
                            "unix_socket_directories = '\"%s\"'\nunix_socket_permissions = 0700\n"
                            "max_connections = 60\nshared_buffers = 64MB\nlog_min_messages = warning\n",
                            cluster->socket) > 0;
  if (ok && geteuid() == 0) ok = fchown(fileno(file), cluster->uid, cluster->gid) == 0;
  if (file && fclose(file) != 0) ok = false;
  if (!ok) return err_errno(err, errno, "cannot write %s/orch.conf", cluster->data);
  return add_include(cluster, err);
}

/* ---- starting ---- */

static bool launch(struct cluster *cluster, struct err *err) {
  char *pg_ctl = mem_printf("%s/pg_ctl", cluster->bin), *log = mem_printf("%s/server.log", cluster->data);
  char *start_log = mem_printf("%s/log/postgres-start.log", cluster->orch);
  const char *argv[] = {pg_ctl, "-D", cluster->data, "-l", log, "-w", "-t", "120", "-s", "start", NULL};
  bool ok = own_folder(cluster->socket, cluster->uid, cluster->gid);
  if (!ok) err_set(err, ERR_DENIED, "%s is not a folder of %s alone", cluster->socket, cluster->user);
  ok = ok && configure(cluster, err);
  if (ok && recorded_pid(cluster)) remove_stale(cluster);
  ok = ok && daemon_run(argv, cluster->data, cluster->uid, cluster->gid, start_log, err);
  if (!ok && err->code == ERR_IO) err_hint(err, "see %s", log);
  mem_free(pg_ctl);
  mem_free(log);
  mem_free(start_log);
  return ok;
}

static char *make_url(const struct cluster *cluster, const char *database) {
  struct strbuf url;
  strbuf_init(&url, 4096);
  strbuf_printf(&url, "postgresql:///%s?host=", database);
  strbuf_add_url(&url, cluster->socket);
  strbuf_puts(&url, "&port=" PORT "&user=orch");
  return strbuf_take(&url);
}

static bool make_database(const struct cluster *cluster, struct err *err) {
  char *url = make_url(cluster, "postgres");
  struct db_sync *db = db_sync_open(url, "orch up", err);
  mem_free(url);
  if (!db) return false;
  char *there = db_sync_call(db, "select exists (select from pg_database where datname = 'orch')", 0, NULL, err);
  bool ok = there && (there[0] == 't' || db_sync_exec(db, "create database orch", err));
  mem_free(there);
  db_sync_close(db);
  return ok;
}

static bool write_url(const struct cluster *cluster, const char *url, struct err *err) {
  char *path = mem_printf("%s/database-url", cluster->orch), *fresh = mem_printf("%s.tmp", path);
  FILE *file = fopen(fresh, "we");
  bool ok = file && fprintf(file, "%s\n", url) > 0;
  if (file && fclose(file) != 0) ok = false;
  ok = ok && rename(fresh, path) == 0;
  if (!ok) err_errno(err, errno, "cannot write %s", path);
  mem_free(path);
  mem_free(fresh);
  return ok;
}

bool cluster_start(struct cluster *cluster, void (*say)(const char *line), char **ret_url, struct err *err) {
  if (!cluster_pid(cluster)) {
    mem_free(cluster->bin);
    cluster->bin = find_binaries(cluster, err);
    if (!cluster->bin) return false;
    if (!cluster_exists(cluster)) {
      char *log = mem_printf("%s/log/initdb.log", cluster->orch);
      say("making a private PostgreSQL cluster");
      bool ok = initialise(cluster, log, err);
      mem_free(log);
      if (!ok) return false;
    }
    say("starting PostgreSQL");
    if (!launch(cluster, err)) return false;
  }
  if (!remember(cluster, err) || !make_database(cluster, err)) return false;
  char *url = make_url(cluster, "orch");
  if (!write_url(cluster, url, err)) {
    mem_free(url);
    return false;
  }
  *ret_url = url;
  return true;
}

/* ---- stopping ---- */

bool cluster_stop(struct cluster *cluster, struct err *err) {
  pid_t pid = cluster_pid(cluster);
  if (!pid) return true;
  unsigned long long ticks = daemon_start_ticks(pid);
  int64_t until_us = clock_mono_us() + 60 * 1000000LL;
  if (kill(pid, SIGINT) != 0 && errno != ESRCH) return err_errno(err, errno, "cannot stop PostgreSQL");
  while (daemon_start_ticks(pid) == ticks) {
    if (clock_mono_us() > until_us) {
      err_set(err, ERR_TIMEOUT, "PostgreSQL (process %ld) does not stop", (long)pid);
      return err_hint(err, "see %s/server.log", cluster->data);
    }
    usleep(10000);
  }
  return true;
}
