/* orch drift REF.csv CUR.csv: two files compared, without a server. */
#include "cli/drift_table.h"
#include "cli/verbs.h"

#include <math.h>
#include <signal.h>
#include <string.h>

/* Text from a file: what is no UTF-8 becomes U+FFFD, as everywhere. */
static json_t *json_text(const char *text) {
  json_t *value = json_string(text);
  if (value) return value;
  struct strbuf escaped;
  strbuf_init(&escaped, 16 * CSV_RECORD_MAX);
  strbuf_add_json(&escaped, text);
  value = json_loads(strbuf_text(&escaped), JSON_DECODE_ANY, NULL);
  strbuf_fini(&escaped);
  return value ? value : json_string("");
}

static json_t *json_number(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

/* A measure; when it does not apply, null, and the reason beside it. */
static void set_number(json_t *column, json_t *reasons, const char *name, double value, const char *reason) {
  json_object_set_new(column, name, json_number(value));
  if (!isfinite(value)) json_object_set_new(reasons, name, json_string(reason));
}

static void set_object(json_t *column, json_t *reasons, const char *name, json_t *object, const char *reason) {
  if (!object) json_object_set_new(reasons, name, json_string(reason));
  json_object_set_new(column, name, object ? object : json_null());
}

static const char *no_values(const struct drift_files_column *c) {
  return c->missing             ? "the current file has no such column"
         : c->said.d.n_ref == 0 ? "the reference has no values"
                                : "the current file has no values";
}

/* A column that one file does not have is counted in neither. */
static void set_count(json_t *column, json_t *reasons, const char *name, const struct drift_files_column *c,
                      uint64_t count) {
  set_object(column, reasons, name, c->missing ? NULL : json_integer((json_int_t)count), no_values(c));
}

static void set_measures(json_t *column, json_t *reasons, const struct drift_files_column *c) {
  const struct distances *d = &c->said.d;
  bool values = d->n_ref > 0 && d->n_now > 0;
  const char *texts = values ? "for numbers only: this column has texts" : no_values(c);
  json_t *ks = NULL, *chi2 = NULL;
  if (values && !d->categorical)
    ks = json_pack("{s:o, s:o}", "statistic", json_number(d->ks.statistic), "p_value", json_number(d->ks.p_value));
  if (ks && isnan(d->ks.p_value))
    json_object_set_new(reasons, "ks.p_value", json_string("too few values: n m / (n + m) is under 4"));
  if (values && !isnan(d->chi2.statistic))
    chi2 = json_pack("{s:o, s:I, s:o}", "statistic", json_number(d->chi2.statistic), "df", (json_int_t)d->chi2.df,
                     "p_value", json_number(d->chi2.p_value));
  set_number(column, reasons, "psi", d->psi, no_values(c));
  set_object(column, reasons, "ks", ks, texts);
  set_number(column, reasons, "js_distance", d->js, no_values(c));
  set_number(column, reasons, "wasserstein_normed", d->categorical ? NAN : d->wasserstein.normed,
             !values || d->categorical ? texts
             : d->wasserstein.constant_broken
                 ? "the reference has one single value: no deviation to divide by"
                 : "the reference's values are too close together to count their deviation");
  set_object(column, reasons, "chi2", chi2, no_values(c));
  set_number(column, reasons, "tvd", d->tvd, no_values(c));
  set_number(column, reasons, "hellinger", d->hellinger, no_values(c));
  set_number(column, reasons, "linf", d->linf, no_values(c));
  set_number(column, reasons, "noise_corrected", d->noise_corrected, no_values(c));
}

static json_t *column_document(const struct drift_files_column *c) {
  const struct distances *d = &c->said.d;
  json_t *reasons = json_object(), *column = json_pack("{s:o}", "name", json_text(c->name));
  set_object(column, reasons, "kind", c->missing ? NULL : json_string(profile_kind_name(c->ref.kind)), no_values(c));
  set_count(column, reasons, "n_ref", c, d->n_ref);
  set_count(column, reasons, "n_cur", c, d->n_now);
  set_count(column, reasons, "null_ref", c, d->rows_ref - d->n_ref);
  set_count(column, reasons, "null_cur", c, d->rows_now - d->n_now);
  set_measures(column, reasons, c);
  json_object_set_new(column, "verdict", json_string(drift_verdict_name(c->said.verdict)));
  json_object_set_new(column, "why", json_text(c->said.why));
  json_object_set_new(column, "reasons", reasons);
  return column;
}

static json_t *names_with(const struct drift_files *files, enum drift_verdict verdict) {
  json_t *names = json_array();
  for (size_t i = 0; i < files->n_columns; i++)
    if (files->columns[i].said.verdict == verdict) json_array_append_new(names, json_text(files->columns[i].name));
  return names;
}

static json_t *document_of(const struct drift_files *files) {
  json_t *columns = json_array(), *only_cur = json_array();
  for (size_t i = 0; i < files->n_columns; i++) json_array_append_new(columns, column_document(&files->columns[i]));
  for (size_t i = 0; i < files->n_only_cur; i++) json_array_append_new(only_cur, json_text(files->only_cur[i]));
  return json_pack("{s:o, s:o, s:o, s:I, s:I, s:b, s:o, s:o}", "columns", columns, "drifted",
                   names_with(files, DRIFT_DRIFT), "faults", names_with(files, DRIFT_FAULT), "rows_ref",
                   (json_int_t)files->rows_ref, "rows_cur", (json_int_t)files->rows_cur, "exact", (int)files->whole,
                   "sampled_rows", files->whole ? json_null() : json_integer((json_int_t)files->sampled_rows),
                   "only_cur", only_cur);
}

static bool drift_run(struct cli *cli, struct err *err) {
  struct drift_files_options options = {.columns = cli_opt(cli, "columns"), .whole_numbers_max = DRIFT_WHOLE_NUMBERS};
  (void)signal(SIGXFSZ, SIG_IGN); /* a copy of standard input that grows too large is an error to tell (ulimit -f) */
  struct drift_files *files = drift_files_compare(cli->argv[0], cli->argv[1], &options, err);
  if (!files) return false;
  if (cli->json) {
    json_t *document = document_of(files);
    cli_print_json(cli, document);
    json_decref(document);
  } else {
    drift_table_print(cli, files);
  }
  for (size_t i = 0; i < files->n_columns && cli_flag(cli, "exit-code"); i++)
    if (files->columns[i].said.verdict == DRIFT_DRIFT || files->columns[i].said.verdict == DRIFT_FAULT)
      cli->exit_code = 1;
  drift_files_free(files);
  return true;
}

static const struct cli_option options[] = {
    {"columns", 0, "NAMES", "only these, separated by commas as in CSV; otherwise all of REF's"},
    {"exit-code", 0, NULL, "exit with 1 when a column drifted or is broken"},
    {0},
};

const struct cli_verb verb_drift = {
    .name = "drift",
    .group = CLI_GROUP_PIPELINE,
    .summary = "Compare two CSV files column by column: drifted, broken, or the same",
    .usage = "drift REF.csv CUR.csv [--columns NAMES] [--exit-code]",
    .help = "Holds CUR against REF with the measures and the decision of the drift monitors;\n"
            "no server or database is needed. Each column gets a verdict: `ok`; `drift` when\n"
            "it moved far enough to matter and not by chance; `fault` when its values went\n"
            "missing, so that whatever else moved is broken data; `insufficient` when there\n"
            "are too few rows. REF and NOW are histograms on one scale. DISTANCE is KS for\n"
            "numbers and the largest difference of shares for texts.\n"
            "\n"
            "A file may be larger than memory. Up to 2,000,000 numbers are kept and measured\n"
            "exactly; of more, every row is counted in bins whose edges come from a sample\n"
            "of REF: KS is then within 0.004 (0.02 where many values are equal), PSI within\n"
            "3 % (20 % where a decile lies between equal values or in a gap), Wasserstein\n"
            "within 0.5 %. A column is numeric unless more than half of REF's cells are texts.\n"
            "One of the two may be - for standard input.\n"
            "--json prints every measure; null where one does not apply, with the reason.\n"
            "Exit code 0 whatever is found, unless --exit-code asks for 1.",
    .examples = "orch drift train.csv today.csv\norch drift train.csv today.csv --columns income,age --json\n"
                "zcat today.csv.gz | orch drift train.csv - --exit-code",
    .options = options,
    .min_args = 2,
    .max_args = 2,
    .run = drift_run,
};
