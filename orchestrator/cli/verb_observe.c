/* orch observe PIPELINE FILE: a batch job's rows, or the labels that came for them, straight into the database. */
#include "cli/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "io/db_sync.h"
#include "stats/csv.h"
#include "trigger/observe.h"
#include "trigger/observe_csv.h"
#include "trigger/observe_labels.h"
#include "trigger/observe_send.h"

#define BATCH_BYTES (2 * 1024 * 1024)  /* a batch is sent once it is this long */
#define LABELS_BYTES (1 * 1024 * 1024) /* one of labels: always fewer lines than OBSERVE_LABELS_MAX */
#define CHUNK_BYTES (64 * 1024)
#define COMPLAINTS_MAX 20
#define PROGRESS_US 200000

struct observing {
  struct cli *cli;
  struct db_sync *db;
  const char *pipeline, *key;
  bool is_labels;
  struct observe_plan *plan; /* of rows */
  struct strbuf batch;       /* NDJSON that was not sent yet */
  uint64_t batch_line;       /* NDJSON: the line before the batch's first */
  uint64_t *csv_lines;       /* CSV: where the batch's records began */
  size_t n_csv_lines, csv_lines_size;
  struct observe_csv csv;
  bool has_header, shows_progress;
  int64_t shown_us;
  int64_t rows, rejected, repeated, batches, first_row, joined, known, times_unread;
};

static bool get_plan(struct observing *o, struct err *err) {
  struct db_value values[] = {db_text(o->pipeline)};
  CLEANUP(mem_free_p) char *document = db_sync_call(o->db, OBSERVE_PLAN_SQL, ARRAY_LEN(values), values, err);
  observe_plan_unref(o->plan);
  o->plan = document ? observe_plan_new(document, err) : NULL;
  return o->plan != NULL;
}

/* The key of the batch at hand; NULL when there is none. */
static const char *batch_key(const struct observing *o, char *text, size_t size) {
  if (!o->key) return NULL;
  snprintf(text, size, "%s:%lld", o->key, (long long)o->batches);
  return text;
}

static void count_batch(struct observing *o, int rows, bool repeated) {
  if (repeated) o->repeated += rows;
  o->batches++;
  o->rows += rows;
}

static bool send_rows(struct observing *o, const struct observe_batch *batch, struct err *err) {
  char key[300];
  struct observe_item item = {o->pipeline, batch_key(o, key, sizeof key), o->plan->revision, batch};
  const struct observe_item *items[] = {&item};
  struct observe_send send = {0};
  struct observe_sent sent = {0};
  struct db_value values[OBSERVE_SEND_VALUES];
  observe_send_fill(&send, items, 1, values);
  CLEANUP(mem_free_p) char *answer = db_sync_call(o->db, OBSERVE_SEND_SQL, OBSERVE_SEND_VALUES, values, err);
  observe_send_fini(&send);
  json_t *answers = answer ? json_loads(answer, 0, NULL) : NULL;
  bool fine = answer && observe_sent_read(answers, 0, &sent, err);
  json_decref(answers);
  if (!fine) return false;
  if (o->batches == 0) o->first_row = sent.first_row;
  count_batch(o, batch->rows, sent.repeated);
  return true;
}

static bool send_labels(struct observing *o, const struct observe_labels *labels, struct err *err) {
  char key[300];
  struct db_value values[OBSERVE_LABELS_VALUES];
  observe_labels_values(labels, o->pipeline, batch_key(o, key, sizeof key), values);
  CLEANUP(mem_free_p) char *answer = db_sync_call(o->db, OBSERVE_LABELS_SQL, OBSERVE_LABELS_VALUES, values, err);
  if (!answer) return false;
  json_t *said = json_loads(answer, 0, NULL);
  o->joined += json_integer_value(json_object_get(said, "joined"));
  o->known += json_integer_value(json_object_get(said, "known"));
  count_batch(o, labels->batch.rows, json_is_true(json_object_get(said, "repeated")));
  json_decref(said);
  return true;
}

static void complain_of(const struct observing *o, int64_t before, uint64_t line, const char *text) {
  if (before < COMPLAINTS_MAX)
    fprintf(stderr, "orch: line %llu: %s\n", (unsigned long long)line, cli_safe(o->cli, text));
}

/* Says which lines were refused. */
static void complain(struct observing *o, const struct observe_batch *judged) {
  for (size_t i = 0; i < judged->n_errors; i++) {
    uint64_t line = judged->errors[i].line;
    complain_of(o, o->rejected + (int64_t)i, line <= o->n_csv_lines ? o->csv_lines[line - 1] : o->batch_line + line,
                judged->errors[i].text);
  }
  o->rejected += (int64_t)judged->rejected;
  o->times_unread += judged->times_unread;
}

static bool flush_labels(struct observing *o, struct err *err) {
  struct observe_labels labels;
  bool fine = observe_labels_parse(&labels, o->batch.data, o->batch.len, err);
  if (fine) {
    complain(o, &labels.batch);
    fine = labels.batch.rows == 0 || send_labels(o, &labels, err);
  }
  observe_labels_fini(&labels);
  return fine;
}

/* When the pipeline was applied anew meanwhile, the rows are read once more by its new plan. */
static bool flush_rows(struct observing *o, struct err *err) {
  for (int turn = 0;; turn++) {
    struct observe_batch judged;
    bool fine = observe_parse(&judged, o->plan, o->batch.data, o->batch.len, err);
    if (fine && turn == 0) complain(o, &judged);
    fine = fine && (judged.rows == 0 || send_rows(o, &judged, err));
    observe_fini(&judged);
    if (fine || err->code != ERR_CONFLICT || turn > 0) return fine;
    if (!get_plan(o, err)) return false;
  }
}

static void show_progress(struct observing *o, bool end) {
  int64_t now = clock_mono_us();
  if (!o->shows_progress || (!end && now - o->shown_us < PROGRESS_US)) return;
  o->shown_us = now;
  fprintf(stderr, end ? "\r\033[K" : "\r%lld %s stored", (long long)o->rows, o->is_labels ? "labels" : "rows");
  (void)fflush(stderr);
}

/* Judges what has gathered as the server judges a body, says which lines are no rows, and sends the others. */
static bool flush(struct observing *o, struct err *err) {
  if (o->batch.len == 0) return true;
  bool fine = o->is_labels ? flush_labels(o, err) : flush_rows(o, err);
  for (size_t i = 0; i < o->batch.len; i++) o->batch_line += o->batch.data[i] == '\n';
  strbuf_reset(&o->batch);
  o->n_csv_lines = 0;
  show_progress(o, false);
  return fine;
}

static bool is_full(const struct observing *o) {
  return o->batch.len >= (o->is_labels ? LABELS_BYTES : BATCH_BYTES);
}

static bool csv_header(struct observing *o, const struct csv_field *fields, size_t n, struct err *err) {
  const char *const of_rows[] = {o->plan ? o->plan->id : NULL, NULL}, *const of_labels[] = {"id", "label", NULL};
  if (!observe_csv_header(&o->csv, fields, n, o->is_labels ? of_labels : of_rows, err)) return false;
  for (size_t i = 0; o->is_labels && of_labels[i]; i++) {
    bool there = false;
    for (size_t k = 0; k < n; k++) there |= strcmp(fields[k].text, of_labels[i]) == 0;
    if (!there) return err_set(err, ERR_INVALID, "labels have the columns id and label; there is no %s", of_labels[i]);
  }
  return true;
}

/* A record that is no row is named and left out, as a line of NDJSON is. */
static void csv_row(struct observing *o, uint64_t line, const struct csv_field *fields, size_t n) {
  struct err why = {0};
  if (!observe_csv_row(&o->csv, fields, n, &o->batch, &why)) {
    complain_of(o, o->rejected++, line, why.text);
    return;
  }
  if (o->n_csv_lines == o->csv_lines_size) {
    o->csv_lines_size = o->csv_lines_size ? 2 * o->csv_lines_size : 1024;
    o->csv_lines = mem_realloc(o->csv_lines, o->csv_lines_size * sizeof o->csv_lines[0]);
  }
  o->csv_lines[o->n_csv_lines++] = line;
}

static bool csv_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct observing *o = arg;
  bool fine;
  if (!o->has_header) {
    fine = o->has_header = csv_header(o, fields, n, err);
  } else {
    csv_row(o, line, fields, n);
    fine = !o->batch.failed || err_set(err, ERR_LIMIT, "a record too long for a row");
    if (fine && is_full(o)) fine = flush(o, err);
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
      if (is_full(o) && !flush(o, err)) return false;
    }
    at = stop;
  }
  return true;
}

/* gzread() reads plain files as they are. */
static bool read_all(struct observing *o, gzFile file, bool is_csv, struct err *err) {
  struct strbuf rest;
  struct csv_reader *reader = is_csv ? csv_reader_new(csv_record, o) : NULL;
  char *chunk = mem_alloc(CHUNK_BYTES);
  bool fine = true;
  int got = 0, code = Z_OK;
  strbuf_init(&rest, OBSERVE_LINE_MAX * 2);
  while (fine && (got = gzread(file, chunk, CHUNK_BYTES)) > 0)
    fine = is_csv ? csv_reader_feed(reader, chunk, (size_t)got, err) : ndjson_chunk(o, &rest, chunk, (size_t)got, err);
  if (fine && got < 0) fine = err_set(err, ERR_IO, "reading failed: %s", gzerror(file, &code));
  if (fine && gzerror(file, &code) && code == Z_BUF_ERROR) fine = err_set(err, ERR_IO, "the gzip file is cut short");
  if (fine && is_csv) fine = csv_reader_finish(reader, err);
  if (fine && rest.len) strbuf_add(&o->batch, rest.data, rest.len);
  fine = fine && flush(o, err);
  show_progress(o, true);
  csv_reader_free(reader);
  strbuf_fini(&rest);
  mem_free(chunk);
  return fine;
}

static void report_json(const struct observing *o) {
  json_t *document =
      json_pack("{s:s, s:I, s:I, s:I, s:I}", "pipeline", o->pipeline, "accepted", (json_int_t)o->rows, "rejected",
                (json_int_t)o->rejected, "repeated", (json_int_t)o->repeated, "batches", (json_int_t)o->batches);
  if (o->is_labels) {
    json_object_set_new(document, "joined", json_integer(o->joined));
    json_object_set_new(document, "waiting", json_integer(o->rows - o->joined - o->known));
    json_object_set_new(document, "known", json_integer(o->known));
  } else if (o->rows) {
    json_object_set_new(document, "first_row", json_integer(o->first_row));
    json_object_set_new(document, "times_unread", json_integer(o->times_unread));
  }
  cli_print_json(o->cli, document);
  json_decref(document);
}

static bool report(struct observing *o, struct err *err) {
  const char *one = o->is_labels ? "label" : "row", *many = o->is_labels ? "labels" : "rows";
  if (o->cli->json)
    report_json(o);
  else if (o->rows && o->is_labels)
    cli_printf("%s: %lld %s: %lld joined, %lld waiting for their rows, %lld known before\n",
               cli_safe(o->cli, o->pipeline), (long long)o->rows, o->rows == 1 ? one : many, (long long)o->joined,
               (long long)(o->rows - o->joined - o->known), (long long)o->known);
  else if (o->rows && o->repeated == o->rows)
    cli_printf("%s: all %lld rows were stored before, from row %lld on\n", cli_safe(o->cli, o->pipeline),
               (long long)o->rows, (long long)o->first_row);
  else if (o->rows)
    cli_printf("%s: %lld %s stored, from row %lld on\n", cli_safe(o->cli, o->pipeline),
               (long long)(o->rows - o->repeated), o->rows - o->repeated == 1 ? one : many, (long long)o->first_row);
  if (o->times_unread)
    fprintf(stderr, "orch: %lld %s a time that cannot be read, taken as now; RFC 3339 is: 2026-01-05T09:00:00Z\n",
            (long long)o->times_unread, o->times_unread == 1 ? "row has" : "rows have");
  if (o->rejected && o->rows == 0 && !o->has_header)
    return err_set(err, ERR_INVALID, "none of the lines is a %s", one) ||
           err_hint(err, "one JSON object a line is read, or CSV: then say --format csv");
  if (o->rejected)
    return err_set(err, ERR_INVALID, "%lld %s no %s and left out; the other %lld are stored", (long long)o->rejected,
                   o->rejected == 1 ? "line is" : "lines are", one, (long long)o->rows);
  if (o->rows == 0) return err_set(err, ERR_INVALID, "the file has no %s", many);
  return true;
}

static bool ends_with(const char *text, const char *end) {
  size_t a = strlen(text), b = strlen(end);
  return a >= b && strcmp(text + a - b, end) == 0;
}

static gzFile open_file(const char *path) {
  int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
  gzFile file = fd >= 0 ? gzdopen(fd, "rb") : NULL;
  if (fd >= 0 && !file) close(fd);
  return file;
}

static bool observe_file(struct observing *o, const char *url, const char *path, bool is_csv, struct err *err) {
  gzFile file = open_file(path);
  if (!file) return err_set(err, ERR_NOT_FOUND, "%s cannot be opened", cli_safe(o->cli, path));
  CLEANUP(db_sync_close_p) struct db_sync *db = db_sync_open(url, "orch observe", err);
  o->db = db;
  strbuf_init(&o->batch, OBSERVE_BODY_MAX);
  bool fine = db && (o->is_labels || get_plan(o, err)) && read_all(o, file, is_csv, err);
  if (!fine && o->rows)
    err_hint(err, "%lld %s were stored before", (long long)o->rows, o->is_labels ? "labels" : "rows");
  (void)gzclose(file);
  strbuf_fini(&o->batch);
  mem_free(o->csv_lines);
  observe_csv_fini(&o->csv);
  observe_plan_unref(o->plan);
  o->plan = NULL;
  return fine && report(o, err);
}

static bool observe_run(struct cli *cli, struct err *err) {
  const char *path = cli->argv[1], *url = NULL, *format = cli_opt(cli, "format"), *key = cli_opt(cli, "key");
  if (!format) format = ends_with(path, ".csv") || ends_with(path, ".csv.gz") ? "csv" : "ndjson";
  if (strcmp(format, "csv") != 0 && strcmp(format, "ndjson") != 0)
    return err_set(err, ERR_USAGE, "--format is csv or ndjson");
  if (key && (!*key || strlen(key) > 200)) return err_set(err, ERR_USAGE, "--key has 1 to 200 characters");
  if (!cli_database_url(cli, &url, err)) return false;
  struct observing o = {.cli = cli,
                        .pipeline = cli->argv[0],
                        .key = key,
                        .is_labels = cli_flag(cli, "labels"),
                        .shows_progress = !cli->json && isatty(STDERR_FILENO) == 1};
  return observe_file(&o, url, path, strcmp(format, "csv") == 0, err);
}

static const struct cli_option options[] = {
    {"format", 0, "WORD", "csv or ndjson; otherwise the file's name says (.csv or .csv.gz, else ndjson)"},
    {"labels", 0, NULL, "the lines are labels: id, label and, when known, at"},
    {"key", 0, "TEXT", "the same key again within a day stores nothing twice"},
    {0},
};

const struct cli_verb verb_observe = {
    .name = "observe",
    .group = CLI_GROUP_PIPELINE,
    .summary = "Store the rows a model saw, or what turned out to be true, for its monitors",
    .usage = "observe PIPELINE FILE [--labels] [--format WORD] [--key TEXT]",
    .help = "Appends rows to the pipeline's observations, as POST\n"
            "/v1/pipelines/PIPELINE/observations does: for batch jobs. NDJSON has one object\n"
            "a line; CSV has a header, and blank cells are missing values. Objects inside a\n"
            "row are columns by their dotted names (features.income), and a CSV header may\n"
            "have such names. A row's key `at` or `timestamp` (RFC 3339) says when it\n"
            "happened, and `id` which label will be its own. FILE - reads standard input;\n"
            "gzip is unpacked.\n"
            "\n"
            "With --labels the lines say what was true: {\"id\": \"r-17\", \"label\": 1, \"at\":\n"
            "\"2026-01-05T09:00:00Z\"}. A label joins the row of its id, whichever comes first.\n"
            "\n"
            "Rows are durable when the command has ended. Lines that are no rows are named\n"
            "on standard error and left out (exit code 2); the others are stored. When the\n"
            "connection breaks half-way, run it again with the same --key and the same file.",
    .examples = "orch observe housing scored.csv\norch observe housing rows.ndjson.gz --key 2026-01-05\n"
                "orch observe housing truth.csv --labels\nscore | orch observe housing -",
    .options = options,
    .min_args = 2,
    .max_args = 2,
    .run = observe_run,
};
