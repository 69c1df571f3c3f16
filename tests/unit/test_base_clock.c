/* base: clock, digests, ids, log lines. */
#include "cm.h"

#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/uuid.h"

static int64_t fixed_now(void *arg) {
  return *(int64_t *)arg;
}
static void fixed_random(void *arg, void *bytes, size_t len) {
  memset(bytes, 0xff, len);
}

static void expect_time(const char *text, int64_t want_us, const char *want_text) {
  int64_t us = -1;
  assert_true(clock_parse_rfc3339(text, &us));
  assert_int_equal(us, want_us);
  char out[CLOCK_RFC3339_SIZE];
  clock_format_rfc3339(us, out);
  assert_string_equal(out, want_text);
}

static void times_both_ways(void **state) {
  expect_time("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z");
  expect_time("2026-01-05T09:04:05.123Z", 1767603845123000, "2026-01-05T09:04:05.123Z");
  expect_time("2026-01-05T10:04:05.123456789+01:00", 1767603845123456, "2026-01-05T09:04:05.123Z");
  expect_time("2026-01-05 00:34:05-08:30", 1767603845000000, "2026-01-05T09:04:05.000Z");
  expect_time("1969-12-31t23:59:59.5z", -500000, "1969-12-31T23:59:59.500Z");
  expect_time("2024-02-29T00:00:00Z", 1709164800000000, "2024-02-29T00:00:00.000Z");
  expect_time("2016-12-31T23:59:60Z", 1483228800000000, "2017-01-01T00:00:00.000Z"); /* a leap second */
  static const char *const bad[] = {"",
                                    "2026-01-05",
                                    "2026-01-05T09:04:05",
                                    "2026-1-05T09:04:05Z",
                                    "2025-02-29T00:00:00Z",
                                    "1900-02-29T00:00:00Z",
                                    "2026-04-31T00:00:00Z",
                                    "2026-01-05T24:00:00Z",
                                    "2026-01-05T09:60:00Z",
                                    "2026-01-05T09:04:05.Z",
                                    "2026-01-05T09:04:05Zx",
                                    "2026-01-05T09:04:05+0100",
                                    "2026-01-05T09:04:05+24:00",
                                    "+026-01-05T09:04:05Z"};
  int64_t us = 7;
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(clock_parse_rfc3339(bad[i], &us));
  assert_int_equal(us, 7);
}

static void jitter_stays_in_its_band(void **state) {
  int64_t low = INT64_MAX, high = 0;
  for (int i = 0; i < 10000; i++) {
    int64_t ms = clock_jitter_ms(1000, 0.2);
    assert_in_range(ms, 800, 1200);
    if (ms < low) low = ms;
    if (ms > high) high = ms;
  }
  assert_true(low < 820 && high > 1180); /* misses by chance once in 10^80 runs */
  assert_int_equal(clock_jitter_ms(1000, 0), 1000);
}

static void ids_are_version_7_and_ordered(void **state) {
  int64_t now = 0x0188ABCDEF01LL * 1000;
  struct clock_source source = {fixed_now, fixed_now, fixed_random, &now};
  clock_set_source(&source);
  char id[UUID_TEXT_SIZE];
  uuid_v7(id);
  clock_set_source(NULL);
  assert_string_equal(id, "0188abcd-ef01-7fff-bfff-ffffffffffff");
  char other[UUID_TEXT_SIZE], third[UUID_TEXT_SIZE];
  uuid_v7(other);
  uuid_v7(third);
  assert_string_not_equal(other, third);
}

static void digests_and_their_text(void **state) {
  uint8_t bytes[DIGEST_BYTES];
  char text[DIGEST_TEXT_SIZE];
  digest_bytes("abc", 3, bytes); /* FIPS 180-2's example */
  digest_to_text(bytes, text);
  assert_string_equal(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  struct digest_state *digest = digest_new();
  digest_add(digest, "a", 1);
  digest_add(digest, NULL, 0);
  digest_add(digest, "bc", 2);
  uint8_t again[DIGEST_BYTES];
  digest_finish(digest, again);
  assert_true(digest_equal(bytes, sizeof bytes, again, sizeof again));
  digest_discard(digest_new());
  digest_discard(NULL);
  assert_true(digest_is_text(text));
  text[10] = 'A';
  assert_false(digest_is_text(text));
  assert_false(digest_is_text("sha256:abc"));
  assert_false(digest_is_text(""));
  assert_false(digest_is_text(NULL));
  assert_false(digest_is_text("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0"));
}

static void hmac_by_rfc_4231(void **state) {
  json_t *root = json_load_file(TEST_DATA "/wire/hmac_sha256.json", 0, NULL);
  json_t *cases = json_object_get(json_object_get(root, "hmac_sha256_rfc4231"), "cases"), *one;
  assert_int_equal(json_array_size(cases), 4);
  size_t i;
  json_array_foreach(cases, i, one) {
    const char *key_hex = json_string_value(json_object_get(one, "key_hex"));
    const char *data_hex = json_string_value(json_object_get(one, "data_hex"));
    uint8_t key[200], data[200], mac[DIGEST_BYTES];
    size_t key_len, data_len;
    assert_true(digest_unhex(key_hex, strlen(key_hex), key, sizeof key, &key_len));
    assert_true(digest_unhex(data_hex, strlen(data_hex), data, sizeof data, &data_len));
    digest_hmac_sha256(key, key_len, data, data_len, mac);
    char hex[2 * DIGEST_BYTES + 1];
    digest_hex(mac, sizeof mac, hex);
    assert_string_equal(hex, json_string_value(json_object_get(one, "mac")));
  }
  json_decref(root);
  uint8_t mac[DIGEST_BYTES];
  char hex[2 * DIGEST_BYTES + 1];
  digest_hmac_sha256(NULL, 0, NULL, 0, mac);
  digest_hex(mac, sizeof mac, hex);
  assert_string_equal(hex, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void base64_is_strict(void **state) {
  static const struct {
    const char *plain, *coded;
  } pairs[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}}; /* RFC 4648 */
  for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
    char coded[16];
    digest_base64((const uint8_t *)pairs[i].plain, strlen(pairs[i].plain), coded);
    assert_string_equal(coded, pairs[i].coded);
    uint8_t plain[6];
    size_t len = 99;
    size_t exact = strlen(pairs[i].plain);
    assert_true(digest_unbase64(pairs[i].coded, strlen(pairs[i].coded), plain, exact, &len));
    assert_int_equal(len, exact);
    assert_memory_equal(plain, pairs[i].plain, exact);
    if (exact) assert_false(digest_unbase64(pairs[i].coded, strlen(pairs[i].coded), plain, exact - 1, &len));
  }
  static const char *const bad[] = {"Zg", "Zg=", "Zg== ", " Zg=", "Zm8=\n", "Z===", "====", "Zm9_", "Zm=v", "Z g="};
  uint8_t out[16];
  size_t len;
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(digest_unbase64(bad[i], strlen(bad[i]), out, 16, &len));
}

static void random_bytes_survive_base64_and_hex(void **state) {
  uint8_t bytes[300], back[300];
  char text[601];
  for (size_t len = 0; len < sizeof bytes; len++) {
    clock_random(bytes, len);
    size_t got;
    digest_base64(bytes, len, text);
    assert_true(digest_unbase64(text, strlen(text), back, len, &got) && got == len);
    assert_memory_equal(bytes, back, len);
    digest_hex(bytes, len, text);
    assert_true(digest_unhex(text, strlen(text), back, len, &got) && got == len);
    assert_memory_equal(bytes, back, len);
  }
}

/* Runs `act` with stderr in a file and returns what it wrote. */
static char *captured(void (*act)(void)) {
  static char text[65536];
  char name[] = "/tmp/orch-test-log-XXXXXX";
  int fd = mkstemp(name), keep = dup(STDERR_FILENO);
  assert_true(fd >= 0 && keep >= 0);
  dup2(fd, STDERR_FILENO);
  act();
  dup2(keep, STDERR_FILENO);
  close(keep);
  ssize_t len = pread(fd, text, sizeof text - 1, 0);
  text[len < 0 ? 0 : len] = 0;
  close(fd);
  unlink(name);
  return text;
}

static void log_some(void) {
  log_event(LOG_INFO, "gate.opened", LOG_I("gate", 12), LOG_S("pipeline", "housing"), LOG_S("none", NULL),
            LOG_S("note", "two\nlines"), LOG_F("share", 0.25));
  log_event(LOG_DEBUG, "hidden");
  log_event(LOG_WARN, "bare");
}
static void log_long(void) {
  static char huge[100000];
  memset(huge, 'x', sizeof huge - 1);
  log_event(LOG_INFO, "huge", LOG_S("a", huge), LOG_S("b", huge), LOG_S("c", huge), LOG_S("d", huge), LOG_S("e", huge));
}

static void lines_are_structured(void **state) {
  int64_t now = 1767603845123000;
  struct clock_source source = {fixed_now, fixed_now, fixed_random, &now};
  clock_set_source(&source);
  assert_string_equal(captured(log_some), "2026-01-05T09:04:05.123Z info gate.opened gate=12 pipeline=housing "
                                          "note=\"two\\nlines\" share=0.25\n"
                                          "2026-01-05T09:04:05.123Z warn bare\n");
  log_set_json(true);
  assert_string_equal(captured(log_some),
                      "{\"time\":\"2026-01-05T09:04:05.123Z\",\"level\":\"info\",\"event\":\"gate.opened\",\"gate\":12,"
                      "\"pipeline\":\"housing\",\"note\":\"two\\nlines\",\"share\":0.25}\n"
                      "{\"time\":\"2026-01-05T09:04:05.123Z\",\"level\":\"warn\",\"event\":\"bare\"}\n");
  json_t *line = json_loads(captured(log_long), 0, NULL);
  assert_non_null(line);
  assert_int_equal(json_integer_value(json_object_get(line, "cut")), 1);
  json_decref(line);
  log_set_json(false);
  clock_set_source(NULL);
  enum log_level level = LOG_ERROR;
  assert_true(log_parse_level("debug", &level) && level == LOG_DEBUG);
  assert_false(log_parse_level("loud", &level));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(times_both_ways),
      cmocka_unit_test(jitter_stays_in_its_band),
      cmocka_unit_test(ids_are_version_7_and_ordered),
      cmocka_unit_test(digests_and_their_text),
      cmocka_unit_test(hmac_by_rfc_4231),
      cmocka_unit_test(base64_is_strict),
      cmocka_unit_test(random_bytes_survive_base64_and_hex),
      cmocka_unit_test(lines_are_structured),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
