#include "pages/html.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"

#define HTML_FORMATTED_MAX (64u * 1024)
#define REPLACEMENT "\xef\xbf\xbd"

void html_init(struct html *h, struct strbuf *out) {
  *h = (struct html){.out = out};
}

static void end_tag(struct html *h) {
  if (h->in_tag) strbuf_putc(h->out, '>');
  h->in_tag = false;
}

void html_done(struct html *h) {
  end_tag(h);
  ORCH_ASSERT(h->depth == 0);
}

/* ---- elements ---- */

void html_void(struct html *h, const char *element) {
  end_tag(h);
  strbuf_putc(h->out, '<');
  strbuf_puts(h->out, element);
  h->in_tag = true;
}

void html_open(struct html *h, const char *element) {
  ORCH_ASSERT(h->depth < HTML_DEPTH_MAX);
  html_void(h, element);
  h->open[h->depth++] = element;
}

void html_open_class(struct html *h, const char *element, const char *classes) {
  html_open(h, element);
  html_attr(h, "class", classes);
}

void html_close(struct html *h) {
  ORCH_ASSERT(h->depth > 0);
  end_tag(h);
  strbuf_puts(h->out, "</");
  strbuf_puts(h->out, h->open[--h->depth]);
  strbuf_putc(h->out, '>');
}

void html_trusted(struct html *h, const char *text) {
  end_tag(h);
  strbuf_puts(h->out, text);
}

/* ---- text ---- */

/* Bytes of the character at `at` that must not reach a page: C0 except tab and line feed, DEL, C1, and the marks,
 * embeddings, overrides and isolates that reorder what stands around them. 0: a good one. */
static size_t unwanted(const unsigned char *at) {
  if ((at[0] < 0x20 && at[0] != '\t' && at[0] != '\n') || at[0] == 0x7f) return 1;
  if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f) return 2;
  if (at[0] == 0xd8 && at[1] == 0x9c) return 2; /* U+061C */
  if (at[0] != 0xe2) return 0;
  if (at[1] == 0x80 && (at[2] == 0x8e || at[2] == 0x8f)) return 3; /* U+200E, U+200F */
  if (at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae) return 3;   /* U+2028 to U+202E */
  return at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9 ? 3 : 0;  /* U+2066 to U+2069 */
}

static void add_run(struct strbuf *out, const char *from, const char *to) {
  if (from == to) return;
  CLEANUP(mem_free_p) char *run = mem_strndup(from, (size_t)(to - from));
  strbuf_add_html(out, run);
}

static void add_escaped(struct strbuf *out, const char *text) {
  const char *from = text, *at = text;
  while (*at) {
    size_t bad = unwanted((const unsigned char *)at);
    if (bad == 0) {
      at++;
      continue;
    }
    add_run(out, from, at);
    strbuf_puts(out, REPLACEMENT);
    from = at += bad;
  }
  if (from == text)
    strbuf_add_html(out, text);
  else
    add_run(out, from, at);
}

void html_text(struct html *h, const char *text) {
  end_tag(h);
  if (text) add_escaped(h->out, text);
}

static char *format(const char *fmt, va_list args) {
  struct strbuf text;
  strbuf_init(&text, HTML_FORMATTED_MAX);
  strbuf_vprintf(&text, fmt, args);
  return strbuf_take(&text);
}

void html_textf(struct html *h, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  CLEANUP(mem_free_p) char *text = format(fmt, args);
  va_end(args);
  html_text(h, text);
}

void html_element(struct html *h, const char *element, const char *classes, const char *text) {
  html_open_class(h, element, classes);
  html_text(h, text);
  html_close(h);
}

void html_elementf(struct html *h, const char *element, const char *classes, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  CLEANUP(mem_free_p) char *text = format(fmt, args);
  va_end(args);
  html_element(h, element, classes, text);
}

/* ---- attributes ---- */

void html_attr(struct html *h, const char *name, const char *value) {
  ORCH_ASSERT(h->in_tag);
  if (!value) return;
  strbuf_putc(h->out, ' ');
  strbuf_puts(h->out, name);
  strbuf_puts(h->out, "=\"");
  add_escaped(h->out, value);
  strbuf_putc(h->out, '"');
}

void html_attrf(struct html *h, const char *name, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  CLEANUP(mem_free_p) char *text = format(fmt, args);
  va_end(args);
  html_attr(h, name, text);
}

void html_flag(struct html *h, const char *name) {
  ORCH_ASSERT(h->in_tag);
  strbuf_putc(h->out, ' ');
  strbuf_puts(h->out, name);
}

bool html_url_is_safe(const char *url) {
  if (!url) return false;
  for (const char *at = url; *at; at++) /* browsers drop some of these and read on */
    if ((unsigned char)*at <= 0x20 || *at == 0x7f || *at == '\\') return false;
  if (url[0] == '/') return url[1] != '/';
  return strncasecmp(url, "https://", 8) == 0 || strncasecmp(url, "http://", 7) == 0 ||
         strncasecmp(url, "mailto:", 7) == 0;
}

void html_attr_url(struct html *h, const char *name, const char *url) {
  html_attr(h, name, html_url_is_safe(url) ? url : NULL);
}
