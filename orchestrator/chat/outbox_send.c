#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "chat/outbox_private.h"
#include "chat/sign.h"
#include "chat/slack_out.h"
#include "chat/url_policy.h"
#include "conf/secret.h"

#define MESSAGES_MAX 20 /* edited for one event */
#define EVENT_ID_MAX 200

static const char *text_of(const json_t *object, const char *name) {
  return json_string_value(json_object_get(object, name));
}

static bool is_type(const struct delivery *delivery, const char *type) {
  const char *given = text_of(delivery->event, "type");
  return given != NULL && strcmp(given, type) == 0;
}

/* ---- Slack ---- */

enum slack_kind {
  SLACK_POST,   /* a gate's message: remembered, so that it can be edited */
  SLACK_EDIT,   /* all messages of a gate */
  SLACK_NOTICE, /* anything else */
};

static enum slack_kind kind_of(const struct delivery *delivery) {
  if (is_type(delivery, "gate.opened")) return SLACK_POST;
  return is_type(delivery, "gate.decided") || is_type(delivery, "gate.closed") ? SLACK_EDIT : SLACK_NOTICE;
}

static size_t message_count(const struct delivery *delivery) {
  size_t count = json_array_size(delivery->messages);
  return count < MESSAGES_MAX ? count : MESSAGES_MAX;
}

static void recorded(void *arg, struct db_result *result, const struct err *err) {
  struct delivery *delivery = arg;
  MAGIC_CHECK(delivery, DELIVERY_MAGIC);
  /* Sent but not remembered: send again rather than leave a message that nobody will edit. */
  if (err != NULL)
    outbox_failed(delivery, false, -1, err->text);
  else
    outbox_delivered(delivery);
}

/* Remembers where the gate's message is. */
static void record(struct delivery *delivery, const json_t *answer) {
  const char *channel = text_of(answer, "channel"), *ts = text_of(answer, "ts");
  json_t *data = json_object_get(delivery->event, "data");
  if (channel == NULL || ts == NULL) {
    outbox_failed(delivery, true, -1, "Slack's answer names neither channel nor ts");
    return;
  }
  delivery->result = json_pack("{s:s, s:s}", "channel", channel, "ts", ts);
  struct db_value values[] = {db_i64(json_integer_value(json_object_get(data, "gate"))), db_text(channel), db_text(ts)};
  delivery->request = (struct db_request){.repeatable = true};
  db_query(delivery->outbox->db, &delivery->request, "select orch.chat_message_record($1, $2, $3)", ARRAY_LEN(values),
           values, recorded, delivery);
}

/* Slack's words for "that message cannot be edited": no reason to leave the others as they are. */
static bool is_gone(const char *error) {
  static const char *const words[] = {"message_not_found", "cant_update_message", "edit_window_closed",
                                      "channel_not_found", "is_archived",         "is_inactive"};
  for (size_t i = 0; i < ARRAY_LEN(words); i++)
    if (strncmp(error, words[i], strlen(words[i])) == 0) return true;
  return false;
}

static void edited(struct delivery *delivery, bool gone) {
  delivery->message++;
  if (gone) delivery->gone++;
  outbox_send_slack(delivery);
}

static void slack_answered(void *arg, const struct slack_api_answer *answer) {
  struct delivery *delivery = arg;
  MAGIC_CHECK(delivery, DELIVERY_MAGIC);
  enum slack_kind kind = kind_of(delivery);
  delivery->slack_call = NULL;
  if (answer->outcome == SLACK_API_OK) {
    if (kind == SLACK_POST)
      record(delivery, answer->body);
    else if (kind == SLACK_EDIT)
      edited(delivery, false);
    else
      outbox_delivered(delivery);
  } else if (kind == SLACK_EDIT && answer->outcome == SLACK_API_NEVER && is_gone(answer->error)) {
    edited(delivery, true);
  } else {
    outbox_failed(delivery, answer->outcome == SLACK_API_NEVER, answer->retry_after_ms, answer->error);
  }
}

/* The call to make, or NULL with the error set. */
static json_t *slack_body(const struct delivery *delivery, const char *channel, const char **ret_method,
                          struct err *err) {
  const json_t *message = json_array_get(delivery->messages, delivery->message);
  const char *message_channel = text_of(message, "channel"), *ts = text_of(message, "ts");
  enum slack_kind kind = kind_of(delivery);
  *ret_method = kind == SLACK_EDIT ? "chat.update" : "chat.postMessage";
  if (kind == SLACK_POST) return slack_out_gate_opened(channel, delivery->event, err);
  if (kind == SLACK_NOTICE) {
    /* In the gate's thread when the gate has a message in this channel. */
    bool thread = message_channel != NULL && ts != NULL && strcmp(message_channel, channel) == 0;
    return slack_out_notice(channel, thread ? ts : NULL, delivery->event);
  }
  if (message_channel == NULL || ts == NULL) {
    (void)err_set(err, ERR_INTERNAL, "the message to edit has no channel or ts");
    return NULL;
  }
  return slack_out_gate_updated(message_channel, ts, delivery->event, err);
}

void outbox_send_slack(struct delivery *delivery) {
  struct err err = {0};
  enum slack_kind kind = kind_of(delivery);
  const char *channel = text_of(delivery->endpoint, "channel"), *method = NULL;
  if (channel == NULL) {
    outbox_failed(delivery, true, -1, "no Slack channel is configured");
    return;
  }
  if (kind == SLACK_EDIT && delivery->message >= message_count(delivery)) {
    delivery->result = json_pack("{s:I, s:I}", "edited", (json_int_t)(delivery->message - delivery->gone), "gone",
                                 (json_int_t)delivery->gone);
    outbox_delivered(delivery);
    return;
  }
  if (clock_mono_us() - delivery->started_us > delivery->outbox->lease_ms * 1000 / 2) {
    /* One more time-out would outlast the lease. Editing twice is harmless, so the next try starts over. */
    outbox_failed(delivery, false, -1, "Slack is too slow to edit all messages in one go");
    return;
  }
  if (kind == SLACK_POST && message_count(delivery) > 0) {
    /* An earlier try got as far as remembering it. */
    delivery->result = json_pack("{s:O}", "message", json_array_get(delivery->messages, 0));
    outbox_delivered(delivery);
    return;
  }
  json_t *body = slack_body(delivery, channel, &method, &err);
  if (body == NULL) {
    outbox_failed(delivery, true, -1, err.text);
    return;
  }
  delivery->slack_call =
      slack_api_post(&delivery->outbox->slack, method, body, OUTBOX_SEND_TIMEOUT_MS, slack_answered, delivery, &err);
  json_decref(body);
  if (delivery->slack_call == NULL) outbox_failed(delivery, false, -1, err.text);
}

/* ---- webhooks ---- */

static void webhook_answered(void *arg, const struct fetch_response *response, const struct err *err) {
  struct delivery *delivery = arg;
  MAGIC_CHECK(delivery, DELIVERY_MAGIC);
  delivery->transfer = NULL;
  if (err != NULL) {
    outbox_failed(delivery, false, -1, err->text);
    return;
  }
  if (response->status >= 200 && response->status < 300) {
    delivery->result =
        json_pack("{s:i, s:I}", "status", response->status, "elapsed_ms", (json_int_t)response->elapsed_ms);
    outbox_delivered(delivery);
    return;
  }
  char error[OUTBOX_ERROR_SIZE];
  if (response->status == 410)
    snprintf(error, sizeof error, "HTTP 410: the receiver wants no more events; take it out of orch.yaml");
  else
    snprintf(error, sizeof error, "HTTP %d", response->status);
  outbox_failed(delivery, response->status == 410, fetch_retry_after_ms(response), error);
}

/* The three headers of Standard Webhooks. The id stays across tries, the timestamp is now. */
static bool sign_event(const char *secret_env, const char *id, const char *body, struct strbuf headers[3],
                       struct err *err) {
  struct sign_keys keys = {0};
  int64_t now_s = clock_wall_us() / 1000000;
  char *secret = secret_get(secret_env, err);
  if (secret == NULL) return false;
  bool good = sign_keys_webhook(&keys, secret, err);
  mem_free_secret(secret);
  if (!good) return err_prefix(err, "%s", secret_env);
  strbuf_printf(&headers[0], "webhook-id: %s", id);
  strbuf_printf(&headers[1], "webhook-timestamp: %lld", (long long)now_s);
  strbuf_puts(&headers[2], "webhook-signature: ");
  good = sign_webhook(&keys, id, now_s, body, strlen(body), &headers[2], err);
  sign_keys_fini(&keys);
  return good;
}

static void post_webhook(struct delivery *delivery, const char *url, const char *allow, const char *body) {
  struct err err = {0};
  struct strbuf signature[3];
  for (size_t i = 0; i < ARRAY_LEN(signature); i++) strbuf_init(&signature[i], SIGN_HEADER_MAX);
  if (sign_event(text_of(delivery->endpoint, "secret_env"), text_of(delivery->event, "id"), body, signature, &err)) {
    const char *const headers[] = {"Content-Type: application/json", strbuf_text(&signature[0]),
                                   strbuf_text(&signature[1]), strbuf_text(&signature[2]), NULL};
    struct fetch_request request = {.method = "POST",
                                    .url = url,
                                    .headers = headers,
                                    .body = body,
                                    .body_len = strlen(body),
                                    .timeout_ms = OUTBOX_SEND_TIMEOUT_MS,
                                    .private_ok = url_policy_is_listed(url, allow)};
    delivery->transfer = fetch_start(delivery->outbox->fetch, &request, webhook_answered, delivery);
  }
  for (size_t i = 0; i < ARRAY_LEN(signature); i++) strbuf_fini(&signature[i]);
  if (delivery->transfer == NULL) outbox_failed(delivery, false, -1, err.text);
}

void outbox_send_webhook(struct delivery *delivery) {
  struct err err = {0};
  const char *url = text_of(delivery->endpoint, "url"), *id = text_of(delivery->event, "id");
  const char *allow = getenv(URL_POLICY_ALLOW_ENV);
  if (url == NULL || id == NULL || strlen(id) > EVENT_ID_MAX || text_of(delivery->endpoint, "secret_env") == NULL) {
    outbox_failed(delivery, true, -1, "the webhook has no url, id or secret_env");
    return;
  }
  if (!url_policy_outgoing(url, allow, &err)) {
    outbox_failed(delivery, true, -1, err.text);
    return;
  }
  json_t *event =
      json_pack("{s:O?, s:O?, s:O?}", "type", json_object_get(delivery->event, "type"), "timestamp",
                json_object_get(delivery->event, "timestamp"), "data", json_object_get(delivery->event, "data"));
  char *body = json_dumps(event, JSON_COMPACT);
  post_webhook(delivery, url, allow, body != NULL ? body : "{}");
  free(body);
  json_decref(event);
}
