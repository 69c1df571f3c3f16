/* orch status: one screen. */
#include <string.h>

#include "base/units.h"
#include "cli/cli_show.h"
#include "cli/home.h"
#include "cli/verbs.h"

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

/* What the pipeline does now, newest proposal first in mind: it is the one that people ask about. */
static const char *doing(struct cli *cli, const json_t *p, enum cli_color *ret_color) {
  const json_t *proposals = json_object_get(p, "proposals");
  const json_t *q = json_array_get(proposals, json_array_size(proposals) - 1);
  *ret_color = CLI_PLAIN;
  if (q == NULL) return "-";
  const char *state = cli_member(cli, q, "state");
  *ret_color = cli_state_color(state);
  const char *text = arena_printf(&cli->arena, "#%s %s", cli_member(cli, q, "proposal"), state);
  return text != NULL ? text : state;
}

static const char *waiting(struct cli *cli, const json_t *p) {
  const json_t *gate = json_object_get(p, "gate"), *hold = json_object_get(p, "hold");
  if (json_is_object(hold)) {
    const char *text =
        arena_printf(&cli->arena, "on hold by %s: %s", cli_member(cli, hold, "by"), cli_member(cli, hold, "reason"));
    return text != NULL ? text : "on hold";
  }
  if (json_is_object(gate)) return cli_gate_waits(cli, gate);
  size_t i;
  json_t *signal;
  json_array_foreach(json_object_get(p, "firing"), i, signal) {
    const char *incident = cli_member(cli, signal, "incident");
    if (*incident != '\0') return arena_printf(&cli->arena, "incident %s", incident);
  }
  return "";
}

static void draw_table(struct cli *cli, const json_t *pipelines) {
  struct cli_table *table = cli_table_new(
      cli, (const char *const[]){"PIPELINE", "LIVE", "SINCE", "NOW", ">FIRING", "~WAITS FOR", "OWNER", NULL});
  size_t i;
  json_t *p;
  json_array_foreach(pipelines, i, p) {
    const json_t *live = json_object_get(p, "live");
    size_t firing = json_array_size(json_object_get(p, "firing"));
    enum cli_color color;
    const char *now = doing(cli, p, &color);
    cli_table_row(table);
    cli_table_cell(table, text_of(p, "pipeline"));
    cli_table_cell_color(
        table, json_is_object(live) ? CLI_GREEN : CLI_DIM,
        json_is_object(live) ? arena_printf(&cli->arena, "version %s", cli_member(cli, live, "version")) : "nothing");
    cli_table_cell(table, cli_ago(cli, text_of(live, "since")));
    cli_table_cell_color(table, color, now);
    cli_table_cell_color(table, firing > 0 ? CLI_YELLOW : CLI_PLAIN,
                         firing > 0 ? arena_printf(&cli->arena, "%zu", firing) : "-");
    cli_table_cell_color(table, CLI_YELLOW, waiting(cli, p));
    cli_table_cell(table, text_of(p, "owner"));
  }
  cli_table_print(table, "No pipelines yet: orch apply FOLDER adds one.");
}

static void draw_work(struct cli *cli, const json_t *p) {
  size_t i;
  json_t *q;
  const json_t *deployment = json_object_get(p, "deployment");
  json_array_foreach(json_object_get(p, "proposals"), i, q) {
    if (json_array_size(json_object_get(q, "steps")) == 0) continue;
    cli_printf("\n%s  %s\n",
               cli_paint(cli, CLI_BOLD,
                         arena_printf(&cli->arena, "#%s %s@%s", cli_member(cli, q, "proposal"),
                                      cli_member(cli, q, "pipeline"), cli_member(cli, q, "version"))),
               cli_member(cli, q, "reason"));
    cli_show_steps(cli, json_object_get(q, "steps"), "  ");
  }
  if (json_is_object(deployment)) {
    cli_printf("\n%s\n", cli_paint(cli, CLI_BOLD, cli_member(cli, p, "pipeline")));
    cli_show_deployment(cli, deployment);
  }
}

static void draw_gate(struct cli *cli, const json_t *gate) {
  if (!json_is_object(gate)) return;
  cli_printf("\n%s  waits for %s, expires %s\n",
             cli_paint(cli, CLI_BOLD,
                       arena_printf(&cli->arena, "#%s %s@%s", cli_member(cli, gate, "proposal"),
                                    cli_member(cli, gate, "pipeline"), cli_member(cli, gate, "version"))),
             cli_paint(cli, CLI_YELLOW, cli_gate_waits(cli, gate)), cli_ago(cli, text_of(gate, "expires_at")));
  cli_printf("  look: orch show %s\n", cli_member(cli, gate, "proposal"));
}

static void draw_firing(struct cli *cli, const json_t *p) {
  size_t i;
  json_t *s;
  json_array_foreach(json_object_get(p, "firing"), i, s) {
    const char *held = cli_member(cli, s, "held_reason");
    bool fault = strcmp(cli_member(cli, s, "kind"), "data_fault") == 0;
    cli_printf("  %s: %s %s, %s: %s\n", cli_member(cli, p, "pipeline"),
               cli_paint(cli, fault ? CLI_RED : CLI_YELLOW, cli_member(cli, s, "kind")),
               cli_ago(cli, text_of(s, "since")), cli_member(cli, s, "disposition"), cli_member(cli, s, "title"));
    if (held[0] != '\0') cli_printf("    %s\n", held);
  }
}

/* Incidents wait for people too: for the owners of what fired together. */
static void draw_incidents(struct cli *cli, const json_t *incidents) {
  size_t i;
  json_t *incident;
  json_array_foreach(incidents, i, incident) {
    const char *id = cli_member(cli, incident, "incident");
    cli_printf("\n%s  waits for %s, %s\n", cli_paint(cli, CLI_BOLD, arena_printf(&cli->arena, "incident %s", id)),
               cli_paint(cli, CLI_YELLOW, cli_join(cli, json_object_get(incident, "asks"))),
               cli_ago(cli, text_of(incident, "opened_at")));
    cli_printf("  %s; signals that wait: %s\n  look: orch incident %s\n", cli_member(cli, incident, "summary"),
               cli_member(cli, incident, "waiting"), id);
  }
}

static void draw_queue(struct cli *cli, const json_t *document) {
  const json_t *queue = json_object_get(document, "queue"), *outbox = json_object_get(document, "outbox");
  const json_t *workers = json_object_get(queue, "workers");
  json_int_t active = json_integer_value(json_object_get(workers, "active"));
  json_int_t silent = json_integer_value(json_object_get(workers, "silent"));
  json_int_t unservable = json_integer_value(json_object_get(queue, "unservable"));
  json_int_t dead = json_integer_value(json_object_get(outbox, "dead"));
  cli_printf("\nQueue: %s queued, %s running, %s for later; workers: %" JSON_INTEGER_FORMAT,
             cli_member(cli, queue, "queued"), cli_member(cli, queue, "running"), cli_member(cli, queue, "later"),
             active);
  if (silent > 0)
    cli_printf(", %s", cli_paint(cli, CLI_RED, arena_printf(&cli->arena, "%" JSON_INTEGER_FORMAT " silent", silent)));
  if (unservable > 0) cli_printf("; %s", cli_paint(cli, CLI_RED, "some jobs fit no worker"));
  cli_printf(".  Outbox: %s pending", cli_member(cli, outbox, "pending"));
  if (dead > 0) {
    cli_printf(", %s (orch webhooks --state dead)",
               cli_paint(cli, CLI_RED, arena_printf(&cli->arena, "%" JSON_INTEGER_FORMAT " dead", dead)));
  }
  cli_printf(".\n");
}

static bool draw(struct cli *cli, void *arg, bool *ret_done, struct err *err) {
  json_t *document = NULL, *p;
  size_t i, firing = 0;
  if (!cli_call(cli, "select orch.api_status()", 0, NULL, &document, err)) return false;
  if (cli->json) {
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  const json_t *pipelines = json_object_get(document, "pipelines");
  if (cli_flag(cli, "watch") && !cli->terminal) cli_printf("%s\n", cli_when(cli, text_of(document, "now")));
  draw_table(cli, pipelines);
  json_array_foreach(pipelines, i, p) {
    draw_work(cli, p);
    draw_gate(cli, json_object_get(p, "gate"));
    firing += json_array_size(json_object_get(p, "firing"));
  }
  draw_incidents(cli, json_object_get(document, "incidents"));
  if (firing > 0) cli_heading(cli, "Firing");
  json_array_foreach(pipelines, i, p) draw_firing(cli, p);
  draw_queue(cli, document);
  const char *url = home_pages_url(cli);
  if (url != NULL) cli_printf("Pages: %s\n", cli_safe(cli, url));
  json_decref(document);
  return true;
}

static bool status_run(struct cli *cli, struct err *err) {
  bool done;
  return cli_flag(cli, "watch") ? cli_watch(cli, 0, draw, NULL, err) : draw(cli, NULL, &done, err);
}

static const struct cli_option options[] = {{"watch", 'w', NULL, "redraw every second until Ctrl-C"}, {0}};

const struct cli_verb verb_status = {
    .name = "status",
    .group = CLI_GROUP_START,
    .summary = "Show on one screen what is live, what runs and what waits for whom",
    .usage = "status [--watch]",
    .help = "Each pipeline with its live version, what it does now and who must act; running\n"
            "steps with their progress; open incidents; firing signals and why they are held\n"
            "back; the queue, the workers and the outbox.",
    .examples = "orch status\norch status --watch\norch status --json",
    .options = options,
    .run = status_run,
};
