/* Other versions than the champion (canaries): judged apart, against the champion's rows of the same windows. One that
 * differs in as many windows as the rule asks for is told to people; it is no reason to retrain. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "trigger/monitor_private.h"

#define MEMORY "version " /* keys of the state: "version 4", as window_run_step() keeps it, and "gone" */

void window_version_judge(struct monitor *m, const struct window *w, const struct window_said *said, size_t index,
                          struct window_version_said version) {
  int number = w->versions[index].version;
  struct window_run run;
  struct strbuf title;
  char key[40], since_at[CLOCK_RFC3339_SIZE], over[200];
  snprintf(key, sizeof key, MEMORY "%d", number);
  if (!version.enough) {
    json_object_del(json_object_get(m->state, key), "gone"); /* it is there */
    json_decref(version.detail);
    return;
  }
  window_run_step(m, w, key, version.differs, &run);
  int64_t since_row = run.since_row >= 0 ? run.since_row : w->span.from_row;
  if (run.since_row >= 0)
    memcpy(since_at, run.since_at, sizeof since_at);
  else
    window_begin_text(w, since_at);
  strbuf_init(&title, 900);
  strbuf_printf(&title, "version %d differs from the champion (version %d)%s%s, since row %lld", number, m->champion,
                version.differs ? ": " : ", though not in the newest window", version.differs ? version.words : "",
                (long long)since_row);
  if (*since_at) strbuf_printf(&title, " (%.10s)", since_at);
  snprintf(over, sizeof over, "%.100s: version %d is like the champion again", m->name, number);
  if (!version.detail) version.detail = json_object();
  json_object_set_new(version.detail, "version", json_integer(number));
  json_object_set_new(version.detail, "rows", json_integer((json_int_t)w->versions[index].rows));
  window_speak(
      m, w, said,
      (struct window_voice){.signal = "canary",
                            .version = number,
                            .fires = run.fires,
                            .healthy = !run.fires,
                            .since_row = since_row,
                            .since_at = since_at,
                            .title = title.failed ? "a version differs from the champion" : strbuf_text(&title),
                            .over = over,
                            .detail = version.detail});
  strbuf_fini(&title);
}

static bool is_here(const struct window *w, int version) {
  for (size_t i = 0; i < w->n_versions; i++)
    if (w->versions[i].version == version) return true;
  return w->beyond > 0; /* nobody knows */
}

void window_versions_end(struct monitor *m, const struct window *w, const struct window_said *said) {
  void *next;
  const char *key;
  json_t *memory;
  json_object_foreach_safe(m->state, next, key, memory) {
    int version = strncmp(key, MEMORY, strlen(MEMORY)) == 0 ? (int)strtol(key + strlen(MEMORY), NULL, 10) : 0;
    if (version == 0 || is_here(w, version)) continue;
    json_int_t gone = json_integer_value(json_object_get(memory, "gone")) + 1;
    json_object_set_new(memory, "gone", json_integer(gone));
    if (gone < (json_int_t)m->of) continue;
    char over[200];
    snprintf(over, sizeof over, "%.100s: version %d answers no more", m->name, version);
    window_speak(m, w, said,
                 (struct window_voice){.signal = "canary", .version = version, .healthy = true, .over = over});
    json_object_del(m->state, key);
  }
}

void window_judge_versions(struct monitor *m, const struct window *w, json_t *result, const struct window_said *said,
                           struct window_line line) {
  json_t *versions = json_array();
  double champion = line.value(m, w->acc);
  bool enough = line.count(w->acc) >= m->min_rows && isfinite(champion);
  bool fine = line.at_least ? champion >= line.limit : champion <= line.limit;
  for (size_t i = 0; i < w->n_versions; i++) {
    void *acc = w->versions[i].acc;
    double value = line.value(m, acc);
    bool beyond = line.at_least ? value < line.limit : value > line.limit;
    char words[200];
    snprintf(words, sizeof words, "%s is %.4g%s, at %s %.4g%s, and the champion's %.4g%s", line.what, value, line.unit,
             line.at_least ? "least" : "most", line.limit, line.unit, champion, line.unit);
    struct window_version_said version = {.enough = enough && isfinite(value) && line.count(acc) >= m->min_rows,
                                          .differs = beyond && fine,
                                          .words = words};
    if (version.enough && version.differs)
      version.detail = json_pack("{so so so}", "value", json_number(value), "threshold", json_number(line.limit),
                                 "champion_value", json_number(champion));
    window_version_judge(m, w, said, i, version);
    json_array_append_new(versions, json_pack("{si sI so}", "version", w->versions[i].version, "rows",
                                              (json_int_t)w->versions[i].rows, "value", json_number(value)));
  }
  window_put_versions(w, result, versions);
}

void window_put_versions(const struct window *w, json_t *result, json_t *versions) {
  if (w->n_versions)
    json_object_set_new(result, "versions", versions);
  else
    json_decref(versions);
  if (w->beyond) json_object_set_new(result, "rows_of_more_versions", json_integer(w->beyond));
}
