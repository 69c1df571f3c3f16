#include "cli/cli_monitor.h"

#include <math.h>
#include <string.h>

#include "base/units.h"
#include "cli/cli_spark.h"

#define WINDOWS_MAX 200
#define DATE_LEN 10 /* "2026-01-05" */

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

static const char *duration(struct cli *cli, const json_t *ms) {
  char text[UNITS_TEXT_SIZE];
  units_format_duration(json_integer_value(ms), text);
  return arena_printf(&cli->arena, "%s", text);
}

const char *cli_monitor_number(struct cli *cli, const json_t *value) {
  if (!json_is_number(value)) return "-";
  char text[UNITS_TEXT_SIZE];
  units_format_number(json_number_value(value), text);
  return arena_strdup(&cli->arena, text);
}

static const char *columns_of(struct cli *cli, const json_t *spec, const char *all) {
  const json_t *columns = json_object_get(spec, "columns");
  return json_array_size(columns) > 0 ? cli_join(cli, columns) : all;
}

/* What the bound of a probe or of a metric says: "over 0.01 for 10 m". */
static const char *bound(struct cli *cli, const json_t *spec) {
  static const struct {
    const char *key, *word;
  } bounds[] = {{"above", "over"}, {"below", "under"}, {"min", "under"}, {"max", "over"}};
  const json_t *for_ms = json_object_get(spec, "for_ms");
  for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
    const json_t *value = json_object_get(spec, bounds[i].key);
    if (value == NULL) continue;
    bool lasting = json_integer_value(for_ms) > 0;
    return arena_printf(&cli->arena, "%s %s%s%s", bounds[i].word, cli_monitor_number(cli, value),
                        lasting ? " for " : "", lasting ? duration(cli, for_ms) : "");
  }
  return "";
}

/* A query on one line, its line breaks and indentation as single spaces. */
static const char *one_line(struct cli *cli, const char *query) {
  struct strbuf line;
  strbuf_init(&line, 1 << 16);
  for (const char *c = query; *c != '\0'; c++) {
    bool space = *c == ' ' || *c == '\n' || *c == '\t';
    if (!space) strbuf_putc(&line, *c);
    if (space && line.len > 0 && c[1 + strspn(c + 1, " \n\t")] != '\0' && line.data[line.len - 1] != ' ') {
      strbuf_putc(&line, ' ');
    }
  }
  const char *safe = cli_safe(cli, strbuf_text(&line));
  strbuf_fini(&line);
  return safe;
}

const char *cli_monitor_watches(struct cli *cli, const json_t *spec) {
  const char *kind = text_of(spec, "kind");
  const char *text = "";
  if (strcmp(kind, "drift") == 0 || strcmp(kind, "prediction_drift") == 0) {
    text = arena_printf(&cli->arena, "%s: PSI from %s",
                        columns_of(cli, spec, kind[0] == 'd' ? "every column" : "prediction and score"),
                        cli_monitor_number(cli, json_object_get(spec, "psi")));
  } else if (strcmp(kind, "quality") == 0) {
    text = arena_printf(&cli->arena, "broken data in %s", columns_of(cli, spec, "every column"));
  } else if (strcmp(kind, "performance") == 0) {
    text = arena_printf(&cli->arena, "%s %s", cli_member(cli, spec, "metric"), bound(cli, spec));
  } else if (strcmp(kind, "estimated_performance") == 0) {
    text = arena_printf(&cli->arena, "estimated %s %s", cli_member(cli, spec, "metric"), bound(cli, spec));
  } else if (strcmp(kind, "latency") == 0) {
    text = arena_printf(&cli->arena, "p%.4g over %s", 100 * json_number_value(json_object_get(spec, "quantile")),
                        duration(cli, json_object_get(spec, "max_ms")));
  } else if (strcmp(kind, "volume") == 0) {
    text = arena_printf(&cli->arena, "no rows for %s", duration(cli, json_object_get(spec, "silence_ms")));
  } else if (strcmp(kind, "prometheus") == 0 || strcmp(kind, "sql") == 0) {
    text = arena_printf(&cli->arena, "%s %s", one_line(cli, text_of(spec, "query")), bound(cli, spec));
  } else if (strcmp(kind, "schedule") == 0) {
    text = cli_member(cli, json_object_get(spec, "cron"), "text");
  }
  return text != NULL ? text : "";
}

const char *cli_monitor_extent(struct cli *cli, const json_t *spec, const char *key) {
  const json_t *extent = json_object_get(spec, key);
  const char *unit = strcmp(text_of(spec, "kind"), "performance") == 0 ? "labels" : "rows";
  if (extent == NULL) return "";
  if (json_object_get(extent, "ms") != NULL) return duration(cli, json_object_get(extent, "ms"));
  return arena_printf(&cli->arena, "%s %s", cli_member(cli, extent, "rows"), unit);
}

const char *cli_monitor_window(struct cli *cli, const json_t *spec) {
  const json_t *every = json_object_get(spec, "every_ms");
  if (every != NULL) return arena_printf(&cli->arena, "every %s", duration(cli, every));
  return cli_monitor_extent(cli, spec, "window");
}

const char *cli_monitor_span(struct cli *cli, const json_t *window) {
  const json_t *from_row = json_object_get(window, "from_row"), *to_row = json_object_get(window, "to_row");
  const char *from_at = json_string_value(json_object_get(window, "from_at"));
  const char *to_at = json_string_value(json_object_get(window, "to_at"));
  const char *number = cli_member(cli, window, "number"), *colon = *number != '\0' ? ": " : "";
  if (window == NULL || json_is_null(window)) return "none yet";
  if (from_at != NULL && to_at != NULL) {
    const char *from = cli_when(cli, from_at), *to = cli_when(cli, to_at);
    bool same_day = strlen(from) == DATE_LEN + 9 && strncmp(from, to, DATE_LEN + 1) == 0;
    return arena_printf(&cli->arena, "%s%s%s to %s", number, colon, from, same_day ? to + DATE_LEN + 1 : to);
  }
  if (!json_is_integer(from_row) || !json_is_integer(to_row)) return number;
  return arena_printf(&cli->arena, "%s%srows %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT, number, colon,
                      json_integer_value(from_row), json_integer_value(to_row) - 1);
}

enum cli_color cli_verdict_color(const char *verdict) {
  static const struct {
    const char *verdict;
    enum cli_color color;
  } known[] = {{"ok", CLI_GREEN},  {"drift", CLI_YELLOW},     {"alarm", CLI_YELLOW},
               {"fault", CLI_RED}, {"insufficient", CLI_DIM}, {"warming", CLI_DIM}};
  for (size_t i = 0; verdict != NULL && i < ARRAY_LEN(known); i++) {
    if (strcmp(known[i].verdict, verdict) == 0) return known[i].color;
  }
  return CLI_PLAIN;
}

const json_t *cli_monitor_value(const json_t *window, const char *key) {
  const json_t *value = json_object_get(window, key);
  return value != NULL ? value : json_object_get(json_object_get(window, "result"), key);
}

const json_t *cli_monitor_newest(const json_t *windows) {
  size_t i;
  json_t *window;
  json_array_foreach(windows, i, window) {
    if (json_is_number(cli_monitor_value(window, "value"))) return window;
  }
  return NULL;
}

const char *cli_monitor_spark(struct cli *cli, const json_t *windows, const json_t *threshold, size_t width) {
  double values[WINDOWS_MAX];
  size_t count = json_array_size(windows);
  if (count > width) count = width;
  if (count > WINDOWS_MAX) count = WINDOWS_MAX;
  for (size_t i = 0; i < count; i++) {
    const json_t *value = cli_monitor_value(json_array_get(windows, count - 1 - i), "value");
    values[i] = json_is_number(value) ? json_number_value(value) : NAN;
  }
  struct spark_scale scale = spark_scale(values, count, json_is_number(threshold) ? json_number_value(threshold) : NAN);
  struct strbuf line;
  strbuf_init(&line, WINDOWS_MAX * 32);
  bool utf8 = spark_utf8();
  for (size_t i = 0; i < count; i++) {
    char glyph[SPARK_GLYPH_MAX];
    spark_glyph(&scale, values[i], utf8, glyph);
    strbuf_puts(&line,
                cli_paint(cli, cli_verdict_color(text_of(json_array_get(windows, count - 1 - i), "verdict")), glyph));
  }
  const char *text = arena_strdup(&cli->arena, strbuf_text(&line));
  strbuf_fini(&line);
  return text != NULL ? text : "";
}
