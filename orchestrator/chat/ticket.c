#include "chat/ticket.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

bool ticket_write(const struct ticket *ticket, char out[TICKET_TEXT_MAX + 1], struct err *err) {
  CLEANUP(strbuf_fini_p) struct strbuf text;
  strbuf_init(&text, TICKET_TEXT_MAX);
  strbuf_printf(&text, "{\"v\":1,\"gate\":%lld,\"nonce\":", (long long)ticket->gate);
  strbuf_add_json(&text, ticket->nonce);
  strbuf_puts(&text, ",\"digest\":");
  strbuf_add_json(&text, ticket->digest);
  const struct {
    const char *name, *value;
  } optional[] = {{"subject", ticket->subject}, {"channel", ticket->channel}, {"ts", ticket->message_ts}};
  for (size_t i = 0; i < ARRAY_LEN(optional); i++) {
    if (optional[i].value[0] == '\0') continue;
    strbuf_printf(&text, ",\"%s\":", optional[i].name);
    strbuf_add_json(&text, optional[i].value);
  }
  strbuf_putc(&text, '}');
  if (text.failed) return err_set(err, ERR_LIMIT, "the ticket of gate %lld does not fit", (long long)ticket->gate);
  memcpy(out, strbuf_text(&text), text.len + 1);
  return true;
}

/* False when the member is there and is no text or too long; an absent one is left empty. */
static bool copy_member(const json_t *object, const char *name, char *out, size_t size) {
  const json_t *member = json_object_get(object, name);
  if (member == NULL) return true;
  if (!json_is_string(member) || json_string_length(member) >= size) return false;
  memcpy(out, json_string_value(member), json_string_length(member) + 1);
  return true;
}

bool ticket_read(const char *text, struct ticket *ret_ticket, struct err *err) {
  json_t *root = strlen(text) <= TICKET_TEXT_MAX ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
  struct ticket ticket = {.gate = json_integer_value(json_object_get(root, "gate"))};
  bool good = json_integer_value(json_object_get(root, "v")) == 1 && ticket.gate > 0 &&
              copy_member(root, "nonce", ticket.nonce, sizeof ticket.nonce) &&
              copy_member(root, "digest", ticket.digest, sizeof ticket.digest) &&
              copy_member(root, "subject", ticket.subject, sizeof ticket.subject) &&
              copy_member(root, "channel", ticket.channel, sizeof ticket.channel) &&
              copy_member(root, "ts", ticket.message_ts, sizeof ticket.message_ts) && ticket.nonce[0] != '\0' &&
              digest_is_text(ticket.digest);
  json_decref(root);
  if (!good) return err_set(err, ERR_INVALID, "the button does not carry a ticket of this orchestrator");
  *ret_ticket = ticket;
  return true;
}
