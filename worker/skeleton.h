/* The empty folders of an attempt, one set made ahead: making them takes a millisecond that a claimed job need not
 * wait. */
#ifndef ORCH_WORKER_SKELETON_H
#define ORCH_WORKER_SKELETON_H

#include <stdbool.h>

#include "base/error.h"

/* Makes a spare set in `work_folder`, unless one is there. Best effort: without it, taking makes the folders itself. */
void skeleton_prepare(const char *work_folder);

/* `folder` (which must not exist, on the file system of `work_folder`) becomes a folder with bundle, data, input,
 * output, home and tmp in it. Workers may share a work folder: a spare set goes to one of them. */
ORCH_MUST_CHECK bool skeleton_take(const char *work_folder, const char *folder, struct err *err);

#endif
