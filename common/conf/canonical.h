/* JSON in one agreed form: keys sorted, no white space, so that equal documents have equal bytes and one digest. */
#ifndef ORCH_CONF_CANONICAL_H
#define ORCH_CONF_CANONICAL_H

#include <jansson.h>

#include "base/digest.h"

/* mem_free() it; reals with up to 15 significant digits. */
char *canonical_text(const json_t *document);
void canonical_digest(const json_t *document, char out[DIGEST_TEXT_SIZE]);

#endif
