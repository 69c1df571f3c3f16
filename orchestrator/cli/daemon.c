#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

unsigned long long daemon_start_ticks(pid_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
  if (fd >= 0) close(fd);
  if (got <= 0) return 0;
  text[got] = '\0';
  const char *p = strrchr(text, ')'); /* the name may hold anything */
  if (!p || p[1] != ' ' || p[2] == 'Z') return 0;
  for (int field = 2; field < 22 && p; field++) p = strchr(p + 1, ' ');
  return p ? strtoull(p + 1, NULL, 10) : 0;
}

static bool become(uid_t uid, gid_t gid) {
  if (geteuid() != 0 || uid == 0) return true;
  return setgroups(0, NULL) == 0 && setgid(gid) == 0 && setuid(uid) == 0;
}

static void redirect(int in, int out) {
  if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0) _exit(126);
}

/* The child reports through `report` why it could not start; on exec it closes by itself. */
static void child(const char *const *argv, const char *folder, uid_t uid, gid_t gid, int log, int report, bool detach) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  redirect(null, log);
  if (detach) setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  int failed = 0;
  if (!become(uid, gid) || chdir(folder) != 0) failed = errno;
  if (!failed) {
    /* execv takes non-const words for historical reasons only */
    execv(argv[0], (char *const *)(uintptr_t)argv);
    failed = errno;
  }
  if (write(report, &failed, sizeof(failed)) < 0) _exit(126);
  _exit(127);
}

static pid_t launch(const char *const *argv, const char *folder, uid_t uid, gid_t gid, const char *log_path,
                    bool detach, struct err *err) {
  int report[2], failed = 0;
  int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (log < 0) {
    err_errno(err, errno, "cannot open %s", log_path);
    return -1;
  }
  if (pipe2(report, O_CLOEXEC) != 0) {
    err_errno(err, errno, "cannot make a pipe");
    close(log);
    return -1;
  }
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) child(argv, folder, uid, gid, log, report[1], detach);
  int errnum = errno;
  close(log);
  close(report[1]);
  ssize_t got = pid > 0 ? read(report[0], &failed, sizeof(failed)) : 0;
  close(report[0]);
  if (pid > 0 && got != (ssize_t)sizeof(failed)) return pid;
  if (pid > 0) waitpid(pid, NULL, 0);
  err_errno(err, pid > 0 ? failed : errnum, "cannot start %s", argv[0]);
  return -1;
}

bool daemon_start(const char *const *argv, const char *folder, const char *log_path, const char *pid_path,
                  struct err *err) {
  pid_t pid = launch(argv, folder, 0, 0, log_path, true, err);
  if (pid < 0) return false;
  FILE *file = fopen(pid_path, "we");
  bool ok = file && fprintf(file, "%ld %llu\n", (long)pid, daemon_start_ticks(pid)) > 0;
  if (file && fclose(file) != 0) ok = false;
  if (ok) return true;
  int errnum = errno;
  kill(pid, SIGTERM);
  return err_errno(err, errnum, "cannot write %s", pid_path);
}

pid_t daemon_pid(const char *pid_path) {
  char text[64] = {0};
  int fd = open(pid_path, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
  if (fd >= 0) close(fd);
  if (got <= 0) return 0;
  char *end = NULL;
  long pid = strtol(text, &end, 10);
  unsigned long long ticks = end ? strtoull(end, NULL, 10) : 0;
  return pid > 1 && ticks && daemon_start_ticks((pid_t)pid) == ticks ? (pid_t)pid : 0;
}

bool daemon_stop(const char *pid_path, int grace_ms, struct err *err) {
  pid_t pid = daemon_pid(pid_path);
  if (pid) {
    unsigned long long ticks = daemon_start_ticks(pid);
    if (kill(pid, SIGTERM) != 0 && errno != ESRCH) return err_errno(err, errno, "cannot stop process %ld", (long)pid);
    int64_t until_us = clock_mono_us() + 1000LL * grace_ms, give_up_us = until_us + 5000000;
    bool killed = false;
    while (daemon_start_ticks(pid) == ticks) {
      waitpid(pid, NULL, WNOHANG);
      int64_t now_us = clock_mono_us();
      if (now_us > give_up_us) return err_set(err, ERR_TIMEOUT, "process %ld does not end", (long)pid);
      if (now_us > until_us && !killed) {
        killed = true;
        kill(pid, SIGKILL);
      }
      usleep(10000);
    }
  }
  if (unlink(pid_path) != 0 && errno != ENOENT) return err_errno(err, errno, "cannot remove %s", pid_path);
  return true;
}

/* The last line that says something, for the error. */
static void last_line(const char *path, char *out, size_t size) {
  char text[2048] = {0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
  off_t from = end > (off_t)sizeof(text) - 1 ? end - (off_t)sizeof(text) + 1 : 0;
  ssize_t got = fd >= 0 ? pread(fd, text, sizeof(text) - 1, from) : 0;
  if (fd >= 0) close(fd);
  while (got > 0 && (text[got - 1] == '\n' || text[got - 1] == ' ')) text[--got] = '\0';
  const char *line = strrchr(text, '\n');
  snprintf(out, size, "%s", line ? line + 1 : text);
}

bool daemon_run(const char *const *argv, const char *folder, uid_t uid, gid_t gid, const char *log_path,
                struct err *err) {
  pid_t pid = launch(argv, folder, uid, gid, log_path, false, err);
  if (pid < 0) return false;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return err_errno(err, errno, "cannot wait for %s", argv[0]);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  char line[300];
  last_line(log_path, line, sizeof(line));
  const char *name = strrchr(argv[0], '/');
  err_set(err, ERR_IO, "%s failed: %s", name ? name + 1 : argv[0], line);
  return err_hint(err, "see %s", log_path);
}

bool daemon_can_enter(const char *folder, uid_t uid, gid_t gid) {
  pid_t pid = fork();
  if (pid == 0) _exit(become(uid, gid) && chdir(folder) == 0 ? 0 : 1);
  int status = 1;
  if (pid > 0)
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
