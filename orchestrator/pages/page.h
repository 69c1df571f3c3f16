/* The pieces that the pages share: the frame around them, times, badges, facts, tables. */
#ifndef ORCH_PAGES_PAGE_H
#define ORCH_PAGES_PAGE_H

#include "base/mem.h"
#include "base/units.h"
#include "pages/doc.h"
#include "pages/html.h"
#include "pages/pages.h"
#include "pages/svg.h"

#define PAGE_MAGIC 0x50414745u

struct page {
  struct html h; /* first */
  int64_t now_us;
  unsigned charts; /* numbered, for ids that are unique on the page */
};

/* Everything up to and into <main>; `title` is plain text. `crumb` and its path name the page above, may be NULL. */
void page_begin(struct page *page, struct strbuf *out, const struct page_frame *frame, const char *title,
                const char *crumb_path, const char *crumb);
/* `json_path`: the same as JSON, named in the foot; may be NULL. */
void page_end(struct page *page, const char *json_path);

/* <time> with how long ago or ahead it is; the exact time is its title. Writes nothing when there is none. */
void page_time(struct page *page, const json_t *object, const char *key);
/* A length of time: "40 s", "5 min", "3 h", "12 d". */
#define PAGE_SPAN_SIZE 32
const char *page_span(int64_t us, char out[PAGE_SPAN_SIZE]);

/* "null_jump" as "null jump". */
#define PAGE_WORDS_SIZE 64
const char *page_words(const char *name, char out[PAGE_WORDS_SIZE]);
/* States of proposals, gates, deployments, jobs and signals: "awaiting_approval" is shown as "awaiting approval". */
void page_state(struct page *page, const char *state);
/* A window's verdict, with its mark. */
void page_verdict(struct page *page, const char *verdict);
void page_badge(struct page *page, const char *kind, const char *text); /* kind: good, wait, bad, alarm, busy or NULL */

/* "/pipelines/NAME" and "/proposals/42" as links; plain text when the name is missing. */
void page_link_pipeline(struct page *page, const char *name);
void page_link_proposal(struct page *page, json_int_t id);

/* <section class="card"> with a heading; page_section_end() closes it. */
void page_section(struct page *page, const char *heading);
void page_section_end(struct page *page);
/* <dl class="facts">: page_fact() opens an entry whose <dd> the caller fills and ends with page_fact_end(). */
void page_fact(struct page *page, const char *name);
void page_fact_end(struct page *page);
void page_fact_text(struct page *page, const char *name, const char *text); /* nothing when text is NULL */

/* A table that scrolls by itself on a narrow screen. Headings end with NULL; one that begins with ">" is a number's. */
void page_table(struct page *page, const char *caption, const char *const *headings);
void page_table_end(struct page *page);
void page_cell_number(struct page *page, double value); /* "–" for none */
/* A number in words and tables, as the shell and the chat say it: "40962"; "–" for none. svg_number() is for axes. */
const char *page_number(double value, char out[UNITS_TEXT_SIZE]);
/* "and 3 more" when a list of `count` was cut at `max`. */
void page_more(struct page *page, size_t count, size_t max);

/* "in 2 windows" … a number and its word: "1 row", "2 rows". */
void page_count(struct page *page, json_int_t count, const char *one, const char *many);

/* Opens the <details> that hold the table beside a picture `of` something; the caller closes them. */
void page_numbers(struct page *page, const char *of);
/* Charts and numbers of the columns of a window or a diagnosis; contract: docs/monitoring.md. */
void page_columns(struct page *page, const json_t *columns, json_int_t more);
/* One chart over time of windows or a series ({"at" or "to_at" or "closed_at", "row" or "to_row", "value", "verdict"?,
 * "threshold"?, "rows"?}), oldest first when `oldest_first`, with its table. */
struct page_series {
  const char *title;
  const json_t *points;
  bool oldest_first;
  double threshold;   /* NAN: each point's own, or none */
  const char *better; /* "up" or "down": points without a verdict are alarms beyond the threshold; NULL: they are ok */
};
void page_timeline(struct page *page, const struct page_series *series);
/* The same as a sparkline. */
void page_spark(struct page *page, const struct page_series *series);

/* Who must approve, who has, and how; nothing without a gate. */
void page_gate(struct page *page, const json_t *gate);

#endif
