/* Code bundles: a pipeline's folder as one deterministic tar, named by the digest of its bytes.
 *
 * The same files give the same bytes anywhere: entries sorted, times and owners zero, modes 0644 or 0755, no folder
 * entries. Left out always: `.git/`, `.orch/`, `__pycache__/`, `*.pyc`; and what `.orchignore` names, one glob a line:
 * a pattern with a slash matches the path from the folder, one without matches a name at any depth, a trailing slash
 * only folders; `#` starts a comment. Symbolic links are kept when they are relative and stay inside. */
#ifndef ORCH_CONF_BUNDLE_H
#define ORCH_CONF_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"

#define BUNDLE_BYTES_MAX ((int64_t)64 << 20) /* sum of the files */
#define BUNDLE_FILES_MAX 5000
#define BUNDLE_DEPTH_MAX 32
#define BUNDLE_PATH_MAX 1000

struct bundle_info {
  char digest[DIGEST_TEXT_SIZE]; /* of the tar's bytes */
  int64_t bytes;                 /* of the tar */
  unsigned files;
};

/* Takes the next bytes of the tar; false with `err` set stops the packing. */
typedef bool bundle_sink(void *arg, const void *bytes, size_t len, struct err *err);

/* ERR_LIMIT (named file or cap), ERR_INVALID (a link that leaves, a device, a bad .orchignore), ERR_IO, and what the
 * sink says. `sink` may be NULL: only the digest is wanted. */
ORCH_MUST_CHECK bool bundle_pack(const char *folder, bundle_sink *sink, void *arg, struct bundle_info *ret,
                                 struct err *err);

/* Whether `path` (relative to the folder) would be left out of the bundle. */
ORCH_MUST_CHECK bool bundle_leaves_out(const char *folder, const char *path, bool *ret_left_out, struct err *err);

/* Unpacks the tar that `fd` reads into the existing, empty `folder`. Refuses with ERR_INVALID: absolute paths, "..",
 * links that leave the folder, anything but files, folders and symbolic links; ERR_LIMIT over the caps above. What was
 * written before an error stays: unpack into a scratch folder. Verify the digest first: this does not. */
ORCH_MUST_CHECK bool bundle_extract(int fd, const char *folder, struct err *err);

#endif
