/* Signatures of chat callbacks and webhooks: Slack's v0 and Standard Webhooks 1.0.0, on raw bytes, in constant time.
 *
 * Both refuse a timestamp that is more than SIGN_TOLERANCE_S away from now, in either direction. Keys are lists, so
 * that a secret can be rotated: any of them verifies, and an outgoing webhook is signed with each. */
#ifndef ORCH_CHAT_SIGN_H
#define ORCH_CHAT_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"

#define SIGN_TOLERANCE_S 300
#define SIGN_KEYS_MAX 8
#define SIGN_KEY_BYTES_MAX 256
#define SIGN_KEY_BYTES_MIN 16
#define SIGN_ID_MAX 255
#define SIGN_HEADER_MAX 4096

/* Why a signature was not accepted; each has a counter of its own. */
enum sign_verdict {
  SIGN_OK,
  SIGN_NO_SECRET, /* nothing is configured to verify with: refused */
  SIGN_MISSING,   /* a header is absent or not of the documented form */
  SIGN_STALE,     /* the clock is too far off, or the request is old */
  SIGN_MISMATCH,  /* well-formed, but not signed with any of our keys */
};
/* "ok", "no_secret", "missing", "stale", "mismatch": for metrics and logs. */
const char *sign_verdict_name(enum sign_verdict verdict);

struct sign_key {
  bool ed25519; /* a public key: verifies "v1a", signs nothing */
  size_t len;
  uint8_t bytes[SIGN_KEY_BYTES_MAX];
};
struct sign_keys {
  size_t count;
  struct sign_key keys[SIGN_KEYS_MAX];
};

/* Reads signing secrets separated by white space, newest first; the text itself is the key. ERR_INVALID when there is
 * none, one is under SIGN_KEY_BYTES_MIN or over SIGN_KEY_BYTES_MAX bytes, or there are more than SIGN_KEYS_MAX. */
ORCH_MUST_CHECK bool sign_keys_slack(struct sign_keys *ret_keys, const char *text, struct err *err);
/* The same for Standard Webhooks: "whsec_" and base64 (the prefix may be missing), or "whpk_" and base64 of an ed25519
 * public key. The decoded bytes are the key. */
ORCH_MUST_CHECK bool sign_keys_webhook(struct sign_keys *ret_keys, const char *text, struct err *err);
/* Wipes; safe on a zeroed struct. */
void sign_keys_fini(struct sign_keys *keys);

/* `timestamp` and `signature` are the headers X-Slack-Request-Timestamp and X-Slack-Signature; NULL when absent. */
enum sign_verdict sign_slack_verify(const struct sign_keys *keys, const char *timestamp, const char *signature,
                                    const void *body, size_t len, int64_t now_s);

#define SIGN_SLACK_SIZE (3 + 64 + 1)
/* Signs as Slack does, with the first key, which must exist: for testing one's own server. */
void sign_slack(const struct sign_keys *keys, const char *timestamp, const void *body, size_t len,
                char out[SIGN_SLACK_SIZE]);

/* `id`, `timestamp`, `signature` are the headers webhook-id, webhook-timestamp, webhook-signature; NULL when absent. */
enum sign_verdict sign_webhook_verify(const struct sign_keys *keys, const char *id, const char *timestamp,
                                      const char *signature, const void *body, size_t len, int64_t now_s);
/* Appends the value of webhook-signature: one "v1,…" per symmetric key, separated by spaces. ERR_INVALID when no key
 * can sign. */
ORCH_MUST_CHECK bool sign_webhook(const struct sign_keys *keys, const char *id, int64_t timestamp_s, const void *body,
                                  size_t len, struct strbuf *header, struct err *err);

#endif
