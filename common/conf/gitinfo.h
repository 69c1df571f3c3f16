/* Which commit a folder is at, and whether it was clean: facts for a revision's record, never a condition. */
#ifndef ORCH_CONF_GITINFO_H
#define ORCH_CONF_GITINFO_H

#include <stdbool.h>

#define GITINFO_COMMIT_SIZE 65

struct gitinfo {
  char commit[GITINFO_COMMIT_SIZE]; /* empty: no git, no repository, or one that git does not trust */
  bool dirty;                       /* something in the folder is changed or not committed */
};

/* Runs git (no shell, a clean environment, at most 10 s each). Whatever goes wrong leaves `commit` empty. */
void gitinfo_read(const char *folder, struct gitinfo *ret);

#endif
