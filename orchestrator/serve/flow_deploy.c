/* Deployments as a flow: carried out by servers that have a store. */
#include "base/log.h"
#include "rollout/deployer.h"
#include "serve/flows.h"

#define FLOW_DEPLOY_MAGIC 0x4445504cu

struct flow_deploy {
  uint32_t magic;
  struct store *store;
  struct deployer *deployer;
  void (*stopped)(void *arg);
  void *arg;
};

static void *start(struct serve *serve) {
  struct err err = {0};
  if (!serve->options.store || !serve->options.base) return NULL;
  struct store *store = store_open(serve->options.store, &err);
  if (!store) {
    log_err(LOG_ERROR, "deploy.no_store", &err);
    return NULL;
  }
  struct flow_deploy *flow = mem_alloc(sizeof(*flow));
  flow->magic = FLOW_DEPLOY_MAGIC;
  flow->store = store;
  struct deployer_options options = {
      .db = serve->db, .owner = serve->owner, .rollout = {.store = store, .base = serve->options.base}};
  flow->deployer = deployer_new(serve->loop, &options);
  return flow;
}

static void wake(void *self) {
  struct flow_deploy *flow = self;
  MAGIC_CHECK(flow, FLOW_DEPLOY_MAGIC);
  deployer_kick(flow->deployer);
}

static void on_closed(void *arg) {
  struct flow_deploy *flow = arg;
  MAGIC_CHECK(flow, FLOW_DEPLOY_MAGIC);
  void (*stopped)(void *arg) = flow->stopped;
  void *their_arg = flow->arg;
  store_close(flow->store);
  flow->magic = 0;
  mem_free(flow);
  stopped(their_arg);
}

static void stop(void *self, void (*stopped)(void *arg), void *arg) {
  struct flow_deploy *flow = self;
  MAGIC_CHECK(flow, FLOW_DEPLOY_MAGIC);
  flow->stopped = stopped;
  flow->arg = arg;
  deployer_free(flow->deployer, on_closed, flow);
}

static void metrics(const void *self, struct strbuf *out) {
  const struct flow_deploy *flow = self;
  strbuf_printf(out,
                "# HELP orch_deploy_busy 1 while a driver runs.\n# TYPE orch_deploy_busy gauge\norch_deploy_busy %d\n",
                deployer_is_busy(flow->deployer));
}

const struct flow flow_deploy = {"deploy", WAKE_EVENT, start, wake, stop, metrics};
