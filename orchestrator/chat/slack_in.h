/* What Slack posts to us, reduced to the few fields that decide something.
 *
 * Call only after sign_slack_verify() has accepted the raw bytes. People are known by (team, user) ids, never by
 * names: names are not unique and their owners can change them. */
#ifndef ORCH_CHAT_SLACK_IN_H
#define ORCH_CHAT_SLACK_IN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/mem.h"

#define SLACK_IN_BODY_MAX (1024 * 1024) /* a payload repeats the whole message, percent-encoded */
#define SLACK_IN_COMMENT_MAX 3000       /* characters; Slack's own bound for a text input */
#define SLACK_IDENTITY_SIZE 72

enum slack_in_kind {
  SLACK_IN_OTHER,           /* well-formed, but nothing that we asked for: answered with 200 and ignored */
  SLACK_IN_SSL_CHECK,       /* Slack's own probe of the certificate */
  SLACK_IN_BLOCK_ACTIONS,   /* a button was pressed */
  SLACK_IN_VIEW_SUBMISSION, /* a modal was sent */
  SLACK_IN_VIEW_CLOSED,     /* a modal was closed */
  SLACK_IN_COMMAND,         /* a slash command */
};

/* Texts live in the arena given to slack_in_parse(); NULL when absent. */
struct slack_in {
  enum slack_in_kind kind;
  const char *team;             /* where it happened: the workspace, or the enterprise in an org-wide install */
  const char *user;             /* who did it */
  const char *user_team;        /* the person's own workspace */
  bool external;                /* Slack Connect: the person belongs to another organisation */
  const char *action_id;        /* of the button; NULL for a command */
  const char *value;            /* of the button; a link button has none */
  const char *channel;          /* NULL for a modal */
  const char *message_ts;       /* the message pressed on */
  const char *response_url;     /* optional; check with url_policy_slack_response() before use */
  const char *trigger_id;       /* good for 3 s, once */
  const char *callback_id;      /* of the modal */
  const char *private_metadata; /* of the modal */
  const char *comment;          /* the modal's text input */
  const char *command;          /* "/orch" */
  const char *text;             /* after the command */
};

/* ERR_INVALID for what Slack never sends, ERR_LIMIT for what is over a bound. */
ORCH_MUST_CHECK bool slack_in_parse(struct arena *arena, const char *body, size_t len, struct slack_in *ret_in,
                                    struct err *err);

/* "TEAM/USER" as reviewers are listed in orch.yaml. An external person is named by their own team, so that they are a
 * stranger unless listed exactly so. False when there is no user. */
ORCH_MUST_CHECK bool slack_in_identity(const struct slack_in *in, char out[SLACK_IDENTITY_SIZE]);

#endif
