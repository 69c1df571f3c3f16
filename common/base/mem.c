#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Says why and stops; uses nothing that could need memory itself. */
_Noreturn static void die(const char *what, const char *detail, const char *file, int line) {
  char text[512];
  int len = snprintf(text, sizeof text, "orch: %s: %s (%s:%d)\n", what, detail, file, line);
  if (len > 0 && write(STDERR_FILENO, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1) < 0) abort();
  abort();
}

void mem_magic_failed(const char *what, const char *file, int line) {
  die("wrong object behind a pointer", what, file, line);
}

void mem_assert_failed(const char *what, const char *file, int line) {
  die("broken invariant", what, file, line);
}

static void *checked(void *ptr) {
  if (!ptr) die("out of memory", "stopping, the database holds all state", __FILE__, __LINE__);
  return ptr;
}

void *mem_alloc(size_t size) {
  return checked(calloc(1, size ? size : 1));
}

void *mem_calloc(size_t count, size_t size) {
  return count && size ? checked(calloc(count, size)) : mem_alloc(1);
}

void *mem_realloc(void *old, size_t size) {
  return checked(realloc(old, size ? size : 1));
}

char *mem_strdup(const char *text) {
  return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len) {
  len = strnlen(text, len);
  char *copy = checked(malloc(len + 1));
  memcpy(copy, text, len);
  copy[len] = 0;
  return copy;
}

char *mem_printf(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  char *text = NULL;
  int len = vasprintf(&text, fmt, args);
  va_end(args);
  return checked(len < 0 ? NULL : text);
}

void mem_free(void *ptr) {
  free(ptr);
}

void mem_free_secret(char *text) {
  if (!text) return;
  explicit_bzero(text, strlen(text));
  free(text);
}
