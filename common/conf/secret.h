/* Secrets from the environment: NAME holds the text, or NAME_FILE the path of a file that does.
 *
 * The file is read at every use, so that a rotated secret needs no restart. Texts are wiped when released and never
 * logged: errors name the variable, not its content. */
#ifndef ORCH_CONF_SECRET_H
#define ORCH_CONF_SECRET_H

#include <stdbool.h>

#include "base/error.h"

#define SECRET_BYTES_MAX 8192
#define SECRET_NAME_MAX 128

/* Returns the text without white space at its end (mem_free_secret() it), or NULL: ERR_NOT_FOUND when neither variable
 * is set or the text is empty, ERR_INVALID when the name is not [A-Z][A-Z0-9_]* or both are set, ERR_IO when the file
 * cannot be read, ERR_LIMIT when it is longer than SECRET_BYTES_MAX. */
ORCH_MUST_CHECK char *secret_get(const char *name, struct err *err);
/* Whether either variable is set. */
bool secret_is_set(const char *name);

#endif
