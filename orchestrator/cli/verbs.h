/* Every verb's declaration; the definitions are in verb_*.c. */
#ifndef ORCH_CLI_VERBS_H
#define ORCH_CLI_VERBS_H

#include "cli/cli.h"

#define CLI_VERBS(V)                                                                                                   \
  V(serve)                                                                                                             \
  V(init)                                                                                                              \
  V(up)                                                                                                                \
  V(down)                                                                                                              \
  V(status)                                                                                                            \
  V(worker)                                                                                                            \
  V(migrate)                                                                                                           \
  V(check)                                                                                                             \
  V(drift)                                                                                                             \
  V(monitor)                                                                                                           \
  V(observe)                                                                                                           \
  V(signals)                                                                                                           \
  V(incidents)                                                                                                         \
  V(incident)                                                                                                          \
  V(apply)                                                                                                             \
  V(pipelines)                                                                                                         \
  V(propose)                                                                                                           \
  V(proposals)                                                                                                         \
  V(show)                                                                                                              \
  V(logs)                                                                                                              \
  V(cancel)                                                                                                            \
  V(approve)                                                                                                           \
  V(reject)                                                                                                            \
  V(versions)                                                                                                          \
  V(history)                                                                                                           \
  V(lineage)                                                                                                           \
  V(rollback)                                                                                                          \
  V(hold)                                                                                                              \
  V(release)                                                                                                           \
  V(reviewers)                                                                                                         \
  V(token)                                                                                                             \
  V(webhooks)                                                                                                          \
  V(audit)                                                                                                             \
  V(chat)                                                                                                              \
  V(help)                                                                                                              \
  V(version)                                                                                                           \
  V(completion)

#define V(name) extern const struct cli_verb verb_##name;
CLI_VERBS(V)
#undef V

#endif
