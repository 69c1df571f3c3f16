/* Texts for Slack: what comes from outside is made harmless, and everything is cut to Slack's bounds.
 *
 * A message is built in a strbuf from our own markup (strbuf_puts) and outside texts (slack_text_add); the finished
 * text becomes an object of Block Kit, cut with an ellipsis where it is too long. Lengths are UTF-16 code units. */
#ifndef ORCH_CHAT_SLACK_TEXT_H
#define ORCH_CHAT_SLACK_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

#define SLACK_TEXT_BUFFER_MAX (64 * 1024) /* for the strbuf a text is built in; later cut to Slack's bound */

/* Appends an outside text: control characters and direction overrides become spaces, at most `max` units are taken
 * (an ellipsis tells), & < > are escaped. NULL adds nothing. */
void slack_text_add(struct strbuf *out, const char *text, size_t max);
/* The same for text between backticks, which it cannot close. */
void slack_text_add_code(struct strbuf *out, const char *text, size_t max);
/* A moment that Slack shows in each reader's time zone; what is no RFC 3339 is added as text. */
void slack_text_add_time(struct strbuf *out, const char *rfc3339);

/* Cuts finished text to `max` units, never inside a character, an entity or one of our <…> tokens, and closes a code
 * fence that the cut left open. */
void slack_text_cut(struct strbuf *text, size_t max);

/* {"type":"mrkdwn","text":…,"verbatim":true}: links and names in it are not made clickable by Slack. */
json_t *slack_text_mrkdwn(struct strbuf *text, size_t max);
json_t *slack_text_plain(struct strbuf *text, size_t max);

#endif
