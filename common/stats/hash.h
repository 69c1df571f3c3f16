/* A 64-bit hash of bytes that is the same on every machine and in every release: sketches of texts store it.
 *
 * Multiply-and-fold of eight bytes at a time, after wyhash (Wang Yi, public domain). Well mixed in all bits, so its top
 * bits may serve as a register number and its low bits as a slot; not meant against people who search for collisions:
 * whoever compares hashes must bound what a collision can do. */
#ifndef ORCH_STATS_HASH_H
#define ORCH_STATS_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_fold(uint64_t a, uint64_t b) {
  unsigned __int128 product = (unsigned __int128)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* `len` (at most 8) bytes as a little-endian number. */
static inline uint64_t hash_load(const unsigned char *bytes, size_t len) {
  uint64_t word = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  if (len == 8) {
    memcpy(&word, bytes, 8);
    return word;
  }
#endif
  for (size_t i = 0; i < len; i++) word |= (uint64_t)bytes[i] << (8 * i);
  return word;
}

static inline uint64_t hash_bytes(const void *bytes, size_t len) {
  const unsigned char *at = bytes;
  uint64_t h = 0xA0761D6478BD642Fu ^ ((uint64_t)len * 0x9E3779B97F4A7C15u);
  size_t left = len;
  for (; left >= 8; at += 8, left -= 8) h = hash_fold(h ^ hash_load(at, 8), 0xE7037ED1A0B428DBu);
  h = hash_fold(h ^ hash_load(at, left), 0x8EBC6AF09C88C6E3u);
  return hash_fold(h ^ 0x589965CC75374CC3u, h ^ 0x1D8E4E27C47D124Fu);
}

/* For a second hash, or for counting rows: folds one more value into a hash. */
static inline uint64_t hash_more(uint64_t h, uint64_t value) {
  return hash_fold(h ^ 0xA0761D6478BD642Fu, value ^ 0xE7037ED1A0B428DBu);
}

#endif
