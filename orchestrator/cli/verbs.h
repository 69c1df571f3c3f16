/* Every verb's declaration; the definitions are in verb_*.c. */
#ifndef ORCH_CLI_VERBS_H
#define ORCH_CLI_VERBS_H

#include "cli/cli.h"

#define CLI_VERBS(V)                                                                                                   \
  V(migrate)                                                                                                           \
  V(check)                                                                                                             \
  V(observe)                                                                                                           \
  V(signals)                                                                                                           \
  V(help)                                                                                                              \
  V(version)                                                                                                           \
  V(completion)

#define V(name) extern const struct cli_verb verb_##name;
CLI_VERBS(V)
#undef V

#endif
