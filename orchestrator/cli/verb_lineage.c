/* orch lineage PIPELINE@VERSION */
#include "cli/cli_show.h"
#include "cli/verbs.h"

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static void draw_version(struct cli *cli, const json_t *v) {
  const char *state = cli_member(cli, v, "state");
  const json_t *quarantined = json_object_get(v, "quarantined");
  cli_printf(
      "%s  %s\n",
      cli_paint(cli, CLI_BOLD,
                arena_printf(&cli->arena, "%s@%s", cli_member(cli, v, "pipeline"), cli_member(cli, v, "version"))),
      cli_paint(cli, cli_state_color(state), state));
  cli_field(cli, "trained", cli_when(cli, text_of(v, "created_at")));
  cli_field(cli, "artifact", cli_member(cli, v, "artifact"));
  if (json_is_object(quarantined)) {
    cli_field(cli, "quarantined",
              arena_printf(&cli->arena, "%s by %s: %s", cli_when(cli, text_of(quarantined, "at")),
                           cli_member(cli, quarantined, "by"), cli_member(cli, quarantined, "reason")));
  }
}

static void draw_inputs(struct cli *cli, const json_t *inputs, const json_t *proposal) {
  const char *name;
  json_t *digest;
  json_object_foreach(json_object_get(inputs, "snapshots"), name, digest) {
    cli_field(cli, arena_printf(&cli->arena, "data %s", cli_safe(cli, name)), cli_safe(cli, json_string_value(digest)));
  }
  cli_field(cli, "code", cli_member(cli, inputs, "code"));
  cli_field(cli, "revision",
            arena_printf(&cli->arena, "%s, applied by %s", cli_member(cli, inputs, "revision"),
                         cli_member(cli, inputs, "applied_by")));
  cli_field(cli, "git commit", cli_member(cli, inputs, "git_commit"));
  if (json_is_true(json_object_get(inputs, "git_dirty"))) cli_field(cli, "", "with changes that were not committed");
  cli_field(cli, "config", cli_member(cli, inputs, "config_digest"));
  cli_field(cli, "seed", cli_member(cli, proposal, "seed"));
  cli_field(cli, "data up to", cli_when(cli, text_of(proposal, "as_of")));
}

static void draw(struct cli *cli, const json_t *document) {
  const json_t *proposal = json_object_get(document, "proposal");
  size_t i;
  json_t *item;
  draw_version(cli, json_object_get(document, "version"));
  cli_heading(cli, "Signals");
  cli_show_signals(cli, json_object_get(document, "signals"));
  cli_heading(cli, arena_printf(&cli->arena, "Proposal #%s", cli_member(cli, proposal, "proposal")));
  cli_field(cli, "reason", cli_member(cli, proposal, "reason"));
  cli_field(cli, "opened",
            arena_printf(&cli->arena, "%s by %s", cli_when(cli, text_of(proposal, "created_at")),
                         cli_member(cli, proposal, "opened_by")));
  cli_field(cli, "proposers", cli_join(cli, json_object_get(proposal, "proposers")));
  cli_heading(cli, "Made from");
  draw_inputs(cli, json_object_get(document, "inputs"), proposal);
  cli_heading(cli, "Jobs");
  cli_show_steps(cli, json_object_get(document, "jobs"), "  ");
  if (json_is_array(json_object_get(proposal, "checks"))) {
    cli_heading(cli, "Checks");
    cli_show_checks(cli, json_object_get(proposal, "checks"));
  }
  if (json_array_size(json_object_get(document, "gates")) > 0) cli_heading(cli, "Votes");
  json_array_foreach(json_object_get(document, "gates"), i, item) cli_show_gate(cli, item);
  if (json_array_size(json_object_get(document, "deployments")) > 0) cli_heading(cli, "Deployments");
  json_array_foreach(json_object_get(document, "deployments"), i, item) cli_show_deployment(cli, item);
}

static bool lineage_run(struct cli *cli, struct err *err) {
  const char *pipeline;
  int64_t version;
  json_t *document = NULL;
  if (!cli_parse_version(cli, cli->argv[0], &pipeline, &version, err)) return false;
  struct db_value values[] = {db_text(pipeline), db_i64(version)};
  if (!cli_call(cli, "select orch.api_lineage($1, $2::int)", ARRAY_LEN(values), values, &document, err)) return false;
  if (cli->json) {
    cli_print_json(cli, document);
  } else {
    draw(cli, document);
  }
  json_decref(document);
  return true;
}

const struct cli_verb verb_lineage = {
    .name = "lineage",
    .group = CLI_GROUP_ROLLOUT,
    .summary = "Show where a version came from and what became of it",
    .usage = "lineage PIPELINE@VERSION",
    .help = "One view from the signal over the proposal, its data, code and config (each by\n"
            "digest), its jobs, checks and votes, to its deployments and rollbacks.",
    .examples = "orch lineage housing@3\norch lineage housing@3 --json",
    .min_args = 1,
    .max_args = 1,
    .run = lineage_run,
};
