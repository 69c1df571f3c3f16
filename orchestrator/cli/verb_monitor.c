/* orch monitor list|show|backtest: what is watched, how far it is, what it found last, and what it would have found. */
#include <string.h>

#include "cli/cli_monitor.h"
#include "cli/verbs.h"

static bool monitor_list(struct cli *cli, struct err *err) {
  static const char *const names[] = {"kind", "verdict", "limit", "after", NULL};
  const char *filter = NULL;
  json_t *document = NULL, *m;
  size_t i;
  if (cli->argc > 2) return err_set(err, ERR_USAGE, "monitor list: expected at most one pipeline");
  if (!cli_filter(cli, names, &filter, err)) return false;
  struct db_value values[] = {db_text(filter), cli->argc == 2 ? db_text(cli->argv[1]) : db_null()};
  if (!cli_call(cli,
                "select orch.api_monitors($1::jsonb || jsonb_strip_nulls(jsonb_build_object('pipeline', $2::text)))",
                ARRAY_LEN(values), values, &document, err)) {
    return false;
  }
  if (cli->json) {
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"PIPELINE", "MONITOR", "KIND", "~WATCHES", "WINDOW", "LAST WINDOW",
                                               "VERDICT", ">VALUE", ">BOUND", "CLOSED", "NEXT", NULL});
  json_array_foreach(json_object_get(document, "monitors"), i, m) {
    const json_t *spec = json_object_get(m, "spec"), *latest = json_object_get(m, "latest");
    const char *verdict = json_string_value(json_object_get(latest, "verdict"));
    cli_table_row(table);
    cli_table_cell(table, json_string_value(json_object_get(m, "pipeline")));
    cli_table_cell_color(table, json_is_true(json_object_get(m, "firing")) ? CLI_YELLOW : CLI_PLAIN,
                         json_string_value(json_object_get(m, "monitor")));
    cli_table_cell(table, json_string_value(json_object_get(m, "kind")));
    cli_table_cell(table, cli_monitor_watches(cli, spec));
    cli_table_cell(table, cli_monitor_window(cli, spec));
    cli_table_cell(table, cli_monitor_span(cli, latest));
    cli_table_cell_color(table, cli_verdict_color(verdict), verdict);
    cli_table_cell(table, json_is_object(latest) ? cli_monitor_number(cli, json_object_get(latest, "value")) : "");
    cli_table_cell(table, json_is_object(latest) ? cli_monitor_number(cli, json_object_get(latest, "threshold")) : "");
    cli_table_cell(table, cli_ago(cli, json_string_value(json_object_get(latest, "closed_at"))));
    cli_table_cell(table, cli_ago(cli, json_string_value(json_object_get(m, "due_at"))));
  }
  cli_table_print(table, "No monitors: a pipeline's `monitors` add them, see orch help monitor.");
  cli_print_next(cli, document);
  json_decref(document);
  return true;
}

static bool monitor_run(struct cli *cli, struct err *err) {
  if (strcmp(cli->argv[0], "list") == 0) return monitor_list(cli, err);
  if (strcmp(cli->argv[0], "show") == 0) return monitor_show(cli, err);
  if (strcmp(cli->argv[0], "backtest") == 0) return monitor_backtest(cli, err);
  err_set(err, ERR_USAGE, "monitor: unknown word '%.60s'", cli->argv[0]);
  return err_hint(err, "usage: orch monitor list [PIPELINE] | show PIPELINE MONITOR | backtest PIPELINE --data FILE");
}

static const struct cli_option options[] = {
    {"kind", 'k', "KIND", "list only drift, performance, latency … monitors"},
    {"verdict", 0, "WORD", "list only those whose last window is ok, drift, fault, alarm …"},
    {"limit", 'n', "N", "at most so many rows, 1 to 500 (50)"},
    {"after", 0, "ID", "the page after this row, as the last line said"},
    {"data", 'd', "FILE", "backtest: the rows of the past, .csv or NDJSON, gzip too; - is standard input"},
    {"from", 0, "TIME", "backtest: only rows from this day or time on (their key `at`)"},
    {"to", 0, "TIME", "backtest: only rows before this day or time"},
    {"file", 'f', "YAML", "backtest: the monitors of this pipeline file instead of those in force"},
    {"reference", 0, "CSV", "backtest: training rows to compare with instead of the live version's"},
    {"champion", 0, "N", "backtest: judge rows of other versions apart, as canaries; without it all are taken alike"},
    {0},
};

const struct cli_verb verb_monitor = {
    .name = "monitor",
    .group = CLI_GROUP_PIPELINE,
    .summary = "Show what is watched, how far it is and what it found",
    .usage = "monitor list|show|backtest [PIPELINE [MONITOR]] [--data FILE]",
    .help = "A monitor is a rule of a pipeline file over what the live model sees: drift,\n"
            "prediction_drift, quality, performance, estimated_performance, latency, volume,\n"
            "prometheus, sql, schedule.\n"
            "\n"
            "'list' has one line a monitor with its last window: over all pipelines, or of\n"
            "one. 'show' has everything about one monitor: the rule, the version it compares\n"
            "with, when it looks next, each column's numbers, the windows before.\n"
            "\n"
            "'backtest' sends a history through the monitors as if it came in now, stores\n"
            "nothing, and prints when each would have fired: a way to tune a rule before\n"
            "trusting it. All rows are compared with the same reference, though a server\n"
            "would have retrained in between. A column `label` is the truth of its row. With\n"
            "--file and --reference it needs no database.",
    .examples = "orch monitor list\norch monitor backtest housing --data history.csv\norch monitor list housing\norch "
                "monitor list --verdict fault\n"
                "orch monitor show housing inputs\norch monitor show housing inputs --json",
    .options = options,
    .min_args = 1,
    .max_args = 3,
    .run = monitor_run,
};
