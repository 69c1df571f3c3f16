/* Wake-ups: LISTEN on an own connection, which is probed, because some poolers drop LISTEN without a word.
 *
 * A wake-up is a hint. After every (re)connection each channel is called back once, since hints may have been missed
 * meanwhile; behind it all the owner keeps a jittered poll. */
#ifndef ORCH_IO_DB_LISTEN_H
#define ORCH_IO_DB_LISTEN_H

#include <uv.h>

#include "io/db.h"

enum db_listen_state {
  DB_LISTEN_CONNECTING,   /* no connection, or not yet probed */
  DB_LISTEN_ACTIVE,       /* a NOTIFY sent through the pool arrived */
  DB_LISTEN_POLLING_ONLY, /* connected, yet no NOTIFY arrives; probed again every minute */
};

#define DB_LISTEN_CHANNELS_MAX 8

struct db_listen_options {
  const char *url; /* copied, as is the name */
  const char *name;
  struct db *db;                                /* sends the probes; must outlive the listener */
  const char *channels[DB_LISTEN_CHANNELS_MAX]; /* ends with NULL; [a-z0-9_]; copied */
  int64_t connect_ms;                           /* 0 = 10 000 */
  int64_t probe_ms;                             /* how long a probe may take; 0 = 5 000 */
  /* `channel` is one of `channels` (the listener's own copy, compare with strcmp); `payload` is "" for made-up ones. */
  void (*notified)(void *arg, const char *channel, const char *payload);
  void (*state_changed)(void *arg, enum db_listen_state state); /* may be NULL */
  void *arg;
};

struct db_listen;
struct db_listen *db_listen_new(uv_loop_t *loop, const struct db_listen_options *options);
void db_listen_free(struct db_listen *listen, void (*closed)(void *arg), void *arg);
enum db_listen_state db_listen_get_state(const struct db_listen *listen);
/* "connecting", "active", "polling only" */
const char *db_listen_state_name(enum db_listen_state state);

#endif
