#include "conf/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static bool is_name(const char *name) {
  size_t len = strlen(name);
  return len > 0 && len <= SECRET_NAME_MAX && name[0] >= 'A' && name[0] <= 'Z' &&
         name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0';
}

static const char *file_variable(const char *name) {
  char variable[SECRET_NAME_MAX + sizeof "_FILE"];
  snprintf(variable, sizeof variable, "%s_FILE", name);
  return getenv(variable);
}

bool secret_is_set(const char *name) {
  return is_name(name) && (getenv(name) != NULL || file_variable(name) != NULL);
}

/* Copies without the white space that editors and `echo` leave at the end. */
static char *take_text(const char *name, const char *text, size_t len, struct err *err) {
  while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL) len--;
  if (len > SECRET_BYTES_MAX) {
    (void)err_set(err, ERR_LIMIT, "the secret %s is over %d bytes", name, SECRET_BYTES_MAX);
    return NULL;
  }
  if (len == 0 || memchr(text, '\0', len) != NULL) {
    (void)err_set(err, len == 0 ? ERR_NOT_FOUND : ERR_INVALID, "the secret %s is %s", name,
                  len == 0 ? "empty" : "no text");
    return NULL;
  }
  return mem_strndup(text, len);
}

static char *read_file(const char *name, const char *path, struct err *err) {
  char text[SECRET_BYTES_MAX + 2];
  size_t len = 0;
  ssize_t got = -1;
  /* O_NONBLOCK: a named pipe in its place must not stop the loop. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  int why = errno;
  if (fd >= 0) {
    while (len < sizeof text && (got = read(fd, text + len, sizeof text - len)) != 0) {
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) break;
      len += (size_t)got;
    }
    why = errno;
    close(fd);
  }
  char *secret = NULL;
  if (fd < 0 || got < 0)
    (void)err_errno(err, why, "cannot read the file that %s_FILE names", name);
  else
    secret = take_text(name, text, len, err);
  explicit_bzero(text, sizeof text);
  return secret;
}

char *secret_get(const char *name, struct err *err) {
  if (!is_name(name)) {
    (void)err_set(err, ERR_INVALID, "a secret's name consists of A-Z, 0-9 and _");
    return NULL;
  }
  const char *text = getenv(name), *path = file_variable(name);
  if (text != NULL && path != NULL) {
    (void)err_set(err, ERR_INVALID, "both %s and %s_FILE are set", name, name);
    return NULL;
  }
  if (text == NULL && path == NULL) {
    (void)err_set(err, ERR_NOT_FOUND, "the secret %s is not set", name);
    (void)err_hint(err, "set %s or %s_FILE in the environment of the server", name, name);
    return NULL;
  }
  return path != NULL ? read_file(name, path, err) : take_text(name, text, strlen(text), err);
}
