#include "chat/sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

#define ED25519_KEY_BYTES 32
#define ED25519_SIGNATURE_BYTES 64
#define SIGNATURES_MAX 16 /* of one webhook-signature header that are looked at */

const char *sign_verdict_name(enum sign_verdict verdict) {
  switch (verdict) {
  case SIGN_OK:
    return "ok";
  case SIGN_NO_SECRET:
    return "no_secret";
  case SIGN_MISSING:
    return "missing";
  case SIGN_STALE:
    return "stale";
  case SIGN_MISMATCH:
    return "mismatch";
  }
  return "unknown";
}

void sign_keys_fini(struct sign_keys *keys) {
  OPENSSL_cleanse(keys, sizeof *keys);
}

/* ---- reading keys ---- */

static bool key_from_text(struct sign_key *key, const char *text, size_t len, struct err *err) {
  if (len > sizeof key->bytes)
    return err_set(err, ERR_INVALID, "a signing secret is over %d bytes", SIGN_KEY_BYTES_MAX);
  memcpy(key->bytes, text, len);
  key->len = len;
  return true;
}

static bool key_from_base64(struct sign_key *key, const char *text, size_t len, struct err *err) {
  if (len > 6 && memcmp(text, "whpk_", 5) == 0) {
    key->ed25519 = true;
    text += 5, len -= 5;
  } else if (len >= 6 && memcmp(text, "whsec_", 6) == 0) {
    text += 6, len -= 6;
  }
  if (!digest_unbase64(text, len, key->bytes, sizeof key->bytes, &key->len)) {
    err_set(err, ERR_INVALID, "a webhook secret is not base64");
    return err_hint(err, "write \"whsec_\" and the base64 of %d to 64 random bytes", SIGN_KEY_BYTES_MIN);
  }
  if (key->ed25519 && key->len != ED25519_KEY_BYTES)
    return err_set(err, ERR_INVALID, "a \"whpk_\" key has %zu bytes instead of %d", key->len, ED25519_KEY_BYTES);
  return true;
}

typedef bool key_reader(struct sign_key *key, const char *text, size_t len, struct err *err);

static bool keys_read(struct sign_keys *ret_keys, const char *text, key_reader *read, struct err *err) {
  static const char space[] = " \t\r\n";
  struct sign_keys keys = {0};
  bool good = true;
  for (const char *at = text + strspn(text, space); good && *at != '\0'; at += strspn(at, space)) {
    size_t len = strcspn(at, space);
    struct sign_key *key = &keys.keys[keys.count];
    if (keys.count == SIGN_KEYS_MAX) {
      good = err_set(err, ERR_INVALID, "there are more than %d signing secrets", SIGN_KEYS_MAX);
    } else if (!read(key, at, len, err)) {
      good = false;
    } else if (key->len < SIGN_KEY_BYTES_MIN) {
      good = err_set(err, ERR_INVALID, "a signing secret has %zu bytes; at least %d are needed", key->len,
                     SIGN_KEY_BYTES_MIN);
    } else {
      keys.count++;
    }
    at += len;
  }
  if (good && keys.count == 0) good = err_set(err, ERR_INVALID, "the signing secret is empty");
  if (good) *ret_keys = keys;
  sign_keys_fini(&keys);
  return good;
}

bool sign_keys_slack(struct sign_keys *ret_keys, const char *text, struct err *err) {
  return keys_read(ret_keys, text, key_from_text, err);
}

bool sign_keys_webhook(struct sign_keys *ret_keys, const char *text, struct err *err) {
  return keys_read(ret_keys, text, key_from_base64, err);
}

/* ---- verifying ---- */

/* Digits only: no sign, no space, no overflow, so that one request has one timestamp. */
static bool parse_timestamp(const char *text, int64_t *ret_seconds) {
  size_t len = strspn(text, "0123456789");
  if (len == 0 || len > 15 || text[len] != '\0') return false;
  *ret_seconds = strtoll(text, NULL, 10);
  return true;
}

static enum sign_verdict check_time(const char *timestamp, int64_t now_s) {
  int64_t then_s = 0;
  if (timestamp == NULL || !parse_timestamp(timestamp, &then_s)) return SIGN_MISSING;
  int64_t skew_s = now_s > then_s ? now_s - then_s : then_s - now_s;
  return skew_s > SIGN_TOLERANCE_S ? SIGN_STALE : SIGN_OK;
}

static void slack_content(struct strbuf *content, const char *timestamp, const void *body, size_t len) {
  strbuf_init(content, len + strlen(timestamp) + 4);
  strbuf_printf(content, "v0:%s:", timestamp);
  strbuf_add(content, body, len);
}

static void slack_signature(const struct sign_key *key, const struct strbuf *content, char out[SIGN_SLACK_SIZE]) {
  uint8_t mac[DIGEST_BYTES];
  digest_hmac_sha256(key->bytes, key->len, strbuf_text(content), content->len, mac);
  memcpy(out, "v0=", 3);
  digest_hex(mac, sizeof mac, out + 3);
}

enum sign_verdict sign_slack_verify(const struct sign_keys *keys, const char *timestamp, const char *signature,
                                    const void *body, size_t len, int64_t now_s) {
  if (keys->count == 0) return SIGN_NO_SECRET;
  if (signature == NULL) return SIGN_MISSING;
  enum sign_verdict verdict = check_time(timestamp, now_s);
  if (verdict != SIGN_OK) return verdict;
  size_t given = strlen(signature);

  CLEANUP(strbuf_fini_p) struct strbuf content;
  slack_content(&content, timestamp, body, len);
  bool match = false;
  for (size_t i = 0; i < keys->count; i++) {
    char expected[SIGN_SLACK_SIZE];
    slack_signature(&keys->keys[i], &content, expected);
    match |= digest_equal(expected, SIGN_SLACK_SIZE - 1, signature, given);
  }
  return match ? SIGN_OK : SIGN_MISMATCH;
}

void sign_slack(const struct sign_keys *keys, const char *timestamp, const void *body, size_t len,
                char out[SIGN_SLACK_SIZE]) {
  CLEANUP(strbuf_fini_p) struct strbuf content;
  ORCH_ASSERT(keys->count > 0);
  slack_content(&content, timestamp, body, len);
  slack_signature(&keys->keys[0], &content, out);
}

static bool ed25519_matches(const struct sign_key *key, const struct strbuf *content, const uint8_t *signature,
                            size_t signature_len) {
  if (signature_len != ED25519_SIGNATURE_BYTES) return false;
  EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->bytes, key->len);
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  bool match = pkey != NULL && context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
               EVP_DigestVerify(context, signature, signature_len, (const unsigned char *)strbuf_text(content),
                                content->len) == 1;
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(pkey);
  return match;
}

/* One "v1,BASE64" or "v1a,BASE64" against every key of its kind. */
static bool signature_matches(const struct sign_keys *keys, const struct strbuf *content, const char *text,
                              size_t len) {
  const char *comma = memchr(text, ',', len);
  if (comma == NULL) return false;
  size_t version_len = (size_t)(comma - text);
  bool ed25519 = version_len == 3 && memcmp(text, "v1a", 3) == 0;
  if (!ed25519 && !(version_len == 2 && memcmp(text, "v1", 2) == 0)) return false;
  uint8_t given[ED25519_SIGNATURE_BYTES];
  size_t given_len = 0;
  if (!digest_unbase64(comma + 1, len - version_len - 1, given, sizeof given, &given_len)) return false;

  bool match = false;
  for (size_t i = 0; i < keys->count; i++) {
    const struct sign_key *key = &keys->keys[i];
    if (key->ed25519 != ed25519) continue;
    if (ed25519) {
      match |= ed25519_matches(key, content, given, given_len);
    } else {
      uint8_t mac[DIGEST_BYTES];
      digest_hmac_sha256(key->bytes, key->len, strbuf_text(content), content->len, mac);
      match |= digest_equal(mac, sizeof mac, given, given_len);
    }
  }
  return match;
}

/* What Standard Webhooks signs: "id.timestamp.body". */
static void webhook_content(struct strbuf *content, const char *id, const char *timestamp, const void *body,
                            size_t len) {
  strbuf_init(content, strlen(id) + strlen(timestamp) + 2 + len);
  strbuf_printf(content, "%s.%s.", id, timestamp);
  strbuf_add(content, body, len);
}

enum sign_verdict sign_webhook_verify(const struct sign_keys *keys, const char *id, const char *timestamp,
                                      const char *signature, const void *body, size_t len, int64_t now_s) {
  if (keys->count == 0) return SIGN_NO_SECRET;
  if (id == NULL || *id == '\0' || strlen(id) > SIGN_ID_MAX) return SIGN_MISSING;
  if (signature == NULL || strlen(signature) > SIGN_HEADER_MAX) return SIGN_MISSING;
  enum sign_verdict verdict = check_time(timestamp, now_s);
  if (verdict != SIGN_OK) return verdict;

  CLEANUP(strbuf_fini_p) struct strbuf content;
  webhook_content(&content, id, timestamp, body, len);
  bool match = false;
  const char *at = signature + strspn(signature, " ");
  for (int i = 0; i < SIGNATURES_MAX && *at != '\0' && !match; i++) {
    size_t one = strcspn(at, " ");
    match = signature_matches(keys, &content, at, one);
    at += one;
    at += strspn(at, " ");
  }
  return match ? SIGN_OK : SIGN_MISMATCH;
}

bool sign_webhook(const struct sign_keys *keys, const char *id, int64_t timestamp_s, const void *body, size_t len,
                  struct strbuf *header, struct err *err) {
  char timestamp[24];
  snprintf(timestamp, sizeof timestamp, "%lld", (long long)timestamp_s);
  CLEANUP(strbuf_fini_p) struct strbuf content;
  webhook_content(&content, id, timestamp, body, len);
  size_t signatures = 0;
  for (size_t i = 0; i < keys->count; i++) {
    if (keys->keys[i].ed25519) continue;
    uint8_t mac[DIGEST_BYTES];
    char text[64];
    digest_hmac_sha256(keys->keys[i].bytes, keys->keys[i].len, strbuf_text(&content), content.len, mac);
    digest_base64(mac, sizeof mac, text);
    strbuf_printf(header, "%sv1,%s", signatures++ > 0 ? " " : "", text);
  }
  if (signatures == 0) return err_set(err, ERR_INVALID, "there is no secret to sign a webhook with");
  if (header->failed) return err_set(err, ERR_LIMIT, "the webhook signatures do not fit");
  return true;
}
