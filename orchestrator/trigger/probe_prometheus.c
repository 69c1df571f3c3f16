/* Prometheus' answer to an instant query -> named numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "stats/number.h"
#include "trigger/probe_eval.h"
#include "trigger/signal_private.h"

/* A sample is [time, "value"]; values are texts, with NaN, +Inf and -Inf. */
static bool sample_value(const json_t *sample, double *ret_value, struct err *err) {
  const json_t *text = json_array_get(sample, 1);
  if (json_is_string(text)) {
    const char *word = json_string_value(text);
    struct cell cell = cell_from_text(word + (*word == '+'), json_string_length(text) - (*word == '+'));
    if (cell.kind == CELL_NUMBER) {
      *ret_value = cell.number;
      return true;
    }
  }
  return err_set(err, ERR_INVALID, "a sample of the answer is no [time, \"value\"]");
}

/* Label order is jansson's, which keeps Prometheus': sorted by name. */
static void series_name(json_t *labels, struct strbuf *out) {
  const char *name;
  json_t *value;
  json_object_foreach(labels, name, value) {
    if (strcmp(name, "__name__") == 0) continue;
    strbuf_printf(out, "%s%s=\"%s\"", out->len ? ", " : "", name,
                  json_string_value(value) ? json_string_value(value) : "");
  }
}

static bool read_vector(struct probe_answer *answer, const json_t *result, struct err *err) {
  size_t i;
  json_t *series;
  json_array_foreach(result, i, series) {
    double value;
    if (!sample_value(json_object_get(series, "value"), &value, err)) return false;
    struct strbuf name;
    strbuf_init(&name, SIGNAL_BODY_MAX);
    series_name(json_object_get(series, "metric"), &name);
    bool fine = probe_answer_add(answer, strbuf_text(&name), value, err);
    strbuf_fini(&name);
    if (!fine) return false;
  }
  return true;
}

static bool read_data(struct probe_answer *answer, const json_t *root, struct err *err) {
  const json_t *data = json_object_get(root, "data"), *result = json_object_get(data, "result");
  const char *type = signal_text(data, "resultType"), *status = signal_text(root, "status");
  if (strcmp(status, "error") == 0)
    return err_set(err, ERR_INVALID, "Prometheus: %.40s: %.300s", signal_text(root, "errorType"),
                   signal_text(root, "error"));
  if (strcmp(status, "success") != 0 || !json_is_array(result))
    return err_set(err, ERR_INVALID, "this is no answer of Prometheus' query API");
  const char *warning = json_string_value(json_array_get(json_object_get(root, "warnings"), 0));
  if (warning) snprintf(answer->warning, sizeof answer->warning, "%.150s", warning);
  if (strcmp(type, "vector") == 0) return read_vector(answer, result, err);
  double value;
  if (strcmp(type, "scalar") == 0) return sample_value(result, &value, err) && probe_answer_add(answer, "", value, err);
  return err_set(err, ERR_INVALID, "the query gives a %.20s; a vector or a scalar is needed: one number a series",
                 type);
}

bool probe_read_prometheus(struct probe_answer *answer, const char *body, size_t len, struct err *err) {
  json_t *root = signal_load_body(body, len, err);
  bool fine = root && read_data(answer, root, err);
  json_decref(root);
  return fine;
}
