#include "conf/gitinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define LIMIT_US ((int64_t)10 * 1000 * 1000)

/* Reads at most `size`-1 bytes until the end or the deadline; what is beyond is thrown away. */
static bool read_output(int fd, char *out, size_t size, int64_t deadline_us) {
  size_t len = 0;
  for (;;) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int64_t left_us = deadline_us - clock_mono_us();
    if (left_us <= 0) return false;
    int ready = poll(&wait, 1, (int)(left_us / 1000) + 1);
    if (ready < 0 && errno != EINTR) return false;
    if (ready <= 0) continue;
    char chunk[4096];
    ssize_t got = read(fd, chunk, sizeof chunk);
    if (got < 0 && errno != EINTR) return false;
    if (got == 0) break;
    size_t room = size - 1 - len, take = got > 0 ? (size_t)got : 0;
    if (take > room) take = room;
    memcpy(out + len, chunk, take);
    len += take;
  }
  out[len] = '\0';
  return true;
}

/* True when git ended with 0; its first bytes are in `out`. */
static bool run_git(const char *const *words, char *out, size_t size) {
  /* Nothing of the caller's environment but where programs and the user's own git settings are. */
  const char *path = getenv("PATH"), *home = getenv("HOME");
  CLEANUP(mem_free_p) char *path_entry = mem_printf("PATH=%s", path != NULL ? path : "/usr/bin:/bin");
  CLEANUP(mem_free_p) char *home_entry = mem_printf("HOME=%s", home != NULL ? home : "/");
  static char locale[] = "LC_ALL=C", prompt[] = "GIT_TERMINAL_PROMPT=0", locks[] = "GIT_OPTIONAL_LOCKS=0";
  char *environment[] = {path_entry, home_entry, locale, prompt, locks, NULL};
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid;
  char *argv[16];
  size_t count = 0;
  for (; words[count] != NULL && count < ARRAY_LEN(argv) - 1; count++) argv[count] = mem_strdup(words[count]);
  argv[count] = NULL;
  int failed = posix_spawnp(&pid, "git", &actions, NULL, argv, environment);
  for (size_t i = 0; i < count; i++) mem_free(argv[i]);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  bool fine = failed == 0 && read_output(ends[0], out, size, clock_mono_us() + LIMIT_US);
  close(ends[0]);
  if (failed != 0) return false;
  if (!fine) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return fine && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void gitinfo_read(const char *folder, struct gitinfo *ret) {
  char commit[128], changes[16];
  /* A repository's own settings must not make git start programs. */
  const char *head[] = {"git", "-C", folder, "-c", "core.fsmonitor=false", "rev-parse", "--verify", "HEAD", NULL};
  const char *status[] = {"git", "-C", folder, "-c", "core.fsmonitor=false", "status", "--porcelain", "--", ".", NULL};
  *ret = (struct gitinfo){0};
  if (!run_git(head, commit, sizeof commit)) return;
  size_t len = strspn(commit, "0123456789abcdef");
  if (len < 40 || len >= GITINFO_COMMIT_SIZE || commit[len] != '\n') return;
  if (!run_git(status, changes, sizeof changes)) return;
  memcpy(ret->commit, commit, len);
  ret->commit[len] = '\0';
  ret->dirty = changes[0] != '\0';
}
