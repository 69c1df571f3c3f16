/* Reading bodies beside the loop: what takes long goes through two threads, first come first served, so that a stream
 * of bodies of 8 MiB makes no callback wait, and the pool's other threads stay free for rollbacks and windows. */
#ifndef ORCH_SERVE_BODY_LANE_H
#define ORCH_SERVE_BODY_LANE_H

#include <stdbool.h>
#include <stddef.h>

#include "serve/serve.h"

#define BODY_LANE_THREADS 2                   /* of libuv's four */
#define BODY_SHORT_BYTES ((size_t)256 * 1024) /* read at once: well under a millisecond of rows */

struct body_lane;
struct body_lane *body_lane_new(struct serve *serve);
void body_lane_free(struct body_lane *lane); /* with nothing in it; NULL is fine */

/* Embedded in the caller's memory until `done` was called. */
struct body_work {
  void (*work)(void *arg); /* in a thread: nothing but what `arg` alone holds */
  void (*done)(void *arg); /* on the loop */
  void *arg;
  struct body_lane *lane; /* private, as is what follows */
  uv_work_t uv;
  struct body_work *next;
};
/* Calls work and then done: at once for a short body, else later, one after another in the order they came. The server
 * does not stop before it is done. */
void body_lane_run(struct body_lane *lane, struct body_work *work, bool is_short);

struct body_lane_stats {
  size_t waiting, running;
};
void body_lane_get_stats(const struct body_lane *lane, struct body_lane_stats *ret);

#endif
