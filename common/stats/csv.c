#include "stats/csv.h"

#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

enum state { FIELD_START, IN_FIELD, IN_QUOTES, AFTER_QUOTE };

struct csv_reader {
  csv_record_fn *fn;
  void *arg;
  enum state state;
  struct strbuf record; /* fields one after another, each with a NUL */
  uint32_t starts[CSV_FIELDS_MAX];
  struct csv_field fields[CSV_FIELDS_MAX];
  size_t n_fields;
  uint64_t line, record_line;
  unsigned bom; /* bytes of a byte order mark seen at the very front; 3 when that question is settled */
  bool any;     /* the record has at least one character or comma */
};

struct csv_reader *csv_reader_new(csv_record_fn *fn, void *arg) {
  struct csv_reader *reader = mem_alloc(sizeof *reader);
  reader->fn = fn;
  reader->arg = arg;
  reader->line = reader->record_line = 1;
  strbuf_init(&reader->record, CSV_RECORD_MAX);
  return reader;
}

void csv_reader_free(struct csv_reader *reader) {
  if (!reader) return;
  strbuf_fini(&reader->record);
  mem_free(reader);
}

static bool field_end(struct csv_reader *r, struct err *err) {
  if (r->n_fields == CSV_FIELDS_MAX)
    return err_set(err, ERR_LIMIT, "line %llu: more than %d fields", (unsigned long long)r->record_line,
                   CSV_FIELDS_MAX);
  strbuf_add(&r->record, "", 1);
  r->n_fields++;
  if (r->n_fields < CSV_FIELDS_MAX) r->starts[r->n_fields] = (uint32_t)r->record.len;
  r->state = FIELD_START;
  return true;
}

static bool record_end(struct csv_reader *r, struct err *err) {
  bool done = true;
  if (r->any) {
    if (!field_end(r, err)) return false;
    if (r->record.failed)
      return err_set(err, ERR_LIMIT, "line %llu: a record of more than %d bytes", (unsigned long long)r->record_line,
                     CSV_RECORD_MAX);
    for (size_t i = 0; i < r->n_fields; i++) {
      const char *text = r->record.data + r->starts[i];
      size_t end = i + 1 < r->n_fields ? r->starts[i + 1] : r->record.len;
      r->fields[i] = (struct csv_field){.text = text, .len = end - r->starts[i] - 1};
    }
    done = r->fn(r->arg, r->record_line, r->fields, r->n_fields, err);
  }
  strbuf_reset(&r->record);
  r->n_fields = 0;
  r->starts[0] = 0;
  r->any = false;
  r->state = FIELD_START;
  return done;
}

/* A carriage return before the newline belongs to the line end; the field has it as its last byte. */
static void drop_carriage_return(struct csv_reader *r) {
  size_t start = r->n_fields < CSV_FIELDS_MAX ? r->starts[r->n_fields] : 0;
  if (r->record.len > start && r->record.data[r->record.len - 1] == '\r') {
    r->record.len--;
    if (r->record.len == 0) r->any = false;
  }
}

static bool take(struct csv_reader *r, char c, struct err *err) {
  if (r->state == IN_QUOTES) {
    if (c == '"')
      r->state = AFTER_QUOTE;
    else
      strbuf_add(&r->record, &c, 1);
    return true;
  }
  if (r->state == AFTER_QUOTE && c == '"') {
    strbuf_add(&r->record, &c, 1);
    r->state = IN_QUOTES;
    return true;
  }
  if (c == '\n') {
    if (r->state == IN_FIELD) drop_carriage_return(r);
    return record_end(r, err);
  }
  if (!r->any) r->record_line = r->line;
  if (c == ',') {
    r->any = true;
    return field_end(r, err);
  }
  if (r->state == AFTER_QUOTE) {
    if (c == '\r') return true;
    return err_set(err, ERR_INVALID, "line %llu: text after a closing quote", (unsigned long long)r->line);
  }
  r->any = true;
  if (c == '"') {
    if (r->state == IN_FIELD)
      return err_set(err, ERR_INVALID, "line %llu: a quote inside a field that does not start with one",
                     (unsigned long long)r->line);
    r->state = IN_QUOTES;
    return true;
  }
  r->state = IN_FIELD;
  strbuf_add(&r->record, &c, 1);
  return true;
}

bool csv_reader_feed(struct csv_reader *r, const char *bytes, size_t len, struct err *err) {
  static const char mark[] = "\xEF\xBB\xBF";
  for (size_t i = 0; i < len; i++) {
    if (r->bom < 3) {
      if (bytes[i] == mark[r->bom]) {
        r->bom++;
        continue;
      }
      for (unsigned j = 0; j < r->bom; j++)
        if (!take(r, mark[j], err)) return false;
      r->bom = 3;
    }
    if (bytes[i] == 0)
      return err_set(err, ERR_INVALID, "line %llu: a NUL byte; this is no text file", (unsigned long long)r->line);
    if (!take(r, bytes[i], err)) return false;
    if (bytes[i] == '\n') r->line++;
  }
  return true;
}

bool csv_reader_finish(struct csv_reader *r, struct err *err) {
  if (r->state == IN_QUOTES)
    return err_set(err, ERR_INVALID, "line %llu: the file ends inside quotes", (unsigned long long)r->record_line);
  if (r->state == IN_FIELD) drop_carriage_return(r);
  return record_end(r, err);
}
