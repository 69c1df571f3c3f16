/* What we say in Slack: gate messages with their evidence and buttons, their outcome, notices, private words, modals.
 *
 * Every function returns the JSON body of one Web API call (a new reference), within all of Slack's limits: longer
 * texts are cut with an ellipsis. Texts from outside are escaped, so that a model called <!channel> pages nobody.
 *
 * `event` is an outbox event {"type","timestamp","data":{"gate","kind","pipeline","proposal","version","champion",
 * "digest","nonce","state","gate_state","expires_at","approvals":[{"group","approvals","by"}],"decisions":[{"reviewer",
 * "verdict","comment","via","at"}],"closed_at","closed_by","reason","review_url" or "page_url","evidence":{…}}};
 * members that are missing are left out of the message, never invented. */
#ifndef ORCH_CHAT_SLACK_OUT_H
#define ORCH_CHAT_SLACK_OUT_H

#include <jansson.h>

#include "base/error.h"
#include "chat/ticket.h"

#define SLACK_ACTION_APPROVE "orch_approve"
#define SLACK_ACTION_REJECT "orch_reject"
#define SLACK_ACTION_REVIEW "orch_review"
#define SLACK_VIEW_REJECT "orch_reject"
#define SLACK_BLOCK_COMMENT "comment"

/* chat.postMessage for a gate: evidence, and while it is open Approve / Reject carrying the ticket; once it is closed
 * who, when and what instead. ERR_INVALID when an open gate's event names no gate, nonce or digest: a message whose
 * buttons cannot work is not sent. */
json_t *slack_out_gate_opened(const char *channel, const json_t *event, struct err *err);

/* chat.update of such a message, for gate.decided and gate.closed. */
json_t *slack_out_gate_updated(const char *channel, const char *ts, const json_t *event, struct err *err);

/* chat.postMessage for any other event, in the gate's thread when `thread_ts` is not NULL. */
json_t *slack_out_notice(const char *channel, const char *thread_ts, const json_t *event);

/* chat.postEphemeral: seen by one person only. `text` is plain; it is escaped here. */
json_t *slack_out_ephemeral(const char *channel, const char *user, const char *text);
/* The same words as an answer to a response_url. */
json_t *slack_out_response(const char *text);

/* views.open: asks for the comment of a rejection; the ticket travels in private_metadata. */
json_t *slack_out_reject_view(const char *trigger_id, const struct ticket *ticket, struct err *err);
/* The answer to a view_submission whose comment is not acceptable. */
json_t *slack_out_comment_error(const char *text);

#endif
