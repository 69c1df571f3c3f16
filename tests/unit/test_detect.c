/* Detectors on streams and many tests at once, against the oracle's indices and numbers; their states as bytes. */
#include "drift_data.h"

#include "stats/adwin.h"
#include "stats/fdr.h"
#include "stats/page_hinkley.h"

#define STREAM_MAX 8192
struct stream {
  double values[STREAM_MAX];
  size_t n;
};

static bool stream_record(void *arg, uint64_t line, const struct csv_field *fields, size_t n, struct err *err) {
  struct stream *stream = arg;
  if (line == 1) return true;
  assert_int_equal(n, 1);
  assert_in_range(stream->n, 0, STREAM_MAX - 1);
  stream->values[stream->n++] = cell_from_text(fields[0].text, fields[0].len).number;
  return true;
}

static struct stream *stream_load(const char *relative) {
  struct stream *stream = mem_alloc(sizeof *stream);
  char path[512];
  snprintf(path, sizeof path, TEST_DATA "/drift/%s", relative);
  struct csv_reader *reader = csv_reader_new(stream_record, stream);
  feed_file(path, reader);
  csv_reader_free(reader);
  return stream;
}

static json_t *document(const char *name) {
  char path[512];
  json_error_t error;
  snprintf(path, sizeof path, TEST_DATA "/drift/%s", name);
  json_t *root = json_load_file(path, 0, &error);
  assert_non_null(root);
  return root;
}

/* Runs both detectors over a stream, their states sent through bytes every `every` values (0: never). */
struct drifts {
  size_t adwin[64], page_hinkley[64];
  size_t n_adwin, n_page_hinkley;
};
static void run(const struct stream *stream, size_t every, struct drifts *found) {
  struct adwin *adwin = mem_alloc(sizeof *adwin), *moved = mem_alloc(sizeof *moved);
  struct page_hinkley ph, ph_moved;
  adwin_init(adwin, ADWIN_DEFAULT);
  page_hinkley_init(&ph, PAGE_HINKLEY_DEFAULT);
  *found = (struct drifts){0};
  for (size_t i = 0; i < stream->n; i++) {
    if (adwin_add(adwin, stream->values[i])) found->adwin[found->n_adwin++] = i;
    if (page_hinkley_add(&ph, stream->values[i])) found->page_hinkley[found->n_page_hinkley++] = i;
    if (!every || i % every) continue;
    struct strbuf bytes;
    strbuf_init(&bytes, ADWIN_ENCODED_MAX);
    adwin_encode(adwin, &bytes);
    assert_true(adwin_decode(moved, bytes.data, bytes.len, NULL));
    assert_memory_equal(&moved->params, &adwin->params, sizeof adwin->params);
    *adwin = *moved;
    strbuf_reset(&bytes);
    page_hinkley_encode(&ph, &bytes);
    assert_true(bytes.len <= PAGE_HINKLEY_ENCODED_MAX);
    assert_true(page_hinkley_decode(&ph_moved, bytes.data, bytes.len, NULL));
    ph = ph_moved;
    strbuf_fini(&bytes);
  }
  mem_free(adwin);
  mem_free(moved);
}

static void same_indices(const json_t *stream, const char *detector, const size_t *found, size_t n) {
  const json_t *want = json_object_get(json_object_get(json_object_get(stream, "detectors"), detector), "drifts");
  assert_int_equal(json_array_size(want), n);
  for (size_t i = 0; i < n; i++) assert_int_equal(json_integer_value(json_array_get(want, i)), found[i]);
}

static void oracle_streams(void **state) {
  json_t *root = document("streams.json");
  size_t index;
  json_t *item;
  assert_true(json_array_size(json_object_get(root, "streams")) > 0);
  json_array_foreach(json_object_get(root, "streams"), index, item) {
    struct stream *stream = stream_load(json_string_value(json_object_get(item, "file")));
    static const size_t steps[] = {0, 1, 7, 500};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
      struct drifts found;
      run(stream, steps[i], &found);
      same_indices(item, "ADWIN", found.adwin, found.n_adwin);
      same_indices(item, "PageHinkley", found.page_hinkley, found.n_page_hinkley);
    }
    mem_free(stream);
  }
  json_decref(root);
}

/* What river's documentation shows for its first example. */
static void river_documentation(void **state) {
  struct stream *stream = stream_load("streams/river_doctest_a.csv");
  struct drifts found;
  run(stream, 0, &found);
  assert_true(found.n_adwin >= 1 && found.n_page_hinkley >= 1);
  assert_int_equal(found.adwin[0], 1023);
  assert_int_equal(found.page_hinkley[0], 1006);
  mem_free(stream);
}

static void check_adjusted(const json_t *group) {
  double p[64], adjusted[64];
  const json_t *given = json_object_get(group, "p"), *want = json_object_get(group, "bh");
  size_t n = json_array_size(given);
  assert_in_range(n, 1, ARRAY_LEN(p));
  for (size_t i = 0; i < n; i++) p[i] = json_number_value(json_array_get(given, i));
  fdr_adjust(p, n, adjusted);
  for (size_t i = 0; i < n; i++) {
    double expected = json_number_value(json_array_get(want, i));
    assert_near(adjusted[i], expected, 1e-9 * expected);
  }
}

static void false_discovery_rate(void **state) {
  json_t *root = document("multiple_testing.json");
  const json_t *textbook = json_object_get(root, "textbook");
  check_adjusted(json_object_get(root, "columns"));
  check_adjusted(textbook);
  /* NaN is no test: it is left alone and the others are judged as if it were not there. */
  double p[4] = {0.01, NAN, 0.04, 0.03};
  fdr_adjust(p, 4, p);
  assert_near(p[0], 0.03, 1e-15);
  assert_true(isnan(p[1]));
  assert_near(p[2], 0.04, 1e-15);
  assert_near(p[3], 0.04, 1e-15);
  fdr_adjust(p, 0, p);
  json_decref(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(oracle_streams), cmocka_unit_test(river_documentation),
                                     cmocka_unit_test(false_discovery_rate)};
  return cmocka_run_group_tests_name("detect", tests, NULL, NULL);
}
