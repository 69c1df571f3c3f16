#include "chat/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "chat/outbox_private.h"

#define PAGE_URL_MAX 2048
#define CONCURRENCY 8
#define POLL_MS 5000
#define LEASE_MS 30000 /* how long a killed server delays what it held */
#define SOON_MS 50

static const char *const end_names[OUTBOX_ENDS] = {"delivered", "retried", "dead"};

static void arm_poll(struct outbox *outbox, int64_t in_ms);

/* ---- deliveries ---- */

static void delivery_free(struct delivery *delivery) {
  struct outbox *outbox = delivery->outbox;
  if (delivery->prev != NULL)
    delivery->prev->next = delivery->next;
  else
    outbox->deliveries = delivery->next;
  if (delivery->next != NULL) delivery->next->prev = delivery->prev;
  if (delivery->slack_call != NULL) slack_api_abort(delivery->slack_call);
  if (delivery->transfer != NULL) fetch_abort(delivery->transfer);
  db_forget(&delivery->request);
  json_decref(delivery->endpoint);
  json_decref(delivery->event);
  json_decref(delivery->messages);
  json_decref(delivery->result);
  outbox->in_flight--;
  mem_free(delivery);
}

static const char *type_of(const struct delivery *delivery) {
  const char *type = json_string_value(json_object_get(delivery->event, "type"));
  return type != NULL ? type : "?";
}

/* A retried row is due sooner than the next poll, perhaps: the database says when. */
static void look_again_at(struct outbox *outbox, const struct db_result *result) {
  const char *text = db_get_document(result);
  json_t *document = text != NULL ? json_loads(text, 0, NULL) : NULL;
  const char *due_at = json_string_value(json_object_get(document, "due_at"));
  int64_t due_us = 0;
  if (due_at != NULL && clock_parse_rfc3339(due_at, &due_us)) {
    int64_t wait_ms = (due_us - clock_wall_us()) / 1000 + SOON_MS;
    int64_t left_ms = (int64_t)uv_timer_get_due_in(&outbox->poll);
    if (wait_ms < left_ms) arm_poll(outbox, wait_ms > SOON_MS ? wait_ms : SOON_MS);
  }
  json_decref(document);
}

static void settled(void *arg, struct db_result *result, const struct err *err) {
  struct delivery *delivery = arg;
  MAGIC_CHECK(delivery, DELIVERY_MAGIC);
  struct outbox *outbox = delivery->outbox;
  if (err != NULL)
    log_err(err->code == ERR_LEASE_LOST ? LOG_WARN : LOG_ERROR, "outbox.settle_failed", err);
  else
    look_again_at(outbox, result);
  delivery_free(delivery);
  outbox_wake(outbox); /* what waited behind this row may go now */
}

void outbox_delivered(struct delivery *delivery) {
  CLEANUP(mem_free_p) char *text = NULL;
  char *dumped = delivery->result != NULL ? json_dumps(delivery->result, JSON_COMPACT) : NULL;
  text = mem_strdup(dumped != NULL ? dumped : "{}");
  free(dumped);
  delivery->outbox->ended[delivery->webhook][OUTBOX_DELIVERED]++;
  log_event(LOG_INFO, "outbox.delivered", LOG_I("outbox", delivery->id), LOG_S("type", type_of(delivery)),
            LOG_S("to", delivery->webhook ? "webhook" : "slack"), LOG_I("attempt", delivery->attempt));
  struct db_value values[] = {db_i64(delivery->id), db_i64(delivery->lease), db_text(text)};
  delivery->request = (struct db_request){.repeatable = true};
  db_query(delivery->outbox->db, &delivery->request, "select orch.outbox_done($1, $2, $3)", ARRAY_LEN(values), values,
           settled, delivery);
}

void outbox_failed(struct delivery *delivery, bool dead, int64_t retry_after_ms, const char *error) {
  CLEANUP(strbuf_fini_p) struct strbuf clean; /* the other side's words go into a table: one line of valid UTF-8 */
  strbuf_init(&clean, (size_t)8 * OUTBOX_ERROR_SIZE);
  strbuf_add_terminal(&clean, error);
  delivery->outbox->ended[delivery->webhook][dead ? OUTBOX_DEAD : OUTBOX_RETRIED]++;
  log_event(dead ? LOG_ERROR : LOG_WARN, dead ? "outbox.dead" : "outbox.failed", LOG_I("outbox", delivery->id),
            LOG_S("type", type_of(delivery)), LOG_S("to", delivery->webhook ? "webhook" : "slack"),
            LOG_I("attempt", delivery->attempt), LOG_S("error", error));
  struct db_value values[] = {db_i64(delivery->id), db_i64(delivery->lease), db_text(strbuf_text(&clean)),
                              retry_after_ms >= 0 ? db_i64(retry_after_ms) : db_null(), db_bool(dead)};
  delivery->request = (struct db_request){.repeatable = true};
  db_query(delivery->outbox->db, &delivery->request, "select orch.outbox_retry($1, $2, $3, $4, $5)", ARRAY_LEN(values),
           values, settled, delivery);
}

/* ---- claiming ---- */

static json_t *column_json(const struct db_result *rows, int row, const char *name) {
  const char *text = db_get_text(rows, row, db_column(rows, name));
  return text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

/* data.page_url: the proposal's page, else the pipeline's. Not in the database, because servers may have other names.
 */
static void add_page_url(const struct outbox *outbox, json_t *data) {
  json_int_t proposal = json_integer_value(json_object_get(data, "proposal"));
  const char *pipeline = json_string_value(json_object_get(data, "pipeline"));
  struct strbuf url;
  if (outbox->public_url == NULL || !json_is_object(data) || (proposal <= 0 && pipeline == NULL)) return;
  strbuf_init(&url, PAGE_URL_MAX);
  strbuf_puts(&url, outbox->public_url);
  if (proposal > 0) {
    strbuf_printf(&url, "/proposals/%" JSON_INTEGER_FORMAT, proposal);
  } else {
    strbuf_puts(&url, "/pipelines/");
    strbuf_add_url(&url, pipeline);
  }
  if (!url.failed) json_object_set_new(data, "page_url", json_string(strbuf_text(&url)));
  strbuf_fini(&url);
}

static void start_delivery(struct outbox *outbox, const struct db_result *rows, int row) {
  struct delivery *delivery = mem_alloc(sizeof *delivery);
  *delivery = (struct delivery){.magic = DELIVERY_MAGIC,
                                .outbox = outbox,
                                .next = outbox->deliveries,
                                .started_us = clock_mono_us(),
                                .id = db_get_i64(rows, row, db_column(rows, "id"), 0),
                                .lease = db_get_i64(rows, row, db_column(rows, "lease"), 0),
                                .attempt = (int)db_get_i64(rows, row, db_column(rows, "attempt"), 0),
                                .endpoint = column_json(rows, row, "endpoint"),
                                .event = column_json(rows, row, "event"),
                                .messages = column_json(rows, row, "messages")};
  add_page_url(outbox, json_object_get(delivery->event, "data"));
  delivery->webhook = strcmp(db_get_text(rows, row, db_column(rows, "channel")), "webhook") == 0;
  if (outbox->deliveries != NULL) outbox->deliveries->prev = delivery;
  outbox->deliveries = delivery;
  outbox->in_flight++;
  if (delivery->webhook)
    outbox_send_webhook(delivery);
  else
    outbox_send_slack(delivery);
}

static void claimed(void *arg, struct db_result *result, const struct err *err) {
  struct outbox *outbox = arg;
  outbox->claiming = false;
  if (err != NULL) {
    outbox->again = false; /* the poll asks again; hurrying a database in trouble helps nobody */
    log_err(LOG_WARN, "outbox.claim_failed", err);
    return;
  }
  for (int row = 0; row < db_rows(result); row++) start_delivery(outbox, result, row);
  if (outbox->again) {
    outbox->again = false;
    outbox_wake(outbox);
  }
}

void outbox_wake(struct outbox *outbox) {
  if (outbox->stopping || outbox->in_flight >= outbox->concurrency) return; /* a finished delivery wakes us */
  if (outbox->claiming) {
    outbox->again = true;
    return;
  }
  outbox->claiming = true;
  struct db_value values[] = {db_text(outbox->owner), db_i64(outbox->concurrency - outbox->in_flight),
                              db_i64(outbox->lease_ms)};
  outbox->claim = (struct db_request){0};
  db_query(outbox->db, &outbox->claim, "select * from orch.outbox_claim($1, $2, $3)", ARRAY_LEN(values), values,
           claimed, outbox);
}

static void polled(uv_timer_t *timer) {
  struct outbox *outbox = timer->data;
  arm_poll(outbox, clock_jitter_ms(outbox->poll_ms, 0.25));
  outbox_wake(outbox);
}

static void arm_poll(struct outbox *outbox, int64_t in_ms) {
  if (!outbox->stopping) uv_timer_start(&outbox->poll, polled, (uint64_t)in_ms, 0);
}

/* ---- life ---- */

struct outbox *outbox_new(uv_loop_t *loop, const struct outbox_options *options) {
  struct outbox *outbox = mem_alloc(sizeof *outbox);
  *outbox = (struct outbox){.loop = loop,
                            .db = options->db,
                            .fetch = options->fetch,
                            .owner = mem_strdup(options->owner),
                            .public_url = options->public_url != NULL ? mem_strdup(options->public_url) : NULL,
                            .concurrency = options->concurrency > 0 ? options->concurrency : CONCURRENCY,
                            .poll_ms = options->poll_ms > 0 ? options->poll_ms : POLL_MS,
                            .lease_ms = options->lease_ms > 0 ? options->lease_ms : LEASE_MS};
  slack_api_init(&outbox->slack, options->fetch);
  ORCH_ASSERT(uv_timer_init(loop, &outbox->poll) == 0);
  outbox->poll.data = outbox;
  arm_poll(outbox, SOON_MS);
  return outbox;
}

void outbox_stop(struct outbox *outbox) {
  outbox->stopping = true;
  uv_timer_stop(&outbox->poll);
}

unsigned outbox_in_flight(const struct outbox *outbox) {
  return outbox->in_flight;
}

static void timer_closed(uv_handle_t *handle) {
  struct outbox *outbox = handle->data;
  void (*closed)(void *arg) = outbox->closed;
  void *arg = outbox->closed_arg;
  slack_api_fini(&outbox->slack);
  mem_free(outbox->owner);
  mem_free(outbox->public_url);
  mem_free(outbox);
  if (closed != NULL) closed(arg);
}

void outbox_free(struct outbox *outbox, void (*closed)(void *arg), void *arg) {
  outbox_stop(outbox);
  db_forget(&outbox->claim);
  while (outbox->deliveries != NULL) delivery_free(outbox->deliveries);
  outbox->closed = closed;
  outbox->closed_arg = arg;
  uv_close((uv_handle_t *)&outbox->poll, timer_closed);
}

void outbox_metrics(const struct outbox *outbox, struct strbuf *out) {
  static const char *const channels[] = {"slack", "webhook"};
  strbuf_puts(out, "# HELP orch_outbox_deliveries_total Tries to deliver an event, by how they ended.\n"
                   "# TYPE orch_outbox_deliveries_total counter\n");
  for (size_t i = 0; i < ARRAY_LEN(channels); i++)
    for (size_t j = 0; j < OUTBOX_ENDS; j++)
      strbuf_printf(out, "orch_outbox_deliveries_total{channel=\"%s\",outcome=\"%s\"} %llu\n", channels[i],
                    end_names[j], (unsigned long long)outbox->ended[i][j]);
  strbuf_printf(out,
                "# HELP orch_outbox_in_flight Deliveries on their way.\n"
                "# TYPE orch_outbox_in_flight gauge\norch_outbox_in_flight %u\n",
                outbox->in_flight);
}
