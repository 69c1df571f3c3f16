/* Pages: markup that is balanced and escaped whatever the document says, pictures that say what the numbers say. */
#include "cm.h"

#include <jansson.h>
#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "pages/html.h"
#include "pages/pages.h"
#include "pages/static.h"
#include "pages/svg.h"
#include "serve/login_guard.h"

#define NOW_US INT64_C(1773216000000000) /* 2026-03-11T08:00:00Z */

static struct page_frame frame = {.actor = "reviewer:dana", .csrf = "0123456789abcdef0123", .now_us = NOW_US};

/* ---- the writer ---- */

static void test_escaping(void **state) {
  struct strbuf out;
  struct html h;
  (void)state;
  strbuf_init(&out, 4096);
  html_init(&h, &out);
  html_open(&h, "p");
  html_attr(&h, "title", "\"><script>'&");
  html_text(&h, "<b>&\"'\x01\xe2\x80\xae\xc2\x85\xff"
                "ok\n");
  html_close(&h);
  html_done(&h);
  assert_string_equal(strbuf_text(&out), "<p title=\"&quot;&gt;&lt;script&gt;&#39;&amp;\">&lt;b&gt;&amp;&quot;&#39;"
                                         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                                         "ok\n</p>");
  strbuf_fini(&out);
}

static void test_urls(void **state) {
  (void)state;
  static const char *const good[] = {"https://a.example/x?y=1&z", "http://a", "/", "/pipelines/a",
                                     "mailto:a@b.example",        "HTTPS://A"};
  static const char *const bad[] = {"javascript:alert(1)",
                                    "JaVaScRiPt:alert(1)",
                                    " javascript:alert(1)",
                                    "java\tscript:alert(1)",
                                    "data:text/html,x",
                                    "//evil.example",
                                    "/\\evil.example",
                                    "vbscript:x",
                                    "",
                                    "runbook.md",
                                    "\x01https://a",
                                    "https://a\n"};
  for (size_t i = 0; i < ARRAY_LEN(good); i++) assert_true(html_url_is_safe(good[i]));
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(html_url_is_safe(bad[i]));
  assert_false(html_url_is_safe(NULL));
  assert_true(page_is_ours("/"));
  assert_true(page_is_ours("/proposals/42"));
  assert_true(page_is_ours("/incidents"));
  assert_false(page_is_ours("/v1/status"));
  assert_false(page_is_ours("/proposals/\xc3\xa9"));
  assert_false(page_is_ours("//evil.example/proposals/"));
  assert_false(page_is_ours("/pipelines/../login"));
  assert_false(page_is_ours("https://evil.example/"));
  assert_false(page_is_ours(NULL));
}

static void test_url_attributes(void **state) {
  struct strbuf out;
  struct html h;
  (void)state;
  strbuf_init(&out, 4096);
  html_init(&h, &out);
  html_open(&h, "a");
  html_attr_url(&h, "href", "javascript:alert(1)");
  html_close(&h);
  html_open(&h, "a");
  html_attr_url(&h, "href", "https://a.example/?x=1&y=\"");
  html_close(&h);
  html_done(&h);
  assert_string_equal(strbuf_text(&out), "<a></a><a href=\"https://a.example/?x=1&amp;y=&quot;\"></a>");
  strbuf_fini(&out);
}

/* A runbook is a link when it is an address of the web, else just its text. */
static void test_runbook(void **state) {
  static const char *const links[][2] = {{"https://wiki.example/r", "<a href=\"https://wiki.example/r\""},
                                         {"javascript:alert(1)", "<code>javascript:alert(1)</code>"},
                                         {"/logout", "<code>/logout</code>"},
                                         {"runbook.md", "<code>runbook.md</code>"}};
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(links); i++) {
    json_t *document = json_pack("{s:{s:{s:{s:s}}}}", "pipeline", "revision", "spec", "runbook", links[i][0]);
    struct strbuf page;
    strbuf_init(&page, PAGES_BYTES_MAX);
    page_pipeline(&page, &frame, document);
    assert_non_null(strstr(strbuf_text(&page), links[i][1]));
    assert_null(strstr(strbuf_text(&page), "href=\"javascript"));
    strbuf_fini(&page);
    json_decref(document);
  }
}

/* Elements that are open at the end, by a reader that knows only tags and quotes; fails on a tag that closes another.
 */
static void assert_balanced(const char *html) {
  char stack[64][16];
  unsigned depth = 0;
  for (const char *at = strchr(html, '<'); at; at = strchr(at, '<')) {
    bool closing = at[1] == '/';
    const char *name = at + 1 + closing;
    size_t len = strcspn(name, " >");
    const char *end = name + len;
    for (bool quoted = false; *end && (quoted || *end != '>'); end++) quoted = quoted != (*end == '"');
    assert_int_equal(*end, '>');
    at = end;
    static const char *const voids[] = {"!doctype", "meta", "link", "input", "br"};
    bool is_void = false;
    for (size_t i = 0; i < ARRAY_LEN(voids); i++)
      is_void = is_void || (strlen(voids[i]) == len && strncmp(voids[i], name, len) == 0);
    if (is_void) continue;
    assert_in_range(len, 1, 15);
    if (closing) {
      assert_true(depth > 0);
      depth--;
      if (strlen(stack[depth]) != len || strncmp(stack[depth], name, len) != 0)
        fail_msg("</%.*s> closes <%s>", (int)len, name, stack[depth]);
    } else {
      assert_true(depth < ARRAY_LEN(stack));
      snprintf(stack[depth++], sizeof stack[0], "%.*s", (int)len, name);
    }
  }
  assert_int_equal(depth, 0);
}

static void assert_harmless(const struct strbuf *page) {
  const char *text = strbuf_text(page);
  assert_false(page->failed);
  assert_balanced(text);
  assert_null(strstr(text, "<script"));
  assert_null(strstr(text, " style="));
  assert_null(strstr(text, "javascript:"));
  assert_null(strstr(text, "\xe2\x80\xae")); /* U+202E */
  assert_null(strstr(text, "nan"));
  assert_null(strstr(text, "inf,"));
}

/* ---- whole pages ---- */

typedef void (*writer)(struct strbuf *out, const struct page_frame *frame, const json_t *document);
static const struct {
  const char *name;
  writer write;
} pages[] = {{"home", page_home},
             {"pipeline", page_pipeline},
             {"proposal", page_proposal},
             {"incident", page_incident},
             {"incidents", page_incidents}};

static json_t *load(const char *name) {
  CLEANUP(mem_free_p) char *path = mem_printf("%s/pages/%s.json", TEST_DATA, name);
  json_error_t error;
  json_t *document = json_load_file(path, 0, &error);
  if (!document) fail_msg("%s: %s", path, error.text);
  return document;
}

/* TEST_PAGES names a folder that the pages are kept in, to be looked at. */
static void keep(const char *name, const struct strbuf *page) {
  const char *folder = getenv("TEST_PAGES");
  if (!folder) return;
  CLEANUP(mem_free_p) char *path = mem_printf("%s/%s.html", folder, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(strbuf_text(page), 1, page->len, file), page->len);
  assert_int_equal(fclose(file), 0);
}

static void render(size_t i, const json_t *document, struct strbuf *out) {
  strbuf_init(out, PAGES_BYTES_MAX);
  pages[i].write(out, &frame, document);
}

static void has(const struct strbuf *page, const char *text) {
  if (!strstr(strbuf_text(page), text)) fail_msg("the page lacks: %s", text);
}

static void test_pages(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
    json_t *document = load(pages[i].name);
    struct strbuf page;
    render(i, document, &page);
    assert_harmless(&page);
    has(&page, "name=\"csrf\" value=\"0123456789abcdef0123\"");
    has(&page, "dana");
    keep(pages[i].name, &page);
    strbuf_fini(&page);
    json_decref(document);
  }
}

static void test_home_says(void **state) {
  (void)state;
  json_t *document = load("home");
  struct strbuf page;
  render(0, document, &page);
  has(&page, "Needs somebody");
  has(&page, "<a href=\"/incidents/3\">Incident 3</a>");
  has(&page, "<a href=\"/proposals/42\">#42</a> housing@3 waits for <bdi>risk</bdi>"); /* ml-owners have said yes */
  has(&page, "audit week, nothing moves");
  has(&page, "broken data never retrains");
  has(&page, "class=\"spark\"");
  /* who must be asked comes before what is quiet */
  const char *text = strstr(strbuf_text(&page), "<h2>Pipelines</h2>");
  assert_true(strstr(text, ">fraud<") < strstr(text, ">churn<"));
  assert_true(strstr(text, ">churn<") < strstr(text, ">search-ranking<"));
  strbuf_fini(&page);
  json_decref(document);
}

/* What waits in an incident is that incident's one note; of what is too much, people hear how much. */
static void test_home_when_all_fire(void **state) {
  (void)state;
  json_t *document = load("home"), *status = json_object_get(document, "status"), *all = json_array();
  struct strbuf page;
  for (int i = 0; i < 70; i++) {
    char name[16];
    snprintf(name, sizeof name, "p%d", i);
    json_array_append_new(all, json_pack("{s:s,s:[{s:s,s:s,s:s,s:s,s:i},{s:s,s:s}]}", "pipeline", name, "firing",
                                         "kind", "drift", "disposition", "held", "title", "income drifted",
                                         "held_reason", "waits in incident 3", "incident", 3, "kind", "data_fault",
                                         "title", "income is missing"));
  }
  json_object_set_new(status, "pipelines", all);
  render(0, document, &page);
  const char *needs = strstr(strbuf_text(&page), "Needs somebody"), *rest = strstr(needs, "<h2>Pipelines</h2>");
  assert_non_null(strstr(needs, "Incident 3"));
  assert_true(strstr(needs, "waits in incident 3") == NULL || strstr(needs, "waits in incident 3") > rest);
  assert_true(strstr(needs, "and 21 more") < rest);
  has(&page, "<a href=\"/incidents\">");
  strbuf_fini(&page);
  json_decref(document);
}

static void test_incidents_say(void **state) {
  (void)state;
  json_t *document = load("incidents");
  struct strbuf page;
  render(4, document, &page);
  has(&page, "<a href=\"/incidents/3\">3</a>");
  has(&page, "dismissed");
  has(&page, "the feed sent cents");
  has(&page, "orch incidents --after 2");
  strbuf_fini(&page);
  json_decref(document);
  document = json_pack("{s:[]}", "incidents");
  render(4, document, &page);
  has(&page, "There were none");
  strbuf_fini(&page);
  json_decref(document);
}

static void test_proposal_says(void **state) {
  (void)state;
  json_t *document = load("proposal");
  struct strbuf page;
  render(2, document, &page);
  has(&page, "looks like drift");
  has(&page, "row 17000, 6 windows in a row");
  has(&page, "if ignored");

  has(&page, "importance 0.8, so weight 0.488");
  has(&page, "since row 3000");
  has(&page, "What moved, by weight");
  has(&page, "and 1 more, with smaller effects");
  has(&page, "missing in 38 %");
  has(&page, "orch approve 42");
  has(&page, "1 of 1 from <bdi>ml-owners</bdi>: <bdi>dana</bdi>");
  strbuf_fini(&page);
  json_decref(document);
}

/* What fires elsewhere says where; "mixed" tells broken data from several reasons; a long list says what it left out.
 */
static void test_proposal_of_an_incident(void **state) {
  (void)state;
  json_t *document = load("proposal"), *d = json_object_get(document, "diagnosis"), *also = json_array();
  struct strbuf page;
  for (int i = 0; i < 23; i++)
    json_array_append_new(also, json_pack("{s:s,s:s,s:s,s:i}", "kind", "drift", "title", "income drifted", "pipeline",
                                          "churn", "incident", 7));
  json_object_set_new(d, "also", also);
  json_object_set_new(d, "verdict", json_string("mixed"));
  json_object_set_new(d, "since",
                      json_pack("{s:s,s:i,s:i,s:i,s:b}", "at", "2026-03-10T00:00:00.000Z", "row", 800, "rows", 400,
                                "windows", 2, "by_rows", 1));
  json_object_set_new(d, "faults", json_array());
  render(2, document, &page);
  has(&page, "<a href=\"/pipelines/churn\">churn</a>: <bdi>income drifted</bdi>");
  has(&page, "in incident 7");
  has(&page, "and 3 more");
  has(&page, "several reasons");
  has(&page, "2026-03-10, <time");
  has(&page, "row 800, 2 windows of 400 in a row");
  assert_null(strstr(strbuf_text(&page), "broken data too"));
  strbuf_fini(&page);
  json_object_set_new(d, "faults", json_pack("[{s:s,s:s}]", "name", "income", "why", "missing"));
  render(2, document, &page);
  has(&page, "broken data too");
  strbuf_fini(&page);
  json_decref(document);
}

/* ---- documents that lack things, or have them in another type ---- */

/* Calls `change` on every member and element, in place, one after the other, and renders with each change. */
static void shake(json_t *node, json_t *root, size_t i) {
  if (json_is_object(node)) {
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(node, next, key, value) {
      json_t *kept = json_incref(value);
      json_t *others[] = {json_null(), json_integer(-1), json_string("<x>"), json_array(), json_object()};
      CLEANUP(mem_free_p) char *name = mem_strdup(key);
      for (size_t k = 0; k < ARRAY_LEN(others); k++) {
        struct strbuf page;
        json_object_set_new(node, name, others[k]);
        render(i, root, &page);
        assert_harmless(&page);
        strbuf_fini(&page);
      }
      json_object_set_new(node, name, kept);
    }
    const char *inner_key;
    json_t *inner;
    json_object_foreach(node, inner_key, inner) shake(inner, root, i);
  } else if (json_is_array(node) && json_array_size(node) > 0) {
    shake(json_array_get(node, 0), root, i); /* one of each kind is enough */
  }
}

static void test_any_document(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
    static const char *const odd[] = {"{}",
                                      "[]",
                                      "null",
                                      "{\"pipeline\":{}}",
                                      "{\"status\":{\"pipelines\":[{}]}}",
                                      "{\"diagnosis\":{\"columns\":[{}],\"live_metric\":{\"series\":[{}]}}}"};
    for (size_t k = 0; k < ARRAY_LEN(odd); k++) {
      json_t *document = json_loads(odd[k], JSON_DECODE_ANY, NULL);
      struct strbuf page;
      render(i, document, &page);
      assert_harmless(&page);
      strbuf_fini(&page);
      json_decref(document);
    }
    json_t *document = load(pages[i].name);
    shake(document, document, i);
    json_decref(document);
  }
}

static void test_too_large(void **state) {
  (void)state;
  json_t *document = load("pipeline");
  struct strbuf page;
  strbuf_init(&page, 5000);
  page_pipeline(&page, &frame, document);
  assert_true(page.failed);
  assert_in_range(page.len, 1, 5000);
  strbuf_fini(&page);
  json_decref(document);
}

static void test_login_and_errors(void **state) {
  (void)state;
  struct strbuf page;
  strbuf_init(&page, PAGES_BYTES_MAX);
  page_login(&page, "/proposals/7", "this is no token of orch", NULL);
  assert_harmless(&page);
  has(&page, "name=\"next\" value=\"/proposals/7\"");
  has(&page, "role=\"alert\"");
  keep("login", &page);
  strbuf_reset(&page);
  page_login(&page, "https://evil.example/", NULL, NULL);
  assert_null(strstr(strbuf_text(&page), "evil"));
  strbuf_reset(&page);
  page_error(&page, 404, "Not Found", "no pipeline is named '<script>'", "orch pipelines lists them");
  assert_harmless(&page);
  has(&page, "&lt;script&gt;");
  keep("error", &page);
  strbuf_reset(&page);
  page_again(&page, "/proposals/7");
  assert_harmless(&page);
  has(&page, "content=\"0;url=/proposals/7\"");
  strbuf_reset(&page);
  page_again(&page, "//evil.example");
  has(&page, "content=\"0;url=/\"");
  strbuf_fini(&page);
}

/* ---- pictures ---- */

static void assert_text(const char *is, const char *should) {
  assert_string_equal(is, should);
}

static void test_numbers(void **state) {
  char out[SVG_NUMBER_SIZE];
  (void)state;
  assert_text(svg_number(0.08251, out), "0.0825");
  assert_text(svg_number(500, out), "500");
  assert_text(svg_number(8602, out), "8602");
  assert_text(svg_number(34500000, out), "34.5M");
  assert_text(svg_number(-12000, out), "-12k");
  assert_text(svg_number(NAN, out), "\xe2\x80\x93");
  assert_text(svg_number(-INFINITY, out), "\xe2\x80\x93");
  assert_text(svg_number(1e300, out), "1e+300");
  assert_true(fabs(svg_nice_step(1, 4) - 0.2) < 1e-12);
  assert_true(fabs(svg_nice_step(97, 4) - 20) < 1e-9);
  assert_true(svg_nice_step(0, 4) == 1);
  assert_true(svg_nice_step(NAN, 4) == 1);
  assert_true(svg_nice_step(5e-324, 4) > 0);
}

static void draw_distribution(struct strbuf *out, const struct svg_distribution *chart) {
  struct html h;
  strbuf_init(out, 1 << 20);
  html_init(&h, out);
  svg_distribution(&h, chart);
  html_done(&h);
}

/* The ordinate of the first step of the path with this class. */
static double first_height(const struct strbuf *svg, const char *path) {
  const char *at = strstr(strbuf_text(svg), path);
  assert_non_null(at);
  at = strchr(at, 'V');
  assert_non_null(at);
  return strtod(at + 1, NULL);
}

static void test_distribution(void **state) {
  (void)state;
  static const double edges[] = {0, 1, 2, 4}, ref[] = {0.5, 0.25, 0.25}, now[] = {0.1, 0.1, 0.8};
  struct svg_distribution chart = {
      .id = "c", .title = "x", .description = "y", .edges = edges, .n_edges = 4, .ref = ref, .now = now, .count = 3};
  struct strbuf svg;
  draw_distribution(&svg, &chart);
  assert_balanced(strbuf_text(&svg));
  has(&svg, "role=\"img\" aria-labelledby=\"c-t\" aria-describedby=\"c-d\"");
  /* by area: 0.5 over a width of 1 is the highest, 0.8 over 2 is 0.4 */
  assert_true(fabs(first_height(&svg, "class=\"ref\" d=") - 24) < 0.05);
  assert_true(fabs(first_height(&svg, "class=\"now\" d=\"M6.0 130.0V") - (130 - 106 * 0.2)) < 0.1);
  strbuf_fini(&svg);
  chart.n_edges = 2; /* the inner borders of three bins */
  draw_distribution(&svg, &chart);
  assert_balanced(strbuf_text(&svg));
  strbuf_fini(&svg);
  static const double wild[] = {-INFINITY, 1, 1, INFINITY};
  chart.edges = wild, chart.n_edges = 4;
  draw_distribution(&svg, &chart);
  assert_null(strstr(strbuf_text(&svg), "nan"));
  assert_null(strstr(strbuf_text(&svg), "inf"));
  strbuf_fini(&svg);
  static const char *const labels[] = {"a", "<b>", "a name that is far too long to be drawn whole"};
  chart.edges = NULL, chart.n_edges = 0, chart.labels = labels;
  draw_distribution(&svg, &chart);
  assert_balanced(strbuf_text(&svg));
  has(&svg, "&lt;b&gt;");
  has(&svg, "a name that is\xe2\x80\xa6");
  has(&svg, "25 \xe2\x86\x92 80 %");
  strbuf_fini(&svg);
  chart.count = 0;
  draw_distribution(&svg, &chart);
  assert_int_equal(svg.len, 0);
  strbuf_fini(&svg);
}

static void draw_timeline(struct strbuf *out, const struct svg_timeline *chart) {
  struct html h;
  strbuf_init(out, 1 << 20);
  html_init(&h, out);
  svg_timeline(&h, chart);
  html_done(&h);
}

static unsigned count_of(const struct strbuf *svg, const char *text) {
  unsigned n = 0;
  for (const char *at = strbuf_text(svg); (at = strstr(at, text)) != NULL; at++) n++;
  return n;
}

static void test_timeline(void **state) {
  (void)state;
  struct svg_point points[500];
  for (size_t i = 0; i < ARRAY_LEN(points); i++) points[i] = (struct svg_point){.x = (double)i, .value = 1};
  points[100].value = NAN;
  struct svg_timeline chart = {
      .id = "t", .title = "x", .description = "y", .points = points, .count = 4, .threshold = 2};
  points[1].verdict = SVG_DRIFT, points[2].verdict = SVG_FAULT, points[3].verdict = SVG_ALARM;
  struct strbuf svg;
  draw_timeline(&svg, &chart);
  assert_balanced(strbuf_text(&svg));
  has(&svg, "limit 2");
  assert_int_equal(count_of(&svg, "class=\"mark drift\""), 2); /* the point and its key */
  assert_int_equal(count_of(&svg, "class=\"mark alarm\""), 2);
  assert_int_equal(count_of(&svg, "class=\"mark none\""), 0);
  strbuf_fini(&svg);
  chart.count = ARRAY_LEN(points);
  chart.threshold = NAN;
  draw_timeline(&svg, &chart);
  assert_null(strstr(strbuf_text(&svg), "limit"));
  assert_int_equal(count_of(&svg, "class=\"mark ok\""), SVG_POINTS_MAX); /* one has no value; and the key */
  strbuf_fini(&svg);
  points[0] = (struct svg_point){.x = 5, .value = NAN};
  chart.count = 1; /* nothing to draw */
  draw_timeline(&svg, &chart);
  assert_int_equal(svg.len, 0);
  strbuf_fini(&svg);
  points[0] = (struct svg_point){.x = 1e300, .value = -1e308};
  points[1] = (struct svg_point){.x = 1e300, .value = 1e308};
  chart.count = 2, chart.by_time = true; /* a range that overflows */
  draw_timeline(&svg, &chart);
  assert_null(strstr(strbuf_text(&svg), "inf"));
  strbuf_fini(&svg);
}

/* ---- what stands beside ---- */

static void test_files(void **state) {
  (void)state;
  const struct page_file *style = page_file_find("style.css");
  assert_non_null(style);
  assert_true(style->len > 1000);
  assert_non_null(strstr(style->bytes, "prefers-color-scheme: dark"));
  assert_non_null(page_file_find("icon.svg"));
  assert_null(page_file_find("../style.css"));
  assert_int_equal(strlen(page_files_version()), 16);
}

static void test_login_guard(void **state) {
  (void)state;
  struct login_guard guard = {0};
  int wait_s = 0;
  for (unsigned i = 0; i < LOGIN_FAILURES_MAX; i++) {
    assert_true(login_guard_allows(&guard, "10.0.0.1", 1000000, &wait_s));
    login_guard_failed(&guard, "10.0.0.1", 1000000);
  }
  assert_false(login_guard_allows(&guard, "10.0.0.1", 2000000, &wait_s));
  assert_in_range(wait_s, 59, 60);
  assert_true(login_guard_allows(&guard, "10.0.0.2", 2000000, &wait_s));
  assert_true(login_guard_allows(&guard, "10.0.0.1", 1000000 + LOGIN_WINDOW_US, &wait_s));
  for (unsigned i = 0; i < LOGIN_FAILURES_ALL_MAX; i++) { /* many addresses push each other out, but not the sum */
    char peer[24];
    snprintf(peer, sizeof peer, "10.1.%u.1", i);
    login_guard_failed(&guard, peer, 100000000);
  }
  assert_false(login_guard_allows(&guard, "10.9.9.9", 100000001, &wait_s));
  assert_true(login_guard_allows(&guard, "10.9.9.9", 100000000 + LOGIN_WINDOW_US, &wait_s));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_escaping),
      cmocka_unit_test(test_urls),
      cmocka_unit_test(test_url_attributes),
      cmocka_unit_test(test_runbook),
      cmocka_unit_test(test_pages),
      cmocka_unit_test(test_home_says),
      cmocka_unit_test(test_proposal_says),
      cmocka_unit_test(test_proposal_of_an_incident),
      cmocka_unit_test(test_home_when_all_fire),
      cmocka_unit_test(test_incidents_say),
      cmocka_unit_test(test_any_document),
      cmocka_unit_test(test_too_large),
      cmocka_unit_test(test_login_and_errors),
      cmocka_unit_test(test_numbers),
      cmocka_unit_test(test_distribution),
      cmocka_unit_test(test_timeline),
      cmocka_unit_test(test_files),
      cmocka_unit_test(test_login_guard),
  };
  return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
