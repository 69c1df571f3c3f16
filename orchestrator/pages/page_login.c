/* Signing in, and pages for what went wrong. */
#include <string.h>

#include "pages/page.h"

bool page_is_ours(const char *path) {
  if (!path || !html_url_is_safe(path) || path[0] != '/' || strlen(path) > 512) return false;
  for (const char *at = path; *at; at++) /* goes into a header; and no path of ours climbs */
    if ((unsigned char)*at >= 0x80 || strchr("'\"<>;", *at) || strncmp(at, "/.", 2) == 0) return false;
  return strcmp(path, "/") == 0 || strncmp(path, "/pipelines/", 11) == 0 || strncmp(path, "/proposals/", 11) == 0 ||
         strncmp(path, "/incidents/", 11) == 0 || strcmp(path, "/incidents") == 0;
}

static void note(struct page *page, const char *kind, const char *text, const char *hint) {
  struct html *h = &page->h;
  html_open(h, "div");
  html_attrf(h, "class", "note %s", kind);
  html_attr(h, "role", "alert");
  html_element(h, "p", NULL, text);
  if (hint && hint[0]) html_element(h, "p", "small soft", hint);
  html_close(h);
}

void page_login(struct strbuf *out, const char *next, const char *refused, const char *hint) {
  struct page page;
  struct html *h = &page.h;
  page_begin(&page, out, &(struct page_frame){0}, "Sign in", NULL, NULL);
  html_literal(h, "<div class=\"narrow\"><div class=\"card\"><h1>Sign in</h1>"
                  "<form method=\"post\" action=\"/login\">");
  if (refused) note(&page, "bad", refused, hint);
  if (page_is_ours(next)) {
    html_void(h, "input");
    html_attr(h, "type", "hidden");
    html_attr(h, "name", "next");
    html_attr(h, "value", next);
  }
  html_literal(h, "<div><label for=\"token\">Token</label>"
                  "<input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required "
                  "autofocus maxlength=\"256\" spellcheck=\"false\" aria-describedby=\"how\"></div>"
                  "<button class=\"main\">Sign in</button></form>"
                  "<div id=\"how\" class=\"small soft\"><p>A token with scope <code>read</code>; this makes one:</p>"
                  "<p><code>orch token create NAME --scope read</code></p>"
                  "<p class=\"why\">You stay signed in for 12 hours, or until the token is revoked. Browsers keep you "
                  "signed in over https, and over plain http on this machine only (127.0.0.1, localhost).</p></div>"
                  "</div></div>");
  page_end(&page, NULL);
}

void page_again(struct strbuf *out, const char *path) {
  struct html html, *h = &html;
  html_init(h, out);
  html_literal(h, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>orch</title>");
  html_void(h, "meta");
  html_attr(h, "http-equiv", "refresh");
  html_attrf(h, "content", "0;url=%s", page_is_ours(path) ? path : "/");
  html_literal(h, "</head><body><p>");
  html_open(h, "a");
  html_attr_url(h, "href", page_is_ours(path) ? path : "/");
  html_literal(h, "Continue");
  html_close(h);
  html_literal(h, "</p></body></html>\n");
  html_done(h);
}

void page_error(struct strbuf *out, int status, const char *title, const char *detail, const char *hint) {
  struct page page;
  struct html *h = &page.h;
  page_begin(&page, out, &(struct page_frame){0}, title, NULL, NULL);
  html_open_class(h, "div", "narrow");
  html_open_class(h, "div", "card");
  html_elementf(h, "p", "soft small", "%d", status);
  html_element(h, "h1", NULL, title);
  html_element(h, "p", "lead", detail);
  if (hint && hint[0]) html_element(h, "p", "why", hint);
  html_literal(h, "<p class=\"why\"><a href=\"/\">All pipelines</a></p>");
  html_close(h);
  html_close(h);
  page_end(&page, NULL);
}
