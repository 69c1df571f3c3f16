/* Writes HTML that is balanced and escaped by construction: elements are opened and closed on a stack, and every text
 * or attribute value that is handed over is escaped for its place.
 *
 *     html_open(h, "a");
 *     html_attr_url(h, "href", runbook);
 *     html_text(h, name);
 *     html_close(h);
 *
 * Element and attribute names are the caller's literals. Beyond escaping, text loses what could deceive a reader:
 * control characters and those that turn the direction of the text around become U+FFFD. The builder's cap is the
 * page's: once it is passed, `out->failed` is set and nothing more is written. */
#ifndef ORCH_PAGES_HTML_H
#define ORCH_PAGES_HTML_H

#include <stdbool.h>

#include "base/error.h"
#include "base/strbuf.h"

#define HTML_DEPTH_MAX 32

struct html {
  struct strbuf *out;
  const char *open[HTML_DEPTH_MAX];
  unsigned depth;
  bool in_tag; /* attributes may still come */
};

void html_init(struct html *h, struct strbuf *out);
/* The end of a document or a fragment: everything that was opened must be closed. */
void html_done(struct html *h);

void html_open(struct html *h, const char *element);
void html_open_class(struct html *h, const char *element, const char *classes);
void html_void(struct html *h, const char *element); /* input, meta, link, br: never closed */
void html_close(struct html *h);

/* Only right behind an opening. A NULL value writes nothing. */
void html_attr(struct html *h, const char *name, const char *value);
void html_attrf(struct html *h, const char *name, const char *fmt, ...) ORCH_PRINTF(3, 4);
void html_flag(struct html *h, const char *name); /* an attribute without a value */
/* href and the like: http, https, mailto, or a path of this server ("/…", not "//…"). For anything else the attribute
 * is left out. */
void html_attr_url(struct html *h, const char *name, const char *url);
bool html_url_is_safe(const char *url);

void html_text(struct html *h, const char *text); /* NULL writes nothing */
void html_textf(struct html *h, const char *fmt, ...) ORCH_PRINTF(2, 3);

/* <element class="classes">text</element>; classes may be NULL. */
void html_element(struct html *h, const char *element, const char *classes, const char *text);
void html_elementf(struct html *h, const char *element, const char *classes, const char *fmt, ...) ORCH_PRINTF(4, 5);

/* Markup as it is: takes string literals only, anything else does not compile. */
#define html_literal(h, text) html_trusted((h), "" text "")
void html_trusted(struct html *h, const char *text);

#endif
