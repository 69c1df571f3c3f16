/* orch signals [PIPELINE] */
#include "cli/cli_monitor.h"
#include "cli/verbs.h"

#include <stdlib.h>
#include <string.h>

#include "io/db_sync.h"

/* What became of it, in one word and the reason when there is one. */
static const char *outcome(struct cli *cli, const json_t *signal) {
  const char *disposition = cli_member(cli, signal, "disposition"), *proposal = cli_member(cli, signal, "proposal"),
             *reason = cli_member(cli, signal, "held_reason");
  if (*proposal) return arena_printf(&cli->arena, "%s #%s", disposition, proposal);
  if (*reason) return arena_printf(&cli->arena, "%s: %s", disposition, reason);
  return disposition;
}

static void print_table(struct cli *cli, const json_t *signals) {
  static const char *const headings[] = {">ID",  "PIPELINE", "KIND",     "STATUS", ">HEARD",
                                         "LAST", "~TITLE",   "|OUTCOME", NULL};
  struct cli_table *table = cli_table_new(cli, headings);
  size_t index;
  json_t *signal;
  json_array_foreach(signals, index, signal) {
    const char *status = cli_member(cli, signal, "status");
    bool fault = strcmp(cli_member(cli, signal, "kind"), "data_fault") == 0;
    cli_table_row(table);
    cli_table_cell(table, cli_member(cli, signal, "signal"));
    cli_table_cell(table, cli_member(cli, signal, "pipeline"));
    cli_table_cell_color(table, fault ? CLI_RED : CLI_PLAIN, cli_member(cli, signal, "kind"));
    cli_table_cell_color(table, strcmp(status, "firing") == 0 ? CLI_YELLOW : CLI_DIM, status);
    cli_table_cell(table, cli_member(cli, signal, "count"));
    cli_table_cell(table, cli_ago(cli, json_string_value(json_object_get(signal, "last_at"))));
    cli_table_cell(table, cli_member(cli, signal, "title"));
    cli_table_cell(table, outcome(cli, signal));
  }
  cli_table_print(table, "no signals");
}

static bool build_filter(struct cli *cli, json_t *filter, struct err *err) {
  static const struct {
    const char *option, *key, *words[13];
  } choices[] = {{"status", "status", {"firing", "resolved", NULL}},
                 {"kind",
                  "kind",
                  {"drift", "prediction_drift", "performance", "estimate", "latency", "volume", "schedule",
                   "data_fault", "canary", "alert", "manual", "external", NULL}},
                 {"outcome", "disposition", {"proposed", "folded", "held", "recorded", "resolved", NULL}}};
  if (cli->argc == 1) json_object_set_new(filter, "pipeline", json_string(cli->argv[0]));
  for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
    const char *value = cli_opt(cli, choices[i].option);
    if (!value) continue;
    size_t j = 0;
    while (choices[i].words[j] && strcmp(choices[i].words[j], value) != 0) j++;
    if (!choices[i].words[j])
      return err_set(err, ERR_USAGE, "--%s is \"%s\"; see orch help signals", choices[i].option, value);
    json_object_set_new(filter, choices[i].key, json_string(value));
  }
  const char *limit = cli_opt(cli, "limit");
  int64_t number = 50;
  if (limit && !cli_parse_int(limit, "--limit", 1, 500, &number, err)) return false;
  json_object_set_new(filter, "limit", json_integer(number));
  return true;
}

/* The document of the reading function; an empty list of a pipeline that does not exist is an error. */
static json_t *ask(struct cli *cli, struct db_sync *db, const json_t *filter, struct err *err) {
  char *text = json_dumps(filter, JSON_COMPACT);
  struct db_value values[] = {db_text(text)};
  char *answer = db_sync_call(db, "select orch.api_signals($1::jsonb)", 1, values, err);
  free(text);
  json_t *document = answer ? json_loads(answer, 0, NULL) : NULL;
  mem_free(answer);
  if (answer && !document) err_set(err, ERR_INTERNAL, "the database answered with no document");
  if (!document || cli->argc == 0 || json_array_size(json_object_get(document, "signals")) > 0) return document;
  struct db_value name[] = {db_text(cli->argv[0])};
  char *pipeline = db_sync_call(db, "select orch.api_pipeline($1)", 1, name, err);
  if (!pipeline) {
    json_decref(document);
    return NULL;
  }
  mem_free(pipeline);
  return document;
}

static bool signals_run(struct cli *cli, struct err *err) {
  if (cli_flag(cli, "watch")) return signals_watch(cli, err);
  const char *url = NULL;
  json_t *filter = json_object(), *document = NULL;
  if (build_filter(cli, filter, err) && cli_database_url(cli, &url, err)) {
    CLEANUP(db_sync_close_p) struct db_sync *db = db_sync_open(url, "orch signals", err);
    if (db) document = ask(cli, db, filter, err);
  }
  json_decref(filter);
  if (!document) return false;
  if (cli->json)
    cli_print_json(cli, document);
  else
    print_table(cli, json_object_get(document, "signals"));
  json_decref(document);
  return true;
}

static const struct cli_option options[] = {
    {"status", 0, "WORD", "only firing or resolved ones"},
    {"kind", 0, "WORD", "only of this kind, as in drift, performance or data_fault"},
    {"outcome", 0, "WORD", "only proposed, folded, held, recorded or resolved ones"},
    {"limit", 'n', "N", "at most so many, the newest first (50; up to 500)"},
    {"watch", 'w', NULL, "with PIPELINE: draw its monitors' numbers over time, until Ctrl-C"},
    {0},
};

const struct cli_verb verb_signals = {
    .name = "signals",
    .group = CLI_GROUP_PROPOSAL,
    .summary = "List what fired, what came of it, and what was held back and why",
    .usage = "signals [PIPELINE] [--status|--kind|--outcome WORD] [--limit N] [--watch]",
    .help = "A signal is one thing that fired: a monitor, an alert, a schedule, a person's\n"
            "tool. Its kind is one of drift, prediction_drift, performance, schedule, alert,\n"
            "manual, external (these may propose a retraining), data_fault, volume, canary,\n"
            "estimate and latency (these tell people). Its outcome is one of\n"
            "  proposed  a retraining was proposed for it\n"
            "  folded    it joined the proposal that was open already\n"
            "  held      it waits, and the reason says for what: a hold, a cooldown, a\n"
            "            budget, broken data, or an incident of several pipelines\n"
            "  recorded  it is for people to look at; broken data never retrains\n"
            "--json prints the whole document, with each column's numbers in `detail`.\n"
            "\n"
            "--watch draws one line for each monitor of PIPELINE: its last windows' values as\n"
            "blocks, coloured by verdict, then the newest value and its bound, the verdict\n"
            "and since when; below stands what fires. With --json it prints one document\n"
            "{\"pipeline\", \"monitors\", \"signals\"} at the start and at each change.",
    .examples = "orch signals housing\norch signals --status firing --outcome held\norch signals housing --json\n"
                "orch signals housing --watch",
    .options = options,
    .max_args = 1,
    .run = signals_run,
};
