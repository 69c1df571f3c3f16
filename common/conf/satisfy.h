/* Can a gate's rules be met at all? Each vote serves one rule, so people are matched to rules, not counted. */
#ifndef ORCH_CONF_SATISFY_H
#define ORCH_CONF_SATISFY_H

#include <jansson.h>

#define SATISFY_PEOPLE_MAX 500
#define SATISFY_VOTES_MAX 100

/* `require`: [{"group","approvals"}], `reviewers`: [{"name","groups":[..]}]. The most votes that distinct people can
 * give to the rules together; equal to the sum of approvals when the gate can be satisfied. Kuhn's augmenting paths
 * (H. W. Kuhn, 1955). Lists beyond the bounds are cut. */
unsigned satisfy_votes(const json_t *require, const json_t *reviewers);
/* How many reviewers are in the group. */
unsigned satisfy_members(const json_t *reviewers, const char *group);

#endif
