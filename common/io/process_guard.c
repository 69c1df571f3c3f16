/* The guard: a forked helper that ends the groups of children once their parent is gone. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/process.h"
#include "io/process_private.h"

#define GROUPS_MAX 4096

static int guard_fd = -1; /* this process's end */

static void replace(int *groups, int old, int new) {
  for (int i = 0; i < GROUPS_MAX; i++)
    if (groups[i] == old) {
      groups[i] = new;
      return;
    }
}

/* Positive numbers are remembered, negative ones forgotten; the end of the socket is the end of the parent. */
_Noreturn static void guard(int fd) {
  static int groups[GROUPS_MAX];
  prctl(PR_SET_NAME, "orch-guard", 0, 0, 0);
  int message;
  for (;;) {
    ssize_t got = recv(fd, &message, sizeof message, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got != sizeof message) break;
    if (message > 1)
      replace(groups, 0, message);
    else if (message < -1)
      replace(groups, -message, 0);
  }
  for (int i = 0; i < GROUPS_MAX; i++)
    if (groups[i] > 1) kill(-groups[i], SIGKILL);
  _exit(0);
}

/* Holds nothing of its parent but the socket, and is not reached by signals meant for the parent's group. */
static void detach(int fd) {
  setsid();
  static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
  for (size_t i = 0; i < ARRAY_LEN(ignored); i++) signal(ignored[i], SIG_IGN);
  int null = open("/dev/null", O_RDWR);
  for (int i = 0; null >= 0 && i < 3; i++) dup2(null, i);
  if (fd > 3) close_range(3, (unsigned)fd - 1, 0);
  close_range((unsigned)fd + 1, ~0u, 0);
}

bool process_guard_start(struct err *err) {
  if (guard_fd >= 0) return true;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return err_errno(err, errno, "cannot make a socket for the guard");
  pid_t pid = fork();
  if (pid < 0) {
    int why = errno;
    close(ends[0]);
    close(ends[1]);
    return err_errno(err, why, "cannot start the guard");
  }
  if (pid == 0) {
    close(ends[0]);
    detach(ends[1]);
    guard(ends[1]);
  }
  close(ends[1]);
  guard_fd = ends[0];
  return true;
}

static void tell(int message) {
  if (guard_fd < 0) return;
  if (send(guard_fd, &message, sizeof message, MSG_NOSIGNAL) == sizeof message) return;
  log_event(LOG_WARN, "process.guard_lost", LOG_S("hint", "children may outlive this process if it is killed"));
  close(guard_fd);
  guard_fd = -1;
}

void process_guard_remember(int group) {
  tell(group);
}

void process_guard_forget(int group) {
  tell(-group);
}
