/* Reads the documents that pages are made from: every member may be missing, null or of another type, and then it is
 * simply not there. */
#ifndef ORCH_PAGES_DOC_H
#define ORCH_PAGES_DOC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* NULL when it is no text, or an empty one. Lives as long as the document. */
const char *doc_text(const json_t *object, const char *key);
/* NAN when it is no number. */
double doc_number(const json_t *object, const char *key);
/* 0 when it is no whole number. */
json_int_t doc_int(const json_t *object, const char *key);
/* NULL when it is no object, or an empty one. */
const json_t *doc_object(const json_t *object, const char *key);
bool doc_is(const json_t *object, const char *key, const char *text);
/* The numbers of an array, NAN for what is none: as many as fit into `size` are written. Returns how many. */
size_t doc_numbers(const json_t *array, double *out, size_t size);
/* Microseconds since 1970; false when it is no RFC 3339 time. */
bool doc_time(const json_t *object, const char *key, long long *ret_us);

#endif
