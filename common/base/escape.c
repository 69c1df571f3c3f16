/* The escaped appends of strbuf.h: one walk over UTF-8, one small rule for each place where text lands. */
#include <stdint.h>
#include <string.h>

#include "base/strbuf.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* The length of the well-formed sequence at `at` (1 to 4; see table 3-7 of the Unicode standard), or 0. */
static size_t sequence(const unsigned char *at) {
  unsigned char c = at[0];
  if (c < 0x80) return 1;
  size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
  if (c < 0xc2 || c > 0xf4) return 0;
  for (size_t i = 1; i < len; i++)
    if ((at[i] & 0xc0) != 0x80) return 0; /* stops at the NUL too */
  if ((c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] > 0x9f)) return 0;
  if ((c == 0xf0 && at[1] < 0x90) || (c == 0xf4 && at[1] > 0x8f)) return 0;
  return len;
}

bool utf8_is_valid(const char *bytes, size_t len) {
  const unsigned char *at = (const unsigned char *)bytes, *end = at + len;
  while (at < end) {
    uint64_t eight;
    if (end - at >= 8 && (memcpy(&eight, at, 8), (eight & 0x8080808080808080u) == 0)) {
      at += 8;
      continue;
    }
    unsigned char last[4] = {0};
    memcpy(last, at, end - at < 4 ? (size_t)(end - at) : 4);
    size_t step = sequence(last);
    if (step == 0) return false;
    at += step;
  }
  return true;
}

/* A rule appends one sequence (len 1 to 4) in its escaped form. */
typedef void escape_rule(struct strbuf *sb, const char *at, size_t len);

static void walk(struct strbuf *sb, const char *text, escape_rule *rule) {
  for (const char *at = text; at && *at && !sb->failed;) {
    size_t len = sequence((const unsigned char *)at);
    if (len) {
      rule(sb, at, len);
      at += len;
    } else {
      rule(sb, REPLACEMENT, 3);
      at++;
    }
  }
}

static const char *entity(char c) {
  switch (c) {
  case '&':
    return "&amp;";
  case '<':
    return "&lt;";
  case '>':
    return "&gt;";
  case '"':
    return "&quot;";
  case '\'':
    return "&#39;";
  default:
    return NULL;
  }
}

static void html_rule(struct strbuf *sb, const char *at, size_t len) {
  const char *name = entity(*at);
  if (name)
    strbuf_puts(sb, name);
  else
    strbuf_add(sb, at, len);
}

static void mrkdwn_rule(struct strbuf *sb, const char *at, size_t len) {
  const char *name = *at == '"' || *at == '\'' ? NULL : entity(*at);
  if (name)
    strbuf_puts(sb, name);
  else
    strbuf_add(sb, at, len);
}

static void json_rule(struct strbuf *sb, const char *at, size_t len) {
  static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
  for (const char *s = shorts; *s; s += 2)
    if (*at == *s) {
      strbuf_putc(sb, '\\');
      strbuf_putc(sb, s[1]);
      return;
    }
  if ((unsigned char)*at < 0x20 || *at == 0x7f)
    strbuf_printf(sb, "\\u%04x", (unsigned char)*at);
  else
    strbuf_add(sb, at, len);
}

/* C0, DEL and the C1 controls U+0080 to U+009F, which some terminals obey as well. */
static bool is_control(const char *at, size_t len) {
  unsigned char c = (unsigned char)*at;
  return c < 0x20 || c == 0x7f || (len == 2 && c == 0xc2 && (unsigned char)at[1] < 0xa0);
}

static void terminal_rule(struct strbuf *sb, const char *at, size_t len) {
  if (is_control(at, len))
    strbuf_printf(sb, "\\x%02x", (unsigned char)at[len - 1]);
  else
    strbuf_add(sb, at, len);
}

static void logfmt_rule(struct strbuf *sb, const char *at, size_t len) {
  if (len == 2 && is_control(at, len))
    strbuf_printf(sb, "\\u%04x", (unsigned char)at[1]);
  else
    json_rule(sb, at, len);
}

static void url_rule(struct strbuf *sb, const char *at, size_t len) {
  for (size_t i = 0; i < len; i++) {
    char c = at[i];
    bool unreserved =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c) != NULL);
    if (unreserved)
      strbuf_putc(sb, c);
    else
      strbuf_printf(sb, "%%%02X", (unsigned char)c);
  }
}

void strbuf_add_html(struct strbuf *sb, const char *text) {
  walk(sb, text, html_rule);
}

void strbuf_add_json(struct strbuf *sb, const char *text) {
  strbuf_putc(sb, '"');
  walk(sb, text, json_rule);
  strbuf_putc(sb, '"');
}

void strbuf_add_mrkdwn(struct strbuf *sb, const char *text) {
  walk(sb, text, mrkdwn_rule);
}

void strbuf_add_terminal(struct strbuf *sb, const char *text) {
  walk(sb, text, terminal_rule);
}

void strbuf_add_logfmt(struct strbuf *sb, const char *text) {
  bool plain = text && *text;
  for (const char *at = text; plain && *at; at++)
    plain = (unsigned char)*at > 0x20 && (unsigned char)*at < 0x7f && !strchr("\"=\\", *at);
  if (plain) {
    strbuf_puts(sb, text);
    return;
  }
  strbuf_putc(sb, '"');
  walk(sb, text, logfmt_rule);
  strbuf_putc(sb, '"');
}

void strbuf_add_url(struct strbuf *sb, const char *text) {
  walk(sb, text, url_rule);
}
