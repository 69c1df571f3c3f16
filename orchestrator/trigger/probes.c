#include "trigger/probes.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "conf/secret.h"
#include "stats/number.h"
#include "trigger/probe_eval.h"

#define PROBES_MAGIC 0x70726f62u
#define PROBE_MAGIC 0x70726231u
#define AT_ONCE 8
#define LEASE_MS 120000 /* longer than the longest question: PROBE_TIMEOUT_MAX_MS of the spec is a minute */
#define PROMETHEUS_MS 10000
#define WAREHOUSE_CONNECT_MS 5000
#define QUERY_MAX 20000

/* claim -> ask -> report; a probe is freed when its report was answered. */
struct probe {
  uint32_t magic;
  struct probes *owner;
  struct probe *next;
  int64_t monitor_id, lease, asked_us;
  char *pipeline;
  json_t *spec, *memory, *settings;
  struct probe_answer answer;
  struct fetch_call *call;   /* while Prometheus is asked */
  struct db *warehouse;      /* while a warehouse is */
  struct db_request request; /* of the warehouse, then of the report */
  char *sql, *url;           /* what the warehouse is asked, and where: holds its password */
  char *result, *state, *signals;
};

struct probes {
  uint32_t magic;
  uv_loop_t *loop;
  struct db *db;
  struct fetch *fetch;
  char *owner;
  struct db_request request; /* of the claim */
  bool claiming, again;
  struct probe *first;
  unsigned n, closing; /* probes in work; warehouse connections that are being closed */
  struct probes_stats stats;
  void (*closed)(void *arg);
  void *arg;
};

static void ask_claim(struct probes *probes);

/* ---- life ---- */

struct probes *probes_new(uv_loop_t *loop, struct db *db, struct fetch *fetch, const char *owner) {
  struct probes *probes = mem_alloc(sizeof *probes);
  *probes = (struct probes){.magic = PROBES_MAGIC, .loop = loop, .db = db, .fetch = fetch, .owner = mem_strdup(owner)};
  return probes;
}

static void maybe_closed(struct probes *probes) {
  if (!probes->closed || probes->n > 0 || probes->closing > 0) return;
  void (*closed)(void *arg) = probes->closed;
  void *arg = probes->arg;
  mem_free(probes->owner);
  probes->magic = 0;
  mem_free(probes);
  closed(arg);
}

static void probe_free(struct probe *probe) {
  struct probes *probes = probe->owner;
  for (struct probe **at = &probes->first; *at; at = &(*at)->next) {
    if (*at != probe) continue;
    *at = probe->next;
    break;
  }
  json_decref(probe->spec);
  json_decref(probe->memory);
  json_decref(probe->settings);
  probe_answer_fini(&probe->answer);
  mem_free(probe->pipeline);
  mem_free(probe->sql);
  if (probe->url) explicit_bzero(probe->url, strlen(probe->url));
  mem_free(probe->url);
  mem_free(probe->result);
  mem_free(probe->state);
  mem_free(probe->signals);
  probe->magic = 0;
  mem_free(probe);
  probes->n--;
  maybe_closed(probes);
}

static void warehouse_closed(void *arg) {
  struct probes *probes = arg;
  MAGIC_CHECK(probes, PROBES_MAGIC);
  probes->closing--;
  maybe_closed(probes);
}

static void drop_warehouse(struct probe *probe) {
  if (!probe->warehouse) return;
  probe->owner->closing++;
  db_forget(&probe->request);
  db_free(probe->warehouse, warehouse_closed, probe->owner);
  probe->warehouse = NULL;
}

void probes_free(struct probes *probes, void (*closed)(void *arg), void *arg) {
  MAGIC_CHECK(probes, PROBES_MAGIC);
  db_forget(&probes->request);
  probes->closed = closed;
  probes->arg = arg;
  probes->closing++; /* held until all are gone */
  while (probes->first) {
    struct probe *probe = probes->first;
    if (probe->call) fetch_abort(probe->call);
    drop_warehouse(probe);
    db_forget(&probe->request);
    probe_free(probe);
  }
  probes->closing--;
  maybe_closed(probes);
}

void probes_get_stats(const struct probes *probes, struct probes_stats *ret) {
  *ret = probes->stats;
  ret->in_flight = probes->n;
}

/* ---- reporting ---- */

static void done(struct probe *probe) {
  struct probes *probes = probe->owner;
  probe_free(probe);
  if (!probes->closed) probes_poke(probes);
}

static void reported(void *arg, struct db_result *result, const struct err *err) {
  struct probe *probe = arg;
  MAGIC_CHECK(probe, PROBE_MAGIC);
  (void)result;
  if (err) {
    probe->owner->stats.lost++;
    if (err->code != ERR_LEASE_LOST)
      log_event(LOG_WARN, "probe.not_recorded", LOG_S("pipeline", probe->pipeline), LOG_S("error", err->text));
  } else {
    probe->owner->stats.looks++;
  }
  done(probe);
}

static char *compact(json_t *doc) {
  char *text = json_dumps(doc, JSON_COMPACT), *copy;
  ORCH_ASSERT(text != NULL);
  copy = mem_strdup(text);
  free(text);
  json_decref(doc);
  return copy;
}

static void report(struct probe *probe, const char *failure) {
  json_t *result, *memory, *signals;
  if (failure) probe->owner->stats.failures++;
  probe_judge(probe->spec, probe->memory, failure ? NULL : &probe->answer, failure, probe->asked_us, &result, &memory,
              &signals);
  probe->result = compact(result);
  probe->state = compact(memory);
  probe->signals = compact(signals);
  struct db_value values[] = {db_i64(probe->monitor_id), db_i64(probe->lease), db_text(probe->result),
                              db_text(probe->state), db_text(probe->signals)};
  probe->request = (struct db_request){0};
  db_query(probe->owner->db, &probe->request, "select orch.probe_report($1, $2, $3::jsonb, $4::jsonb, $5::jsonb)",
           ARRAY_LEN(values), values, reported, probe);
}

/* ---- Prometheus ---- */

static void prometheus_answered(void *arg, const struct fetch_response *response, const struct err *err) {
  struct probe *probe = arg;
  struct err why = {0};
  MAGIC_CHECK(probe, PROBE_MAGIC);
  probe->call = NULL;
  if (err) return report(probe, err->text);
  if (probe_read_prometheus(&probe->answer, response->body, response->body_len, &why)) return report(probe, NULL);
  /* Prometheus explains its 4xx in the body; a proxy before it does not. */
  if (response->status != 200 && why.code != ERR_INVALID)
    err_set(&why, ERR_IO, "Prometheus answered with status %d", response->status);
  report(probe, why.text);
}

static void add_urlencoded(struct strbuf *out, const char *text) {
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if (isalnum(*c) || strchr("-._~", *c))
      strbuf_putc(out, (char)*c);
    else
      strbuf_printf(out, "%%%02X", *c);
  }
}

/* "Authorization: Bearer …" from the variable that orch.yaml names; NULL without one. False when it cannot be read. */
static bool bearer(const json_t *prometheus, char **ret_header, struct err *err) {
  const char *env = json_string_value(json_object_get(prometheus, "token_env"));
  *ret_header = NULL;
  if (!env) return true;
  char *token = secret_get(env, err);
  if (!token) return false;
  *ret_header = mem_printf("Authorization: Bearer %s", token);
  mem_free_secret(token);
  return true;
}

static void ask_prometheus(struct probe *probe) {
  const json_t *prometheus = json_object_get(probe->settings, "prometheus");
  const char *base = json_string_value(json_object_get(prometheus, "url")),
             *query = json_string_value(json_object_get(probe->spec, "query"));
  struct err err = {0};
  char *authorization;
  if (!base) return report(probe, "orch.yaml names no Prometheus (prometheus: {url: …})");
  if (!bearer(prometheus, &authorization, &err)) return report(probe, err.text);
  size_t len = strlen(base);
  char *url = mem_printf("%.*s/api/v1/query", (int)(len && base[len - 1] == '/' ? len - 1 : len), base);
  struct strbuf body;
  strbuf_init(&body, 4 * QUERY_MAX);
  strbuf_puts(&body, "timeout=9s&query=");
  add_urlencoded(&body, query ? query : "");
  const char *headers[] = {"Content-Type: application/x-www-form-urlencoded", authorization, NULL};
  struct fetch_request request = {.method = "POST",
                                  .url = url,
                                  .headers = headers,
                                  .body = body.data,
                                  .body_len = body.len,
                                  .timeout_ms = PROMETHEUS_MS,
                                  .private_ok = true}; /* the operator named it in orch.yaml */
  probe->call = fetch_start(probe->owner->fetch, &request, prometheus_answered, probe);
  strbuf_fini(&body);
  mem_free_secret(authorization);
  mem_free(url);
}

/* ---- warehouses ---- */

/* Every row is one number, its last column; the columns before it are its name. */
static bool read_rows(struct probe *probe, const struct db_result *result, struct err *err) {
  int columns = db_columns(result);
  if (columns < 1) return err_set(err, ERR_INVALID, "the query gives no column");
  for (int row = 0; row < db_rows(result); row++) {
    CLEANUP(strbuf_fini_p) struct strbuf name;
    strbuf_init(&name, 1 << 20);
    for (int c = 0; c < columns - 1; c++) {
      const char *text = db_get_text(result, row, c);
      strbuf_printf(&name, "%s%s", c ? ", " : "", text ? text : "");
    }
    const char *text = db_get_text(result, row, columns - 1);
    double value = NAN;
    if (text) {
      struct cell cell = cell_from_text(text, strlen(text));
      if (cell.kind == CELL_BAD)
        return err_set(err, ERR_INVALID, "the query's last column holds \"%.40s\"; a number is needed", text);
      if (cell.kind == CELL_NUMBER) value = cell.number;
    }
    if (!probe_answer_add(&probe->answer, strbuf_text(&name), value, err)) return false;
  }
  return true;
}

static void warehouse_answered(void *arg, struct db_result *result, const struct err *err) {
  struct probe *probe = arg;
  struct err why = {0};
  MAGIC_CHECK(probe, PROBE_MAGIC);
  bool fine = !err && read_rows(probe, result, &why);
  if (err) err_set(&why, err->code, "%s", err->text);
  drop_warehouse(probe);
  report(probe, fine ? NULL : why.text);
}

/* May this variable be asked for? Fail closed: only those that orch.yaml lists. */
static bool is_warehouse(const struct probe *probe, const char *env) {
  size_t i;
  json_t *name;
  json_array_foreach(json_object_get(probe->settings, "warehouses"), i, name) {
    if (json_is_string(name) && strcmp(json_string_value(name), env) == 0) return strncmp(env, "ORCH_", 5) != 0;
  }
  return false;
}

/* Only a SELECT can stand in a FROM clause; a data-modifying WITH cannot. One row more than is taken tells of too many.
 */
static char *wrapped(const char *query) {
  size_t len = strlen(query);
  while (len && (isspace((unsigned char)query[len - 1]) || query[len - 1] == ';')) len--;
  return mem_printf("select * from (\n%.*s\n) as answer limit %d", (int)len, query, PROBE_SERIES_MAX + 1);
}

static bool warehouse_url(struct probe *probe, const char *env, int64_t timeout_ms, struct err *err) {
  char options[200];
  char *plain = secret_get(env, err);
  if (!plain) return false;
  snprintf(options, sizeof options, "-c default_transaction_read_only=on -c statement_timeout=%lld",
           (long long)timeout_ms);
  CLEANUP(strbuf_fini_p) struct strbuf url;
  strbuf_init(&url, 4 * SECRET_BYTES_MAX);
  bool fine = db_url_with_options(plain, options, &url, err);
  if (fine) probe->url = mem_strdup(strbuf_text(&url));
  if (url.len) explicit_bzero(url.data, url.len);
  mem_free_secret(plain);
  return fine;
}

static void ask_warehouse(struct probe *probe) {
  const char *env = json_string_value(json_object_get(probe->spec, "url_env")),
             *query = json_string_value(json_object_get(probe->spec, "query"));
  const json_t *timeout = json_object_get(probe->spec, "timeout_ms");
  int64_t timeout_ms = json_is_integer(timeout) ? json_integer_value(timeout) : 30000;
  struct err err = {0};
  if (!env || !query || strlen(query) > QUERY_MAX) return report(probe, "the monitor has no url_env or no query");
  if (!is_warehouse(probe, env)) {
    err_set(&err, ERR_REFUSED, "orch.yaml does not list %s under warehouses", env);
    return report(probe, err.text);
  }
  if (!warehouse_url(probe, env, timeout_ms, &err)) return report(probe, err.text);
  struct db_options options = {.url = probe->url,
                               .name = "orch probe",
                               .connections = 1,
                               .connect_ms = WAREHOUSE_CONNECT_MS,
                               .down_ms = WAREHOUSE_CONNECT_MS,
                               .no_prepared = true};
  probe->sql = wrapped(query);
  probe->warehouse = db_new(probe->owner->loop, &options);
  probe->request = (struct db_request){.timeout_ms = timeout_ms + WAREHOUSE_CONNECT_MS};
  db_query(probe->warehouse, &probe->request, probe->sql, 0, NULL, warehouse_answered, probe);
}

/* ---- claiming ---- */

static json_t *object_of(const char *text) {
  json_t *doc = text ? json_loads(text, 0, NULL) : NULL;
  return doc ? doc : json_object();
}

static void start(struct probes *probes, const struct db_result *result, int row) {
  struct probe *probe = mem_alloc(sizeof *probe);
  *probe = (struct probe){.magic = PROBE_MAGIC,
                          .owner = probes,
                          .next = probes->first,
                          .monitor_id = db_get_i64(result, row, 0, 0),
                          .lease = db_get_i64(result, row, 1, 0),
                          .pipeline = mem_strdup(db_get_text(result, row, 2)),
                          .spec = object_of(db_get_text(result, row, 3)),
                          .memory = object_of(db_get_text(result, row, 4)),
                          .settings = object_of(db_get_text(result, row, 5))};
  const char *asked_at = db_get_text(result, row, 6);
  if (!asked_at || !clock_parse_rfc3339(asked_at, &probe->asked_us)) probe->asked_us = clock_wall_us();
  probe_answer_init(&probe->answer);
  probes->first = probe;
  probes->n++;
  const char *kind = json_string_value(json_object_get(probe->spec, "kind"));
  if (kind && strcmp(kind, "sql") == 0)
    ask_warehouse(probe);
  else
    ask_prometheus(probe);
}

static void claimed(void *arg, struct db_result *result, const struct err *err) {
  struct probes *probes = arg;
  MAGIC_CHECK(probes, PROBES_MAGIC);
  probes->claiming = false;
  if (err) {
    log_err(LOG_WARN, "probe.claim_failed", err);
    return;
  }
  int rows = db_rows(result);
  for (int row = 0; row < rows; row++) start(probes, result, row);
  if (rows == 0 && !probes->again) return;
  probes_poke(probes);
}

static void ask_claim(struct probes *probes) {
  struct db_value values[] = {db_text(probes->owner), db_i64(LEASE_MS), db_i64(AT_ONCE - probes->n)};
  probes->claiming = true;
  probes->again = false;
  probes->request = (struct db_request){0};
  db_query(probes->db, &probes->request,
           "select monitor_id, lease, pipeline, spec, state, settings, asked_at "
           "from orch.probe_claim($1, $2, $3::int)",
           ARRAY_LEN(values), values, claimed, probes);
}

void probes_poke(struct probes *probes) {
  MAGIC_CHECK(probes, PROBES_MAGIC);
  if (probes->closed || probes->n >= AT_ONCE) return;
  if (probes->claiming)
    probes->again = true;
  else
    ask_claim(probes);
}
