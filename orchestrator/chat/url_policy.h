/* Which addresses orch may talk to on somebody else's word.
 *
 * Outgoing webhooks: https, no user name in the URL, port 443, a public host. Hosts in ORCH_OUTGOING_ALLOW
 * ("127.0.0.1:9000,audit.internal": host or host:port, separated by commas) are exempt from the rules on ports and
 * public addresses; plain http is accepted only for those of them that are loopback, for tests and development.
 * Addresses are looked at again after resolution, where the connection is made. */
#ifndef ORCH_CHAT_URL_POLICY_H
#define ORCH_CHAT_URL_POLICY_H

#include <stdbool.h>

#include "base/error.h"

#define URL_POLICY_ALLOW_ENV "ORCH_OUTGOING_ALLOW"
#define URL_POLICY_URL_MAX 2048

/* `allow` is the text of ORCH_OUTGOING_ALLOW or NULL. ERR_REFUSED with the reason. */
ORCH_MUST_CHECK bool url_policy_outgoing(const char *url, const char *allow, struct err *err);
/* Whether `allow` names the URL's host (so that a private address is all right after resolution too). */
bool url_policy_is_listed(const char *url, const char *allow);

/* Slack's response_url: https on exactly hooks.slack.com or hooks.slack-gov.com. */
ORCH_MUST_CHECK bool url_policy_slack_response(const char *url, struct err *err);

/* The base of Slack's Web API, from ORCH_SLACK_API_URL: https anywhere (the operator chose it), http only on loopback.
 */
ORCH_MUST_CHECK bool url_policy_slack_api(const char *url, struct err *err);

#endif
