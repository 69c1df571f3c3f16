/* orch check FILE… */
#include "cli/check_alarms.h"
#include "cli/cli_files.h"
#include "cli/verbs.h"

static json_t *report(const struct cli_file *file, const struct check_facts *facts) {
  json_t *problems = json_array();
  for (size_t i = 0; i < file->problems.count; i++) {
    const struct problem *p = &file->problems.list[i];
    json_array_append_new(
        problems, json_pack("{s:i, s:i, s:s}", "line", (int)p->line, "column", (int)p->column, "text", p->text));
  }
  json_t *document =
      json_pack("{s:s, s:s, s:b, s:o}", "file", file->path, "kind", file->is_server ? "server" : "pipeline", "fine",
                file->document != NULL, "problems", problems);
  if (file->document != NULL) json_object_set(document, "normalised", file->document);
  if (file->document != NULL && !file->is_server) {
    json_object_set_new(document, "false_alarms", check_alarms(file->document, facts));
  }
  return document;
}

static void say_fine(struct cli *cli, const struct cli_file *file, const struct check_facts *facts) {
  if (file->is_server) {
    cli_printf("%s: %s (reviewers: %zu)\n", cli_safe(cli, file->path), cli_paint(cli, CLI_GREEN, "fine"),
               json_array_size(json_object_get(file->document, "reviewers")));
    return;
  }
  cli_printf("%s: %s (pipeline %s, %s, steps: %zu, monitors: %zu, checks: %zu)\n", cli_safe(cli, file->path),
             cli_paint(cli, CLI_GREEN, "fine"), cli_member(cli, file->document, "pipeline"),
             cli_member(cli, file->document, "profile"), json_array_size(json_object_get(file->document, "steps")),
             json_array_size(json_object_get(file->document, "monitors")),
             json_array_size(json_object_get(file->document, "checks")));
  json_t *alarms = check_alarms(file->document, facts);
  check_alarms_print(cli, alarms, facts);
  json_decref(alarms);
}

/* A metrics.json as an evaluation writes it. */
static bool read_metrics(const char *path, json_t **ret, struct err *err) {
  json_error_t why;
  json_t *document = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
  if (document == NULL) return err_set(err, ERR_INVALID, "--metrics %s: %s", path, why.text);
  if (!json_is_object(document)) {
    json_decref(document);
    return err_set(err, ERR_INVALID, "--metrics %s: expected an object such as {\"accuracy\": 0.83}", path);
  }
  *ret = document;
  return true;
}

static bool read_facts(struct cli *cli, struct check_facts *facts, struct profile **ret_profile, json_t **ret_metrics,
                       struct err *err) {
  const char *rows = cli_opt(cli, "rows-per-day"), *path = cli_opt(cli, "profile"), *metrics = cli_opt(cli, "metrics");
  if (rows != NULL && !cli_parse_int(rows, "--rows-per-day", 1, INT64_C(1000000000000), &facts->rows_per_day, err)) {
    return false;
  }
  if (path != NULL && !cli_profile_csv(path, "--profile", ret_profile, err)) return false;
  facts->profile = *ret_profile;
  if (metrics != NULL && !read_metrics(metrics, ret_metrics, err)) return false;
  facts->metrics = *ret_metrics;
  return true;
}

static bool check_run(struct cli *cli, struct err *err) {
  struct cli_file server = {0};
  struct check_facts facts = {0};
  struct profile *profile = NULL;
  CLEANUP(json_decrefp) json_t *metrics = NULL;
  if (!read_facts(cli, &facts, &profile, &metrics, err) || !cli_file_server(cli, &server, err)) {
    profile_free(profile);
    return false;
  }
  json_t *files = json_array();
  bool fine = true;
  for (int i = 0; fine && i < cli->argc; i++) {
    struct cli_file file = {0};
    fine = cli_file_read(cli, cli->argv[i], &file, err);
    if (!fine) break;
    cli_file_parse(&file, server.document);
    if (cli->json) json_array_append_new(files, report(&file, &facts));
    if (file.document == NULL) {
      cli->exit_code = err_exit_code(ERR_INVALID);
      if (!cli->json) cli_file_complain(&file);
    } else if (!cli->json) {
      say_fine(cli, &file, &facts);
    }
    cli_file_fini(&file);
  }
  if (fine && cli->json) {
    json_t *document = json_pack("{s:O}", "files", files);
    cli_print_json(cli, document);
    json_decref(document);
  }
  json_decref(files);
  cli_file_fini(&server);
  profile_free(profile);
  return fine;
}

static const struct cli_option options[] = {
    {"rows-per-day", 0, "N", "how many observations come in a day, for the false alarms"},
    {"profile", 0, "FILE", "a CSV like the training's profile.csv: its columns and rows, for the false alarms"},
    {"metrics", 0, "FILE", "a metrics.json of the model's evaluation: how good it is, for the false alarms"},
    {0},
};

const struct cli_verb verb_check = {
    .name = "check",
    .group = CLI_GROUP_PIPELINE,
    .summary = "Check pipeline files and say everything that is wrong",
    .usage = "check FILE... [--rows-per-day N] [--profile FILE.csv] [--metrics FILE.json]",
    .help = "Reads pipeline files (or folders that hold a pipeline.yaml) and the server's\n"
            "orch.yaml, and reports every problem at once as FILE:LINE:COLUMN: what is\n"
            "wrong, what was expected. Nothing is changed and no database is needed.\n"
            "\n"
            "When there is an orch.yaml (in this folder, or named by --config), each gate is\n"
            "held against its reviewers: a gate that nobody can satisfy is a problem.\n"
            "\n"
            "Of every monitor it says how many false alarms a month to expect while all is\n"
            "well: computed where the rule, its windows, the reference and the model's own\n"
            "accuracy (--metrics, else the least that the checks let through) decide, a bound\n"
            "(<=) where there is one, and else (?) what it depends on and what tells. It\n"
            "warns when more than one is expected, of columns that always drift (month,\n"
            "created_at, user_id), and of windows too small for their rule. Warnings fail\n"
            "nothing.\n"
            "Exit code 0: all are fine; 2: something is wrong.",
    .examples = "orch check pipelines/housing\norch check orch.yaml pipelines/*/pipeline.yaml\n"
                "orch check pipelines/housing --rows-per-day 20000 --profile profile.csv --metrics metrics.json\n"
                "orch check pipelines/housing --json",
    .options = options,
    .min_args = 1,
    .max_args = -1,
    .run = check_run,
};
