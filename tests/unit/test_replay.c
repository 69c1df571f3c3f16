/* A history through monitors: the windows, verdicts and episodes that a server would have had. */
#include "trigger/replay.h"
#include "window_kit.h"

#define DRIFT(window)                                                                                                  \
  "{\"name\":\"inputs\",\"kind\":\"drift\",\"then\":\"propose\",\"columns\":[\"x\"],\"window\":" window                \
  ",\"min_rows\":50,\"psi\":0.2,\"p_value\":0.001,\"null_jump\":0.1,\"for\":{\"hits\":2,\"of\":3}}"

static struct profile *reference(void) {
  struct strbuf csv;
  strbuf_init(&csv, 1 << 16);
  strbuf_puts(&csv, "x\n");
  for (uint32_t i = 0; i < 1000; i++) strbuf_printf(&csv, "%u\n", i * 2654435761u >> 22);
  struct profile *profile = profile_of(strbuf_text(&csv));
  strbuf_fini(&csv);
  return profile;
}

static struct replay *start(const char *monitors, const struct profile *profile, int64_t from_us, int64_t to_us) {
  struct err err = {0};
  json_t *specs = json_loads(monitors, 0, NULL);
  assert_non_null(specs);
  struct replay_plan plan = {.monitors = specs,
                             .profile = profile,
                             .champion = 3,
                             .from_us = from_us,
                             .to_us = to_us,
                             .now_us = 1900000000000000};
  struct replay *replay = replay_new(&plan, &err);
  if (!replay) fail_msg("%s", err.text);
  json_decref(specs);
  return replay;
}

static void rows(struct replay *replay, int n, int shift, const char *at) {
  char line[200];
  for (uint32_t i = 0; i < (uint32_t)n; i++) {
    int len = snprintf(line, sizeof line, "{\"at\":\"%s\",\"x\":%u}", at, (i * 2654435761u >> 22) + (unsigned)shift);
    replay_row(replay, line, (size_t)len);
  }
}

static json_t *only(const json_t *report) {
  return json_array_get(json_object_get(report, "monitors"), 0);
}
static int64_t verdicts(const json_t *report, const char *verdict) {
  return json_integer_value(json_object_get(json_object_get(only(report), "verdicts"), verdict));
}

static void by_rows(void **state) {
  struct profile *profile = reference();
  struct replay *replay =
      start("[" DRIFT("{\"rows\":100}") ",{\"name\":\"alive\",\"kind\":\"volume\",\"silence_ms\":5}]", profile,
            INT64_MIN, INT64_MAX);
  rows(replay, 300, 0, "2026-01-01T00:00:00Z");
  rows(replay, 300, 700, "2026-01-02T00:00:00Z");
  replay_row(replay, "rubbish", 7);
  rows(replay, 350, 0, "2026-01-03T00:00:00Z");
  json_t *report = replay_finish(replay);
  const json_t *episodes = json_object_get(only(report), "episodes"), *episode = json_array_get(episodes, 0);
  assert_int_equal(json_array_size(json_object_get(only(report), "windows")), 9);
  assert_int_equal(json_integer_value(json_object_get(only(report), "rows_left")), 50);
  assert_int_equal(json_integer_value(json_object_get(report, "broken")), 1);
  assert_int_equal(json_array_size(episodes), 1);
  assert_string_equal(word(episode, "signal"), "drift");
  assert_int_equal(json_integer_value(json_object_get(episode, "since_row")), 300);
  assert_int_equal(json_integer_value(json_object_get(json_object_get(episode, "fired"), "to_row")), 500);
  assert_string_equal(word(json_object_get(episode, "fired"), "to_at"), "2026-01-02T00:00:00.000Z");
  assert_int_equal(json_integer_value(json_object_get(json_object_get(episode, "ended"), "to_row")), 800);
  assert_int_equal(json_integer_value(json_object_get(episode, "windows")), 3);
  assert_int_equal(verdicts(report, "drift"), 3);
  assert_true(real_of(only(report), "largest") > 0.2 && real_of(only(report), "smallest") < 0.2);
  assert_string_equal(word(json_array_get(json_object_get(report, "not_replayed"), 0), "monitor"), "alive");
  json_decref(report);
  replay_free(replay);
  profile_free(profile);
}

static void by_time(void **state) {
  struct profile *profile = reference();
  struct replay *replay =
      start("[" DRIFT("{\"ms\":86400000,\"lateness_ms\":3600000}") "]", profile, INT64_MIN, INT64_MAX);
  rows(replay, 100, 0, "2026-01-05T09:00:00Z");
  rows(replay, 60, 700, "2026-01-06T00:30:00Z"); /* the day before is open still */
  rows(replay, 20, 0, "2026-01-05T23:00:00Z");
  rows(replay, 60, 700, "2026-01-06T01:30:00Z"); /* and now it is not */
  rows(replay, 7, 0, "2026-01-05T23:30:00Z");
  rows(replay, 90, 700, "2026-03-01T09:00:00Z"); /* days without rows are no windows */
  json_t *report = replay_finish(replay);
  const json_t *windows = json_object_get(only(report), "windows");
  assert_int_equal(json_array_size(windows), 3);
  assert_string_equal(word(json_array_get(windows, 0), "from_at"), "2026-01-05T00:00:00.000Z");
  assert_string_equal(word(json_array_get(windows, 1), "from_at"), "2026-01-06T00:00:00.000Z");
  assert_string_equal(word(json_array_get(windows, 2), "to_at"), "2026-03-02T00:00:00.000Z");
  assert_string_equal(word(json_array_get(windows, 0), "verdict"), "ok");
  assert_string_equal(word(json_array_get(windows, 2), "verdict"), "drift");
  json_decref(report);
  replay_free(replay);
  profile_free(profile);
}

static void limits(void **state) {
  struct profile *profile = reference();
  int64_t from_us, to_us;
  assert_true(clock_parse_rfc3339("2026-01-02T00:00:00Z", &from_us));
  assert_true(clock_parse_rfc3339("2026-01-03T00:00:00Z", &to_us));
  struct replay *replay = start("[" DRIFT("{\"rows\":100}") "]", profile, from_us, to_us);
  rows(replay, 300, 0, "2026-01-01T00:00:00Z");
  rows(replay, 200, 0, "2026-01-02T00:00:00Z");
  rows(replay, 300, 700, "2026-01-03T00:00:00Z");
  replay_row(replay, "{\"x\":1}", 7);
  json_t *report = replay_finish(replay);
  assert_int_equal(json_integer_value(json_object_get(report, "rows")), 200);
  assert_int_equal(json_integer_value(json_object_get(report, "outside")), 601);
  assert_int_equal(json_integer_value(json_object_get(report, "untimed")), 1);
  assert_int_equal(verdicts(report, "ok"), 2);
  json_decref(report);
  replay_free(replay);
  /* Lateness without end: as many windows stay open as are allowed, and the oldest closes early. */
  replay = start("[" DRIFT("{\"ms\":60000,\"lateness_ms\":31622400000}") "]", profile, INT64_MIN, INT64_MAX);
  for (int i = 0; i < 200; i++) {
    char at[40];
    snprintf(at, sizeof at, "2026-01-01T%02d:%02d:00Z", i / 60, i % 60);
    rows(replay, 1, 0, at);
  }
  report = replay_finish(replay);
  assert_int_equal(json_array_size(json_object_get(only(report), "windows")), 200);
  json_decref(report);
  replay_free(replay);
  profile_free(profile);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(by_rows), cmocka_unit_test(by_time), cmocka_unit_test(limits)};
  return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
