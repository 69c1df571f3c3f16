#include "cli/drift_table.h"

#include <langinfo.h>
#include <math.h>
#include <string.h>

/* Groups as category_groups() has them; what does not fit joins the others. */
static size_t shares_of_texts(const struct category *c, double ret[DRIFT_SPARK_CELLS]) {
  uint64_t counts[CATEGORY_GROUPS_MAX];
  size_t k = category_groups(c, counts), kept = k - 2;
  if (kept > DRIFT_SPARK_CELLS - 2) kept = DRIFT_SPARK_CELLS - 2;
  double total = (double)category_present(c);
  for (size_t i = 0; i < kept + 2; i++) ret[i] = 0;
  for (size_t i = 0; i < k; i++) ret[i < kept ? i : i + 1 < k ? kept : kept + 1] += (double)counts[i] / total;
  return kept + 2;
}

static void draw(const double *shares, size_t n, double most, bool utf8, char *ret) {
  static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static const char *const letters[] = {" ", ".", ":", "-", "=", "+", "*", "#", "@"};
  size_t used = 0;
  for (size_t i = 0; i < n; i++) {
    /* What is there at all is seen. */
    size_t level = shares[i] > 0 ? (size_t)fmin(8, fmax(1, ceil(shares[i] / most * 8 - 0.5))) : 0;
    const char *cell = utf8 ? blocks[level] : letters[level];
    size_t len = strlen(cell);
    memcpy(ret + used, cell, len);
    used += len;
  }
  ret[used] = 0;
}

void drift_sparks(const struct drift_files_column *column, bool utf8, char ret_ref[DRIFT_SPARK_SIZE],
                  char ret_cur[DRIFT_SPARK_SIZE]) {
  double ref[DRIFT_SPARK_CELLS], cur[DRIFT_SPARK_CELLS], most = 0;
  size_t n = 0;
  ret_ref[0] = ret_cur[0] = 0;
  if (column->said.d.n_ref == 0 || column->said.d.n_now == 0) return;
  if (column->ref.kind == PROFILE_CATEGORICAL) {
    n = shares_of_texts(column->ref.category, ref);
    shares_of_texts(column->cur.category, cur);
  } else {
    double low = fmin(sketch_quantile(&column->ref.sketch, 0.01), sketch_quantile(&column->cur.sketch, 0.01));
    double high = fmax(sketch_quantile(&column->ref.sketch, 0.99), sketch_quantile(&column->cur.sketch, 0.99));
    if (!(low < high)) return; /* one single value on both sides */
    n = DRIFT_SPARK_CELLS;
    sketch_bars(&column->ref.sketch, low, high, n, ref);
    sketch_bars(&column->cur.sketch, low, high, n, cur);
  }
  for (size_t i = 0; i < n; i++) most = fmax(most, fmax(ref[i], cur[i]));
  draw(ref, n, most, utf8, ret_ref);
  draw(cur, n, most, utf8, ret_cur);
}

static enum cli_color verdict_color(enum drift_verdict verdict) {
  switch (verdict) {
  case DRIFT_OK:
    return CLI_GREEN;
  case DRIFT_DRIFT:
    return CLI_YELLOW;
  case DRIFT_FAULT:
    return CLI_RED;
  case DRIFT_INSUFFICIENT:
    break;
  }
  return CLI_DIM;
}

static void number_cell(struct cli_table *table, double value, const char *format) {
  char text[32] = "";
  if (!isnan(value)) snprintf(text, sizeof text, format, value);
  cli_table_cell(table, text);
}

static void print_footer(struct cli *cli, const struct drift_files *files) {
  cli_printf("\n%llu rows against %llu", (unsigned long long)files->rows_cur, (unsigned long long)files->rows_ref);
  if (files->whole)
    cli_printf("; every number was kept, so the measures are exact.\n");
  else
    cli_printf(". Every row was counted; the bins are from a sample of %llu reference rows:\n"
               "KS is within 0.004 and PSI within 3 %% (0.02 and 20 %% where many values are equal).\n",
               (unsigned long long)files->sampled_rows);
  if (files->n_only_cur == 0) return;
  cli_printf("Not compared, since only %s has it:", cli_safe(cli, files->cur.name));
  for (size_t i = 0; i < files->n_only_cur; i++) cli_printf("%s %s", i ? "," : "", cli_safe(cli, files->only_cur[i]));
  cli_printf("\n");
}

void drift_table_print(struct cli *cli, const struct drift_files *files) {
  bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
  struct cli_table *table = cli_table_new(
      cli, (const char *const[]){"COLUMN", "VERDICT", ">PSI", ">DISTANCE", ">MISSING", "REF", "NOW", "~WHY", NULL});
  for (size_t i = 0; i < files->n_columns; i++) {
    const struct drift_files_column *c = &files->columns[i];
    char ref[DRIFT_SPARK_SIZE], cur[DRIFT_SPARK_SIZE];
    drift_sparks(c, utf8, ref, cur);
    cli_table_row(table);
    cli_table_cell(table, c->name);
    cli_table_cell_color(table, verdict_color(c->said.verdict), drift_verdict_name(c->said.verdict));
    number_cell(table, c->said.d.psi, "%.3f");
    number_cell(table, c->said.d.categorical ? c->said.d.linf : c->said.d.ks.statistic, "%.3f");
    number_cell(table, 100 * c->said.d.missing.now, "%.1f %%");
    cli_table_cell(table, ref);
    cli_table_cell(table, cur);
    cli_table_cell(table, c->said.why);
  }
  cli_table_print(table, NULL);
  print_footer(cli, files);
}
