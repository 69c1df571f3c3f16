/* "Did you mean …?": the known word that is nearest to a mistyped one. */
#ifndef ORCH_CONF_NEAREST_H
#define ORCH_CONF_NEAREST_H

/* The nearest of `known` (ends with NULL) by edit distance (insert, delete, replace, swap of neighbours), when it is
 * near enough to be meant: at most a third of the longer word, at least one edit. NULL otherwise. First one wins. */
const char *nearest_word(const char *word, const char *const *known);

#endif
