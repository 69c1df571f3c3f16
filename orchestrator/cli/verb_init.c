/* orch init: the server's file and a closed .orch/ in this folder; never over what is there. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/home.h"

/* The login as a reviewer's name: letters, digits, full stops, dashes. */
static void login_name(char out[64]) {
  const struct passwd *entry = getpwuid(geteuid());
  const char *login = entry != NULL ? entry->pw_name : "me";
  size_t used = 0;
  for (; *login != '\0' && used < 62; login++)
    if (isalnum((unsigned char)*login) || (used > 0 && strchr(".-_", *login) != NULL)) out[used++] = *login;
  out[used] = '\0';
  if (used == 0) snprintf(out, 64, "me");
}

static bool write_config(const char *path, bool *ret_written, struct err *err) {
  char name[64];
  login_name(name);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) return true;
  FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
  bool ok = file != NULL &&
            fprintf(file,
                    "# The server's file: who decides, and where they are asked. 'orch apply' makes it known.\n"
                    "# Nobody may approve what they have proposed themselves: name at least two people.\n"
                    "reviewers:\n"
                    "  - {name: %s, groups: [ml-owners]}\n"
                    "  # - {name: dana, email: dana@example.com, slack: T0001/U0001, groups: [ml-owners, risk]}\n"
                    "# chat:\n"
                    "#   slack: {channel: C0123456789}\n",
                    name) > 0;
  if (file != NULL && fclose(file) != 0) ok = false;
  if (!ok) return err_errno(err, errno, "cannot write %s", path);
  *ret_written = true;
  return true;
}

static bool run(struct cli *cli, struct err *err) {
  char here[PATH_MAX];
  bool written = false;
  if (getcwd(here, sizeof(here)) == NULL) return err_errno(err, errno, "cannot tell the current folder");
  if (!home_make(here, err)) return false;
  const char *path = arena_printf(&cli->arena, "%s/orch.yaml", here);
  ORCH_ASSERT(path != NULL);
  if (!write_config(path, &written, err)) return false;
  if (cli->json) {
    cli_printf("{\"written\": %s}\n", written ? "[\"orch.yaml\"]" : "[]");
    return true;
  }
  cli_printf("%s\n", written ? "wrote orch.yaml: name your reviewers in it" : "orch.yaml is there already");
  cli_printf("next: 'orch up' starts everything, 'orch apply DIR' adds a pipeline\n");
  return true;
}

const struct cli_verb verb_init = {
    .name = "init",
    .group = CLI_GROUP_START,
    .summary = "Prepare this folder: orch.yaml and .orch/",
    .usage = "init",
    .help = "Writes a first orch.yaml, with you as a reviewer, and makes .orch/, where the\n"
            "private cluster, the store and the logs will be. What is there stays as it is.",
    .examples = "orch init",
    .run = run,
};
