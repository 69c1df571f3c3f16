/* What monitor.c and the kinds of monitors (window_KIND.c) share. */
#ifndef ORCH_TRIGGER_MONITOR_PRIVATE_H
#define ORCH_TRIGGER_MONITOR_PRIVATE_H

#include "base/clock.h"
#include "base/digest.h"
#include "base/strbuf.h"
#include "trigger/monitor.h"

#define WINDOW_COLUMNS_SAID 20 /* columns that a signal names in full */
#define WINDOW_VERSIONS_MAX 4  /* other versions that are judged apart in one window; of more, rows are only counted */
#define WINDOW_OF_MAX 64

enum window_verdict { WINDOW_OK, WINDOW_DRIFT, WINDOW_FAULT, WINDOW_ALARM, WINDOW_INSUFFICIENT, WINDOW_WARMING };

/* What a kind says of one window. */
struct window_said {
  enum window_verdict verdict;
  bool held;
  double value, threshold; /* NaN: none */
  struct strbuf summary;
};

struct window {
  struct monitor *monitor;
  struct window_span span;
  int64_t rows, first_row, last_row; /* rows taken and the numbers of the outermost */
  bool has_times;
  int64_t oldest_us, newest_us;
  int64_t number;
  void *acc; /* the kind's */
  /* Rows of versions other than the champion. */
  struct window_version {
    int version;
    int64_t rows;
    void *acc;
  } versions[WINDOW_VERSIONS_MAX];
  size_t n_versions;
  int64_t champion_rows;
  int64_t beyond; /* rows of versions that found no place */
};

/* A kind of monitor. An accumulator holds the rows of one version within one window. */
struct window_kind {
  const char *name;
  const char *signal; /* kind of what it fires */
  /* Reads the kind's part of spec and state; may set monitor->own. */
  bool (*prepare)(struct monitor *monitor, struct wanted *wanted, struct err *err);
  void (*release)(struct monitor *monitor); /* own; also after a prepare that failed */
  void *(*open)(struct monitor *monitor);
  void (*drop)(struct monitor *monitor, void *acc);
  size_t (*bytes)(const struct monitor *monitor); /* of one accumulator */
  /* `champion`: the row is the champion's; rows come in the order of their numbers. */
  void (*add)(struct monitor *monitor, void *acc, const struct monitor_row *row, bool champion);
  /* Judges: fills `said`, adds members to the result, moves the state, adds signals. */
  void (*judge)(struct monitor *monitor, struct window *window, json_t *result, struct window_said *said);
};
extern const struct window_kind window_kind_drift, window_kind_prediction_drift, window_kind_quality,
    window_kind_performance, window_kind_estimate, window_kind_latency;

struct monitor {
  const struct window_kind *kind;
  json_t *spec, *state, *keys, *metrics;
  json_t *signals;
  const char *name, *then;
  const struct profile *profile;
  int champion;
  int64_t number, warm_row, warm_us;
  int64_t min_rows;
  unsigned hits, of;
  bool fresh; /* no window has been judged against this champion and this rule yet */
  void *own;  /* the kind's */
};

/* Numbers of the spec. */
double spec_number(const struct monitor *monitor, const char *key, double otherwise);
/* The name of a reserved key: "prediction", "score", …; never NULL. */
const char *monitor_key(const struct monitor *monitor, const char *key);
bool monitor_key_is_reserved(const struct monitor *monitor, const char *name);

/* ---- "in `hits` of the last `of` windows that could be judged", for kinds that judge a window as a whole ---- */

struct window_run {
  unsigned hits, judged; /* among the last `of`, this one included */
  bool fires;
  int64_t since_row; /* the first window of this run of hits; -1 without one */
  char since_at[CLOCK_RFC3339_SIZE];
};
/* Takes this window into state[key] and says how it stands. */
void window_run_step(struct monitor *monitor, const struct window *window, const char *key, bool hit,
                     struct window_run *ret);

/* What a kind that judges a window as a whole ends with: takes `hit` into the run, sets the verdict to `alarm` once it
 * fires, writes "…: WORDS" into the summary and speaks of it. `forced` fires whatever the run says. */
struct window_alarm {
  enum window_verdict alarm;
  bool hit, forced;
  const char *words; /* "accuracy 0.71, at least 0.75" */
  const char *over;  /* title when it is over */
  json_t *detail;    /* stolen; may be NULL */
};
void window_conclude(struct monitor *monitor, const struct window *window, struct window_said *said,
                     struct window_alarm alarm);
/* Too few values to judge: sets the verdict and the summary. */
void window_too_few(const struct monitor *monitor, struct window_said *said, int64_t have, const char *what);

/* ---- signals ---- */

struct window_voice {
  const char *signal; /* kind of the signal: "drift", "data_fault", … */
  int version;        /* of a canary that it is about; 0: it is about the monitor itself */
  bool fires;         /* this window shows it */
  bool healthy;       /* this window shows that it is over; neither: it stays as it is */
  int64_t since_row;
  const char *since_at; /* "" when unknown */
  const char *title;    /* when it fires */
  const char *over;     /* when it is over */
  json_t *detail;       /* members for the signal's detail when it fires; stolen */
};
/* Moves one kind of signal on by this window, and says so: a window that fires begins an episode or repeats it, the
 * first healthy one ends it. */
void window_speak(struct monitor *monitor, const struct window *window, const struct window_said *said,
                  struct window_voice voice);

/* ---- other versions than the champion ---- */

/* What a kind says of one of them. */
struct window_version_said {
  bool enough;       /* it and the champion's rows could be compared */
  bool differs;      /* it is worse, or other, than the champion's rows of the same window */
  const char *words; /* "x: PSI 0.45", when it differs */
  json_t *detail;    /* members for the signal's detail; stolen; may be NULL */
};
/* Moves w->versions[index] on by this window, by the monitor's `for`, and speaks of it: kind "canary", NAME/canary/4.
 */
void window_version_judge(struct monitor *monitor, const struct window *window, const struct window_said *said,
                          size_t index, struct window_version_said version);
/* Forgets versions that had no row in as many windows as `for` looks at, and ends what was said of them. */
void window_versions_end(struct monitor *monitor, const struct window *window, const struct window_said *said);

/* For kinds with one value and a line that it must keep to: a version differs when it is beyond the line and the
 * champion is not. Judges each, and writes "versions" into the result. */
struct window_line {
  double (*value)(const struct monitor *, void *acc);
  int64_t (*count)(const void *acc); /* what min_rows asks for */
  double limit;
  bool at_least;
  const char *what, *unit; /* "accuracy", "" */
};
void window_judge_versions(struct monitor *monitor, const struct window *window, json_t *result,
                           const struct window_said *said, struct window_line line);
/* "versions" of a result (stolen), when there are any, and the rows of those that found no place. */
void window_put_versions(const struct window *window, json_t *result, json_t *versions);

/* ---- documents ---- */

json_t *json_number(double value); /* null when not finite */
json_t *json_numbers(const double *values, size_t n);
const char *window_verdict_name(enum window_verdict verdict);
/* "rows 500 to 749" or "2026-01-05T00:00:00.000Z to 2026-01-06T00:00:00.000Z". */
void window_words(const struct window *window, struct strbuf *out);
/* When the window began, for "since": what its rows say, or its time; "" when nobody knows. */
void window_begin_text(const struct window *window, char out[CLOCK_RFC3339_SIZE]);

#endif
