#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/mem.h"

#define US_PER_SECOND 1000000

static int64_t read_clock(clockid_t id) {
  struct timespec now;
  ORCH_ASSERT(clock_gettime(id, &now) == 0);
  return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

static int64_t real_wall(void *arg) {
  return read_clock(CLOCK_REALTIME);
}

static int64_t real_mono(void *arg) {
  return read_clock(CLOCK_MONOTONIC);
}

static void real_random(void *arg, void *bytes, size_t len) {
  for (char *at = bytes; len > 0;) {
    ssize_t got = getrandom(at, len, 0);
    if (got < 0 && errno == EINTR) continue;
    ORCH_ASSERT(got > 0);
    at += got;
    len -= (size_t)got;
  }
}

static const struct clock_source real_source = {real_wall, real_mono, real_random, NULL};
static const struct clock_source *source = &real_source;

void clock_set_source(const struct clock_source *other) {
  source = other ? other : &real_source;
}

int64_t clock_wall_us(void) {
  return source->wall_us(source->arg);
}

int64_t clock_mono_us(void) {
  return source->mono_us(source->arg);
}

void clock_random(void *bytes, size_t len) {
  source->random(source->arg, bytes, len);
}

uint64_t clock_random_u64(void) {
  uint64_t value;
  clock_random(&value, sizeof value);
  return value;
}

int64_t clock_jitter_ms(int64_t base_ms, double share) {
  double unit = (double)(clock_random_u64() >> 11) * 0x1.0p-53; /* [0, 1) */
  double spread = (double)base_ms * share;
  return base_ms + (int64_t)((2 * unit - 1) * spread);
}

void clock_format_rfc3339(int64_t wall_us, char out[CLOCK_RFC3339_SIZE]) {
  int64_t seconds = wall_us / US_PER_SECOND, rest = wall_us % US_PER_SECOND;
  if (rest < 0) {
    rest += US_PER_SECOND;
    seconds--;
  }
  time_t when = (time_t)seconds;
  struct tm tm;
  ORCH_ASSERT(gmtime_r(&when, &tm) != NULL); /* 63 bits of microseconds stay within a year of int */
  snprintf(out, CLOCK_RFC3339_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
           tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(rest / 1000));
}

/* Exactly `count` digits at *at, within [low, high]; moves *at behind them. */
static bool digits(const char **at, int count, int low, int high, int *ret_value) {
  int value = 0;
  for (int i = 0; i < count; i++) {
    char c = (*at)[i];
    if (c < '0' || c > '9') return false;
    value = value * 10 + (c - '0');
  }
  if (value < low || value > high) return false;
  *at += count;
  *ret_value = value;
  return true;
}

static bool letter(const char **at, const char *any_of) {
  if (!**at || !strchr(any_of, **at)) return false;
  (*at)++;
  return true;
}

/* The fraction after a dot as microseconds; digits after the sixth are read and dropped. */
static bool fraction(const char **at, int *ret_us) {
  if (**at != '.') return true;
  (*at)++;
  int scale = US_PER_SECOND / 10, us = 0, count = 0;
  for (; **at >= '0' && **at <= '9'; (*at)++, count++, scale /= 10) us += (**at - '0') * scale;
  *ret_us = us;
  return count > 0 && count <= 12;
}

static bool zone(const char **at, int *ret_minutes) {
  if (letter(at, "Zz")) return true;
  bool west = **at == '-';
  int hours, minutes;
  if (!letter(at, "+-") || !digits(at, 2, 0, 23, &hours) || !letter(at, ":") || !digits(at, 2, 0, 59, &minutes))
    return false;
  *ret_minutes = (hours * 60 + minutes) * (west ? -1 : 1);
  return true;
}

static int days_in_month(int year, int month) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return days[month - 1] + (month == 2 && leap);
}

bool clock_parse_rfc3339(const char *text, int64_t *ret_wall_us) {
  const char *at = text;
  int year, month, day, hour, minute, second, us = 0, offset = 0;
  if (!digits(&at, 4, 0, 9999, &year) || !letter(&at, "-") || !digits(&at, 2, 1, 12, &month) || !letter(&at, "-") ||
      !digits(&at, 2, 1, days_in_month(year, month), &day) || !letter(&at, "Tt ") || !digits(&at, 2, 0, 23, &hour) ||
      !letter(&at, ":") || !digits(&at, 2, 0, 59, &minute) || !letter(&at, ":") || !digits(&at, 2, 0, 60, &second) ||
      !fraction(&at, &us) || !zone(&at, &offset) || *at)
    return false;
  struct tm tm = {.tm_year = year - 1900,
                  .tm_mon = month - 1,
                  .tm_mday = day,
                  .tm_hour = hour,
                  .tm_min = minute,
                  .tm_sec = second}; /* a leap second becomes the next minute's first */
  int64_t seconds = (int64_t)timegm(&tm) - (int64_t)offset * 60;
  *ret_wall_us = seconds * US_PER_SECOND + us;
  return true;
}
