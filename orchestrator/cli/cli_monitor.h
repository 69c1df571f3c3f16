/* Monitors for people: what one watches in words, its windows and verdicts, its numbers as a sparkline. */
#ifndef ORCH_CLI_CLI_MONITOR_H
#define ORCH_CLI_CLI_MONITOR_H

#include "cli/cli.h"

/* "sales, listings: PSI from 0.2", "accuracy under 0.75", "p99 over 50 ms"; in the arena, safe. */
const char *cli_monitor_watches(struct cli *cli, const json_t *spec);
/* "500 rows", "5 m", "every 1 m", or "" when it looks at no windows. */
const char *cli_monitor_window(struct cli *cli, const json_t *spec);
/* "500 rows", "500 labels", "5 m" of the spec's `window` or `warmup`, or "". */
const char *cli_monitor_extent(struct cli *cli, const json_t *spec, const char *key);
/* "17: rows 4250 to 4499", "17: 2026-01-05 09:00:00 to …" of a window or a result. */
const char *cli_monitor_span(struct cli *cli, const json_t *window);
enum cli_color cli_verdict_color(const char *verdict);
/* A number of a monitor with four digits: "0.3817", "12.5"; "-" for null. */
const char *cli_monitor_number(struct cli *cli, const json_t *value);
/* "value" or "threshold" of a window: beside its verdict, or in its result; NULL when there is none. */
const json_t *cli_monitor_value(const json_t *window, const char *key);
/* The values of `windows` (newest first), oldest first on the screen, coloured by verdict, at most `width` columns. */
const char *cli_monitor_spark(struct cli *cli, const json_t *windows, const json_t *threshold, size_t width);
/* The newest window that has a value; NULL when none has. */
const json_t *cli_monitor_newest(const json_t *windows);

/* orch monitor show PIPELINE MONITOR */
bool monitor_show(struct cli *cli, struct err *err) ORCH_MUST_CHECK;
/* orch monitor backtest [PIPELINE] --data FILE */
bool monitor_backtest(struct cli *cli, struct err *err) ORCH_MUST_CHECK;
/* orch signals PIPELINE --watch */
bool signals_watch(struct cli *cli, struct err *err) ORCH_MUST_CHECK;

#endif
