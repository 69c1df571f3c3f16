#include "base/log.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"

#define LINE_MAX_BYTES 8192
#define VALUE_MAX_BYTES 2048 /* of one text before escaping */

static enum log_level least_level = LOG_INFO;
static bool as_json;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level least) {
  least_level = least;
}

void log_set_json(bool json) {
  as_json = json;
}

bool log_parse_level(const char *name, enum log_level *ret_level) {
  for (unsigned i = 0; i < ARRAY_LEN(level_names); i++)
    if (strcmp(name, level_names[i]) == 0) {
      *ret_level = (enum log_level)i;
      return true;
    }
  return false;
}

static void add_value(struct strbuf *sb, const struct log_field *field) {
  char cut[VALUE_MAX_BYTES + 1];
  switch (field->kind) {
  case LOG_FIELD_INT:
    strbuf_printf(sb, "%lld", (long long)field->integer);
    break;
  case LOG_FIELD_REAL:
    if (as_json && !isfinite(field->real))
      strbuf_puts(sb, "null");
    else
      strbuf_printf(sb, "%.6g", field->real);
    break;
  case LOG_FIELD_TEXT:
    memcpy(cut, field->text, strnlen(field->text, VALUE_MAX_BYTES));
    cut[strnlen(field->text, VALUE_MAX_BYTES)] = 0;
    if (as_json)
      strbuf_add_json(sb, cut);
    else
      strbuf_add_logfmt(sb, cut);
    break;
  }
}

static void add_head(struct strbuf *line, enum log_level level, const char *event) {
  char when[CLOCK_RFC3339_SIZE];
  clock_format_rfc3339(clock_wall_us(), when);
  if (as_json) {
    strbuf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":", when, level_names[level]);
    strbuf_add_json(line, event);
  } else {
    strbuf_printf(line, "%s %s %s", when, level_names[level], event);
  }
}

/* One write() per line, so that lines of several processes on one pipe do not mix (up to PIPE_BUF). */
static void emit(struct strbuf *line) {
  strbuf_puts(line, as_json ? "}\n" : "\n");
  const char *at = strbuf_text(line);
  for (size_t left = line->len; left > 0;) {
    ssize_t done = write(STDERR_FILENO, at, left);
    if (done <= 0) return; /* nowhere to complain */
    at += done;
    left -= (size_t)done;
  }
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count) {
  if (level < least_level) return;
  CLEANUP(strbuf_fini_p) struct strbuf line, part;
  strbuf_init(&line, 2 * LINE_MAX_BYTES);
  strbuf_init(&part, LINE_MAX_BYTES);
  add_head(&line, level, event);
  for (size_t i = 1; i < count; i++) {
    if (fields[i].kind == LOG_FIELD_TEXT && !fields[i].text) continue;
    strbuf_reset(&part);
    if (as_json) {
      strbuf_putc(&part, ',');
      strbuf_add_json(&part, fields[i].key);
      strbuf_putc(&part, ':');
    } else {
      strbuf_printf(&part, " %s=", fields[i].key);
    }
    add_value(&part, &fields[i]);
    if (part.failed || line.len + part.len > LINE_MAX_BYTES) {
      strbuf_puts(&line, as_json ? ",\"cut\":1" : " cut=1");
      break;
    }
    strbuf_add(&line, strbuf_text(&part), part.len);
  }
  emit(&line);
}

void log_err(enum log_level level, const char *event, const struct err *err) {
  const char *slash = err->file ? strrchr(err->file, '/') : NULL;
  const char *file = slash ? slash + 1 : err->file;
  log_event(level, event, LOG_S("code", err_code_name(err->code)), LOG_S("error", err->text),
            LOG_S("hint", err->hint[0] ? err->hint : NULL), LOG_S("sqlstate", err->sqlstate[0] ? err->sqlstate : NULL),
            LOG_S("file", file), LOG_I("line", err->line));
}
