#include "serve/http_guard.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

static bool refuse(struct http_refusal *refusal, int status, const char *code, const char *detail) {
  *refusal = (struct http_refusal){.status = status, .code = code, .detail = detail};
  return false;
}

static bool is_token_char(unsigned char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(const char *text, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (!is_token_char((unsigned char)text[i])) return false;
  return len > 0;
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static bool field_is(const struct http_field *field, const char *name) {
  return strlen(name) == field->name_len && strncasecmp(field->name, name, field->name_len) == 0;
}

/* ---- raw bytes ---- */

enum http_scan http_guard_scan(const char *bytes, size_t len, size_t *ret_len, struct http_refusal *refusal) {
  size_t usable = len < HTTP_GUARD_HEAD_MAX ? len : HTTP_GUARD_HEAD_MAX;
  if (len > 0 && (bytes[0] < 'A' || bytes[0] > 'Z')) {
    (void)refuse(refusal, 400, "bad_request", "the bytes are not an HTTP request");
    return HTTP_SCAN_REFUSED;
  }
  const char *end = usable >= 4 ? memmem(bytes, usable, "\r\n\r\n", 4) : NULL;
  if (end) {
    *ret_len = (size_t)(end - bytes) + 4;
    return HTTP_SCAN_COMPLETE;
  }
  if (usable >= 2 && memmem(bytes, usable, "\n\n", 2)) {
    (void)refuse(refusal, 400, "bad_request", "lines must end in CR LF");
    return HTTP_SCAN_REFUSED;
  }
  if (len < HTTP_GUARD_HEAD_MAX) return HTTP_SCAN_MORE;
  if (!memchr(bytes, '\n', HTTP_GUARD_TARGET_MAX + 64))
    (void)refuse(refusal, 414, "uri_too_long", "the request line is longer than 4096 bytes");
  else
    (void)refuse(refusal, 431, "head_too_large", "the request's head is larger than 8 KiB");
  return HTTP_SCAN_REFUSED;
}

/* "METHOD SP target SP version": exactly two spaces. */
static bool split_request_line(const char *line, size_t len, struct http_head *head, struct http_refusal *refusal) {
  const char *first = memchr(line, ' ', len);
  const char *second = first ? memchr(first + 1, ' ', len - (size_t)(first + 1 - line)) : NULL;
  if (!second || memchr(second + 1, ' ', len - (size_t)(second + 1 - line)))
    return refuse(refusal, 400, "bad_request", "the request line is not 'METHOD target HTTP/1.1'");
  head->method = line;
  head->method_len = (size_t)(first - line);
  head->target = first + 1;
  head->target_len = (size_t)(second - first - 1);
  head->version = second + 1;
  head->version_len = len - (size_t)(second + 1 - line);
  return true;
}

static bool split_field(const char *line, size_t len, struct http_field *field, struct http_refusal *refusal) {
  if (line[0] == ' ' || line[0] == '\t')
    return refuse(refusal, 400, "bad_request", "a header field is folded over two lines");
  const char *colon = memchr(line, ':', len);
  if (!colon) return refuse(refusal, 400, "bad_request", "a header line has no colon");
  field->name = line;
  field->name_len = (size_t)(colon - line);
  const char *value = colon + 1;
  const char *end = line + len;
  while (value < end && (*value == ' ' || *value == '\t')) value++;
  field->value = value;
  field->value_len = (size_t)(end - value);
  return true;
}

bool http_guard_split(const char *bytes, size_t len, struct http_head *ret_head, struct http_refusal *refusal) {
  struct http_head head = {.n_fields = 0};
  const char *at = bytes;
  const char *end = bytes + len;
  for (bool first = true; at < end; first = false) {
    const char *feed = memchr(at, '\n', (size_t)(end - at));
    if (!feed || feed == at || feed[-1] != '\r') return refuse(refusal, 400, "bad_request", "lines must end in CR LF");
    size_t line_len = (size_t)(feed - 1 - at);
    if (first) {
      if (!split_request_line(at, line_len, &head, refusal)) return false;
    } else if (line_len > 0) {
      if (head.n_fields == HTTP_GUARD_FIELDS_MAX)
        return refuse(refusal, 431, "head_too_large", "the request has more than 64 header fields");
      if (!split_field(at, line_len, &head.fields[head.n_fields], refusal)) return false;
      head.n_fields++;
    }
    at = feed + 1;
  }
  if (!head.method) return refuse(refusal, 400, "bad_request", "the head is empty");
  *ret_head = head;
  return true;
}

/* ---- the parts ---- */

/* One more byte of UTF-8; `state` counts the continuation bytes that are still due in its low bits. */
struct utf8 {
  unsigned due;
  unsigned char low, high; /* bounds of the next continuation byte */
};
static bool utf8_step(struct utf8 *utf8, unsigned char c) {
  if (utf8->due > 0) {
    if (c < utf8->low || c > utf8->high) return false;
    utf8->due--;
    utf8->low = 0x80;
    utf8->high = 0xbf;
    return true;
  }
  utf8->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
  utf8->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
  if (c < 0x80) return true;
  if (c < 0xc2 || c > 0xf4) return false;
  utf8->due = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
  return true;
}

static bool check_target(const struct http_head *head, struct http_refusal *refusal) {
  if (head->target_len > HTTP_GUARD_TARGET_MAX)
    return refuse(refusal, 414, "uri_too_long", "the request line is longer than 4096 bytes");
  if (head->target_len == 0 || head->target[0] != '/')
    return refuse(refusal, 400, "bad_request", "the target must be a path that starts with '/'");
  bool in_query = false;
  struct utf8 utf8 = {0};
  for (size_t i = 0; i < head->target_len; i++) {
    unsigned char c = (unsigned char)head->target[i];
    if (c <= 0x20 || c >= 0x7f || c == '#' || c == '\\' || c == '"' || c == '<' || c == '>')
      return refuse(refusal, 400, "bad_request", "the target has a character that must be percent-encoded");
    if (c == '?') in_query = true;
    if (c == '%') {
      int high = i + 2 < head->target_len ? hex_value(head->target[i + 1]) : -1;
      int low = high >= 0 ? hex_value(head->target[i + 2]) : -1;
      if (low < 0) return refuse(refusal, 400, "bad_request", "the target has a malformed percent-encoding");
      c = (unsigned char)(high * 16 + low);
      i += 2;
      if (c == 0 || (!in_query && (c < 0x20 || c == 0x7f)))
        return refuse(refusal, 400, "bad_request", "the target has a control character");
    }
    if (!utf8_step(&utf8, c)) return refuse(refusal, 400, "bad_request", "the target is not UTF-8");
  }
  if (utf8.due > 0) return refuse(refusal, 400, "bad_request", "the target is not UTF-8");
  return true;
}

static bool check_start_line(const struct http_head *head, struct http_refusal *refusal) {
  bool good = head->method_len >= 1 && head->method_len <= 16;
  for (size_t i = 0; good && i < head->method_len; i++)
    good = (head->method[i] >= 'A' && head->method[i] <= 'Z') || head->method[i] == '-';
  if (!good) return refuse(refusal, 400, "bad_request", "the method is malformed");
  if (head->version_len != 8 || memcmp(head->version, "HTTP/", 5) != 0)
    return refuse(refusal, 400, "bad_request", "the request line is not 'METHOD target HTTP/1.1'");
  if (memcmp(head->version, "HTTP/1.1", 8) != 0 && memcmp(head->version, "HTTP/1.0", 8) != 0)
    return refuse(refusal, 505, "http_version", "only HTTP/1.1 and HTTP/1.0 are spoken here");
  return check_target(head, refusal);
}

static bool check_field(const struct http_field *field, struct http_refusal *refusal) {
  if (!is_token(field->name, field->name_len))
    return refuse(refusal, 400, "bad_request", "a header field's name is malformed");
  for (size_t i = 0; i < field->value_len; i++) {
    unsigned char c = (unsigned char)field->value[i];
    if ((c < 0x20 && c != '\t') || c == 0x7f)
      return refuse(refusal, 400, "bad_request", "a header field has a control character");
  }
  return true;
}

/* Fields whose meaning changes when somebody in between prefers the other copy. */
static const char *const single_fields[] = {
    "host",          "content-length",  "transfer-encoding", "authorization",     "content-type",
    "expect",        "idempotency-key", "webhook-id",        "webhook-timestamp", "webhook-signature",
    "content-range", "cookie",          "if-none-match",     "x-slack-signature", "x-slack-request-timestamp",
    "origin",        "sec-fetch-site",
};

static bool check_single(const struct http_head *head, struct http_refusal *refusal) {
  for (size_t s = 0; s < sizeof(single_fields) / sizeof(single_fields[0]); s++) {
    unsigned seen = 0;
    for (size_t i = 0; i < head->n_fields; i++) seen += field_is(&head->fields[i], single_fields[s]);
    if (seen > 1) return refuse(refusal, 400, "bad_request", "a header field that may stand only once stands twice");
  }
  return true;
}

static const struct http_field *find_field(const struct http_head *head, const char *name) {
  for (size_t i = 0; i < head->n_fields; i++)
    if (field_is(&head->fields[i], name)) return &head->fields[i];
  return NULL;
}

static bool value_is(const struct http_field *field, const char *value) {
  return field->value_len == strlen(value) && strncasecmp(field->value, value, field->value_len) == 0;
}

static bool check_framing(const struct http_head *head, bool http11, struct http_refusal *refusal) {
  const struct http_field *length = find_field(head, "content-length");
  const struct http_field *coding = find_field(head, "transfer-encoding");
  if (length && coding)
    return refuse(refusal, 400, "bad_request", "Content-Length and Transfer-Encoding stand side by side");
  if (coding && !http11) return refuse(refusal, 400, "bad_request", "HTTP/1.0 has no Transfer-Encoding");
  if (coding && !value_is(coding, "chunked"))
    return refuse(refusal, 400, "bad_request", "the only Transfer-Encoding understood is 'chunked'");
  if (length) {
    if (length->value_len == 0) return refuse(refusal, 400, "bad_request", "Content-Length is not a number");
    for (size_t i = 0; i < length->value_len; i++)
      if (length->value[i] < '0' || length->value[i] > '9')
        return refuse(refusal, 400, "bad_request", "Content-Length is not a number");
    if (length->value_len > 15) return refuse(refusal, 413, "body_too_large", "the body is larger than allowed");
  }
  return true;
}

/* RFC 9110: a name or an address in brackets, and a port. */
static bool is_host_char(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != 0 && strchr(".-_:[]~!$&'()*+,;=%", c) != NULL);
}

static bool check_known(const struct http_head *head, bool http11, struct http_refusal *refusal) {
  const struct http_field *host = find_field(head, "host");
  if (!host && http11) return refuse(refusal, 400, "bad_request", "HTTP/1.1 needs a Host field");
  for (size_t i = 0; host && i < host->value_len; i++)
    if (!is_host_char((unsigned char)host->value[i]))
      return refuse(refusal, 400, "bad_request", "the Host field is malformed");
  const struct http_field *expect = find_field(head, "expect");
  if (expect && !value_is(expect, "100-continue"))
    return refuse(refusal, 417, "expectation_failed", "the only expectation understood is '100-continue'");
  const struct http_field *key = find_field(head, "idempotency-key");
  if (!key) return true;
  bool good = key->value_len >= 1 && key->value_len <= 255;
  for (size_t i = 0; good && i < key->value_len; i++) good = key->value[i] > 0x20 && key->value[i] < 0x7f;
  return good || refuse(refusal, 400, "bad_request", "Idempotency-Key must be 1 to 255 visible characters");
}

bool http_guard_check(const struct http_head *head, struct http_refusal *refusal) {
  if (!check_start_line(head, refusal)) return false;
  for (size_t i = 0; i < head->n_fields; i++)
    if (!check_field(&head->fields[i], refusal)) return false;
  bool http11 = head->version[7] == '1';
  return check_single(head, refusal) && check_framing(head, http11, refusal) && check_known(head, http11, refusal);
}

/* ---- the layout ---- */

bool http_guard_layout(const struct http_head *head, size_t head_len, struct http_refusal *refusal) {
  static const char *const why = "the head has a folded line, a bare line feed, a NUL or stray white space";
  uintptr_t at = (uintptr_t)head->method;
  uintptr_t end = at + head_len;
  if (head_len > HTTP_GUARD_HEAD_MAX)
    return refuse(refusal, 431, "head_too_large", "the request's head is larger than 8 KiB");
  if ((uintptr_t)head->target != at + head->method_len + 1) return refuse(refusal, 400, "bad_request", why);
  at = (uintptr_t)head->target;
  if ((uintptr_t)head->version != at + head->target_len + 1) return refuse(refusal, 400, "bad_request", why);
  at = (uintptr_t)head->version + head->version_len + 2;
  for (size_t i = 0; i < head->n_fields; i++) {
    const struct http_field *field = &head->fields[i];
    uintptr_t value = (uintptr_t)field->value;
    if ((uintptr_t)field->name != at || value < at + field->name_len + 1 || value > end)
      return refuse(refusal, 400, "bad_request", why);
    for (const char *gap = field->name + field->name_len + 1; gap < field->value; gap++)
      if (*gap != ' ' && *gap != '\t') return refuse(refusal, 400, "bad_request", why);
    at = value + field->value_len + 2;
  }
  return at + 2 == end || refuse(refusal, 400, "bad_request", why);
}

size_t http_guard_decode(const char *text, size_t len, char *out) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    int high = text[i] == '%' && i + 2 < len ? hex_value(text[i + 1]) : -1;
    int low = high >= 0 ? hex_value(text[i + 2]) : -1;
    if (low >= 0) {
      out[n++] = (char)(high * 16 + low);
      i += 2;
    } else {
      out[n++] = text[i];
    }
  }
  out[n] = 0;
  return n;
}
