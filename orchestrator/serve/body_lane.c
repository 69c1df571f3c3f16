#include "serve/body_lane.h"

#include "serve/serve_private.h"

struct body_lane {
  struct serve *serve;
  struct body_work *first, **last; /* waiting, in the order they came */
  struct body_lane_stats stats;
};

struct body_lane *body_lane_new(struct serve *serve) {
  struct body_lane *lane = mem_alloc(sizeof *lane);
  lane->serve = serve;
  lane->last = &lane->first;
  return lane;
}

void body_lane_free(struct body_lane *lane) {
  ORCH_ASSERT(!lane || (lane->stats.waiting == 0 && lane->stats.running == 0));
  mem_free(lane);
}

void body_lane_get_stats(const struct body_lane *lane, struct body_lane_stats *ret) {
  *ret = lane->stats;
}

static void in_thread(uv_work_t *uv) {
  struct body_work *work = CONTAINER_OF(uv, struct body_work, uv);
  work->work(work->arg);
}

static void start_next(struct body_lane *lane);

static void on_done(uv_work_t *uv, int status) {
  struct body_work *work = CONTAINER_OF(uv, struct body_work, uv);
  struct body_lane *lane = work->lane;
  ORCH_ASSERT(status == 0); /* never cancelled */
  lane->stats.running--;
  start_next(lane);
  work->done(work->arg); /* may free the work */
  serve_release(lane->serve);
}

static void start_next(struct body_lane *lane) {
  while (lane->first && lane->stats.running < BODY_LANE_THREADS) {
    struct body_work *work = lane->first;
    lane->first = work->next;
    if (!lane->first) lane->last = &lane->first;
    lane->stats.waiting--;
    lane->stats.running++;
    ORCH_ASSERT(uv_queue_work(lane->serve->loop, &work->uv, in_thread, on_done) == 0);
  }
}

void body_lane_run(struct body_lane *lane, struct body_work *work, bool is_short) {
  if (is_short) {
    work->work(work->arg);
    work->done(work->arg);
    return;
  }
  work->lane = lane;
  work->next = NULL;
  *lane->last = work;
  lane->last = &work->next;
  lane->stats.waiting++;
  serve_hold(lane->serve);
  start_next(lane);
}
