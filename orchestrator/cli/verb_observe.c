/* orch observe PIPELINE FILE: a batch job's rows, straight into the database. */
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/db_sync.h"
#include "stats/csv.h"
#include "trigger/observe.h"
#include "trigger/observe_csv.h"

#define BATCH_BYTES (2 * 1024 * 1024) /* a batch is sent once it is this long */
#define CHUNK_BYTES (64 * 1024)
#define COMPLAINTS_MAX 20

struct observing {
  struct cli *cli;
  struct db_sync *db;
  const char *pipeline, *key;
  struct strbuf batch; /* NDJSON that was not sent yet */
  uint64_t batch_line; /* NDJSON: the line before the batch's first */
  struct observe_csv csv;
  bool has_header;
  int64_t rows, rejected, repeated, batches, first_row;
};

static bool send_rows(struct observing *o, int rows, const void *body, size_t len, struct err *err) {
  char key[300];
  snprintf(key, sizeof key, "%s:%lld", o->key ? o->key : "", (long long)o->batches);
  struct db_value values[] = {db_text(o->pipeline), db_i64(rows), db_bytes(body, len), db_text(o->key ? key : NULL)};
  char *answer = db_sync_call(o->db, "select orch.observations_append($1, $2, $3, $4)", ARRAY_LEN(values), values, err);
  if (!answer) return false;
  json_t *document = json_loads(answer, 0, NULL);
  if (o->batches == 0) o->first_row = json_integer_value(json_object_get(document, "first_row"));
  if (json_is_true(json_object_get(document, "repeated"))) o->repeated += rows;
  json_decref(document);
  mem_free(answer);
  o->batches++;
  o->rows += rows;
  return true;
}

/* Judges what has gathered as the server judges a body, says which lines are no rows, and sends the others. */
static bool flush(struct observing *o, struct err *err) {
  struct observe_batch judged;
  if (o->batch.len == 0) return true;
  bool fine = observe_parse(&judged, o->batch.data, o->batch.len, err);
  for (size_t i = 0; fine && i < judged.n_errors && o->rejected + (int64_t)i < COMPLAINTS_MAX; i++) {
    unsigned long long line = o->batch_line + judged.errors[i].line;
    fprintf(stderr, "orch: line %llu: %s\n", line, cli_safe(o->cli, judged.errors[i].text));
  }
  if (fine) {
    o->rejected += (int64_t)judged.rejected;
    fine = judged.rows == 0 || send_rows(o, judged.rows, judged.accepted.data, judged.accepted.len, err);
  }
  observe_fini(&judged);
  for (size_t i = 0; i < o->batch.len; i++) o->batch_line += o->batch.data[i] == '\n';
  strbuf_reset(&o->batch);
  return fine;
}

static bool csv_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct observing *o = arg;
  bool fine;
  if (!o->has_header) {
    fine = o->has_header = observe_csv_header(&o->csv, fields, n, err);
    o->batch_line = line;
  } else {
    fine = observe_csv_row(&o->csv, fields, n, &o->batch, err);
    if (fine && o->batch.failed) fine = err_set(err, ERR_LIMIT, "a record too long for a row");
    if (fine && o->batch.len >= BATCH_BYTES) fine = flush(o, err);
  }
  return fine || err_prefix(err, "line %llu", (unsigned long long)line);
}

/* Whole lines go into the batch; the rest waits for the next chunk. */
static bool ndjson_chunk(struct observing *o, struct strbuf *rest, const char *bytes, size_t len, struct err *err) {
  for (const char *at = bytes, *end = bytes + len; at < end;) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline + 1 : end;
    strbuf_add(rest, at, (size_t)(stop - at));
    if (rest->failed) return err_set(err, ERR_LIMIT, "a line of more than %d bytes", OBSERVE_LINE_MAX * 2);
    if (newline) {
      strbuf_add(&o->batch, rest->data, rest->len);
      strbuf_reset(rest);
      if (o->batch.len >= BATCH_BYTES && !flush(o, err)) return false;
    }
    at = stop;
  }
  return true;
}

static bool read_all(struct observing *o, FILE *file, bool is_csv, struct err *err) {
  struct strbuf rest;
  struct csv_reader *reader = is_csv ? csv_reader_new(csv_record, o) : NULL;
  char *chunk = mem_alloc(CHUNK_BYTES);
  bool fine = true;
  strbuf_init(&rest, OBSERVE_LINE_MAX * 2);
  for (size_t got; fine && (got = fread(chunk, 1, CHUNK_BYTES, file)) > 0;)
    fine = is_csv ? csv_reader_feed(reader, chunk, got, err) : ndjson_chunk(o, &rest, chunk, got, err);
  if (fine && ferror(file)) fine = err_set(err, ERR_IO, "reading failed");
  if (fine && is_csv) fine = csv_reader_finish(reader, err);
  if (fine && rest.len) strbuf_add(&o->batch, rest.data, rest.len);
  fine = fine && flush(o, err);
  csv_reader_free(reader);
  strbuf_fini(&rest);
  mem_free(chunk);
  return fine;
}

static bool report(struct observing *o, struct err *err) {
  if (o->cli->json) {
    json_t *document =
        json_pack("{s:s, s:I, s:I, s:I, s:I}", "pipeline", o->pipeline, "accepted", (json_int_t)o->rows, "rejected",
                  (json_int_t)o->rejected, "repeated", (json_int_t)o->repeated, "batches", (json_int_t)o->batches);
    if (o->rows) json_object_set_new(document, "first_row", json_integer(o->first_row));
    cli_print_json(o->cli, document);
    json_decref(document);
  } else if (o->rows && o->repeated == o->rows) {
    cli_printf("%s: all %lld rows were stored before, from row %lld on\n", cli_safe(o->cli, o->pipeline),
               (long long)o->rows, (long long)o->first_row);
  } else if (o->rows) {
    cli_printf("%s: %lld %s stored, from row %lld on\n", cli_safe(o->cli, o->pipeline),
               (long long)(o->rows - o->repeated), o->rows - o->repeated == 1 ? "row" : "rows",
               (long long)o->first_row);
  }
  if (o->rejected)
    return err_set(err, ERR_INVALID, "%lld %s no row and left out; the other %lld are stored", (long long)o->rejected,
                   o->rejected == 1 ? "line is" : "lines are", (long long)o->rows);
  if (o->rows == 0) return err_set(err, ERR_INVALID, "the file has no rows");
  return true;
}

static bool ends_with(const char *text, const char *end) {
  size_t a = strlen(text), b = strlen(end);
  return a >= b && strcmp(text + a - b, end) == 0;
}

static bool observe_run(struct cli *cli, struct err *err) {
  const char *path = cli->argv[1], *url = NULL, *format = cli_opt(cli, "format");
  if (!format) format = ends_with(path, ".csv") ? "csv" : "ndjson";
  if (strcmp(format, "csv") != 0 && strcmp(format, "ndjson") != 0)
    return err_set(err, ERR_USAGE, "--format is csv or ndjson");
  const char *key = cli_opt(cli, "key");
  if (key && (!*key || strlen(key) > 200)) return err_set(err, ERR_USAGE, "--key has 1 to 200 characters");
  if (!cli_database_url(cli, &url, err)) return false;
  bool is_stdin = strcmp(path, "-") == 0;
  FILE *file = is_stdin ? stdin : fopen(path, "rb");
  if (!file) return err_set(err, ERR_NOT_FOUND, "%s cannot be opened", cli_safe(cli, path));
  CLEANUP(db_sync_close_p) struct db_sync *db = db_sync_open(url, "orch observe", err);
  struct observing o = {.cli = cli, .db = db, .pipeline = cli->argv[0], .key = key};
  strbuf_init(&o.batch, OBSERVE_BODY_MAX);
  bool fine = db && read_all(&o, file, strcmp(format, "csv") == 0, err);
  if (!fine && o.rows) err_hint(err, "%lld rows were stored before", (long long)o.rows);
  if (!is_stdin) fclose(file);
  strbuf_fini(&o.batch);
  observe_csv_fini(&o.csv);
  return fine && report(&o, err);
}

static const struct cli_option options[] = {
    {"format", 0, "WORD", "csv or ndjson; otherwise the file's name says (.csv, else ndjson)"},
    {"key", 0, "TEXT", "the same key again within a day stores nothing twice"},
    {0},
};

const struct cli_verb verb_observe = {
    .name = "observe",
    .group = CLI_GROUP_PIPELINE,
    .summary = "Store the rows a model saw, for its monitors",
    .usage = "observe PIPELINE FILE [--format WORD] [--key TEXT]",
    .help = "Appends rows to the pipeline's observations, as POST\n"
            "/v1/pipelines/PIPELINE/observations does: for batch jobs. NDJSON has one object\n"
            "a line; CSV has a header, and blank cells are missing values. A row's key `at`\n"
            "or `timestamp` (RFC 3339) says when it happened. FILE - reads standard input.\n"
            "\n"
            "Rows are durable when the command has ended. Lines that are no rows are named\n"
            "on standard error and left out (exit code 2); the others are stored. When the\n"
            "connection breaks half-way, run it again with the same --key and the same file.",
    .examples = "orch observe housing scored.csv\norch observe housing rows.ndjson --key 2026-01-05\n"
                "score | orch observe housing -",
    .options = options,
    .min_args = 2,
    .max_args = 2,
    .run = observe_run,
};
