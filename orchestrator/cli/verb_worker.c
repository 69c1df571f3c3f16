/* orch worker */
#include "base/units.h"
#include "cli/cli_log.h"
#include "cli/verbs.h"
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 32

static bool take_duration(struct cli *cli, const char *name, int64_t *ret, struct err *err) {
  const char *text = cli_opt(cli, name);
  if (text == NULL || units_parse_duration_ms(text, ret)) return true;
  return err_set(err, ERR_USAGE, "--%s is '%.40s', expected a duration such as 30s or 5m", name, text);
}

static bool take_count(struct cli *cli, const char *name, int64_t max, unsigned *ret, struct err *err) {
  const char *text = cli_opt(cli, name);
  int64_t value = 0;
  if (text == NULL) return true;
  char what[40];
  snprintf(what, sizeof what, "--%s", name);
  if (!cli_parse_int(text, what, 0, max, &value, err)) return false;
  *ret = (unsigned)value;
  return true;
}

static bool take_list(struct cli *cli, const char *name, const char **list, const char *const **ret, struct err *err) {
  size_t count = 0;
  for (const char *word; (word = cli_opt_nth(cli, name, count)) != NULL; count++) {
    if (count == WORDS_MAX) return err_set(err, ERR_USAGE, "more than %d --%s", WORDS_MAX, name);
    list[count] = word;
  }
  list[count] = NULL;
  if (count > 0) *ret = list;
  return true;
}

static bool take_resources(struct cli *cli, struct worker_options *o, struct err *err) {
  const char *cpu = cli_opt(cli, "cpu"), *memory = cli_opt(cli, "memory");
  char *end = NULL;
  if (cpu != NULL) {
    o->cpu = strtod(cpu, &end);
    if (end == cpu || *end != '\0' || !(o->cpu >= 0.01 && o->cpu <= 10000)) {
      return err_set(err, ERR_USAGE, "--cpu is '%.40s', expected a number of cores", cpu);
    }
  }
  if (memory != NULL && !units_parse_size_bytes(memory, &o->memory_bytes)) {
    return err_set(err, ERR_USAGE, "--memory is '%.40s', expected a size such as 8GiB", memory);
  }
  return take_count(cli, "slots", 1000, &o->slots, err) && take_count(cli, "gpu", 64, &o->gpu, err);
}

static bool worker_run(struct cli *cli, struct err *err) {
  static const char *labels[WORDS_MAX + 1], *roots[WORDS_MAX + 1];
  struct worker_options o = {.store = cli_store_location(cli),
                             .name = cli_opt(cli, "name"),
                             .path = cli_opt(cli, "path"),
                             .work_folder = cli_opt(cli, "work"),
                             .keep_attempts = cli_flag(cli, "keep-attempts")};
  if (o.work_folder == NULL) o.work_folder = cli_private_folder(cli, "work");
  if (!cli_log_options(cli, err) || !take_resources(cli, &o, err)) return false;
  if (!take_list(cli, "label", labels, &o.labels, err) || !take_list(cli, "data-root", roots, &o.data_roots, err)) {
    return false;
  }
  if (!take_duration(cli, "poll", &o.poll_ms, err) || !take_duration(cli, "lease", &o.lease_ms, err) ||
      !take_duration(cli, "stop", &o.stop_ms, err) || !cli_database_url(cli, &o.database_url, err)) {
    return false;
  }
  cli->exit_code = worker_main(&o);
  return true;
}

static const struct cli_option options[] = {
    {"slots", 0, "N", "jobs at once (1)"},
    {"label", 'l', "LABEL", "what this machine offers; may be given several times"},
    {"cpu", 0, "N", "cores that jobs may ask for together (those of the machine)"},
    {"memory", 0, "SIZE", "memory that jobs may ask for together (that of the machine)"},
    {"gpu", 0, "N", "graphics processors (0)"},
    {"name", 0, "NAME", "how it is called in lists (HOST-PID)"},
    {"path", 0, "PATH", "the PATH of steps (/usr/local/bin:/usr/bin:/bin)"},
    {"data-root", 0, "FOLDER", "absolute folder that data files may lie below; may be given several times"},
    {"work", 0, "FOLDER", "where attempts run (.orch/work)"},
    {"keep-attempts", 0, NULL, "leave the folders of attempts behind"},
    {"poll", 0, "TIME", "how often to look without a wake-up (5s)"},
    {"lease", 0, "TIME", "how long a silent worker keeps its jobs (30s)"},
    {"stop", 0, "TIME", "how long SIGTERM waits for running steps (10s)"},
    CLI_LOG_OPTION,
    {0},
};

const struct cli_verb verb_worker = {
    .name = "worker",
    .group = CLI_GROUP_START,
    .summary = "Run jobs: claim them, run their steps, hand the results back",
    .usage = "worker [--slots N] [--label LABEL...]",
    .help = "Claims jobs whose resources and labels it fits, runs each step in a process\n"
            "group of its own with a clean environment, and stores what it leaves. Any number\n"
            "of workers may run, on any number of machines that share the store.\n"
            "\n"
            "SIGTERM ends it gracefully: steps get the time of --stop to finish, then jobs\n"
            "are handed back without costing an attempt. A second signal ends it at once. Log\n"
            "lines go to stderr, with --json as JSON objects.",
    .examples = "orch worker\norch worker --slots 4 --label cpu-large --memory 32GiB",
    .options = options,
    .run = worker_run,
};
