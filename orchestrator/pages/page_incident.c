/* Incidents: several pipelines that share something fire together, and a person says whether they retrain. */
#include "pages/page.h"

#define MEMBERS_MAX 200
#define INCIDENTS_MAX 500

static void members(struct page *page, const json_t *all) {
  size_t i;
  json_t *m;
  struct html *h = &page->h;
  if (json_array_size(all) == 0) return;
  page_section(page, "Signals in it");
  page_table(page, "Signals of the incident",
             (const char *const[]){"pipeline", "signal", "kind", "state", "since", NULL});
  json_array_foreach(all, i, m) {
    if (i == MEMBERS_MAX) break;
    html_open(h, "tr");
    html_open(h, "th");
    html_attr(h, "scope", "row");
    page_link_pipeline(page, doc_text(m, "pipeline"));
    html_close(h);
    html_element(h, "td", "words", doc_text(m, "title"));
    html_open(h, "td");
    page_state(page, doc_text(m, "kind"));
    html_close(h);
    html_open(h, "td");
    if (json_is_true(json_object_get(m, "waits")))
      page_badge(page, "wait", "waits");
    else
      page_state(page, doc_text(m, "proposal_state") ? doc_text(m, "proposal_state") : doc_text(m, "status"));
    html_text(h, " ");
    page_link_proposal(page, doc_int(m, "proposal"));
    html_close(h);
    html_open(h, "td");
    page_time(page, m, "since");
    html_close(h);
    html_close(h);
  }
  page_table_end(page);
  page_more(page, json_array_size(all), MEMBERS_MAX);
  page_section_end(page);
}

static void asks(struct page *page, const json_t *owners) {
  size_t i;
  json_t *owner;
  if (json_array_size(owners) == 0) return;
  page_fact(page, "asked are");
  json_array_foreach(owners, i, owner) {
    if (i == MEMBERS_MAX) break;
    html_text(&page->h, i ? ", " : "");
    html_element(&page->h, "bdi", NULL, json_string_value(owner));
  }
  page_fact_end(page);
}

static void facts(struct page *page, const json_t *incident) {
  struct html *h = &page->h;
  long long id = (long long)doc_int(incident, "incident");
  html_open_class(h, "section", "card");
  html_element(h, "p", "headline", doc_text(incident, "summary"));
  html_open_class(h, "dl", "facts why");
  page_fact(page, "shared");
  html_text(h, doc_text(incident, "share"));
  html_text(h, " ");
  html_element(h, "bdi", NULL, doc_text(incident, "value"));
  page_fact_end(page);
  page_fact(page, "opened");
  page_time(page, incident, "opened_at");
  page_fact_end(page);
  if (doc_text(incident, "closed_at")) {
    page_fact(page, "closed");
    page_time(page, incident, "closed_at");
    page_fact_end(page);
  }
  page_fact_text(page, "by", doc_text(incident, "closed_by"));
  page_fact_text(page, "because", doc_text(incident, "close_reason"));
  asks(page, json_object_get(incident, "asks"));
  if (doc_is(incident, "state", "open")) {
    page_fact(page, "decide");
    html_elementf(h, "code", NULL, "orch incident release %lld --reason WHY", id);
    html_text(h, " lets them retrain, ");
    html_elementf(h, "code", NULL, "orch incident dismiss %lld --reason WHY", id);
    html_text(h, " lets them be");
    page_fact_end(page);
  }
  html_close(h);
  html_close(h);
}

void page_incident(struct strbuf *out, const struct page_frame *frame, const json_t *document) {
  struct page page;
  struct html *h = &page.h;
  CLEANUP(mem_free_p) char *title = mem_printf("Incident %lld", (long long)doc_int(document, "incident"));
  page_begin(&page, out, frame, title, "/incidents", "Incidents");
  html_open(h, "div");
  html_open_class(h, "div", "title");
  html_element(h, "h1", NULL, title);
  page_state(&page, doc_text(document, "state"));
  html_close(h);
  facts(&page, document);
  html_close(h);
  members(&page, json_object_get(document, "members"));
  CLEANUP(mem_free_p) char *json_path = mem_printf("/v1/incidents/%lld", (long long)doc_int(document, "incident"));
  page_end(&page, json_path);
}

/* ---- all of them ---- */

static void row(struct page *page, const json_t *incident) {
  struct html *h = &page->h;
  long long id = (long long)doc_int(incident, "incident");
  html_open(h, "tr");
  html_open(h, "th");
  html_attr(h, "scope", "row");
  html_open(h, "a");
  html_attrf(h, "href", "/incidents/%lld", id);
  html_textf(h, "%lld", id);
  html_close(h);
  html_close(h);
  html_open_class(h, "td", "words");
  html_element(h, "bdi", NULL, doc_text(incident, "summary"));
  if (doc_text(incident, "close_reason")) {
    html_open_class(h, "p", "small soft");
    html_text(h, doc_text(incident, "closed_by"));
    html_text(h, doc_text(incident, "closed_by") ? ": " : "");
    html_element(h, "bdi", NULL, doc_text(incident, "close_reason"));
    html_close(h);
  }
  html_close(h);
  html_open(h, "td");
  page_state(page, doc_text(incident, "state"));
  html_close(h);
  page_cell_number(page, doc_number(incident, "waiting"));
  html_open_class(h, "td", "nowrap");
  page_time(page, incident, "opened_at");
  html_close(h);
  html_open_class(h, "td", "nowrap");
  page_time(page, incident, "closed_at");
  html_close(h);
  html_close(h);
}

void page_incidents(struct strbuf *out, const struct page_frame *frame, const json_t *document) {
  struct page page;
  const json_t *all = json_object_get(document, "incidents");
  json_int_t next = doc_int(document, "next");
  size_t i;
  json_t *incident;
  page_begin(&page, out, frame, "Incidents", "/", "Overview");
  html_literal(&page.h,
               "<div><h1>Incidents</h1><p class=\"lead\">Pipelines that share something and fired together. What "
               "waits in one retrains when a person releases it.</p></div>");
  html_open_class(&page.h, "section", "card");
  if (json_array_size(all) == 0)
    html_literal(&page.h, "<p>There were none.</p>");
  else
    page_table(&page, "Incidents, the newest first",
               (const char *const[]){"incident", "what", "state", ">waiting", "opened", "closed", NULL});
  json_array_foreach(all, i, incident) {
    if (i == INCIDENTS_MAX) break;
    row(&page, incident);
  }
  if (json_array_size(all) > 0) page_table_end(&page);
  if (next > 0) {
    html_open_class(&page.h, "p", "soft why");
    html_literal(&page.h, "older ones: ");
    html_elementf(&page.h, "code", NULL, "orch incidents --after %lld", (long long)next);
    html_close(&page.h);
  }
  html_close(&page.h);
  page_end(&page, "/v1/incidents");
}
