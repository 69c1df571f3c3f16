#include "trigger/appender.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define MAGIC 0x61707064u
#define CALL_MS 20000
#define BUFFERS_KEPT ((size_t)4 * 1024 * 1024) /* from one call to the next: new memory for each costs page faults */

struct appender {
  uint32_t magic;
  struct db *db;
  enum appender_kind kind;
  struct db_request request;
  struct appending *first, **last; /* waiting, in the order they came */
  size_t n_flight;                 /* 0: nothing is in flight */
  struct appending *flight[OBSERVE_SEND_ITEMS];
  struct observe_send send; /* the parameters of what is in flight */
  struct appender_stats stats;
};

static void send_next(struct appender *a);

struct appender *appender_new(struct db *db, enum appender_kind kind) {
  struct appender *a = mem_alloc(sizeof *a);
  a->magic = MAGIC;
  a->db = db;
  a->kind = kind;
  a->last = &a->first;
  return a;
}

void appender_free(struct appender *a) {
  if (!a) return;
  db_forget(&a->request);
  observe_send_fini(&a->send);
  a->magic = 0;
  mem_free(a);
}

void appender_get_stats(const struct appender *a, struct appender_stats *ret) {
  *ret = a->stats;
}

static size_t bytes_of(const struct appending *one) {
  const struct observe_labels *labels = one->item.labels;
  return labels ? labels->ids.len + labels->labels.len + labels->at.len : one->item.batch->bytes;
}

static size_t rows_of(const struct appending *one) {
  return (size_t)(one->item.labels ? &one->item.labels->batch : one->item.batch)->rows;
}

static void answer(struct appender *a, struct appending *one, const struct observe_sent *sent, const struct err *err) {
  a->stats.waiting_bytes -= bytes_of(one);
  if (err) {
    a->stats.failures++;
  } else {
    a->stats.requests++;
    a->stats.rows += rows_of(one);
    a->stats.bytes += bytes_of(one);
  }
  one->done(one->arg, sent, err);
}

/* The database has refused the call as a whole, so one of its requests holds something that nobody thought of. Each
 * goes again by itself, and only that one fails. */
static void part(struct appender *a, size_t n) {
  for (size_t i = n; i-- > 0;) {
    struct appending *one = a->flight[i];
    one->alone = true;
    one->next = a->first;
    if (!a->first) a->last = &one->next;
    a->first = one;
  }
}

static void answered(void *arg, struct db_result *result, const struct err *err) {
  struct appender *a = arg;
  MAGIC_CHECK(a, MAGIC);
  size_t n = a->n_flight;
  a->n_flight = 0;
  if (observe_send_bytes(&a->send) > BUFFERS_KEPT) observe_send_fini(&a->send);
  if (err && n > 1 && a->request.fate == DB_FATE_DONE && err->code != ERR_DB_DOWN && err->code != ERR_TIMEOUT) {
    part(a, n);
    return send_next(a);
  }
  const char *text = result ? db_get_document(result) : NULL;
  json_t *answers = text ? json_loads(text, 0, NULL) : NULL;
  /* What is answered may add new requests: those must not disturb this list. */
  struct appending *flight[OBSERVE_SEND_ITEMS];
  memcpy(flight, a->flight, n * sizeof flight[0]);
  for (size_t i = 0; i < n; i++) {
    struct observe_sent sent;
    struct err own = {0};
    if (err)
      answer(a, flight[i], NULL, err);
    else if (observe_sent_read(answers, i, &sent, &own))
      answer(a, flight[i], &sent, NULL);
    else
      answer(a, flight[i], NULL, &own);
  }
  json_decref(answers);
  if (a->n_flight == 0) send_next(a);
}

static int by_pipeline(const void *x, const void *y) {
  const struct appending *const *a = x, *const *b = y;
  return strcmp((*a)->item.pipeline, (*b)->item.pipeline);
}

/* Takes from the front as many as go together. */
static void take_flight(struct appender *a) {
  size_t bytes = 0, rows = 0, rows_max = a->kind == APPENDER_LABELS ? OBSERVE_LABELS_MAX : OBSERVE_ROWS_MAX;
  while (a->first && a->n_flight < OBSERVE_SEND_ITEMS) {
    struct appending *one = a->first;
    bytes += bytes_of(one);
    rows += rows_of(one);
    if (a->n_flight && (one->alone || a->flight[0]->alone || bytes > OBSERVE_SEND_BYTES || rows > rows_max)) return;
    a->first = one->next;
    if (!a->first) a->last = &a->first;
    a->flight[a->n_flight++] = one;
  }
}

static void send_next(struct appender *a) {
  const struct observe_item *items[OBSERVE_SEND_ITEMS];
  struct db_value values[OBSERVE_SEND_VALUES];
  take_flight(a);
  if (a->n_flight == 0) return;
  qsort(a->flight, a->n_flight, sizeof a->flight[0], by_pipeline);
  for (size_t i = 0; i < a->n_flight; i++) items[i] = &a->flight[i]->item;
  bool labels = a->kind == APPENDER_LABELS;
  if (labels)
    observe_send_fill_labels(&a->send, items, a->n_flight, values);
  else
    observe_send_fill(&a->send, items, a->n_flight, values);
  a->request = (struct db_request){.timeout_ms = CALL_MS, .borrowed = true};
  a->stats.calls++;
  db_query(a->db, &a->request, labels ? OBSERVE_SEND_LABELS_SQL : OBSERVE_SEND_SQL,
           labels ? OBSERVE_SEND_LABELS_VALUES : OBSERVE_SEND_VALUES, values, answered, a);
}

bool appender_add(struct appender *a, struct appending *one, struct err *err) {
  if (a->stats.waiting_bytes + bytes_of(one) > APPENDER_BYTES_MAX)
    return err_set(err, ERR_LIMIT, "too many rows are waiting to be stored");
  a->stats.waiting_bytes += bytes_of(one);
  one->alone = false;
  one->next = NULL;
  *a->last = one;
  a->last = &one->next;
  if (a->n_flight == 0) send_next(a);
  return true;
}
