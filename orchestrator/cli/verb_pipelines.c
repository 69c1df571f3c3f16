/* orch pipelines [PIPELINE] */
#include <string.h>

#include "cli/cli_monitor.h"
#include "cli/verbs.h"

static void list(struct cli *cli, const json_t *document) {
  struct cli_table *table = cli_table_new(
      cli, (const char *const[]){"PIPELINE", "LIVE", "SINCE", "OWNER", "~ON CALL", "REVISION", "~HOLD", NULL});
  size_t i;
  json_t *p;
  json_array_foreach(json_object_get(document, "pipelines"), i, p) {
    const json_t *live = json_object_get(p, "live"), *hold = json_object_get(p, "hold");
    cli_table_row(table);
    cli_table_cell(table, json_string_value(json_object_get(p, "pipeline")));
    cli_table_cell_color(table, CLI_GREEN, json_is_object(live) ? cli_member(cli, live, "version") : "-");
    cli_table_cell(table, cli_ago(cli, json_string_value(json_object_get(live, "since"))));
    cli_table_cell(table, json_string_value(json_object_get(p, "owner")));
    cli_table_cell(table, json_string_value(json_object_get(p, "oncall")));
    cli_table_cell(table, cli_digest(cli, json_string_value(json_object_get(p, "revision"))));
    cli_table_cell_color(table, CLI_YELLOW, json_string_value(json_object_get(hold, "reason")));
  }
  cli_table_print(table, "No pipelines yet: orch apply FOLDER adds one.");
}

static void show_monitors(struct cli *cli, const json_t *monitors) {
  if (json_array_size(monitors) == 0) return;
  cli_heading(cli, "Monitors");
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"MONITOR", "KIND", "~WATCHES", "WINDOW", "COMPARED WITH", "LAST WINDOW",
                                               "VERDICT", "CLOSED", NULL});
  size_t i;
  json_t *m;
  json_array_foreach(monitors, i, m) {
    const json_t *last = json_array_get(json_object_get(m, "windows"), 0), *spec = json_object_get(m, "spec");
    const char *verdict = json_string_value(json_object_get(last, "verdict"));
    if (!json_is_true(json_object_get(m, "active"))) continue;
    cli_table_row(table);
    cli_table_cell(table, json_string_value(json_object_get(m, "monitor")));
    cli_table_cell(table, json_string_value(json_object_get(spec, "kind")));
    cli_table_cell(table, cli_monitor_watches(cli, spec));
    cli_table_cell(table, cli_monitor_window(cli, spec));
    cli_table_cell_printf(table, "%s%s",
                          json_is_integer(json_object_get(m, "reference")) ? "version " : "nothing is live",
                          cli_member(cli, m, "reference"));
    cli_table_cell(table, cli_monitor_span(cli, last));
    cli_table_cell_color(table, cli_verdict_color(verdict), verdict);
    cli_table_cell(table, cli_ago(cli, json_string_value(json_object_get(last, "closed_at"))));
  }
  cli_table_print(table, NULL);
}

static void show(struct cli *cli, const json_t *p) {
  const json_t *revision = json_object_get(p, "revision"), *live = json_object_get(p, "live");
  const json_t *hold = json_object_get(p, "hold");
  cli_printf("%s\n", cli_paint(cli, CLI_BOLD, cli_member(cli, p, "pipeline")));
  cli_field(cli, "owner", cli_member(cli, p, "owner"));
  cli_field(cli, "on call", cli_member(cli, p, "oncall"));
  cli_field(cli, "profile", cli_member(cli, json_object_get(revision, "spec"), "profile"));
  cli_field(cli, "runbook", cli_member(cli, json_object_get(revision, "spec"), "runbook"));
  cli_field(cli, "live",
            json_is_object(live) ? arena_printf(&cli->arena, "version %s, %s", cli_member(cli, live, "version"),
                                                cli_ago(cli, json_string_value(json_object_get(live, "since"))))
                                 : "nothing yet");
  cli_field(cli, "revision", cli_digest(cli, json_string_value(json_object_get(revision, "digest"))));
  cli_field(cli, "applied",
            arena_printf(&cli->arena, "%s by %s",
                         cli_when(cli, json_string_value(json_object_get(revision, "applied_at"))),
                         cli_member(cli, revision, "applied_by")));
  cli_field(cli, "git commit", cli_member(cli, revision, "git_commit"));
  if (json_is_true(json_object_get(revision, "git_dirty"))) cli_field(cli, "", "with changes that were not committed");
  if (json_is_object(hold)) {
    cli_field(cli, "on hold",
              arena_printf(&cli->arena, "by %s, %s: %s", cli_member(cli, hold, "by"),
                           cli_ago(cli, json_string_value(json_object_get(hold, "since"))),
                           cli_member(cli, hold, "reason")));
  }
  show_monitors(cli, json_object_get(p, "monitors"));
}

static bool pipelines_run(struct cli *cli, struct err *err) {
  json_t *document = NULL;
  struct db_value name = cli->argc > 0 ? db_text(cli->argv[0]) : db_null();
  bool one = cli->argc > 0;
  if (!cli_call(cli, one ? "select orch.api_pipeline($1)" : "select orch.api_pipelines()", one ? 1 : 0, &name,
                &document, err)) {
    return false;
  }
  if (cli->json) {
    cli_print_json(cli, document);
  } else if (one) {
    show(cli, document);
  } else {
    list(cli, document);
  }
  json_decref(document);
  return true;
}

const struct cli_verb verb_pipelines = {
    .name = "pipelines",
    .group = CLI_GROUP_PIPELINE,
    .summary = "List the pipelines, or show one with its monitors",
    .usage = "pipelines [PIPELINE]",
    .help = "Lists every pipeline with what is live, who owns it and whether it is on hold.\n"
            "With a name it shows that pipeline: its revision, where it came from, and how\n"
            "far its monitors are.",
    .examples = "orch pipelines\norch pipelines housing\norch pipelines housing --json",
    .max_args = 1,
    .run = pipelines_run,
};
