#include "chat/slack_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "chat/url_policy.h"
#include "conf/secret.h"

#define RESPONSE_MAX (512 * 1024) /* postMessage answers with the whole message */

void slack_api_init(struct slack_api *api, struct fetch *fetch) {
  const char *url = getenv(SLACK_API_URL_ENV);
  if (url == NULL || url[0] == '\0') url = SLACK_API_DEFAULT_URL;
  bool slash = url[strlen(url) - 1] == '/';
  *api = (struct slack_api){.fetch = fetch, .base = mem_printf("%s%s", url, slash ? "" : "/")};
  if (!url_policy_slack_api(url, &api->refused)) (void)err_prefix(&api->refused, SLACK_API_URL_ENV);
}

void slack_api_close(struct slack_api *api) {
  (void)err_set(&api->refused, ERR_IO, "the server is stopping");
}

void slack_api_fini(struct slack_api *api) {
  mem_free(api->base);
  api->base = NULL;
}

/* ---- what an answer means ---- */

/* Slack's words for "not now". Every other ok:false is final: the request itself is not acceptable. */
static bool is_passing(const char *error) {
  static const char *const passing[] = {"ratelimited",         "rate_limited",    "internal_error",   "fatal_error",
                                        "service_unavailable", "request_timeout", "team_added_to_org"};
  for (size_t i = 0; i < ARRAY_LEN(passing); i++)
    if (strcmp(error, passing[i]) == 0) return true;
  return false;
}

/* Slack's error, with its first detail: "invalid_blocks ([ERROR] must be less than 3001 characters)". */
static void write_error(const json_t *body, const char *error, char *out, size_t size) {
  const json_t *messages = json_object_get(json_object_get(body, "response_metadata"), "messages");
  const char *detail = json_string_value(json_array_get(messages, 0));
  const char *needed = json_string_value(json_object_get(body, "needed"));
  if (detail == NULL) detail = needed;
  if (detail != NULL)
    snprintf(out, size, "%s (%s)", error, detail);
  else
    snprintf(out, size, "%s", error);
}

void slack_api_classify(int status, const json_t *body, int64_t retry_after_ms, struct slack_api_answer *ret_answer) {
  struct slack_api_answer answer = {.outcome = SLACK_API_LATER, .retry_after_ms = retry_after_ms, .body = body};
  const char *error = json_string_value(json_object_get(body, "error"));
  if (status == 200 && json_is_true(json_object_get(body, "ok"))) {
    answer.outcome = SLACK_API_OK;
  } else if (error != NULL && status < 500) {
    answer.outcome = status == 429 || is_passing(error) ? SLACK_API_LATER : SLACK_API_NEVER;
    write_error(body, error, answer.error, sizeof answer.error);
  } else if (status == 200) {
    snprintf(answer.error, sizeof answer.error, "the answer is not Slack's: is " SLACK_API_URL_ENV " right?");
  } else {
    snprintf(answer.error, sizeof answer.error, "HTTP %d", status);
  }
  *ret_answer = answer;
}

/* ---- one call ---- */

struct slack_call {
  slack_api_callback callback;
  void *arg;
  struct fetch_call *transfer;
};

static void answered(void *arg, const struct fetch_response *response, const struct err *err) {
  struct slack_call call = *(struct slack_call *)arg;
  struct slack_api_answer answer = {.outcome = SLACK_API_LATER, .retry_after_ms = -1};
  json_t *body = NULL;
  mem_free(arg);
  if (err != NULL) {
    snprintf(answer.error, sizeof answer.error, "%.*s", (int)sizeof answer.error - 1, err->text);
  } else {
    body = json_loadb(response->body, response->body_len, 0, NULL);
    slack_api_classify(response->status, body, fetch_retry_after_ms(response), &answer);
  }
  call.callback(call.arg, &answer);
  json_decref(body);
}

struct slack_call *slack_api_post(struct slack_api *api, const char *method, const json_t *body, int64_t timeout_ms,
                                  slack_api_callback callback, void *arg, struct err *err) {
  if (api->refused.code != ERR_NONE) {
    *err = api->refused;
    return NULL;
  }
  char *token = secret_get(SLACK_API_TOKEN_ENV, err);
  if (token == NULL) return NULL;
  struct slack_call *call = mem_alloc(sizeof *call);
  char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
  char *authorization = mem_printf("Authorization: Bearer %s", token);
  CLEANUP(mem_free_p) char *url = mem_printf("%s%s", api->base, method);
  const char *const headers[] = {"Content-Type: application/json; charset=utf-8", authorization, NULL};
  struct fetch_request request = {.method = "POST",
                                  .url = url,
                                  .headers = headers,
                                  .body = text != NULL ? text : "{}",
                                  .body_len = text != NULL ? strlen(text) : 2,
                                  .timeout_ms = timeout_ms,
                                  .response_max = RESPONSE_MAX,
                                  .private_ok = true};
  *call = (struct slack_call){.callback = callback, .arg = arg};
  call->transfer = fetch_start(api->fetch, &request, answered, call);
  free(text);
  mem_free_secret(authorization);
  mem_free_secret(token);
  return call;
}

void slack_api_abort(struct slack_call *call) {
  fetch_abort(call->transfer);
  mem_free(call);
}
