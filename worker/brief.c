#include "brief.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/digest.h"

#define ARENA_BYTES ((size_t)1 << 20)
#define DEFAULT_TIMEOUT_MS (30 * 60000)
#define DEFAULT_GRACE_MS 10000
#define LONGEST_MS ((int64_t)30 * 86400000)
#define TEXT_MAX 65536

/* Reading with a sticky error: the first thing that is off stays. */
struct reader {
  struct brief *brief;
  struct err *err;
  bool failed;
};

static void off(struct reader *reader, const char *key, const char *expected) {
  if (!reader->failed) err_set(reader->err, ERR_INVALID, "the job's brief is off: '%s' must be %s", key, expected);
  reader->failed = true;
}

static bool present(const json_t *value) {
  return value && !json_is_null(value);
}

static bool is_name(const char *text) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
  size_t len = text ? strlen(text) : 0;
  return len > 0 && len <= BRIEF_NAME_MAX && strspn(text, letters) == len && text[0] != '-';
}

/* A text without NUL in it. */
static const char *plain(const json_t *value) {
  const char *text = json_string_value(value);
  size_t len = json_string_length(value);
  return text && len <= TEXT_MAX && strlen(text) == len ? text : NULL;
}

static const char *take_text(struct reader *reader, const json_t *from, const char *key, bool required) {
  const json_t *value = json_object_get(from, key);
  const char *text = plain(value);
  if ((present(value) && !text) || (required && !text)) off(reader, key, "a text");
  return text;
}

static const char *take_name(struct reader *reader, const json_t *from, const char *key) {
  const char *text = take_text(reader, from, key, true);
  if (text && !is_name(text)) off(reader, key, "a name of small letters, digits, '-' and '_'");
  return text;
}

static const char *take_digest(struct reader *reader, const json_t *from, const char *key, bool required) {
  const char *text = take_text(reader, from, key, required);
  if (text && !digest_is_text(text)) off(reader, key, "a digest");
  return text;
}

static int64_t take_int(struct reader *reader, const json_t *from, const char *key, int64_t otherwise, int64_t min,
                        int64_t max) {
  const json_t *value = json_object_get(from, key);
  if (!present(value)) return otherwise;
  if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max) {
    off(reader, key, "a whole number in its bounds");
    return otherwise;
  }
  return json_integer_value(value);
}

static const char *const *take_texts(struct reader *reader, const json_t *from, const char *key, bool required) {
  const json_t *list = json_object_get(from, key);
  size_t count = json_array_size(list);
  if ((present(list) && !json_is_array(list)) || count > BRIEF_LIST_MAX || (required && count == 0)) {
    off(reader, key, "a list of texts");
    return NULL;
  }
  const char **texts = arena_alloc(&reader->brief->arena, (count + 1) * sizeof *texts);
  for (size_t i = 0; texts && i < count; i++) {
    texts[i] = plain(json_array_get(list, i));
    if (!texts[i]) off(reader, key, "a list of texts");
  }
  return (const char *const *)texts;
}

static void take_data(struct reader *reader) {
  const json_t *list = json_object_get(reader->brief->root, "data");
  size_t count = json_array_size(list);
  if ((present(list) && !json_is_array(list)) || count > BRIEF_LIST_MAX) {
    off(reader, "data", "a list");
    return;
  }
  struct brief_data *data = arena_alloc(&reader->brief->arena, count * sizeof *data);
  for (size_t i = 0; data && i < count; i++) {
    const json_t *from = json_array_get(list, i);
    data[i].name = take_name(reader, from, "name");
    data[i].file = take_text(reader, from, "file", false);
    data[i].snapshot = take_digest(reader, from, "snapshot", false);
    if (present(json_object_get(from, "command"))) data[i].command = take_texts(reader, from, "command", true);
    if (!data[i].file && !data[i].command && !data[i].snapshot) off(reader, "data", "a file or a command");
  }
  reader->brief->data = data;
  reader->brief->data_count = data ? count : 0;
}

static void take_inputs(struct reader *reader) {
  json_t *map = json_object_get(reader->brief->root, "inputs");
  if (!present(map)) return;
  if (!json_is_object(map) || json_object_size(map) > BRIEF_LIST_MAX) {
    off(reader, "inputs", "a map");
    return;
  }
  struct brief_input *inputs = arena_alloc(&reader->brief->arena, json_object_size(map) * sizeof *inputs);
  size_t count = 0;
  const char *key;
  json_t *value;
  if (!inputs) return;
  json_object_foreach(map, key, value) {
    inputs[count].step = key;
    inputs[count].tree = plain(value);
    if (!is_name(key) || !digest_is_text(inputs[count].tree)) off(reader, "inputs", "digests by step");
    count++;
  }
  reader->brief->inputs = inputs;
  reader->brief->input_count = count;
}

static void take_resources(struct reader *reader) {
  const json_t *from = json_object_get(reader->brief->root, "resources");
  const json_t *cpu = json_object_get(from, "cpu");
  if (present(from) && !json_is_object(from)) off(reader, "resources", "a map");
  if (present(cpu) && (!json_is_number(cpu) || !isfinite(json_number_value(cpu)) || json_number_value(cpu) < 0))
    off(reader, "cpu", "a number");
  reader->brief->cpu = present(cpu) ? json_number_value(cpu) : 1;
  reader->brief->memory_bytes = take_int(reader, from, "memory_bytes", 0, 0, INT64_MAX);
  reader->brief->gpu = take_int(reader, from, "gpu", 0, 0, 1024);
}

static void take_role(struct reader *reader) {
  const char *role = take_text(reader, reader->brief->root, "role", true);
  if (!role) return;
  if (strcmp(role, "train") == 0)
    reader->brief->role = BRIEF_TRAIN;
  else if (strcmp(role, "evaluate") == 0)
    reader->brief->role = BRIEF_EVALUATE;
  else if (strcmp(role, "step") != 0)
    off(reader, "role", "train, step or evaluate");
}

static void take_config(struct reader *reader) {
  const json_t *config = json_object_get(reader->brief->root, "config");
  if (present(config) && !json_is_object(config)) off(reader, "config", "a map");
  char *text = json_is_object(config) ? json_dumps(config, JSON_SORT_KEYS | JSON_INDENT(1)) : NULL;
  reader->brief->config = text ? text : mem_strdup("{}");
}

static void take_all(struct reader *reader) {
  struct brief *brief = reader->brief;
  const json_t *root = brief->root;
  brief->proposal = take_int(reader, root, "proposal", 0, 0, INT64_MAX);
  brief->version = take_int(reader, root, "version", 0, 0, INT64_MAX);
  brief->seed = take_int(reader, root, "seed", 0, INT64_MIN, INT64_MAX);
  brief->attempt = take_int(reader, root, "attempt", 1, 1, 100000);
  brief->timeout_ms = take_int(reader, root, "timeout_ms", DEFAULT_TIMEOUT_MS, 1, LONGEST_MS);
  brief->grace_ms = take_int(reader, root, "grace_ms", DEFAULT_GRACE_MS, 1, 50000);
  brief->pipeline = take_name(reader, root, "pipeline");
  brief->step = take_name(reader, root, "step");
  brief->as_of = take_text(reader, root, "as_of", true);
  brief->executor = take_text(reader, root, "executor", false);
  if (!brief->executor) brief->executor = "process";
  brief->bundle = take_digest(reader, root, "bundle", true);
  brief->model = take_digest(reader, root, "model", false);
  brief->run = take_texts(reader, root, "run", true);
  brief->secrets = take_texts(reader, root, "secrets", false);
  take_role(reader);
  take_config(reader);
  take_resources(reader);
  take_data(reader);
  take_inputs(reader);
}

bool brief_parse(struct brief *brief, const char *text, struct err *err) {
  *brief = (struct brief){0};
  arena_init(&brief->arena, ARENA_BYTES);
  if (!text) return err_set(err, ERR_INVALID, "the job has no brief");
  if (strlen(text) > BRIEF_BYTES_MAX) return err_set(err, ERR_LIMIT, "the job's brief is too large");
  json_error_t where;
  brief->root = json_loads(text, JSON_REJECT_DUPLICATES, &where);
  if (!json_is_object(brief->root)) return err_set(err, ERR_INVALID, "the job's brief is not JSON: %s", where.text);
  struct reader reader = {.brief = brief, .err = err};
  take_all(&reader);
  if (brief->arena.failed) return err_set(err, ERR_LIMIT, "the job's brief has too many parts");
  return !reader.failed;
}

void brief_fini(struct brief *brief) {
  json_decref(brief->root);
  mem_free(brief->config);
  arena_fini(&brief->arena);
  *brief = (struct brief){0};
}
