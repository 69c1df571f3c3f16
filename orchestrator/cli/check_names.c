#include "cli/check_names.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

/* Does `name` end with `word` as a word of its own: all of it, behind '_' or '-', or with a capital after a small one?
 */
static bool ends_with(const char *name, const char *word) {
  size_t len = strlen(name), part = strlen(word);
  if (len < part || strcasecmp(name + len - part, word) != 0) return false;
  const char *at = name + len - part;
  if (at == name || at[-1] == '_' || at[-1] == '-') return true;
  return isupper((unsigned char)at[0]) && islower((unsigned char)at[-1]);
}

bool check_is_calendar(const char *column) {
  static const char *const endings[] = {"month", "year", "date",      "week",     "weekday", "hour", "minute",
                                        "day",   "id",   "timestamp", "datetime", "uuid",    "at",   "ts"};
  static const char *const alone[] = {"time", "index", "row", "rownum", "row_number", "day_of_week", "day_of_year"};
  const char *dot = strrchr(column, '.'), *name = dot != NULL ? dot + 1 : column;
  for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
    if (ends_with(name, endings[i])) return true;
  }
  for (size_t i = 0; i < ARRAY_LEN(alone); i++) {
    if (strcasecmp(name, alone[i]) == 0) return true;
  }
  return false;
}
