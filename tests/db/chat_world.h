/* A small world for the tests of chat: a database with one gate's worth of people, a server with the chat routes, the
 * outbox, Slack's stand-in (tests/e2e/fake_slack.py) and a receiver of webhooks, all on one loop. */
#ifndef ORCH_TESTS_DB_CHAT_WORLD_H
#define ORCH_TESTS_DB_CHAT_WORLD_H

#include "cm.h"

#include <jansson.h>
#include <uv.h>

#include "chat/outbox.h"
#include "io/db_sync.h"
#include "serve/routes_chat.h"

#define SLACK_SECRET "4c9d1f0b7a2e4c6d8b1a3f5e7d9c0b2a"
#define TRAIL_SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define PORTAL_SECRET "whsec_2vOgVsA16UIajQTpjCXuipIT0KeqhkzT+bVyMyKJ/Jk="

#define HOOKS_MAX 64
/* One event that the webhook receiver got. */
struct hook {
  char id[128], signature[512];
  int64_t timestamp_s;
  char *body;
};

struct world {
  uv_loop_t loop;
  struct db *db;
  struct db_sync *sync;
  struct fetch *fetch;
  struct http_server *http, *receiver;
  struct serve serve;
  struct outbox *outbox;
  pid_t slack;
  char dir[64], slack_url[64], orch_url[64], hook_url[64];
  struct hook hooks[HOOKS_MAX];
  size_t hook_count;
  int hook_status; /* what the receiver answers */
};

void world_init(struct world *world);
void world_fini(struct world *world);
/* A new candidate waiting at its gate -> the gate's id. Ends what waited before. */
int64_t world_gate(struct world *world);

/* The first column of the first row, as text (mem_free). Fails the test on an error. */
char *world_sql(struct world *world, const char *sql);
int64_t world_number(struct world *world, const char *sql);
void world_exec(struct world *world, const char *sql);

struct answer {
  int status;
  json_t *body; /* NULL when it is no JSON */
};
/* Posts (or gets, when `body` is NULL) and turns the loop until the answer is there. */
struct answer world_call(struct world *world, const char *url, const char *const *headers, const char *body);
/* Presses a button as fake_slack.py documents it: `ask` in JSON. Returns its answer document (json_decref). */
json_t *world_press(struct world *world, const char *ask);
/* What Slack's stand-in shows now (json_decref). */
json_t *world_shown(struct world *world);
/* Turns the loop until the number that `sql` returns is `wanted`; fails the test after ten seconds. */
void world_until(struct world *world, const char *sql, int64_t wanted);
/* The same until Slack's stand-in has shown so many ephemerals. */
json_t *world_until_ephemerals(struct world *world, size_t wanted);
/* A counter of chat_routes_metrics() or outbox_metrics(). */
int64_t world_metric(struct world *world, const char *line);

#endif
