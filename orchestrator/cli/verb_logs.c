/* orch logs [-f] PROPOSAL: what its steps print, from the running job's file or the sealed object. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/verbs.h"
#include "io/store.h"

#define PAUSE_MS 300
#define STEPS_MAX 100

/* One step's log as far as it was printed. */
struct follow {
  int64_t job, lease;
  int fd;        /* of the file it grows in; -1 when there is none */
  int64_t shown; /* bytes printed of this lease's log */
  bool titled, finished;
};

struct logs {
  struct cli *cli;
  struct store *store;
  struct follow follows[STEPS_MAX];
  size_t count;
  bool printed;
};

/* The bytes are a program's output: control characters that could steer the terminal are made visible there; a file or
 * a pipe gets them as they are. */
static void print_bytes(const struct logs *logs, const char *bytes, size_t len) {
  if (!logs->cli->terminal) {
    fwrite(bytes, 1, len, stdout);
    return;
  }
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)bytes[i];
    bool steers = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ||
                  (c == 0xc2 && i + 1 < len && ((unsigned char)bytes[i + 1] & 0xe0) == 0x80);
    if (steers) {
      printf("\\x%02x", c);
    } else {
      putchar(c);
    }
  }
}

static void print_title(struct logs *logs, struct follow *f, const json_t *step) {
  const char *subject = cli_member(logs->cli, step, "subject");
  if (f->titled) return;
  const char *title = arena_printf(&logs->cli->arena, "== %s%s%s, attempt %s", cli_member(logs->cli, step, "step"),
                                   subject[0] != '\0' ? " of " : "", subject, cli_member(logs->cli, step, "attempt"));
  cli_printf("%s%s\n", logs->printed ? "\n" : "", cli_paint(logs->cli, CLI_BOLD, title != NULL ? title : ""));
  f->titled = logs->printed = true;
}

static bool drain_file(struct logs *logs, struct follow *f, struct err *err) {
  char buffer[65536];
  for (;;) {
    ssize_t got = pread(f->fd, buffer, sizeof buffer, f->shown);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return err_errno(err, errno, "cannot read the log");
    if (got == 0) return true;
    print_bytes(logs, buffer, (size_t)got);
    f->shown += got;
  }
}

/* The sealed object holds the same bytes as the file did: go on where the file was left. */
static bool print_sealed(struct logs *logs, struct follow *f, const char *digest, struct err *err) {
  int64_t size;
  if (f->fd >= 0) close(f->fd);
  f->fd = store_open_object(logs->store, digest, &size, err);
  if (f->fd < 0) return false;
  bool fine = drain_file(logs, f, err);
  close(f->fd);
  f->fd = -1;
  return fine;
}

static struct follow *find_follow(struct logs *logs, int64_t job) {
  for (size_t i = 0; i < logs->count; i++) {
    if (logs->follows[i].job == job) return &logs->follows[i];
  }
  if (logs->count == STEPS_MAX) return NULL;
  logs->follows[logs->count] = (struct follow){.job = job, .fd = -1};
  return &logs->follows[logs->count++];
}

static bool show_step(struct logs *logs, const json_t *step, struct err *err) {
  int64_t job = json_integer_value(json_object_get(step, "job")),
          lease = json_integer_value(json_object_get(step, "lease"));
  const char *sealed = json_string_value(json_object_get(step, "log")), *state = cli_member(logs->cli, step, "state");
  struct follow *f = job > 0 ? find_follow(logs, job) : NULL;
  if (f == NULL || f->finished || lease == 0) return true;
  if (f->lease != lease) { /* another attempt writes another file */
    if (f->fd >= 0) close(f->fd);
    *f = (struct follow){.job = job, .lease = lease, .fd = -1};
  }
  if (f->fd < 0 && sealed == NULL) {
    CLEANUP(mem_free_p) char *path = store_log_path(logs->store, job, lease);
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  }
  if (f->fd >= 0 || sealed != NULL) print_title(logs, f, step);
  bool fine = sealed != NULL ? print_sealed(logs, f, sealed, err) : f->fd < 0 || drain_file(logs, f, err);
  f->finished = strcmp(state, "running") != 0 && strcmp(state, "queued") != 0 && strcmp(state, "waiting") != 0;
  return fine;
}

static bool is_working(struct cli *cli, const json_t *document) {
  const char *state = cli_member(cli, document, "state");
  return strcmp(state, "proposed") == 0 || strcmp(state, "training") == 0 || strcmp(state, "evaluating") == 0;
}

static bool show_round(struct logs *logs, int64_t id, bool *ret_working, struct err *err) {
  json_t *document = NULL, *step;
  size_t i;
  const char *only = cli_opt(logs->cli, "step");
  struct db_value value = db_i64(id);
  if (!cli_call(logs->cli, "select orch.api_proposal($1)", 1, &value, &document, err)) return false;
  bool fine = true, known = only == NULL;
  *ret_working = is_working(logs->cli, document);
  json_array_foreach(json_object_get(document, "steps"), i, step) {
    const char *name = json_string_value(json_object_get(step, "step"));
    if (only != NULL && (name == NULL || strcmp(name, only) != 0)) continue;
    known = true;
    fine = fine && show_step(logs, step, err);
  }
  if (fine && !known) fine = err_set(err, ERR_NOT_FOUND, "proposal #%lld has no step '%.60s'", (long long)id, only);
  json_decref(document);
  return fine;
}

static bool follow_all(struct logs *logs, int64_t id, struct err *err) {
  struct timespec pause = {0, PAUSE_MS * 1000000L};
  for (bool working = true; working;) {
    struct arena kept = logs->cli->arena;
    arena_init(&logs->cli->arena, (size_t)64 << 20);
    bool fine = show_round(logs, id, &working, err);
    arena_fini(&logs->cli->arena);
    logs->cli->arena = kept;
    if (!fine) return false;
    if (fflush(stdout) != 0) return err_set(err, ERR_IO, "the output could not be written");
    if (!cli_flag(logs->cli, "follow")) break;
    if (working) nanosleep(&pause, NULL);
  }
  return true;
}

static bool logs_run(struct cli *cli, struct err *err) {
  int64_t id;
  if (!cli_parse_id(cli->argv[0], "the proposal", &id, err)) return false;
  struct logs *logs = mem_alloc(sizeof *logs);
  logs->cli = cli;
  logs->store = store_open(cli_store_location(cli), err);
  bool fine = logs->store != NULL && follow_all(logs, id, err);
  if (fine && !logs->printed) fprintf(stderr, "orch: nothing was logged yet\n");
  for (size_t i = 0; i < logs->count; i++) {
    if (logs->follows[i].fd >= 0) close(logs->follows[i].fd);
  }
  store_close(logs->store);
  mem_free(logs);
  return fine;
}

static const struct cli_option options[] = {
    {"follow", 'f', NULL, "go on until training and evaluation have ended"},
    {"step", 's', "NAME", "only this step"},
    {0},
};

const struct cli_verb verb_logs = {
    .name = "logs",
    .group = CLI_GROUP_PROPOSAL,
    .summary = "Print what the steps of a proposal wrote",
    .usage = "logs [-f] PROPOSAL [--step NAME]",
    .help = "Standard output and error of each step, in the order of the steps. It reads the\n"
            "store that the workers write to (--store, ORCH_STORE or .orch/store).",
    .examples = "orch logs 42\norch logs -f 42 --step train",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .run = logs_run,
};
