/* The server's file, `orch.yaml`: reviewers, chat, webhooks, callbacks, cascades, where monitors ask; checked and
 * normalised to JSON. */
#ifndef ORCH_CONF_SERVER_H
#define ORCH_CONF_SERVER_H

#include <jansson.h>
#include <stddef.h>

#include "conf/problems.h"

/* {"reviewers":[{"name","email"?,"slack"?,"groups":[..]}],"chat":{"slack":{"channel"}}?,
 *  "webhooks":[{"name","url","secret_env","events":[..]}],"callbacks":[{"name","secret_env","may_speak_for":[..]}],
 *  "cascade":{"pipelines","within_ms","share":["owner"|"data"|"column"..]} or {"off":true},
 *  "prometheus":{"url","token_env"?}?,"warehouses":["WAREHOUSE_URL"..]}
 * A new document (json_decref), or NULL: then `problems` says why. */
json_t *server_parse(const char *text, size_t len, struct problems *problems);

#endif
