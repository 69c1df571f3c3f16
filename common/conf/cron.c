#include "conf/cron.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "conf/nearest.h"

#define ZONE_FOLDER "/usr/share/zoneinfo"

struct field {
  const char *name;
  int min, max;
  const char *const *names; /* of the values from `first_name` on; NULL: none */
  int first_name, count_names;
};

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
static const struct field fields[] = {
    {"minute", 0, 59, NULL, 0, 0},           {"hour", 0, 23, NULL, 0, 0},
    {"day of the month", 1, 31, NULL, 0, 0}, {"month", 1, 12, month_names, 1, 12},
    {"weekday", 0, 7, weekday_names, 0, 7},
};
enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

static bool wrong(const struct field *field, const char *part, struct err *err) {
  const char *names = field->names == month_names     ? " or jan to dec"
                      : field->names == weekday_names ? " (0 and 7 are Sunday) or sun to sat"
                                                      : "";
  return err_set(err, ERR_INVALID,
                 "the %s is '%.40s', expected %d to %d%s, a range as in %d-%d, a step as in */2, or *", field->name,
                 part, field->min, field->max, names, field->min + 1, field->min + 3);
}

/* A number or a name at `*at`, which is moved behind it; -1 when there is none. */
static int take_value(const struct field *field, const char **at) {
  size_t digits = strspn(*at, "0123456789");
  if (digits > 0) {
    if (digits > 2) return -1;
    int value = (int)strtol(*at, NULL, 10);
    *at += digits;
    return value >= field->min && value <= field->max ? value : -1;
  }
  for (int i = 0; i < field->count_names; i++) {
    if (strncasecmp(*at, field->names[i], 3) != 0) continue;
    *at += 3;
    return field->first_name + i;
  }
  return -1;
}

/* One item of a list: `*`, `7`, `1-5`, with a step behind the first and the last. Adds its values to `set`. */
static bool take_item(const struct field *field, const char *part, uint64_t *set, struct err *err) {
  const char *at = part;
  int low = field->min, high = field->max, step = 1;
  bool range = *at == '*';
  if (range) {
    at++;
    if (field->names == weekday_names) high = 6;
  } else {
    low = high = take_value(field, &at);
    if (low < 0) return wrong(field, part, err);
    if (*at == '-') {
      at++;
      range = true;
      high = take_value(field, &at);
      if (high < 0) return wrong(field, part, err);
      if (field->names == weekday_names && high == 0 && low > 0) high = 7;
      if (high < low)
        return err_set(err, ERR_INVALID, "the %s is '%.40s', expected a range that goes up", field->name, part);
    }
  }
  if (*at == '/') {
    size_t digits = strspn(at + 1, "0123456789");
    step = digits > 0 && digits <= 2 ? (int)strtol(at + 1, NULL, 10) : 0;
    at += 1 + digits;
    if (!range || step < 1 || step > field->max) {
      return err_set(err, ERR_INVALID, "the %s is '%.40s', expected a step from 1 to %d behind * or a range",
                     field->name, part, field->max);
    }
  }
  if (*at != '\0') return wrong(field, part, err);
  for (int value = low; value <= high; value += step) *set |= UINT64_C(1) << value;
  return true;
}

/* `text` is cut into its items in place. */
static bool take_field(const struct field *field, char *text, uint64_t *set, struct err *err) {
  for (char *item = text; item != NULL;) {
    char *comma = strchr(item, ',');
    if (comma != NULL) *comma = '\0';
    if (!take_item(field, item, set, err)) return false;
    item = comma != NULL ? comma + 1 : NULL;
  }
  return true;
}

/* A name of the zone database is a compiled zone file below its folder. */
static bool zone_exists(const char *zone) {
  static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";
  if (strcmp(zone, "UTC") == 0) return true;
  size_t len = strlen(zone);
  if (len == 0 || len > CRON_ZONE_MAX || strspn(zone, chars) != len || zone[0] == '/') return false;
  /* The same zones with leap seconds, which the database does not know. */
  if (strncmp(zone, "right/", 6) == 0 || strncmp(zone, "posix/", 6) == 0) return false;
  char path[sizeof ZONE_FOLDER + CRON_ZONE_MAX + 2], magic[4] = "";
  snprintf(path, sizeof path, "%s/%s", ZONE_FOLDER, zone);
  FILE *file = fopen(path, "re");
  if (file == NULL) return false;
  bool fine = fread(magic, 1, sizeof magic, file) == sizeof magic && memcmp(magic, "TZif", 4) == 0;
  fclose(file);
  return fine;
}

/* The entry of `folder` that is called `name`, or nearest to it; false when none is near. */
static bool nearest_entry(const char *folder, const char *name, char *out, size_t size) {
  enum { ENTRIES_MAX = 512 };
  char *names[ENTRIES_MAX + 1];
  size_t count = 0;
  const char *found = NULL;
  DIR *dir = opendir(folder);
  for (const struct dirent *entry; dir != NULL && count < ENTRIES_MAX && (entry = readdir(dir)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    names[count++] = mem_strdup(entry->d_name);
    if (strcmp(entry->d_name, name) == 0) found = names[count - 1];
  }
  names[count] = NULL;
  if (dir != NULL) closedir(dir);
  if (found == NULL) found = nearest_word(name, (const char *const *)names);
  if (found != NULL) snprintf(out, size, "%s", found);
  for (size_t i = 0; i < count; i++) mem_free(names[i]);
  return found != NULL;
}

/* "Europe/Berlin" for "europe/Berln": each part the nearest entry of the zone files. False when there is none. */
static bool nearest_zone(const char *zone, char out[CRON_ZONE_MAX + 1]) {
  char folder[sizeof ZONE_FOLDER + CRON_ZONE_MAX + 2] = ZONE_FOLDER, part[CRON_ZONE_MAX + 1], near[256];
  if (strlen(zone) > CRON_ZONE_MAX || strstr(zone, "..") != NULL) return false;
  for (const char *at = zone; at != NULL; at = strchr(at, '/')) {
    at += *at == '/';
    snprintf(part, sizeof part, "%.*s", (int)strcspn(at, "/"), at);
    if (!nearest_entry(folder, part, near, sizeof near)) return false;
    size_t len = strlen(folder);
    if (len + 1 + strlen(near) >= sizeof folder) return false;
    snprintf(folder + len, sizeof folder - len, "/%s", near);
  }
  snprintf(out, CRON_ZONE_MAX + 1, "%s", folder + sizeof ZONE_FOLDER);
  return zone_exists(out);
}

static bool no_zone(const char *zone, struct err *err) {
  char near[CRON_ZONE_MAX + 1] = "";
  bool any = nearest_zone(zone, near);
  return err_set(err, ERR_INVALID, "there is no time zone '%.60s' on this machine, expected %s%s", zone,
                 any ? near : "one as in Europe/Berlin, or UTC", any ? "?" : "");
}

/* Is there a month that has one of the days? Weekdays come round: every month and day meets each of them some year. */
static bool ever_matches(const struct cron *cron) {
  static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (!cron->day_any && !cron->weekday_any) return true;
  for (int month = 1; month <= 12; month++) {
    uint64_t in_month = ((UINT64_C(1) << (days[month - 1] + 1)) - 1) & cron->day;
    if ((cron->month >> month & 1) != 0 && in_month != 0) return true;
  }
  return false;
}

bool cron_parse(const char *text, struct cron *ret, struct err *err) {
  char copy[CRON_TEXT_MAX + 1], *words[FIELDS + 1] = {NULL};
  size_t len = strlen(text), count = 0;
  if (len > CRON_TEXT_MAX) {
    return err_set(err, ERR_INVALID, "it has %zu bytes, expected at most %d", len, CRON_TEXT_MAX);
  }
  memcpy(copy, text, len + 1);
  for (char *at = copy + strspn(copy, " "); *at != '\0'; at += strspn(at, " ")) {
    if (count <= FIELDS) words[count < FIELDS ? count : FIELDS] = at;
    count++;
    at += strcspn(at, " ");
    if (*at != '\0') *at++ = '\0';
  }
  if (count < FIELDS || count > FIELDS + 1) {
    return err_set(
        err, ERR_INVALID,
        "it has %zu fields, expected minute, hour, day, month and weekday, and then a time zone if it is not "
        "UTC, as in '0 3 * * 1 Europe/Berlin'",
        count);
  }
  struct cron cron = {.day_any = words[DAY][0] == '*', .weekday_any = words[WEEKDAY][0] == '*'};
  uint64_t *const sets[FIELDS] = {&cron.minute, &cron.hour, &cron.day, &cron.month, &cron.weekday};
  for (int i = 0; i < FIELDS; i++) {
    if (!take_field(&fields[i], words[i], sets[i], err)) return false;
  }
  cron.weekday = (cron.weekday | cron.weekday >> 7) & 0x7f;
  const char *zone = words[FIELDS] != NULL ? words[FIELDS] : "UTC";
  if (!zone_exists(zone)) return no_zone(zone, err);
  snprintf(cron.zone, sizeof cron.zone, "%s", zone);
  if (!ever_matches(&cron)) return err_set(err, ERR_INVALID, "it never comes: no such month has such a day");
  *ret = cron;
  return true;
}

bool cron_matches(const struct cron *cron, int minute, int hour, int day, int month, int weekday) {
  bool day_fits = (cron->day >> day & 1) != 0, weekday_fits = (cron->weekday >> weekday & 1) != 0;
  bool either = !cron->day_any && !cron->weekday_any;
  return (cron->minute >> minute & 1) != 0 && (cron->hour >> hour & 1) != 0 && (cron->month >> month & 1) != 0 &&
         (either ? day_fits || weekday_fits : day_fits && weekday_fits);
}

static json_t *numbers(uint64_t set) {
  json_t *list = json_array();
  for (int i = 0; i < 64; i++) {
    if ((set >> i & 1) != 0) json_array_append_new(list, json_integer(i));
  }
  return list;
}

json_t *cron_json(const struct cron *cron, const char *text) {
  return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:b}", "text", text, "zone", cron->zone, "minute",
                   numbers(cron->minute), "hour", numbers(cron->hour), "day", numbers(cron->day), "month",
                   numbers(cron->month), "weekday", numbers(cron->weekday), "day_any", cron->day_any, "weekday_any",
                   cron->weekday_any);
}
