/* Slack's forms, from the raw body to the ticket of the pressed button. */
#include <stddef.h>
#include <stdint.h>

#include "chat/slack_in.h"
#include "chat/ticket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  CLEANUP(arena_fini_p) struct arena arena;
  arena_init(&arena, 4 * 1024 * 1024);
  struct slack_in in = {0};
  struct ticket ticket = {0};
  struct err err = {0};
  char identity[SLACK_IDENTITY_SIZE], text[TICKET_TEXT_MAX + 1];
  if (!slack_in_parse(&arena, (const char *)data, size, &in, &err)) return 0;
  (void)!slack_in_identity(&in, identity);
  const char *carried = in.value != NULL ? in.value : in.private_metadata;
  /* What was read must be writable again, or a pressed button could not open its modal. */
  if (carried != NULL && ticket_read(carried, &ticket, &err)) (void)!ticket_write(&ticket, text, &err);
  return 0;
}
