/* What all kinds of monitors say alike: how often a window has hit, episodes of signals, times and numbers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "trigger/monitor_private.h"
#include "trigger/signal_in.h"

/* ---- documents ---- */

json_t *json_number(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

json_t *json_numbers(const double *values, size_t n) {
  json_t *array = json_array();
  for (size_t i = 0; i < n; i++) json_array_append_new(array, json_number(values[i]));
  return array;
}

const char *window_verdict_name(enum window_verdict verdict) {
  static const char *const names[] = {"ok", "drift", "fault", "alarm", "insufficient", "warming"};
  return names[verdict];
}

void window_words(const struct window *w, struct strbuf *out) {
  char from[CLOCK_RFC3339_SIZE], to[CLOCK_RFC3339_SIZE];
  if (!w->span.by_time) {
    strbuf_printf(out, "rows %lld to %lld", (long long)w->span.from_row, (long long)w->span.to_row - 1);
    return;
  }
  clock_format_rfc3339(w->span.from_us, from);
  clock_format_rfc3339(w->span.to_us, to);
  strbuf_printf(out, "%.16s to %.16s", from, to);
}

void window_begin_text(const struct window *w, char out[CLOCK_RFC3339_SIZE]) {
  out[0] = 0;
  if (w->has_times)
    clock_format_rfc3339(w->oldest_us, out);
  else if (w->span.by_time)
    clock_format_rfc3339(w->span.from_us, out);
}

/* ---- hits of the last windows ---- */

static void copy_text(char *out, size_t size, const json_t *text) {
  snprintf(out, size, "%s", json_is_string(text) ? json_string_value(text) : "");
}

static uint64_t bits_of(const json_t *number) {
  return json_is_integer(number) ? (uint64_t)json_integer_value(number) : 0;
}

void window_run_step(struct monitor *m, const struct window *w, const char *key, bool hit, struct window_run *ret) {
  const json_t *old = json_object_get(m->state, key);
  /* Bit 0 is this window, bit 1 the one before. */
  uint64_t hits = bits_of(json_object_get(old, "hits")) << 1 | hit;
  unsigned judged = (unsigned)bits_of(json_object_get(old, "n")) + 1;
  const json_t *since = json_object_get(old, "since_row");
  *ret = (struct window_run){.since_row = json_is_integer(since) ? json_integer_value(since) : -1};
  copy_text(ret->since_at, sizeof ret->since_at, json_object_get(old, "since_at"));
  if (judged > m->of) judged = m->of;
  if (m->of < 64) hits &= (1ULL << m->of) - 1;
  ret->judged = judged;
  ret->hits = (unsigned)__builtin_popcountll(hits);
  ret->fires = ret->hits >= m->hits;
  /* A run ends where so many misses lie in a row that no window of `of` could reach across them. */
  unsigned gap = hits ? (unsigned)__builtin_ctzll(hits) : m->of;
  if (gap > m->of - m->hits) {
    ret->since_row = -1;
    ret->since_at[0] = 0;
  } else if (hit && ret->since_row < 0) {
    ret->since_row = w->span.from_row;
    window_begin_text(w, ret->since_at);
  }
  json_t *now = json_pack("{sI sI}", "hits", (json_int_t)(hits & INT64_MAX), "n", (json_int_t)judged);
  if (ret->since_row >= 0) json_object_set_new(now, "since_row", json_integer(ret->since_row));
  if (*ret->since_at) json_object_set_new(now, "since_at", json_string(ret->since_at));
  json_object_set_new(m->state, key, now);
}

/* ---- signals ---- */

static json_t *signal_detail(const struct monitor *m, const struct window *w, const struct window_said *said) {
  char at[CLOCK_RFC3339_SIZE];
  json_t *window = json_pack("{sI sI sI sI}", "number", (json_int_t)w->number, "from_row", (json_int_t)w->span.from_row,
                             "to_row", (json_int_t)w->span.to_row, "rows", (json_int_t)w->rows);
  if (w->span.by_time) {
    clock_format_rfc3339(w->span.from_us, at);
    json_object_set_new(window, "from_at", json_string(at));
    clock_format_rfc3339(w->span.to_us, at);
    json_object_set_new(window, "to_at", json_string(at));
  }
  return json_pack("{ss ss si so so so}", "monitor", m->name, "kind", m->kind->name, "champion", m->champion, "window",
                   window, "value", json_number(said->value), "threshold", json_number(said->threshold));
}

/* What tells a monitor's signals apart: the kind, and the version that it is about. */
static void voice_key(const struct window_voice *voice, char *out, size_t size) {
  if (voice->version)
    snprintf(out, size, "%s/%d", voice->signal, voice->version);
  else
    snprintf(out, size, "%s", voice->signal);
}

static void push_signal(struct monitor *m, const struct window *w, const struct window_said *said,
                        const struct window_voice *voice, bool firing, json_t *episode) {
  char key[60];
  voice_key(voice, key, sizeof key);
  json_t *signal = json_pack("{s:s+ s:s s:s++ s:s s:s s:s*}", "source", "monitor:", m->name, "kind", voice->signal,
                             "fingerprint", m->name, "/", key, "status", firing ? "firing" : "resolved", "title",
                             firing ? voice->title : voice->over, "then", voice->version ? "tell" : m->then);
  if (!signal) return; /* a text that is no UTF-8, which jansson never hands out */
  json_t *name = json_object_get(episode, "episode");
  if (name) json_object_set(signal, "episode", name);
  if (w->has_times || w->span.by_time) {
    char at[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(w->has_times ? w->newest_us : w->span.to_us, at);
    json_object_set_new(signal, "at", json_string(at));
  }
  json_t *detail = signal_detail(m, w, said);
  if (firing) {
    json_object_set(detail, "since_row", json_object_get(episode, "since_row"));
    if (json_object_get(episode, "since_at")) json_object_set(detail, "since_at", json_object_get(episode, "since_at"));
    /* A canary's value stands before the champion's. */
    if (voice->detail) (void)(voice->version ? json_object_update : json_object_update_missing)(detail, voice->detail);
  }
  json_object_set_new(signal, "detail", detail);
  json_array_append_new(m->signals, signal);
}

static json_t *episode_new(const struct monitor *m, const struct window_voice *voice) {
  char source[128], fingerprint[180], start[80], episode[DIGEST_TEXT_SIZE], key[60];
  voice_key(voice, key, sizeof key);
  snprintf(source, sizeof source, "monitor:%.100s", m->name);
  snprintf(fingerprint, sizeof fingerprint, "%.100s/%s", m->name, key);
  snprintf(start, sizeof start, "%d|%lld", m->champion, (long long)voice->since_row);
  signal_episode(source, fingerprint, start, episode);
  json_t *now = json_pack("{ss sI}", "episode", episode, "since_row", (json_int_t)voice->since_row);
  if (voice->since_at && *voice->since_at) json_object_set_new(now, "since_at", json_string(voice->since_at));
  return now;
}

void window_speak(struct monitor *m, const struct window *w, const struct window_said *said,
                  struct window_voice voice) {
  json_t *episodes = json_object_get(m->state, "firing");
  if (!episodes) {
    episodes = json_object();
    json_object_set_new(m->state, "firing", episodes);
  }
  char key[60];
  voice_key(&voice, key, sizeof key);
  json_t *was = json_object_get(episodes, key);
  if (voice.fires) {
    if (!was) {
      was = episode_new(m, &voice);
      json_object_set_new(episodes, key, was);
    }
    push_signal(m, w, said, &voice, true, was);
  } else if (voice.healthy) {
    /* The first window against a champion also ends what fired against the one before; canaries end with it. */
    if (was || (m->fresh && voice.version == 0)) push_signal(m, w, said, &voice, false, was);
    json_object_del(episodes, key);
  }
  json_decref(voice.detail);
}

/* ---- kinds that judge a window as a whole ---- */

void window_too_few(const struct monitor *m, struct window_said *said, int64_t have, const char *what) {
  said->verdict = WINDOW_INSUFFICIENT;
  strbuf_printf(&said->summary, ": %lld %s, at least %lld are needed", (long long)have, what, (long long)m->min_rows);
}

void window_conclude(struct monitor *m, const struct window *w, struct window_said *said, struct window_alarm a) {
  struct window_run run;
  window_run_step(m, w, "run", a.hit, &run);
  bool fires = run.fires || a.forced;
  said->verdict = fires ? a.alarm : WINDOW_OK;
  strbuf_printf(&said->summary, ": %s", a.words);
  if (a.hit && !fires) strbuf_printf(&said->summary, " (in %u of the %u windows needed)", run.hits, m->hits);
  char since_at[CLOCK_RFC3339_SIZE];
  int64_t since_row = run.since_row >= 0 ? run.since_row : w->span.from_row;
  if (run.since_row >= 0)
    memcpy(since_at, run.since_at, sizeof since_at);
  else
    window_begin_text(w, since_at);
  struct strbuf title;
  strbuf_init(&title, 900);
  strbuf_printf(&title, "%s, since row %lld", a.words, (long long)since_row);
  if (*since_at) strbuf_printf(&title, " (%.10s)", since_at);
  window_speak(m, w, said,
               (struct window_voice){.signal = m->kind->signal,
                                     .fires = fires,
                                     .healthy = !fires,
                                     .since_row = since_row,
                                     .since_at = since_at,
                                     .title = title.failed ? m->kind->signal : strbuf_text(&title),
                                     .over = a.over,
                                     .detail = a.detail});
  strbuf_fini(&title);
}
