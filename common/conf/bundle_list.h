/* Which files of a folder belong to its bundle. Internal to conf. */
#ifndef ORCH_CONF_BUNDLE_LIST_H
#define ORCH_CONF_BUNDLE_LIST_H

#include <sys/stat.h>

#include "base/mem.h"
#include "conf/bundle.h"

struct bundle_entry {
  const char *path; /* from the folder, no leading slash */
  const char *link; /* the target of a symbolic link, or NULL */
  int64_t size;
  bool executable;
};

struct bundle_list {
  struct arena arena;
  struct bundle_entry *entries; /* sorted by path, bytewise */
  size_t count, room;
  int64_t bytes;
  const char **patterns; /* of .orchignore */
  size_t pattern_count;
};

ORCH_MUST_CHECK bool bundle_list_read(struct bundle_list *list, const char *folder, struct err *err);
void bundle_list_fini(struct bundle_list *list);
/* Reads only `.orchignore`. */
ORCH_MUST_CHECK bool bundle_list_read_patterns(struct bundle_list *list, const char *folder, struct err *err);
bool bundle_list_ignores(const struct bundle_list *list, const char *path, bool is_folder);

/* Would a link at `path` with this target stay inside the folder, going by the text alone? */
bool bundle_link_stays(const char *path, const char *target);

#endif
