#include "base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

static EVP_MD *sha256; /* fetched once: a fetch for every digest costs more than hashing a small object */
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void sha256_fetch(void) {
  sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  ORCH_ASSERT(sha256 != NULL);
}

struct digest_state {
  EVP_MD_CTX *ctx;
};

struct digest_state *digest_new(void) {
  pthread_once(&sha256_once, sha256_fetch);
  struct digest_state *state = mem_alloc(sizeof *state);
  state->ctx = EVP_MD_CTX_new();
  ORCH_ASSERT(state->ctx != NULL && EVP_DigestInit_ex2(state->ctx, sha256, NULL) == 1);
  return state;
}

void digest_add(struct digest_state *state, const void *bytes, size_t len) {
  ORCH_ASSERT(len == 0 || EVP_DigestUpdate(state->ctx, bytes, len) == 1);
}

void digest_finish(struct digest_state *state, uint8_t out[DIGEST_BYTES]) {
  unsigned len = 0;
  ORCH_ASSERT(EVP_DigestFinal_ex(state->ctx, out, &len) == 1 && len == DIGEST_BYTES);
  digest_discard(state);
}

void digest_discard(struct digest_state *state) {
  if (!state) return;
  EVP_MD_CTX_free(state->ctx);
  mem_free(state);
}

void digest_bytes(const void *bytes, size_t len, uint8_t out[DIGEST_BYTES]) {
  struct digest_state *state = digest_new();
  digest_add(state, bytes, len);
  digest_finish(state, out);
}

void digest_to_text(const uint8_t bytes[DIGEST_BYTES], char out[DIGEST_TEXT_SIZE]) {
  memcpy(out, "sha256:", 7);
  digest_hex(bytes, DIGEST_BYTES, out + 7);
}

bool digest_is_text(const char *text) {
  if (!text || strncmp(text, "sha256:", 7) != 0) return false;
  return strlen(text + 7) == 64 && strspn(text + 7, "0123456789abcdef") == 64;
}

void digest_hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t len, uint8_t out[DIGEST_BYTES]) {
  pthread_once(&sha256_once, sha256_fetch);
  unsigned out_len = 0;
  ORCH_ASSERT(key_len <= INT32_MAX);
  /* HMAC() takes a NULL key for "as before": an empty key is a pointer to nothing instead. */
  const void *real_key = key_len ? key : "";
  const void *real_bytes = len ? bytes : "";
  ORCH_ASSERT(HMAC(sha256, real_key, (int)key_len, real_bytes, len, out, &out_len) != NULL);
  ORCH_ASSERT(out_len == DIGEST_BYTES);
}

bool digest_equal(const void *a, size_t a_len, const void *b, size_t b_len) {
  return a_len == b_len && (a_len == 0 || CRYPTO_memcmp(a, b, a_len) == 0);
}

void digest_hex(const uint8_t *bytes, size_t len, char *out) {
  static const char hex[] = "0123456789abcdef";
  for (size_t i = 0; i < len; i++) {
    out[2 * i] = hex[bytes[i] >> 4];
    out[2 * i + 1] = hex[bytes[i] & 15];
  }
  out[2 * len] = 0;
}

/* One look-up a digit, since every bytea of the database comes through here: 0 to 15, and 16 for what is no digit. */
static const uint8_t hex_values[256] = {[0 ... '0' - 1] = 16,
                                        ['0'] = 0,
                                        ['1'] = 1,
                                        ['2'] = 2,
                                        ['3'] = 3,
                                        ['4'] = 4,
                                        ['5'] = 5,
                                        ['6'] = 6,
                                        ['7'] = 7,
                                        ['8'] = 8,
                                        ['9'] = 9,
                                        ['9' + 1 ... 'A' - 1] = 16,
                                        ['A'] = 10,
                                        ['B'] = 11,
                                        ['C'] = 12,
                                        ['D'] = 13,
                                        ['E'] = 14,
                                        ['F'] = 15,
                                        ['F' + 1 ... 'a' - 1] = 16,
                                        ['a'] = 10,
                                        ['b'] = 11,
                                        ['c'] = 12,
                                        ['d'] = 13,
                                        ['e'] = 14,
                                        ['f'] = 15,
                                        ['f' + 1 ... 255] = 16};

bool digest_unhex(const char *text, size_t text_len, uint8_t *out, size_t out_size, size_t *ret_len) {
  if (text_len % 2 || text_len / 2 > out_size) return false;
  const uint8_t *digits = (const uint8_t *)text;
  unsigned seen = 0;
  for (size_t i = 0; i < text_len / 2; i++) {
    unsigned high = hex_values[digits[2 * i]], low = hex_values[digits[2 * i + 1]];
    seen |= high | low;
    out[i] = (uint8_t)(high << 4 | low);
  }
  if (seen & 16) return false;
  *ret_len = text_len / 2;
  return true;
}

#define BASE64_CHUNK (3u << 20) /* EVP_EncodeBlock counts in int */

void digest_base64(const uint8_t *bytes, size_t len, char *out) {
  out[0] = 0;
  while (len > 0) {
    size_t part = len < BASE64_CHUNK ? len : BASE64_CHUNK;
    out += EVP_EncodeBlock((unsigned char *)out, bytes, (int)part);
    bytes += part;
    len -= part;
  }
}

static bool is_base64(const char *text, size_t len) {
  for (size_t i = 0; i < len; i++) {
    char c = text[i];
    bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
    if (!fine) return false;
  }
  return true;
}

bool digest_unbase64(const char *text, size_t text_len, uint8_t *out, size_t out_size, size_t *ret_len) {
  if (text_len % 4) return false;
  size_t pad = 0;
  while (pad < 2 && pad < text_len && text[text_len - 1 - pad] == '=') pad++;
  if (!is_base64(text, text_len - pad)) return false;
  size_t len = text_len / 4 * 3 - pad;
  if (len > out_size) return false;
  /* By fours through a block of our own: EVP_DecodeBlock writes whole threes, beyond an exactly sized `out`. */
  for (size_t at = 0, done = 0; at < text_len; at += 4) {
    unsigned char three[3];
    if (EVP_DecodeBlock(three, (const unsigned char *)text + at, 4) != 3) return false;
    size_t part = len - done < 3 ? len - done : 3;
    memcpy(out + done, three, part);
    done += part;
  }
  *ret_len = len;
  return true;
}
