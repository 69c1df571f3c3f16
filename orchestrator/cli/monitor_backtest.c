/* orch monitor backtest: a history of rows through the monitors, and when each would have fired. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/digest.h"
#include "cli/cli_files.h"
#include "cli/cli_monitor.h"
#include "stats/csv.h"
#include "trigger/observe.h"
#include "trigger/observe_csv.h"
#include "trigger/replay.h"

#define CHUNK_BYTES (256 * 1024)
#define PROGRESS_US 200000

struct backtest {
  struct cli *cli;
  json_t *plan; /* {"pipeline", "version", "monitors", "keys", "metrics"} */
  struct profile *profile;
  struct replay *replay;
  bool is_csv, has_header;
  struct observe_csv csv;
  struct strbuf line;
  gzFile file;
  int64_t size, shown_us;
};

/* ---- the history ---- */

static void show_progress(struct backtest *b, bool end) {
  int64_t now = clock_mono_us();
  if (b->cli->json || !isatty(STDERR_FILENO) || (!end && now - b->shown_us < PROGRESS_US)) return;
  b->shown_us = now;
  long long rows = (long long)replay_rows(b->replay);
  if (end)
    fprintf(stderr, "\r\033[K");
  else if (b->size > 0)
    fprintf(stderr, "\r%3.0f %% of the file, %lld rows", 100.0 * (double)gzoffset(b->file) / (double)b->size, rows);
  else
    fprintf(stderr, "\r%lld rows", rows);
  (void)fflush(stderr);
}

static bool csv_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct backtest *b = arg;
  bool fine;
  if (!b->has_header) {
    const char *const texts[] = {"id", NULL};
    fine = b->has_header = observe_csv_header(&b->csv, fields, n, texts, err);
  } else {
    strbuf_reset(&b->line);
    fine = observe_csv_row(&b->csv, fields, n, &b->line, err);
    if (fine && b->line.failed) fine = err_set(err, ERR_LIMIT, "a record too long for a row");
    if (fine) replay_row(b->replay, b->line.data, b->line.len - 1);
  }
  return fine || err_prefix(err, "line %llu", (unsigned long long)line);
}

static void take_line(struct backtest *b, const char *line, size_t len) {
  while (len && (line[len - 1] == '\r' || line[len - 1] == ' ')) len--;
  if (len) replay_row(b->replay, line, len);
}

static bool ndjson_chunk(struct backtest *b, const char *bytes, size_t len, struct err *err) {
  for (const char *at = bytes, *end = bytes + len; at < end;) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline : end;
    if (newline && b->line.len == 0) { /* whole inside the chunk */
      take_line(b, at, (size_t)(stop - at));
    } else {
      strbuf_add(&b->line, at, (size_t)(stop - at));
      if (b->line.failed) return err_set(err, ERR_LIMIT, "a line of more than %d bytes", OBSERVE_LINE_MAX);
      if (newline) {
        take_line(b, b->line.data, b->line.len);
        strbuf_reset(&b->line);
      }
    }
    at = newline ? newline + 1 : end;
  }
  return true;
}

/* gzread() reads plain files as they are. */
static bool read_rows(struct backtest *b, struct err *err) {
  struct csv_reader *reader = b->is_csv ? csv_reader_new(csv_record, b) : NULL;
  CLEANUP(mem_free_p) char *chunk = mem_alloc(CHUNK_BYTES);
  bool fine = true;
  int got = 0, code = Z_OK;
  strbuf_init(&b->line, OBSERVE_LINE_MAX + 1);
  while (fine && (got = gzread(b->file, chunk, CHUNK_BYTES)) > 0) {
    fine = b->is_csv ? csv_reader_feed(reader, chunk, (size_t)got, err) : ndjson_chunk(b, chunk, (size_t)got, err);
    show_progress(b, false);
  }
  if (fine && got < 0) fine = err_set(err, ERR_IO, "reading failed: %s", gzerror(b->file, &code));
  if (fine && gzerror(b->file, &code) && code == Z_BUF_ERROR) fine = err_set(err, ERR_IO, "the gzip file is cut short");
  if (fine && b->is_csv) fine = csv_reader_finish(reader, err);
  if (fine && !b->is_csv && b->line.len) take_line(b, b->line.data, b->line.len);
  show_progress(b, true);
  csv_reader_free(reader);
  observe_csv_fini(&b->csv);
  strbuf_fini(&b->line);
  return fine;
}

static bool open_data(struct backtest *b, struct err *err) {
  const char *path = cli_opt(b->cli, "data");
  struct stat about;
  if (!path) {
    err_set(err, ERR_USAGE, "monitor backtest needs --data FILE: the rows of the past, CSV or NDJSON");
    return err_hint(err, "orch monitor backtest PIPELINE --data rows.csv");
  }
  int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return err_errno(err, errno, "--data %s", path);
  b->size = fstat(fd, &about) == 0 && S_ISREG(about.st_mode) ? about.st_size : 0;
  size_t len = strlen(path);
  b->is_csv = (len > 4 && strcmp(path + len - 4, ".csv") == 0) || (len > 7 && strcmp(path + len - 7, ".csv.gz") == 0);
  b->file = gzdopen(fd, "rb");
  if (b->file) return true;
  close(fd);
  return err_set(err, ERR_IO, "--data %s cannot be read", path);
}

/* ---- the monitors and their reference ---- */

static bool plan_from_file(struct backtest *b, const char *path, struct err *err) {
  struct cli_file file = {0};
  if (!cli_file_read(b->cli, path, &file, err)) return false;
  cli_file_parse(&file, NULL);
  bool fine = file.document != NULL && !file.is_server;
  if (fine) {
    if (!b->plan) b->plan = json_object();
    json_object_set(b->plan, "pipeline", json_object_get(file.document, "pipeline"));
    json_object_set(b->plan, "monitors", json_object_get(file.document, "monitors"));
    json_object_set(b->plan, "keys", json_object_get(file.document, "observations"));
  } else if (file.document == NULL) {
    cli_file_complain(&file);
    err_set(err, ERR_INVALID, "%s has problems", path);
  } else {
    err_set(err, ERR_INVALID, "%s is no pipeline file", path);
  }
  cli_file_fini(&file);
  return fine;
}

static bool live_profile(struct backtest *b, struct err *err) {
  const char *base64 = json_string_value(json_object_get(b->plan, "profile"));
  if (!base64) return true; /* monitors that need one say so */
  size_t len = 0, size = strlen(base64);
  CLEANUP(mem_free_p) uint8_t *bytes = mem_alloc(size + 1);
  if (!digest_unbase64(base64, size, bytes, size, &len))
    return err_set(err, ERR_INTERNAL, "the champion's profile is no base64");
  b->profile = profile_decode(bytes, len, err);
  json_object_del(b->plan, "profile");
  return b->profile != NULL;
}

/* The monitors of --file or of the revision in force; against --reference or the champion's training data. */
static bool make_plan(struct backtest *b, struct err *err) {
  const char *file = cli_opt(b->cli, "file"), *reference = cli_opt(b->cli, "reference");
  const char *pipeline = b->cli->argc > 1 ? b->cli->argv[1] : NULL;
  if (!pipeline && !(file && reference)) {
    err_set(err, ERR_USAGE, "monitor backtest needs a pipeline, or both --file and --reference");
    return err_hint(err, "orch monitor backtest --file pipeline.yaml --reference training.csv --data rows.csv");
  }
  if (pipeline && !(file && reference)) {
    struct db_value values[] = {db_text(pipeline)};
    if (!cli_call(b->cli, "select orch.backtest_plan($1)", ARRAY_LEN(values), values, &b->plan, err)) return false;
  }
  if (file && !plan_from_file(b, file, err)) return false;
  return reference ? cli_profile_csv(reference, "--reference", &b->profile, err) : live_profile(b, err);
}

static bool time_option(struct cli *cli, const char *name, int64_t *ret, struct err *err) {
  const char *text = cli_opt(cli, name);
  char day[40];
  if (!text) return true;
  snprintf(day, sizeof day, "%.20sT00:00:00Z", text);
  if (clock_parse_rfc3339(text, ret) || clock_parse_rfc3339(day, ret)) return true;
  return err_set(err, ERR_USAGE, "--%s is '%.40s', expected a day or a time such as 2026-01-31T12:00:00Z", name, text);
}

static char *text_of(const json_t *value) {
  char *text = json_is_object(value) ? json_dumps(value, JSON_COMPACT) : NULL;
  char *copy = text ? mem_strdup(text) : NULL;
  free(text);
  return copy;
}

static bool start_replay(struct backtest *b, struct err *err) {
  struct replay_plan plan = {.monitors = json_object_get(b->plan, "monitors"),
                             .profile = b->profile,
                             .from_us = INT64_MIN,
                             .to_us = INT64_MAX,
                             .now_us = clock_wall_us()};
  if (!time_option(b->cli, "from", &plan.from_us, err) || !time_option(b->cli, "to", &plan.to_us, err)) return false;
  /* A history goes over many champions: without a word, all its rows are taken for one's. */
  const char *champion = cli_opt(b->cli, "champion");
  int64_t number = 0;
  if (champion && !cli_parse_int(champion, "--champion", 1, INT32_MAX, &number, err)) return false;
  plan.champion = (int)number;
  CLEANUP(mem_free_p) char *keys = text_of(json_object_get(b->plan, "keys"));
  CLEANUP(mem_free_p) char *metrics = text_of(json_object_get(b->plan, "metrics"));
  plan.keys = keys;
  plan.metrics = metrics;
  b->replay = replay_new(&plan, err);
  return b->replay != NULL;
}

/* ---- the report ---- */

static const char *span_words(struct cli *cli, const json_t *span) {
  if (!json_is_object(span)) return "still firing";
  const char *at = json_string_value(json_object_get(span, "to_at"));
  return arena_printf(&cli->arena, "row %s%s%.10s%s", cli_member(cli, span, "to_row"), at ? " (" : "", at ? at : "",
                      at ? ")" : "");
}

static void episodes_table(struct cli *cli, const json_t *monitors) {
  struct cli_table *table = cli_table_new(
      cli, (const char *const[]){"MONITOR", "SIGNAL", "THEN", "FIRED AT", "ENDED AT", ">WINDOWS", "|WHAT", NULL});
  size_t i, k;
  json_t *m, *e;
  json_array_foreach(monitors, i, m) json_array_foreach(json_object_get(m, "episodes"), k, e) {
    const char *kind = json_string_value(json_object_get(e, "signal"));
    bool proposes = strcmp(cli_member(cli, e, "then"), "propose") == 0 && kind && strcmp(kind, "data_fault") != 0;
    cli_table_row(table);
    cli_table_cell(table, json_string_value(json_object_get(m, "monitor")));
    cli_table_cell_color(table, kind && strcmp(kind, "data_fault") == 0 ? CLI_RED : CLI_YELLOW, kind);
    cli_table_cell(table, proposes ? "propose" : "tell");
    cli_table_cell(table, span_words(cli, json_object_get(e, "fired")));
    cli_table_cell(table, span_words(cli, json_object_get(e, "ended")));
    cli_table_cell(table, cli_member(cli, e, "windows"));
    cli_table_cell(table, json_string_value(json_object_get(e, "title")));
  }
  cli_table_print(table, "Nothing would have fired.");
}

static void monitors_table(struct cli *cli, const json_t *monitors) {
  static const char *const verdicts[] = {"ok", "drift", "fault", "alarm", "insufficient"};
  struct cli_table *table =
      cli_table_new(cli, (const char *const[]){"MONITOR", "KIND", ">WINDOWS", ">OK", ">DRIFT", ">FAULT", ">ALARM",
                                               ">TOO FEW", ">FIRED", ">SMALLEST", ">LARGEST", ">BOUND", NULL});
  size_t i;
  json_t *m;
  cli_heading(cli, "Monitors");
  json_array_foreach(monitors, i, m) {
    cli_table_row(table);
    cli_table_cell(table, json_string_value(json_object_get(m, "monitor")));
    cli_table_cell(table, json_string_value(json_object_get(m, "kind")));
    cli_table_cell_printf(table, "%zu", json_array_size(json_object_get(m, "windows")));
    for (size_t v = 0; v < ARRAY_LEN(verdicts); v++)
      cli_table_cell_printf(
          table, "%lld", (long long)json_integer_value(json_object_get(json_object_get(m, "verdicts"), verdicts[v])));
    cli_table_cell_printf(table, "%zu", json_array_size(json_object_get(m, "episodes")));
    cli_table_cell(table, cli_monitor_number(cli, json_object_get(m, "smallest")));
    cli_table_cell(table, cli_monitor_number(cli, json_object_get(m, "largest")));
    cli_table_cell(table, cli_monitor_number(cli, json_object_get(m, "threshold")));
  }
  cli_table_print(table, "No monitor judges windows.");
}

static void report(struct cli *cli, const json_t *document) {
  const json_t *monitors = json_object_get(document, "monitors"), *others = json_object_get(document, "not_replayed");
  size_t i;
  json_t *m;
  episodes_table(cli, monitors);
  monitors_table(cli, monitors);
  cli_printf("\n%s rows; nothing was stored.", cli_member(cli, document, "rows"));
  if (json_integer_value(json_object_get(document, "outside")))
    cli_printf(" %s rows lie outside of --from and --to.", cli_member(cli, document, "outside"));
  if (json_integer_value(json_object_get(document, "broken")))
    cli_printf(" %s lines are no rows.", cli_member(cli, document, "broken"));
  cli_printf("\n");
  json_array_foreach(others, i, m) cli_printf("Not replayed: %s (%s looks at no rows).\n",
                                              cli_member(cli, m, "monitor"), cli_member(cli, m, "kind"));
}

static bool finish(struct backtest *b, struct err *err) {
  CLEANUP(json_decrefp) json_t *document = replay_finish(b->replay);
  json_object_set(document, "pipeline", json_object_get(b->plan, "pipeline"));
  json_object_set(document, "version", json_object_get(b->plan, "version"));
  if (replay_rows(b->replay) == 0) {
    bool untimed = json_integer_value(json_object_get(document, "untimed")) > 0;
    return err_set(err, ERR_INVALID, "%s",
                   untimed && (cli_opt(b->cli, "from") || cli_opt(b->cli, "to"))
                       ? "the rows carry no time (key `at`), so --from and --to find none"
                       : "the file has no row to replay");
  }
  if (b->cli->json)
    cli_print_json(b->cli, document);
  else
    report(b->cli, document);
  return true;
}

bool monitor_backtest(struct cli *cli, struct err *err) {
  struct backtest b = {.cli = cli};
  if (cli->argc > 2) return err_set(err, ERR_USAGE, "monitor backtest: expected at most one pipeline");
  bool fine =
      open_data(&b, err) && make_plan(&b, err) && start_replay(&b, err) && read_rows(&b, err) && finish(&b, err);
  replay_free(b.replay);
  profile_free(b.profile);
  json_decref(b.plan);
  if (b.file) (void)gzclose(b.file);
  return fine;
}
