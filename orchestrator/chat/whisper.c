#include "chat/whisper.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "chat/slack_out.h"
#include "chat/url_policy.h"

#define WHISPER_TIMEOUT_MS 5000

struct whisper {
  struct slack_api *api;
  char *user;
  char *response_url;
  char *text;
};

static void whisper_free(struct whisper *whisper) {
  mem_free(whisper->user);
  mem_free(whisper->response_url);
  mem_free(whisper->text);
  mem_free(whisper);
}

static void url_answered(void *arg, const struct fetch_response *response, const struct err *err) {
  struct whisper *whisper = arg;
  if (err != NULL)
    log_err(LOG_WARN, "slack.whisper_failed", err);
  else if (response->status != 200)
    log_event(LOG_WARN, "slack.whisper_failed", LOG_S("user", whisper->user), LOG_I("status", response->status));
  whisper_free(whisper);
}

/* The second way: Slack's own address for answers to this one press. */
static void send_by_url(struct whisper *whisper, const char *why) {
  struct err err = whisper->api->refused;
  if (err.code != ERR_NONE || whisper->response_url == NULL ||
      !url_policy_slack_response(whisper->response_url, &err)) {
    log_event(LOG_WARN, "slack.whisper_failed", LOG_S("user", whisper->user), LOG_S("error", why),
              LOG_S("response_url", whisper->response_url != NULL || err.code != ERR_NONE ? err.text : "none"));
    whisper_free(whisper);
    return;
  }
  json_t *body = slack_out_response(whisper->text);
  char *text = json_dumps(body, JSON_COMPACT);
  static const char *const headers[] = {"Content-Type: application/json; charset=utf-8", NULL};
  struct fetch_request request = {.method = "POST",
                                  .url = whisper->response_url,
                                  .headers = headers,
                                  .body = text,
                                  .body_len = strlen(text),
                                  .timeout_ms = WHISPER_TIMEOUT_MS};
  (void)fetch_start(whisper->api->fetch, &request, url_answered, whisper);
  free(text);
  json_decref(body);
}

static void api_answered(void *arg, const struct slack_api_answer *answer) {
  struct whisper *whisper = arg;
  if (answer->outcome == SLACK_API_OK)
    whisper_free(whisper);
  else
    send_by_url(whisper, answer->error);
}

void whisper_send(struct slack_api *api, const char *channel, const char *user, const char *response_url,
                  const char *text) {
  struct err err = {0};
  struct whisper *whisper = mem_alloc(sizeof *whisper);
  *whisper = (struct whisper){.api = api,
                              .user = mem_strdup(user),
                              .response_url = response_url != NULL ? mem_strdup(response_url) : NULL,
                              .text = mem_strdup(text)};
  if (channel == NULL) {
    send_by_url(whisper, "no channel");
    return;
  }
  json_t *body = slack_out_ephemeral(channel, user, text);
  if (slack_api_post(api, "chat.postEphemeral", body, WHISPER_TIMEOUT_MS, api_answered, whisper, &err) == NULL)
    send_by_url(whisper, err.text);
  json_decref(body);
}
