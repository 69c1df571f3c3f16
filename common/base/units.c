#include "base/units.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define DAY_MS 86400000LL
#define TEN_YEARS_MS (3653 * DAY_MS)
#define LARGEST_SIZE (1LL << 53)

struct unit {
  const char *name;
  int64_t scale;
};

static bool parse(const char *text, const struct unit *units, size_t count, int64_t max, int64_t *ret_value) {
  int64_t number = 0;
  const char *at = text;
  for (; *at >= '0' && *at <= '9'; at++) {
    number = number * 10 + (*at - '0');
    if (number > LARGEST_SIZE) return false;
  }
  if (at == text) return false;
  for (size_t i = 0; i < count; i++) {
    if (strcmp(at, units[i].name) != 0) continue;
    if (number > max / units[i].scale) return false;
    *ret_value = number * units[i].scale;
    return true;
  }
  return false;
}

bool units_parse_duration_ms(const char *text, int64_t *ret_ms) {
  static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", DAY_MS}};
  return parse(text, units, ARRAY_LEN(units), TEN_YEARS_MS, ret_ms);
}

bool units_parse_size_bytes(const char *text, int64_t *ret_bytes) {
  static const struct unit units[] = {
      {"B", 1}, {"KiB", 1LL << 10}, {"MiB", 1LL << 20}, {"GiB", 1LL << 30}, {"TiB", 1LL << 40}};
  return parse(text, units, ARRAY_LEN(units), LARGEST_SIZE, ret_bytes);
}

void units_format_duration(int64_t ms, char out[UNITS_TEXT_SIZE]) {
  const char *sign = ms < 0 ? "-" : "";
  unsigned long long left = ms < 0 ? 0 - (unsigned long long)ms : (unsigned long long)ms;
  static const struct {
    unsigned long long scale, below;
    const char *name, *small;
  } steps[] = {{DAY_MS, 3600000, "d", "h"}, {3600000, 60000, "h", "m"}, {60000, 1000, "m", "s"}};
  for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
    if (left < steps[i].scale) continue;
    unsigned long long rest = left % steps[i].scale / steps[i].below;
    if (rest)
      snprintf(out, UNITS_TEXT_SIZE, "%s%llu %s %llu %s", sign, left / steps[i].scale, steps[i].name, rest,
               steps[i].small);
    else
      snprintf(out, UNITS_TEXT_SIZE, "%s%llu %s", sign, left / steps[i].scale, steps[i].name);
    return;
  }
  if (left >= 1000)
    snprintf(out, UNITS_TEXT_SIZE, "%s%llu s", sign, left / 1000);
  else
    snprintf(out, UNITS_TEXT_SIZE, "%s%llu ms", sign, left);
}

void units_format_size(int64_t bytes, char out[UNITS_TEXT_SIZE]) {
  static const char *const names[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) {
    snprintf(out, UNITS_TEXT_SIZE, "%lld B", (long long)bytes);
    return;
  }
  double value = (double)bytes / 1024;
  size_t i = 0;
  for (; value >= 1023.95 && i + 1 < ARRAY_LEN(names); i++) value /= 1024;
  snprintf(out, UNITS_TEXT_SIZE, "%.1f %s", value, names[i]);
}

void units_format_number(double value, char out[UNITS_TEXT_SIZE]) {
  double size = value < 0 ? -value : value;
  /* From 1000 on four digits leave no fraction, and %g would begin to write exponents soon after. */
  snprintf(out, UNITS_TEXT_SIZE, size >= 999.95 && size < 999999999.5 ? "%.0f" : "%.4g", value);
}
