/* One field out of an application/x-www-form-urlencoded body, with bounds.
 *
 * "+" and "%20" are both a space. A truncated or bad escape, NUL, invalid UTF-8, and the asked field given twice are
 * refused rather than guessed at. */
#ifndef ORCH_CHAT_FORM_H
#define ORCH_CHAT_FORM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/mem.h"

#define FORM_FIELDS_MAX 64

/* Sets *ret_value to the decoded text of field `name` in the arena, or to NULL when the form has no such field; a name
 * without "=" is an empty text. ERR_INVALID for a malformed field, ERR_LIMIT for too many fields or a full arena. */
ORCH_MUST_CHECK bool form_field(struct arena *arena, const char *body, size_t len, const char *name,
                                const char **ret_value, struct err *err);

#endif
