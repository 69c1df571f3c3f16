/* One pipeline: what is live, its monitors over time and what they see now, signals, versions. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pages/page.h"

#define MONITORS_MAX 100
#define SIGNALS_MAX 20
#define VERSIONS_MAX 20

/* ---- head ---- */

static void runbook(struct page *page, const json_t *spec) {
  const char *text = doc_text(spec, "runbook");
  if (!text) return;
  page_fact(page, "runbook");
  if (html_url_is_safe(text) && text[0] != '/') {
    html_open(&page->h, "a");
    html_attr_url(&page->h, "href", text);
    html_attr(&page->h, "rel", "noreferrer noopener");
    html_text(&page->h, text);
    html_close(&page->h);
  } else {
    html_element(&page->h, "code", NULL, text);
  }
  page_fact_end(page);
}

static void metrics_of(struct page *page, const json_t *metrics) {
  const char *name;
  json_t *value;
  char text[UNITS_TEXT_SIZE];
  size_t shown = 0;
  page_fact(page, "metrics");
  json_object_foreach((json_t *)(uintptr_t)metrics, name, value) {
    if (!json_is_number(value) || shown >= 12) continue;
    html_text(&page->h, shown++ ? ", " : "");
    html_element(&page->h, "bdi", NULL, name);
    html_textf(&page->h, " %s", page_number(json_number_value(value), text));
  }
  page_fact_end(page);
}

static void head(struct page *page, const json_t *p, const char *name) {
  struct html *h = &page->h;
  const json_t *live = doc_object(p, "live"), *hold = doc_object(p, "hold");
  const json_t *revision = doc_object(p, "revision"), *spec = doc_object(revision, "spec");
  html_open_class(h, "div", "title");
  html_open(h, "h1");
  html_element(h, "bdi", NULL, name);
  html_close(h);
  if (live) {
    page_badge(page, "good", "live");
    html_textf(h, "version %lld", (long long)doc_int(live, "version"));
  } else {
    html_open_class(h, "span", "soft");
    html_text(h, "nothing live yet");
    if (json_array_size(json_object_get(p, "proposals")) == 0) {
      html_text(h, ": ");
      html_elementf(h, "code", NULL, "orch propose %s --reason WHY", name);
      html_text(h, " asks for the first version");
    }
    html_close(h);
  }
  html_close(h);
  if (hold) {
    html_open_class(h, "div", "note wait");
    html_literal(h, "<strong>On hold</strong>: ");
    html_element(h, "bdi", NULL, doc_text(hold, "reason"));
    html_open_class(h, "p", "small soft");
    html_literal(h, "by ");
    html_element(h, "bdi", NULL, doc_text(hold, "by"));
    html_literal(h, ", ");
    page_time(page, hold, "since");
    html_literal(h, "; nothing automatic happens here until it is released");
    html_close(h);
    html_close(h);
  }
  html_open_class(h, "section", "card");
  html_open_class(h, "dl", "facts");
  if (live) {
    page_fact(page, "live since");
    page_time(page, live, "since");
    page_fact_end(page);
    if (doc_object(live, "metrics")) metrics_of(page, doc_object(live, "metrics"));
  }
  page_fact_text(page, "owner", doc_text(p, "owner"));
  page_fact_text(page, "on call", doc_text(p, "oncall"));
  runbook(page, spec);
  if (doc_text(revision, "git_commit")) {
    page_fact(page, "code");
    html_elementf(h, "code", NULL, "%.12s", doc_text(revision, "git_commit"));
    if (json_is_true(json_object_get(revision, "git_dirty"))) html_text(h, " with changes on top");
    page_fact_end(page);
  }
  html_close(h);
  html_close(h);
}

/* ---- monitors ---- */

static const char *kind_words(const json_t *monitor) {
  static const char *const words[][2] = {
      {"drift", "input drift"},     {"prediction_drift", "prediction drift"},
      {"quality", "data quality"},  {"estimated_performance", "estimated performance"},
      {"prometheus", "Prometheus"}, {"sql", "SQL"}};
  const char *kind = doc_text(monitor, "kind");
  if (!kind) kind = doc_text(json_object_get(monitor, "spec"), "kind");
  for (size_t i = 0; kind && i < ARRAY_LEN(words); i++)
    if (strcmp(kind, words[i][0]) == 0) return words[i][1];
  return kind ? kind : "monitor";
}

/* The newest result: `latest`, or the first of the windows that carries one. */
static const json_t *latest_of(const json_t *monitor) {
  const json_t *latest = doc_object(monitor, "latest");
  return latest ? latest : doc_object(json_array_get(json_object_get(monitor, "windows"), 0), "result");
}

static void versions_compared(struct page *page, const json_t *latest) {
  size_t i;
  json_t *v;
  const json_t *versions = json_object_get(latest, "versions");
  if (json_array_size(versions) == 0) return;
  page_table(page, "The same window by version", (const char *const[]){"version", ">rows", ">value", NULL});
  json_array_foreach(versions, i, v) {
    if (i == VERSIONS_MAX) break;
    html_open(&page->h, "tr");
    html_open(&page->h, "th");
    html_attr(&page->h, "scope", "row");
    if (json_is_integer(json_object_get(v, "version")))
      html_textf(&page->h, "%lld", (long long)doc_int(v, "version"));
    else
      html_text(&page->h, doc_text(v, "version"));
    html_close(&page->h);
    page_cell_number(page, doc_number(v, "rows"));
    page_cell_number(page, doc_number(v, "value"));
    html_close(&page->h);
  }
  page_table_end(page);
}

static void faults(struct page *page, const json_t *latest) {
  size_t i;
  json_t *fault;
  const json_t *all = json_object_get(latest, "faults");
  if (json_array_size(all) == 0) return;
  html_open_class(&page->h, "ul", "why");
  json_array_foreach(all, i, fault) {
    if (i == 50) break;
    html_open(&page->h, "li");
    char words[PAGE_WORDS_SIZE];
    page_badge(page, "bad v-fault", page_words(doc_text(fault, "check") ? doc_text(fault, "check") : "fault", words));
    html_text(&page->h, " ");
    if (doc_text(fault, "column")) {
      html_element(&page->h, "bdi", NULL, doc_text(fault, "column"));
      html_text(&page->h, ": ");
    }
    html_text(&page->h, doc_text(fault, "why"));
    html_close(&page->h);
  }
  html_close(&page->h);
}

/* What a monitor without a result waits for. */
static void nothing_yet(struct page *page, const json_t *monitor) {
  const json_t *spec = doc_object(monitor, "spec");
  struct html *h = &page->h;
  html_open_class(h, "p", "soft why");
  if (doc_text(doc_object(spec, "cron"), "text")) {
    html_element(h, "code", NULL, doc_text(doc_object(spec, "cron"), "text"));
    html_text(h, doc_text(monitor, "due_at") ? ", next " : "");
    page_time(page, monitor, "due_at");
  } else if (isfinite(doc_number(spec, "silence_ms"))) {
    char span[PAGE_SPAN_SIZE];
    html_textf(h, "speaks when no row has come for %s",
               page_span((int64_t)(fmin(doc_number(spec, "silence_ms"), 1e15) * 1000), span));
  } else if (doc_text(spec, "query")) {
    html_text(h, "has not asked yet");
    html_text(h, doc_text(monitor, "due_at") ? ": next " : "");
    page_time(page, monitor, "due_at");
  } else {
    html_text(h, "no window yet: it is judged when enough rows have come");
  }
  html_close(h);
}

static void monitor_card(struct page *page, const json_t *monitor) {
  struct html *h = &page->h;
  const char *name = doc_text(monitor, "monitor");
  const json_t *latest = latest_of(monitor), *windows = json_object_get(monitor, "windows");
  const char *verdict = doc_text(latest, "verdict");
  if (!verdict) verdict = doc_text(json_array_get(windows, 0), "verdict");
  html_open_class(h, "article", "card");
  html_open_class(h, "div", "title");
  html_open(h, "h3");
  html_element(h, "bdi", NULL, name ? name : "(no name)");
  html_close(h);
  html_element(h, "span", "soft small", kind_words(monitor));
  page_verdict(page, verdict);
  if (json_is_false(json_object_get(monitor, "active"))) page_badge(page, NULL, "no longer in the pipeline");
  html_close(h);
  if (doc_text(latest, "summary")) html_element(h, "p", "why", doc_text(latest, "summary"));
  if (!latest && json_array_size(windows) == 0) nothing_yet(page, monitor);
  faults(page, latest);
  CLEANUP(mem_free_p) char *title = mem_printf("%s over time", name ? name : "monitor");
  if (json_array_size(windows) > 0)
    page_timeline(
        page, &(struct page_series){.title = title, .points = windows, .threshold = doc_number(latest, "threshold")});
  versions_compared(page, latest);
  html_close(h);
}

static void monitors(struct page *page, const json_t *p) {
  const json_t *all = json_object_get(p, "monitors");
  size_t i;
  json_t *monitor;
  html_literal(&page->h, "<section aria-labelledby=\"monitors\"><h2 id=\"monitors\">Monitors</h2>");
  if (json_array_size(all) == 0)
    html_literal(&page->h,
                 "<p class=\"soft\">This pipeline has none: add <code>monitors:</code> to its pipeline.yaml.</p>");
  html_open_class(&page->h, "div", "pair");
  json_array_foreach(all, i, monitor) {
    if (i < MONITORS_MAX) monitor_card(page, monitor);
  }
  html_close(&page->h);
  html_literal(&page->h, "</section>");
  json_array_foreach(all, i, monitor) {
    const json_t *latest = latest_of(monitor), *columns = json_object_get(latest, "columns");
    if (i >= MONITORS_MAX || json_array_size(columns) == 0) continue;
    html_open(&page->h, "section");
    html_open(&page->h, "h2");
    html_element(&page->h, "bdi", NULL, doc_text(monitor, "monitor"));
    html_text(&page->h, ": the latest window against the reference");
    html_close(&page->h);
    page_columns(page, columns, 0);
    html_close(&page->h);
  }
}

/* ---- signals, versions, proposals ---- */

static void signals(struct page *page, const json_t *all) {
  size_t i;
  json_t *s;
  if (json_array_size(all) == 0) return;
  page_section(page, "Signals");
  page_table(page, "Signals, newest first", (const char *const[]){"what", "kind", "state", "became", "since", NULL});
  json_array_foreach(all, i, s) {
    if (i == SIGNALS_MAX) break;
    html_open(&page->h, "tr");
    html_open_class(&page->h, "th", "words");
    html_attr(&page->h, "scope", "row");
    html_text(&page->h, doc_text(s, "title"));
    if (doc_text(s, "held_reason")) html_element(&page->h, "p", "small soft", doc_text(s, "held_reason"));
    html_close(&page->h);
    html_open(&page->h, "td");
    page_state(page, doc_text(s, "kind"));
    html_close(&page->h);
    html_open(&page->h, "td");
    page_state(page, doc_text(s, "status"));
    html_close(&page->h);
    html_open_class(&page->h, "td", "nowrap");
    html_text(&page->h, doc_text(s, "disposition"));
    if (doc_int(s, "proposal") > 0) html_text(&page->h, " ");
    page_link_proposal(page, doc_int(s, "proposal"));
    html_close(&page->h);
    html_open(&page->h, "td");
    page_time(page, s, "first_at");
    html_close(&page->h);
    html_close(&page->h);
  }
  page_table_end(page);
  page_section_end(page);
}

static void proposals(struct page *page, const json_t *all) {
  size_t i;
  json_t *q;
  if (json_array_size(all) == 0) return;
  page_section(page, "Proposals");
  page_table(page, "Proposals, newest first",
             (const char *const[]){"proposal", "state", "why", "version", "opened", NULL});
  json_array_foreach(all, i, q) {
    if (i == VERSIONS_MAX) break;
    html_open(&page->h, "tr");
    html_open(&page->h, "td");
    page_link_proposal(page, doc_int(q, "proposal"));
    html_close(&page->h);
    html_open(&page->h, "td");
    page_state(page, doc_text(q, "state"));
    html_close(&page->h);
    html_element(&page->h, "td", "words", doc_text(q, "reason"));
    html_open(&page->h, "td");
    if (doc_int(q, "version") > 0) html_textf(&page->h, "%lld", (long long)doc_int(q, "version"));
    html_close(&page->h);
    html_open(&page->h, "td");
    page_time(page, q, "created_at");
    html_close(&page->h);
    html_close(&page->h);
  }
  page_table_end(page);
  page_section_end(page);
}

static void versions(struct page *page, const json_t *all) {
  size_t i;
  json_t *v;
  if (json_array_size(all) == 0) return;
  page_section(page, "Versions");
  page_table(page, "Versions, newest first",
             (const char *const[]){"version", "state", "proposal", "trained", "artifact", NULL});
  json_array_foreach(all, i, v) {
    const char *artifact = doc_text(v, "artifact");
    if (i == VERSIONS_MAX) break;
    html_open(&page->h, "tr");
    html_elementf(&page->h, "td", NULL, "%lld", (long long)doc_int(v, "version"));
    html_open(&page->h, "td");
    page_state(page, doc_text(v, "state"));
    html_close(&page->h);
    html_open(&page->h, "td");
    page_link_proposal(page, doc_int(v, "proposal"));
    html_close(&page->h);
    html_open(&page->h, "td");
    page_time(page, v, "created_at");
    html_close(&page->h);
    html_open(&page->h, "td");
    if (artifact) html_elementf(&page->h, "code", NULL, "%.19s\xe2\x80\xa6", artifact);
    html_close(&page->h);
    html_close(&page->h);
  }
  page_table_end(page);
  page_section_end(page);
}

void page_pipeline(struct strbuf *out, const struct page_frame *frame, const json_t *document) {
  struct page page;
  const json_t *p = json_object_get(document, "pipeline");
  const char *name = doc_text(p, "pipeline") ? doc_text(p, "pipeline") : "pipeline";
  page_begin(&page, out, frame, name, "/", "Overview");
  html_open(&page.h, "div");
  head(&page, p, name);
  html_close(&page.h);
  monitors(&page, p);
  signals(&page, json_object_get(json_object_get(document, "signals"), "signals"));
  proposals(&page, json_object_get(p, "proposals"));
  versions(&page, json_object_get(json_object_get(document, "versions"), "versions"));
  CLEANUP(mem_free_p) char *json_path = mem_printf("/v1/pipelines/%s", name);
  page_end(&page, json_path);
}
