#include "chat/slack_evidence.h"

#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/units.h"
#include "chat/slack_text.h"

#define NAME_UNITS 40
#define DATE_LEN 10 /* of an RFC 3339 time */
#define SENTENCE_UNITS 300
#define COMMENT_UNITS 500
#define METRICS_MAX 15
#define SIGNALS_MAX 6
#define COLUMNS_MAX 5
#define ALSO_MAX 4
#define CHECKS_MAX 12
#define SNAPSHOTS_MAX 8
#define RULES_MAX 8
#define VOTES_MAX 10
#define SHORT_DIGEST 12

static const char *text_of(const json_t *object, const char *name) {
  return json_string_value(json_object_get(object, name));
}

static void add_numbered(const json_t *data, const char *member, char *out, size_t size) {
  const char *pipeline = text_of(data, "pipeline");
  json_int_t number = json_integer_value(json_object_get(data, member));
  if (pipeline == NULL || number <= 0)
    snprintf(out, size, "%s", "");
  else
    snprintf(out, size, "%.60s@%lld", pipeline, (long long)number);
}

void slack_evidence_subject(const json_t *data, char *out, size_t size) {
  add_numbered(data, "version", out, size);
  if (out[0] == '\0') snprintf(out, size, "%.60s", text_of(data, "pipeline") ? text_of(data, "pipeline") : "a model");
}

void slack_evidence_champion(const json_t *data, char *out, size_t size) {
  add_numbered(data, "champion", out, size);
}

/* ---- why ---- */

/* "0.8312" in at most 10 columns; a dash for what is no number. */
static void number_text(const json_t *value, char out[UNITS_TEXT_SIZE]) {
  if (json_is_integer(value) && llabs(json_integer_value(value)) < 1000000000)
    snprintf(out, UNITS_TEXT_SIZE, "%lld", (long long)json_integer_value(value));
  else if (json_is_number(value))
    units_format_number(json_number_value(value), out);
  else
    snprintf(out, UNITS_TEXT_SIZE, "%s", "-");
}

/* Columns after the first, which the summary speaks of: "• sales fell from a median of 100 to 80 (PSI 0.25), since
 * 2009-01-01". */
static void add_column(struct strbuf *out, const json_t *column) {
  const char *words = text_of(column, "words"), *since = text_of(column, "since_at");
  strbuf_puts(out, "\n\xe2\x80\xa2 ");
  slack_text_add(out, words != NULL ? words : text_of(column, "name"), SENTENCE_UNITS);
  if (since != NULL && strspn(since, "0123456789-") == DATE_LEN) strbuf_printf(out, ", since %.*s", DATE_LEN, since);
}

/* The diagnosis as everywhere: the summary word for word, the next columns, what else fires, what ignoring it means. */
static void add_diagnosis(struct strbuf *out, const json_t *diagnosis) {
  const json_t *columns = json_object_get(diagnosis, "columns"), *also = json_object_get(diagnosis, "also");
  size_t i, count = json_array_size(columns);
  json_t *one;
  strbuf_puts(out, "*Why* ");
  slack_text_add(out, text_of(diagnosis, "summary"), 4 * SENTENCE_UNITS);
  json_array_foreach(columns, i, one) if (i > 0 && i < COLUMNS_MAX) add_column(out, one);
  json_int_t more = json_integer_value(json_object_get(diagnosis, "more_columns"));
  if (count > COLUMNS_MAX) more += (json_int_t)(count - COLUMNS_MAX);
  if (more > 0) strbuf_printf(out, "\n\xe2\x80\xa2 and %lld more columns", (long long)more);
  json_array_foreach(also, i, one) {
    if (i == ALSO_MAX) {
      strbuf_printf(out, "\n_Also_ %zu more signals", json_array_size(also) - i);
      break;
    }
    strbuf_puts(out, "\n_Also_ ");
    slack_text_add(out, text_of(one, "pipeline"), NAME_UNITS);
    strbuf_puts(out, text_of(one, "pipeline") != NULL ? ": " : "");
    slack_text_add(out, text_of(one, "title"), SENTENCE_UNITS);
  }
  if (text_of(diagnosis, "if_ignored") != NULL) {
    strbuf_puts(out, "\n_If ignored_ ");
    slack_text_add(out, text_of(diagnosis, "if_ignored"), SENTENCE_UNITS);
  }
}

void slack_evidence_why(const json_t *data, struct strbuf *out) {
  const json_t *evidence = json_object_get(data, "evidence"), *diagnosis = json_object_get(evidence, "diagnosis");
  if (text_of(diagnosis, "summary") != NULL) {
    add_diagnosis(out, diagnosis);
    return;
  }
  const json_t *signals = json_object_get(evidence, "signals");
  const char *reason = text_of(evidence, "reason");
  if (reason == NULL && json_array_size(signals) == 0) return;
  strbuf_puts(out, "*Why* ");
  slack_text_add(out, reason, 2 * SENTENCE_UNITS);
  size_t i;
  json_t *one;
  json_array_foreach(signals, i, one) {
    const char *title = text_of(one, "title");
    if (i == SIGNALS_MAX) {
      strbuf_printf(out, "\n\xe2\x80\xa2 and %zu more signals", json_array_size(signals) - i);
      break;
    }
    if (title == NULL || (reason != NULL && strcmp(title, reason) == 0)) continue;
    strbuf_puts(out, "\n\xe2\x80\xa2 ");
    slack_text_add(out, title, SENTENCE_UNITS);
    if (text_of(one, "source") != NULL) {
      strbuf_puts(out, " (");
      slack_text_add(out, text_of(one, "source"), NAME_UNITS);
      strbuf_putc(out, ')');
    }
  }
}

/* ---- metrics ---- */

/* The metrics of one side: evidence.candidate.metrics or evidence.metrics.candidate. */
static const json_t *metrics_of(const json_t *data, const char *side) {
  const json_t *evidence = json_object_get(data, "evidence");
  const json_t *metrics = json_object_get(json_object_get(evidence, side), "metrics");
  return metrics != NULL ? metrics : json_object_get(json_object_get(evidence, "metrics"), side);
}

static void change_text(const json_t *candidate, const json_t *champion, char out[16]) {
  if (!json_is_number(candidate) || !json_is_number(champion))
    snprintf(out, 16, "%s", "");
  else
    snprintf(out, 16, "%+.4g", json_number_value(candidate) - json_number_value(champion));
}

/* Columns that a name takes up on the screen, as far as units tell. */
static void add_padded(struct strbuf *out, const char *name, size_t width) {
  size_t shown = 0;
  for (const char *at = name; *at != '\0'; at++)
    if (((unsigned char)*at & 0xc0) != 0x80) shown++;
  slack_text_add_code(out, name, width);
  for (; shown < width; shown++) strbuf_putc(out, ' ');
}

static size_t name_width(const json_t *metrics) {
  const char *name;
  json_t *value;
  size_t width = strlen("metric");
  json_object_foreach((json_t *)(uintptr_t)metrics, name, value) {
    size_t len = strlen(name);
    if (json_is_number(value) && len > width) width = len;
  }
  return width < NAME_UNITS ? width : NAME_UNITS;
}

void slack_evidence_metrics(const json_t *data, struct strbuf *out) {
  const json_t *candidate = metrics_of(data, "candidate"), *champion = metrics_of(data, "champion");
  size_t width = name_width(candidate), shown = 0, left_out = 0;
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)candidate, name, value) {
    if (!json_is_number(value)) continue;
    if (shown == METRICS_MAX) {
      left_out++;
      continue;
    }
    if (shown++ == 0) {
      strbuf_puts(out, "```");
      add_padded(out, "metric", width);
      strbuf_printf(out, " %10s %10s %10s", "candidate", "champion", "change");
    }
    const json_t *other = json_object_get(champion, name);
    char left[UNITS_TEXT_SIZE], right[UNITS_TEXT_SIZE], change[16];
    number_text(value, left);
    number_text(other, right);
    change_text(value, other, change);
    strbuf_putc(out, '\n');
    add_padded(out, name, width);
    strbuf_printf(out, " %10s %10s %10s", left, right, change);
  }
  if (left_out > 0) strbuf_printf(out, "\n... and %zu more", left_out);
  if (shown > 0) strbuf_puts(out, "```");
}

/* ---- checks ---- */

static void add_bound(struct strbuf *out, const json_t *check, const char *member, const char *words) {
  const json_t *bound = json_object_get(check, member);
  char text[UNITS_TEXT_SIZE];
  if (!json_is_number(bound)) return;
  number_text(bound, text);
  strbuf_printf(out, ", %s %s", words, text);
}

/* {"metric","slice"?,"value"? (of the slice),"candidate","champion","min"?,"max"?,"vs_champion"?,"ok","what"?} */
static void add_check(struct strbuf *out, const json_t *check) {
  char text[UNITS_TEXT_SIZE];
  number_text(json_object_get(check, "candidate"), text);
  strbuf_puts(out, json_is_true(json_object_get(check, "ok")) ? "\n:white_check_mark: " : "\n:x: ");
  slack_text_add(out, text_of(check, "metric"), NAME_UNITS);
  if (text_of(check, "slice") != NULL) {
    strbuf_puts(out, " for ");
    slack_text_add(out, text_of(check, "slice"), NAME_UNITS);
    strbuf_puts(out, text_of(check, "value") != NULL ? "=" : "");
    slack_text_add(out, text_of(check, "value"), NAME_UNITS);
  }
  strbuf_printf(out, " %s", text);
  add_bound(out, check, "champion", "champion");
  add_bound(out, check, "min", "at least");
  add_bound(out, check, "max", "at most");
  add_bound(out, check, "vs_champion", "allowed change");
  if (text_of(check, "what") != NULL) {
    strbuf_puts(out, ": ");
    slack_text_add(out, text_of(check, "what"), SENTENCE_UNITS / 2);
  }
}

void slack_evidence_checks(const json_t *data, struct strbuf *out) {
  const json_t *checks = json_object_get(json_object_get(data, "evidence"), "checks");
  if (checks == NULL) checks = json_object_get(data, "failed");
  if (json_array_size(checks) == 0) return;
  strbuf_puts(out, "*Checks*");
  size_t i;
  json_t *check;
  json_array_foreach(checks, i, check) {
    if (i == CHECKS_MAX) {
      strbuf_printf(out, "\nand %zu more", json_array_size(checks) - i);
      break;
    }
    add_check(out, check);
  }
}

/* ---- policy ---- */

/* "1 of ml-owners (dana), 2 of risk": the rules, and who has met them so far. */
static void add_rules(struct strbuf *out, const json_t *rules) {
  size_t i, j;
  json_t *rule, *name;
  json_array_foreach(rules, i, rule) {
    if (i == RULES_MAX) {
      strbuf_printf(out, " and %zu more rules", json_array_size(rules) - i);
      break;
    }
    strbuf_printf(out, "%s%lld of ", i > 0 ? ", " : "",
                  (long long)json_integer_value(json_object_get(rule, "approvals")));
    slack_text_add(out, text_of(rule, "group"), NAME_UNITS);
    json_array_foreach(json_object_get(rule, "by"), j, name) {
      if (j == VOTES_MAX) break;
      strbuf_puts(out, j > 0 ? ", " : " (");
      slack_text_add(out, json_string_value(name), NAME_UNITS);
    }
    if (json_array_size(json_object_get(rule, "by")) > 0) strbuf_putc(out, ')');
  }
}

void slack_evidence_policy(const json_t *data, struct strbuf *out) {
  const json_t *policy = json_object_get(json_object_get(data, "evidence"), "policy");
  const json_t *rules = json_object_get(data, "approvals");
  if (rules == NULL) rules = json_object_get(data, "require");
  if (json_array_size(rules) > 0) {
    strbuf_puts(out, "*Needs* ");
    add_rules(out, rules);
    if (!json_is_true(json_object_get(policy, "own_proposals"))) strbuf_puts(out, "; never who proposed it");
  }
  if (text_of(data, "expires_at") != NULL) {
    strbuf_puts(out, out->len > 0 ? "\n*Until* " : "*Until* ");
    slack_text_add_time(out, text_of(data, "expires_at"));
    strbuf_puts(out, ", then it is not promoted");
  }
}

/* ---- digests ---- */

static void add_digest(struct strbuf *out, const char *label, const char *digest) {
  if (digest == NULL || !digest_is_text(digest)) return;
  if (out->len > 0) strbuf_puts(out, " \xc2\xb7 ");
  slack_text_add(out, label, NAME_UNITS);
  strbuf_printf(out, " `%.*s`", SHORT_DIGEST, digest + strlen("sha256:"));
}

/* A digest that stands alone or as the member "digest" of an object. */
static const char *digest_of(const json_t *object, const char *name) {
  const json_t *member = json_object_get(object, name);
  return json_is_object(member) ? text_of(member, "digest") : json_string_value(member);
}

void slack_evidence_digests(const json_t *data, struct strbuf *out) {
  const json_t *evidence = json_object_get(data, "evidence");
  json_t *snapshots = json_object_get(evidence, "snapshots");
  const char *artifact = digest_of(evidence, "artifact");
  if (artifact == NULL) artifact = text_of(json_object_get(evidence, "candidate"), "artifact");
  add_digest(out, "revision", digest_of(evidence, "revision"));
  add_digest(out, "model", artifact);
  const char *name;
  json_t *one;
  size_t i, shown = 0;
  json_object_foreach(snapshots, name, one) {
    if (shown++ < SNAPSHOTS_MAX) add_digest(out, name, json_string_value(one));
  }
  json_array_foreach(snapshots, i, one) {
    if (shown++ < SNAPSHOTS_MAX) add_digest(out, text_of(one, "name"), text_of(one, "digest"));
  }
  if (shown > SNAPSHOTS_MAX) strbuf_printf(out, " and %zu more", shown - SNAPSHOTS_MAX);
  add_digest(out, "evidence", text_of(data, "digest"));
}

/* ---- votes and outcome ---- */

static void add_vote(struct strbuf *out, const json_t *vote) {
  const char *verdict = text_of(vote, "verdict");
  bool approved = verdict != NULL && strcmp(verdict, "approve") == 0;
  strbuf_puts(out, approved ? ":white_check_mark: " : ":x: ");
  slack_text_add(out, text_of(vote, "reviewer"), NAME_UNITS);
  strbuf_puts(out, approved ? " approved" : " rejected");
  if (text_of(vote, "at") != NULL) {
    strbuf_putc(out, ' ');
    slack_text_add_time(out, text_of(vote, "at"));
  }
  if (text_of(vote, "via") != NULL) {
    strbuf_puts(out, " by ");
    slack_text_add(out, text_of(vote, "via"), NAME_UNITS);
  }
  const char *comment = text_of(vote, "comment");
  if (comment != NULL && comment[0] != '\0') {
    strbuf_puts(out, ": ");
    slack_text_add(out, comment, COMMENT_UNITS);
  }
}

void slack_evidence_votes(const json_t *data, struct strbuf *out) {
  const json_t *votes = json_object_get(data, "decisions");
  size_t i;
  json_t *vote;
  json_array_foreach(votes, i, vote) {
    if (i == VOTES_MAX) {
      strbuf_printf(out, "\nand %zu more", json_array_size(votes) - i);
      break;
    }
    if (out->len > 0) strbuf_putc(out, '\n');
    add_vote(out, vote);
  }
}

/* A gate's state now; the event may be older than that. */
static const char *state_of(const json_t *data) {
  const char *state = text_of(data, "gate_state");
  return state != NULL ? state : text_of(data, "state");
}

bool slack_evidence_is_open(const json_t *data) {
  const char *state = state_of(data);
  return state != NULL && strcmp(state, "open") == 0;
}

void slack_evidence_outcome(const json_t *data, struct strbuf *out) {
  static const struct {
    const char *state, *words;
    bool explained; /* the reason is not among the votes */
  } outcomes[] = {{"approved", ":white_check_mark: *Approved*", false},
                  {"rejected", ":no_entry: *Rejected*, not promoted", false},
                  {"expired", ":hourglass: *Expired*, not promoted", false},
                  {"superseded", ":arrows_counterclockwise: *Superseded*, not promoted", true},
                  {"withdrawn", ":wastebasket: *Withdrawn*, not promoted", true}};
  const char *state = state_of(data), *words = "*Closed*";
  bool explained = true;
  for (size_t i = 0; state != NULL && i < ARRAY_LEN(outcomes); i++) {
    if (strcmp(state, outcomes[i].state) != 0) continue;
    words = outcomes[i].words;
    explained = outcomes[i].explained;
  }
  strbuf_puts(out, words);
  if (text_of(data, "closed_at") != NULL) {
    strbuf_putc(out, ' ');
    slack_text_add_time(out, text_of(data, "closed_at"));
  }
  if (text_of(data, "closed_by") != NULL) {
    strbuf_puts(out, " by ");
    slack_text_add(out, text_of(data, "closed_by"), NAME_UNITS);
  }
  if (explained && text_of(data, "reason") != NULL) {
    strbuf_puts(out, ": ");
    slack_text_add(out, text_of(data, "reason"), COMMENT_UNITS);
  }
}
