/* Which addresses are talked to on somebody else's word: every vector, and the ways in which an operator opens up. */
#include "cm.h"

#include <jansson.h>

#include "base/mem.h"
#include "chat/url_policy.h"

static void each_case(const char *group, bool (*check)(const char *url, struct err *err)) {
  json_t *root = json_load_file(TEST_DATA "/wire/chat_vectors.json", 0, NULL), *one;
  json_t *cases = json_object_get(json_object_get(root, group), "cases");
  size_t i;
  assert_true(json_array_size(cases) > 5);
  json_array_foreach(cases, i, one) {
    struct err err = {0};
    const char *url = json_string_value(json_object_get(one, "url"));
    bool allowed = check(url, &err);
    if (allowed != json_is_true(json_object_get(one, "allow"))) fail_msg("%s: %s", url, allowed ? "taken" : err.text);
    if (!allowed) assert_int_equal(err.code, ERR_REFUSED);
  }
  json_decref(root);
}

static bool outgoing(const char *url, struct err *err) {
  return url_policy_outgoing(url, NULL, err);
}

static void outgoing_by_vector(void **state) {
  each_case("outbound_url_policy", outgoing);
}
static void response_by_vector(void **state) {
  each_case("slack_response_url_policy", url_policy_slack_response);
}

static void operators_open_up_by_name(void **state) {
  static const struct {
    const char *url, *allow;
    bool allowed;
  } cases[] = {
      {"http://127.0.0.1:9000/x", "127.0.0.1:9000", true},
      {"http://127.0.0.1:9001/x", "127.0.0.1:9000", false},
      {"http://127.0.0.1:9000/x", "other, 127.0.0.1:9000", true},
      {"http://127.0.0.1:9000/x", "127.0.0.1", true},
      {"http://[::1]:9000/x", "[::1]:9000", true},
      {"http://[::1]:9000/x", "[::1]", true},
      {"http://localhost:9000/x", "localhost", true},
      {"http://10.1.2.3/x", "10.1.2.3", false}, /* plain http never leaves the machine */
      {"https://10.1.2.3/x", "10.1.2.3", true},
      {"https://10.1.2.4/x", "10.1.2.3", false},
      {"https://audit.internal/x", "AUDIT.internal", true},
      {"https://audit.internal:8443/x", "audit.internal:8443", true},
      {"https://audit.internal:8443/x", "audit.internal:443", false},
      {"https://hooks.example.com:8443/x", "hooks.example.com:8443", true},
      {"https://evil.audit.internal/x", "audit.internal", false},
      {"https://audit.internal.evil.example/x", "", true},
      {"https://u:p@audit.internal/x", "audit.internal", false},
      {"ftp://127.0.0.1/x", "127.0.0.1", false},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct err err = {0};
    if (url_policy_outgoing(cases[i].url, cases[i].allow, &err) != cases[i].allowed)
      fail_msg("%s with %s: %s", cases[i].url, cases[i].allow, err.text);
  }
  assert_true(url_policy_is_listed("https://audit.internal/x", "audit.internal"));
  assert_false(url_policy_is_listed("https://audit.internal/x", NULL));
}

static void the_token_is_not_sent_in_the_clear(void **state) {
  struct err err = {0};
  assert_true(url_policy_slack_api("https://slack.com/api/", &err));
  assert_true(url_policy_slack_api("https://slack-proxy.internal/api/", &err));
  assert_true(url_policy_slack_api("http://127.0.0.1:8099/api/", &err));
  assert_true(url_policy_slack_api("http://localhost:8099/api/", &err));
  assert_false(url_policy_slack_api("http://slack.com/api/", &err));
  assert_false(url_policy_slack_api("http://127.0.0.1.evil.example/api/", &err));
  assert_false(url_policy_slack_api("slack", &err));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(outgoing_by_vector),
      cmocka_unit_test(response_by_vector),
      cmocka_unit_test(operators_open_up_by_name),
      cmocka_unit_test(the_token_is_not_sent_in_the_clear),
  };
  return cmocka_run_group_tests_name("chat_url_policy", tests, NULL, NULL);
}
