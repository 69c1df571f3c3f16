#include "pages/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pages/static.h"

/* ---- the frame ---- */

static void head(struct page *page, const char *title) {
  struct html *h = &page->h;
  html_literal(h, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                  "<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"robots\" content=\"noindex\">");
  html_open(h, "title");
  html_text(h, title);
  html_literal(h, " \xc2\xb7 orch");
  html_close(h);
  html_void(h, "link");
  html_attr(h, "rel", "stylesheet");
  html_attrf(h, "href", "/static/style.css?v=%s", page_files_version());
  html_void(h, "link");
  html_attr(h, "rel", "icon");
  html_attr(h, "type", "image/svg+xml");
  html_attrf(h, "href", "/static/icon.svg?v=%s", page_files_version());
  html_literal(h, "</head>\n<body><a class=\"skip\" href=\"#main\">Skip to the content</a>");
}

static void who(struct html *h, const struct page_frame *frame) {
  if (!frame->actor) return;
  const char *colon = strchr(frame->actor, ':');
  html_open(h, "form");
  html_attr(h, "method", "post");
  html_attr(h, "action", "/logout");
  html_element(h, "bdi", NULL, colon ? colon + 1 : frame->actor);
  if (frame->csrf) {
    html_void(h, "input");
    html_attr(h, "type", "hidden");
    html_attr(h, "name", "csrf");
    html_attr(h, "value", frame->csrf);
    html_literal(h, "<button>Sign out</button>");
  }
  html_close(h);
}

void page_begin(struct page *page, struct strbuf *out, const struct page_frame *frame, const char *title,
                const char *crumb_path, const char *crumb) {
  *page = (struct page){.now_us = frame->now_us};
  struct html *h = &page->h;
  html_init(h, out);
  head(page, title);
  html_literal(h, "<header class=\"top\"><a class=\"brand\" href=\"/\">orch</a><nav aria-label=\"Where you are\"><ol>");
  if (crumb) {
    html_open(h, "li");
    html_open(h, "a");
    html_attr_url(h, "href", crumb_path);
    html_text(h, crumb);
    html_close(h);
    html_close(h);
  }
  html_literal(h, "<li aria-current=\"page\">");
  html_element(h, "bdi", NULL, title);
  html_literal(h, "</li></ol></nav>");
  who(h, frame);
  html_literal(h, "</header>\n<main id=\"main\">");
}

void page_end(struct page *page, const char *json_path) {
  struct html *h = &page->h;
  html_literal(h, "</main>\n<footer>");
  if (page->now_us > 0) {
    char stamp[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(page->now_us, stamp);
    html_textf(h, "As of %.10s %.5s UTC.", stamp, stamp + 11);
  }
  if (json_path) {
    html_literal(h, " The same as JSON: ");
    html_element(h, "code", NULL, json_path);
  }
  html_literal(h, "</footer></body></html>\n");
  html_done(h);
}

/* ---- time ---- */

const char *page_span(int64_t us, char out[PAGE_SPAN_SIZE]) {
  int64_t s = (us < 0 ? -us : us) / 1000000;
  if (s < 60)
    snprintf(out, PAGE_SPAN_SIZE, "%lld s", (long long)s);
  else if (s < 3600)
    snprintf(out, PAGE_SPAN_SIZE, "%lld min", (long long)(s / 60));
  else if (s < 48 * 3600)
    snprintf(out, PAGE_SPAN_SIZE, "%lld h", (long long)(s / 3600));
  else
    snprintf(out, PAGE_SPAN_SIZE, "%lld d", (long long)(s / 86400));
  return out;
}

void page_time(struct page *page, const json_t *object, const char *key) {
  long long us;
  char span[PAGE_SPAN_SIZE], stamp[CLOCK_RFC3339_SIZE];
  if (!doc_time(object, key, &us)) return;
  clock_format_rfc3339(us, stamp);
  int64_t ago = page->now_us - us;
  html_open_class(&page->h, "time", "nowrap");
  html_attr(&page->h, "datetime", stamp);
  html_attrf(&page->h, "title", "%.10s %.8s UTC", stamp, stamp + 11);
  if (page->now_us == 0)
    html_textf(&page->h, "%.10s %.5s UTC", stamp, stamp + 11);
  else if (ago >= 0 && ago < 5000000)
    html_text(&page->h, "just now");
  else if (ago >= 0)
    html_textf(&page->h, "%s ago", page_span(ago, span));
  else
    html_textf(&page->h, "in %s", page_span(ago, span));
  html_close(&page->h);
}

/* ---- states ---- */

void page_badge(struct page *page, const char *kind, const char *text) {
  html_open(&page->h, "span");
  html_attrf(&page->h, "class", "badge %s", kind ? kind : "");
  html_text(&page->h, text);
  html_close(&page->h);
}

static const char *kind_of(const char *state) {
  static const struct {
    const char *state, *kind;
  } known[] = {{"live", "good"},        {"promoted", "good"},    {"approved", "good"},
               {"succeeded", "good"},   {"approve", "good"},     {"resolved", "good"},
               {"released", "good"},    {"failed", "bad"},       {"rejected", "bad"},
               {"reject", "bad"},       {"refused", "bad"},      {"aborted", "bad"},
               {"blocked", "bad"},      {"timed_out", "bad"},    {"rolled_back", "bad"},
               {"quarantined", "bad"},  {"data_fault", "bad"},   {"awaiting_approval", "wait"},
               {"open", "wait"},        {"held", "wait"},        {"paused", "wait"},
               {"firing", "wait"},      {"drift", "wait"},       {"prediction_drift", "wait"},
               {"performance", "wait"}, {"expired", "wait"},     {"alert", "alarm"},
               {"latency", "alarm"},    {"volume", "alarm"},     {"estimate", "alarm"},
               {"canary", "alarm"},     {"training", "busy"},    {"evaluating", "busy"},
               {"running", "busy"},     {"rolling_out", "busy"}, {"stepping", "busy"},
               {"proposed", "busy"}};
  for (size_t i = 0; i < ARRAY_LEN(known); i++)
    if (strcmp(known[i].state, state) == 0) return known[i].kind;
  return NULL;
}

const char *page_words(const char *name, char out[PAGE_WORDS_SIZE]) {
  snprintf(out, PAGE_WORDS_SIZE, "%s", name);
  for (char *c = out; *c; c++)
    if (*c == '_') *c = ' ';
  return out;
}

void page_state(struct page *page, const char *state) {
  char words[PAGE_WORDS_SIZE];
  if (state) page_badge(page, kind_of(state), page_words(state, words));
}

void page_verdict(struct page *page, const char *verdict) {
  static const char *const kinds[] = {[SVG_OK] = "good v-ok",
                                      [SVG_DRIFT] = "wait v-drift",
                                      [SVG_FAULT] = "bad v-fault",
                                      [SVG_ALARM] = "alarm v-alarm",
                                      [SVG_UNJUDGED] = "v-none"};
  if (!verdict) return;
  enum svg_verdict known = svg_verdict_of(verdict);
  const char *word = verdict;
  if (strcmp(verdict, "insufficient") == 0) word = "too few rows";
  if (strcmp(verdict, "warming") == 0) word = "warming up";
  page_badge(page, kinds[known], word);
}

/* ---- links ---- */

void page_link_pipeline(struct page *page, const char *name) {
  if (!name) return;
  struct strbuf path;
  strbuf_init(&path, 4096);
  strbuf_puts(&path, "/pipelines/");
  strbuf_add_url(&path, name);
  html_open(&page->h, "a");
  html_attr_url(&page->h, "href", strbuf_text(&path));
  html_text(&page->h, name);
  html_close(&page->h);
  strbuf_fini(&path);
}

void page_link_proposal(struct page *page, json_int_t id) {
  if (id <= 0) return;
  html_open(&page->h, "a");
  html_attrf(&page->h, "href", "/proposals/%lld", (long long)id);
  html_textf(&page->h, "#%lld", (long long)id);
  html_close(&page->h);
}

/* ---- blocks ---- */

void page_section(struct page *page, const char *heading) {
  html_open_class(&page->h, "section", "card");
  html_element(&page->h, "h2", NULL, heading);
}

void page_section_end(struct page *page) {
  html_close(&page->h);
}

void page_fact(struct page *page, const char *name) {
  html_element(&page->h, "dt", NULL, name);
  html_open(&page->h, "dd");
}

void page_fact_end(struct page *page) {
  html_close(&page->h);
}

void page_fact_text(struct page *page, const char *name, const char *text) {
  if (!text) return;
  page_fact(page, name);
  html_text(&page->h, text);
  page_fact_end(page);
}

void page_table(struct page *page, const char *caption, const char *const *headings) {
  struct html *h = &page->h;
  html_open_class(h, "div", "scroll");
  html_attr(h, "tabindex", "0"); /* so that it scrolls by keyboard */
  html_attr(h, "role", "group");
  html_attr(h, "aria-label", caption);
  html_open(h, "table");
  html_element(h, "caption", "hidden", caption);
  html_literal(h, "<thead><tr>");
  for (; *headings; headings++) {
    bool number = **headings == '>';
    html_open_class(h, "th", number ? "num" : NULL);
    html_attr(h, "scope", "col");
    html_text(h, *headings + number);
    html_close(h);
  }
  html_literal(h, "</tr></thead>");
  html_open(h, "tbody");
}

void page_table_end(struct page *page) {
  html_close(&page->h);
  html_close(&page->h);
  html_close(&page->h);
}

const char *page_number(double value, char out[UNITS_TEXT_SIZE]) {
  if (isfinite(value))
    units_format_number(value, out);
  else
    snprintf(out, UNITS_TEXT_SIZE, "\xe2\x80\x93");
  return out;
}

void page_cell_number(struct page *page, double value) {
  char text[UNITS_TEXT_SIZE];
  html_element(&page->h, "td", "num", page_number(value, text));
}

void page_more(struct page *page, size_t count, size_t max) {
  if (count > max) html_elementf(&page->h, "p", "soft", "and %zu more", count - max);
}

void page_count(struct page *page, json_int_t count, const char *one, const char *many) {
  html_textf(&page->h, "%lld %s", (long long)count, count == 1 ? one : many);
}
