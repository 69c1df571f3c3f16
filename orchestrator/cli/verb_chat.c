/* orch chat test: whether Slack can be talked to, and if not, what exactly is wrong. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "chat/sign.h"
#include "chat/slack_api.h"
#include "chat/url_policy.h"
#include "cli/cli_files.h"
#include "cli/verbs.h"
#include "conf/secret.h"

#define CALL_TIMEOUT_MS 10000

/* One run: a loop of its own, and what was found so far. */
struct probe {
  struct cli *cli;
  uv_loop_t loop;
  struct fetch *fetch;
  struct slack_api api;
  json_t *steps;
  bool failed;
  /* the answer of the last call */
  bool answered;
  enum slack_api_outcome outcome;
  char error[256];
  int status;
  bool empty; /* the answer had no body, as ours to this request */
  json_t *body;
};

/* ---- saying what was found ---- */

static void found(struct probe *probe, const char *step, bool good, const char *text, const char *hint) {
  if (!good) probe->failed = true;
  text = cli_safe(probe->cli, text);
  json_array_append_new(probe->steps,
                        json_pack("{s:s, s:b, s:s, s:s?}", "step", step, "ok", (int)good, "text", text, "hint", hint));
  if (probe->cli->json) return;
  cli_printf("%s %-15s %s\n", cli_paint(probe->cli, good ? CLI_GREEN : CLI_RED, good ? "ok  " : "FAIL"), step, text);
  if (hint != NULL) cli_printf("     %-15s %s\n", "", cli_safe(probe->cli, hint));
}

/* What to do about Slack's more usual words. */
static const char *hint_for(const char *error) {
  static const struct {
    const char *error, *hint;
  } known[] = {
      {"invalid_auth", "the token is wrong: copy the bot token (xoxb-...) of the app again"},
      {"not_authed", "the token is empty"},
      {"account_inactive", "the app was removed from the workspace: install it again"},
      {"token_revoked", "the token was revoked: install the app again and copy the new one"},
      {"token_expired", "the token has expired: copy the new one"},
      {"missing_scope", "add the scope chat:write to the app and install it again"},
      {"channel_not_found", "use the channel's id (C...), and invite the app: /invite @orch"},
      {"not_in_channel", "invite the app into the channel: /invite @orch"},
      {"is_archived", "the channel is archived: choose another one"},
      {"ratelimited", "Slack asks for patience: try again in a minute"},
      {"the secret " SLACK_API_TOKEN_ENV, "copy \"Bot User OAuth Token\" of the app into " SLACK_API_TOKEN_ENV},
      {"the request failed", "Slack's API is not reached: check the network, and " SLACK_API_URL_ENV}};
  for (size_t i = 0; i < ARRAY_LEN(known); i++)
    if (strncmp(error, known[i].error, strlen(known[i].error)) == 0) return known[i].hint;
  return NULL;
}

/* ---- calls ---- */

static void slack_answered(void *arg, const struct slack_api_answer *answer) {
  struct probe *probe = arg;
  probe->answered = true;
  probe->outcome = answer->outcome;
  snprintf(probe->error, sizeof probe->error, "%s", answer->error);
  json_decref(probe->body);
  probe->body = answer->body != NULL ? json_deep_copy(answer->body) : NULL;
}

static bool slack_call(struct probe *probe, const char *method, const json_t *body) {
  struct err err = {0};
  probe->answered = false;
  if (slack_api_post(&probe->api, method, body, CALL_TIMEOUT_MS, slack_answered, probe, &err) == NULL) {
    snprintf(probe->error, sizeof probe->error, "%.*s", (int)sizeof probe->error - 1, err.text);
    return false;
  }
  while (!probe->answered) uv_run(&probe->loop, UV_RUN_ONCE);
  return probe->outcome == SLACK_API_OK;
}

static void server_answered(void *arg, const struct fetch_response *response, const struct err *err) {
  struct probe *probe = arg;
  probe->answered = true;
  probe->status = err != NULL ? 0 : response->status;
  probe->empty = err == NULL && response->body_len == 0;
  json_decref(probe->body);
  probe->body = err != NULL ? NULL : json_loadb(response->body, response->body_len, 0, NULL);
  snprintf(probe->error, sizeof probe->error, "%.*s", (int)sizeof probe->error - 1, err != NULL ? err->text : "");
}

/* ---- the steps ---- */

static bool probe_secret(struct probe *probe, struct sign_keys *ret_keys) {
  struct err err = {0};
  char *secret = secret_get(SLACK_API_SIGNING_ENV, &err);
  bool good = secret != NULL && sign_keys_slack(ret_keys, secret, &err);
  mem_free_secret(secret);
  found(probe, "signing secret", good, good ? "is set" : err.text,
        good ? NULL : "copy \"Signing Secret\" from the app's Basic Information into " SLACK_API_SIGNING_ENV);
  return good;
}

static bool probe_token(struct probe *probe) {
  bool good = slack_call(probe, "auth.test", NULL);
  struct cli *cli = probe->cli;
  const char *text = probe->error;
  if (good)
    text = arena_printf(&cli->arena, "%s (%s) as %s", cli_member(cli, probe->body, "team"),
                        cli_member(cli, probe->body, "team_id"), cli_member(cli, probe->body, "user"));
  found(probe, "token", good, text != NULL ? text : "", good ? NULL : hint_for(probe->error));
  return good;
}

static void probe_channel(struct probe *probe, const char *channel) {
  if (channel == NULL) {
    found(probe, "message", false, "no channel is configured",
          "name it under chat in orch.yaml (slack: {channel: C...}), or with --channel");
    return;
  }
  json_t *body = json_pack("{s:s, s:s}", "channel", channel, "text",
                           "This is a test by `orch chat test`: approvals will be asked for here.");
  bool good = body != NULL && slack_call(probe, "chat.postMessage", body);
  json_decref(body);
  const char *text = good ? arena_printf(&probe->cli->arena, "posted to %s", channel)
                          : arena_printf(&probe->cli->arena, "%s: %s", channel, probe->error);
  found(probe, "message", good, text != NULL ? text : probe->error, good ? NULL : hint_for(probe->error));
}

/* Presses the doorbell of our own server as Slack's certificate check does, signed with the secret found here. */
static void probe_server(struct probe *probe, const char *server, const struct sign_keys *keys) {
  static const char body[] = "ssl_check=1";
  char timestamp[24], signature[SIGN_SLACK_SIZE];
  snprintf(timestamp, sizeof timestamp, "%lld", (long long)(clock_wall_us() / 1000000));
  sign_slack(keys, timestamp, body, strlen(body), signature);
  struct arena *arena = &probe->cli->arena;
  bool slash = server[0] != '\0' && server[strlen(server) - 1] == '/';
  const char *url = arena_printf(arena, "%s%sslack/interactions", server, slash ? "" : "/");
  const char *const headers[] = {arena_printf(arena, "X-Slack-Request-Timestamp: %s", timestamp),
                                 arena_printf(arena, "X-Slack-Signature: %s", signature),
                                 "Content-Type: application/x-www-form-urlencoded", NULL};
  struct fetch_request request = {.url = url,
                                  .headers = headers,
                                  .body = body,
                                  .body_len = strlen(body),
                                  .timeout_ms = CALL_TIMEOUT_MS,
                                  .private_ok = true};
  probe->answered = false;
  (void)fetch_start(probe->fetch, &request, server_answered, probe);
  while (!probe->answered) uv_run(&probe->loop, UV_RUN_ONCE);
  const char *type = json_string_value(json_object_get(probe->body, "type"));
  const char *text = probe->error, *hint = "Slack must reach this address: check ORCH_PUBLIC_URL and the proxy";
  bool good = probe->status == 200 && probe->empty;
  if (good) {
    text = "is reached and accepts the signature", hint = NULL;
  } else if (probe->status == 401 && type != NULL && strstr(type, "bad_signature") != NULL) {
    text = "is reached, but uses another signing secret";
    hint = "start orch serve with the same " SLACK_API_SIGNING_ENV;
  } else if (probe->status == 401 && type != NULL && strstr(type, "stale") != NULL) {
    text = "is reached, but its clock is more than 300 s away", hint = "synchronise the clocks";
  } else if (probe->status == 503 && type != NULL && strstr(type, "no_secret") != NULL) {
    text = "is reached, but has no signing secret", hint = "start orch serve with " SLACK_API_SIGNING_ENV;
  } else if (probe->status != 0) {
    text = arena_printf(arena, "%s answers HTTP %d: this is not orch serve", url, probe->status);
  }
  found(probe, "server", good, text != NULL ? text : "", hint);
}

static void run_steps(struct probe *probe, const char *channel, const char *server) {
  struct sign_keys keys = {0};
  bool secret = probe_secret(probe, &keys);
  if (probe_token(probe)) probe_channel(probe, channel);
  if (server != NULL && secret) probe_server(probe, server, &keys);
  sign_keys_fini(&keys);
}

/* ---- the verb ---- */

static void probe_fini(struct probe *probe) {
  if (probe->fetch != NULL) fetch_free(probe->fetch, NULL, NULL);
  uv_run(&probe->loop, UV_RUN_DEFAULT);
  uv_loop_close(&probe->loop);
  slack_api_fini(&probe->api);
  json_decref(probe->body);
  json_decref(probe->steps);
}

static bool chat_run(struct cli *cli, struct err *err) {
  if (strcmp(cli->argv[0], "test") != 0)
    return err_set(err, ERR_USAGE, "orch chat knows \"test\", not \"%s\"", cli_safe(cli, cli->argv[0]));
  struct cli_file file = {0};
  if (!cli_file_server(cli, &file, err)) return false;
  const char *channel = cli_opt(cli, "channel"), *server = cli_opt(cli, "server");
  json_t *configured = json_object_get(json_object_get(file.document, "chat"), "slack");
  if (channel == NULL) channel = json_string_value(json_object_get(configured, "channel"));
  if (server == NULL && !cli_env(cli, "ORCH_PUBLIC_URL", &server, err)) {
    cli_file_fini(&file);
    return false;
  }
  struct probe probe = {.cli = cli, .steps = json_array()};
  ORCH_ASSERT(uv_loop_init(&probe.loop) == 0);
  probe.fetch = fetch_new(&probe.loop, &(struct fetch_options){0});
  slack_api_init(&probe.api, probe.fetch);
  run_steps(&probe, channel, server);
  if (cli->json) {
    json_t *document = json_pack("{s:b, s:O}", "ok", !probe.failed, "steps", probe.steps);
    cli_print_json(cli, document);
    json_decref(document);
  }
  if (probe.failed) cli->exit_code = 1;
  probe_fini(&probe);
  cli_file_fini(&file);
  return true;
}

static const struct cli_option chat_options[] = {
    {"channel", 'c', "ID", "post to this channel instead of the one in orch.yaml"},
    {"server", 0, "URL", "also check this orch serve; default ORCH_PUBLIC_URL"},
    {0},
};

const struct cli_verb verb_chat = {
    .name = "chat",
    .group = CLI_GROUP_ADMIN,
    .summary = "Test the connection to Slack and say precisely what is wrong",
    .usage = "chat test [--channel ID] [--server URL]",
    .help = "Looks at each thing that an approval in Slack needs, one after the other:\n"
            "the signing secret (ORCH_SLACK_SIGNING_SECRET), the bot token\n"
            "(ORCH_SLACK_BOT_TOKEN), and whether a message can be posted to the channel\n"
            "that orch.yaml names: it posts one. With --server or ORCH_PUBLIC_URL it also\n"
            "asks orch serve whether it is reached and has the same signing secret.\n"
            "Each secret may be in a file: NAME_FILE.\n"
            "\n"
            "Exit code 0: all is well; 1: something is wrong.",
    .examples = "orch chat test\norch chat test --channel C05MLOPS9K\n"
                "orch chat test --server https://orch.example.com",
    .options = chat_options,
    .min_args = 1,
    .max_args = 1,
    .run = chat_run,
};
