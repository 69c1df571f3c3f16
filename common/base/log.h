/* One structured line per event on stderr: time, level, event name, then key=value pairs with ids.
 *
 *     log_event(LOG_INFO, "gate.opened", LOG_I("gate", id), LOG_S("pipeline", name));
 *     -> 2026-01-05T09:04:05.123Z info gate.opened gate=12 pipeline=housing
 *
 * Values are escaped; secrets are never passed. `log_set_json(true)` writes the same as JSON objects. */
#ifndef ORCH_BASE_LOG_H
#define ORCH_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
  const char *key;
  enum { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_REAL } kind;
  const char *text; /* NULL is left out */
  int64_t integer;
  double real;
};
#define LOG_S(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_TEXT, .text = (v)})
#define LOG_I(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_INT, .integer = (int64_t)(v)})
#define LOG_F(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_REAL, .real = (v)})

#define log_event(level, event, ...)                                                                                   \
  log_write((level), (event), (struct log_field[]){{0}, ##__VA_ARGS__},                                                \
            sizeof((struct log_field[]){{0}, ##__VA_ARGS__}) / sizeof(struct log_field))
/* The first field is a sentinel and is skipped. */
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count);

/* An error as one line: event, code, text, hint, place. */
void log_err(enum log_level level, const char *event, const struct err *err);

void log_set_level(enum log_level least);
void log_set_json(bool json);
bool log_parse_level(const char *name, enum log_level *ret_level);

#endif
