#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* libuv's own numbers lie beyond errno's; base does not link libuv. */
#define UV_NUMBER_EOF (-4095)
#define UV_NUMBER_EAI_LAST (-3014)
#define UV_NUMBER_EAI_FIRST (-3000)

/* Makes one printable line of what vsnprintf cut anywhere: no control characters, no half of a UTF-8 sequence. */
static void tidy(char *text) {
  size_t len = strlen(text);
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) text[i] = ' ';
  while (len > 0 && text[len - 1] == ' ') text[--len] = 0;
  size_t start = len;
  while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) start--;
  if (start == 0) return;
  unsigned char lead = (unsigned char)text[start - 1];
  size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  if (need > 1 && len - (start - 1) < need) text[start - 1] = 0;
}

static void fill(struct err *err, enum err_code code, const char *file, int line, const char *text) {
  err->code = code;
  snprintf(err->text, sizeof err->text, "%s", text);
  tidy(err->text);
  err->hint[0] = 0;
  err->sqlstate[0] = 0;
  err->file = file;
  err->line = line;
}

bool err_set_at(struct err *err, enum err_code code, const char *file, int line, const char *fmt, ...) {
  if (!err) return false;
  char text[sizeof err->text]; /* on the side: the arguments may point into `err` */
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  fill(err, code, file, line, text);
  return false;
}

static const char *errnum_text(int errnum, char *buffer, size_t size) {
  if (errnum == UV_NUMBER_EOF) return "end of file";
  if (errnum <= UV_NUMBER_EAI_FIRST && errnum >= UV_NUMBER_EAI_LAST) return "the name could not be resolved";
  return strerror_r(errnum < 0 ? -errnum : errnum, buffer, size);
}

bool err_errno_at(struct err *err, int errnum, const char *file, int line, const char *fmt, ...) {
  if (!err) return false;
  char what[sizeof err->text], text[sizeof err->text], buffer[128];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  const char *why = errnum_text(errnum, buffer, sizeof buffer);
  snprintf(text, sizeof text, "%.*s: %s", (int)(sizeof text - strlen(why) - 3), what, why);
  fill(err, ERR_IO, file, line, text);
  return false;
}

bool err_hint(struct err *err, const char *fmt, ...) {
  if (!err) return false;
  char hint[sizeof err->hint];
  va_list args;
  va_start(args, fmt);
  vsnprintf(hint, sizeof hint, fmt, args);
  va_end(args);
  snprintf(err->hint, sizeof err->hint, "%s", hint);
  tidy(err->hint);
  return false;
}

bool err_prefix(struct err *err, const char *fmt, ...) {
  if (!err) return false;
  char what[sizeof err->text], text[sizeof err->text];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  snprintf(text, sizeof text, "%s: %s", what, err->text);
  snprintf(err->text, sizeof err->text, "%s", text);
  tidy(err->text);
  return false;
}

static const struct {
  const char *name;
  int exit_code, http_status;
} codes[] = {
    [ERR_NONE] = {"none", 0, 200},
    [ERR_INTERNAL] = {"internal", 1, 500},
    [ERR_USAGE] = {"usage", 2, 400},
    [ERR_INVALID] = {"invalid", 2, 422},
    [ERR_NOT_FOUND] = {"not_found", 3, 404},
    [ERR_REFUSED] = {"refused", 4, 409},
    [ERR_DENIED] = {"denied", 4, 403},
    [ERR_CONFLICT] = {"conflict", 4, 409},
    [ERR_LEASE_LOST] = {"lease_lost", 4, 409},
    [ERR_DB_DOWN] = {"db_down", 5, 503},
    [ERR_DB] = {"db", 1, 500},
    [ERR_IO] = {"io", 1, 500},
    [ERR_LIMIT] = {"limit", 2, 413},
    [ERR_TIMEOUT] = {"timeout", 6, 504},
};

static unsigned known(enum err_code code) {
  return (unsigned)code < sizeof codes / sizeof *codes ? (unsigned)code : (unsigned)ERR_INTERNAL;
}

const char *err_code_name(enum err_code code) {
  return codes[known(code)].name;
}

int err_exit_code(enum err_code code) {
  return codes[known(code)].exit_code;
}

int err_http_status(enum err_code code) {
  return codes[known(code)].http_status;
}
