/* Chat and webhooks, whole: a gate is announced, people and systems answer, everybody sees the outcome. */
#include "chat_world.h"

#include "base/clock.h"
#include "base/mem.h"
#include "chat/sign.h"

static struct world world;

/* ---- small questions ---- */

static const char *text_of(const json_t *object, const char *name) {
  return json_string_value(json_object_get(object, name));
}

/* The newest message in Slack, whole text and buttons. */
static json_t *last_message(const json_t *shown) {
  json_t *messages = json_object_get(shown, "messages");
  assert_true(json_array_size(messages) > 0);
  return json_array_get(messages, json_array_size(messages) - 1);
}

static void expect_line(const json_t *message, const char *part) {
  char *text = json_dumps(json_object_get(message, "lines"), JSON_ENSURE_ASCII);
  if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in %s", part, text);
  free(text);
}

static void expect_status(const json_t *answer, const char *part, size_t index, int status) {
  const json_t *one = json_array_get(json_object_get(answer, part), index);
  assert_int_equal(json_integer_value(json_object_get(one, "status")), status);
}

static void press_expecting(const char *ask, int status) {
  json_t *answer = world_press(&world, ask);
  expect_status(answer, "pressed", 0, status);
  json_decref(answer);
}

static const char undelivered[] = "select count(*) from orch.outbox where state = 'pending'";
static const char open_gates[] = "select count(*) from orch.gate where state = 'open'";

/* A gate that Slack and the webhook know of. */
static int64_t announced_gate(void) {
  int64_t gate = world_gate(&world);
  world_until(&world, undelivered, 0);
  CLEANUP(mem_free_p)
  char *sql = mem_printf("select count(*) from orch.chat_message where gate_id = %lld", (long long)gate);
  assert_int_equal(world_number(&world, sql), 1);
  return gate;
}

static void close_gate(void) {
  world_exec(&world, "select orch.proposal_cancel(max(id), 'enough', 'user:test') from orch.proposal");
  world_until(&world, undelivered, 0);
}

/* Signs a decision as the portal does. */
static struct answer call_back(const char *secret, const char *id, int64_t age_s, const char *body) {
  struct sign_keys keys = {0};
  struct err err = {0};
  int64_t now_s = clock_wall_us() / 1000000 - age_s;
  CLEANUP(strbuf_fini_p) struct strbuf signature;
  strbuf_init(&signature, SIGN_HEADER_MAX);
  strbuf_puts(&signature, "webhook-signature: ");
  assert_true(sign_keys_webhook(&keys, secret, &err));
  assert_true(sign_webhook(&keys, id, now_s, body, strlen(body), &signature, &err));
  CLEANUP(mem_free_p) char *id_header = mem_printf("webhook-id: %s", id);
  CLEANUP(mem_free_p) char *time_header = mem_printf("webhook-timestamp: %lld", (long long)now_s);
  CLEANUP(mem_free_p) char *url = mem_printf("%s/v1/callbacks/webhook", world.orch_url);
  const char *const headers[] = {id_header, time_header, strbuf_text(&signature), "Content-Type: application/json",
                                 NULL};
  return world_call(&world, url, headers, body);
}

static char *decision_body(int64_t gate, const char *reviewer) {
  CLEANUP(mem_free_p) char *sql = mem_printf("select digest from orch.gate where id = %lld", (long long)gate);
  CLEANUP(mem_free_p) char *digest = world_sql(&world, sql);
  return mem_printf("{\"type\":\"gate.decision\",\"timestamp\":\"2026-01-05T09:05:02Z\",\"data\":{\"gate\":%lld,"
                    "\"verdict\":\"approve\",\"reviewer\":\"%s\",\"comment\":\"fine\",\"digest\":\"%s\"}}",
                    (long long)gate, reviewer, digest);
}

static void expect_callback(const char *secret, const char *id, int64_t age_s, const char *body, int status,
                            const char *member, const char *value) {
  struct answer answer = call_back(secret, id, age_s, body);
  assert_int_equal(answer.status, status);
  if (member != NULL) assert_string_equal(text_of(answer.body, member), value);
  json_decref(answer.body);
}

/* ---- the story ---- */

static void people_and_systems_approve(void **state) {
  int64_t gate = announced_gate();
  json_t *shown = world_shown(&world);
  const json_t *message = last_message(shown);
  expect_line(message, "Approval needed: housing@");
  expect_line(message, "inventory drifts <!channel>"); /* as text; the stand-in refuses a real mention */
  assert_int_equal(json_array_size(json_object_get(message, "buttons")), 3);
  json_decref(shown);

  /* The very same bytes twice are one decision. */
  int64_t accepted = world_metric(&world, "orch_callbacks_total{surface=\"slack\",result=\"accepted\"}");
  json_t *answer = world_press(&world, "{\"user\":\"U0001\",\"button\":\"approve\",\"repeat\":2}");
  expect_status(answer, "pressed", 0, 200);
  expect_status(answer, "pressed", 1, 200);
  json_decref(answer);
  assert_int_equal(world_metric(&world, "orch_callbacks_total{surface=\"slack\",result=\"accepted\"}"), accepted + 1);
  assert_int_equal(world_metric(&world, "orch_callbacks_total{surface=\"slack\",result=\"replayed\"}"), 1);
  world_until(&world, undelivered, 0);
  shown = world_shown(&world);
  expect_line(last_message(shown), "dana approved");
  expect_line(last_message(shown), "accuracy"); /* the evidence stays */
  assert_int_equal(json_array_size(json_object_get(last_message(shown), "buttons")), 3);
  json_decref(shown);

  /* The same webhook-id again gets the same answer and does nothing. */
  CLEANUP(mem_free_p) char *body = decision_body(gate, "finn");
  expect_callback(PORTAL_SECRET, "msg_1", 0, body, 200, "outcome", "accepted");
  expect_callback(PORTAL_SECRET, "msg_1", 0, body, 200, "outcome", "accepted");
  assert_int_equal(world_metric(&world, "orch_callbacks_total{surface=\"webhook\",result=\"replayed\"}"), 1);
  assert_int_equal(world_number(&world, "select count(*) from orch.decision"), 2);
  assert_int_equal(world_number(&world, "select count(*) from orch.gate where state = 'approved'"), 1);
  world_until(&world, undelivered, 0);
  shown = world_shown(&world);
  message = json_array_get(json_object_get(shown, "messages"), 0);
  expect_line(message, "Approved");
  expect_line(message, "finn approved");
  expect_line(message, "accuracy");
  assert_int_equal(json_array_size(json_object_get(message, "buttons")), 0);
  json_decref(shown);
}

static void webhooks_are_signed_and_in_order(void **state) {
  static const char *const types[] = {"gate.opened", "gate.decided", "gate.closed"};
  struct sign_keys keys = {0};
  struct err err = {0};
  assert_true(sign_keys_webhook(&keys, TRAIL_SECRET, &err));
  assert_int_equal(world.hook_count, ARRAY_LEN(types));
  for (size_t i = 0; i < ARRAY_LEN(types); i++) {
    const struct hook *hook = &world.hooks[i];
    CLEANUP(mem_free_p) char *timestamp = mem_printf("%lld", (long long)hook->timestamp_s);
    assert_int_equal(sign_webhook_verify(&keys, hook->id, timestamp, hook->signature, hook->body, strlen(hook->body),
                                         clock_wall_us() / 1000000),
                     SIGN_OK);
    json_t *event = json_loads(hook->body, 0, NULL);
    assert_string_equal(text_of(event, "type"), types[i]);
    const char *page = json_string_value(json_object_get(json_object_get(event, "data"), "page_url"));
    assert_non_null(page);
    assert_int_equal(strncmp(page, "https://orch.example.com/proposals/", 35), 0);
    assert_null(json_object_get(json_object_get(event, "data"), "nonce")); /* what buttons carry is not for webhooks */
    json_decref(event);
  }
  world_exec(&world, "update orch.deployment set state = 'aborted', ended_at = now() where state = 'pending'");
  world_exec(&world, "update orch.proposal set state = 'aborted', ended_at = now() where state = 'rolling_out'");
}

static void strangers_are_told_privately(void **state) {
  announced_gate();
  press_expecting("{\"user\":\"U0009\",\"button\":\"approve\"}", 200);
  json_t *shown = world_until_ephemerals(&world, 1);
  const json_t *word = json_array_get(json_object_get(shown, "ephemerals"), 0);
  assert_string_equal(text_of(word, "user"), "U0009");
  assert_non_null(strstr(text_of(word, "text"), "does not belong to a reviewer"));
  assert_non_null(strstr(text_of(word, "text"), "still waiting"));
  json_decref(shown);
  /* dana's user id, out of another organisation (Slack Connect). */
  press_expecting("{\"user\":\"U0001\",\"user_team\":\"T0009\",\"button\":\"approve\"}", 200);
  shown = world_until_ephemerals(&world, 2);
  word = json_array_get(json_object_get(shown, "ephemerals"), 1);
  assert_non_null(strstr(text_of(word, "text"), "another organisation"));
  json_decref(shown);
  assert_int_equal(world_number(&world, open_gates), 1);
  assert_int_equal(world_metric(&world, "orch_callbacks_total{surface=\"slack\",result=\"unknown_reviewer\"}"), 2);
  close_gate();
}

static void forged_and_old_requests_are_refused(void **state) {
  int64_t gate = announced_gate();
  press_expecting("{\"user\":\"U0001\",\"button\":\"approve\",\"wrong_secret\":true}", 401);
  press_expecting("{\"user\":\"U0001\",\"button\":\"approve\",\"age\":400}", 401);
  assert_int_equal(world_metric(&world, "orch_callbacks_total{surface=\"slack\",result=\"bad_signature\"}"), 1);
  assert_int_equal(world_metric(&world, "orch_callbacks_total{surface=\"slack\",result=\"stale\"}"), 1);
  unsetenv("ORCH_SLACK_SIGNING_SECRET");
  press_expecting("{\"user\":\"U0001\",\"button\":\"approve\"}", 503);
  setenv("ORCH_SLACK_SIGNING_SECRET", SLACK_SECRET, 1);
  CLEANUP(mem_free_p) char *body = decision_body(gate, "finn");
  CLEANUP(mem_free_p) char *other = decision_body(gate, "dana");
  expect_callback(TRAIL_SECRET, "msg_2", 0, body, 401, "type", "urn:orch:problem:bad_signature");
  expect_callback(PORTAL_SECRET, "msg_2", 301, body, 401, "type", "urn:orch:problem:stale");
  expect_callback(PORTAL_SECRET, "msg_2", 0, other, 403, "type", "urn:orch:problem:may_not_speak");
  expect_callback(PORTAL_SECRET, "msg_2", 0, other, 403, "type", "urn:orch:problem:may_not_speak");
  expect_callback(PORTAL_SECRET, "msg_3", 0, "{\"type\":\"gate.decision\"}", 422, NULL, NULL);
  expect_callback(PORTAL_SECRET, "msg_3", 0, "no json", 422, NULL, NULL);
  CLEANUP(mem_free_p) char *url = mem_printf("%s/v1/callbacks/webhook", world.orch_url);
  struct answer answer = world_call(&world, url, NULL, body);
  assert_int_equal(answer.status, 401);
  json_decref(answer.body);
  assert_int_equal(world_number(&world, open_gates), 1);
  assert_int_equal(world_number(&world, "select count(*) from orch.decision"), 2); /* those of the first gate */
  close_gate();
}

static void rejecting_asks_why(void **state) {
  int64_t gate = announced_gate();
  json_t *answer = world_press(&world, "{\"user\":\"U0002\",\"button\":\"reject\",\"comment\":\"  \"}");
  expect_status(answer, "submitted", 0, 200);
  const char *said = text_of(json_array_get(json_object_get(answer, "submitted"), 0), "body");
  assert_non_null(strstr(said, "response_action"));
  json_decref(answer);
  assert_int_equal(world_number(&world, open_gates), 1);
  answer = world_press(&world, "{\"user\":\"U0002\",\"button\":\"reject\",\"comment\":\"recall fell <3 %\"}");
  expect_status(answer, "pressed", 0, 200);
  expect_status(answer, "submitted", 0, 200);
  json_decref(answer);
  CLEANUP(mem_free_p)
  char *sql = mem_printf("select state || '/' || closed_by from orch.gate where id = %lld", (long long)gate);
  CLEANUP(mem_free_p) char *outcome = world_sql(&world, sql);
  assert_string_equal(outcome, "rejected/reviewer:finn");
  world_until(&world, undelivered, 0);
  json_t *shown = world_shown(&world);
  expect_line(last_message(shown), "finn rejected");
  expect_line(last_message(shown), "recall fell <3 %");
  assert_int_equal(json_array_size(json_object_get(last_message(shown), "buttons")), 0);
  json_decref(shown);
}

static void late_presses_do_not_count(void **state) {
  announced_gate();
  json_t *shown = world_shown(&world);
  const char *value = json_string_value(json_array_get(json_object_get(last_message(shown), "values"), 0));
  size_t told = json_array_size(json_object_get(shown, "ephemerals"));
  json_t *ask = json_pack("{s:s, s:s, s:s}", "user", "U0001", "button", "approve", "stale_value", value);
  char *text = json_dumps(ask, 0);
  close_gate();
  press_expecting(text, 200);
  free(text);
  json_decref(ask);
  json_decref(shown);
  shown = world_until_ephemerals(&world, told + 1);
  const json_t *word = json_array_get(json_object_get(shown, "ephemerals"), told);
  assert_non_null(strstr(text_of(word, "text"), "was withdrawn"));
  json_decref(shown);
}

/* ---- deliveries that fail ---- */

static void inject(const char *failure) {
  CLEANUP(mem_free_p) char *url = mem_printf("%s/control/fail", world.slack_url);
  struct answer answer = world_call(&world, url, NULL, failure);
  assert_int_equal(answer.status, 200);
  json_decref(answer.body);
}

static void slack_failures_are_told_apart(void **state) {
  inject("{\"method\":\"chat.postMessage\",\"status\":429,\"retry_after\":0,\"times\":1}");
  announced_gate(); /* after another try */
  assert_true(world_metric(&world, "orch_outbox_deliveries_total{channel=\"slack\",outcome=\"retried\"}") >= 1);
  close_gate();
  inject("{\"method\":\"chat.postMessage\",\"error\":\"channel_not_found\",\"times\":1}");
  world_gate(&world);
  world_until(&world, undelivered, 0);
  CLEANUP(mem_free_p) char *error = world_sql(&world, "select last_error from orch.outbox where state = 'dead'");
  assert_string_equal(error, "channel_not_found");
  close_gate();
  /* No token: kept for when there is one, and said so. */
  unsetenv("ORCH_SLACK_BOT_TOKEN");
  world_gate(&world);
  world_until(&world, "select count(*) from orch.outbox where last_error like '%ORCH_SLACK_BOT_TOKEN is not set%'", 1);
  setenv("ORCH_SLACK_BOT_TOKEN", "xoxb-test", 1);
  world_until(&world, undelivered, 0);
  close_gate();
}

static void webhook_failures_are_told_apart(void **state) {
  size_t before = world.hook_count;
  world.hook_status = 302;
  world_gate(&world);
  world_until(&world, "select count(*) from orch.outbox where state = 'pending' and last_error = 'HTTP 302'", 1);
  world.hook_status = 200;
  struct hook first = world.hooks[before];
  world_exec(&world, "update orch.outbox set due_at = now() where state = 'pending'");
  world_until(&world, undelivered, 0);
  assert_int_equal(world.hook_count, before + 2);
  assert_string_equal(world.hooks[before + 1].id, first.id); /* the id stays, so that the receiver can tell */
  close_gate();
  world.hook_status = 410;
  world_gate(&world);
  world_until(&world, "select count(*) from orch.outbox where state = 'dead' and last_error like 'HTTP 410%'", 1);
  /* It is told nothing more until somebody says otherwise. */
  world.hook_status = 200;
  before = world.hook_count;
  close_gate();
  assert_int_equal(world.hook_count, before);
  world_exec(&world, "select orch.outbox_revive(id, 'user:test') from orch.outbox where last_error like 'HTTP 410%'");
  world_until(&world, undelivered, 0);
  assert_int_equal(world.hook_count, before + 1);
  unsetenv("ORCH_OUTGOING_ALLOW");
  world_gate(&world);
  close_gate();
  assert_int_equal(
      world_number(&world, "select count(*) from orch.outbox where state = 'dead' and last_error like '%not https%'"),
      2); /* opened and closed */
  setenv("ORCH_OUTGOING_ALLOW", "127.0.0.1", 1);
}

/* The sender died between sending and recording: the second message is as good as the first. */
static void a_second_message_works_too(void **state) {
  int64_t gate = announced_gate();
  CLEANUP(mem_free_p)
  char *sql = mem_printf(
      "delete from orch.chat_message where gate_id = %lld; update orch.outbox set state = 'pending', ended_at = null "
      "where channel = 'slack' and event_id = (select id from orch.event where gate_id = %lld and type = "
      "'gate.opened')",
      (long long)gate, (long long)gate);
  world_exec(&world, sql);
  world_until(&world, undelivered, 0);
  json_t *shown = world_shown(&world);
  size_t count = json_array_size(json_object_get(shown, "messages"));
  json_decref(shown);
  CLEANUP(mem_free_p) char *ask = mem_printf("{\"user\":\"U0001\",\"button\":\"approve\",\"message\":%zu}", count - 2);
  press_expecting(ask, 200); /* on the forgotten first one */
  world_until(&world, undelivered, 0);
  close_gate();
  shown = world_shown(&world);
  for (size_t i = count - 2; i < count; i++) {
    const json_t *message = json_array_get(json_object_get(shown, "messages"), i);
    assert_int_equal(json_array_size(json_object_get(message, "buttons")), 0);
    expect_line(message, "Withdrawn");
  }
  json_decref(shown);
}

static int start(void **state) {
  world_init(&world);
  return 0;
}

static int end(void **state) {
  world_fini(&world);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(people_and_systems_approve),
      cmocka_unit_test(webhooks_are_signed_and_in_order),
      cmocka_unit_test(strangers_are_told_privately),
      cmocka_unit_test(forged_and_old_requests_are_refused),
      cmocka_unit_test(rejecting_asks_why),
      cmocka_unit_test(late_presses_do_not_count),
      cmocka_unit_test(slack_failures_are_told_apart),
      cmocka_unit_test(webhook_failures_are_told_apart),
      cmocka_unit_test(a_second_message_works_too),
  };
  return cmocka_run_group_tests_name("chat_flow", tests, start, end);
}
