/* conf/yaml, pipeline, server: every bad sample gives exactly the problems that stand in its .expected file, and every
 * good one exactly its normalised JSON. With ORCH_GOLDEN=write the files are written instead, to be read by a person.
 */
#include "cm.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/canonical.h"
#include "conf/nearest.h"
#include "conf/pipeline.h"
#include "conf/satisfy.h"
#include "conf/server.h"
#include "conf/yaml.h"

#define CONF TEST_DATA "/conf/"

static char *read_text(const char *path, size_t *ret_len) {
  struct err err = {0};
  char *text = NULL;
  if (!yaml_tree_read_file(path, (size_t)1 << 20, &text, ret_len, &err)) fail_msg("%s: %s", path, err.text);
  return text;
}

static json_t *parse(bool server, const char *text, size_t len, const char *folder, struct problems *problems) {
  struct pipeline_options options = {.folder = folder};
  return server ? server_parse(text, len, problems) : pipeline_parse(text, len, &options, problems);
}

static void compare(const char *golden, const char *got) {
  if (getenv("ORCH_GOLDEN") != NULL) {
    FILE *out = fopen(golden, "w");
    assert_non_null(out);
    fputs(got, out);
    fclose(out);
    return;
  }
  size_t len;
  char *wanted = read_text(golden, &len);
  if (strcmp(wanted, got) != 0) fail_msg("%s differs; got:\n%s", golden, got);
  mem_free(wanted);
}

/* Parses one sample and compares problems, or the document when there are none. */
static void check_sample(const char *path, const char *shown, const char *folder, bool server, bool good) {
  size_t len;
  char *text = read_text(path, &len);
  struct problems problems;
  struct strbuf lines;
  problems_init(&problems, shown);
  strbuf_init(&lines, (size_t)1 << 20);
  json_t *document = parse(server, text, len, folder, &problems);
  problems_print(&problems, &lines);
  if ((document != NULL) != good) fail_msg("%s: %s", path, good ? strbuf_text(&lines) : "nothing was found wrong");
  if (document != NULL) {
    char *dumped = json_dumps(document, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
    strbuf_puts(&lines, dumped);
    strbuf_putc(&lines, '\n');
    free(dumped);
  }
  char golden[512];
  snprintf(golden, sizeof golden, "%.*s.expected", (int)(strlen(path) - strlen(".yaml")), path);
  compare(golden, strbuf_text(&lines));
  json_decref(document);
  strbuf_fini(&lines);
  problems_fini(&problems);
  mem_free(text);
}

static unsigned check_folder(const char *name, bool server, bool good) {
  char folder[256];
  snprintf(folder, sizeof folder, CONF "%s", name);
  DIR *dir = opendir(folder);
  assert_non_null(dir);
  unsigned count = 0;
  for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    const char *dot = strrchr(entry->d_name, '.');
    if (dot == NULL || strcmp(dot, ".yaml") != 0) continue;
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    check_sample(path, entry->d_name, NULL, server || strncmp(entry->d_name, "server", 6) == 0, good);
    count++;
  }
  closedir(dir);
  return count;
}

static void test_bad_pipelines(void **state) {
  assert_in_range(check_folder("bad", false, false), 30, 1000);
}
static void test_bad_servers(void **state) {
  assert_in_range(check_folder("bad-server", true, false), 4, 1000);
}
static void test_good(void **state) {
  assert_in_range(check_folder("good", false, true), 5, 1000);
}

static void test_files_beside(void **state) {
  check_sample(CONF "folders/here/pipeline.yaml", "pipeline.yaml", CONF "folders/here", false, false);
}

/* Twelve more bytes than allowed, and a hundred thousand opening brackets: refused quickly and without a crash. */
static void test_caps(void **state) {
  size_t len = YAML_TREE_BYTES_MAX + 12;
  char *text = mem_alloc(len + 1);
  memset(text, '[', len);
  struct problems problems;
  problems_init(&problems, "x");
  assert_null(pipeline_parse(text, len, NULL, &problems));
  assert_non_null(strstr(problems.list[0].text, "expected at most 262144"));
  problems_fini(&problems);
  problems_init(&problems, "x");
  assert_null(pipeline_parse(text, 100000, NULL, &problems));
  assert_non_null(strstr(problems.list[0].text, "too deeply nested"));
  problems_fini(&problems);
  memset(text, ',', len);
  text[0] = '[';
  for (size_t i = 1; i + 1 < len; i += 2) text[i] = 'a';
  problems_init(&problems, "x");
  assert_null(pipeline_parse(text, YAML_TREE_BYTES_MAX, NULL, &problems));
  assert_non_null(strstr(problems.list[0].text, "too many values"));
  problems_fini(&problems);
  struct strbuf keys;
  strbuf_init(&keys, YAML_TREE_BYTES_MAX);
  for (int i = 0; i <= YAML_TREE_KEYS_MAX; i++) strbuf_printf(&keys, "k%d: 1\n", i);
  problems_init(&problems, "x");
  assert_null(pipeline_parse(keys.data, keys.len, NULL, &problems));
  assert_non_null(strstr(problems.list[0].text, "too many keys"));
  assert_int_equal(problems.list[0].line, YAML_TREE_KEYS_MAX + 1);
  strbuf_fini(&keys);
  problems_fini(&problems);
  mem_free(text);
}

/* What some editors add to a file is no error: a byte order mark, carriage returns, no newline at the end. */
static void test_editors(void **state) {
  size_t len;
  char *text = read_text(CONF "good/least.yaml", &len);
  struct strbuf edited;
  strbuf_init(&edited, 10000);
  strbuf_puts(&edited, "\xef\xbb\xbf");
  for (size_t i = 0; i + 1 < len; i++) {
    if (text[i] == '\n') strbuf_putc(&edited, '\r');
    strbuf_putc(&edited, text[i]);
  }
  struct problems problems;
  problems_init(&problems, "x");
  json_t *plain = pipeline_parse(text, len, NULL, &problems);
  json_t *other = pipeline_parse(edited.data, edited.len, NULL, &problems);
  assert_non_null(plain);
  assert_true(json_equal(plain, other));
  json_decref(plain);
  json_decref(other);
  problems_fini(&problems);
  strbuf_fini(&edited);
  mem_free(text);
}

static const char *gate_problem(const char *require, const char *reviewers, char *out, size_t size) {
  char *text = mem_printf("pipeline: demo\nowner: t\noncall: t\nsteps:\n  - {name: train, run: [x]}\n"
                          "  - {name: evaluate, run: [x]}\ngates: {promote: {require: [%s]}}\n",
                          require);
  struct problems problems;
  problems_init(&problems, "x");
  json_t *server = json_pack("{s:o}", "reviewers", json_loads(reviewers, 0, NULL));
  assert_non_null(server);
  struct pipeline_options options = {.server = server};
  json_t *document = pipeline_parse(text, strlen(text), &options, &problems);
  snprintf(out, size, "%s", problems.count > 0 ? problems.list[0].text : "");
  assert_int_equal(document == NULL, problems.count == 1);
  json_decref(document);
  json_decref(server);
  problems_fini(&problems);
  mem_free(text);
  return out;
}

static void test_gates_that_nobody_can_satisfy(void **state) {
  char out[1024];
  const char *two = "[{\"name\":\"dana\",\"groups\":[\"a\",\"b\"]},{\"name\":\"erik\",\"groups\":[\"a\"]}]";
  /* Greedy counting would give dana to `a` and find nobody for `b`; matching gives her to `b`. */
  assert_string_equal(gate_problem("{group: a}, {group: b}", two, out, sizeof out), "");
  assert_string_equal(gate_problem("{group: b}, {group: a}", two, out, sizeof out), "");
  assert_non_null(strstr(gate_problem("{group: c}", two, out, sizeof out), "group 'c' has 0 reviewers"));
  assert_non_null(strstr(gate_problem("{group: b, approvals: 2}", two, out, sizeof out), "group 'b' has 1 reviewers"));
  /* Each group is large enough, all together are not. */
  assert_non_null(strstr(gate_problem("{group: a, approvals: 2}, {group: b}", two, out, sizeof out),
                         "3 votes are asked for, but the people in these groups can give 2"));
}

static const char *monitor_problem(const char *monitor, const char *settings, char *out, size_t size) {
  char *text = mem_printf("pipeline: demo\nowner: t\noncall: t\nsteps:\n  - {name: train, run: [x]}\n"
                          "  - {name: evaluate, run: [x]}\ngates: {promote: {require: [{group: a}]}}\n"
                          "monitors:\n  - {name: m, %s}\n",
                          monitor);
  char *server_text = mem_printf("reviewers: [{name: dana, groups: [a]}]\n%s", settings);
  struct problems problems;
  problems_init(&problems, "x");
  json_t *server = server_parse(server_text, strlen(server_text), &problems);
  assert_non_null(server);
  struct pipeline_options options = {.server = server};
  json_t *document = pipeline_parse(text, strlen(text), &options, &problems);
  snprintf(out, size, "%s", problems.count > 0 ? problems.list[0].text : "");
  assert_int_equal(document == NULL, problems.count == 1);
  json_decref(document);
  json_decref(server);
  problems_fini(&problems);
  mem_free(server_text);
  mem_free(text);
  return out;
}

/* A monitor that asks another system is held against what the server's file lends. */
static void test_monitors_that_the_server_cannot_serve(void **state) {
  char out[1024];
  static const char prometheus[] = "kind: prometheus, query: up, below: 1";
  static const char sql[] = "kind: sql, query: select 1, above: 1, url_env: WAREHOUSE_URL";
  assert_string_equal(monitor_problem(prometheus, "prometheus: {url: \"http://p:9090\"}\n", out, sizeof out), "");
  assert_non_null(strstr(monitor_problem(prometheus, "", out, sizeof out), "the server's file has no 'prometheus'"));
  assert_string_equal(monitor_problem(sql, "warehouses: [LAKE_URL, WAREHOUSE_URL]\n", out, sizeof out), "");
  assert_non_null(strstr(monitor_problem(sql, "", out, sizeof out), "expected a variable that 'warehouses'"));
  assert_non_null(
      strstr(monitor_problem(sql, "warehouses: [WAREHOUS_URL]\n", out, sizeof out), "expected WAREHOUS_URL?"));
}

/* The matching against a search through all assignments, on random small cases. */
static unsigned best_by_search(const json_t *slots, const json_t *people, size_t slot, unsigned used) {
  if (slot == json_array_size(slots)) return 0;
  unsigned best = best_by_search(slots, people, slot + 1, used);
  for (size_t p = 0; p < json_array_size(people); p++) {
    size_t i;
    json_t *group;
    if ((used & 1u << p) != 0) continue;
    json_array_foreach(json_object_get(json_array_get(people, p), "groups"), i, group) {
      if (!json_equal(group, json_object_get(json_array_get(slots, slot), "group"))) continue;
      unsigned got = 1 + best_by_search(slots, people, slot + 1, used | 1u << p);
      if (got > best) best = got;
    }
  }
  return best;
}

static void test_matching_at_random(void **state) {
  unsigned seed = getenv("ORCH_SEED") != NULL ? (unsigned)strtoul(getenv("ORCH_SEED"), NULL, 10) : 20260105;
  print_message("seed %u (ORCH_SEED)\n", seed);
  srand(seed);
  for (int round = 0; round < 300; round++) {
    json_t *slots = json_array(), *people = json_array();
    for (int i = rand() % 5; i >= 0; i--) {
      json_array_append_new(
          slots, json_pack("{s:s, s:i}", "group", (const char *[]){"a", "b", "c"}[rand() % 3], "approvals", 1));
    }
    for (int i = rand() % 5; i >= 0; i--) {
      json_t *groups = json_array();
      for (int g = 0; g < 3; g++) {
        if (rand() % 2 == 0) json_array_append_new(groups, json_string((const char *[]){"a", "b", "c"}[g]));
      }
      json_array_append_new(people, json_pack("{s:s, s:o}", "name", "x", "groups", groups));
    }
    assert_int_equal(satisfy_votes(slots, people), best_by_search(slots, people, 0, 0));
    json_decref(slots);
    json_decref(people);
  }
}

static void test_nearest(void **state) {
  static const char *const words[] = {"rollback", "rollout", "status", "proposals", "show", NULL};
  assert_string_equal(nearest_word("statsu", words), "status");
  assert_string_equal(nearest_word("roolback", words), "rollback");
  assert_string_equal(nearest_word("proposal", words), "proposals");
  assert_string_equal(nearest_word("shwo", words), "show");
  assert_null(nearest_word("xyz", words));
  assert_null(nearest_word("", words));
  assert_null(nearest_word(NULL, words));
  char large[300];
  memset(large, 'x', sizeof large - 1);
  large[sizeof large - 1] = 0;
  assert_null(nearest_word(large, words));
}

static void test_canonical(void **state) {
  json_t *a = json_loads("{\"b\": [1, 2.50, \"\\u00e9\"], \"a\": {\"y\": null, \"x\": 0.1}}", 0, NULL);
  json_t *b = json_loads("{\"a\": {\"x\": 0.1, \"y\": null}, \"b\": [1, 2.5, \"\xc3\xa9\"]}", 0, NULL);
  char *text = canonical_text(a), one[DIGEST_TEXT_SIZE], two[DIGEST_TEXT_SIZE];
  assert_string_equal(text, "{\"a\":{\"x\":0.1,\"y\":null},\"b\":[1,2.5,\"\xc3\xa9\"]}");
  canonical_digest(a, one);
  canonical_digest(b, two);
  assert_string_equal(one, two);
  assert_true(digest_is_text(one));
  mem_free(text);
  json_decref(a);
  json_decref(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bad_pipelines),
      cmocka_unit_test(test_bad_servers),
      cmocka_unit_test(test_good),
      cmocka_unit_test(test_files_beside),
      cmocka_unit_test(test_caps),
      cmocka_unit_test(test_editors),
      cmocka_unit_test(test_gates_that_nobody_can_satisfy),
      cmocka_unit_test(test_monitors_that_the_server_cannot_serve),
      cmocka_unit_test(test_matching_at_random),
      cmocka_unit_test(test_nearest),
      cmocka_unit_test(test_canonical),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
