/* A proposal's diagnosis in the terminal: the summary, the columns by weight, faults, what else fires, the live metric.
 */
#include <string.h>

#include "cli/cli_monitor.h"
#include "cli/cli_show.h"

#define SPARK_WIDTH 60
#define TABLE_COLUMNS_MIN 140 /* under that, the table's cells would have a few letters a line */

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

/* "6.1 (4..8)": the middle of the quantiles and what lies around it; "" without them. */
static const char *quantiles_text(struct cli *cli, const json_t *list) {
  size_t count = json_array_size(list), middle = count / 2;
  if (count < 3 || !json_is_number(json_array_get(list, middle))) return "";
  return arena_printf(&cli->arena, "%s (%s..%s)", cli_monitor_number(cli, json_array_get(list, middle)),
                      cli_monitor_number(cli, json_array_get(list, middle - 1)),
                      cli_monitor_number(cli, json_array_get(list, middle + 1)));
}

/* Shares of a category column: "Dallas 12 % -> 31 %" for the one that changed most. */
static const char *category_text(struct cli *cli, const json_t *histogram) {
  const json_t *labels = json_object_get(histogram, "labels"), *ref = json_object_get(histogram, "ref"),
               *now = json_object_get(histogram, "now");
  size_t i, most = 0;
  json_t *label;
  double largest = -1;
  json_array_foreach(labels, i, label) {
    double change = json_number_value(json_array_get(now, i)) - json_number_value(json_array_get(ref, i));
    if (change < 0) change = -change;
    if (change > largest) {
      largest = change;
      most = i;
    }
  }
  if (largest < 0) return "";
  return arena_printf(
      &cli->arena, "%s %.0f %% -> %.0f %%", cli_safe(cli, json_string_value(json_array_get(labels, most))),
      100 * json_number_value(json_array_get(ref, most)), 100 * json_number_value(json_array_get(now, most)));
}

static const char *before_now(struct cli *cli, const json_t *column) {
  const json_t *quantiles = json_object_get(column, "quantiles");
  const char *before = quantiles_text(cli, json_object_get(quantiles, "ref")),
             *now = quantiles_text(cli, json_object_get(quantiles, "now"));
  if (*before != '\0' && *now != '\0') return arena_printf(&cli->arena, "%s -> %s", before, now);
  return category_text(cli, json_object_get(column, "histogram"));
}

static const char *since_text(struct cli *cli, const json_t *column) {
  const char *at = text_of(column, "since_at"), *row = cli_member(cli, column, "since_row");
  if (at != NULL) return arena_printf(&cli->arena, "%.10s", at);
  return *row != '\0' ? arena_printf(&cli->arena, "row %s", row) : "";
}

static const char *rows_text(struct cli *cli, const json_t *column) {
  return arena_printf(&cli->arena, "%s/%s", cli_monitor_number(cli, json_object_get(column, "n_ref")),
                      cli_monitor_number(cli, json_object_get(column, "n_now")));
}

static void list_columns(struct cli *cli, const json_t *columns) {
  size_t i;
  json_t *column;
  json_array_foreach(columns, i, column) {
    const char *name = cli_member(cli, column, "name"), *direction = cli_member(cli, column, "direction");
    const char *since = cli_safe(cli, since_text(cli, column)), *moved = before_now(cli, column);
    const char *why = cli_member(cli, column, "why");
    cli_printf("  %s", cli_paint(cli, CLI_BOLD, name));
    cli_print_words(cli,
                    arena_printf(&cli->arena, "%s%sPSI %s, weight %s%s%s, %s rows", direction,
                                 *direction != '\0' ? ", " : "",
                                 cli_monitor_number(cli, json_object_get(column, "psi")),
                                 cli_monitor_number(cli, json_object_get(column, "weight")),
                                 *since != '\0' ? ", since " : "", since, rows_text(cli, column)),
                    2 + strlen(name));
    if (*moved != '\0') cli_printf("    %s\n", moved);
    if (*why == '\0') continue;
    cli_printf("   ");
    cli_print_words(cli, why, 3);
  }
}

static void table_columns(struct cli *cli, const json_t *columns) {
  size_t i;
  json_t *column;
  struct cli_table *table = cli_table_new(cli, (const char *const[]){"COLUMN", "MOVED", "BEFORE -> NOW", ">PSI",
                                                                     ">WEIGHT", "SINCE", ">ROWS", "|WHY", NULL});
  json_array_foreach(columns, i, column) {
    cli_table_row(table);
    cli_table_cell(table, text_of(column, "name"));
    cli_table_cell(table, text_of(column, "direction"));
    cli_table_cell(table, before_now(cli, column));
    cli_table_cell(table, cli_monitor_number(cli, json_object_get(column, "psi")));
    cli_table_cell(table, cli_monitor_number(cli, json_object_get(column, "weight")));
    cli_table_cell(table, since_text(cli, column));
    cli_table_cell(table, rows_text(cli, column));
    cli_table_cell(table, text_of(column, "why"));
  }
  cli_table_print(table, NULL);
}

static void show_columns(struct cli *cli, const json_t *diagnosis) {
  const json_t *columns = json_object_get(diagnosis, "columns");
  json_int_t more = json_integer_value(json_object_get(diagnosis, "more_columns"));
  if (json_array_size(columns) == 0) return;
  if (cli_screen(cli).columns < TABLE_COLUMNS_MIN)
    list_columns(cli, columns);
  else
    table_columns(cli, columns);
  if (more > 0) cli_printf("  and %" JSON_INTEGER_FORMAT " more columns: --json has their number\n", more);
}

static void show_faults(struct cli *cli, const json_t *faults) {
  size_t i;
  json_t *fault;
  json_array_foreach(faults, i, fault) {
    const char *name = cli_member(cli, fault, "name"), *why = cli_member(cli, fault, "why");
    cli_printf("  %s", cli_paint(cli, CLI_RED, "broken"));
    cli_print_words(cli,
                    arena_printf(&cli->arena, "%s%s%s (%s)", *name != '\0' ? name : cli_member(cli, fault, "check"),
                                 *why != '\0' ? ": " : "", why, cli_member(cli, fault, "monitor")),
                    strlen("  broken"));
  }
}

static void show_also(struct cli *cli, const json_t *also) {
  size_t i;
  json_t *signal;
  json_array_foreach(also, i, signal) {
    const char *pipeline = cli_member(cli, signal, "pipeline"), *incident = cli_member(cli, signal, "incident");
    const char *kind = cli_member(cli, signal, "kind");
    cli_printf("  also %s", cli_paint(cli, CLI_CYAN, kind));
    cli_print_words(cli,
                    arena_printf(&cli->arena, "%s since %s%s%s%s%s: %s", cli_member(cli, signal, "status"),
                                 cli_when(cli, text_of(signal, "since")), *pipeline != '\0' ? " on " : "", pipeline,
                                 *incident != '\0' ? ", incident " : "", incident, cli_member(cli, signal, "title")),
                    strlen("  also ") + strlen(kind));
  }
}

/* The values over time, as the monitor commands draw them; those want the newest first. */
static void show_live(struct cli *cli, const json_t *diagnosis) {
  const json_t *live = json_object_get(diagnosis, "live_metric"), *series = json_object_get(live, "series");
  const char *ignored = cli_member(cli, diagnosis, "if_ignored");
  if (json_is_object(live)) {
    json_t *newest_first = json_array();
    for (size_t i = json_array_size(series); i > 0; i--) json_array_append(newest_first, json_array_get(series, i - 1));
    cli_field(cli, "live",
              arena_printf(&cli->arena, "%s%s %s at promotion, %s now, line %s  %s", cli_member(cli, live, "metric"),
                           json_is_true(json_object_get(live, "estimated")) ? " (estimated)" : "",
                           cli_monitor_number(cli, json_object_get(live, "at_promotion")),
                           cli_monitor_number(cli, json_object_get(live, "now")),
                           cli_monitor_number(cli, json_object_get(live, "threshold")),
                           cli_monitor_spark(cli, newest_first, json_object_get(live, "threshold"), SPARK_WIDTH)));
    json_decref(newest_first);
  }
  if (*ignored != '\0') {
    cli_printf("  %s", cli_paint(cli, CLI_DIM, "if ignored  "));
    cli_print_words(cli, ignored, strlen("  if ignored  "));
  }
}

void cli_show_diagnosis(struct cli *cli, const json_t *diagnosis) {
  const char *verdict = cli_member(cli, diagnosis, "verdict");
  bool broken = json_array_size(json_object_get(diagnosis, "faults")) > 0;
  cli_printf("  %s", cli_paint(cli, broken ? CLI_RED : CLI_CYAN, arena_printf(&cli->arena, "%s:", verdict)));
  cli_print_words(cli, cli_member(cli, diagnosis, "summary"), 3 + strlen(verdict));
  show_columns(cli, diagnosis);
  show_faults(cli, json_object_get(diagnosis, "faults"));
  show_also(cli, json_object_get(diagnosis, "also"));
  show_live(cli, diagnosis);
}
