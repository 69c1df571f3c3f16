/* The first page: each pipeline on one screen, and what needs somebody. */
#include <math.h>
#include <string.h>

#include "pages/page.h"

#define PIPELINES_MAX 500 /* shown; those that need somebody come first */
#define NOTES_MAX 50
#define FIRING_MAX 3 /* of a pipeline */

/* How urgent a pipeline is: what waits for people, then what is wrong, then what moves, then the rest. */
enum urgency { CALLS, FIRES, MOVES, QUIET, URGENCIES };

static enum urgency urgency_of(const json_t *p) {
  if (doc_object(p, "gate") || doc_object(p, "hold")) return CALLS;
  if (json_array_size(json_object_get(p, "firing")) > 0) return FIRES;
  if (json_array_size(json_object_get(p, "proposals")) > 0 || doc_object(p, "deployment")) return MOVES;
  return QUIET;
}

/* ---- what needs somebody ---- */

/* False for one that is too much: it is only counted. */
static bool note_open(struct page *page, const char *kind, unsigned *count) {
  if (*count >= NOTES_MAX) {
    (*count)++;
    return false;
  }
  if ((*count)++ == 0) {
    html_literal(&page->h, "<section aria-labelledby=\"needs\"><h2 id=\"needs\">Needs somebody</h2>");
    html_open_class(&page->h, "ul", "notes");
  }
  html_open(&page->h, "li");
  html_attrf(&page->h, "class", "note %s", kind);
  return true;
}

/* "ml-owners (1 more), risk": the rules that are not met yet. */
static void waits_for(struct page *page, const json_t *gate) {
  size_t i, shown = 0;
  json_t *rule;
  json_array_foreach(json_object_get(gate, "approvals"), i, rule) {
    json_int_t open = doc_int(rule, "approvals") - (json_int_t)json_array_size(json_object_get(rule, "by"));
    const char *group = doc_text(rule, "group");
    if (open <= 0 || !group) continue;
    html_text(&page->h, shown++ ? ", " : "");
    html_element(&page->h, "bdi", NULL, group);
    if (open > 1) html_textf(&page->h, " (%lld)", (long long)open);
  }
  if (shown == 0) html_text(&page->h, "its reviewers");
}

static void note_gate(struct page *page, const json_t *p, unsigned *count) {
  const json_t *gate = doc_object(p, "gate");
  struct html *h = &page->h;
  if (!gate || !note_open(page, "wait", count)) return;
  page_link_proposal(page, doc_int(gate, "proposal"));
  html_textf(h, " %s@%lld waits for ", doc_text(p, "pipeline") ? doc_text(p, "pipeline") : "?",
             (long long)doc_int(gate, "version"));
  waits_for(page, gate);
  html_open_class(h, "p", "small soft");
  html_literal(h, "opened ");
  page_time(page, gate, "opened_at");
  html_literal(h, ", expires ");
  page_time(page, gate, "expires_at");
  html_close(h);
  html_close(h);
}

static void note_hold(struct page *page, const json_t *p, unsigned *count) {
  const json_t *hold = doc_object(p, "hold");
  struct html *h = &page->h;
  if (!hold || !note_open(page, "wait", count)) return;
  page_link_pipeline(page, doc_text(p, "pipeline"));
  html_literal(h, " is on hold: ");
  html_element(h, "bdi", NULL, doc_text(hold, "reason"));
  html_open_class(h, "p", "small soft");
  html_literal(h, "by ");
  html_element(h, "bdi", NULL, doc_text(hold, "by"));
  html_literal(h, ", ");
  page_time(page, hold, "since");
  html_close(h);
  html_close(h);
}

/* Signals that wait for a person, or tell of broken data. What waits in an incident is told once, as that. */
static void note_signals(struct page *page, const json_t *p, unsigned *count) {
  size_t i;
  json_t *s;
  struct html *h = &page->h;
  json_array_foreach(json_object_get(p, "firing"), i, s) {
    bool fault = doc_is(s, "kind", "data_fault");
    if (!fault && (!doc_is(s, "disposition", "held") || doc_int(s, "incident") > 0)) continue;
    if (!note_open(page, fault ? "bad" : "wait", count)) continue;
    page_link_pipeline(page, doc_text(p, "pipeline"));
    html_literal(h, ": ");
    html_element(h, "bdi", NULL, doc_text(s, "title"));
    html_open_class(h, "p", "small soft");
    html_text(h, doc_text(s, "held_reason"));
    html_text(h, doc_text(s, "held_reason") ? "; since " : "since ");
    page_time(page, s, "since");
    html_close(h);
    html_close(h);
  }
}

static void note_incidents(struct page *page, const json_t *incidents, unsigned *count) {
  size_t i;
  json_t *incident;
  struct html *h = &page->h;
  json_array_foreach(incidents, i, incident) {
    if (doc_text(incident, "state") && !doc_is(incident, "state", "open")) continue;
    if (!note_open(page, "alarm", count)) continue;
    html_open(h, "a");
    html_attrf(h, "href", "/incidents/%lld", (long long)doc_int(incident, "incident"));
    html_textf(h, "Incident %lld", (long long)doc_int(incident, "incident"));
    html_close(h);
    html_text(h, ": ");
    html_element(h, "bdi", NULL, doc_text(incident, "summary"));
    html_open_class(h, "p", "small soft");
    html_literal(h, "opened ");
    page_time(page, incident, "opened_at");
    html_textf(h, ", %lld of its signals wait", (long long)doc_int(incident, "waiting"));
    html_close(h);
    html_close(h);
  }
}

static void needs(struct page *page, const json_t *pipelines, const json_t *incidents) {
  unsigned count = 0;
  size_t i;
  json_t *p;
  note_incidents(page, incidents, &count);
  json_array_foreach(pipelines, i, p) {
    note_gate(page, p, &count);
    note_hold(page, p, &count);
    note_signals(page, p, &count);
  }
  if (count == 0) return;
  html_close(&page->h);
  page_more(page, count, NOTES_MAX);
  html_literal(&page->h, "</section>");
}

/* ---- pipelines ---- */

static void live(struct page *page, const json_t *p) {
  const json_t *version = doc_object(p, "live");
  struct html *h = &page->h;
  html_open_class(h, "div", "live");
  if (version) {
    page_badge(page, "good", "live");
    html_textf(h, " version %lld ", (long long)doc_int(version, "version"));
    html_open_class(h, "span", "soft small");
    html_literal(h, "since ");
    page_time(page, version, "since");
    html_close(h);
  } else {
    html_element(h, "span", "soft", "nothing live yet");
  }
  html_close(h);
}

static void doing(struct page *page, const json_t *p) {
  size_t i, shown = 0;
  json_t *item;
  struct html *h = &page->h;
  html_open_class(h, "div", "doing");
  if (doc_object(p, "hold")) {
    html_open(h, "p");
    page_badge(page, "wait", "on hold");
    html_close(h);
    shown++;
  }
  json_array_foreach(json_object_get(p, "proposals"), i, item) {
    html_open(h, "p");
    page_link_proposal(page, doc_int(item, "proposal"));
    html_literal(h, " ");
    page_state(page, doc_text(item, "state"));
    html_literal(h, " ");
    html_element(h, "span", "small soft", doc_text(item, "reason"));
    html_close(h);
    shown++;
  }
  json_array_foreach(json_object_get(p, "firing"), i, item) {
    if (i == FIRING_MAX) break;
    html_open(h, "p");
    page_state(page, doc_text(item, "kind"));
    html_literal(h, " ");
    html_element(h, "span", "small", doc_text(item, "title"));
    html_close(h);
    shown++;
  }
  size_t firing = json_array_size(json_object_get(p, "firing"));
  if (firing > FIRING_MAX) html_elementf(h, "p", "soft small", "and %zu more signals", firing - FIRING_MAX);
  if (shown == 0) html_element(h, "p", "soft small", "quiet");
  html_close(h);
}

static void row(struct page *page, const json_t *p, const json_t *trends) {
  struct html *h = &page->h;
  html_open(h, "li");
  html_open(h, "div");
  html_open(h, "h3");
  page_link_pipeline(page, doc_text(p, "pipeline"));
  html_close(h);
  html_open_class(h, "p", "small soft");
  html_element(h, "bdi", NULL, doc_text(p, "owner"));
  html_close(h);
  html_close(h);
  live(page, p);
  doing(page, p);
  const json_t *trend = doc_object(trends, doc_text(p, "pipeline") ? doc_text(p, "pipeline") : "");
  if (trend)
    page_spark(page, &(struct page_series){.title = doc_text(trend, "monitor"),
                                           .points = json_object_get(trend, "points"),
                                           .oldest_first = true,
                                           .threshold = doc_number(trend, "threshold")});
  html_close(h);
}

static void list(struct page *page, const json_t *pipelines, const json_t *trends) {
  size_t i, shown = 0, count = json_array_size(pipelines);
  json_t *p;
  page_section(page, "Pipelines");
  if (count == 0) {
    html_literal(&page->h, "<p>There are none yet. <code>orch init</code> writes an example, and "
                           "<code>orch apply pipelines/NAME</code> adds it.</p>");
  }
  html_open_class(&page->h, "ul", "rows");
  for (int urgency = CALLS; urgency < URGENCIES; urgency++) json_array_foreach(pipelines, i, p) {
      if ((int)urgency_of(p) != urgency || shown >= PIPELINES_MAX) continue;
      row(page, p, trends);
      shown++;
    }
  html_close(&page->h);
  if (shown < count)
    html_elementf(&page->h, "p", "soft", "and %zu more that are quiet: orch pipelines lists them", count - shown);
  page_section_end(page);
}

static void lead(struct page *page, const json_t *pipelines) {
  size_t i, waiting = 0, firing = 0;
  json_t *p;
  json_array_foreach(pipelines, i, p) {
    waiting += doc_object(p, "gate") != NULL;
    firing += json_array_size(json_object_get(p, "firing"));
  }
  html_open_class(&page->h, "p", "lead facts-line");
  html_open(&page->h, "span");
  page_count(page, (json_int_t)json_array_size(pipelines), "pipeline", "pipelines");
  html_close(&page->h);
  html_open(&page->h, "span");
  page_count(page, (json_int_t)waiting, "waits for approval", "wait for approval");
  html_close(&page->h);
  html_open(&page->h, "span");
  page_count(page, (json_int_t)firing, "signal firing", "signals firing");
  html_close(&page->h);
  html_literal(&page->h, "<a href=\"/incidents\">incidents</a>");
  html_close(&page->h);
}

void page_home(struct strbuf *out, const struct page_frame *frame, const json_t *document) {
  struct page page;
  const json_t *status = json_object_get(document, "status"), *pipelines = json_object_get(status, "pipelines");
  page_begin(&page, out, frame, "Overview", NULL, NULL);
  html_literal(&page.h, "<div><h1>Overview</h1>");
  lead(&page, pipelines);
  html_literal(&page.h, "</div>");
  needs(&page, pipelines, json_object_get(status, "incidents"));
  list(&page, pipelines, json_object_get(document, "trends"));
  page_end(&page, "/v1/status");
}
