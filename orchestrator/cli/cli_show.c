#include "cli/cli_show.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"

#define BAR_CELLS 20

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static const char *progress_bar(struct cli *cli, double fraction) {
  char cells[BAR_CELLS + 1];
  int full = (int)(fraction * BAR_CELLS);
  for (int i = 0; i < BAR_CELLS; i++) cells[i] = i < full ? '#' : '.';
  cells[BAR_CELLS] = '\0';
  const char *bar = arena_printf(&cli->arena, "[%s] %3.0f %%", cells, 100 * fraction);
  return bar != NULL ? bar : "";
}

/* How long it took, or runs already. */
static const char *step_time(struct cli *cli, const json_t *step) {
  const json_t *duration = json_object_get(step, "duration_ms");
  int64_t since_us;
  char span[UNITS_TEXT_SIZE];
  if (json_is_integer(duration)) {
    units_format_duration(json_integer_value(duration), span);
  } else if (text_of(step, "since") != NULL && clock_parse_rfc3339(text_of(step, "since"), &since_us) &&
             strcmp(cli_member(cli, step, "state"), "running") == 0) {
    int64_t ms = (clock_wall_us() - since_us) / 1000;
    units_format_duration(ms > 0 ? ms : 0, span);
  } else {
    return "";
  }
  const char *text = arena_strdup(&cli->arena, span);
  return text != NULL ? text : "";
}

void cli_show_steps(struct cli *cli, const json_t *steps, const char *indent) {
  size_t i;
  json_t *step;
  json_array_foreach(steps, i, step) {
    const char *state = cli_member(cli, step, "state"), *subject = cli_member(cli, step, "subject");
    const json_t *progress = json_object_get(step, "progress");
    bool running = strcmp(state, "running") == 0;
    const char *name =
        arena_printf(&cli->arena, "%s%s%s", cli_member(cli, step, "step"), subject[0] != '\0' ? " of " : "", subject);
    cli_printf("%s%-22s %s", indent, name != NULL ? name : "",
               cli_paint(cli, cli_state_color(state), arena_printf(&cli->arena, "%-9s", state)));
    if (running && json_is_number(progress)) cli_printf("  %s", progress_bar(cli, json_number_value(progress)));
    if (running) cli_printf("  %s", cli_member(cli, step, "progress_text"));
    cli_printf("  %s", step_time(cli, step));
    if (json_integer_value(json_object_get(step, "attempt")) > 1)
      cli_printf("  attempt %s", cli_member(cli, step, "attempt"));
    if (text_of(step, "retry_at") != NULL) cli_printf("  next try %s", cli_ago(cli, text_of(step, "retry_at")));
    if (text_of(step, "error") != NULL) cli_printf("  %s", cli_paint(cli, CLI_RED, cli_member(cli, step, "error")));
    cli_printf("\n");
  }
}

/* "at least 0.75, at least champion - 0.01": a positive allowance is for errors, where less is better. */
static const char *limits_text(struct cli *cli, const json_t *check) {
  const json_t *min = json_object_get(check, "min"), *max = json_object_get(check, "max");
  const json_t *champion = json_object_get(check, "vs_champion");
  double allowance = json_number_value(champion);
  struct strbuf text;
  strbuf_init(&text, 300);
  if (json_is_number(min)) strbuf_printf(&text, "at least %.6g", json_number_value(min));
  if (json_is_number(max)) strbuf_printf(&text, "%sat most %.6g", text.len > 0 ? ", " : "", json_number_value(max));
  if (json_is_number(champion)) {
    strbuf_printf(&text, "%s%s champion", text.len > 0 ? ", " : "", allowance > 0 ? "at most" : "at least");
    if (allowance != 0) strbuf_printf(&text, " %c %.6g", allowance > 0 ? '+' : '-', fabs(allowance));
  }
  const char *kept = arena_strdup(&cli->arena, strbuf_text(&text));
  strbuf_fini(&text);
  return kept != NULL ? kept : "";
}

static void number_cell(struct cli_table *table, const json_t *value) {
  if (json_is_number(value)) {
    cli_table_cell_printf(table, "%.4g", json_number_value(value));
  } else {
    cli_table_cell(table, "-");
  }
}

void cli_show_checks(struct cli *cli, const json_t *checks) {
  size_t i;
  json_t *check;
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"CHECK", ">CANDIDATE", ">CHAMPION", "LIMIT", "RESULT", "~WHY", NULL});
  json_array_foreach(checks, i, check) {
    bool passed = json_is_true(json_object_get(check, "ok"));
    const char *slice = cli_member(cli, check, "slice"), *value = cli_member(cli, check, "value");
    cli_table_row(table);
    cli_table_cell_printf(table, "%s%s%s%s%s", cli_member(cli, check, "metric"), slice[0] != '\0' ? " where " : "",
                          slice, value[0] != '\0' ? " = " : "", value);
    number_cell(table, json_object_get(check, "candidate"));
    number_cell(table, json_object_get(check, "champion"));
    cli_table_cell(table, limits_text(cli, check));
    cli_table_cell_color(table, passed ? CLI_GREEN : CLI_RED, passed ? "passed" : "failed");
    cli_table_cell(table, text_of(check, "what"));
  }
  cli_table_print(table, "  none are declared");
}

void cli_show_metrics(struct cli *cli, const json_t *evaluations) {
  const json_t *candidate = json_object_get(json_object_get(evaluations, "candidate"), "metrics");
  const json_t *champion = json_object_get(json_object_get(evaluations, "champion"), "metrics");
  const char *name;
  json_t *value;
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"METRIC", ">CANDIDATE", ">CHAMPION", ">DIFFERENCE", NULL});
  if (json_is_object(candidate)) {
    json_object_foreach((json_t *)(uintptr_t)candidate, name, value) {
      const json_t *other = json_object_get(champion, name);
      if (!json_is_number(value)) continue;
      cli_table_row(table);
      cli_table_cell(table, name);
      number_cell(table, value);
      number_cell(table, other);
      if (json_is_number(other)) {
        cli_table_cell_printf(table, "%+.4g", json_number_value(value) - json_number_value(other));
      } else {
        cli_table_cell(table, "-");
      }
    }
  }
  cli_table_print(table, "  not evaluated yet");
}

/* What a rule still lacks, by its own group's voters alone; the matching across rules is the database's. */
static json_int_t still_wanted(const json_t *rule) {
  json_int_t wanted =
      json_integer_value(json_object_get(rule, "approvals")) - (json_int_t)json_array_size(json_object_get(rule, "by"));
  return wanted > 0 ? wanted : 0;
}

const char *cli_gate_waits(struct cli *cli, const json_t *gate) {
  struct strbuf text;
  size_t i;
  json_t *rule;
  strbuf_init(&text, 2000);
  json_array_foreach(json_object_get(gate, "approvals"), i, rule) {
    if (still_wanted(rule) == 0) continue;
    strbuf_printf(&text, "%s%s (%" JSON_INTEGER_FORMAT " more)", text.len > 0 ? ", " : "",
                  cli_member(cli, rule, "group"), still_wanted(rule));
  }
  const char *kept = text.len > 0 ? arena_strdup(&cli->arena, strbuf_text(&text)) : "one more person of these groups";
  strbuf_fini(&text);
  return kept != NULL ? kept : "";
}

static void show_rules(struct cli *cli, const json_t *gate) {
  size_t i;
  json_t *rule;
  json_array_foreach(json_object_get(gate, "approvals"), i, rule) {
    const char *by = cli_join(cli, json_object_get(rule, "by"));
    bool met = still_wanted(rule) == 0;
    cli_printf("  %s %s of %s%s%s\n", cli_paint(cli, met ? CLI_GREEN : CLI_YELLOW, met ? "[x]" : "[ ]"),
               cli_member(cli, rule, "approvals"), cli_member(cli, rule, "group"), by[0] != '\0' ? ": " : "", by);
  }
}

void cli_show_gate(struct cli *cli, const json_t *gate) {
  size_t i;
  json_t *d;
  const char *state = cli_member(cli, gate, "state"), *reason = cli_member(cli, gate, "reason");
  bool open = strcmp(state, "open") == 0;
  cli_printf("  gate %s is %s", cli_member(cli, gate, "gate"), cli_paint(cli, cli_state_color(state), state));
  if (open) {
    cli_printf(", expires %s (%s)", cli_ago(cli, text_of(gate, "expires_at")),
               cli_when(cli, text_of(gate, "expires_at")));
  } else {
    cli_printf(" since %s, by %s%s%s", cli_when(cli, text_of(gate, "closed_at")), cli_member(cli, gate, "closed_by"),
               reason[0] != '\0' ? ": " : "", reason);
  }
  cli_printf("\n");
  show_rules(cli, gate);
  json_array_foreach(json_object_get(gate, "decisions"), i, d) {
    const char *verdict = cli_member(cli, d, "verdict"), *comment = cli_member(cli, d, "comment");
    cli_printf("  %s %ss by %s, %s%s%s\n", cli_member(cli, d, "reviewer"),
               cli_paint(cli, verdict[0] == 'a' ? CLI_GREEN : CLI_RED, verdict), cli_member(cli, d, "via"),
               cli_when(cli, text_of(d, "at")), comment[0] != '\0' ? ": " : "", comment);
  }
  json_array_foreach(json_object_get(gate, "refusals"), i, d) {
    cli_printf("  %s %s (%s, %s): %s\n", cli_paint(cli, CLI_DIM, "refused"), cli_member(cli, d, "who"),
               cli_member(cli, d, "verdict"), cli_when(cli, text_of(d, "at")), cli_member(cli, d, "message"));
  }
  cli_field(cli, "evidence", cli_member(cli, gate, "digest"));
}

void cli_show_signals(struct cli *cli, const json_t *signals) {
  size_t i;
  json_t *s;
  json_array_foreach(signals, i, s) {
    const char *held = cli_member(cli, s, "held_reason");
    cli_printf("  %s %s %s, %s: %s\n", cli_when(cli, text_of(s, "first_at")),
               cli_paint(cli, CLI_CYAN, cli_member(cli, s, "kind")), cli_member(cli, s, "source"),
               cli_member(cli, s, "disposition"), cli_member(cli, s, "title"));
    if (held[0] != '\0') cli_printf("    held back: %s\n", held);
  }
}

void cli_show_deployment(struct cli *cli, const json_t *d) {
  const char *state = cli_member(cli, d, "state"), *reason = cli_member(cli, d, "reason");
  const char *aborted = cli_member(cli, json_object_get(d, "detail"), "aborted"), *from = cli_member(cli, d, "from");
  cli_printf("  %s %s %s%s%s to version %s: %s%s%s%s%s\n", cli_when(cli, text_of(d, "created_at")),
             cli_member(cli, d, "kind"), cli_member(cli, d, "deployment"), from[0] != '\0' ? " from version " : "",
             from, cli_member(cli, d, "version"), cli_paint(cli, cli_state_color(state), state),
             reason[0] != '\0' ? ", " : "", reason, aborted[0] != '\0' ? ", " : "", aborted);
}
