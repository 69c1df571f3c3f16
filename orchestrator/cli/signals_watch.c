/* orch signals PIPELINE --watch: one line a monitor, its values over time as a sparkline; below, what fires. */
#include <string.h>

#include "cli/cli_monitor.h"
#include "conf/canonical.h"

#define SPARK_MAX 60
#define SPARK_MIN 4
#define SINCE_WIDTH 28 /* " 20 windows, 23 h 59 m ago", with some room */

struct watch {
  bool drawn;
  char seen[DIGEST_TEXT_SIZE]; /* off a terminal, or as JSON: what was shown last, so that only changes are */
};

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "";
}

/* How wide the parts of all lines are, so that they stand below each other. */
struct widths {
  int name, kind, numbers, verdict, since, spark; /* kind and since are 0 where there is no room for them */
  int screen;
};

static int widest(int width, const char *text) {
  int len = (int)strlen(text);
  return len > width ? len : width;
}

/* "0.38 / 0.2": the newest value and the bound, or "" while there is none. */
static const char *numbers_of(struct cli *cli, const json_t *monitor) {
  const json_t *newest = cli_monitor_newest(json_object_get(monitor, "windows"));
  if (newest == NULL) return "";
  return arena_printf(&cli->arena, "%s / %s", cli_monitor_number(cli, cli_monitor_value(newest, "value")),
                      cli_monitor_number(cli, cli_monitor_value(newest, "threshold")));
}

static const char *verdict_of(const json_t *monitor) {
  return text_of(json_array_get(json_object_get(monitor, "windows"), 0), "verdict");
}

static struct widths measure(struct cli *cli, const json_t *monitors) {
  struct widths widths = {.spark = SPARK_MAX, .since = SINCE_WIDTH, .screen = cli_screen(cli).columns};
  size_t i;
  json_t *m;
  json_array_foreach(monitors, i, m) {
    widths.name = widest(widths.name, cli_member(cli, m, "monitor"));
    widths.kind = widest(widths.kind, cli_member(cli, json_object_get(m, "spec"), "kind"));
    widths.numbers = widest(widths.numbers, numbers_of(cli, m));
    widths.verdict = widest(widths.verdict, verdict_of(m));
  }
  int room = widths.screen - (2 + widths.name + 1 + widths.kind + 1 + 1 + widths.numbers + 1 + widths.verdict);
  if (room - SINCE_WIDTH < SPARK_MIN)
    widths.since = 0;
  else
    room -= SINCE_WIDTH;
  if (room < SPARK_MIN) {
    room += widths.kind + 1;
    widths.kind = 0;
  }
  if (room < widths.spark) widths.spark = room > SPARK_MIN ? room : SPARK_MIN;
  return widths;
}

/* Since when the newest verdict has stood: the first window of the run of the same verdict. */
static const char *since(struct cli *cli, const json_t *windows) {
  const json_t *first = json_array_get(windows, 0);
  const char *verdict = text_of(first, "verdict");
  size_t i, run = 0;
  json_t *window;
  json_array_foreach(windows, i, window) {
    if (strcmp(text_of(window, "verdict"), verdict) != 0) break;
    first = window;
    run++;
  }
  bool all = run == json_array_size(windows); /* it may be older than what is kept here */
  return arena_printf(&cli->arena, "%zu%s window%s, %s", run, all && run > 1 ? "+" : "", run == 1 ? "" : "s",
                      cli_ago(cli, json_string_value(json_object_get(first, "closed_at"))));
}

/* `width` columns of a text whose characters all take one; longer ones are kept. */
static const char *padded(struct cli *cli, const char *text, int width) {
  return arena_printf(&cli->arena, "%-*s", width, text);
}

static void draw_monitor(struct cli *cli, const json_t *m, const struct widths *widths) {
  const json_t *windows = json_object_get(m, "windows");
  cli_printf("  %s ", padded(cli, cli_member(cli, m, "monitor"), widths->name));
  if (widths->kind > 0)
    cli_printf("%s ", padded(cli, cli_member(cli, json_object_get(m, "spec"), "kind"), widths->kind));
  if (json_array_size(windows) == 0) {
    const char *due = cli_ago(cli, json_string_value(json_object_get(m, "due_at")));
    const char *none = json_object_get(json_object_get(m, "spec"), "window") != NULL ? "no window yet" : "nothing yet";
    if (*due != '\0' && widths->since > 0) none = arena_printf(&cli->arena, "%s, looks %s", none, due);
    cli_printf("%s\n", cli_paint(cli, CLI_DIM, none));
    return;
  }
  int drawn = (int)json_array_size(windows) < widths->spark ? (int)json_array_size(windows) : widths->spark;
  const json_t *threshold = cli_monitor_value(cli_monitor_newest(windows), "threshold");
  const char *verdict = verdict_of(m);
  cli_printf("%s%*s %s %s%s%s\n", cli_monitor_spark(cli, windows, threshold, (size_t)widths->spark),
             widths->spark - drawn, "", padded(cli, numbers_of(cli, m), widths->numbers),
             cli_paint(cli, cli_verdict_color(verdict), padded(cli, cli_safe(cli, verdict), widths->verdict)),
             widths->since > 0 ? " " : "", widths->since > 0 ? since(cli, windows) : "");
}

static void draw_signals(struct cli *cli, const json_t *signals) {
  size_t i;
  json_t *s;
  cli_heading(cli, json_array_size(signals) > 0 ? "Firing" : "Nothing fires.");
  json_array_foreach(signals, i, s) {
    const char *proposal = cli_member(cli, s, "proposal"), *reason = cli_member(cli, s, "held_reason");
    bool fault = strcmp(text_of(s, "kind"), "data_fault") == 0;
    const char *kind = cli_member(cli, s, "kind");
    const char *words = arena_printf(
        &cli->arena, "%s, %s: %s%s%s%s%s%s%s", cli_ago(cli, json_string_value(json_object_get(s, "first_at"))),
        cli_member(cli, s, "disposition"), cli_member(cli, s, "title"), *proposal != '\0' ? " (#" : "", proposal,
        *proposal != '\0' ? ")" : "", *reason != '\0' ? " (" : "", reason, *reason != '\0' ? ")" : "");
    cli_printf("  %s ", cli_paint(cli, fault ? CLI_RED : CLI_YELLOW, kind));
    cli_print_words(cli, words, 3 + strlen(kind));
  }
}

static void draw_all(struct cli *cli, const json_t *document) {
  const json_t *monitors = json_object_get(document, "monitors");
  const struct widths widths = measure(cli, monitors);
  size_t i;
  json_t *m;
  const char *pipeline = cli_member(cli, document, "pipeline");
  const char *legend = "a block a window, the newest at the right; its value / the bound";
  if ((int)(strlen(pipeline) + 2 + strlen(legend)) > widths.screen) legend = "the newest at the right";
  cli_printf("%s  %s\n\n", cli_paint(cli, CLI_BOLD, pipeline), cli_paint(cli, CLI_DIM, legend));
  json_array_foreach(monitors, i, m) draw_monitor(cli, m, &widths);
  if (json_array_size(monitors) == 0) cli_printf("  It has no monitors.\n");
  draw_signals(cli, json_object_get(document, "signals"));
}

/* What makes a draw worth repeating off a terminal: a window closed, a signal changed. */
static bool is_news(struct cli *cli, struct watch *watch, const json_t *document) {
  static const char *const keys[] = {"signal", "status", "count", "disposition", "proposal", "held_reason"};
  char digest[DIGEST_TEXT_SIZE];
  json_t *facts = json_array(), *item;
  size_t i;
  if (cli->terminal && !cli->json) {
    json_decref(facts);
    return true;
  }
  json_array_foreach(json_object_get(document, "monitors"), i, item) {
    json_array_append(facts, json_object_get(item, "monitor"));
    json_array_append(facts, json_object_get(json_array_get(json_object_get(item, "windows"), 0), "closed_at"));
  }
  json_array_foreach(json_object_get(document, "signals"), i, item) {
    for (size_t k = 0; k < ARRAY_LEN(keys); k++) json_array_append(facts, json_object_get(item, keys[k]));
  }
  canonical_digest(facts, digest);
  json_decref(facts);
  bool news = !watch->drawn || strcmp(digest, watch->seen) != 0;
  memcpy(watch->seen, digest, sizeof digest);
  return news;
}

/* {"pipeline", "monitors": active ones as api_pipeline() gives them, "signals": what fires}; NULL after an error. */
static json_t *ask(struct cli *cli, struct err *err) {
  json_t *pipeline = NULL, *signals = NULL, *active = json_array(), *m;
  size_t i;
  struct db_value name = db_text(cli->argv[0]);
  bool fine = cli_call(cli, "select orch.api_pipeline($1)", 1, &name, &pipeline, err) &&
              cli_call(cli, "select orch.api_signals(jsonb_build_object('pipeline', $1::text, 'status', 'firing'))", 1,
                       &name, &signals, err);
  json_array_foreach(json_object_get(pipeline, "monitors"), i, m) {
    if (json_is_true(json_object_get(m, "active"))) json_array_append(active, m);
  }
  json_t *document = fine ? json_pack("{s:O, s:O, s:O}", "pipeline", json_object_get(pipeline, "pipeline"), "monitors",
                                      active, "signals", json_object_get(signals, "signals"))
                          : NULL;
  json_decref(active);
  json_decref(pipeline);
  json_decref(signals);
  return document;
}

static bool draw(struct cli *cli, void *arg, bool *ret_done, struct err *err) {
  struct watch *watch = arg;
  json_t *document = ask(cli, err);
  if (document == NULL) return false;
  if (is_news(cli, watch, document)) {
    if (watch->drawn && !cli->terminal && !cli->json) cli_printf("\n");
    watch->drawn = true;
    if (cli->json) cli_print_json(cli, document);
    if (!cli->json) draw_all(cli, document);
  }
  json_decref(document);
  *ret_done = false;
  return true;
}

bool signals_watch(struct cli *cli, struct err *err) {
  static const char *const others[] = {"status", "kind", "outcome", "limit"};
  struct watch watch = {0};
  if (cli->argc != 1) {
    err_set(err, ERR_USAGE, "signals --watch: expected a pipeline");
    return err_hint(err, "orch signals PIPELINE --watch");
  }
  for (size_t i = 0; i < ARRAY_LEN(others); i++) {
    if (cli_opt(cli, others[i]) != NULL)
      return err_set(err, ERR_USAGE, "signals: --watch and --%s do not go together", others[i]);
  }
  return cli_watch(cli, 0, draw, &watch, err);
}
