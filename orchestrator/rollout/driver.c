#include "rollout/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rollout/place.h"

static const int64_t command_default_ms = 60000;
static const int64_t lock_spare_ms = 10000;

/* ---- symlink ---- */

static bool points_at(const char *link, const char *target) {
  char now[PATH_MAX];
  ssize_t len = readlink(link, now, sizeof(now) - 1);
  if (len < 0) return false;
  now[len] = '\0';
  return strcmp(now, target) == 0;
}

static bool sync_folder(const char *folder, struct err *err) {
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool ok = fd >= 0 && fsync(fd) == 0;
  if (!ok) err_errno(err, errno, "cannot sync %s", folder);
  if (fd >= 0) close(fd);
  return ok;
}

/* rename(2) replaces the link in one step: a reader sees the old version or the new one, never neither. */
static bool replace_link(const struct place *place, const char *target, struct err *err) {
  char *temporary = mem_printf("%s/link.tmp", place->folder);
  bool ok = unlink(temporary) == 0 || errno == ENOENT; /* a crash may have left one */
  ok = ok && symlink(target, temporary) == 0 && rename(temporary, place->link) == 0;
  if (!ok) err_errno(err, errno, "cannot replace the link %s", place->link);
  mem_free(temporary);
  return ok && sync_folder(place->parent, err);
}

static bool move_link(const struct place *place, json_t *detail, struct err *err) {
  /* Relative, so that the folder can be mounted elsewhere, as containers do. */
  const char *target = place->artifact + strlen(place->parent) + (strcmp(place->parent, "/") != 0);
  bool already = points_at(place->link, target);
  json_object_set_new(detail, "link", json_string(place->link));
  json_object_set_new(detail, "already", json_boolean(already));
  return already || replace_link(place, target, err);
}

/* ---- all drivers ---- */

static bool act(const struct rollout_options *options, const struct rollout_move *move, struct place *place,
                json_t *detail, struct err *err) {
  int64_t timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : command_default_ms;
  json_object_set_new(detail, "driver", json_string(place->link ? "symlink" : "command"));
  if (!place_materialise(place, options, move, err)) return err_prefix(err, "the artifact");
  json_object_set_new(detail, "folder", json_string(place->artifact));
  json_object_set_new(detail, "copied", json_boolean(place->copied));
  /* A command holds the lock while it runs, and it is bounded; the link's moment under the lock is short. */
  if (!place_lock(place, lock_spare_ms + (place->link ? 0 : timeout_ms), err)) return false;
  if (!place_claim(place, move, err)) return false;
  bool ok = place->link ? move_link(place, detail, err) : command_run(options, move, place->artifact, detail, err);
  if (ok) place_tidy(place);
  return ok;
}

bool rollout_move(const struct rollout_options *options, const struct rollout_move *move, json_t **ret_detail,
                  struct err *err) {
  struct place place;
  int64_t began_us = clock_mono_us();
  if (options->base[0] != '/') return err_set(err, ERR_INTERNAL, "the base folder is not absolute");
  if (!place_open(&place, options, move, err)) return false;
  json_t *detail = json_object();
  bool ok = act(options, move, &place, detail, err);
  place_close(&place);
  json_object_set_new(detail, "took_ms", json_real((double)(clock_mono_us() - began_us) / 1000));
  if (ok && ret_detail)
    *ret_detail = detail;
  else
    json_decref(detail);
  return ok;
}

bool rollout_error_is_permanent(const struct err *err) {
  return err->code == ERR_INVALID || err->code == ERR_NOT_FOUND || err->code == ERR_LEASE_LOST;
}
