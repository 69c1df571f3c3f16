/* cli/check_names: calendars and counters are told from measurements. */
#include "cm.h"

#include "base/mem.h"
#include "cli/check_names.h"

static void test_calendars(void **state) {
  static const char *const names[] = {"month",  "YEAR",       "date",       "id",
                                      "ID",     "created_at", "user_id",    "orderDate",
                                      "userId", "user-uuid",  "meta.hour",  "payload.event.timestamp",
                                      "time",   "index",      "day_of_week"};
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    if (!check_is_calendar(names[i])) fail_msg("%s was not seen", names[i]);
  }
}

static void test_measurements(void **state) {
  static const char *const names[] = {"",         "sales",  "paid",    "monthly_income", "days_open", "lead_time",
                                      "rate",     "format", "heat",    "candidate",      "holiday",   "grid",
                                      "id.value", "yearly", "updates", "birthday",       "humid",     "rows"};
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    if (check_is_calendar(names[i])) fail_msg("%s is a measurement", names[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_calendars), cmocka_unit_test(test_measurements)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
