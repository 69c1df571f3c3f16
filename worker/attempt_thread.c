/* What an attempt does in a thread: files only, no loop, no database. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attempt_private.h"
#include "conf/bundle.h"
#include "metrics.h"
#include "skeleton.h"

static bool write_file(const char *path, const char *text, struct err *err) {
  CLEANUP(mem_free_p) char *partial = mem_printf("%s.partial", path);
  int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  size_t len = strlen(text);
  bool fine = fd >= 0;
  for (size_t done = 0; fine && done < len;) {
    ssize_t wrote = write(fd, text + done, len - done);
    if (wrote < 0 && errno == EINTR) continue;
    fine = wrote >= 0;
    if (fine) done += (size_t)wrote;
  }
  fine = fine && rename(partial, path) == 0;
  int why = errno;
  if (fd >= 0) close(fd);
  return fine || err_errno(err, why, "cannot write %s", path);
}

void attempt_unpack(struct attempt *attempt) {
  if (!skeleton_take(attempt->host->work_folder, attempt->folder, &attempt->err)) return;
  CLEANUP(mem_free_p) char *config = mem_printf("%s/config.json", attempt->folder);
  if (!write_file(config, attempt->brief.config, &attempt->err)) return;
  struct store *store = attempt->host->store;
  CLEANUP(mem_free_p) char *folder = mem_printf("%s/bundle", attempt->folder);
  if (!store_verify(store, attempt->brief.bundle, &attempt->err)) return;
  int fd = store_open_object(store, attempt->brief.bundle, NULL, &attempt->err);
  if (fd < 0) return;
  if (!bundle_extract(fd, folder, &attempt->err)) err_prefix(&attempt->err, "code bundle");
  close(fd);
}

static bool is_below(const char *path, const char *folder) {
  char *real = realpath(folder, NULL);
  if (!real) return false;
  size_t len = strlen(real);
  while (len > 0 && real[len - 1] == '/') len--;
  bool below = strncmp(path, real, len) == 0 && path[len] == '/';
  free(real);
  return below;
}

/* Where the bytes of a `file` source lie; mem_free() it. */
static char *locate(struct attempt *attempt, const struct brief_data *data) {
  CLEANUP(mem_free_p) char *bundle = mem_printf("%s/bundle", attempt->folder);
  CLEANUP(mem_free_p)
  char *path = data->file[0] == '/' ? mem_strdup(data->file) : mem_printf("%s/%s", bundle, data->file);
  char *real = realpath(path, NULL);
  if (!real) {
    err_set(&attempt->err, ERR_INVALID, "data %s: there is no file %s", data->name, data->file);
    err_hint(&attempt->err, "is it left out of the bundle by .orchignore? Then name it by an absolute path");
    return NULL;
  }
  bool allowed = data->file[0] != '/' && is_below(real, bundle);
  for (const char *const *root = attempt->host->data_roots; data->file[0] == '/' && root && *root; root++)
    allowed = allowed || is_below(real, *root);
  if (allowed) return real;
  free(real);
  err_set(&attempt->err, ERR_INVALID, "data %s: %s lies outside of what this worker may read", data->name, data->file);
  err_hint(&attempt->err, "start the worker with --data-root FOLDER to allow it");
  return NULL;
}

static bool take_snapshot(struct attempt *attempt, const struct brief_data *data, const char *path,
                          struct store_ref *ret_ref) {
  struct store *store = attempt->host->store;
  if (data->command) return store_put_file(store, path, ATTEMPT_SNAPSHOT_MAX, ret_ref, &attempt->err);
  CLEANUP(mem_free_p) char *from = locate(attempt, data);
  return from && store_put_file(store, from, ATTEMPT_SNAPSHOT_MAX, ret_ref, &attempt->err);
}

/* Whatever a source's bytes came from, the step reads the copy from the store: what was hashed is what is seen. */
static bool place_data(struct attempt *attempt, const struct brief_data *data) {
  CLEANUP(mem_free_p) char *path = mem_printf("%s/data/%s", attempt->folder, data->name);
  struct store_ref ref = {0};
  if (data->snapshot) {
    snprintf(ref.digest, sizeof ref.digest, "%s", data->snapshot);
  } else {
    if (!take_snapshot(attempt, data, path, &ref)) return false;
    json_object_set_new(attempt->snapshots, data->name, json_string(ref.digest));
    if (data->command && unlink(path) != 0) return err_errno(&attempt->err, errno, "cannot replace %s", path);
  }
  return store_get_file(attempt->host->store, ref.digest, path, 0444, &attempt->err) ||
         err_prefix(&attempt->err, "data %s", data->name);
}

bool attempt_needs_commands(const struct attempt *attempt) {
  for (size_t i = 0; i < attempt->brief.data_count; i++)
    if (attempt->brief.data[i].command && !attempt->brief.data[i].snapshot) return true;
  return false;
}

void attempt_gather(struct attempt *attempt) {
  const struct brief *brief = &attempt->brief;
  struct store *store = attempt->host->store;
  for (size_t i = 0; i < brief->data_count; i++)
    if (!place_data(attempt, &brief->data[i])) return;
  for (size_t i = 0; i < brief->input_count; i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s/input/%s", attempt->folder, brief->inputs[i].step);
    if (!store_get_tree(store, brief->inputs[i].tree, path, &attempt->err)) return;
  }
  CLEANUP(mem_free_p) char *model = mem_printf("%s/model", attempt->folder);
  if (brief->model && !store_get_tree(store, brief->model, model, &attempt->err)) err_prefix(&attempt->err, "model");
}

/* Metrics, profile and artifact of a step that ended well. */
static bool take_output(struct attempt *attempt, json_t *result, char **ret_metrics) {
  CLEANUP(mem_free_p) char *folder = mem_printf("%s/output", attempt->folder);
  CLEANUP(mem_free_p) char *profile = NULL;
  struct store_ref ref;
  if (!metrics_read(folder, ret_metrics, &attempt->err)) return false;
  if (!*ret_metrics && attempt->brief.role == BRIEF_EVALUATE)
    return err_set(&attempt->err, ERR_INVALID, "an evaluation must write $ORCH_OUTPUT/metrics.json");
  if (!metrics_profile(folder, &profile, &attempt->err)) return false;
  if (profile) json_object_set_new(result, "profile", json_string(profile));
  if (!store_put_tree(attempt->host->store, folder, NULL, &ref, &attempt->err))
    return err_prefix(&attempt->err, "output");
  json_object_set_new(result, "output", json_string(ref.digest));
  return true;
}

static const char *state_of(const struct attempt *attempt, bool fine) {
  if (attempt->ending == ATTEMPT_CANCEL) return "cancelled";
  if (attempt->ending == ATTEMPT_TIMEOUT) return "timed_out";
  return fine ? "succeeded" : "failed";
}

static void add_error(const struct attempt *attempt, json_t *result) {
  const struct err *err = &attempt->err;
  char text[128];
  const char *what = err->text;
  if (attempt->ending == ATTEMPT_CANCEL) what = "cancelled";
  if (attempt->ending == ATTEMPT_TIMEOUT) {
    snprintf(text, sizeof text, "took longer than its timeout of %" PRId64 " s", attempt->brief.timeout_ms / 1000);
    what = text;
  }
  bool final = attempt->final || err->code == ERR_INVALID || err->code == ERR_LIMIT;
  json_object_set_new(result, "error", json_string(what));
  if (err->hint[0] && attempt->ending == ATTEMPT_GO_ON) json_object_set_new(result, "hint", json_string(err->hint));
  if (final) json_object_set_new(result, "retry", json_false());
}

static void add_run(const struct attempt *attempt, json_t *result) {
  if (!attempt->ran) return;
  json_object_set_new(result, "exit_code",
                      json_integer(attempt->exit.signal ? 128 + attempt->exit.signal : attempt->exit.code));
  if (attempt->exit.signal) json_object_set_new(result, "signal", json_integer(attempt->exit.signal));
  json_object_set_new(result, "dispatch_ms", json_real((double)attempt->dispatch_us / 1e3));
  json_object_set_new(result, "duration_ms", json_integer(attempt->exit.duration_ms));
  json_object_set_new(result, "max_rss_bytes", json_integer(attempt->exit.max_rss_bytes));
}

static void seal_log(struct attempt *attempt, json_t *result, bool ended_well) {
  struct err err = {0};
  struct joblog *log = joblog_open(attempt->log_path, NULL, NULL, &err);
  if (log && !ended_well) joblog_say(log, "%s", json_string_value(json_object_get(result, "error")));
  joblog_close(log);
  struct store_ref ref;
  /* A log that cannot be stored must not undo a training that worked. */
  if (store_put_file(attempt->host->store, attempt->log_path, STORE_NO_LIMIT, &ref, &err))
    json_object_set_new(result, "log", json_string(ref.digest));
}

/* For people, and for a worker that finds the folder after a crash: what this attempt came to. */
static void note_result(const struct attempt *attempt) {
  CLEANUP(mem_free_p) char *path = mem_printf("%s/result.json", attempt->folder);
  CLEANUP(mem_free_p)
  char *text = mem_printf("{\"job\":%" PRId64 ",\"lease\":%" PRId64 ",\"state\":\"%s\",\"result\":%s}\n", attempt->job,
                          attempt->lease, attempt->state, attempt->result);
  struct err ignored = {0}; /* the result itself travels by the database */
  if (!write_file(path, text, &ignored)) return;
}

/* The metrics go in as the text they are. */
static char *result_text(const json_t *result, const char *metrics) {
  char *text = json_dumps(result, JSON_COMPACT);
  ORCH_ASSERT(text != NULL);
  if (!metrics || text[1] == '}') return text;
  char *with = mem_printf("{\"metrics\":%s,%s", metrics, text + 1);
  mem_free(text);
  return with;
}

void attempt_collect(struct attempt *attempt) {
  json_t *result = json_object();
  CLEANUP(mem_free_p) char *metrics = NULL;
  add_run(attempt, result);
  bool fine = attempt->ending == ATTEMPT_GO_ON && !attempt->err.code && take_output(attempt, result, &metrics);
  if (json_object_size(attempt->snapshots)) json_object_set(result, "snapshots", attempt->snapshots);
  if (!fine) {
    json_object_del(result, "profile");
    add_error(attempt, result);
  }
  seal_log(attempt, result, fine);
  attempt->state = state_of(attempt, fine);
  attempt->result = result_text(result, fine ? metrics : NULL);
  json_decref(result);
  note_result(attempt);
}

void attempt_clean(struct attempt *attempt) {
  skeleton_prepare(attempt->host->work_folder); /* for the next attempt, while nobody waits */
  if (!attempt->keep_log && unlink(attempt->log_path) != 0 && errno != ENOENT)
    err_errno(&attempt->err, errno, "cannot remove %s", attempt->log_path);
  if (!attempt->host->keep && !store_remove_folder(attempt->folder, &attempt->err)) return;
}
