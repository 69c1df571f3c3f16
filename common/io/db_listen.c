#include "io/db_listen.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/db_internal.h"

#define LISTEN_MAGIC 0xDB115701u
static const int64_t probe_again_ms = 60000;

struct db_listen {
  unsigned magic;
  struct db_conn conn;
  struct db_listen_options options;
  char *url, *name;
  char *channels[DB_LISTEN_CHANNELS_MAX + 1];
  char probe_channel[40];
  enum db_listen_state state;
  bool listening; /* the LISTENs were answered */
  bool probing;
  struct db_request probe;
  uv_timer_t timer; /* bounds a probe, or waits for the next */
  unsigned handles_open;
  void (*closed)(void *arg);
  void *closed_arg;
};

static void start_probe(struct db_listen *listen);

static void set_state(struct db_listen *listen, enum db_listen_state state) {
  if (listen->state == state) return;
  listen->state = state;
  if (listen->options.state_changed) listen->options.state_changed(listen->options.arg, state);
}

/* ---- the probe ---- */

static void probe_again(uv_timer_t *timer) {
  start_probe(timer->data);
}

static void probe_ended(struct db_listen *listen, bool arrived) {
  listen->probing = false;
  db_forget(&listen->probe);
  uv_timer_stop(&listen->timer);
  if (!arrived) uv_timer_start(&listen->timer, probe_again, (uint64_t)clock_jitter_ms(probe_again_ms, 0.1), 0);
  set_state(listen, arrived ? DB_LISTEN_ACTIVE : DB_LISTEN_POLLING_ONLY);
}

static void probe_missed(uv_timer_t *timer) {
  probe_ended(timer->data, false);
}

static void probe_sent(void *arg, struct db_result *result, const struct err *err) {
  /* Whether it arrives is what matters; when it could not be sent, the timer ends the probe. */
  (void)arg;
  (void)result;
  (void)err;
}

/* NOTIFY comes from another connection: a session hears itself even through a pooler that drops LISTEN. */
static void start_probe(struct db_listen *listen) {
  if (listen->probing || !listen->listening) return;
  listen->probing = true;
  int64_t probe_ms = listen->options.probe_ms ? listen->options.probe_ms : 5000;
  uv_timer_start(&listen->timer, probe_missed, (uint64_t)probe_ms, 0);
  struct db_value values[] = {db_text(listen->probe_channel)};
  listen->probe = (struct db_request){.timeout_ms = probe_ms, .repeatable = true};
  db_query(listen->options.db, &listen->probe, "select pg_notify($1, '')", ARRAY_LEN(values), values, probe_sent,
           listen);
}

/* ---- the connection ---- */

static void listen_ready(struct db_conn *conn) {
  struct db_listen *listen = CONTAINER_OF(conn, struct db_listen, conn);
  CLEANUP(strbuf_fini_p) struct strbuf sql;
  strbuf_init(&sql, 2000);
  snprintf(listen->probe_channel, sizeof(listen->probe_channel), "orch_probe_%016llx",
           (unsigned long long)clock_random_u64());
  for (char **channel = listen->channels; *channel; channel++) strbuf_printf(&sql, "listen %s; ", *channel);
  strbuf_printf(&sql, "listen %s", listen->probe_channel);
  if (PQsendQuery(conn->pg, strbuf_text(&sql))) {
    db_conn_flush(conn);
    return;
  }
  struct err err = {0};
  db_err_from_conn(&err, conn->pg, "cannot send LISTEN");
  db_conn_drop(conn, &err);
}

static void hand_over(struct db_listen *listen, const char *name, const char *payload) {
  for (char **channel = listen->channels; *channel; channel++)
    if (strcmp(*channel, name) == 0) {
      listen->options.notified(listen->options.arg, *channel, payload);
      return;
    }
}

static void now_listening(struct db_listen *listen) {
  listen->listening = true;
  start_probe(listen);
  for (char **channel = listen->channels; *channel && listen->conn.state == DB_CONN_UP; channel++)
    listen->options.notified(listen->options.arg, *channel, "");
}

/* True when every answer so far was read; a refused LISTEN ends the connection. */
static bool read_answers(struct db_listen *listen) {
  while (!PQisBusy(listen->conn.pg)) {
    PGresult *result = PQgetResult(listen->conn.pg);
    if (!result) return true;
    struct err err = {0};
    bool failed = PQresultStatus(result) == PGRES_FATAL_ERROR;
    if (failed) db_err_from_result(&err, result);
    PQclear(result);
    if (failed) {
      db_conn_drop(&listen->conn, &err);
      return false;
    }
  }
  return false;
}

static void listen_readable(struct db_conn *conn) {
  struct db_listen *listen = CONTAINER_OF(conn, struct db_listen, conn);
  MAGIC_CHECK(listen, LISTEN_MAGIC);
  if (!read_answers(listen)) return;
  if (!listen->listening) now_listening(listen);
  while (conn->state == DB_CONN_UP) {
    PGnotify *notify = PQnotifies(conn->pg);
    if (!notify) return;
    if (strcmp(notify->relname, listen->probe_channel) == 0) {
      if (listen->probing || listen->state == DB_LISTEN_POLLING_ONLY) probe_ended(listen, true);
    } else {
      hand_over(listen, notify->relname, notify->extra);
    }
    PQfreemem(notify);
  }
}

static void listen_lost(struct db_conn *conn, const struct err *err) {
  struct db_listen *listen = CONTAINER_OF(conn, struct db_listen, conn);
  (void)err; /* the pool meets the same server and tells why */
  listen->listening = false;
  listen->probing = false;
  db_forget(&listen->probe);
  uv_timer_stop(&listen->timer);
  db_conn_retry(conn);
  set_state(listen, DB_LISTEN_CONNECTING);
}

/* ---- public ---- */

static void one_closed(struct db_listen *listen) {
  if (--listen->handles_open > 0) return;
  void (*closed)(void *arg) = listen->closed;
  void *arg = listen->closed_arg;
  mem_free_secret(listen->url);
  mem_free(listen->name);
  for (char **channel = listen->channels; *channel; channel++) mem_free(*channel);
  mem_free(listen);
  if (closed) closed(arg);
}

static void conn_closed(struct db_conn *conn) {
  one_closed(CONTAINER_OF(conn, struct db_listen, conn));
}

static void timer_closed(uv_handle_t *handle) {
  one_closed(handle->data);
}

static bool channel_is_sane(const char *channel) {
  return *channel && strlen(channel) < 60 &&
         strspn(channel, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(channel);
}

struct db_listen *db_listen_new(uv_loop_t *loop, const struct db_listen_options *options) {
  struct db_listen *listen = mem_alloc(sizeof(*listen));
  listen->magic = LISTEN_MAGIC;
  listen->options = *options;
  listen->url = mem_strdup(options->url);
  listen->name = mem_strdup(options->name ? options->name : "orch listen");
  for (unsigned i = 0; i < DB_LISTEN_CHANNELS_MAX && options->channels[i]; i++) {
    ORCH_ASSERT(channel_is_sane(options->channels[i]));
    listen->channels[i] = mem_strdup(options->channels[i]);
  }
  listen->conn =
      (struct db_conn){.ready = listen_ready, .readable = listen_readable, .lost = listen_lost, .closed = conn_closed};
  db_conn_init(&listen->conn, loop, listen->url, listen->name, options->connect_ms);
  uv_timer_init(loop, &listen->timer);
  listen->timer.data = listen;
  listen->handles_open = 2;
  db_conn_open(&listen->conn);
  return listen;
}

void db_listen_free(struct db_listen *listen, void (*closed)(void *arg), void *arg) {
  MAGIC_CHECK(listen, LISTEN_MAGIC);
  listen->closed = closed;
  listen->closed_arg = arg;
  db_forget(&listen->probe);
  db_conn_close(&listen->conn);
  uv_close((uv_handle_t *)&listen->timer, timer_closed);
}

enum db_listen_state db_listen_get_state(const struct db_listen *listen) {
  return listen->state;
}

const char *db_listen_state_name(enum db_listen_state state) {
  static const char *const names[] = {"connecting", "active", "polling only"};
  return names[state];
}
