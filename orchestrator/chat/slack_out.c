#include "chat/slack_out.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "chat/slack_evidence.h"
#include "chat/slack_text.h"

/* Slack's bounds, in UTF-16 units (docs: Block Kit reference). */
#define HEADER_MAX 150
#define SECTION_MAX 3000
#define CONTEXT_MAX 2000
#define CONFIRM_TITLE_MAX 100
#define CONFIRM_TEXT_MAX 300
#define FALLBACK_MAX 600
#define NOTICE_MAX 2800
#define URL_BUTTON_MAX 3000
#define PRIVATE_MAX 2000
#define COMMENT_MAX 3000
#define SUBJECT_SIZE 81
#define NAMES_MAX 10 /* of the pipelines of an incident */

static const char *text_of(const json_t *object, const char *name) {
  return json_string_value(json_object_get(object, name));
}

static const json_t *data_of(const json_t *event) {
  return json_object_get(event, "data");
}

/* ---- blocks ---- */

static json_t *plain(const char *text, size_t max) {
  CLEANUP(strbuf_fini_p) struct strbuf out;
  strbuf_init(&out, SLACK_TEXT_BUFFER_MAX);
  slack_text_add(&out, text, max);
  return slack_text_plain(&out, max);
}

static void add_header(json_t *blocks, const char *before, const char *subject) {
  CLEANUP(strbuf_fini_p) struct strbuf out;
  strbuf_init(&out, SLACK_TEXT_BUFFER_MAX);
  strbuf_puts(&out, before);
  slack_text_add(&out, subject, SUBJECT_SIZE);
  json_array_append_new(blocks, json_pack("{s:s, s:o}", "type", "header", "text", slack_text_plain(&out, HEADER_MAX)));
}

typedef void section_writer(const json_t *data, struct strbuf *out);

/* Appends a section, or nothing when the writer has nothing to say. */
static void add_section(json_t *blocks, section_writer *write, const json_t *data) {
  CLEANUP(strbuf_fini_p) struct strbuf out;
  strbuf_init(&out, SLACK_TEXT_BUFFER_MAX);
  write(data, &out);
  if (out.len == 0) return;
  json_array_append_new(blocks,
                        json_pack("{s:s, s:o}", "type", "section", "text", slack_text_mrkdwn(&out, SECTION_MAX)));
}

static void write_subject(const json_t *data, struct strbuf *out) {
  char subject[SUBJECT_SIZE], champion[SUBJECT_SIZE];
  slack_evidence_subject(data, subject, sizeof subject);
  slack_evidence_champion(data, champion, sizeof champion);
  strbuf_putc(out, '*');
  slack_text_add(out, subject, SUBJECT_SIZE);
  strbuf_puts(out, champion[0] != '\0' ? "* asks to replace *" : "* asks to be the first live version");
  slack_text_add(out, champion, SUBJECT_SIZE);
  strbuf_puts(out, champion[0] != '\0' ? "*" : "");
}

static void write_context(const json_t *data, struct strbuf *out) {
  slack_evidence_digests(data, out);
  json_int_t gate = json_integer_value(json_object_get(data, "gate"));
  json_int_t proposal = json_integer_value(json_object_get(data, "proposal"));
  if (out->len > 0) strbuf_puts(out, " \xc2\xb7 ");
  strbuf_printf(out, "gate %lld", (long long)gate);
  if (proposal > 0) strbuf_printf(out, " \xc2\xb7 proposal #%lld", (long long)proposal);
}

static void add_context(json_t *blocks, const json_t *data) {
  CLEANUP(strbuf_fini_p) struct strbuf out;
  strbuf_init(&out, SLACK_TEXT_BUFFER_MAX);
  write_context(data, &out);
  json_array_append_new(blocks,
                        json_pack("{s:s, s:[o]}", "type", "context", "elements", slack_text_mrkdwn(&out, CONTEXT_MAX)));
}

static void add_evidence(json_t *blocks, const json_t *data) {
  add_section(blocks, write_subject, data);
  add_section(blocks, slack_evidence_why, data);
  add_section(blocks, slack_evidence_metrics, data);
  add_section(blocks, slack_evidence_checks, data);
}

/* ---- buttons ---- */

static bool ticket_of(const json_t *data, struct ticket *ret_ticket, struct err *err) {
  struct ticket ticket = {.gate = json_integer_value(json_object_get(data, "gate"))};
  const char *nonce = text_of(data, "nonce"), *digest = text_of(data, "digest");
  if (ticket.gate <= 0 || nonce == NULL || nonce[0] == '\0' || strlen(nonce) >= sizeof ticket.nonce || digest == NULL ||
      !digest_is_text(digest))
    return err_set(err, ERR_INVALID, "the event names no gate, nonce and digest to answer for");
  snprintf(ticket.nonce, sizeof ticket.nonce, "%s", nonce);
  snprintf(ticket.digest, sizeof ticket.digest, "%s", digest);
  slack_evidence_subject(data, ticket.subject, sizeof ticket.subject);
  *ret_ticket = ticket;
  return true;
}

/* What approving means, said once more before it is done. */
static json_t *confirm_dialogue(const json_t *data) {
  char subject[SUBJECT_SIZE], champion[SUBJECT_SIZE];
  slack_evidence_subject(data, subject, sizeof subject);
  slack_evidence_champion(data, champion, sizeof champion);
  CLEANUP(strbuf_fini_p) struct strbuf title, text;
  strbuf_init(&title, SLACK_TEXT_BUFFER_MAX);
  strbuf_init(&text, SLACK_TEXT_BUFFER_MAX);
  strbuf_puts(&title, "Approve ");
  slack_text_add(&title, subject, SUBJECT_SIZE);
  strbuf_putc(&title, '?');
  slack_text_add(&text, subject, SUBJECT_SIZE);
  strbuf_puts(&text, champion[0] != '\0' ? " goes live instead of " : " goes live as the first version");
  slack_text_add(&text, champion, SUBJECT_SIZE);
  strbuf_puts(&text, " once everybody who is needed has approved.");
  return json_pack("{s:o, s:o, s:o, s:o, s:s}", "title", slack_text_plain(&title, CONFIRM_TITLE_MAX), "text",
                   slack_text_plain(&text, CONFIRM_TEXT_MAX), "confirm", plain("Approve", 30), "deny",
                   plain("Not yet", 30), "style", "primary");
}

static json_t *button(const char *action, const char *label, const char *style) {
  json_t *node = json_pack("{s:s, s:s, s:o}", "type", "button", "action_id", action, "text", plain(label, 75));
  if (style != NULL) json_object_set_new(node, "style", json_string(style));
  return node;
}

static bool is_web_url(const char *url) {
  return url != NULL && (strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0) &&
         strlen(url) <= URL_BUTTON_MAX;
}

static bool add_buttons(json_t *blocks, const json_t *data, struct err *err) {
  struct ticket ticket;
  char value[TICKET_TEXT_MAX + 1];
  if (!ticket_of(data, &ticket, err) || !ticket_write(&ticket, value, err)) return false;
  json_t *approve = button(SLACK_ACTION_APPROVE, "Approve", "primary");
  json_t *reject = button(SLACK_ACTION_REJECT, "Reject", "danger");
  json_object_set_new(approve, "value", json_string(value));
  json_object_set_new(approve, "confirm", confirm_dialogue(data));
  json_object_set_new(reject, "value", json_string(value));
  json_t *elements = json_pack("[o, o]", approve, reject);
  const char *url = text_of(data, "review_url");
  if (url == NULL) url = text_of(data, "page_url");
  if (is_web_url(url)) {
    json_t *review = button(SLACK_ACTION_REVIEW, "Review page", NULL);
    json_object_set_new(review, "url", json_string(url));
    json_array_append_new(elements, review);
  }
  json_array_append_new(blocks,
                        json_pack("{s:s, s:s, s:o}", "type", "actions", "block_id", "decide", "elements", elements));
  return true;
}

/* ---- whole messages ---- */

/* The line that notifications and screen readers get instead of the blocks. */
static json_t *fallback(const char *before, const json_t *data, section_writer *after) {
  char subject[SUBJECT_SIZE];
  slack_evidence_subject(data, subject, sizeof subject);
  CLEANUP(strbuf_fini_p) struct strbuf out;
  strbuf_init(&out, SLACK_TEXT_BUFFER_MAX);
  strbuf_puts(&out, before);
  slack_text_add(&out, subject, SUBJECT_SIZE);
  if (after != NULL) {
    strbuf_puts(&out, ". ");
    after(data, &out);
  }
  slack_text_cut(&out, FALLBACK_MAX);
  return json_string(strbuf_text(&out));
}

static json_t *message(const char *channel, json_t *text, json_t *blocks) {
  json_t *body =
      json_pack("{s:s, s:o, s:b, s:b}", "channel", channel, "text", text, "unfurl_links", 0, "unfurl_media", 0);
  if (blocks != NULL) json_object_set_new(body, "blocks", blocks);
  return body;
}

/* While it can be decided: evidence, policy, votes so far, buttons. */
static json_t *open_message(const char *channel, const json_t *data, struct err *err) {
  char subject[SUBJECT_SIZE];
  slack_evidence_subject(data, subject, sizeof subject);
  json_t *blocks = json_array();
  add_header(blocks, "Approval needed: ", subject);
  add_evidence(blocks, data);
  add_section(blocks, slack_evidence_policy, data);
  add_section(blocks, slack_evidence_votes, data);
  if (!add_buttons(blocks, data, err)) {
    json_decref(blocks);
    return NULL;
  }
  add_context(blocks, data);
  return message(channel, fallback("Approval needed: ", data, slack_evidence_why), blocks);
}

/* Afterwards: the same evidence, and what, who and when instead of the buttons. */
static json_t *closed_message(const char *channel, const json_t *data) {
  char subject[SUBJECT_SIZE];
  slack_evidence_subject(data, subject, sizeof subject);
  json_t *blocks = json_array();
  add_header(blocks, "Decided: ", subject);
  add_evidence(blocks, data);
  add_section(blocks, slack_evidence_outcome, data);
  add_section(blocks, slack_evidence_votes, data);
  add_context(blocks, data);
  return message(channel, fallback("Decided: ", data, slack_evidence_outcome), blocks);
}

json_t *slack_out_gate_opened(const char *channel, const json_t *event, struct err *err) {
  const json_t *data = data_of(event);
  return slack_evidence_is_open(data) ? open_message(channel, data, err) : closed_message(channel, data);
}

json_t *slack_out_gate_updated(const char *channel, const char *ts, const json_t *event, struct err *err) {
  json_t *body = slack_out_gate_opened(channel, event, err);
  if (body == NULL) return NULL;
  json_object_del(body, "unfurl_links"); /* chat.update knows neither */
  json_object_del(body, "unfurl_media");
  json_object_set_new(body, "ts", json_string(ts));
  return body;
}

/* ---- notices ---- */

/* "deployment.rolled_back" -> what people call it. */
static const char *notice_words(const char *type) {
  static const struct {
    const char *type, *words;
  } known[] = {{"deployment.live", ":rocket: Live: "},
               {"deployment.failed", ":warning: Going live failed, the old version stays: "},
               {"deployment.rolled_back", ":rewind: Rolled back: "},
               {"proposal.created", ":memo: Retraining proposed: "},
               {"proposal.blocked", ":no_entry: Blocked by its checks: "},
               {"proposal.failed", ":warning: Retraining failed: "},
               {"signal.fault", ":rotating_light: Data fault, no retraining: "},
               {"signal.fault_resolved", ":white_check_mark: Data fault is over: "},
               {"signal.held", ":pause_button: Signal held back: "},
               {"signal.alarm", ":bell: Alarm: "},
               {"signal.alarm_resolved", ":white_check_mark: Alarm is over: "},
               {"incident.opened", ":rotating_light: Several models at once, retraining waits: "},
               {"incident.closed", ":white_check_mark: Over: "},
               {"hold.set", ":pause_button: On hold: "},
               {"hold.released", ":arrow_forward: Released: "}};
  for (size_t i = 0; type != NULL && i < ARRAY_LEN(known); i++)
    if (strcmp(type, known[i].type) == 0) return known[i].words;
  return NULL;
}

/* The version that was live before, by number: "from" of a rollback, "champion" of a promotion. */
static void add_predecessor(struct strbuf *out, const json_t *data) {
  json_int_t before = json_integer_value(json_object_get(data, "from"));
  if (before <= 0) before = json_integer_value(json_object_get(data, "champion"));
  if (before <= 0 || text_of(data, "pipeline") == NULL) return;
  strbuf_puts(out, " instead of ");
  slack_text_add(out, text_of(data, "pipeline"), SUBJECT_SIZE);
  strbuf_printf(out, "@%lld", (long long)before);
}

/* What a notice is about: an incident spans pipelines, everything else is of one. */
static void notice_subject(const json_t *data, char *out, size_t size) {
  json_int_t incident = json_integer_value(json_object_get(data, "incident"));
  if (incident > 0 && text_of(data, "pipeline") == NULL)
    snprintf(out, size, "incident %lld", (long long)incident);
  else
    slack_evidence_subject(data, out, size);
}

/* Who is in it, and what to do while it is open. */
static void add_incident(struct strbuf *out, const json_t *data) {
  json_int_t incident = json_integer_value(json_object_get(data, "incident"));
  const char *state = text_of(data, "state");
  size_t i;
  json_t *name;
  if (incident <= 0 || json_array_size(json_object_get(data, "pipelines")) == 0) return;
  strbuf_putc(out, '\n');
  json_array_foreach(json_object_get(data, "pipelines"), i, name) {
    if (i == NAMES_MAX) {
      strbuf_printf(out, " and %zu more", json_array_size(json_object_get(data, "pipelines")) - i);
      break;
    }
    strbuf_puts(out, i > 0 ? ", " : "");
    slack_text_add(out, json_string_value(name), 63);
  }
  if (state == NULL || strcmp(state, "open") != 0) return;
  strbuf_printf(out,
                "\n`orch incident %lld` shows it; `orch incident release %lld --reason \"...\"` lets them retrain, ",
                (long long)incident, (long long)incident);
  strbuf_puts(out, "`dismiss` does not");
}

json_t *slack_out_notice(const char *channel, const char *thread_ts, const json_t *event) {
  const json_t *data = data_of(event);
  const char *type = text_of(event, "type"), *words = notice_words(type);
  static const char *const sayings[] = {"summary", "reason", "title", "message", "error"};
  char subject[SUBJECT_SIZE];
  notice_subject(data, subject, sizeof subject);
  CLEANUP(strbuf_fini_p) struct strbuf out;
  strbuf_init(&out, SLACK_TEXT_BUFFER_MAX);
  if (words != NULL) {
    strbuf_puts(&out, words);
  } else {
    slack_text_add(&out, type, 60);
    strbuf_puts(&out, ": ");
  }
  strbuf_putc(&out, '*');
  slack_text_add(&out, subject, SUBJECT_SIZE);
  strbuf_putc(&out, '*');
  add_predecessor(&out, data);
  if (text_of(data, "by") != NULL) {
    strbuf_puts(&out, " by ");
    slack_text_add(&out, text_of(data, "by"), 80);
  }
  for (size_t i = 0; i < ARRAY_LEN(sayings); i++) {
    const char *said = text_of(data, sayings[i]);
    if (said == NULL || said[0] == '\0') continue;
    strbuf_putc(&out, '\n');
    slack_text_add(&out, said, 600);
  }
  add_incident(&out, data);
  if (json_object_get(data, "failed") != NULL) {
    strbuf_putc(&out, '\n');
    slack_evidence_checks(data, &out);
  }
  slack_text_cut(&out, NOTICE_MAX);
  json_t *body = message(channel, json_string(strbuf_text(&out)), NULL);
  if (thread_ts != NULL) json_object_set_new(body, "thread_ts", json_string(thread_ts));
  return body;
}

/* ---- private words and modals ---- */

static json_t *escaped(const char *text, size_t max) {
  CLEANUP(strbuf_fini_p) struct strbuf out;
  strbuf_init(&out, SLACK_TEXT_BUFFER_MAX);
  slack_text_add(&out, text, max);
  slack_text_cut(&out, max);
  return json_string(strbuf_text(&out));
}

json_t *slack_out_ephemeral(const char *channel, const char *user, const char *text) {
  return json_pack("{s:s, s:s, s:o}", "channel", channel, "user", user, "text", escaped(text, PRIVATE_MAX));
}

json_t *slack_out_response(const char *text) {
  return json_pack("{s:s, s:b, s:o}", "response_type", "ephemeral", "replace_original", 0, "text",
                   escaped(text, PRIVATE_MAX));
}

json_t *slack_out_reject_view(const char *trigger_id, const struct ticket *ticket, struct err *err) {
  char metadata[TICKET_TEXT_MAX + 1];
  if (!ticket_write(ticket, metadata, err)) return NULL;
  json_t *input = json_pack("{s:s, s:s, s:b, s:i, s:i}", "type", "plain_text_input", "action_id", SLACK_BLOCK_COMMENT,
                            "multiline", 1, "min_length", 1, "max_length", COMMENT_MAX);
  json_t *block = json_pack("{s:s, s:s, s:o, s:o}", "type", "input", "block_id", SLACK_BLOCK_COMMENT, "label",
                            plain("Why is it not good enough?", 100), "element", input);
  CLEANUP(strbuf_fini_p) struct strbuf what;
  strbuf_init(&what, SLACK_TEXT_BUFFER_MAX);
  strbuf_puts(&what, "You are rejecting *");
  slack_text_add(&what, ticket->subject[0] != '\0' ? ticket->subject : "this candidate", SUBJECT_SIZE);
  strbuf_puts(&what, "*. The comment is kept with the decision.");
  json_t *section = json_pack("{s:s, s:o}", "type", "section", "text", slack_text_mrkdwn(&what, SECTION_MAX));
  json_t *view = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:[o, o]}", "type", "modal", "callback_id",
                           SLACK_VIEW_REJECT, "private_metadata", metadata, "title", plain("Reject", 24), "submit",
                           plain("Reject", 24), "close", plain("Back", 24), "blocks", section, block);
  return json_pack("{s:s, s:o}", "trigger_id", trigger_id, "view", view);
}

json_t *slack_out_comment_error(const char *text) {
  return json_pack("{s:s, s:{s:o}}", "response_action", "errors", "errors", SLACK_BLOCK_COMMENT,
                   escaped(text, PRIVATE_MAX));
}
