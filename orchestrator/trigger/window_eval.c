#include "trigger/window_eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/profile.h"
#include "trigger/observe.h"
#include "trigger/window_private.h"

static double number_or(const json_t *object, const char *key, double otherwise) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : otherwise;
}

static struct drift_rule rule_of(const json_t *spec) {
  struct drift_rule rule = DRIFT_RULE_DEFAULT;
  const json_t *want = json_object_get(spec, "for");
  rule.min_rows = (uint64_t)fmax(1, number_or(spec, "min_rows", (double)rule.min_rows));
  rule.psi = number_or(spec, "psi", rule.psi);
  rule.p_value = number_or(spec, "p_value", rule.p_value);
  rule.quality.null_jump = number_or(spec, "null_jump", rule.quality.null_jump);
  double of = fmin(DRIFT_OF_MAX, fmax(1, number_or(want, "of", rule.of)));
  rule.of = (unsigned)of;
  rule.hits = (unsigned)fmin(of, fmax(1, number_or(want, "hits", rule.hits)));
  return rule;
}

static bool load_spec(struct window_eval *eval, const char *text, struct err *err) {
  json_error_t problem;
  eval->spec = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
  const json_t *columns = json_object_get(eval->spec, "columns");
  const char *name = json_string_value(json_object_get(eval->spec, "name"));
  if (!name || !json_is_array(columns) || json_array_size(columns) == 0 ||
      json_array_size(columns) > PROFILE_COLUMNS_MAX)
    return err_set(err, ERR_INVALID, "a monitor's spec needs a name and 1 to %d columns", PROFILE_COLUMNS_MAX);
  eval->name = name;
  eval->rule = rule_of(eval->spec);
  eval->n_columns = json_array_size(columns);
  eval->columns = mem_calloc(eval->n_columns, sizeof eval->columns[0]);
  for (size_t i = 0; i < eval->n_columns; i++) {
    eval->columns[i].name = json_string_value(json_array_get(columns, i));
    if (!eval->columns[i].name) return err_set(err, ERR_INVALID, "a monitor's columns must be texts");
  }
  return true;
}

static int newest_first(const void *a, const void *b) {
  int64_t x = ((const struct window_past *)a)->from_row, y = ((const struct window_past *)b)->from_row;
  return (x < y) - (x > y);
}

static bool load_history(struct window_eval *eval, const char *text, struct err *err) {
  json_error_t problem;
  if (!text) return true;
  eval->history = json_loads(text, 0, &problem);
  if (!json_is_array(eval->history)) return err_set(err, ERR_INVALID, "a monitor's history must be an array");
  eval->past = mem_calloc(json_array_size(eval->history) + 1, sizeof eval->past[0]);
  size_t index;
  json_t *item;
  json_array_foreach(eval->history, index, item) {
    const json_t *result = json_object_get(item, "result");
    if (!result) result = item;
    const json_t *from = json_object_get(item, "from_row");
    if (!from) from = json_object_get(result, "from_row");
    /* Only windows against the same champion say anything about this one. */
    const json_t *champion = json_object_get(result, "champion");
    if (!json_is_integer(from) || (json_is_integer(champion) && json_integer_value(champion) != eval->champion))
      continue;
    if (json_integer_value(from) >= eval->from_row) continue;
    eval->past[eval->n_past++] = (struct window_past){.from_row = json_integer_value(from), .result = result};
  }
  qsort(eval->past, eval->n_past, sizeof eval->past[0], newest_first);
  return true;
}

static bool load_profile(struct window_eval *eval, const void *bytes, size_t len, struct err *err) {
  if (bytes && len) {
    eval->profile = profile_decode(bytes, len, err);
    if (!eval->profile) return err_prefix(err, "the champion's profile");
  }
  for (size_t i = 0; i < eval->n_columns; i++) {
    struct window_column *column = &eval->columns[i];
    column->ref = eval->profile ? profile_column(eval->profile, column->name) : NULL;
    if (column->ref) profile_column_window(&column->now, column->ref);
  }
  return true;
}

struct window_eval *window_eval_new(const struct window_task *task, struct err *err) {
  struct window_eval *eval = mem_alloc(sizeof *eval);
  eval->champion = task->champion;
  eval->from_row = task->from_row;
  eval->to_row = task->to_row;
  eval->now_us = task->now_us;
  if (load_spec(eval, task->monitor, err) && load_history(eval, task->history, err) &&
      load_profile(eval, task->profile, task->profile_len, err))
    return eval;
  window_eval_free(eval);
  return NULL;
}

void window_eval_free(struct window_eval *eval) {
  if (!eval) return;
  for (size_t i = 0; i < eval->n_columns; i++) profile_column_fini(&eval->columns[i].now);
  profile_free(eval->profile);
  json_decref(eval->spec);
  json_decref(eval->history);
  mem_free(eval->columns);
  mem_free(eval->past);
  mem_free(eval);
}

static struct cell cell_of(const json_t *value) {
  if (!value || json_is_null(value)) return cell_null();
  if (json_is_number(value)) return cell_number(json_number_value(value));
  if (json_is_boolean(value)) { /* 1 or 0 among numbers, a word among texts */
    struct cell cell = json_is_true(value) ? cell_text("true", 4) : cell_text("false", 5);
    cell.kind = CELL_NUMBER;
    cell.number = json_is_true(value);
    return cell;
  }
  if (json_is_string(value)) return cell_from_json_text(json_string_value(value), json_string_length(value));
  return cell_bad();
}

static void add_row(struct window_eval *eval, const char *line, size_t len) {
  struct err ignored = {0};
  json_t *row = observe_row(line, len, &ignored);
  for (size_t i = 0; i < eval->n_columns; i++)
    if (eval->columns[i].ref)
      profile_column_add(&eval->columns[i].now, cell_of(json_object_get(row, eval->columns[i].name)));
  int64_t at;
  if (row && observe_row_time(row, &at) && at <= eval->now_us) {
    if (!eval->has_times || at < eval->oldest_us) eval->oldest_us = at;
    if (!eval->has_times || at > eval->newest_us) eval->newest_us = at;
    eval->has_times = true;
  }
  json_decref(row);
  eval->rows++;
}

void window_eval_add(struct window_eval *eval, int64_t first_row, const char *body, size_t len) {
  int64_t row = first_row;
  for (const char *at = body, *end = body + len; at < end && row < eval->to_row; row++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline : end;
    if (row >= eval->from_row) add_row(eval, at, (size_t)(stop - at));
    at = newline ? newline + 1 : end;
  }
}

int64_t window_eval_rows(const struct window_eval *eval) {
  return eval->rows;
}

/* What earlier windows said of one column, oldest first. */
static struct drift_memory memory_of_column(const struct window_eval *eval, const char *name) {
  struct drift_memory memory;
  drift_memory_init(&memory);
  for (size_t i = eval->n_past; i-- > 0;) {
    size_t index;
    json_t *column;
    json_array_foreach(json_object_get(eval->past[i].result, "columns"), index, column) {
      const char *its_name = json_string_value(json_object_get(column, "name"));
      const char *verdict = json_string_value(json_object_get(column, "verdict"));
      if (!its_name || !verdict || strcmp(its_name, name) != 0) continue;
      if (strcmp(verdict, "ok") == 0 || strcmp(verdict, "drift") == 0)
        drift_memory_add(&eval->rule, &memory, json_is_true(json_object_get(column, "hit")), eval->past[i].from_row);
      break;
    }
  }
  return memory;
}

bool window_eval_finish(struct window_eval *eval, char **ret_result, char **ret_signals, struct err *err) {
  if (eval->rows != eval->to_row - eval->from_row)
    return err_set(err, ERR_INVALID, "the window [%lld, %lld) came with %lld rows", (long long)eval->from_row,
                   (long long)eval->to_row, (long long)eval->rows);
  struct drift_column *said = mem_calloc(eval->n_columns, sizeof said[0]);
  struct drift_input *inputs = mem_calloc(eval->n_columns, sizeof inputs[0]);
  struct drift_memory *memories = mem_calloc(eval->n_columns, sizeof memories[0]);
  for (size_t i = 0; i < eval->n_columns; i++) {
    memories[i] = memory_of_column(eval, eval->columns[i].name);
    inputs[i] = (struct drift_input){.ref = eval->columns[i].ref, .now = &eval->columns[i].now, .memory = &memories[i]};
  }
  drift_decide(&eval->rule, inputs, eval->n_columns, eval->from_row, said, &eval->window);
  eval->said = said;
  window_say(eval, ret_result, ret_signals);
  eval->said = NULL;
  mem_free(said);
  mem_free(inputs);
  mem_free(memories);
  return true;
}
