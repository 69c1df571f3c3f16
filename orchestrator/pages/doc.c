#include "pages/doc.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"

const char *doc_text(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text && text[0] ? text : NULL;
}

double doc_number(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

json_int_t doc_int(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}

const json_t *doc_object(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return json_is_object(value) && json_object_size(value) > 0 ? value : NULL;
}

bool doc_is(const json_t *object, const char *key, const char *text) {
  const char *value = doc_text(object, key);
  return value && strcmp(value, text) == 0;
}

size_t doc_numbers(const json_t *array, double *out, size_t size) {
  size_t count = json_array_size(array);
  if (count > size) count = size;
  for (size_t i = 0; i < count; i++) {
    const json_t *value = json_array_get(array, i);
    out[i] = json_is_number(value) ? json_number_value(value) : NAN;
  }
  return count;
}

bool doc_time(const json_t *object, const char *key, long long *ret_us) {
  const char *text = doc_text(object, key);
  int64_t us;
  if (!text || !clock_parse_rfc3339(text, &us)) return false;
  *ret_us = us;
  return true;
}
