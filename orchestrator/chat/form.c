#include "chat/form.h"

#include <stdint.h>
#include <string.h>

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* Length of the UTF-8 sequence at `at`, or 0 when it is overlong, a surrogate, beyond U+10FFFF or cut short. */
static size_t utf8_sequence(const uint8_t *at, size_t left) {
  uint8_t c = at[0];
  if (c < 0x80) return 1;
  size_t len = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
  if (len == 0 || len > left) return 0;
  for (size_t i = 1; i < len; i++)
    if ((at[i] & 0xc0) != 0x80) return 0;
  if ((c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] > 0x9f)) return 0;
  if ((c == 0xf0 && at[1] < 0x90) || (c == 0xf4 && at[1] > 0x8f)) return 0;
  return len;
}

static bool utf8_valid(const char *text, size_t len) {
  for (size_t at = 0; at < len;) {
    size_t step = utf8_sequence((const uint8_t *)text + at, len - at);
    if (step == 0) return false;
    at += step;
  }
  return true;
}

/* Decodes into a text of the arena. The decoded text is never longer than the encoded one. */
static const char *decode(struct arena *arena, const char *text, size_t len, struct err *err) {
  char *out = arena_alloc(arena, len + 1);
  if (out == NULL) {
    (void)err_set(err, ERR_LIMIT, "the form is too large");
    return NULL;
  }
  size_t used = 0;
  for (size_t i = 0; i < len; i++) {
    char c = text[i] == '+' ? ' ' : text[i];
    if (c == '%') {
      int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
      int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        (void)err_set(err, ERR_INVALID, "the form has a malformed percent escape");
        return NULL;
      }
      c = (char)(high << 4 | low);
      i += 2;
    }
    if (c == '\0') {
      (void)err_set(err, ERR_INVALID, "the form has a NUL character");
      return NULL;
    }
    out[used++] = c;
  }
  out[used] = '\0';
  if (!utf8_valid(out, used)) {
    (void)err_set(err, ERR_INVALID, "the form is not UTF-8");
    return NULL;
  }
  return out;
}

bool form_field(struct arena *arena, const char *body, size_t len, const char *name, const char **ret_value,
                struct err *err) {
  const char *found = NULL;
  size_t fields = 0;
  for (size_t at = 0; at < len;) {
    const char *field = body + at;
    const char *end = memchr(field, '&', len - at);
    size_t field_len = end != NULL ? (size_t)(end - field) : len - at;
    at += field_len + 1;
    if (++fields > FORM_FIELDS_MAX) return err_set(err, ERR_LIMIT, "the form has over %d fields", FORM_FIELDS_MAX);
    const char *equals = memchr(field, '=', field_len);
    size_t key_len = equals != NULL ? (size_t)(equals - field) : field_len;
    /* An encoded name is decoded as well: "%70ayload" must not hide a second payload. */
    const char *key = decode(arena, field, key_len, err);
    if (key == NULL) return false;
    if (strcmp(key, name) != 0) continue;
    if (found != NULL) return err_set(err, ERR_INVALID, "the form has the field \"%s\" twice", name);
    found = equals != NULL ? decode(arena, equals + 1, field_len - key_len - 1, err) : "";
    if (found == NULL) return false;
  }
  *ret_value = found;
  return true;
}
