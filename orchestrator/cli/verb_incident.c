/* orch incidents, orch incident ID, orch incident release|dismiss ID */
#include <string.h>

#include "cli/verbs.h"

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static enum cli_color state_color(const char *state) {
  return strcmp(state, "open") == 0 ? CLI_YELLOW : strcmp(state, "dismissed") == 0 ? CLI_PLAIN : CLI_GREEN;
}

/* ---- the list ---- */

static bool incidents_run(struct cli *cli, struct err *err) {
  static const char *const names[] = {"pipeline", "state", "limit", "after", NULL};
  const char *filter = NULL;
  json_t *document = NULL, *incident;
  size_t i;
  if (!cli_filter(cli, names, &filter, err)) return false;
  struct db_value value = db_text(filter);
  if (!cli_call(cli, "select orch.api_incidents($1::jsonb)", 1, &value, &document, err)) return false;
  if (cli->json) {
    cli_print_json(cli, document);
    json_decref(document);
    return true;
  }
  struct cli_table *table = cli_table_new(
      cli, (const char *const[]){">ID", "STATE", "SINCE", ">WAITING", "|WHAT", "~PIPELINES", "~ENDED BECAUSE", NULL});
  json_array_foreach(json_object_get(document, "incidents"), i, incident) {
    const char *state = cli_member(cli, incident, "state");
    cli_table_row(table);
    cli_table_cell(table, cli_member(cli, incident, "incident"));
    cli_table_cell_color(table, state_color(state), state);
    cli_table_cell(table, cli_ago(cli, text_of(incident, "opened_at")));
    cli_table_cell(table, cli_member(cli, incident, "waiting"));
    cli_table_cell(table, text_of(incident, "summary"));
    cli_table_cell(table, cli_join(cli, json_object_get(incident, "pipelines")));
    cli_table_cell(table, text_of(incident, "close_reason"));
  }
  cli_table_print(table, "No incidents.");
  cli_print_next(cli, document);
  json_decref(document);
  return true;
}

/* ---- one ---- */

/* What becomes of a member: it waits, trains, or is over. */
static const char *member_words(struct cli *cli, const json_t *member) {
  const char *proposal = cli_member(cli, member, "proposal"), *held = cli_member(cli, member, "held_reason");
  if (json_is_true(json_object_get(member, "waits"))) return "waits here";
  if (*proposal) return arena_printf(&cli->arena, "#%s %s", proposal, cli_member(cli, member, "proposal_state"));
  if (strcmp(cli_member(cli, member, "status"), "resolved") == 0) return "over";
  if (*held) return arena_printf(&cli->arena, "%s: %s", cli_member(cli, member, "disposition"), held);
  return cli_member(cli, member, "disposition");
}

static void draw_members(struct cli *cli, const json_t *members) {
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"PIPELINE", ">SIGNAL", "KIND", "SINCE", "|TITLE", "|OUTCOME", NULL});
  size_t i;
  json_t *member;
  json_array_foreach(members, i, member) {
    bool waits = json_is_true(json_object_get(member, "waits"));
    cli_table_row(table);
    cli_table_cell(table, text_of(member, "pipeline"));
    cli_table_cell(table, cli_member(cli, member, "signal"));
    cli_table_cell(table, text_of(member, "kind"));
    cli_table_cell(table, cli_ago(cli, text_of(member, "since")));
    cli_table_cell(table, text_of(member, "title"));
    cli_table_cell_color(table, waits ? CLI_YELLOW : CLI_PLAIN, member_words(cli, member));
  }
  cli_table_print(table, NULL);
}

static void draw_incident(struct cli *cli, const json_t *incident) {
  const char *id = cli_member(cli, incident, "incident"), *state = cli_member(cli, incident, "state");
  bool open = strcmp(state, "open") == 0;
  cli_printf("%s  %s  %s\n", cli_paint(cli, CLI_BOLD, arena_printf(&cli->arena, "incident %s", id)),
             cli_paint(cli, state_color(state), state), cli_ago(cli, text_of(incident, "opened_at")));
  cli_field(cli, "what", cli_member(cli, incident, "summary"));
  cli_field(cli, "asks", cli_join(cli, json_object_get(incident, "asks")));
  cli_field(cli, "ended",
            open ? ""
                 : arena_printf(&cli->arena, "%s by %s: %s", cli_when(cli, text_of(incident, "closed_at")),
                                cli_member(cli, incident, "closed_by"), cli_member(cli, incident, "close_reason")));
  cli_printf("\n");
  draw_members(cli, json_object_get(incident, "members"));
  if (!open) return;
  cli_printf("\nOne cause is likelier than many. Look at what they share first, then\n"
             "  orch incident release %s --reason \"why\"   lets what waits retrain\n"
             "  orch incident dismiss %s --reason \"why\"   retrains nothing this time\n",
             id, id);
}

static bool show(struct cli *cli, struct err *err) {
  int64_t id;
  json_t *document = NULL;
  if (cli->argc != 1) return err_set(err, ERR_USAGE, "incident: expected the number of one incident");
  if (!cli_parse_id(cli->argv[0], "the incident", &id, err)) return false;
  struct db_value value = db_i64(id);
  if (!cli_call(cli, "select orch.api_incident($1)", 1, &value, &document, err)) return false;
  if (cli->json)
    cli_print_json(cli, document);
  else
    draw_incident(cli, document);
  json_decref(document);
  return true;
}

/* ---- an answer ---- */

static bool answer(struct cli *cli, const char *word, const char *sql, struct err *err) {
  int64_t id;
  const char *actor = NULL;
  json_t *document = NULL;
  if (cli->argc != 2) return err_set(err, ERR_USAGE, "incident %s: expected the number of one incident", word);
  if (!cli_parse_id(cli->argv[1], "the incident", &id, err)) return false;
  if (cli_opt(cli, "reason") == NULL) {
    err_set(err, ERR_USAGE, "an answer to an incident needs a reason: the owners of its pipelines will read it");
    return err_hint(err, "orch incident %s %lld --reason \"why\"", word, (long long)id);
  }
  if (!cli_actor(cli, "operate", &actor, err)) return false;
  struct db_value values[] = {db_i64(id), db_text(cli_opt(cli, "reason")), db_text(actor)};
  if (!cli_call(cli, sql, ARRAY_LEN(values), values, &document, err)) return false;
  if (cli->json)
    cli_print_json(cli, document);
  else
    cli_printf("incident %s is %s: %s\n", cli_member(cli, document, "incident"), cli_member(cli, document, "state"),
               strcmp(word, "release") == 0 ? "what waited is looked at again now (cooldown and budget still hold)"
                                            : "what waited proposes nothing until it fires anew");
  json_decref(document);
  return true;
}

static bool incident_run(struct cli *cli, struct err *err) {
  const char *word = cli->argv[0];
  if (strcmp(word, "release") == 0) return answer(cli, word, "select orch.incident_release($1, $2, $3)", err);
  if (strcmp(word, "dismiss") == 0) return answer(cli, word, "select orch.incident_dismiss($1, $2, $3)", err);
  return show(cli, err);
}

static const struct cli_option list_options[] = {
    {"pipeline", 'p', "NAME", "only those that this pipeline is in"},
    {"state", 's', "STATE", "only open, released, dismissed or resolved ones"},
    {"limit", 'n', "N", "at most so many rows, 1 to 500 (50)"},
    {"after", 0, "ID", "the page after this row, as the last line said"},
    {0},
};

const struct cli_verb verb_incidents = {
    .name = "incidents",
    .group = CLI_GROUP_PROPOSAL,
    .summary = "List when several pipelines fired together, newest first",
    .usage = "incidents [--pipeline NAME] [--state STATE]",
    .help = "When several pipelines that share an owner, a data source or a column fire\n"
            "within a window, their retrainings wait in one incident for a person. The rule\n"
            "stands in orch.yaml under cascade (three pipelines within an hour).",
    .examples = "orch incidents --state open\norch incidents -p housing --json",
    .options = list_options,
    .run = incidents_run,
};

static const struct cli_option options[] = {{"reason", 'r', "TEXT", "why; people will read it"}, {0}};

const struct cli_verb verb_incident = {
    .name = "incident",
    .group = CLI_GROUP_PROPOSAL,
    .summary = "Show an incident, release what waits in it, or dismiss it",
    .usage = "incident ID | release ID --reason TEXT | dismiss ID --reason TEXT",
    .help = "release lets what waits retrain: each signal is looked at again at once, and a\n"
            "hold, a data fault, the cooldown and the budget of its pipeline still hold.\n"
            "dismiss retrains nothing: what waits is recorded until it fires anew. An\n"
            "incident of which nothing fires any more is over by itself.",
    .examples = "orch incident 3\norch incident release 3 --reason \"the season has changed\"\n"
                "orch incident dismiss 3 --reason \"the price feed sent cents\"",
    .options = options,
    .min_args = 1,
    .max_args = 2,
    .run = incident_run,
};
