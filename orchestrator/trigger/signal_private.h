/* What the readers of outside documents share: bounded titles, identities and details of a signal. */
#ifndef ORCH_TRIGGER_SIGNAL_PRIVATE_H
#define ORCH_TRIGGER_SIGNAL_PRIVATE_H

#include "trigger/signal_in.h"

#define SIGNAL_PROBLEM(in, ...) ((void)snprintf((in)->problem, sizeof(in)->problem, __VA_ARGS__))

/* A text member, "" when absent or no text. */
const char *signal_text(const json_t *object, const char *key);
/* Cut to SIGNAL_TITLE_MAX characters, never inside one. */
void signal_set_title(json_t *signal, const char *title);
/* What is longer than SIGNAL_NAME_MAX stands by its digest. */
void signal_set_fingerprint(json_t *signal, const char *text);
bool signal_detail_fits(const json_t *detail);
/* Sets `detail` (taken over); one over the limit is replaced by a note that says so. */
void signal_set_detail(json_t *signal, json_t *detail);
/* As signal_load_body(), but an array at the top is fine too. */
json_t *signal_load_any(const char *body, size_t len, struct err *err) ORCH_MUST_CHECK;
/* Puts the pipeline's name into `in`, or the problem. False with a problem. `how` says where a name may come from. */
bool signal_name_pipeline(struct signal_in *in, const char *pipeline, const char *how);

#endif
