#include "cli/home.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/daemon.h"

/* Ours, root's, or, under sudo, the user's who called it: the owner of .orch/ chooses our database. */
static bool is_ours(uid_t owner) {
  const char *sudo = geteuid() == 0 ? getenv("SUDO_UID") : NULL;
  return owner == geteuid() || owner == 0 || (sudo != NULL && strtoll(sudo, NULL, 10) == (long long)owner);
}

bool home_find(char out[PATH_MAX], struct err *err) {
  char here[PATH_MAX], mark[PATH_MAX + 8];
  if (getcwd(here, sizeof(here)) == NULL) return err_errno(err, errno, "cannot tell the current folder");
  memcpy(out, here, strlen(here) + 1);
  for (;;) {
    struct stat info;
    snprintf(mark, sizeof(mark), "%s/.orch", strcmp(out, "/") == 0 ? "" : out);
    if (stat(mark, &info) == 0 && S_ISDIR(info.st_mode) && is_ours(info.st_uid)) return true;
    char *slash = strrchr(out, '/');
    if (slash == NULL || slash == out) break;
    *slash = '\0';
  }
  memcpy(out, here, strlen(here) + 1);
  return true;
}

bool home_make(const char *home, struct err *err) {
  static const char *const names[] = {".orch", ".orch/log"};
  char path[PATH_MAX + 32];
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    snprintf(path, sizeof(path), "%s/%s", home, names[i]);
    if (mkdir(path, 0755) != 0 && errno != EEXIST) return err_errno(err, errno, "cannot make %s", path);
  }
  snprintf(path, sizeof(path), "%s/.orch/.gitignore", home);
  FILE *file = fopen(path, "we");
  bool ok = file != NULL && fputs("*\n", file) >= 0;
  if (file != NULL && fclose(file) != 0) ok = false;
  return ok || err_errno(err, errno, "cannot write %s", path);
}

bool home_lock(const char *home, struct err *err) {
  char path[PATH_MAX + 32];
  snprintf(path, sizeof(path), "%s/.orch/lock", home);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return err_errno(err, errno, "cannot open %s", path);
  while (flock(fd, LOCK_EX) != 0)
    if (errno != EINTR) return err_errno(err, errno, "cannot lock %s", path);
  return true; /* kept open on purpose */
}

const char *home_path(struct cli *cli, const char *home, const char *name) {
  const char *path = arena_printf(&cli->arena, "%s/.orch/%s", home, name);
  ORCH_ASSERT(path != NULL);
  return path;
}

const char *home_listen(struct cli *cli, const char *home) {
  char line[PATH_MAX] = "";
  FILE *file = fopen(home_path(cli, home, "listen"), "re");
  if (file == NULL) return NULL;
  bool read = fgets(line, sizeof(line), file) != NULL;
  (void)fclose(file);
  line[strcspn(line, "\n")] = '\0';
  return read ? arena_strdup(&cli->arena, line) : NULL;
}

const char *home_pages_url(struct cli *cli) {
  char home[PATH_MAX];
  struct err ignored = {0};
  const char *url = NULL;
  if (!cli_env(cli, "ORCH_PUBLIC_URL", &url, &ignored)) return NULL;
  if (url != NULL) return url;
  if (!home_find(home, &ignored) || daemon_pid(home_path(cli, home, "serve.pid")) == 0) return NULL;
  const char *listen = home_listen(cli, home);
  if (listen == NULL || strncmp(listen, "unix:", 5) == 0) return NULL;
  return arena_printf(&cli->arena, "http://%s/", listen);
}

/* ---- readiness ---- */

static int connect_unix(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof(address.sun_path)) return -1;
  memcpy(address.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

/* An address that means "all" is reached by loopback. */
static int connect_tcp(const char *listen) {
  char host[256], *port;
  snprintf(host, sizeof(host), "%s", listen);
  port = strrchr(host, ':');
  if (port == NULL) return -1;
  *port++ = '\0';
  char *name = host;
  if (name[0] == '[' && strchr(name, ']') != NULL) {
    name++;
    *strchr(name, ']') = '\0';
  }
  const char *target = name;
  if (strcmp(name, "0.0.0.0") == 0) target = "127.0.0.1";
  if (strcmp(name, "::") == 0) target = "::1";
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
  if (getaddrinfo(target, port, &hints, &found) != 0) return -1;
  int fd = -1;
  for (struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
    fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0) break;
    if (fd >= 0) close(fd);
    fd = -1;
  }
  freeaddrinfo(found);
  return fd;
}

bool home_server_is_ready(const char *listen) {
  static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  int fd = strncmp(listen, "unix:", 5) == 0 ? connect_unix(listen + 5) : connect_tcp(listen);
  if (fd < 0) return false;
  struct timeval limit = {.tv_sec = 3};
  char answer[64] = {0};
  size_t len = 0;
  bool sent = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
              send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(request) - 1;
  while (sent && len < 12) {
    ssize_t got = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);
    if (got <= 0) break;
    len += (size_t)got;
  }
  close(fd);
  return strncmp(answer, "HTTP/1.1 200", 12) == 0;
}
