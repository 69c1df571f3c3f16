/* Digests, MACs and their text forms, all from OpenSSL's EVP.
 *
 * A digest in text is "sha256:" and 64 lower-case hex digits, everywhere: tables, JSON, store, pages. */
#ifndef ORCH_BASE_DIGEST_H
#define ORCH_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 32
#define DIGEST_TEXT_SIZE (7 + 64 + 1)

struct digest_state; /* an EVP_MD_CTX */
struct digest_state *digest_new(void);
void digest_add(struct digest_state *state, const void *bytes, size_t len);
/* Writes the 32 bytes and frees the state. */
void digest_finish(struct digest_state *state, uint8_t out[DIGEST_BYTES]);
void digest_discard(struct digest_state *state); /* NULL is fine */

void digest_bytes(const void *bytes, size_t len, uint8_t out[DIGEST_BYTES]);
void digest_to_text(const uint8_t bytes[DIGEST_BYTES], char out[DIGEST_TEXT_SIZE]);
/* True only for exactly "sha256:" + 64 lower-case hex digits. */
bool digest_is_text(const char *text);

void digest_hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t len, uint8_t out[DIGEST_BYTES]);
/* Constant time in the content; false when the lengths differ. */
bool digest_equal(const void *a, size_t a_len, const void *b, size_t b_len);

void digest_hex(const uint8_t *bytes, size_t len, char *out); /* out: 2*len+1 */
bool digest_unhex(const char *text, size_t text_len, uint8_t *out, size_t out_size, size_t *ret_len);
/* Standard base64 with padding. out: 4*((len+2)/3)+1. */
void digest_base64(const uint8_t *bytes, size_t len, char *out);
/* Strict: no white space, correct padding; false otherwise or when out_size is too small. */
bool digest_unbase64(const char *text, size_t text_len, uint8_t *out, size_t out_size, size_t *ret_len);

#endif
