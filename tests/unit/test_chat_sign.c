/* Signatures: every vector of both schemes, published ones included, and what a sender of ours produces. */
#include "cm.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "chat/sign.h"

#define BODY_MAX (256 * 1024)

static json_t *load_cases(const char *group) {
  json_t *root = json_load_file(TEST_DATA "/wire/chat_vectors.json", 0, NULL);
  assert_non_null(root);
  json_t *cases = json_incref(json_object_get(json_object_get(root, group), "cases"));
  json_decref(root);
  assert_true(json_array_size(cases) > 10);
  return cases;
}

static const char *text_of(const json_t *one, const char *name) {
  return json_string_value(json_object_get(one, name));
}

/* The body of a vector, given in place or as a sample file. */
static char *body_of(const json_t *one, size_t *ret_len) {
  const json_t *body = json_object_get(one, "body");
  if (body != NULL) {
    *ret_len = json_string_length(body);
    return mem_strndup(json_string_value(body), *ret_len);
  }
  CLEANUP(mem_free_p) char *path = mem_printf("%s/wire/%s", TEST_DATA, text_of(one, "body_file"));
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  char *text = mem_alloc(BODY_MAX);
  *ret_len = fread(text, 1, BODY_MAX, file);
  fclose(file);
  assert_true(*ret_len > 0 && *ret_len < BODY_MAX);
  return text;
}

/* The secrets of a vector as an operator would write them: separated by spaces. */
static char *secrets_of(const json_t *one) {
  CLEANUP(strbuf_fini_p) struct strbuf text;
  strbuf_init(&text, 4096);
  size_t i;
  json_t *secret;
  json_array_foreach(json_object_get(one, "secrets"), i, secret) {
    strbuf_printf(&text, "%s ", json_string_value(secret));
  }
  if (text_of(one, "public_key") != NULL) strbuf_puts(&text, text_of(one, "public_key"));
  return strbuf_take(&text);
}

static void verify_slack_vectors(void **state) {
  json_t *cases = load_cases("slack_v0"), *one;
  size_t i;
  json_array_foreach(cases, i, one) {
    size_t len = 0;
    struct err err = {0};
    struct sign_keys keys = {0};
    CLEANUP(mem_free_p) char *body = body_of(one, &len);
    CLEANUP(mem_free_p) char *secrets = secrets_of(one);
    assert_true(sign_keys_slack(&keys, secrets, &err));
    enum sign_verdict verdict = sign_slack_verify(&keys, text_of(one, "timestamp"), text_of(one, "signature"), body,
                                                  len, json_integer_value(json_object_get(one, "now")));
    if ((verdict == SIGN_OK) != json_is_true(json_object_get(one, "valid")))
      fail_msg("%s: %s", text_of(one, "name"), sign_verdict_name(verdict));
  }
  json_decref(cases);
}

static void verify_webhook_vectors(void **state) {
  json_t *cases = load_cases("standard_webhooks"), *one;
  size_t i;
  json_array_foreach(cases, i, one) {
    size_t len = 0;
    struct err err = {0};
    struct sign_keys keys = {0};
    CLEANUP(mem_free_p) char *body = body_of(one, &len);
    CLEANUP(mem_free_p) char *secrets = secrets_of(one);
    enum sign_verdict verdict = SIGN_NO_SECRET;
    if (sign_keys_webhook(&keys, secrets, &err))
      verdict = sign_webhook_verify(&keys, text_of(one, "id"), text_of(one, "timestamp"), text_of(one, "signature"),
                                    body, len, json_integer_value(json_object_get(one, "now")));
    if ((verdict == SIGN_OK) != json_is_true(json_object_get(one, "valid")))
      fail_msg("%s: %s", text_of(one, "name"), sign_verdict_name(verdict));
  }
  json_decref(cases);
}

static void causes_are_told_apart(void **state) {
  struct sign_keys keys = {0}, none = {0};
  struct err err = {0};
  const char *good = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
  assert_true(sign_keys_slack(&keys, "8f742231b10e8888abcd99yyyzzz85a5", &err));
  assert_int_equal(sign_slack_verify(&none, "1", good, "", 0, 1), SIGN_NO_SECRET);
  assert_int_equal(sign_slack_verify(&keys, NULL, good, "", 0, 1), SIGN_MISSING);
  assert_int_equal(sign_slack_verify(&keys, "1", NULL, "", 0, 1), SIGN_MISSING);
  assert_int_equal(sign_slack_verify(&keys, "1", good, "", 0, 302), SIGN_STALE);
  assert_int_equal(sign_slack_verify(&keys, "1", good, "", 0, 301), SIGN_MISMATCH);
}

static void sign_as_published(void **state) {
  struct sign_keys keys = {0};
  struct err err = {0};
  CLEANUP(strbuf_fini_p) struct strbuf header;
  strbuf_init(&header, SIGN_HEADER_MAX);
  const char *body = "{\"test\": 2432232314}";
  assert_true(sign_keys_webhook(&keys, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &err));
  assert_true(sign_webhook(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, strlen(body), &header, &err));
  assert_string_equal(strbuf_text(&header), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

static void sign_as_slack_published(void **state) {
  struct sign_keys keys = {0};
  struct err err = {0};
  char signature[SIGN_SLACK_SIZE];
  json_t *cases = load_cases("slack_v0");
  const json_t *published = json_array_get(cases, 0);
  const char *body = text_of(published, "body");
  assert_true(sign_keys_slack(&keys, "8f742231b10e8888abcd99yyyzzz85a5", &err));
  sign_slack(&keys, "1531420618", body, strlen(body), signature);
  assert_string_equal(signature, text_of(published, "signature"));
  json_decref(cases);
}

static void rotation_signs_with_both(void **state) {
  static const char old_secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  static const char new_secret[] = "whsec_2vOgVsA16UIajQTpjCXuipIT0KeqhkzT+bVyMyKJ/Jk=";
  struct sign_keys both = {0}, one = {0};
  struct err err = {0};
  CLEANUP(mem_free_p) char *secrets = mem_printf("%s\n%s\n", new_secret, old_secret);
  CLEANUP(strbuf_fini_p) struct strbuf header;
  strbuf_init(&header, SIGN_HEADER_MAX);
  assert_true(sign_keys_webhook(&both, secrets, &err));
  assert_true(sign_webhook(&both, "evt_1", 1000, "{}", 2, &header, &err));
  assert_true(sign_keys_webhook(&one, old_secret, &err));
  assert_int_equal(sign_webhook_verify(&one, "evt_1", "1000", strbuf_text(&header), "{}", 2, 1000), SIGN_OK);
  assert_true(sign_keys_webhook(&one, new_secret, &err));
  assert_int_equal(sign_webhook_verify(&one, "evt_1", "1000", strbuf_text(&header), "{}", 2, 1000), SIGN_OK);
  assert_int_equal(sign_webhook_verify(&one, "evt_1", "1000", strbuf_text(&header), "{ }", 3, 1000), SIGN_MISMATCH);
}

static void bad_secrets_are_refused(void **state) {
  static const char *const bad[] = {
      "", "   ", "whsec_", "whsec_!!!!", "whsec_c2hvcnQ=", "whpk_c2hvcnQ=", "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"};
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
    struct sign_keys keys = {.count = 7};
    struct err err = {0};
    assert_false(sign_keys_webhook(&keys, bad[i], &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(keys.count, 7);
  }
  struct sign_keys keys = {0};
  struct err err = {0};
  CLEANUP(strbuf_fini_p) struct strbuf header;
  strbuf_init(&header, SIGN_HEADER_MAX);
  assert_false(sign_keys_slack(&keys, "short", &err));
  assert_true(sign_keys_webhook(&keys, "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", &err));
  assert_false(sign_webhook(&keys, "a", 1, "", 0, &header, &err));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(verify_slack_vectors),    cmocka_unit_test(verify_webhook_vectors),
      cmocka_unit_test(causes_are_told_apart),   cmocka_unit_test(sign_as_published),
      cmocka_unit_test(sign_as_slack_published), cmocka_unit_test(rotation_signs_with_both),
      cmocka_unit_test(bad_secrets_are_refused),
  };
  return cmocka_run_group_tests_name("chat_sign", tests, NULL, NULL);
}
