/* A string builder with a cap and a sticky error: append freely, ask once at the end.
 *
 * Writers escape by default for the place where the text lands: HTML, JSON, Slack mrkdwn, a terminal, a log line. */
#ifndef ORCH_BASE_STRBUF_H
#define ORCH_BASE_STRBUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct strbuf {
  char *data; /* always NUL-terminated once something was added; NULL before */
  size_t len;
  size_t size;
  size_t max;  /* cap in bytes, without the NUL */
  bool failed; /* sticky: the cap was passed; later appends do nothing */
};

void strbuf_init(struct strbuf *sb, size_t max_bytes);
void strbuf_fini(struct strbuf *sb);
void strbuf_reset(struct strbuf *sb); /* empties, keeps the memory, clears `failed` */
/* Hands the bytes over (never NULL; mem_free() them) and leaves the builder empty. */
char *strbuf_take(struct strbuf *sb);
const char *strbuf_text(const struct strbuf *sb); /* never NULL */

void strbuf_add(struct strbuf *sb, const void *bytes, size_t len);
void strbuf_puts(struct strbuf *sb, const char *text);
void strbuf_putc(struct strbuf *sb, char c);
void strbuf_printf(struct strbuf *sb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vprintf(struct strbuf *sb, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));

/* Escaped appends. Invalid UTF-8 becomes U+FFFD in all of them. */
void strbuf_add_html(struct strbuf *sb, const char *text);     /* & < > " ' */
void strbuf_add_json(struct strbuf *sb, const char *text);     /* with the surrounding quotes */
void strbuf_add_mrkdwn(struct strbuf *sb, const char *text);   /* Slack: & < > */
void strbuf_add_terminal(struct strbuf *sb, const char *text); /* control characters become \xNN; \n and \t too */
void strbuf_add_logfmt(struct strbuf *sb, const char *text);   /* quoted when it needs to be */
void strbuf_add_url(struct strbuf *sb, const char *text);      /* percent-encoding of all but unreserved */

/* True when all of it is well-formed UTF-8 (no overlong forms, no surrogates); NUL bytes are. */
bool utf8_is_valid(const char *bytes, size_t len);

static inline void strbuf_fini_p(struct strbuf *sb) {
  strbuf_fini(sb);
}

#endif
