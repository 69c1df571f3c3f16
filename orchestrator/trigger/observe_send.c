#include "trigger/observe_send.h"

#include "base/mem.h"

static void add_time(struct strbuf *out, bool timed, int64_t us) {
  if (timed)
    strbuf_printf(out, ",%lld", (long long)us);
  else
    strbuf_puts(out, ",null");
}

static void add_item(struct observe_send *send, const struct observe_item *item, size_t from) {
  struct strbuf *out = &send->items;
  strbuf_puts(out, out->len > 1 ? ",{\"pipeline\":" : "{\"pipeline\":");
  strbuf_add_json(out, item->pipeline);
  if (item->key) {
    strbuf_puts(out, ",\"key\":");
    strbuf_add_json(out, item->key);
  }
  strbuf_printf(out, ",\"revision\":%lld,\"rows\":%d,\"parts\":[", (long long)item->revision, item->batch->rows);
  for (size_t i = 0; i < item->batch->n_parts; i++) {
    const struct observe_part *part = &item->batch->parts[i];
    strbuf_printf(out, "%s[%zu,%zu,%d", i ? "," : "", from + part->from, part->bytes, part->rows);
    add_time(out, part->timed, part->min_us);
    add_time(out, part->timed, part->max_us);
    strbuf_puts(out, part->untimed ? ",true]" : ",false]");
  }
  strbuf_puts(out, "]}");
}

/* Both begin with a brace. */
static void add_list(struct strbuf *out, const struct strbuf *list) {
  strbuf_putc(out, out->len ? ',' : '{');
  strbuf_add(out, list->data + 1, list->len - 1);
}

static void add_predictions(struct observe_send *send, const struct observe_predictions *p, size_t index) {
  if (p->n == 0) return;
  for (size_t i = 0; i < p->n; i++) observe_add_int(&send->item, true, (int64_t)index);
  add_list(&send->row, &p->row);
  add_list(&send->id, &p->id);
  add_list(&send->at, &p->at);
  add_list(&send->version, &p->version);
  add_list(&send->prediction, &p->prediction);
  add_list(&send->score, &p->score);
}

/* A list that was begun is ended; one that was not is NULL. */
static struct db_value list_value(struct strbuf *list) {
  if (list->len == 0) return db_null();
  strbuf_putc(list, '}');
  return db_text(strbuf_text(list));
}

#define LISTS(send)                                                                                                    \
  {                                                                                                                    \
    &(send)->items, &(send)->body, &(send)->item, &(send)->row, &(send)->id, &(send)->at, &(send)->version,            \
        &(send)->prediction, &(send)->score                                                                            \
  }

void observe_send_fill(struct observe_send *send, const struct observe_item *const *items, size_t n,
                       struct db_value values[OBSERVE_SEND_VALUES]) {
  struct strbuf *const lists[] = LISTS(send);
  size_t from = 0;
  for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
    lists[i]->max = 16 * OBSERVE_SEND_BYTES;
    strbuf_reset(lists[i]);
  }
  strbuf_putc(&send->items, '[');
  for (size_t i = 0; i < n; i++) {
    const struct observe_batch *batch = items[i]->batch;
    add_item(send, items[i], from);
    add_predictions(send, &batch->predictions, i);
    if (n > 1) strbuf_add(&send->body, batch->lines, batch->bytes);
    from += batch->bytes;
  }
  strbuf_putc(&send->items, ']');
  values[0] = db_text(strbuf_text(&send->items));
  values[1] = n > 1 ? db_bytes(send->body.data, send->body.len) : db_bytes(items[0]->batch->lines, from);
  for (size_t i = 2; i < OBSERVE_SEND_VALUES; i++) values[i] = list_value(lists[i]);
  for (size_t i = 0; i < ARRAY_LEN(lists); i++) ORCH_ASSERT(!lists[i]->failed);
}

/* A whole literal behind those before; the closing brace comes last. */
static void add_whole_list(struct strbuf *out, const struct strbuf *list) {
  strbuf_putc(out, out->len ? ',' : '{');
  strbuf_add(out, list->data + 1, list->len - 2);
}

void observe_send_fill_labels(struct observe_send *send, const struct observe_item *const *items, size_t n,
                              struct db_value values[OBSERVE_SEND_LABELS_VALUES]) {
  struct strbuf *const lists[] = LISTS(send);
  for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
    lists[i]->max = 16 * OBSERVE_SEND_BYTES;
    strbuf_reset(lists[i]);
  }
  for (size_t i = 0; i < n; i++) {
    const struct observe_labels *labels = items[i]->labels;
    strbuf_puts(&send->items, i ? ",{\"pipeline\":" : "[{\"pipeline\":");
    strbuf_add_json(&send->items, items[i]->pipeline);
    if (items[i]->key) {
      strbuf_puts(&send->items, ",\"key\":");
      strbuf_add_json(&send->items, items[i]->key);
    }
    strbuf_printf(&send->items, ",\"labels\":%d}", labels->batch.rows);
    add_whole_list(&send->id, &labels->ids);
    add_whole_list(&send->prediction, &labels->labels);
    add_whole_list(&send->at, &labels->at);
  }
  strbuf_putc(&send->items, ']');
  values[0] = db_text(strbuf_text(&send->items));
  values[1] = list_value(&send->id);
  values[2] = list_value(&send->prediction);
  values[3] = list_value(&send->at);
  for (size_t i = 0; i < ARRAY_LEN(lists); i++) ORCH_ASSERT(!lists[i]->failed);
}

size_t observe_send_bytes(const struct observe_send *send) {
  const struct strbuf *const lists[] = LISTS(send);
  size_t bytes = 0;
  for (size_t i = 0; i < ARRAY_LEN(lists); i++) bytes += lists[i]->size;
  return bytes;
}

void observe_send_fini(struct observe_send *send) {
  struct strbuf *const lists[] = LISTS(send);
  for (size_t i = 0; i < ARRAY_LEN(lists); i++) strbuf_fini(lists[i]);
}

bool observe_sent_read(const json_t *answers, size_t index, struct observe_sent *ret, struct err *err) {
  const json_t *answer = json_array_get(answers, index), *error = json_object_get(answer, "error");
  const json_t *first = json_object_get(answer, "first_row");
  if (error) {
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *hint = json_string_value(json_object_get(error, "hint"));
    err_set(err, code ? db_err_from_sqlstate(code) : ERR_DB, "%s", message ? message : "refused");
    return hint ? err_hint(err, "%s", hint) : false;
  }
  if (!json_is_integer(first) && !json_is_integer(json_object_get(answer, "labels")))
    return err_set(err, ERR_DB, "the database's answer about rows or labels cannot be read");
  *ret = (struct observe_sent){.first_row = json_integer_value(first),
                               .joined = json_integer_value(json_object_get(answer, "joined")),
                               .waiting = json_integer_value(json_object_get(answer, "waiting")),
                               .known = json_integer_value(json_object_get(answer, "known")),
                               .repeated = json_is_true(json_object_get(answer, "repeated"))};
  return true;
}
