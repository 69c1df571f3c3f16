/* One proposal: why, with pictures; how far; with what numbers; who decides; where it went. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pages/page.h"

#define SIGNALS_MAX 20
#define FAULTS_MAX 50
#define CHECKS_MAX 100
#define METRICS_MAX 60
#define STEPS_MAX 100

/* ---- why ---- */

/* Signals, each with its kind, what it says, where it comes from, and since when; of other pipelines with their name.
 */
static void signals(struct page *page, const char *heading, const json_t *all, const char *since) {
  size_t i;
  json_t *s;
  struct html *h = &page->h;
  if (json_array_size(all) == 0) return;
  page_section(page, heading);
  html_open_class(h, "ul", "signals");
  json_array_foreach(all, i, s) {
    json_int_t incident = doc_int(s, "incident");
    if (i == SIGNALS_MAX) break;
    html_open(h, "li");
    page_state(page, doc_text(s, "kind"));
    html_text(h, " ");
    if (incident > 0 && doc_text(s, "pipeline")) {
      page_link_pipeline(page, doc_text(s, "pipeline"));
      html_text(h, ": ");
    }
    html_element(h, "bdi", NULL, doc_text(s, "title"));
    html_open_class(h, "span", "soft small");
    html_textf(h, " %s%s", doc_text(s, "source") ? doc_text(s, "source") : "", doc_text(s, "source") ? ", " : "");
    page_time(page, s, since);
    if (incident > 0) html_textf(h, ", in incident %lld", (long long)incident);
    html_close(h);
    html_close(h);
  }
  html_close(h);
  page_more(page, json_array_size(all), SIGNALS_MAX);
  page_section_end(page);
}

static void faults(struct page *page, const json_t *all) {
  size_t i;
  json_t *fault;
  if (json_array_size(all) == 0) return;
  html_open_class(&page->h, "ul", "notes why");
  json_array_foreach(all, i, fault) {
    const char *column = doc_text(fault, "column") ? doc_text(fault, "column") : doc_text(fault, "name");
    if (i == FAULTS_MAX) break;
    html_open_class(&page->h, "li", "note bad");
    char words[PAGE_WORDS_SIZE];
    page_badge(page, "bad v-fault",
               page_words(doc_text(fault, "check") ? doc_text(fault, "check") : "broken data", words));
    html_text(&page->h, " ");
    html_element(&page->h, "bdi", NULL, column);
    html_text(&page->h, column ? ": " : "");
    html_text(&page->h, doc_text(fault, "why"));
    html_close(&page->h);
  }
  html_close(&page->h);
}

static void verdict(struct page *page, const json_t *diagnosis) {
  bool broken = json_array_size(json_object_get(diagnosis, "faults")) > 0;
  const char *const words[][3] = {{"drift", "wait v-drift", "looks like drift"},
                                  {"fault", "bad v-fault", "looks like broken data"},
                                  {"performance", "wait v-drift", "the model got worse"},
                                  {"mixed", "alarm v-alarm", broken ? "broken data too" : "several reasons"},
                                  {"schedule", "busy", "by schedule"},
                                  {"asked", "busy", "somebody asked"}};
  for (size_t i = 0; i < ARRAY_LEN(words); i++)
    if (doc_is(diagnosis, "verdict", words[i][0])) page_badge(page, words[i][1], words[i][2]);
}

static void since(struct page *page, const json_t *since_doc) {
  if (!since_doc) return;
  double row = doc_number(since_doc, "row"), rows = doc_number(since_doc, "rows");
  json_int_t windows = doc_int(since_doc, "windows");
  page_fact(page, "since");
  if (json_is_true(json_object_get(since_doc, "by_rows")) && doc_text(since_doc, "at"))
    html_textf(&page->h, "%.10s, ", doc_text(since_doc, "at")); /* as the summary says it */
  page_time(page, since_doc, "at");
  if (isfinite(row)) html_textf(&page->h, "%srow %.0f", doc_text(since_doc, "at") ? ", " : "", row);
  if (windows > 0) html_textf(&page->h, ", %lld %s", (long long)windows, windows == 1 ? "window" : "windows");
  if (windows > 0 && isfinite(rows)) html_textf(&page->h, " of %.0f", rows);
  if (windows > 0) html_text(&page->h, " in a row");
  page_fact_end(page);
}

static void why(struct page *page, const json_t *q) {
  const json_t *d = doc_object(q, "diagnosis");
  struct html *h = &page->h;
  html_open_class(h, "section", "card");
  html_open_class(h, "div", "title");
  html_literal(h, "<h2>Why</h2>");
  verdict(page, d);
  html_close(h);
  html_element(h, "p", "headline", doc_text(d, "summary") ? doc_text(d, "summary") : doc_text(q, "reason"));
  faults(page, json_object_get(d, "faults"));
  html_open_class(h, "dl", "facts why");
  if (doc_text(d, "summary")) page_fact_text(page, "reason given", doc_text(q, "reason"));
  since(page, doc_object(d, "since"));
  page_fact_text(page, "if ignored", doc_text(d, "if_ignored"));
  page_fact_text(page, "opened by", doc_text(q, "opened_by"));
  html_close(h);
  html_close(h);
}

static void live_metric(struct page *page, const json_t *metric) {
  char then[UNITS_TEXT_SIZE], now[UNITS_TEXT_SIZE];
  const char *name = doc_text(metric, "metric") ? doc_text(metric, "metric") : "metric";
  if (!metric) return;
  page_section(page, "The live model");
  html_open(&page->h, "p");
  html_element(&page->h, "strong", NULL, name);
  if (json_is_true(json_object_get(metric, "estimated"))) html_text(&page->h, " (estimated, without labels)");
  html_textf(&page->h, " was %s at its promotion and is %s now", page_number(doc_number(metric, "at_promotion"), then),
             page_number(doc_number(metric, "now"), now));
  html_close(&page->h);
  CLEANUP(mem_free_p) char *title = mem_printf("%s of the live model over time", name);
  page_timeline(page, &(struct page_series){.title = title,
                                            .points = json_object_get(metric, "series"),
                                            .oldest_first = true,
                                            .threshold = doc_number(metric, "threshold"),
                                            .better = doc_text(metric, "better")});
  page_section_end(page);
}

static void moved(struct page *page, const json_t *d) {
  const json_t *columns = json_object_get(d, "columns");
  if (json_array_size(columns) == 0) return;
  html_literal(&page->h, "<section aria-labelledby=\"moved\"><h2 id=\"moved\">What moved, by weight</h2>");
  page_columns(page, columns, doc_int(d, "more_columns"));
  html_literal(&page->h, "</section>");
}

/* ---- the candidate ---- */

static void check_row(struct page *page, const json_t *check) {
  struct html *h = &page->h;
  html_open(h, "tr");
  html_open_class(h, "th", doc_text(check, "what") ? "words" : NULL);
  html_attr(h, "scope", "row");
  html_text(h, doc_text(check, "metric"));
  if (doc_text(check, "slice")) {
    html_text(h, ", ");
    html_element(h, "bdi", NULL, doc_text(check, "slice"));
    html_text(h, " ");
    html_element(h, "bdi", NULL, doc_text(check, "value"));
  }
  if (doc_text(check, "what")) html_element(h, "p", "small soft", doc_text(check, "what"));
  html_close(h);
  page_cell_number(page, doc_number(check, "candidate"));
  page_cell_number(page, doc_number(check, "champion"));
  page_cell_number(page, doc_number(check, "min"));
  page_cell_number(page, doc_number(check, "max"));
  page_cell_number(page, doc_number(check, "vs_champion"));
  html_open(h, "td");
  bool ok = json_is_true(json_object_get(check, "ok"));
  page_badge(page, ok ? "good" : "bad", ok ? "passed" : "failed");
  html_close(h);
  html_close(h);
}

static void checks(struct page *page, const json_t *all) {
  size_t i, count = json_array_size(all);
  json_t *check;
  if (count == 0) return;
  page_section(page, "Checks");
  page_table(
      page, "The candidate against floor and champion",
      (const char *const[]){"metric", ">candidate", ">champion", ">at least", ">at most", ">allowed change", "", NULL});
  json_array_foreach(all, i, check) {
    if (i == CHECKS_MAX) break;
    check_row(page, check);
  }
  page_table_end(page);
  page_more(page, count, CHECKS_MAX);
  page_section_end(page);
}

static void evaluations(struct page *page, const json_t *all) {
  const json_t *candidate = doc_object(doc_object(all, "candidate"), "metrics");
  const json_t *champion = doc_object(doc_object(all, "champion"), "metrics");
  const char *name;
  json_t *value;
  size_t shown = 0;
  if (!candidate) return;
  page_section(page, "Evaluation on the same data");
  page_table(page, "Metrics of candidate and champion",
             (const char *const[]){"metric", ">candidate", ">champion", ">change", NULL});
  json_object_foreach((json_t *)(uintptr_t)candidate, name, value) {
    if (!json_is_number(value) || shown == METRICS_MAX) continue;
    double one = json_number_value(value), other = doc_number(champion, name);
    char change[UNITS_TEXT_SIZE];
    html_open(&page->h, "tr");
    html_open(&page->h, "th");
    html_attr(&page->h, "scope", "row");
    html_text(&page->h, name);
    html_close(&page->h);
    page_cell_number(page, one);
    page_cell_number(page, other);
    html_elementf(&page->h, "td", "num", "%s%s", one > other ? "+" : "", page_number(one - other, change));
    html_close(&page->h);
    shown++;
  }
  page_table_end(page);
  page_section_end(page);
}

/* ---- how far ---- */

static void steps(struct page *page, const json_t *all) {
  size_t i;
  json_t *step;
  struct html *h = &page->h;
  if (json_array_size(all) == 0) return;
  page_section(page, "Steps");
  page_table(page, "Steps of the run", (const char *const[]){"step", "state", "attempt", "took", "", NULL});
  json_array_foreach(all, i, step) {
    double ms = doc_number(step, "duration_ms"), progress = doc_number(step, "progress");
    char span[PAGE_SPAN_SIZE];
    if (i == STEPS_MAX) break;
    html_open(h, "tr");
    html_open(h, "th");
    html_attr(h, "scope", "row");
    html_text(h, doc_text(step, "step"));
    if (doc_text(step, "subject")) html_textf(h, " (%s)", doc_text(step, "subject"));
    html_close(h);
    html_open(h, "td");
    page_state(page, doc_text(step, "state"));
    html_close(h);
    html_open(h, "td");
    if (doc_int(step, "attempt") > 0) html_textf(h, "%lld", (long long)doc_int(step, "attempt"));
    html_close(h);
    html_open_class(h, "td", "nowrap");
    if (isfinite(ms) && ms < 1000)
      html_textf(h, "%.0f ms", ms);
    else if (isfinite(ms) && ms < 10000)
      html_textf(h, "%.1f s", ms / 1000);
    else if (isfinite(ms))
      html_text(h, page_span((int64_t)(fmin(ms, 1e15) * 1000), span));
    else if (isfinite(progress))
      html_textf(h, "%.0f %%", 100 * progress);
    html_close(h);
    const char *said = doc_text(step, "error") ? doc_text(step, "error") : doc_text(step, "progress_text");
    html_element(h, "td", said ? "small words" : NULL, said);
    html_close(h);
  }
  page_table_end(page);
  page_section_end(page);
}

static void deployment(struct page *page, const json_t *d) {
  struct html *h = &page->h;
  if (!d) return;
  html_open_class(h, "section", "card");
  html_open_class(h, "div", "title");
  html_literal(h, "<h2>Deployment</h2>");
  page_state(page, doc_text(d, "state"));
  html_close(h);
  html_open_class(h, "dl", "facts");
  page_fact(page, "version");
  if (doc_int(d, "from") > 0) html_textf(h, "%lld \xe2\x86\x92 ", (long long)doc_int(d, "from"));
  html_textf(h, "%lld", (long long)doc_int(d, "version"));
  page_fact_end(page);
  page_fact_text(page, "by", doc_text(d, "actor"));
  page_fact_text(page, "because", doc_text(d, "reason"));
  page_fact(page, "began");
  page_time(page, d, "created_at");
  page_fact_end(page);
  if (doc_text(d, "ended_at")) {
    page_fact(page, "ended");
    page_time(page, d, "ended_at");
    page_fact_end(page);
  }
  html_close(h);
  html_close(h);
}

static void head(struct page *page, const json_t *q) {
  struct html *h = &page->h;
  html_open(h, "div");
  html_open_class(h, "div", "title");
  html_open(h, "h1");
  html_textf(h, "#%lld ", (long long)doc_int(q, "proposal"));
  html_element(h, "bdi", NULL, doc_text(q, "pipeline"));
  if (doc_int(q, "version") > 0) html_textf(h, "@%lld", (long long)doc_int(q, "version"));
  html_close(h);
  page_state(page, doc_text(q, "state"));
  html_close(h);
  html_open_class(h, "p", "lead facts-line");
  html_open(h, "span");
  html_text(h, "opened ");
  page_time(page, q, "created_at");
  html_close(h);
  if (doc_text(q, "end_reason")) html_element(h, "span", NULL, doc_text(q, "end_reason"));
  html_close(h);
  html_close(h);
}

void page_proposal(struct strbuf *out, const struct page_frame *frame, const json_t *document) {
  struct page page;
  const json_t *d = doc_object(document, "diagnosis");
  CLEANUP(mem_free_p) char *title = mem_printf("Proposal #%lld", (long long)doc_int(document, "proposal"));
  struct strbuf crumb;
  strbuf_init(&crumb, 4096);
  strbuf_puts(&crumb, "/pipelines/");
  strbuf_add_url(&crumb, doc_text(document, "pipeline") ? doc_text(document, "pipeline") : "");
  page_begin(&page, out, frame, title, strbuf_text(&crumb), doc_text(document, "pipeline"));
  strbuf_fini(&crumb);
  head(&page, document);
  why(&page, document);
  page_gate(&page, doc_object(document, "gate"));
  moved(&page, d);
  html_open_class(&page.h, "div", "pair");
  live_metric(&page, doc_object(d, "live_metric"));
  signals(&page, "What else fired", json_object_get(d, "also"), "since");
  html_close(&page.h);
  checks(&page, json_object_get(document, "checks"));
  evaluations(&page, doc_object(document, "evaluations"));
  signals(&page, "Signals it answers", json_object_get(document, "signals"), "first_at");
  steps(&page, json_object_get(document, "steps"));
  deployment(&page, doc_object(document, "deployment"));
  CLEANUP(mem_free_p) char *json_path = mem_printf("/v1/proposals/%lld", (long long)doc_int(document, "proposal"));
  page_end(&page, json_path);
}
