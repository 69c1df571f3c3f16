/* The ticket that a chat button carries: which gate, which asking of it, and for which bytes the answer is given.
 *
 * It travels through Slack in a button's `value` and a modal's `private_metadata` and comes back signed by Slack, not
 * by us: it says what the person saw, and the database compares it with what is true now. */
#ifndef ORCH_CHAT_TICKET_H
#define ORCH_CHAT_TICKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"

#define TICKET_TEXT_MAX 1024 /* bytes; Slack allows 2,000 in a button and 3,000 in a modal */

struct ticket {
  int64_t gate;
  char nonce[65];
  char digest[DIGEST_TEXT_SIZE];
  char subject[81];    /* "housing@3", for the modal's words; may be empty */
  char channel[33];    /* the message it was pressed on, in a modal; may be empty */
  char message_ts[33]; /* likewise */
};

/* Writes compact JSON. ERR_LIMIT when it would not fit TICKET_TEXT_MAX. */
ORCH_MUST_CHECK bool ticket_write(const struct ticket *ticket, char out[TICKET_TEXT_MAX + 1], struct err *err);
/* ERR_INVALID when the text is not a ticket of ours. */
ORCH_MUST_CHECK bool ticket_read(const char *text, struct ticket *ret_ticket, struct err *err);

#endif
