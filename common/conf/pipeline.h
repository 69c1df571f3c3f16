/* A pipeline's YAML file, checked and turned into the normalised JSON that database, server and worker read.
 *
 * Durations become integers `*_ms`, sizes `*_bytes`, defaults are filled in by profile: see docs/pipeline-reference.md.
 * Every error is reported at once. Keys that the file format knows but this version does not act on are refused by
 * name. */
#ifndef ORCH_CONF_PIPELINE_H
#define ORCH_CONF_PIPELINE_H

#include <jansson.h>
#include <stddef.h>

#include "conf/problems.h"

struct pipeline_options {
  const char *folder;   /* the folder that holds the file: files named inside are looked up; NULL: they are not */
  const json_t *server; /* server_parse()'s document: are the gates satisfiable? NULL: not asked */
};

/* A new document (json_decref), or NULL: then `problems` says why. */
json_t *pipeline_parse(const char *text, size_t len, const struct pipeline_options *options, struct problems *problems);

#endif
