/* Signals from outside as pure parsing: bodies in, signals in this project's own words out. No I/O.
 *
 * Every text that comes in is bounded here; a text that is too long is cut at a character, an identity that is too long
 * is refused. */
#ifndef ORCH_TRIGGER_SIGNAL_IN_H
#define ORCH_TRIGGER_SIGNAL_IN_H

#include <jansson.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/error.h"

#define SIGNAL_BODY_MAX (1024 * 1024) /* bytes of one request's body */
#define SIGNAL_DEPTH_MAX 16
#define SIGNAL_DETAIL_MAX (64 * 1024) /* bytes of a signal's detail as JSON */
#define SIGNAL_TITLE_MAX 1000         /* characters */
#define SIGNAL_NAME_MAX 200           /* bytes of source, fingerprint, episode */
#define SIGNAL_ALERTS_MAX 1000        /* alerts of one Alertmanager body */

/* One signal on its way to orch.signal_receive(). */
struct signal_in {
  char pipeline[64]; /* empty: it names none (see `problem`) */
  json_t *signal; /* {source, kind, fingerprint, episode?, status, at?, title, detail}; NULL when there is a problem */
  char problem[200]; /* why it cannot be taken; empty when it can */
  /* Which delivery this is, where the sender numbers them; the same one again changes nothing. "" when it does not. */
  char delivery[DIGEST_TEXT_SIZE];
};
struct signal_list {
  size_t n;
  struct signal_in *items;
  long long truncated; /* alerts that Alertmanager left out of the body */
};
void signal_list_fini(struct signal_list *list);

/* The body of POST /v1/signals: {pipeline, title?, source?, kind?, fingerprint?, status?, episode?, at?, detail?}.
 * Defaults: source "api", kind "external", fingerprint the title, title "a signal from SOURCE", status "firing".
 * Unknown keys are refused by name. ERR_USAGE when it is no JSON, ERR_INVALID when it is not acceptable, ERR_LIMIT. */
bool signal_parse(struct signal_in *ret, const char *body, size_t len, struct err *err) ORCH_MUST_CHECK;
void signal_in_fini(struct signal_in *in);

/* The body of an Alertmanager webhook, version 4 (Prometheus documentation, "webhook_config"; unknown keys are fine: it
 * grows them). The top status says firing as soon as any alert fires, so every alert is read by its own. Which pipeline
 * an alert is for: its label `orch_pipeline`, else `pipeline`, else the same two in commonLabels, else `fallback` (may
 * be NULL; the receiver's URL can carry ?pipeline=NAME). Source "alertmanager", kind "alert", episode
 * sha256(source|fingerprint|startsAt): the same for repeats and for the end, new when it fires again.
 *
 * Errors as above for a body that is no such document; an alert that cannot be taken is an item with a `problem`. */
bool signal_parse_alertmanager(struct signal_list *ret, const char *body, size_t len, const char *fallback,
                               struct err *err) ORCH_MUST_CHECK;

/* Grafana's webhook (unified alerting): Alertmanager's shape with version "1". An alert because the rule got no data is
 * of kind "volume", one because it could not ask is told to people only. Source "grafana"; else as above. */
bool signal_parse_grafana(struct signal_list *ret, const char *body, size_t len, const char *fallback,
                          struct err *err) ORCH_MUST_CHECK;

/* CloudEvents 1.0 in structured mode: one event (application/cloudevents+json), or with `batch` an array of them
 * (application/cloudevents-batch+json). Source: the HTTP protocol binding and the JSON event format of the CNCF.
 *
 *   pipeline     `fallback` (?pipeline=), else the extension attribute `pipeline`, else data.orch_pipeline,
 * data.pipeline fingerprint  source|type|subject: what the event is about; the event's id is only its delivery status
 * data.status; else "resolved" when the type ends in .resolved or .recovered, else "firing" kind         data.kind when
 * it is one of the kinds that POST /v1/signals takes, else "external" title        data.title, data.summary or
 * data.message; else type, subject and data.metric, value, threshold at           the attribute time */
bool signal_parse_cloudevents(struct signal_list *ret, const char *body, size_t len, bool batch, const char *fallback,
                              struct err *err) ORCH_MUST_CHECK;
/* The same in binary mode: attributes in `ce-*` headers, percent-decoded once; the body is the data. */
struct signal_header {
  const char *name, *value;
};
bool signal_parse_cloudevent_binary(struct signal_list *ret, const struct signal_header *headers, size_t n,
                                    const char *content_type, const char *body, size_t len, const char *fallback,
                                    struct err *err) ORCH_MUST_CHECK;

/* An Evidently snapshot (its `dict()` or `json()`, 0.6 and newer): each test is one signal, FAIL fires, SUCCESS
 * resolves. Without tests the drift metrics that carry a threshold are judged by it. Kind by the metric's type: drift,
 * data_fault (missing, empty, duplicated, constant, out of range), performance (quality metrics), else external. */
bool signal_parse_evidently(struct signal_list *ret, const char *body, size_t len, const char *pipeline,
                            struct err *err) ORCH_MUST_CHECK;
/* Rows of NannyML's results, one object or an array: each is one signal by metric and column; `alert` fires or
 * resolves it. Kind: drift measures drift (of y_pred…: prediction_drift), missing and unseen values data_fault,
 * estimated_… estimate, other known metrics performance, else external. */
bool signal_parse_nannyml(struct signal_list *ret, const char *body, size_t len, const char *pipeline,
                          struct err *err) ORCH_MUST_CHECK;

/* The kinds that a sender may choose; NULL at the end. */
extern const char *const signal_kinds[];

/* "sha256:…" of source|fingerprint|starts_at. Out: DIGEST_TEXT_SIZE. */
void signal_episode(const char *source, const char *fingerprint, const char *starts_at, char *out);

/* A body as one JSON object within the limits above; NULL with ERR_USAGE (no JSON), ERR_INVALID or ERR_LIMIT. */
json_t *signal_load_body(const char *body, size_t len, struct err *err) ORCH_MUST_CHECK;

/* A pipeline's name: [a-z0-9-], not at the ends, at most 63. */
bool signal_is_pipeline_name(const char *name);

#endif
