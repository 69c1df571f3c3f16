#include "environment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void environment_init(struct environment *environment) {
  memset(environment, 0, sizeof *environment);
}

void environment_fini(struct environment *environment) {
  for (size_t i = 0; i < environment->count; i++) mem_free_secret(environment->items[i]);
  environment_init(environment);
}

void environment_add(struct environment *environment, const char *name, const char *value) {
  if (environment->failed) return;
  size_t len = strlen(name);
  if (environment->count == ENVIRONMENT_MAX) {
    environment->failed = true;
    err_set(&environment->err, ERR_LIMIT, "a step can have %d variables at most", ENVIRONMENT_MAX);
    return;
  }
  for (size_t i = 0; i < environment->count; i++)
    if (strncmp(environment->items[i], name, len) == 0 && environment->items[i][len] == '=') {
      environment->failed = true;
      err_set(&environment->err, ERR_INVALID, "two values for the variable %s", name);
      err_hint(&environment->err, "rename a data source, a step or a secret");
      return;
    }
  environment->items[environment->count++] = mem_printf("%s=%s", name, value);
}

void environment_add_int(struct environment *environment, const char *name, int64_t value) {
  char text[32];
  snprintf(text, sizeof text, "%" PRId64, value);
  environment_add(environment, name, text);
}

void environment_add_named(struct environment *environment, const char *prefix, const char *name, const char *value) {
  CLEANUP(mem_free_p) char *full = mem_printf("%s%s", prefix, name);
  for (char *at = full; *at; at++) {
    if (*at >= 'a' && *at <= 'z') *at = (char)(*at - 'a' + 'A');
    if (*at == '-') *at = '_';
  }
  environment_add(environment, full, value);
}
