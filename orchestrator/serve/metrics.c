#include "serve/metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/serve_private.h"

#define METRICS_MAGIC 0x4d455452u
#define METRICS_CACHE_US 5000000
#define METRICS_WAITING_MAX 16
#define METRICS_TEXT_MAX (1024 * 1024)
#define METRICS_LINES_MAX 500
#define METRICS_LAG_MS 500

struct metrics {
  uint32_t magic;
  struct serve *serve;
  struct db_request request;
  bool asking, good;
  char *document; /* the database's, as it answered last */
  int64_t asked_us;
  struct http_request *waiting[METRICS_WAITING_MAX];
  unsigned n_waiting;
  uv_timer_t lag_timer;
  int64_t lag_due_us, lag_us, lag_max_us;
  double started;
  void (*stopped)(void *arg);
  void *arg;
};

/* ---- the database's document ---- */

struct flatten {
  struct strbuf *out;
  unsigned lines;
};

static void flatten_value(struct flatten *flatten, const char *name, const json_t *value, int depth);

static void flatten_number(struct flatten *flatten, const char *name, double number) {
  size_t len = strlen(name);
  bool is_ms = len > 3 && strcmp(name + len - 3, "_ms") == 0;
  if (flatten->lines++ >= METRICS_LINES_MAX) return;
  int stem = (int)(is_ms ? len - 3 : len);
  const char *unit = is_ms ? "_seconds" : "";
  strbuf_printf(flatten->out, "# TYPE %.*s%s gauge\n%.*s%s %.15g\n", stem, name, unit, stem, name, unit,
                is_ms ? number / 1000.0 : number);
}

/* Objects that count things by a kind: one gauge with a label. */
static const struct {
  const char *name, *label;
} labelled[] = {{"orch_queue_workers", "state"}, {"orch_proposals", "state"}, {"orch_signals_firing", "kind"}};

static bool flatten_labelled(struct flatten *flatten, const char *name, const json_t *object) {
  size_t i = 0;
  while (i < ARRAY_LEN(labelled) && strcmp(labelled[i].name, name) != 0) i++;
  if (i == ARRAY_LEN(labelled)) return false;
  const char *key;
  json_t *value;
  strbuf_printf(flatten->out, "# TYPE %s gauge\n", name);
  json_object_foreach((json_t *)(uintptr_t)object, key, value) {
    if (!json_is_number(value) || flatten->lines++ >= METRICS_LINES_MAX) continue;
    strbuf_printf(flatten->out, "%s{%s=", name, labelled[i].label);
    strbuf_add_json(flatten->out, key);
    strbuf_printf(flatten->out, "} %.15g\n", json_number_value(value));
  }
  return true;
}

static void flatten_object(struct flatten *flatten, const char *name, const json_t *object, int depth) {
  const char *key;
  json_t *value;
  if (flatten_labelled(flatten, name, object)) return;
  json_object_foreach((json_t *)(uintptr_t)object, key, value) {
    char longer[256];
    int len = snprintf(longer, sizeof(longer), "%s_%s", name, key);
    if (len < 0 || (size_t)len >= sizeof(longer)) continue;
    for (char *c = longer; *c; c++) {
      bool fine = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
      if (!fine) *c = '_';
    }
    flatten_value(flatten, longer, value, depth);
  }
}

static void flatten_value(struct flatten *flatten, const char *name, const json_t *value, int depth) {
  if (json_is_number(value))
    flatten_number(flatten, name, json_number_value(value));
  else if (json_is_boolean(value))
    flatten_number(flatten, name, json_is_true(value) ? 1 : 0);
  else if (json_is_object(value) && depth < 4)
    flatten_object(flatten, name, value, depth + 1);
}

void metrics_flatten(const char *document, struct strbuf *out) {
  json_t *root = json_loads(document, 0, NULL);
  struct flatten flatten = {.out = out};
  if (root) flatten_value(&flatten, "orch", root, 0);
  json_decref(root);
}

/* ---- this process ---- */

static void gauge(struct strbuf *out, const char *name, const char *help, double value) {
  strbuf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %.15g\n", name, help, name, name, value);
}

static double resident_bytes(void) {
  char text[128];
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t n = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  char *second = strchr(text, ' ');
  return second ? (double)strtoll(second, NULL, 10) * (double)sysconf(_SC_PAGESIZE) : 0;
}

static double open_descriptors(void) {
  DIR *dir = opendir("/proc/self/fd");
  double count = 0;
  while (dir && readdir(dir)) count++;
  if (dir) closedir(dir);
  return count > 3 ? count - 3 : 0; /* ".", ".." and the folder itself */
}

static void write_process(struct metrics *metrics, struct strbuf *out) {
  struct rusage usage;
  gauge(out, "process_resident_memory_bytes", "Resident memory.", resident_bytes());
  gauge(out, "process_open_fds", "Open file descriptors.", open_descriptors());
  gauge(out, "process_start_time_seconds", "Start, in seconds since 1970.", metrics->started);
  if (getrusage(RUSAGE_SELF, &usage) == 0)
    strbuf_printf(out, "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.6f\n",
                  (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
  gauge(out, "orch_loop_lag_seconds", "How late the loop's last tick was.", (double)metrics->lag_us / 1e6);
  gauge(out, "orch_loop_lag_max_seconds", "The latest tick since the last scrape.", (double)metrics->lag_max_us / 1e6);
  metrics->lag_max_us = 0;
}

static void write_pool(const struct metrics *metrics, struct strbuf *out) {
  struct db_stats stats;
  db_get_stats(metrics->serve->db, &stats);
  gauge(out, "orch_database_up", "1 while a connection to the database stands.", db_is_up(metrics->serve->db) ? 1 : 0);
  gauge(out, "orch_database_connections", "Connections of the pool.", stats.connected);
  gauge(out, "orch_database_busy", "Connections with a statement in flight.", stats.busy);
  gauge(out, "orch_database_queued", "Requests that wait for a connection.", stats.queued);
  strbuf_printf(out,
                "# TYPE orch_database_requests_total counter\norch_database_requests_total %llu\n"
                "# TYPE orch_database_failures_total counter\norch_database_failures_total %llu\n"
                "# TYPE orch_database_timeouts_total counter\norch_database_timeouts_total %llu\n"
                "# TYPE orch_database_reconnects_total counter\norch_database_reconnects_total %llu\n",
                (unsigned long long)stats.requests, (unsigned long long)stats.failures,
                (unsigned long long)stats.timeouts, (unsigned long long)stats.reconnects);
}

static void reply(struct metrics *metrics, struct http_request *req) {
  CLEANUP(strbuf_fini_p) struct strbuf out;
  strbuf_init(&out, METRICS_TEXT_MAX);
  strbuf_printf(&out, "# TYPE orch_build_info gauge\norch_build_info{version=\"%s\"} 1\n", ORCH_VERSION);
  write_process(metrics, &out);
  write_pool(metrics, &out);
  if (metrics->good && metrics->document) metrics_flatten(metrics->document, &out);
  serve_flow_metrics(metrics->serve, &out);
  http_server_metrics(metrics->serve->http, &out);
  http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", strbuf_text(&out), out.len);
}

/* ---- asking ---- */

static void reply_all(struct metrics *metrics) {
  unsigned n = metrics->n_waiting;
  metrics->n_waiting = 0;
  for (unsigned i = 0; i < n; i++) reply(metrics, metrics->waiting[i]);
}

static void on_asked(void *arg, struct db_result *result, const struct err *err) {
  struct metrics *metrics = arg;
  MAGIC_CHECK(metrics, METRICS_MAGIC);
  const char *document = result ? db_get_document(result) : NULL;
  metrics->asking = false;
  metrics->good = document != NULL && err == NULL;
  metrics->asked_us = clock_mono_us();
  if (metrics->good) {
    mem_free(metrics->document);
    metrics->document = mem_strdup(document);
  }
  reply_all(metrics);
}

void metrics_answer(struct metrics *metrics, struct http_request *req) {
  MAGIC_CHECK(metrics, METRICS_MAGIC);
  bool fresh = metrics->asked_us > 0 && clock_mono_us() - metrics->asked_us < METRICS_CACHE_US;
  if (fresh || metrics->n_waiting == METRICS_WAITING_MAX || !db_is_up(metrics->serve->db)) {
    if (!db_is_up(metrics->serve->db)) metrics->good = false;
    reply(metrics, req);
    return;
  }
  metrics->waiting[metrics->n_waiting++] = req;
  if (metrics->asking) return;
  metrics->asking = true;
  metrics->request.timeout_ms = 3000;
  metrics->request.repeatable = true;
  db_query(metrics->serve->db, &metrics->request, "select orch.api_metrics()", 0, NULL, on_asked, metrics);
}

/* ---- life ---- */

static void on_tick(uv_timer_t *timer) {
  struct metrics *metrics = timer->data;
  MAGIC_CHECK(metrics, METRICS_MAGIC);
  int64_t now_us = clock_mono_us();
  int64_t late_us = now_us - metrics->lag_due_us;
  metrics->lag_us = late_us > 0 ? late_us : 0;
  if (metrics->lag_us > metrics->lag_max_us) metrics->lag_max_us = metrics->lag_us;
  metrics->lag_due_us = now_us + METRICS_LAG_MS * 1000;
  uv_timer_start(timer, on_tick, METRICS_LAG_MS, 0);
}

struct metrics *metrics_new(struct serve *serve) {
  struct metrics *metrics = mem_alloc(sizeof(*metrics));
  metrics->magic = METRICS_MAGIC;
  metrics->serve = serve;
  metrics->started = (double)clock_wall_us() / 1e6;
  uv_timer_init(serve->loop, &metrics->lag_timer);
  metrics->lag_timer.data = metrics;
  metrics->lag_due_us = clock_mono_us() + METRICS_LAG_MS * 1000;
  uv_timer_start(&metrics->lag_timer, on_tick, METRICS_LAG_MS, 0);
  return metrics;
}

static void on_closed(uv_handle_t *handle) {
  struct metrics *metrics = handle->data;
  MAGIC_CHECK(metrics, METRICS_MAGIC);
  void (*stopped)(void *arg) = metrics->stopped;
  void *arg = metrics->arg;
  metrics->magic = 0;
  mem_free(metrics->document);
  mem_free(metrics);
  stopped(arg);
}

void metrics_stop(struct metrics *metrics, void (*stopped)(void *arg), void *arg) {
  MAGIC_CHECK(metrics, METRICS_MAGIC);
  metrics->stopped = stopped;
  metrics->arg = arg;
  db_forget(&metrics->request);
  for (unsigned i = 0; i < metrics->n_waiting; i++)
    http_problem(metrics->waiting[i], 503, "stopping", "the server is stopping", NULL);
  metrics->n_waiting = 0;
  uv_close((uv_handle_t *)&metrics->lag_timer, on_closed);
}
