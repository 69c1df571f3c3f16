/* What we say in Slack: nothing pages anybody, nothing exceeds Slack's bounds, buttons carry what they must. */
#include "cm.h"

#include <jansson.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "chat/slack_out.h"
#include "chat/slack_text.h"

#define DIGEST "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static size_t units(const char *text) {
  size_t count = 0;
  for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++)
    count += (*at & 0xc0) == 0x80 ? 0 : *at >= 0xf0 ? 2 : 1;
  return count;
}

/* ---- Slack's bounds, looked up again instead of taken from the code under test ---- */

static void check_text(const json_t *node, size_t max) {
  const char *text = json_string_value(json_object_get(node, "text"));
  assert_non_null(text);
  assert_true(units(text) >= 1);
  if (units(text) > max) fail_msg("%zu units where %zu are allowed: %.200s", units(text), max, text);
  assert_null(strstr(text, "<!channel"));
  assert_null(strstr(text, "<!here"));
  assert_null(strstr(text, "<http"));
}

static void check_button(const json_t *button) {
  const json_t *value = json_object_get(button, "value"), *confirm = json_object_get(button, "confirm");
  check_text(json_object_get(button, "text"), 75);
  assert_true(json_string_length(json_object_get(button, "action_id")) <= 255);
  assert_true(json_string_length(value) <= 2000);
  if (confirm == NULL) return;
  check_text(json_object_get(confirm, "title"), 100);
  check_text(json_object_get(confirm, "text"), 300);
  check_text(json_object_get(confirm, "confirm"), 30);
  check_text(json_object_get(confirm, "deny"), 30);
}

static void check_block(const json_t *block) {
  const char *type = json_string_value(json_object_get(block, "type"));
  size_t i;
  json_t *element;
  if (strcmp(type, "header") == 0) {
    check_text(json_object_get(block, "text"), 150);
  } else if (strcmp(type, "section") == 0) {
    check_text(json_object_get(block, "text"), 3000);
  } else if (strcmp(type, "context") == 0) {
    json_array_foreach(json_object_get(block, "elements"), i, element) check_text(element, 3000);
  } else if (strcmp(type, "actions") == 0) {
    assert_true(json_array_size(json_object_get(block, "elements")) <= 25);
    json_array_foreach(json_object_get(block, "elements"), i, element) check_button(element);
  } else {
    fail_msg("unexpected block %s", type);
  }
}

static void check_message(const json_t *body) {
  size_t i;
  json_t *block, *blocks = json_object_get(body, "blocks");
  check_text(body, 4000);
  assert_true(json_array_size(blocks) <= 50);
  json_array_foreach(blocks, i, block) check_block(block);
}

/* All visible texts, one a line. */
static char *shown(const json_t *body) {
  CLEANUP(strbuf_fini_p) struct strbuf out;
  strbuf_init(&out, 1024 * 1024);
  size_t i, j;
  json_t *block, *element;
  json_array_foreach(json_object_get(body, "blocks"), i, block) {
    const json_t *text = json_object_get(json_object_get(block, "text"), "text");
    if (text != NULL) strbuf_printf(&out, "%s\n", json_string_value(text));
    json_array_foreach(json_object_get(block, "elements"), j, element) {
      text = json_object_get(element, "text");
      if (json_is_object(text)) text = json_object_get(text, "text");
      strbuf_printf(&out, "%s\n", json_string_value(text));
    }
  }
  return strbuf_take(&out);
}

static void expect_shown(const json_t *body, const char *wanted) {
  CLEANUP(mem_free_p) char *text = shown(body);
  if (strstr(text, wanted) == NULL) fail_msg("\"%s\" is not in:\n%s", wanted, text);
}

static const json_t *find_button(const json_t *body, const char *action) {
  size_t i, j;
  json_t *block, *element;
  json_array_foreach(json_object_get(body, "blocks"), i, block) {
    if (strcmp(json_string_value(json_object_get(block, "type")), "actions") != 0) continue;
    json_array_foreach(json_object_get(block, "elements"), j, element) {
      if (strcmp(json_string_value(json_object_get(element, "action_id")), action) == 0) return element;
    }
  }
  return NULL;
}

/* An event as the outbox carries it. */
static json_t *event_of(const char *type) {
  CLEANUP(mem_free_p)
  char *text = mem_printf(
      "{\"id\":\"evt_1\",\"type\":\"%s\",\"timestamp\":\"2026-01-05T09:00:00Z\",\"data\":{\"gate\":12,"
      "\"kind\":\"promote\",\"pipeline\":\"housing\",\"proposal\":42,\"version\":3,\"champion\":2,\"digest\":\"" DIGEST
      "\",\"nonce\":\"abcdefghijklmnopqrstuv\",\"expires_at\":\"2026-01-07T09:00:00Z\","
      "\"review_url\":\"https://orch.example.com/review/x\",\"state\":\"open\","
      "\"approvals\":[{\"group\":\"ml-owners\",\"approvals\":1,\"by\":[\"dana\"]},{\"group\":\"risk\",\"approvals\":2,"
      "\"by\":[]}],\"evidence\":{\"reason\":\"inventory drifts: PSI 0.38 since window 7\","
      "\"policy\":{\"own_proposals\":false},"
      "\"signals\":[{\"title\":\"inventory PSI 0.38\",\"source\":\"monitor:inputs\"}],"
      "\"candidate\":{\"artifact\":\"" DIGEST "\",\"metrics\":{\"accuracy\":0.831,\"rows\":1200,\"slices\":{}}},"
      "\"champion\":{\"metrics\":{\"accuracy\":0.302}},"
      "\"checks\":[{\"metric\":\"accuracy\",\"min\":0.75,\"candidate\":0.831,\"champion\":0.302,\"ok\":true},"
      "{\"metric\":\"accuracy\",\"slice\":\"city\",\"value\":\"Dallas\",\"vs_champion\":-0.05,\"candidate\":0.1,"
      "\"ok\":false,\"what\":\"0.1 is beyond\"}],"
      "\"snapshots\":{\"sales\":\"" DIGEST "\"},\"revision\":{\"digest\":\"" DIGEST "\"}}}}",
      type);
  json_t *event = json_loads(text, 0, NULL);
  assert_non_null(event);
  return event;
}

static void opened_shows_the_evidence(void **state) {
  struct err err = {0};
  json_t *event = event_of("gate.opened"), *body = slack_out_gate_opened("C05MLOPS9K", event, &err);
  assert_non_null(body);
  check_message(body);
  static const char *const wanted[] = {"Approval needed: housing@3",
                                       "*housing@3* asks to replace *housing@2*",
                                       "inventory drifts: PSI 0.38 since window 7",
                                       "accuracy      0.831      0.302     +0.529",
                                       ":white_check_mark: accuracy 0.831, champion 0.302, at least 0.75",
                                       ":x: accuracy for city=Dallas 0.1, allowed change -0.05: 0.1 is beyond",
                                       "1 of ml-owners (dana), 2 of risk; never who proposed it",
                                       "<!date^1767776400^{date_short_pretty} {time}|2026-01-07 09:00 UTC>",
                                       "sales `001122334455`",
                                       "revision `001122334455`",
                                       "model `001122334455`",
                                       "gate 12",
                                       "proposal #42"};
  for (size_t i = 0; i < ARRAY_LEN(wanted); i++) expect_shown(body, wanted[i]);
  assert_string_equal(json_string_value(json_object_get(body, "channel")), "C05MLOPS9K");
  json_decref(body);
  json_decref(event);
}

/* As orch.diagnosis() gives it. */
static json_t *diagnosis_of(void) {
  json_t *diagnosis = json_loads(
      "{\"verdict\":\"drift\",\"summary\":\"inventory rose from a median of 6.1 to 8.9 (PSI 0.41) since 2009-01-01; it "
      "looks "
      "like drift\",\"more_columns\":2,\"columns\":["
      "{\"name\":\"inventory\",\"direction\":\"up\",\"psi\":0.41,\"quantiles\":{\"ref\":[5,6.1,7],\"now\":[7,8.9,9]}},"
      "{\"name\":\"sales\",\"psi\":0.25,\"words\":\"sales fell from a median of 100 to 80 (PSI 0.25)\",\"since_at\":"
      "\"2009-02-01T00:00:00Z\"},"
      "{\"name\":\"city\",\"words\":\"city changed its mix, Dallas from 12 % to 31 %\",\"since_at\":\"<!channel>\"},"
      "{\"name\":\"c3\"},{\"name\":\"c4\"},{\"name\":\"c5\"},{\"name\":\"c6\"}],"
      "\"also\":[{\"title\":\"p99 is 80 ms\"},{\"title\":\"a "
      "moved\",\"pipeline\":\"churn\"},{\"title\":\"3\"},{\"title\":\"4\"},"
      "{\"title\":\"5\"},{\"title\":\"6\"}],\"if_ignored\":\"since then the live model went from 0.83 to 0.71\"}",
      0, NULL);
  assert_non_null(diagnosis);
  return diagnosis;
}

static void the_diagnosis_says_why(void **state) {
  struct err err = {0};
  json_t *event = event_of("gate.opened"), *evidence = json_object_get(json_object_get(event, "data"), "evidence");
  json_object_set_new(evidence, "diagnosis", diagnosis_of());
  json_t *body = slack_out_gate_opened("C05MLOPS9K", event, &err);
  check_message(body);
  expect_shown(body,
               "*Why* inventory rose from a median of 6.1 to 8.9 (PSI 0.41) since 2009-01-01; it looks like drift\n"
               "\xe2\x80\xa2 sales fell from a median of 100 to 80 (PSI 0.25), since 2009-02-01\n"
               "\xe2\x80\xa2 city changed its mix, Dallas from 12 % to 31 %\n\xe2\x80\xa2 c3\n");
  expect_shown(body, "and 4 more columns\n_Also_ p99 is 80 ms\n_Also_ churn: a moved\n");
  expect_shown(body, "_Also_ 2 more signals\n_If ignored_ since then the live model went from 0.83 to 0.71");
  json_decref(body);
  json_decref(event);
}

static void an_incident_says_what_to_do(void **state) {
  json_t *event = json_loads(
      "{\"type\":\"incident.opened\",\"data\":{\"incident\":3,\"state\":\"open\",\"summary\":\"3 pipelines of "
      "pricing fired within 1 h\",\"pipelines\":[\"a\",\"b\",\"c\"]}}",
      0, NULL);
  json_t *body = slack_out_notice("C1", NULL, event);
  const char *text = json_string_value(json_object_get(body, "text"));
  check_message(body);
  assert_non_null(strstr(text, "Several models at once, retraining waits: *incident 3*\n3 pipelines of pricing fired"));
  assert_non_null(strstr(text, "a, b, c\n`orch incident 3` shows it; `orch incident release 3"));
  json_decref(body);
  json_object_set_new(event, "type", json_string("incident.closed"));
  json_object_set_new(json_object_get(event, "data"), "state", json_string("released"));
  json_object_set_new(json_object_get(event, "data"), "by", json_string("reviewer:dana"));
  body = slack_out_notice("C1", NULL, event);
  text = json_string_value(json_object_get(body, "text"));
  assert_non_null(strstr(text, "Over: *incident 3* by reviewer:dana"));
  assert_null(strstr(text, "orch incident release"));
  json_decref(body);
  json_decref(event);
}

static void buttons_carry_the_ticket(void **state) {
  struct err err = {0};
  json_t *event = event_of("gate.opened"), *body = slack_out_gate_opened("C05MLOPS9K", event, &err);
  static const char *const actions[] = {SLACK_ACTION_APPROVE, SLACK_ACTION_REJECT};
  for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
    struct ticket ticket = {0};
    const json_t *button = find_button(body, actions[i]);
    assert_non_null(button);
    assert_true(ticket_read(json_string_value(json_object_get(button, "value")), &ticket, &err));
    assert_int_equal(ticket.gate, 12);
    assert_string_equal(ticket.nonce, "abcdefghijklmnopqrstuv");
    assert_string_equal(ticket.digest, DIGEST);
    assert_string_equal(ticket.subject, "housing@3");
  }
  const json_t *confirm = json_object_get(find_button(body, SLACK_ACTION_APPROVE), "confirm");
  const char *words = json_string_value(json_object_get(json_object_get(confirm, "text"), "text"));
  assert_non_null(strstr(words, "housing@3"));
  assert_string_equal(json_string_value(json_object_get(find_button(body, SLACK_ACTION_REVIEW), "url")),
                      "https://orch.example.com/review/x");
  json_decref(body);
  json_object_del(json_object_get(event, "data"), "review_url");
  json_object_set_new(json_object_get(event, "data"), "page_url", json_string("https://orch.example.com/proposals/42"));
  body = slack_out_gate_opened("C05MLOPS9K", event, &err);
  assert_string_equal(json_string_value(json_object_get(find_button(body, SLACK_ACTION_REVIEW), "url")),
                      "https://orch.example.com/proposals/42");
  json_decref(body);
  json_object_del(json_object_get(event, "data"), "nonce");
  assert_null(slack_out_gate_opened("C05MLOPS9K", event, &err));
  assert_int_equal(err.code, ERR_INVALID);
  json_decref(event);
}

static void outcome_takes_the_buttons_away(void **state) {
  struct err err = {0};
  json_t *event = event_of("gate.closed"), *data = json_object_get(event, "data");
  json_object_set_new(data, "decisions",
                      json_loads("[{\"reviewer\":\"dana\",\"verdict\":\"approve\",\"comment\":\"good <b>\","
                                 "\"at\":\"2026-01-05T10:00:00Z\",\"via\":\"slack\"}]",
                                 0, NULL));
  json_t *body = slack_out_gate_updated("C05MLOPS9K", "1767603845.004219", event, &err);
  assert_non_null(find_button(body, SLACK_ACTION_APPROVE)); /* still open: one of three has voted */
  expect_shown(body, "dana approved");
  json_decref(body);
  json_object_set_new(data, "gate_state", json_string("approved")); /* newer than what the event says */
  json_object_set_new(data, "closed_at", json_string("2026-01-05T10:00:00Z"));
  body = slack_out_gate_updated("C05MLOPS9K", "1767603845.004219", event, &err);
  check_message(body);
  assert_null(find_button(body, SLACK_ACTION_APPROVE));
  assert_null(find_button(body, SLACK_ACTION_REJECT));
  assert_string_equal(json_string_value(json_object_get(body, "ts")), "1767603845.004219");
  expect_shown(body, ":white_check_mark: *Approved* <!date^1767607200^");
  expect_shown(body, ":white_check_mark: dana approved <!date^1767607200^");
  expect_shown(body, "by slack: good &lt;b&gt;");
  json_decref(body);
  json_decref(event);
}

/* Every text of the event replaced by one that is long, pages everybody and breaks out of code. */
static void poison(json_t *node, const char *text) {
  const char *name;
  json_t *member;
  size_t i;
  json_object_foreach(node, name, member) {
    bool ours = strcmp(name, "digest") == 0 || strcmp(name, "nonce") == 0 || strcmp(name, "state") == 0 ||
                strcmp(name, "gate_state") == 0 || strcmp(name, "type") == 0;
    if (json_is_string(member) && !ours) json_string_set(member, text);
    poison(member, text);
  }
  json_array_foreach(node, i, member) {
    if (json_is_string(member)) json_string_set(member, text);
    poison(member, text);
  }
}

static void grow(json_t *data, const char *text) {
  json_t *evidence = json_object_get(data, "evidence"), *candidate = json_object_get(evidence, "candidate");
  for (int i = 0; i < 300; i++) {
    CLEANUP(mem_free_p) char *name = mem_printf("%.100s%d", text, i);
    json_object_set_new(json_object_get(candidate, "metrics"), name, json_real(1e300 / (i + 1)));
    json_object_set_new(json_object_get(evidence, "snapshots"), name, json_string(DIGEST));
    json_array_append_new(json_object_get(evidence, "signals"), json_pack("{s:s,s:s}", "title", text, "source", text));
    json_array_append_new(json_object_get(evidence, "checks"),
                          json_pack("{s:s,s:s,s:s}", "metric", text, "slice", text, "what", text));
    json_array_append_new(json_object_get(data, "approvals"), json_pack("{s:s,s:i}", "group", text, "approvals", 3));
    json_array_append_new(json_object_get(data, "decisions"),
                          json_pack("{s:s,s:s,s:s}", "reviewer", text, "verdict", "reject", "comment", text));
  }
}

static void hostile_texts_are_harmless(void **state) {
  static const char *const seeds[] = {"<!channel>```*&",
                                      "&&&&&&&&<<<<",
                                      "```",
                                      "\xf0\x9f\x91\x8d",
                                      "<https://evil.example|ok>\n\x1b[31m\xe2\x80\xae",
                                      "x"};
  for (size_t i = 0; i < ARRAY_LEN(seeds); i++) {
    CLEANUP(strbuf_fini_p) struct strbuf text;
    strbuf_init(&text, 64 * 1024);
    while (text.len < 6000) strbuf_puts(&text, seeds[i]);
    struct err err = {0};
    json_t *event = event_of("gate.opened"), *data = json_object_get(event, "data");
    json_object_set_new(data, "decisions", json_array());
    json_object_set_new(data, "reason", json_string("x"));
    if (i % 2 == 0) json_object_set_new(json_object_get(data, "evidence"), "diagnosis", diagnosis_of());
    poison(data, strbuf_text(&text));
    grow(data, strbuf_text(&text));
    json_t *opened = slack_out_gate_opened("C05MLOPS9K", event, &err);
    assert_non_null(opened);
    check_message(opened);
    json_object_set_new(data, "state", json_string("withdrawn"));
    json_t *closed = slack_out_gate_updated("C05MLOPS9K", "1.2", event, &err);
    check_message(closed);
    json_t *notice = slack_out_notice("C05MLOPS9K", "1.2", event);
    check_text(notice, 4000);
    json_decref(notice);
    json_decref(closed);
    json_decref(opened);
    json_decref(event);
  }
}

static void missing_members_are_left_out(void **state) {
  struct err err = {0};
  json_t *event = json_loads("{\"type\":\"gate.opened\",\"data\":{\"gate\":1,\"pipeline\":\"m\",\"version\":1,"
                             "\"digest\":\"" DIGEST "\",\"nonce\":\"abcdefghijklmnopqrstuv\",\"state\":\"open\"}}",
                             0, NULL);
  json_t *body = slack_out_gate_opened("C1", event, &err);
  check_message(body);
  expect_shown(body, "*m@1* asks to be the first live version");
  assert_null(find_button(body, SLACK_ACTION_REVIEW));
  json_decref(body);
  json_decref(event);
}

static void escape_by_vector(void **state) {
  json_t *root = json_load_file(TEST_DATA "/wire/chat_vectors.json", 0, NULL), *one;
  json_t *cases = json_object_get(json_object_get(root, "slack_mrkdwn_escape"), "cases");
  size_t i;
  assert_true(json_array_size(cases) > 0);
  json_array_foreach(cases, i, one) {
    json_t *body = slack_out_ephemeral("C1", "U1", json_string_value(json_object_get(one, "in")));
    assert_string_equal(json_string_value(json_object_get(body, "text")),
                        json_string_value(json_object_get(one, "out")));
    json_decref(body);
  }
  json_decref(root);
}

static void cut_at_whole_things(void **state) {
  static const struct {
    const char *in;
    size_t max;
    const char *out;
  } cases[] = {
      {"short", 10, "short"},
      {"0123456789", 10, "0123456789"},
      {"0123456789a", 10, "01234\xe2\x80\xa6"},
      {"012&amp;456789", 12, "012\xe2\x80\xa6"},
      {"01<!date^1^x|y>6789", 12, "01\xe2\x80\xa6"},
      {"```abcdefghijkl```", 12, "```abcd\xe2\x80\xa6\n```"},
      {"aaa\xf0\x9f\x91\x8d\xf0\x9f\x91\x8d\xf0\x9f\x91\x8d", 8, "aaa\xe2\x80\xa6"},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    CLEANUP(strbuf_fini_p) struct strbuf text;
    strbuf_init(&text, 1000);
    strbuf_puts(&text, cases[i].in);
    slack_text_cut(&text, cases[i].max);
    assert_string_equal(strbuf_text(&text), cases[i].out);
    assert_true(units(strbuf_text(&text)) <= cases[i].max);
  }
}

static void modal_asks_for_the_comment(void **state) {
  struct err err = {0};
  struct ticket ticket = {.gate = 12,
                          .nonce = "abcdefghijklmnopqrstuv",
                          .digest = DIGEST,
                          .subject = "housing@3",
                          .channel = "C05MLOPS9K",
                          .message_ts = "1767603845.004219"};
  struct ticket back = {0};
  json_t *body = slack_out_reject_view("trigger", &ticket, &err);
  const json_t *view = json_object_get(body, "view");
  const char *metadata = json_string_value(json_object_get(view, "private_metadata"));
  assert_string_equal(json_string_value(json_object_get(body, "trigger_id")), "trigger");
  assert_string_equal(json_string_value(json_object_get(view, "callback_id")), SLACK_VIEW_REJECT);
  check_text(json_object_get(view, "title"), 24);
  check_text(json_object_get(view, "submit"), 24);
  assert_true(strlen(metadata) <= 3000);
  assert_true(ticket_read(metadata, &back, &err));
  assert_int_equal(back.gate, 12);
  assert_string_equal(back.message_ts, ticket.message_ts);
  json_decref(body);
}

/* Answers have the shape of the documented ones, whatever their words. */
static void answers_have_the_documented_shape(void **state) {
  static const char *const files[] = {"response_url_ephemeral.json", "view_submission_ack_errors.json"};
  json_t *ours[] = {slack_out_response("no"), slack_out_comment_error("why?")};
  for (size_t i = 0; i < ARRAY_LEN(files); i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s/wire/slack/%s", TEST_DATA, files[i]);
    json_t *sample = json_load_file(path, 0, NULL), *member;
    const char *name;
    assert_non_null(sample);
    assert_int_equal(json_object_size(ours[i]), json_object_size(sample));
    json_object_foreach(sample, name, member) {
      assert_int_equal(json_typeof(json_object_get(ours[i], name)), json_typeof(member));
    }
    json_decref(sample);
    json_decref(ours[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(opened_shows_the_evidence),
      cmocka_unit_test(the_diagnosis_says_why),
      cmocka_unit_test(an_incident_says_what_to_do),
      cmocka_unit_test(buttons_carry_the_ticket),
      cmocka_unit_test(outcome_takes_the_buttons_away),
      cmocka_unit_test(hostile_texts_are_harmless),
      cmocka_unit_test(missing_members_are_left_out),
      cmocka_unit_test(escape_by_vector),
      cmocka_unit_test(cut_at_whole_things),
      cmocka_unit_test(modal_asks_for_the_comment),
      cmocka_unit_test(answers_have_the_documented_shape),
  };
  return cmocka_run_group_tests_name("chat_slack_out", tests, NULL, NULL);
}
