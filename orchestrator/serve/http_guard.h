/* What a request's head must be before anything is done with it: pure checks over bytes, no sockets.
 *
 * libmicrohttpd 0.9.75 accepts heads that two parsers can read in two ways (Content-Length twice or beside
 * Transfer-Encoding, folded lines, bare line feeds, NULs). Behind a proxy that is request smuggling, so each is refused
 * with a 4xx. The first head of a connection is checked as raw bytes before the library sees it; heads that follow on
 * the same connection are checked by how the library has laid the fields out in its buffer. */
#ifndef ORCH_SERVE_HTTP_GUARD_H
#define ORCH_SERVE_HTTP_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define HTTP_GUARD_HEAD_MAX 8192u /* bytes from the method to the empty line */
#define HTTP_GUARD_TARGET_MAX 4096u
#define HTTP_GUARD_FIELDS_MAX 64u

struct http_field {
  const char *name;
  size_t name_len;
  const char *value;
  size_t value_len;
};

struct http_head {
  const char *method;
  size_t method_len;
  const char *target; /* as received: still percent-encoded */
  size_t target_len;
  const char *version;
  size_t version_len;
  struct http_field fields[HTTP_GUARD_FIELDS_MAX];
  size_t n_fields;
};

/* A refusal in the terms of a problem document; all texts are literals. */
struct http_refusal {
  int status;
  const char *code;
  const char *detail;
};

enum http_scan {
  HTTP_SCAN_MORE,     /* no end of the head yet */
  HTTP_SCAN_COMPLETE, /* *ret_len bytes are the head, the empty line included */
  HTTP_SCAN_REFUSED,  /* cannot become a head any more */
};
/* Looks for the end of a head in `len` bytes. */
enum http_scan http_guard_scan(const char *bytes, size_t len, size_t *ret_len, struct http_refusal *refusal);

/* Splits a whole head (as http_guard_scan() found it) into its parts, which point into `bytes`. */
ORCH_MUST_CHECK bool http_guard_split(const char *bytes, size_t len, struct http_head *ret_head,
                                      struct http_refusal *refusal);

/* The rules for the parts: method, target, version, names, values, framing, doubled fields. */
ORCH_MUST_CHECK bool http_guard_check(const struct http_head *head, struct http_refusal *refusal);

/* For parts that a parser cut out of `head_len` contiguous bytes starting at head->method: true only when they lie one
 * behind the other with nothing but the separators of HTTP between them. A folded line, a bare line feed, a NUL or
 * white space before a colon breaks this. */
ORCH_MUST_CHECK bool http_guard_layout(const struct http_head *head, size_t head_len, struct http_refusal *refusal);

/* Percent-decoding of one path segment or value; NULs and control characters were refused by http_guard_check().
 * `out` has room for len+1 bytes. Returns the decoded length. */
size_t http_guard_decode(const char *text, size_t len, char *out);

#endif
