#include "base/strbuf.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void strbuf_init(struct strbuf *sb, size_t max_bytes) {
  *sb = (struct strbuf){.max = max_bytes};
}

void strbuf_fini(struct strbuf *sb) {
  mem_free(sb->data);
  *sb = (struct strbuf){.max = sb->max};
}

void strbuf_reset(struct strbuf *sb) {
  sb->len = 0;
  sb->failed = false;
  if (sb->data) sb->data[0] = 0;
}

char *strbuf_take(struct strbuf *sb) {
  char *text = sb->data ? sb->data : mem_strdup("");
  *sb = (struct strbuf){.max = sb->max};
  return text;
}

const char *strbuf_text(const struct strbuf *sb) {
  return sb->data ? sb->data : "";
}

/* Room for `more` bytes and the NUL; false and sticky once the cap is passed. */
static bool grow(struct strbuf *sb, size_t more) {
  if (sb->failed || more > sb->max || sb->len > sb->max - more) {
    sb->failed = true;
    return false;
  }
  size_t need = sb->len + more + 1;
  if (need <= sb->size) return true;
  size_t size = sb->size ? sb->size : 64;
  while (size < need) size = size > SIZE_MAX / 2 ? need : size * 2;
  if (size > sb->max + 1 && sb->max < SIZE_MAX) size = sb->max + 1;
  sb->data = mem_realloc(sb->data, size);
  sb->size = size;
  return true;
}

void strbuf_add(struct strbuf *sb, const void *bytes, size_t len) {
  if (!grow(sb, len)) return;
  if (len) memcpy(sb->data + sb->len, bytes, len);
  sb->len += len;
  sb->data[sb->len] = 0;
}

void strbuf_puts(struct strbuf *sb, const char *text) {
  if (text) strbuf_add(sb, text, strlen(text));
}

void strbuf_putc(struct strbuf *sb, char c) {
  strbuf_add(sb, &c, 1);
}

void strbuf_vprintf(struct strbuf *sb, const char *fmt, va_list args) {
  va_list again;
  va_copy(again, args);
  int len = vsnprintf(NULL, 0, fmt, args);
  if (len < 0) {
    sb->failed = true;
  } else if (grow(sb, (size_t)len)) {
    vsnprintf(sb->data + sb->len, (size_t)len + 1, fmt, again);
    sb->len += (size_t)len;
  }
  va_end(again);
}

void strbuf_printf(struct strbuf *sb, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  strbuf_vprintf(sb, fmt, args);
  va_end(args);
}
