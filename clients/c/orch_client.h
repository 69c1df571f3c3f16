/* Tells orch what a live model saw, predicted and, later, what was true: a client in one header, for C99 and newer.
 *
 * In one .c file:   #define ORCH_CLIENT_IMPLEMENTATION
 *                   #include "orch_client.h"
 * Elsewhere include it plainly. Build with: cc … -lcurl -lpthread   (and -DORCH_CLIENT_GZIP … -lz to compress)
 *
 *     struct orch_client_options options = {.url = "http://127.0.0.1:8077", .token = token, .pipeline = "housing"};
 *     struct orch_client *orch = orch_client_new(&options);
 *
 *     struct orch_row row;
 *     orch_row_begin(&row);
 *     orch_row_text(&row, "id", "r-17");
 *     orch_row_number(&row, "features.income", 3.2);
 *     orch_row_text(&row, "prediction", "up");
 *     orch_client_row(orch, &row);
 *     …
 *     orch_client_label(orch, "r-17", "down", NULL);
 *     orch_client_close(orch, 5000);
 *
 * What it promises a program that serves people: adding a row never waits for the network and never fails loudly. It
 * copies one line into a bounded queue; a thread of its own sends batches, again with the same Idempotency-Key until
 * they were answered, so that the server stores each once. What does not fit is dropped and counted. Call
 * curl_global_init() yourself before other threads start, as libcurl asks; not usable in the child of a fork (make a
 * new client there). */
#ifndef ORCH_CLIENT_H
#define ORCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct orch_client_options {
  const char *url;      /* "https://orch.example.com" */
  const char *token;    /* a bearer token with the scope observe */
  const char *pipeline; /* its name */
  size_t queue_bytes;   /* most that waits; 0: 64 MiB */
  size_t batch_bytes;   /* most of one request; 0: 512 KiB */
  long flush_ms;        /* a row waits so long for others; 0: 1000 */
  long timeout_ms;      /* of one request; 0: 10000 */
  long retry_ms;        /* a batch is sent again for so long; 0: 300000 */
};

struct orch_client_stats {
  unsigned long long queued;  /* lines taken from the caller */
  unsigned long long sent;    /* stored: the server has said so */
  unsigned long long refused; /* lines that the server named as none, or batches that it would not have */
  unsigned long long dropped; /* never stored: no room, too long, or nobody answered for retry_ms */
  unsigned long long retries;
  unsigned long long waiting; /* queued or under way */
  char last_error[200];
};

struct orch_client;
/* Copies the options. NULL when there is no memory, no thread, or a text is missing. */
struct orch_client *orch_client_new(const struct orch_client_options *options);
/* Sends what is queued, for at most so long, and frees the client. True when nothing was dropped by that. No other
 * thread may use it any more. */
bool orch_client_close(struct orch_client *client, long timeout_ms);
/* Waits until everything queued so far was answered or given up; false when that takes longer. */
bool orch_client_flush(struct orch_client *client, long timeout_ms);
void orch_client_get_stats(struct orch_client *client, struct orch_client_stats *ret);

/* A row that is being built: a flat JSON object, whose keys may have dots. Beyond ORCH_ROW_MAX bytes it is no row. */
#define ORCH_ROW_MAX 65535
struct orch_row {
  size_t len;
  bool failed;
  char text[ORCH_ROW_MAX + 1];
};
void orch_row_begin(struct orch_row *row);
void orch_row_number(struct orch_row *row, const char *key, double value); /* NaN and infinity are kept as such */
void orch_row_text(struct orch_row *row, const char *key, const char *utf8);
void orch_row_bool(struct orch_row *row, const char *key, bool value);
void orch_row_null(struct orch_row *row, const char *key);

/* False: dropped and counted. */
bool orch_client_row(struct orch_client *client, struct orch_row *row);
/* The same for a row that is JSON already: one object, no line feeds; the server checks it. */
bool orch_client_json(struct orch_client *client, const char *json, size_t len);
/* What was true for the row with this id, as a text or a number; `at` (RFC 3339) may be NULL. */
bool orch_client_label(struct orch_client *client, const char *id, const char *label, const char *at);
bool orch_client_label_number(struct orch_client *client, const char *id, double label, const char *at);

#ifdef __cplusplus
}
#endif
#endif

#ifdef ORCH_CLIENT_IMPLEMENTATION

#include <curl/curl.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef ORCH_CLIENT_GZIP
#include <zlib.h>
#endif

enum orch_kind_ { ORCH_ROWS_, ORCH_LABELS_, ORCH_KINDS_ };

struct orch_batch_ {
  struct orch_batch_ *next;
  size_t len, size;
  unsigned long long lines;
  char bytes[];
};

struct orch_client {
  char *url[ORCH_KINDS_], *authorization;
  size_t queue_bytes, batch_bytes;
  long flush_ms, timeout_ms, retry_ms;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed; /* for the thread and for those who flush */
  struct orch_batch_ *first[ORCH_KINDS_], *last[ORCH_KINDS_];
  size_t bytes; /* queued or under way */
  struct orch_client_stats stats;
  bool flush, closing;
  long long oldest_ms, end_ms; /* when the oldest line came (0: none); when closing ends */
  unsigned long long keys;
  unsigned char salt[16];
};

static long long orch_now_ms_(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits on `changed`, for at most so long. */
static void orch_wait_(struct orch_client *c, long long ms) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += (time_t)(ms / 1000);
  until.tv_nsec += (long)(ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_cond_timedwait(&c->changed, &c->lock, &until);
}

static void orch_say_(struct orch_client *c, const char *what, const char *why, size_t len) {
  if (len > 120) len = 120;
  snprintf(c->stats.last_error, sizeof c->stats.last_error, "%s: %.*s", what, (int)len, why);
}

/* ---- rows ---- */

static void orch_put_(struct orch_row *row, const char *bytes, size_t len) {
  if (row->failed || len > ORCH_ROW_MAX - row->len) {
    row->failed = true;
    return;
  }
  memcpy(row->text + row->len, bytes, len);
  row->len += len;
  row->text[row->len] = 0;
}

static void orch_put_string_(struct orch_row *row, const char *text) {
  orch_put_(row, "\"", 1);
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    char escape[8];
    if (c == '"' || c == '\\')
      snprintf(escape, sizeof escape, "\\%c", c);
    else if (c < 0x20)
      snprintf(escape, sizeof escape, "\\u%04x", c);
    else
      snprintf(escape, sizeof escape, "%c", c);
    orch_put_(row, escape, strlen(escape));
  }
  orch_put_(row, "\"", 1);
}

static void orch_put_key_(struct orch_row *row, const char *key) {
  if (row->len > 1) orch_put_(row, ",", 1);
  orch_put_string_(row, key);
  orch_put_(row, ":", 1);
}

void orch_row_begin(struct orch_row *row) {
  row->len = 0;
  row->failed = false;
  orch_put_(row, "{", 1);
}

void orch_row_number(struct orch_row *row, const char *key, double value) {
  char text[40];
  orch_put_key_(row, key);
  if (isfinite(value)) {
    snprintf(text, sizeof text, "%.17g", value);
    for (char *p = text; *p; p++)
      if (*p == ',') *p = '.'; /* some locales */
  } else {
    snprintf(text, sizeof text, "%s", isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
  }
  orch_put_(row, text, strlen(text));
}

void orch_row_text(struct orch_row *row, const char *key, const char *utf8) {
  orch_put_key_(row, key);
  orch_put_string_(row, utf8);
}

void orch_row_bool(struct orch_row *row, const char *key, bool value) {
  orch_put_key_(row, key);
  orch_put_(row, value ? "true" : "false", value ? 4 : 5);
}

void orch_row_null(struct orch_row *row, const char *key) {
  orch_put_key_(row, key);
  orch_put_(row, "null", 4);
}

/* ---- the queue ---- */

/* A batch with room for so many bytes, at the end of its queue; NULL when there is no memory. Under the lock. */
static struct orch_batch_ *orch_room_(struct orch_client *c, enum orch_kind_ kind, size_t len) {
  struct orch_batch_ *batch = c->last[kind];
  if (batch && len <= batch->size - batch->len) return batch;
  size_t size = len > c->batch_bytes ? len : c->batch_bytes;
  batch = (struct orch_batch_ *)malloc(sizeof *batch + size);
  if (!batch) return NULL;
  batch->next = NULL;
  batch->len = 0;
  batch->size = size;
  batch->lines = 0;
  if (c->last[kind])
    c->last[kind]->next = batch;
  else
    c->first[kind] = batch;
  c->last[kind] = batch;
  return batch;
}

static bool orch_add_(struct orch_client *c, enum orch_kind_ kind, const char *line, size_t len, bool fine) {
  pthread_mutex_lock(&c->lock);
  fine = fine && len > 2 && len <= ORCH_ROW_MAX && !c->closing && len + 1 <= c->queue_bytes - c->bytes;
  struct orch_batch_ *batch = fine ? orch_room_(c, kind, len + 1) : NULL;
  if (batch) {
    memcpy(batch->bytes + batch->len, line, len);
    batch->bytes[batch->len + len] = '\n';
    batch->len += len + 1;
    batch->lines++;
    c->bytes += len + 1;
    c->stats.queued++;
    if (c->stats.waiting++ == 0) c->oldest_ms = orch_now_ms_();
    if (c->stats.waiting == 1 || (batch->lines == 1 && batch != c->first[kind])) pthread_cond_broadcast(&c->changed);
  } else {
    c->stats.dropped++;
  }
  pthread_mutex_unlock(&c->lock);
  return batch != NULL;
}

bool orch_client_json(struct orch_client *c, const char *json, size_t len) {
  return orch_add_(c, ORCH_ROWS_, json, len, memchr(json, '\n', len) == NULL);
}

bool orch_client_row(struct orch_client *c, struct orch_row *row) {
  orch_put_(row, "}", 1);
  return orch_add_(c, ORCH_ROWS_, row->text, row->len, !row->failed);
}

static bool orch_label_(struct orch_client *c, struct orch_row *row, const char *at) {
  if (at) orch_row_text(row, "at", at);
  orch_put_(row, "}", 1);
  bool taken = orch_add_(c, ORCH_LABELS_, row->text, row->len, !row->failed);
  free(row);
  return taken;
}

static struct orch_row *orch_label_row_(const char *id) {
  struct orch_row *row = (struct orch_row *)malloc(sizeof *row);
  if (!row) return NULL;
  orch_row_begin(row);
  orch_row_text(row, "id", id);
  return row;
}

bool orch_client_label(struct orch_client *c, const char *id, const char *label, const char *at) {
  struct orch_row *row = orch_label_row_(id);
  if (!row) return orch_add_(c, ORCH_LABELS_, "", 0, false);
  orch_row_text(row, "label", label);
  return orch_label_(c, row, at);
}

bool orch_client_label_number(struct orch_client *c, const char *id, double label, const char *at) {
  struct orch_row *row = orch_label_row_(id);
  if (!row) return orch_add_(c, ORCH_LABELS_, "", 0, false);
  orch_row_number(row, "label", label);
  return orch_label_(c, row, at);
}

void orch_client_get_stats(struct orch_client *c, struct orch_client_stats *ret) {
  pthread_mutex_lock(&c->lock);
  *ret = c->stats;
  pthread_mutex_unlock(&c->lock);
}

bool orch_client_flush(struct orch_client *c, long timeout_ms) {
  long long end = orch_now_ms_() + timeout_ms;
  pthread_mutex_lock(&c->lock);
  c->flush = true;
  pthread_cond_broadcast(&c->changed);
  while (c->stats.waiting && orch_now_ms_() < end) orch_wait_(c, end - orch_now_ms_());
  bool done = c->stats.waiting == 0;
  pthread_mutex_unlock(&c->lock);
  return done;
}

/* ---- the thread ---- */

struct orch_answer_ {
  size_t len;
  char text[4096]; /* the beginning is enough: the counts of refused lines are looked for, and reasons shown */
  char tail[256];  /* and the end, where "rejected_count" stands */
  size_t tail_len;
};

static size_t orch_take_answer_(char *bytes, size_t one, size_t n, void *arg) {
  struct orch_answer_ *answer = (struct orch_answer_ *)arg;
  size_t len = one * n, head = sizeof answer->text - 1 - answer->len;
  if (head > len) head = len;
  memcpy(answer->text + answer->len, bytes, head);
  answer->len += head;
  answer->text[answer->len] = 0;
  for (size_t i = 0; i < len; i++) {
    if (answer->tail_len == sizeof answer->tail - 1) memmove(answer->tail, answer->tail + 1, --answer->tail_len);
    answer->tail[answer->tail_len++] = bytes[i];
  }
  answer->tail[answer->tail_len] = 0;
  return len;
}

#ifdef ORCH_CLIENT_GZIP
/* NULL: send it as it is. */
static char *orch_pack_(const struct orch_batch_ *batch, size_t *ret_len) {
  z_stream z;
  memset(&z, 0, sizeof z);
  if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return NULL;
  size_t size = deflateBound(&z, (uLong)batch->len);
  char *packed = (char *)malloc(size);
  z.next_in = (unsigned char *)batch->bytes;
  z.avail_in = (uInt)batch->len;
  z.next_out = (unsigned char *)packed;
  z.avail_out = (uInt)size;
  bool fine = packed && deflate(&z, Z_FINISH) == Z_STREAM_END;
  *ret_len = (size_t)z.total_out;
  deflateEnd(&z);
  if (fine) return packed;
  free(packed);
  return NULL;
}
#endif

/* One request. The HTTP status, or 0 when nobody answered. */
static long orch_post_(struct orch_client *c, CURL *curl, enum orch_kind_ kind, const struct orch_batch_ *batch,
                       unsigned long long key, struct orch_answer_ *answer, char *why) {
  char line[96];
  long status = 0, timeout_ms = c->timeout_ms;
  size_t len = batch->len;
  const char *body = batch->bytes;
  struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/x-ndjson");
  int at = snprintf(line, sizeof line, "Idempotency-Key: ");
  for (size_t i = 0; i < sizeof c->salt; i++) at += snprintf(line + at, sizeof line - (size_t)at, "%02x", c->salt[i]);
  snprintf(line + at, sizeof line - (size_t)at, "-%llu", key);
  headers = curl_slist_append(headers, line);
  headers = curl_slist_append(headers, c->authorization);
  headers = curl_slist_append(headers, "Expect:");
#ifdef ORCH_CLIENT_GZIP
  char *packed = orch_pack_(batch, &len);
  if (packed) {
    body = packed;
    headers = curl_slist_append(headers, "Content-Encoding: gzip");
  } else {
    len = batch->len;
  }
#endif
  pthread_mutex_lock(&c->lock);
  if (c->closing && c->end_ms - orch_now_ms_() < timeout_ms) timeout_ms = (long)(c->end_ms - orch_now_ms_());
  pthread_mutex_unlock(&c->lock);
  if (timeout_ms < 50) timeout_ms = 50;
  answer->len = answer->tail_len = 0;
  answer->text[0] = answer->tail[0] = why[0] = 0;
  curl_easy_setopt(curl, CURLOPT_URL, c->url[kind]);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, orch_take_answer_);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "orch-client-c/1.0");
  CURLcode code = curl_easy_perform(curl);
  if (code == CURLE_OK)
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  else
    snprintf(why, CURL_ERROR_SIZE, "%s", curl_easy_strerror(code));
  curl_slist_free_all(headers);
#ifdef ORCH_CLIENT_GZIP
  free(packed);
#endif
  return status;
}

/* What the answer says about the batch's lines. */
static void orch_count_(struct orch_client *c, const struct orch_batch_ *batch, long status,
                        const struct orch_answer_ *answer) {
  const char *refused = strstr(answer->tail, "\"rejected_count\":"), *error = strstr(answer->text, "\"error\":");
  unsigned long long n = status == 202 ? 0 : batch->lines;
  if (status == 202 && refused) n = strtoull(refused + strlen("\"rejected_count\":"), NULL, 10);
  if (n > batch->lines) n = batch->lines;
  c->stats.refused += n;
  c->stats.sent += batch->lines - n;
  if (status != 202)
    orch_say_(c, "a batch was refused", answer->text, answer->len);
  else if (n)
    orch_say_(c, "a line was refused", error ? error + 8 : "?", error ? strlen(error + 8) : 1);
}

/* Sends until it was answered or its time is over. */
static void orch_deliver_(struct orch_client *c, CURL *curl, enum orch_kind_ kind, const struct orch_batch_ *batch) {
  struct orch_answer_ answer;
  char why[CURL_ERROR_SIZE];
  unsigned long long key = c->keys++;
  long long give_up = orch_now_ms_() + c->retry_ms, pause_ms = 100;
  for (;;) {
    pthread_mutex_lock(&c->lock);
    bool over = c->closing && orch_now_ms_() >= c->end_ms;
    if (over) c->stats.dropped += batch->lines;
    pthread_mutex_unlock(&c->lock);
    if (over) return;
    long status = orch_post_(c, curl, kind, batch, key, &answer, why);
    /* 409 is a refusal, unless the pipeline changed while the rows came in. */
    bool again = status == 0 || status == 408 || status == 425 || status == 429 || status >= 500 ||
                 (status == 409 && strstr(answer.text, "problem:conflict"));
    pthread_mutex_lock(&c->lock);
    long long now = orch_now_ms_(), end = c->closing && c->end_ms < give_up ? c->end_ms : give_up;
    if (!again) {
      orch_count_(c, batch, status, &answer);
    } else if (now + pause_ms >= end) {
      c->stats.dropped += batch->lines;
      orch_say_(c, "a batch was dropped", status ? answer.text : why, status ? answer.len : strlen(why));
    } else {
      c->stats.retries++;
      orch_say_(c, "a batch waits to be sent again", status ? answer.text : why, status ? answer.len : strlen(why));
      bool was_closing = c->closing;
      while (c->closing == was_closing && orch_now_ms_() < now + pause_ms)
        orch_wait_(c, now + pause_ms - orch_now_ms_());
      if (pause_ms < 15000) pause_ms = c->closing ? 200 : pause_ms * 2;
      pthread_mutex_unlock(&c->lock);
      continue;
    }
    pthread_mutex_unlock(&c->lock);
    return;
  }
}

/* The next batch to send, rows before labels (then a label finds its row); NULL at the end. Under the lock. */
static struct orch_batch_ *orch_next_(struct orch_client *c, enum orch_kind_ *ret_kind) {
  for (;;) {
    bool due = c->flush || c->closing || (c->oldest_ms && orch_now_ms_() - c->oldest_ms >= c->flush_ms);
    for (int kind = 0; kind < ORCH_KINDS_; kind++) {
      struct orch_batch_ *batch = c->first[kind];
      if (!batch || (!due && !batch->next)) continue;
      c->first[kind] = batch->next;
      if (!batch->next) c->last[kind] = NULL;
      *ret_kind = (enum orch_kind_)kind;
      return batch;
    }
    if (c->closing) return NULL;
    long long left = c->oldest_ms ? c->oldest_ms + c->flush_ms - orch_now_ms_() : 3600000;
    orch_wait_(c, left > 0 ? left : 0);
  }
}

static void *orch_run_(void *arg) {
  struct orch_client *c = (struct orch_client *)arg;
  CURL *curl = curl_easy_init();
  enum orch_kind_ kind;
  pthread_mutex_lock(&c->lock);
  for (struct orch_batch_ *batch; (batch = orch_next_(c, &kind));) {
    pthread_mutex_unlock(&c->lock);
    if (curl) orch_deliver_(c, curl, kind, batch);
    pthread_mutex_lock(&c->lock);
    if (!curl) c->stats.dropped += batch->lines;
    c->bytes -= batch->len;
    c->stats.waiting -= batch->lines;
    c->oldest_ms = c->stats.waiting ? orch_now_ms_() : 0;
    c->flush = c->flush && c->stats.waiting;
    free(batch);
    pthread_cond_broadcast(&c->changed);
  }
  pthread_mutex_unlock(&c->lock);
  curl_easy_cleanup(curl);
  return NULL;
}

/* ---- life ---- */

static char *orch_text_(const char *a, const char *b, const char *d, const char *e) {
  size_t len = strlen(a) + strlen(b) + strlen(d) + strlen(e) + 1;
  char *text = (char *)malloc(len);
  if (text) snprintf(text, len, "%s%s%s%s", a, b, d, e);
  return text;
}

static void orch_free_(struct orch_client *c) {
  for (int kind = 0; kind < ORCH_KINDS_; kind++) free(c->url[kind]);
  free(c->authorization);
  free(c);
}

static bool orch_salt_(unsigned char *salt, size_t len) {
  FILE *file = fopen("/dev/urandom", "rb");
  bool fine = file && fread(salt, 1, len, file) == len;
  if (file) fclose(file);
  return fine;
}

struct orch_client *orch_client_new(const struct orch_client_options *o) {
  pthread_condattr_t monotonic;
  struct orch_client *c = o->url && o->token && o->pipeline ? (struct orch_client *)calloc(1, sizeof *c) : NULL;
  if (!c) return NULL;
  c->queue_bytes = o->queue_bytes ? o->queue_bytes : (size_t)64 * 1024 * 1024;
  c->batch_bytes = o->batch_bytes ? o->batch_bytes : (size_t)512 * 1024;
  c->flush_ms = o->flush_ms ? o->flush_ms : 1000;
  c->timeout_ms = o->timeout_ms ? o->timeout_ms : 10000;
  c->retry_ms = o->retry_ms ? o->retry_ms : 300000;
  c->url[ORCH_ROWS_] = orch_text_(o->url, "/v1/pipelines/", o->pipeline, "/observations");
  c->url[ORCH_LABELS_] = orch_text_(o->url, "/v1/pipelines/", o->pipeline, "/labels");
  c->authorization = orch_text_("Authorization: Bearer ", o->token, "", "");
  pthread_mutex_init(&c->lock, NULL);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&c->changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  if (c->url[ORCH_ROWS_] && c->url[ORCH_LABELS_] && c->authorization && orch_salt_(c->salt, sizeof c->salt) &&
      pthread_create(&c->thread, NULL, orch_run_, c) == 0)
    return c;
  orch_free_(c);
  return NULL;
}

bool orch_client_close(struct orch_client *c, long timeout_ms) {
  if (!c) return true;
  pthread_mutex_lock(&c->lock);
  unsigned long long dropped = c->stats.dropped;
  c->closing = true;
  c->end_ms = orch_now_ms_() + timeout_ms;
  pthread_cond_broadcast(&c->changed);
  pthread_mutex_unlock(&c->lock);
  pthread_join(c->thread, NULL);
  bool all = c->stats.dropped == dropped;
  pthread_cond_destroy(&c->changed);
  pthread_mutex_destroy(&c->lock);
  orch_free_(c);
  return all;
}

#endif
