/* What Slack's answers mean: done, try again, or never. */
#include "cm.h"

#include <jansson.h>

#include "base/mem.h"
#include "chat/slack_api.h"

static void expect(int status, const char *body, int64_t retry_after_ms, enum slack_api_outcome outcome,
                   const char *error) {
  json_t *document = body != NULL ? json_loads(body, 0, NULL) : NULL;
  struct slack_api_answer answer;
  slack_api_classify(status, document, retry_after_ms, &answer);
  if (answer.outcome != outcome) fail_msg("HTTP %d %s: %d", status, body, answer.outcome);
  assert_string_equal(answer.error, error);
  assert_int_equal(answer.retry_after_ms, retry_after_ms);
  json_decref(document);
}

static void done(void **state) {
  expect(200, "{\"ok\":true,\"ts\":\"1.2\"}", -1, SLACK_API_OK, "");
}

static void never_again(void **state) {
  static const char *const final[] = {"channel_not_found", "invalid_auth",  "account_inactive", "msg_too_long",
                                      "not_in_channel",    "missing_scope", "invalid_blocks",   "token_revoked"};
  for (size_t i = 0; i < ARRAY_LEN(final); i++) {
    CLEANUP(mem_free_p) char *body = mem_printf("{\"ok\":false,\"error\":\"%s\"}", final[i]);
    expect(200, body, -1, SLACK_API_NEVER, final[i]);
  }
  expect(200, "{\"ok\":false,\"error\":\"missing_scope\",\"needed\":\"chat:write\"}", -1, SLACK_API_NEVER,
         "missing_scope (chat:write)");
  expect(200, "{\"ok\":false,\"error\":\"invalid_blocks\",\"response_metadata\":{\"messages\":[\"too long\"]}}", -1,
         SLACK_API_NEVER, "invalid_blocks (too long)");
}

static void another_try(void **state) {
  expect(429, "{\"ok\":false,\"error\":\"ratelimited\"}", 30000, SLACK_API_LATER, "ratelimited");
  expect(200, "{\"ok\":false,\"error\":\"ratelimited\"}", -1, SLACK_API_LATER, "ratelimited");
  expect(200, "{\"ok\":false,\"error\":\"internal_error\"}", -1, SLACK_API_LATER, "internal_error");
  expect(503, NULL, -1, SLACK_API_LATER, "HTTP 503");
  expect(503, "{\"ok\":false,\"error\":\"channel_not_found\"}", -1, SLACK_API_LATER, "HTTP 503");
  expect(302, NULL, -1, SLACK_API_LATER, "HTTP 302");
  expect(200, NULL, -1, SLACK_API_LATER, "the answer is not Slack's: is ORCH_SLACK_API_URL right?");
  expect(200, "{\"ok\":\"true\"}", -1, SLACK_API_LATER, "the answer is not Slack's: is ORCH_SLACK_API_URL right?");
}

static void answers_as_slack_sends_them(void **state) {
  static const struct {
    const char *file;
    enum slack_api_outcome outcome;
    const char *error;
  } samples[] = {{"chat_postMessage_response_ok.json", SLACK_API_OK, ""},
                 {"chat_postMessage_response_warning.json", SLACK_API_OK, ""},
                 {"chat_update_response_ok.json", SLACK_API_OK, ""},
                 {"views_open_response_ok.json", SLACK_API_OK, ""},
                 {"auth_test_response.json", SLACK_API_OK, ""},
                 {"chat_postMessage_response_error.json", SLACK_API_NEVER, "not_in_channel"},
                 {"chat_update_response_error.json", SLACK_API_NEVER, "message_not_found"},
                 {"views_open_response_expired.json", SLACK_API_NEVER, "expired_trigger_id"}};
  for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s/wire/slack/%s", TEST_DATA, samples[i].file);
    json_t *document = json_load_file(path, 0, NULL);
    assert_non_null(document);
    char *text = json_dumps(document, 0);
    expect(200, text, -1, samples[i].outcome, samples[i].error);
    free(text);
    json_decref(document);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(done), cmocka_unit_test(never_again),
                                     cmocka_unit_test(another_try), cmocka_unit_test(answers_as_slack_sends_them)};
  return cmocka_run_group_tests_name("chat_slack_api", tests, NULL, NULL);
}
