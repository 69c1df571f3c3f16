/* The windows of a monitor: how long, how late, how many must agree, and what is left out after a promotion. */
#include <inttypes.h>
#include <string.h>

#include "base/units.h"
#include "conf/monitor_parts.h"

#define WINDOW_ROWS_MAX 10000000
#define WINDOW_MS_MAX (366 * DAY_MS)
#define FOR_MAX 64                  /* windows that a monitor remembers: DRIFT_OF_MAX of stats/decide.h */
#define LATENESS_MS (1 * MINUTE_MS) /* the default, unless the window is shorter */
#define LATENESS_MS_MAX (90 * DAY_MS)

static const char *shown(const struct yaml_node *node) {
  return node->kind == YAML_TREE_SCALAR ? node->text : node->kind == YAML_TREE_MAP ? "a map" : "a list";
}

/* "500 rows" (or labels) or "5m": one of the two is set. False after a problem. */
static bool read_extent(struct pipeline_reader *r, const struct yaml_node *node, const char *what,
                        const struct monitor_kind *kind, int64_t max_ms, int64_t *rows, int64_t *ms) {
  const char *unit = kind->labels ? "labels" : "rows", *other = kind->labels ? "rows" : "labels";
  int64_t count = 0, time = 0;
  const char *words = take_count(node, 1, WINDOW_ROWS_MAX, &count);
  if (words != NULL && strcmp(words, unit) == 0) {
    *rows = count;
    return true;
  }
  if (words != NULL && strcmp(words, other) == 0) {
    problems_add(r->problems, node->line, node->column, "%s is '%.60s', but %s counts %s, expected '%" PRId64 " %s'",
                 what, node->text, kind->what, unit, count, unit);
    return false;
  }
  if (words != NULL && *words == '\0') {
    problems_add(r->problems, node->line, node->column,
                 "%s is '%s' without a unit, expected '%s %s', or a time as in '5m'", what, node->text, node->text,
                 unit);
    return false;
  }
  if (node->kind == YAML_TREE_SCALAR && units_parse_duration_ms(node->text, &time)) {
    if (!take_duration(r->problems, node, what, SECOND_MS, max_ms, &time)) return false;
    *ms = time;
    return true;
  }
  problems_add(r->problems, node->line, node->column, "%s is '%.60s', expected %s as in '500 %s', or a time as in '5m'",
               what, shown(node), unit, unit);
  return false;
}

static void read_lateness(struct pipeline_reader *r, const struct yaml_node *item, bool by_rows, int64_t window_ms,
                          int64_t *lateness) {
  const struct yaml_node *node = yaml_tree_get(item, "lateness");
  *lateness = window_ms < LATENESS_MS ? window_ms : LATENESS_MS;
  if (!take_duration(r->problems, node, "'lateness'", 0, LATENESS_MS_MAX, lateness) || !by_rows) return;
  problems_add(r->problems, node->key_line, node->key_column,
               "'lateness' with a window that waits for its rows, expected it only with a window by time as in "
               "'window: 5m'");
}

/* `2 of 3`, or {hits: 2, of: 3} */
static void read_for(struct pipeline_reader *r, const struct yaml_node *node, int64_t *hits, int64_t *of) {
  static const char *const known[] = {"hits", "of", NULL};
  if (node == NULL) return;
  if (node->kind == YAML_TREE_MAP) {
    take_map(r->problems, node, "'for'", known, NULL);
    take_int(r->problems, yaml_tree_get(node, "hits"), "'hits'", 1, FOR_MAX, hits);
    take_int(r->problems, yaml_tree_get(node, "of"), "'of'", 1, FOR_MAX, of);
  } else {
    int64_t first = 0;
    const char *words = take_count(node, 1, FOR_MAX, &first);
    char *end = NULL;
    long long second = words != NULL && strncmp(words, "of ", 3) == 0 ? strtoll(words + 3, &end, 10) : 0;
    if (end == NULL || *end != '\0' || second < 1 || second > FOR_MAX) {
      problems_add(r->problems, node->line, node->column, "'for' is '%.60s', expected windows as in '2 of 3'",
                   shown(node));
      return;
    }
    *hits = first;
    *of = second;
  }
  if (*hits > *of) {
    problems_add(r->problems, node->line, node->column,
                 "'for' wants %" PRId64 " of %" PRId64 " windows, expected not more than there are", *hits, *of);
  }
}

static void read_min_rows(struct pipeline_reader *r, const struct yaml_node *item, const struct monitor_kind *kind,
                          int64_t rows, json_t *monitor) {
  int64_t min_rows = kind->min_rows;
  take_int(r->problems, yaml_tree_get(item, "min_rows"), "'min_rows'", kind->min_rows_least, 1000000, &min_rows);
  json_object_set_new(monitor, "min_rows", json_integer(min_rows));
  if (rows == 0 || rows >= min_rows) return;
  const char *name = json_string_value(json_object_get(monitor, "name"));
  const char *unit = kind->labels ? "labels" : "rows";
  problems_add(r->problems, item->line, item->column,
               "monitor '%s' has windows of %" PRId64 " %s but asks for at least %" PRId64
               " ('min_rows'), expected a window that can fire",
               name != NULL ? name : "?", rows, unit, min_rows);
}

void monitor_read_window(struct pipeline_reader *r, const struct yaml_node *item, const struct monitor_kind *kind,
                         json_t *monitor) {
  int64_t rows = 0, ms = 0, lateness = 0, hits = kind->hits, of = kind->of;
  const struct yaml_node *node = take_required(r->problems, item, "window", kind->what,
                                               kind->labels ? "labels as in '500 labels', or a time as in '1d'"
                                                            : "rows as in '500 rows', or a time as in '5m'");
  if (node != NULL && read_extent(r, node, "'window'", kind, WINDOW_MS_MAX, &rows, &ms)) {
    read_lateness(r, item, rows > 0, ms, &lateness);
  }
  json_object_set_new(monitor, "window",
                      ms > 0 ? json_pack("{s:I, s:I}", "ms", (json_int_t)ms, "lateness_ms", (json_int_t)lateness)
                             : json_pack("{s:I}", "rows", (json_int_t)rows));
  read_min_rows(r, item, kind, rows, monitor);
  read_for(r, yaml_tree_get(item, "for"), &hits, &of);
  json_object_set_new(monitor, "for", json_pack("{s:I, s:I}", "hits", (json_int_t)hits, "of", (json_int_t)of));
  const struct yaml_node *warmup = yaml_tree_get(item, "warmup");
  int64_t warm_rows = 0, warm_ms = 0;
  if (warmup == NULL || !read_extent(r, warmup, "'warmup'", kind, 90 * DAY_MS, &warm_rows, &warm_ms)) return;
  json_object_set_new(monitor, "warmup",
                      json_pack("{s:I}", warm_ms > 0 ? "ms" : "rows", (json_int_t)(warm_ms > 0 ? warm_ms : warm_rows)));
}
