#include "chat/slack_text.h"

#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define ELLIPSIS "\xe2\x80\xa6"
#define FENCE "```"

/* Bytes of the UTF-8 sequence that starts with `c`; 1 for what is none (the escapers replace it). */
static size_t sequence_len(unsigned char c) {
  return c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
}

/* Bytes of the character at `at`, never past the NUL. */
static size_t char_len(const char *at) {
  size_t len = 1, wanted = sequence_len((unsigned char)*at);
  while (len < wanted && at[len] != '\0' && ((unsigned char)at[len] & 0xc0) == 0x80) len++;
  return len;
}

static size_t char_units(size_t len) {
  return len == 4 ? 2 : 1;
}

/* C0, DEL, C1, and what reorders the text around it (U+202A to U+202E, U+2066 to U+2069, U+2028, U+2029). */
static bool is_unsafe(const char *at, size_t len) {
  unsigned char c = (unsigned char)at[0];
  if (len == 1) return c < 0x20 || c == 0x7f;
  unsigned char second = (unsigned char)at[1];
  if (len == 2) return c == 0xc2 && second < 0xa0;
  if (len != 3 || c != 0xe2) return false;
  unsigned char third = (unsigned char)at[2];
  return (second == 0x80 && third >= 0xa8 && third <= 0xae) || (second == 0x81 && third >= 0xa6 && third <= 0xa9);
}

static void add_outside(struct strbuf *out, const char *text, size_t max, bool code) {
  if (text == NULL) return;
  size_t total = 0;
  for (const char *at = text; *at != '\0' && total <= max; at += char_len(at)) total += char_units(char_len(at));
  size_t room = total > max ? max - 1 : max;
  for (const char *at = text; *at != '\0';) {
    size_t len = char_len(at);
    if (char_units(len) > room) break;
    room -= char_units(len);
    char one[5] = {0};
    memcpy(one, at, len);
    if (is_unsafe(at, len)) memcpy(one, " ", 2);
    if (code && one[0] == '`') one[0] = '\'';
    strbuf_add_mrkdwn(out, one);
    at += len;
  }
  if (total > max) strbuf_puts(out, ELLIPSIS);
}

void slack_text_add(struct strbuf *out, const char *text, size_t max) {
  add_outside(out, text, max, false);
}
void slack_text_add_code(struct strbuf *out, const char *text, size_t max) {
  add_outside(out, text, max, true);
}

void slack_text_add_time(struct strbuf *out, const char *rfc3339) {
  int64_t wall_us = 0;
  if (rfc3339 == NULL || !clock_parse_rfc3339(rfc3339, &wall_us)) {
    slack_text_add(out, rfc3339, 40);
    return;
  }
  char text[CLOCK_RFC3339_SIZE];
  clock_format_rfc3339(wall_us, text);
  strbuf_printf(out, "<!date^%lld^{date_short_pretty} {time}|%.10s %.5s UTC>", (long long)(wall_us / 1000000), text,
                text + 11);
}

/* Bytes of what must stay whole at `at`: a token of ours, an entity, or one character. */
static size_t atom_len(const char *at) {
  const char *end = NULL;
  if (*at == '<') end = strchr(at, '>');
  if (*at == '&') end = memchr(at, ';', strnlen(at, 6));
  return end != NULL ? (size_t)(end - at) + 1 : char_len(at);
}

static size_t units_of(const char *text, size_t len) {
  size_t units = 0;
  for (size_t at = 0; at < len; at += char_len(text + at)) units += char_units(char_len(text + at));
  return units;
}

static bool inside_fence(const char *text, size_t len) {
  bool inside = false;
  for (size_t i = 0; i + strlen(FENCE) <= len; i++) {
    if (memcmp(text + i, FENCE, strlen(FENCE)) != 0) continue;
    inside = !inside;
    i += strlen(FENCE) - 1;
  }
  return inside;
}

void slack_text_cut(struct strbuf *text, size_t max) {
  const char *data = strbuf_text(text);
  if (!text->failed && units_of(data, text->len) <= max) return;
  const size_t reserve = 1 + 1 + strlen(FENCE); /* the ellipsis, a newline, a closing fence */
  size_t len = 0, units = 0;
  while (data[len] != '\0') {
    size_t step = atom_len(data + len);
    size_t more = units_of(data + len, step);
    if (units + more + reserve > max) break;
    len += step;
    units += more;
  }
  while (len > 0 && data[len - 1] == '`') len--; /* half a fence is none */
  bool open = inside_fence(data, len);
  char *kept = mem_strndup(data, len);
  strbuf_reset(text);
  strbuf_add(text, kept, len);
  strbuf_puts(text, ELLIPSIS);
  if (open) strbuf_puts(text, "\n" FENCE);
  mem_free(kept);
}

json_t *slack_text_mrkdwn(struct strbuf *text, size_t max) {
  slack_text_cut(text, max);
  return json_pack("{s:s, s:s, s:b}", "type", "mrkdwn", "text", strbuf_text(text), "verbatim", 1);
}

json_t *slack_text_plain(struct strbuf *text, size_t max) {
  slack_text_cut(text, max);
  return json_pack("{s:s, s:s, s:b}", "type", "plain_text", "text", strbuf_text(text), "emoji", 0);
}
