/* What outbox.c (claiming, settling) and outbox_send.c (sending one row) share. */
#ifndef ORCH_CHAT_OUTBOX_PRIVATE_H
#define ORCH_CHAT_OUTBOX_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "chat/outbox.h"
#include "chat/slack_api.h"

#define OUTBOX_SEND_TIMEOUT_MS 10000
#define OUTBOX_ERROR_SIZE 512
#define DELIVERY_MAGIC 0x64656c76u

enum outbox_end { OUTBOX_DELIVERED, OUTBOX_RETRIED, OUTBOX_DEAD, OUTBOX_ENDS };

struct outbox {
  uv_loop_t *loop;
  struct db *db;
  struct fetch *fetch;
  struct slack_api slack;
  char *owner, *public_url;
  unsigned concurrency;
  int64_t poll_ms, lease_ms;

  uv_timer_t poll;
  struct db_request claim;
  bool claiming, again, stopping;
  unsigned in_flight;
  struct delivery *deliveries;
  uint64_t ended[2][OUTBOX_ENDS]; /* [is webhook] */
  void (*closed)(void *arg);
  void *closed_arg;
};

/* One row on its way: what the database said, where it is, how it ended. */
struct delivery {
  uint32_t magic;
  struct outbox *outbox;
  struct delivery *next, *prev;
  int64_t id, lease;
  int attempt;
  int64_t started_us;
  bool webhook;
  json_t *endpoint, *event, *messages;

  size_t message; /* chat.update: which of the messages is next */
  size_t gone;    /* messages that cannot be edited any more */
  struct slack_call *slack_call;
  struct fetch_call *transfer;
  struct db_request request;
  json_t *result; /* for outbox_done */
};

/* Sends; ends in exactly one of the three below, never from inside this call when a transfer was started. */
void outbox_send_slack(struct delivery *delivery);
void outbox_send_webhook(struct delivery *delivery);

void outbox_delivered(struct delivery *delivery);
void outbox_failed(struct delivery *delivery, bool dead, int64_t retry_after_ms, const char *error);

#endif
