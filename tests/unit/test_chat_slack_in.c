/* What Slack posts: forms by vector, every sample payload, tickets there and back. */
#include "cm.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "chat/form.h"
#include "chat/slack_in.h"
#include "chat/ticket.h"

#define ARENA_MAX (4 * 1024 * 1024)
#define SAMPLE_MAX (256 * 1024)

static void forms_by_vector(void **state) {
  json_t *root = json_load_file(TEST_DATA "/wire/chat_vectors.json", 0, NULL);
  json_t *cases = json_object_get(json_object_get(root, "form_urlencoded"), "cases"), *one;
  size_t i;
  assert_true(json_array_size(cases) > 10);
  json_array_foreach(cases, i, one) {
    CLEANUP(arena_fini_p) struct arena arena;
    arena_init(&arena, ARENA_MAX);
    const char *value = "untouched", *in = json_string_value(json_object_get(one, "in"));
    const json_t *out = json_object_get(one, "out");
    struct err err = {0};
    bool good = form_field(&arena, in, strlen(in), json_string_value(json_object_get(one, "key")), &value, &err);
    if (json_object_get(one, "error") != NULL) {
      if (good) fail_msg("%s was taken", in);
      assert_int_equal(err.code, ERR_INVALID);
      assert_string_equal(value, "untouched");
    } else if (json_is_null(out)) {
      assert_true(good);
      assert_null(value);
    } else {
      assert_true(good);
      assert_string_equal(value, json_string_value(out));
    }
  }
  json_decref(root);
}

static void forms_have_bounds(void **state) {
  CLEANUP(arena_fini_p) struct arena arena;
  arena_init(&arena, ARENA_MAX);
  struct err err = {0};
  const char *value = NULL;
  char many[2 * (FORM_FIELDS_MAX + 2)];
  for (size_t i = 0; i < sizeof many; i++) many[i] = i % 2 == 0 ? 'a' : '&';
  assert_false(form_field(&arena, many, sizeof many, "b", &value, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  /* The name may be encoded too, and must not smuggle a second payload past the first. */
  static const char twice[] = "payload=1&%70ayload=2";
  assert_false(form_field(&arena, twice, strlen(twice), "payload", &value, &err));
}

static char sample[SAMPLE_MAX];

static size_t load(const char *name) {
  char path[512];
  snprintf(path, sizeof path, "%s/wire/slack/%s", TEST_DATA, name);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  size_t len = fread(sample, 1, sizeof sample, file);
  fclose(file);
  assert_true(len > 0 && len < sizeof sample);
  return len;
}

/* A payload given as plain JSON, percent-encoded as a client library would. */
static size_t load_encoded(const char *name) {
  size_t len = load(name);
  CLEANUP(strbuf_fini_p) struct strbuf form;
  strbuf_init(&form, SAMPLE_MAX - 1);
  sample[len] = '\0';
  strbuf_puts(&form, "payload=");
  strbuf_add_url(&form, sample);
  assert_false(form.failed);
  memcpy(sample, strbuf_text(&form), form.len);
  return form.len;
}

static void expect_approve(struct arena *arena, size_t len) {
  struct slack_in in = {0};
  struct err err = {0};
  char identity[SLACK_IDENTITY_SIZE];
  assert_true(slack_in_parse(arena, sample, len, &in, &err));
  assert_int_equal(in.kind, SLACK_IN_BLOCK_ACTIONS);
  assert_string_equal(in.team, "T04ORCH7Q2");
  assert_string_equal(in.user, "U08ALICE01");
  assert_string_equal(in.user_team, "T04ORCH7Q2");
  assert_false(in.external);
  assert_string_equal(in.action_id, "orch_approve");
  assert_string_equal(in.value,
                      "{\"v\":1,\"req\":\"apr_01JGV3M8Q4Z7K2N5T9W1X6Y3\",\"d\":\"approve\",\"n\":\"q7T2mWc9\"}");
  assert_string_equal(in.channel, "C05MLOPS9K");
  assert_string_equal(in.message_ts, "1767603845.004219");
  assert_string_equal(in.response_url,
                      "https://hooks.slack.com/actions/T04ORCH7Q2/8236541291009/9sXk2LmQvT7bRz4pWcYhNd1E");
  assert_string_equal(in.trigger_id, "8236541290433.4102938475.5b0f2a9c1d7e4f6a8b3c");
  assert_true(slack_in_identity(&in, identity));
  assert_string_equal(identity, "T04ORCH7Q2/U08ALICE01");
}

static void read_presses(void **state) {
  CLEANUP(arena_fini_p) struct arena arena;
  arena_init(&arena, ARENA_MAX);
  expect_approve(&arena, load("block_actions_approve.form.txt"));
  expect_approve(&arena, load("block_actions_approve.sdkstyle.form.txt"));
  struct slack_in in = {0};
  struct err err = {0};
  assert_true(slack_in_parse(&arena, sample, load("block_actions_reject.form.txt"), &in, &err));
  assert_string_equal(in.action_id, "orch_reject");
  assert_true(slack_in_parse(&arena, sample, load_encoded("block_actions_url_button.json"), &in, &err));
  assert_int_equal(in.kind, SLACK_IN_BLOCK_ACTIONS);
  assert_null(in.value);
}

static void know_people_by_ids(void **state) {
  CLEANUP(arena_fini_p) struct arena arena;
  arena_init(&arena, ARENA_MAX);
  struct slack_in in = {0};
  struct err err = {0};
  char identity[SLACK_IDENTITY_SIZE];
  assert_true(slack_in_parse(&arena, sample, load("block_actions_org_install.form.txt"), &in, &err));
  assert_true(slack_in_identity(&in, identity));
  assert_string_equal(identity, "E09ACMECORP/W08ALICE01");
  assert_false(in.external);
  assert_true(
      slack_in_parse(&arena, sample, load_encoded("block_actions_slack_connect_external_user.json"), &in, &err));
  assert_true(in.external);
  assert_true(slack_in_identity(&in, identity));
  assert_string_equal(identity, "T0PARTNER9/U0EXTERNAL");
}

static void read_modals(void **state) {
  CLEANUP(arena_fini_p) struct arena arena;
  arena_init(&arena, ARENA_MAX);
  struct slack_in in = {0};
  struct err err = {0};
  assert_true(slack_in_parse(&arena, sample, load("view_submission_reject.form.txt"), &in, &err));
  assert_int_equal(in.kind, SLACK_IN_VIEW_SUBMISSION);
  assert_string_equal(in.callback_id, "orch_reject_reason");
  assert_string_equal(in.user, "U08BOBBY02");
  assert_string_equal(in.private_metadata, "{\"v\":1,\"req\":\"apr_01JGV3M8Q4Z7K2N5T9W1X6Y3\",\"ch\":\"C05MLOPS9K\","
                                           "\"ts\":\"1767603845.004219\"}");
  assert_string_equal(in.comment, "Recall on segment \"EU & UK\" fell 3% (0.81 \xe2\x86\x92 0.78) + p95 up 40%.\n"
                                  "R\xc3\xa9-entra\xc3\xaener with last week's labels \xf0\x9f\x91\x8d");
  assert_true(slack_in_parse(&arena, sample, load("view_closed.form.txt"), &in, &err));
  assert_int_equal(in.kind, SLACK_IN_VIEW_CLOSED);
  assert_null(in.comment);
}

static void read_the_rest(void **state) {
  CLEANUP(arena_fini_p) struct arena arena;
  arena_init(&arena, ARENA_MAX);
  struct slack_in in = {0};
  struct err err = {0};
  assert_true(slack_in_parse(&arena, sample, load("ssl_check.form.txt"), &in, &err));
  assert_int_equal(in.kind, SLACK_IN_SSL_CHECK);
  assert_true(slack_in_parse(&arena, sample, load("slash_command.form.txt"), &in, &err));
  assert_int_equal(in.kind, SLACK_IN_COMMAND);
  assert_string_equal(in.command, "/orch");
  assert_string_equal(in.team, "T04ORCH7Q2");
  assert_string_equal(in.user, "U08ALICE01");
  assert_string_equal(in.text, "reject apr_01JGV3M8Q4Z7K2N5T9W1X6Y3 p95 +40% & recall <0.8");
  static const char other[] =
      "payload=%7B%22type%22%3A%22message_action%22%2C%22user%22%3A%7B%22id%22%3A%22U1%22%7D%7D";
  assert_true(slack_in_parse(&arena, other, strlen(other), &in, &err));
  assert_int_equal(in.kind, SLACK_IN_OTHER);
}

static void refuse_what_slack_never_sends(void **state) {
  static const char *const bad[] = {"",
                                    "x=1",
                                    "payload=",
                                    "payload=[]",
                                    "payload={",
                                    "payload={}",
                                    "payload={\"type\":1}",
                                    "payload={\"type\":\"block_actions\",\"type\":\"block_actions\"}",
                                    "payload={\"type\":\"block_actions\",\"user\":{\"id\":\"U1/T2\"}}",
                                    "payload={\"type\":\"block_actions\",\"container\":{\"message_ts\":\"now\"}}"};
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
    CLEANUP(arena_fini_p) struct arena arena;
    arena_init(&arena, ARENA_MAX);
    struct slack_in in = {.kind = SLACK_IN_COMMAND};
    struct err err = {0};
    if (slack_in_parse(&arena, bad[i], strlen(bad[i]), &in, &err)) fail_msg("taken: %s", bad[i]);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(in.kind, SLACK_IN_COMMAND);
  }
}

static void tickets_come_back(void **state) {
  struct ticket out = {.gate = 9007199254740993,
                       .nonce = "q7T2mWc9q7T2mWc9q7T2mW",
                       .subject = "housing@3",
                       .channel = "C05MLOPS9K",
                       .message_ts = "1767603845.004219"};
  struct ticket in = {0};
  struct err err = {0};
  char text[TICKET_TEXT_MAX + 1];
  snprintf(out.digest, sizeof out.digest, "sha256:%064d", 7);
  assert_true(ticket_write(&out, text, &err));
  assert_true(ticket_read(text, &in, &err));
  assert_int_equal(in.gate, out.gate);
  assert_string_equal(in.nonce, out.nonce);
  assert_string_equal(in.digest, out.digest);
  assert_string_equal(in.subject, out.subject);
  assert_string_equal(in.channel, out.channel);
  assert_string_equal(in.message_ts, out.message_ts);
  static const char *const bad[] = {"", "{}", "[]", "{\"v\":1,\"gate\":1,\"nonce\":\"abc\",\"digest\":\"sha256:12\"}",
                                    "{\"v\":1,\"req\":\"apr_01JGV3M8Q4Z7K2N5T9W1X6Y3\",\"d\":\"approve\"}"};
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(ticket_read(bad[i], &in, &err));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(forms_by_vector),   cmocka_unit_test(forms_have_bounds),
      cmocka_unit_test(read_presses),      cmocka_unit_test(know_people_by_ids),
      cmocka_unit_test(read_modals),       cmocka_unit_test(read_the_rest),
      cmocka_unit_test(tickets_come_back), cmocka_unit_test(refuse_what_slack_never_sends),
  };
  return cmocka_run_group_tests_name("chat_slack_in", tests, NULL, NULL);
}
