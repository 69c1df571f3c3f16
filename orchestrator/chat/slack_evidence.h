/* The evidence of a gate in words and numbers: each function writes one section of a Slack message.
 *
 * `data` is the data member of an outbox event; members that are missing leave their section empty. */
#ifndef ORCH_CHAT_SLACK_EVIDENCE_H
#define ORCH_CHAT_SLACK_EVIDENCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

/* "housing@3", unescaped, cut to `size`. */
void slack_evidence_subject(const json_t *data, char *out, size_t size);
/* "housing@2", or an empty text when there is no champion. */
void slack_evidence_champion(const json_t *data, char *out, size_t size);

void slack_evidence_why(const json_t *data, struct strbuf *out);     /* the diagnosis, else reason and signals */
void slack_evidence_metrics(const json_t *data, struct strbuf *out); /* candidate beside champion, in a code fence */
void slack_evidence_checks(const json_t *data, struct strbuf *out);  /* of the evidence, or those that failed */
void slack_evidence_policy(const json_t *data, struct strbuf *out);  /* who must approve, until when */
void slack_evidence_digests(const json_t *data, struct strbuf *out); /* short digests of everything */
void slack_evidence_votes(const json_t *data, struct strbuf *out);   /* who said what so far */
void slack_evidence_outcome(const json_t *data, struct strbuf *out); /* of a closed gate: what, who, when */

/* Whether the gate can still be decided, as far as the event knows. */
bool slack_evidence_is_open(const json_t *data);

#endif
