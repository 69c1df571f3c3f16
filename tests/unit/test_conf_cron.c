/* conf/cron: what is read, what is refused and why, and when the two day fields match. */
#include "cm.h"

#include "base/mem.h"
#include "base/strbuf.h"
#include "conf/cron.h"

static struct cron parse(const char *text) {
  struct cron cron;
  struct err err = {0};
  if (!cron_parse(text, &cron, &err)) fail_msg("%s: %s", text, err.text);
  return cron;
}

static void test_fields(void **state) {
  struct cron cron = parse("  0,30 0-4/2   1  jan,MAR-may/2 Mon-FRI Europe/Berlin ");
  assert_int_equal(cron.minute, UINT64_C(1) | UINT64_C(1) << 30);
  assert_int_equal(cron.hour, 1 | 1 << 2 | 1 << 4);
  assert_int_equal(cron.day, 1 << 1);
  assert_int_equal(cron.month, 1 << 1 | 1 << 3 | 1 << 5);
  assert_int_equal(cron.weekday, 0x3e);
  assert_false(cron.day_any || cron.weekday_any);
  assert_string_equal(cron.zone, "Europe/Berlin");
  cron = parse("*/15 * */10 * *");
  assert_int_equal(cron.minute, UINT64_C(1) | UINT64_C(1) << 15 | UINT64_C(1) << 30 | UINT64_C(1) << 45);
  assert_int_equal(cron.hour, 0xffffff);
  assert_int_equal(cron.day, 1 << 1 | 1 << 11 | 1 << 21 | UINT64_C(1) << 31);
  assert_int_equal(cron.month, 0x1ffe);
  assert_int_equal(cron.weekday, 0x7f);
  assert_true(cron.day_any && cron.weekday_any);
  assert_string_equal(cron.zone, "UTC");
  assert_string_equal(parse("0 0 * * * UTC").zone, "UTC");
  assert_string_equal(parse("0 0 * * * Etc/GMT+5").zone, "Etc/GMT+5");
}

/* 0 and 7 are Sunday, also at the end of a range. */
static void test_sunday(void **state) {
  static const struct {
    const char *field;
    unsigned set;
  } cases[] = {{"0", 0x01},       {"7", 0x01},   {"sun", 0x01}, {"5-7", 0x61},   {"fri-sun", 0x61}, {"sat-0", 0x41},
               {"sun-tue", 0x07}, {"0-7", 0x7f}, {"0,7", 0x01}, {"1-7/2", 0x2b}, {"*/2", 0x55},     {"*/7", 0x01}};
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    char text[64];
    snprintf(text, sizeof text, "0 0 * * %s", cases[i].field);
    if (parse(text).weekday != cases[i].set) fail_msg("%s: %x", text, (unsigned)parse(text).weekday);
  }
}

static void test_refused(void **state) {
  static const struct {
    const char *text, *why;
  } cases[] = {
      {"", "0 fields"},
      {"* * * *", "4 fields"},
      {"* * * * * UTC x", "7 fields"},
      {"60 * * * *", "the minute is '60', expected 0 to 59"},
      {"* 24 * * *", "the hour is '24'"},
      {"* * 0 * *", "the day of the month is '0'"},
      {"* * 32 * *", "the day of the month is '32'"},
      {"* * * 13 *", "the month is '13', expected 1 to 12 or jan to dec"},
      {"* * * 0 *", "the month is '0'"},
      {"* * * * 8", "the weekday is '8', expected 0 to 7 (0 and 7 are Sunday) or sun to sat"},
      {"* * * * jan", "the weekday is 'jan'"},
      {"* * * sunday *", "the month is 'sunday'"},
      {"* * * * sunday", "the weekday is 'sunday'"},
      {"-1 * * * *", "the minute is '-1'"},
      {"1- * * * *", "the minute is '1-'"},
      {"5-1 * * * *", "expected a range that goes up"},
      {"* * * * sat-mon", "expected a range that goes up"},
      {"1,,2 * * * *", "the minute is ''"},
      {"1, * * * *", "the minute is ''"},
      {"5/10 * * * *", "expected a step from 1 to 59 behind * or a range"},
      {"*/0 * * * *", "expected a step"},
      {"*/60 * * * *", "expected a step"},
      {"*/ * * * *", "expected a step"},
      {"*/5x * * * *", "the minute is '*/5x'"},
      {"*5 * * * *", "the minute is '*5'"},
      {"99999999999 * * * *", "the minute is"},
      {"0\t0 * * * *", "the minute is"},
      {"@daily", "1 fields"},
      {"0 0 * * * Europe/Nowhere", "no time zone 'Europe/Nowhere'"},
      {"0 0 * * * Europe/Berln", "expected Europe/Berlin?"},
      {"0 0 * * * europe/berlin", "expected Europe/Berlin?"},
      {"0 0 * * * America/Argentina/Buenos_Airs", "expected America/Argentina/Buenos_Aires?"},
      {"0 0 * * * ///", "no time zone"},
      {"0 0 * * * ../../../etc/passwd", "no time zone"},
      {"0 0 * * * /usr/share/zoneinfo/UTC", "no time zone"},
      {"0 0 * * * Europe", "no time zone 'Europe'"},
      {"0 0 * * * zone.tab", "no time zone"},
      {"0 0 * * * right/UTC", "no time zone"},
      {"0 0 * * * CEST-2", "no time zone"},
      {"0 0 30 2 *", "it never comes"},
      {"0 0 31 apr,jun,sep,nov *", "it never comes"},
      {"0 0 30-31 2 */2", "it never comes"},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct cron cron = {.minute = 77};
    struct err err = {0};
    if (cron_parse(cases[i].text, &cron, &err)) fail_msg("'%s' was taken", cases[i].text);
    if (strstr(err.text, cases[i].why) == NULL) fail_msg("'%s': %s", cases[i].text, err.text);
    assert_int_equal(cron.minute, 77);
    assert_int_equal(err.code, ERR_INVALID);
  }
  char large[CRON_TEXT_MAX + 2];
  memset(large, ' ', sizeof large - 1);
  large[sizeof large - 1] = '\0';
  struct cron cron;
  struct err err = {0};
  assert_false(cron_parse(large, &cron, &err));
  assert_non_null(strstr(err.text, "at most 200"));
}

/* What comes only now and then is taken: 29 February, and a 31st that the weekday makes up for. */
static void test_rare(void **state) {
  parse("0 0 29 2 *");
  parse("0 0 31 2 1");
  parse("0 0 31 2,3 *");
}

static void test_days(void **state) {
  /* 2026-11-13 is a Friday, 2026-11-20 too, 2026-10-13 a Tuesday. */
  struct cron either = parse("0 3 13 * fri");
  assert_true(cron_matches(&either, 0, 3, 13, 11, 5));
  assert_true(cron_matches(&either, 0, 3, 20, 11, 5));
  assert_true(cron_matches(&either, 0, 3, 13, 10, 2));
  assert_false(cron_matches(&either, 0, 3, 14, 10, 3));
  assert_false(cron_matches(&either, 1, 3, 13, 11, 5));
  assert_false(cron_matches(&either, 0, 4, 13, 11, 5));
  struct cron weekday = parse("0 3 * * fri"), day = parse("0 3 13 11 *"), both = parse("0 3 */2 * fri");
  assert_true(cron_matches(&weekday, 0, 3, 20, 11, 5));
  assert_false(cron_matches(&weekday, 0, 3, 13, 10, 2));
  assert_true(cron_matches(&day, 0, 3, 13, 11, 5));
  assert_false(cron_matches(&day, 0, 3, 20, 11, 5));
  assert_false(cron_matches(&day, 0, 3, 13, 10, 2));
  assert_true(cron_matches(&both, 0, 3, 13, 11, 5));
  assert_false(cron_matches(&both, 0, 3, 20, 11, 5));
  assert_false(cron_matches(&both, 0, 3, 15, 11, 0));
}

static void list(uint64_t set, struct strbuf *out) {
  const char *comma = "";
  for (int i = 0; i < 64; i++) {
    if ((set >> i & 1) == 0) continue;
    strbuf_printf(out, "%s%d", comma, i);
    comma = ",";
  }
}

/* Random sets, written out as lists, come back; and the document has the same numbers. */
static void test_sets_at_random(void **state) {
  unsigned seed = getenv("ORCH_SEED") != NULL ? (unsigned)strtoul(getenv("ORCH_SEED"), NULL, 10) : 20261125;
  print_message("seed %u (ORCH_SEED)\n", seed);
  srand(seed);
  static const struct { int min, max; } range[] = {{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}};
  static const char *const keys[] = {"minute", "hour", "day", "month", "weekday"};
  for (int round = 0; round < 500; round++) {
    uint64_t sets[5] = {0};
    struct strbuf text;
    strbuf_init(&text, 1000);
    for (int i = 0; i < 5; i++) {
      for (int n = 1 + rand() % 8; n > 0; n--)
        sets[i] |= UINT64_C(1) << (range[i].min + rand() % (range[i].max - range[i].min + 1));
      if (i == 2) sets[i] |= 2; /* so that some month has it */
      if (i > 0) strbuf_putc(&text, ' ');
      list(sets[i], &text);
    }
    struct cron cron = parse(strbuf_text(&text));
    assert_int_equal(cron.minute, sets[0]);
    assert_int_equal(cron.hour, sets[1]);
    assert_int_equal(cron.day, sets[2]);
    assert_int_equal(cron.month, sets[3]);
    assert_int_equal(cron.weekday, sets[4]);
    json_t *document = cron_json(&cron, strbuf_text(&text)), *number;
    for (int i = 0; i < 5; i++) {
      uint64_t seen = 0;
      size_t at;
      json_array_foreach(json_object_get(document, keys[i]), at, number) seen |= UINT64_C(1)
                                                                                 << json_integer_value(number);
      assert_int_equal(seen, sets[i]);
    }
    assert_string_equal(json_string_value(json_object_get(document, "text")), strbuf_text(&text));
    json_decref(document);
    strbuf_fini(&text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fields), cmocka_unit_test(test_sunday), cmocka_unit_test(test_refused),
      cmocka_unit_test(test_rare),   cmocka_unit_test(test_days),   cmocka_unit_test(test_sets_at_random),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
