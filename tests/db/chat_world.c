#include "chat_world.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/migrate.h"

extern char **environ;

#define PATIENCE_US ((int64_t)10 * 1000 * 1000)

/* A pipeline, people, and a worker in SQL: what a real one would report, without training anything. */
static const char world_script[] =
    "set client_min_messages = warning; create schema if not exists chat_test;"
    "create or replace function chat_test.digest(p text) returns text language sql as $$"
    "  select 'sha256:' || encode(sha256(p::bytea), 'hex') $$;"
    "create or replace function chat_test.step(p_name text, p_role text, p_needs jsonb) returns jsonb language sql as "
    "$$"
    "  select jsonb_build_object('name', p_name, 'run', '[\"x\"]'::jsonb, 'role', p_role, 'needs', p_needs,"
    "    'timeout_ms', 60000, 'retry', '{\"limit\":0,\"backoff_ms\":10,\"max_ms\":100}'::jsonb, 'executor', 'process',"
    "    'secrets', '[]'::jsonb, 'resources', '{\"cpu\":1,\"memory_bytes\":null,\"gpu\":0,\"labels\":[]}'::jsonb) $$;"
    "create or replace function chat_test.candidate() returns bigint language plpgsql as $$"
    "declare v_proposal bigint := (orch.proposal_create('housing', 'inventory drifts <!channel>', 'keep', 'user:test',"
    "    null, null) ->> 'proposal')::bigint;"
    "  v_worker bigint := (orch.worker_register('w', 'h', 1, '{}', 64, 1 << 30, 0, 64, 60000) ->> 'worker')::bigint;"
    "  g record;"
    "begin for i in 1 .. 10 loop for g in select * from orch.job_claim(v_worker, 16, null) loop"
    "    perform orch.job_finish(v_worker, g.job, g.lease, 'succeeded', case when g.role = 'evaluate'"
    "      then '{\"metrics\": {\"accuracy\": 0.85}}'::jsonb else jsonb_build_object('output',"
    "      chat_test.digest('model' || v_proposal), 'profile', encode('profile', 'base64'),"
    "      'snapshots', jsonb_build_object('sales', chat_test.digest('sales'))) end);"
    "  end loop; end loop; return (select id from orch.gate where proposal_id = v_proposal and state = 'open'); end $$;"
    "select orch.pipeline_apply(s, s::text, chat_test.digest('yaml'), chat_test.digest('bundle'), null, null, "
    "'user:test')"
    "  from (select jsonb_build_object('pipeline', 'housing', 'owner', 'pricing', 'oncall', '#oncall',"
    "    'data', '[]'::jsonb, 'config', '{\"seed\": 7}'::jsonb, 'steps', jsonb_build_array("
    "      chat_test.step('train', 'train', '[]'), chat_test.step('evaluate', 'evaluate', '[\"train\"]')),"
    "    'monitors', '[]'::jsonb, 'retrain', '{\"cooldown_ms\": 0, \"budget\": null}'::jsonb,"
    "    'checks', '[{\"metric\": \"accuracy\", \"min\": 0.75, \"vs_champion\": -0.01}]'::jsonb,"
    "    'gates', '{\"promote\": {\"require\": [{\"group\": \"ml-owners\", \"approvals\": 1},"
    "      {\"group\": \"risk\", \"approvals\": 1}], \"expires_ms\": 172800000, \"own_proposals\": false}}'::jsonb,"
    "    'rollout', '{\"driver\": {\"symlink\": {\"path\": \"live/x\"}}}'::jsonb, 'keep', 2)) as t(s);";

/* ---- SQL ---- */

char *world_sql(struct world *world, const char *sql) {
  struct err err = {0};
  char *text = db_sync_call(world->sync, sql, 0, NULL, &err);
  if (text == NULL) fail_msg("%s: %s", sql, err.text);
  return text;
}

int64_t world_number(struct world *world, const char *sql) {
  CLEANUP(mem_free_p) char *text = world_sql(world, sql);
  return strtoll(text, NULL, 10);
}

void world_exec(struct world *world, const char *sql) {
  struct err err = {0};
  if (!db_sync_exec(world->sync, sql, &err)) fail_msg("%.200s: %s", sql, err.text);
}

int64_t world_gate(struct world *world) {
  int64_t gate = world_number(world, "select chat_test.candidate()");
  assert_true(gate > 0);
  outbox_wake(world->outbox);
  return gate;
}

/* ---- calls ---- */

struct pending {
  bool done;
  struct answer answer;
};

static void called(void *arg, const struct fetch_response *response, const struct err *err) {
  struct pending *pending = arg;
  pending->done = true;
  if (err != NULL) fail_msg("%s", err->text);
  pending->answer.status = response->status;
  pending->answer.body = json_loadb(response->body, response->body_len, 0, NULL);
}

struct answer world_call(struct world *world, const char *url, const char *const *headers, const char *body) {
  struct pending pending = {0};
  struct fetch_request request = {.url = url,
                                  .headers = headers,
                                  .body = body,
                                  .body_len = body != NULL ? strlen(body) : 0,
                                  .timeout_ms = 10000,
                                  .private_ok = true};
  (void)fetch_start(world->fetch, &request, called, &pending);
  while (!pending.done) uv_run(&world->loop, UV_RUN_ONCE);
  return pending.answer;
}

json_t *world_press(struct world *world, const char *ask) {
  CLEANUP(mem_free_p) char *url = mem_printf("%s/control/press", world->slack_url);
  struct answer answer = world_call(world, url, NULL, ask);
  if (answer.status != 200) fail_msg("%s: %d", ask, answer.status);
  return answer.body;
}

json_t *world_shown(struct world *world) {
  CLEANUP(mem_free_p) char *url = mem_printf("%s/control/messages", world->slack_url);
  struct answer answer = world_call(world, url, NULL, NULL);
  assert_int_equal(answer.status, 200);
  return answer.body;
}

static void turn(struct world *world) {
  struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
  uv_run(&world->loop, UV_RUN_NOWAIT);
  nanosleep(&pause, NULL);
}

void world_until(struct world *world, const char *sql, int64_t wanted) {
  int64_t deadline_us = clock_mono_us() + PATIENCE_US, found = 0;
  outbox_wake(world->outbox);
  while ((found = world_number(world, sql)) != wanted) {
    if (clock_mono_us() > deadline_us) fail_msg("%s: %lld", sql, (long long)found);
    turn(world);
  }
}

json_t *world_until_ephemerals(struct world *world, size_t wanted) {
  int64_t deadline_us = clock_mono_us() + PATIENCE_US;
  for (;;) {
    json_t *shown = world_shown(world);
    size_t found = json_array_size(json_object_get(shown, "ephemerals"));
    if (found == wanted) return shown;
    json_decref(shown);
    if (clock_mono_us() > deadline_us) fail_msg("%zu ephemerals instead of %zu", found, wanted);
    turn(world);
  }
}

int64_t world_metric(struct world *world, const char *line) {
  CLEANUP(strbuf_fini_p) struct strbuf text;
  strbuf_init(&text, 64 * 1024);
  chat_routes_metrics(world->serve.chat, &text);
  outbox_metrics(world->outbox, &text);
  const char *at = strstr(strbuf_text(&text), line);
  if (at == NULL) {
    fail_msg("no metric %s", line);
    return -1;
  }
  return strtoll(at + strlen(line), NULL, 10);
}

/* ---- the receiver of webhooks ---- */

static void receive(struct http_request *req, void *ctx) {
  struct world *world = ctx;
  assert_true(world->hook_count < HOOKS_MAX);
  struct hook *hook = &world->hooks[world->hook_count++];
  snprintf(hook->id, sizeof hook->id, "%s", http_header(req, "webhook-id"));
  snprintf(hook->signature, sizeof hook->signature, "%s", http_header(req, "webhook-signature"));
  hook->timestamp_s = strtoll(http_header(req, "webhook-timestamp"), NULL, 10);
  hook->body = mem_strdup(req->body);
  http_reply_empty(req, world->hook_status);
}

static const struct http_route receiver_routes[] = {
    {.method = "POST",
     .pattern = "/hook",
     .scope = "",
     .max_body_bytes = 1 << 20,
     .handle = receive,
     .summary = "Events"},
};

/* ---- start and end ---- */

static void start_slack(struct world *world) {
  CLEANUP(mem_free_p) char *port_file = mem_printf("%s/port", world->dir);
  char *const argv[] = {(char[]){"/usr/bin/python3"},
                        (char[]){TEST_TOP "/tests/e2e/fake_slack.py"},
                        (char[]){"serve"},
                        (char[]){"--quiet"},
                        (char[]){"--until-parent-exits"},
                        (char[]){"--port"},
                        (char[]){"0"},
                        (char[]){"--port-file"},
                        port_file,
                        (char[]){"--signing-secret"},
                        (char[]){SLACK_SECRET},
                        (char[]){"--callback"},
                        world->orch_url,
                        NULL};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  assert_int_equal(posix_spawn(&world->slack, argv[0], &actions, NULL, argv, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  int64_t deadline_us = clock_mono_us() + PATIENCE_US;
  for (;;) {
    char text[16] = {0};
    FILE *file = fopen(port_file, "r");
    if (file != NULL && fgets(text, sizeof text, file) == NULL) text[0] = '\0';
    if (file != NULL) fclose(file);
    if (strchr(text, '\n') != NULL) {
      snprintf(world->slack_url, sizeof world->slack_url, "http://127.0.0.1:%ld", strtol(text, NULL, 10));
      break;
    }
    if (clock_mono_us() > deadline_us) fail_msg("fake_slack.py does not start");
    turn(world);
  }
}

static void set_environment(struct world *world) {
  CLEANUP(mem_free_p) char *api = mem_printf("%s/api/", world->slack_url);
  setenv("ORCH_SLACK_API_URL", api, 1);
  setenv("ORCH_SLACK_BOT_TOKEN", "xoxb-test", 1);
  setenv("ORCH_SLACK_SIGNING_SECRET", SLACK_SECRET, 1);
  setenv("TRAIL_SECRET", TRAIL_SECRET, 1);
  setenv("PORTAL_SECRET", PORTAL_SECRET, 1);
  setenv("ORCH_OUTGOING_ALLOW", "127.0.0.1", 1);
}

static struct http_server *start_http(struct world *world, char *url, size_t size) {
  struct err err = {0};
  struct http_options options = {.listen = "127.0.0.1:0"};
  struct http_server *server = http_server_new(&world->loop, &options, &err);
  if (server == NULL) fail_msg("%s", err.text);
  snprintf(url, size, "http://%s", http_server_address(server));
  return server;
}

static void prepare_database(struct world *world, const char *url) {
  struct err err = {0};
  struct migrate_source source = migrate_embedded();
  world->sync = db_sync_open(url, "test_chat", &err);
  if (world->sync == NULL) fail_msg("%s", err.text);
  if (!migrate_apply(world->sync, &source, NULL, NULL, NULL, &err)) fail_msg("%s", err.text);
  CLEANUP(mem_free_p)
  char *people = mem_printf(
      "select orch.server_apply('{\"reviewers\": [{\"name\": \"dana\", \"slack\": \"T0001/U0001\", \"groups\": "
      "[\"ml-owners\"]}, {\"name\": \"finn\", \"slack\": \"T0001/U0002\", \"groups\": [\"risk\"]}], \"chat\": "
      "{\"slack\": "
      "{\"channel\": \"C05MLOPS9K\"}}, \"webhooks\": [{\"name\": \"trail\", \"url\": \"%s/hook\", \"secret_env\": "
      "\"TRAIL_SECRET\", \"events\": [\"gate.*\"]}], \"callbacks\": [{\"name\": \"portal\", \"secret_env\": "
      "\"PORTAL_SECRET\", \"may_speak_for\": [\"risk\"]}]}', 'user:test')",
      world->hook_url);
  world_exec(world, people);
  world_exec(world, world_script);
}

void world_init(struct world *world) {
  const char *url = getenv("ORCH_TEST_DATABASE_URL");
  size_t routes = 0;
  while (routes_chat[routes].method != NULL) routes++;
  if (url == NULL) fail_msg("run it by tests/db/run");
  *world = (struct world){.hook_status = 200, .dir = "/tmp/orch-chat-XXXXXX"};
  assert_non_null(mkdtemp(world->dir));
  assert_int_equal(uv_loop_init(&world->loop), 0);
  world->http = start_http(world, world->orch_url, sizeof world->orch_url);
  world->receiver = start_http(world, world->hook_url, sizeof world->hook_url);
  http_server_add(world->http, routes_chat, routes, &world->serve);
  http_server_add(world->receiver, receiver_routes, ARRAY_LEN(receiver_routes), world);
  prepare_database(world, url);
  start_slack(world);
  set_environment(world);
  world->fetch = fetch_new(&world->loop, &(struct fetch_options){.policy = fetch_address_is_public});
  world->db = db_new(&world->loop, &(struct db_options){.url = url, .name = "test_chat"});
  world->serve = (struct serve){.magic = SERVE_MAGIC, .chat = chat_routes_new(world->db, world->fetch)};
  struct outbox_options options = {.db = world->db,
                                   .fetch = world->fetch,
                                   .owner = "test",
                                   .public_url = "https://orch.example.com",
                                   .poll_ms = 200};
  world->outbox = outbox_new(&world->loop, &options);
}

static void count_down(void *arg) {
  --*(int *)arg;
}

void world_fini(struct world *world) {
  int open = 5;
  kill(world->slack, SIGTERM);
  waitpid(world->slack, NULL, 0);
  outbox_free(world->outbox, count_down, &open);
  http_server_stop(world->http, 0, count_down, &open);
  http_server_stop(world->receiver, 0, count_down, &open);
  fetch_free(world->fetch, count_down, &open);
  db_free(world->db, count_down, &open);
  while (open > 0) uv_run(&world->loop, UV_RUN_ONCE);
  http_server_free(world->http);
  http_server_free(world->receiver);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0);
  chat_routes_free(world->serve.chat);
  db_sync_close(world->sync);
  for (size_t i = 0; i < world->hook_count; i++) mem_free(world->hooks[i].body);
  CLEANUP(mem_free_p) char *port_file = mem_printf("%s/port", world->dir);
  unlink(port_file);
  rmdir(world->dir);
}
