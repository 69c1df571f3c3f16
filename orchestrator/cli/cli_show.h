/* Pieces of documents that several commands draw: steps with progress, checks, a gate and its votes, a diagnosis,
 * signals. */
#ifndef ORCH_CLI_CLI_SHOW_H
#define ORCH_CLI_CLI_SHOW_H

#include "cli/cli.h"

/* One line a step: state, progress bar, what it says, how long. `indent` stands before each. */
void cli_show_steps(struct cli *cli, const json_t *steps, const char *indent);
/* A table of checks with both models' numbers. */
void cli_show_checks(struct cli *cli, const json_t *checks);
/* A table of the numbers that both evaluations report. */
void cli_show_metrics(struct cli *cli, const json_t *evaluations);
/* Who must approve, who has, until when, what was decided and what was refused. */
void cli_show_gate(struct cli *cli, const json_t *gate);
/* One line: "waits for ml-owners (1 more), risk (1 more), until …". Lives in the arena. */
const char *cli_gate_waits(struct cli *cli, const json_t *gate);
/* Why a proposal is there: a summary, the columns by weight, faults, what else fires, the live metric. */
void cli_show_diagnosis(struct cli *cli, const json_t *diagnosis);
void cli_show_signals(struct cli *cli, const json_t *signals);
void cli_show_deployment(struct cli *cli, const json_t *deployment);

#endif
