/* THE table of verbs: the order is the order of `orch help` within a group. Add a verb to CLI_VERBS in verbs.h. */
#include "cli/verbs.h"

#define V(name) &verb_##name,
const struct cli_verb *const cli_verbs[] = {CLI_VERBS(V) NULL};
#undef V
