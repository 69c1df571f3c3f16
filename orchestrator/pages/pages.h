/* The pages: a document of the API goes in, a whole HTML page comes out. Pure: no I/O, no state, no clock.
 *
 * The documents are those of /v1 (docs/http-api.md); whatever a document lacks is left out of the page. All text of
 * the documents is treated as hostile. `out` is empty or was initialised by the caller with the page's cap; when
 * out->failed is set afterwards, the page would have been larger and must not be sent. */
#ifndef ORCH_PAGES_PAGES_H
#define ORCH_PAGES_PAGES_H

#include <jansson.h>
#include <stdint.h>

#include "base/strbuf.h"

#define PAGES_BYTES_MAX (4u * 1024 * 1024)

/* What every page carries; texts may be NULL. */
struct page_frame {
  const char *actor; /* who looks: "reviewer:dana", "token:ci" */
  const char *csrf;  /* of the session, for the button that ends it; NULL: there is none to end */
  int64_t now_us;    /* wall time, for "3 h ago" */
};

/* GET /: {"status": orch.api_status(), "trends": orch.api_trends(n)} */
void page_home(struct strbuf *out, const struct page_frame *frame, const json_t *document);
/* GET /pipelines/{p}: {"pipeline": orch.api_pipeline(p), "signals": orch.api_signals(…), "versions":
 * orch.api_versions(p)} */
void page_pipeline(struct strbuf *out, const struct page_frame *frame, const json_t *document);
/* GET /proposals/{id}: orch.api_proposal(id) */
void page_proposal(struct strbuf *out, const struct page_frame *frame, const json_t *document);
/* GET /incidents: orch.api_incidents() */
void page_incidents(struct strbuf *out, const struct page_frame *frame, const json_t *document);
/* GET /incidents/{id}: orch.api_incident(id) */
void page_incident(struct strbuf *out, const struct page_frame *frame, const json_t *document);

/* GET /login. `next` is the local path to go to afterwards; `refused` and `hint` say why the last try failed; any may
 * be NULL. */
void page_login(struct strbuf *out, const char *next, const char *refused, const char *hint);
/* A local path that a browser may be sent to after signing in: one of the pages. */
bool page_is_ours(const char *path);
/* For a browser that followed a link from elsewhere and therefore kept its cookie to itself: asks for `path` again,
 * this time from here. */
void page_again(struct strbuf *out, const char *path);
/* Something went wrong: the status, what, and what to do next (may be NULL). */
void page_error(struct strbuf *out, int status, const char *title, const char *detail, const char *hint);

#endif
