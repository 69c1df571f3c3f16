#include "trigger/row_lex.h"

#include <string.h>

#define REPEAT(byte) (0x0101010101010101u * (uint64_t)(byte))
#define HIGH_BITS REPEAT(0x80)

void row_lex_init(struct row_lex *lex, const char *line, size_t len) {
  *lex = (struct row_lex){.line = line, .at = line, .end = line + len, .state = ROW_LEX_WANTS_VALUE};
}

static enum row_token bad(struct row_lex *lex, const char *why) {
  lex->why = why;
  return ROW_LEX_BAD;
}

void row_lex_why(const struct row_lex *lex, struct err *err) {
  err_set(err, ERR_INVALID, "no JSON: %s (column %zu)", lex->at == lex->end ? "the line ends too early" : lex->why,
          (size_t)(lex->at - lex->line) + 1);
}

/* ---- eight bytes at once ----
 *
 * Where a mask has its lowest bit set, that byte is what was looked for; a carry can only set wrong bits above it. */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define AT_ONCE 8
static inline uint64_t load(const char *at) {
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return word;
}
#else
#define AT_ONCE PTRDIFF_MAX /* byte by byte */
static inline uint64_t load(const char *at) {
  return (uint64_t)(unsigned char)*at;
}
#endif

static inline uint64_t zeros(uint64_t x) {
  return (x - REPEAT(1)) & ~x & HIGH_BITS;
}

/* Quotes, backslashes and control characters: where a run of plain text ends. */
static inline uint64_t specials(uint64_t x) {
  return zeros(x ^ REPEAT('"')) | zeros(x ^ REPEAT('\\')) | ((x - REPEAT(0x20)) & ~x & HIGH_BITS);
}

static inline uint64_t no_digits(uint64_t x) {
  x ^= REPEAT('0');
  return ((x + REPEAT(0x76)) | x) & HIGH_BITS;
}

static inline const char *skip_plain(const char *at, const char *end) {
  while (end - at >= AT_ONCE) {
    uint64_t found = specials(load(at));
    if (found) return at + (__builtin_ctzll(found) >> 3);
    at += 8;
  }
  while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) at++;
  return at;
}

static inline const char *skip_digits(const char *at, const char *end) {
  while (end - at >= AT_ONCE) {
    uint64_t found = no_digits(load(at));
    if (found) return at + (__builtin_ctzll(found) >> 3);
    at += 8;
  }
  while (at < end && *at >= '0' && *at <= '9') at++;
  return at;
}

static inline void skip_blanks(struct row_lex *lex) {
  while (lex->at < lex->end && (*lex->at == ' ' || *lex->at == '\t' || *lex->at == '\n' || *lex->at == '\r')) lex->at++;
}

/* ---- tokens ---- */

/* After the opening quote. What stands behind a backslash is looked at when the text is unescaped. */
static inline bool take_text(struct row_lex *lex) {
  lex->text = lex->at;
  lex->escaped = false;
  for (;;) {
    lex->at = skip_plain(lex->at, lex->end);
    if (lex->at == lex->end) return false;
    if (*lex->at == '"') break;
    if (*lex->at != '\\') return false;
    lex->escaped = true;
    if (lex->end - lex->at < 2) {
      lex->at = lex->end;
      return false;
    }
    lex->at += 2;
  }
  lex->len = (size_t)(lex->at++ - lex->text);
  return true;
}

static inline bool take_digits(struct row_lex *lex) {
  const char *from = lex->at;
  lex->at = skip_digits(lex->at, lex->end);
  return lex->at > from;
}

static inline enum row_token take_number(struct row_lex *lex) {
  lex->text = lex->at;
  lex->exponent = false;
  lex->at += *lex->at == '-';
  if (lex->at < lex->end && *lex->at == '0')
    lex->at++; /* no digit may follow: then whatever comes next is refused */
  else if (!take_digits(lex))
    return bad(lex, "a number without digits");
  if (lex->at < lex->end && *lex->at == '.') {
    lex->at++;
    if (!take_digits(lex)) return bad(lex, "a decimal point without digits behind it");
  }
  if (lex->at < lex->end && (*lex->at | 0x20) == 'e') {
    lex->exponent = true;
    lex->at++;
    if (lex->at < lex->end && (*lex->at == '+' || *lex->at == '-')) lex->at++;
    if (!take_digits(lex)) return bad(lex, "an exponent without digits");
  }
  lex->len = (size_t)(lex->at - lex->text);
  return ROW_LEX_NUMBER;
}

static enum row_token take_word(struct row_lex *lex) {
  static const struct {
    const char *word;
    size_t len;
    enum row_token token;
  } words[] = {{"true", 4, ROW_LEX_TRUE}, {"false", 5, ROW_LEX_FALSE}, {"null", 4, ROW_LEX_NULL}};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if ((size_t)(lex->end - lex->at) < words[i].len || memcmp(lex->at, words[i].word, words[i].len) != 0) continue;
    lex->at += words[i].len;
    return words[i].token;
  }
  return bad(lex, "a value is expected");
}

static enum row_token open_level(struct row_lex *lex, bool map) {
  if (lex->depth == ROW_LEX_DEPTH_MAX) return bad(lex, "nested too deep");
  lex->at++;
  lex->depth++;
  lex->maps = lex->maps << 1 | map;
  lex->state = map ? ROW_LEX_WANTS_FIRST : ROW_LEX_WANTS_ITEM;
  return map ? ROW_LEX_MAP : ROW_LEX_ARRAY;
}

static enum row_token close_level(struct row_lex *lex) {
  lex->at++;
  lex->depth--;
  lex->maps >>= 1;
  lex->state = ROW_LEX_WANTS_NEXT;
  return ROW_LEX_CLOSE;
}

static inline enum row_token take_value(struct row_lex *lex) {
  char c = *lex->at;
  if (c == '{' || c == '[') return open_level(lex, c == '{');
  if (c == ']' && lex->state == ROW_LEX_WANTS_ITEM) return close_level(lex);
  lex->state = ROW_LEX_WANTS_NEXT;
  if (c == '-' || (c >= '0' && c <= '9')) return take_number(lex);
  if (c != '"') return take_word(lex);
  lex->at++;
  return take_text(lex) ? ROW_LEX_STRING : bad(lex, "a control character inside a text");
}

static inline enum row_token take_key(struct row_lex *lex) {
  if (*lex->at == '}' && lex->state == ROW_LEX_WANTS_FIRST) return close_level(lex);
  if (*lex->at != '"') return bad(lex, "a key in double quotes is expected");
  lex->at++;
  if (!take_text(lex)) return bad(lex, "a control character inside a key");
  skip_blanks(lex);
  if (lex->at == lex->end || *lex->at != ':') return bad(lex, "a colon is expected behind the key");
  lex->at++;
  lex->state = ROW_LEX_WANTS_VALUE;
  return ROW_LEX_KEY;
}

enum row_token row_lex_next(struct row_lex *lex) {
  skip_blanks(lex);
  if (lex->state == ROW_LEX_WANTS_NEXT) { /* a value is over */
    bool map = lex->maps & 1;
    if (lex->depth == 0) return lex->at == lex->end ? ROW_LEX_END : bad(lex, "something stands behind the object");
    if (lex->at == lex->end) return bad(lex, "");
    if (*lex->at == (map ? '}' : ']')) return close_level(lex);
    if (*lex->at != ',') return bad(lex, map ? "a comma or } is expected" : "a comma or ] is expected");
    lex->at++;
    lex->state = map ? ROW_LEX_WANTS_KEY : ROW_LEX_WANTS_VALUE;
    skip_blanks(lex);
  }
  if (lex->at == lex->end) return bad(lex, "");
  return lex->state == ROW_LEX_WANTS_KEY || lex->state == ROW_LEX_WANTS_FIRST ? take_key(lex) : take_value(lex);
}

/* ---- escapes ---- */

static int hex4(const char *at, const char *end) {
  int value = 0;
  if (end - at < 4) return -1;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

static char *put_utf8(char *to, unsigned code) {
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *to++ = (char)(0xe0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  } else {
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  }
  return to;
}

/* "\uXXXX", or two of them: `at` stands behind the u. NULL with the reason. */
static const char *take_unicode(const char *at, const char *end, char **to, struct err *err) {
  int code = hex4(at, end), low = 0;
  const char *next = at + 4;
  if (code < 0) {
    err_set(err, ERR_INVALID, "no JSON: \\u without four hexadecimal digits in a text");
    return NULL;
  }
  if (code == 0) {
    err_set(err, ERR_INVALID, "a NUL character (\\u0000) in a text");
    return NULL;
  }
  if (code >= 0xd800 && code <= 0xdfff) {
    low = code < 0xdc00 && end - next >= 6 && next[0] == '\\' && next[1] == 'u' ? hex4(next + 2, end) : -1;
    if (low < 0xdc00 || low > 0xdfff) {
      err_set(err, ERR_INVALID, "half a surrogate pair (\\u%04x)", (unsigned)code);
      return NULL;
    }
    next += 6;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  *to = put_utf8(*to, (unsigned)code);
  return next;
}

bool row_lex_unescape(const char *text, size_t len, char *out, size_t *ret_len, struct err *err) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  const char *end = text + len;
  char *at = out;
  while (text < end) {
    const char *stop = memchr(text, '\\', (size_t)(end - text));
    size_t plain = (size_t)((stop ? stop : end) - text);
    memcpy(at, text, plain);
    at += plain;
    if (!stop) break;
    text = stop + 2; /* the lexer has seen to it that something follows */
    const char *known = stop[1] ? strchr(from, stop[1]) : NULL;
    if (known)
      *at++ = to[known - from];
    else if (stop[1] != 'u')
      return err_set(err, ERR_INVALID, "no JSON: an unknown escape in a text");
    else if (!(text = take_unicode(text, end, &at, err)))
      return false;
  }
  *ret_len = (size_t)(at - out);
  return true;
}
