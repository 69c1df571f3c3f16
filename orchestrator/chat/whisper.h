/* A private word to one person in Slack: why what they pressed did not count.
 *
 * chat.postEphemeral first, since it needs nothing but ids; when that is not possible, the press's own response_url. It
 * is sent once and not queued: words that arrive minutes later confuse. */
#ifndef ORCH_CHAT_WHISPER_H
#define ORCH_CHAT_WHISPER_H

#include "chat/slack_api.h"

/* Copies everything. `channel` may be NULL (then only the response_url is left), `response_url` too. A failure is
 * logged here. The api must outlive the transfer. */
void whisper_send(struct slack_api *api, const char *channel, const char *user, const char *response_url,
                  const char *text);

#endif
