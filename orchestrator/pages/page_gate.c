/* A gate as a card: the rules and who has met them, until when, for which evidence, the votes. */
#include "pages/page.h"

#define VOTES_MAX 100

static void rules(struct page *page, const json_t *gate) {
  size_t i, j;
  json_t *rule, *name;
  json_array_foreach(json_object_get(gate, "approvals"), i, rule) {
    const json_t *by = json_object_get(rule, "by");
    if (i == VOTES_MAX) break;
    html_open(&page->h, "li");
    html_textf(&page->h, "%zu of %lld from ", json_array_size(by), (long long)doc_int(rule, "approvals"));
    html_element(&page->h, "bdi", NULL, doc_text(rule, "group"));
    json_array_foreach(by, j, name) {
      if (j == VOTES_MAX) break;
      html_text(&page->h, j ? ", " : ": ");
      html_element(&page->h, "bdi", NULL, json_string_value(name));
    }
    html_close(&page->h);
  }
}

static void votes(struct page *page, const json_t *all) {
  size_t i;
  json_t *vote;
  struct html *h = &page->h;
  if (json_array_size(all) == 0) return;
  html_open_class(h, "ul", "notes why");
  json_array_foreach(all, i, vote) {
    bool yes = doc_is(vote, "verdict", "approve");
    if (i == VOTES_MAX) break;
    html_open(h, "li");
    html_attrf(h, "class", "note %s", yes ? "good" : "bad");
    html_element(h, "bdi", NULL, doc_text(vote, "reviewer"));
    html_text(h, yes ? " approved" : " rejected");
    html_open_class(h, "span", "soft small");
    html_text(h, ", ");
    page_time(page, vote, "at");
    if (doc_text(vote, "via")) html_textf(h, " by %s", doc_text(vote, "via"));
    html_close(h);
    if (doc_text(vote, "comment")) html_element(h, "p", NULL, doc_text(vote, "comment"));
    html_close(h);
  }
  html_close(h);
}

void page_gate(struct page *page, const json_t *g) {
  struct html *h = &page->h;
  const char *digest = doc_text(g, "digest");
  if (!g) return;
  html_open_class(h, "section", "card");
  html_open_class(h, "div", "title");
  html_literal(h, "<h2>Approval</h2>");
  page_state(page, doc_text(g, "state"));
  html_close(h);
  html_open_class(h, "dl", "facts");
  page_fact(page, "needs");
  html_open(h, "ul");
  rules(page, g);
  html_close(h);
  page_fact_end(page);
  if (doc_text(g, "expires_at") && doc_is(g, "state", "open")) {
    page_fact(page, "expires");
    page_time(page, g, "expires_at");
    page_fact_end(page);
  }
  page_fact_text(page, "closed because", doc_text(g, "reason"));
  if (digest) {
    page_fact(page, "evidence");
    html_elementf(h, "code", NULL, "%.19s\xe2\x80\xa6", digest);
    page_fact_end(page);
  }
  if (doc_is(g, "state", "open")) {
    page_fact(page, "decide");
    html_elementf(h, "code", NULL, "orch approve %lld", (long long)doc_int(g, "proposal"));
    html_text(h, " or ");
    html_elementf(h, "code", NULL, "orch reject %lld", (long long)doc_int(g, "proposal"));
    html_text(h, ", or the buttons in chat");
    page_fact_end(page);
  }
  html_close(h);
  votes(page, json_object_get(g, "decisions"));
  html_close(h);
}
