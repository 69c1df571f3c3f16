/* Group commit of rows, or of labels: appends that come while one is in flight go out together in the next one, so that
 * many small requests cost one commit, and each is answered once that has happened. */
#ifndef ORCH_TRIGGER_APPENDER_H
#define ORCH_TRIGGER_APPENDER_H

#include "io/db.h"
#include "trigger/observe_send.h"

#define APPENDER_BYTES_MAX ((size_t)64 * 1024 * 1024) /* of rows that wait or are under way */

struct appender;
enum appender_kind { APPENDER_ROWS, APPENDER_LABELS };
struct appender *appender_new(struct db *db, enum appender_kind kind);
/* What is in flight is not answered any more; nothing may be waiting that still wants an answer. NULL is fine. */
void appender_free(struct appender *appender);

/* One request, embedded in the caller's memory until it is answered. */
struct appending {
  struct observe_item item; /* in */
  /* Exactly one of both is not NULL. ERR_CONFLICT: the pipeline has changed since the plan was made; read them anew. */
  void (*done)(void *arg, const struct observe_sent *sent, const struct err *err);
  void *arg;
  struct appending *next; /* private, as is what follows */
  bool alone;
};
/* ERR_LIMIT when too much is waiting; `done` is never called then, and never from inside this call. */
bool appender_add(struct appender *appender, struct appending *appending, struct err *err) ORCH_MUST_CHECK;

struct appender_stats {
  uint64_t calls, requests, rows, bytes, failures;
  size_t waiting_bytes;
};
void appender_get_stats(const struct appender *appender, struct appender_stats *ret);

#endif
