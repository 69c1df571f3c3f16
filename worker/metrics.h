/* What a step says of itself: `metrics.json` and `profile.csv` in its output folder. Files from outside: all bounded.
 */
#ifndef ORCH_WORKER_METRICS_H
#define ORCH_WORKER_METRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define METRICS_BYTES_MAX (1 << 20)
#define METRICS_NUMBERS_MAX 10000
#define METRICS_DEPTH_MAX 6
#define METRICS_NAME_MAX 200

/* Reads FOLDER/metrics.json: an object of finite numbers and of such objects. *ret is its text as it stands there, so
 * that no digit is lost or added on the way, or NULL when there is no such file; mem_free() it. ERR_INVALID names the
 * key or the line; ERR_LIMIT. */
ORCH_MUST_CHECK bool metrics_read(const char *folder, char **ret, struct err *err);
/* The rules alone. */
ORCH_MUST_CHECK bool metrics_check(const char *text, size_t len, struct err *err);

/* Turns FOLDER/profile.csv into the profile's binary form, as base64. *ret is NULL when there is no such file;
 * mem_free() it. Errors name the line. */
ORCH_MUST_CHECK bool metrics_profile(const char *folder, char **ret, struct err *err);

#endif
