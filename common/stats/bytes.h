/* Little-endian bytes in and out, the same on every machine; the reader has a sticky error instead of overruns. */
#ifndef ORCH_STATS_BYTES_H
#define ORCH_STATS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/strbuf.h"

static inline void bytes_put(struct strbuf *out, uint64_t value, unsigned width) {
  unsigned char raw[8];
  for (unsigned i = 0; i < width; i++) raw[i] = (unsigned char)(value >> (8 * i));
  strbuf_add(out, raw, width);
}

static inline void bytes_put_double(struct strbuf *out, double value) {
  uint64_t raw;
  memcpy(&raw, &value, sizeof raw);
  bytes_put(out, raw, 8);
}

/* Seven bits a byte, low ones first, the top bit says that more follow; the shortest form is the only one. */
static inline void bytes_put_varint(struct strbuf *out, unsigned __int128 value) {
  for (; value >= 128; value >>= 7) bytes_put(out, ((uint64_t)value & 127) | 128, 1);
  bytes_put(out, (uint64_t)value, 1);
}
/* Signed: 0, -1, 1, -2, ... become 0, 1, 2, 3, ... */
static inline void bytes_put_signed(struct strbuf *out, __int128 value) {
  unsigned __int128 doubled = (unsigned __int128)value << 1;
  bytes_put_varint(out, value < 0 ? ~doubled : doubled);
}

struct bytes_reader {
  const unsigned char *at;
  size_t left;
  bool failed; /* sticky: more was asked for than there is; further reads give 0 */
};

static inline uint64_t bytes_get(struct bytes_reader *in, unsigned width) {
  if (in->failed || in->left < width) {
    in->failed = true;
    return 0;
  }
  uint64_t value = 0;
  for (unsigned i = 0; i < width; i++) value |= (uint64_t)in->at[i] << (8 * i);
  in->at += width;
  in->left -= width;
  return value;
}

static inline unsigned __int128 bytes_get_varint(struct bytes_reader *in) {
  unsigned __int128 value = 0;
  for (unsigned shift = 0; shift < 126; shift += 7) {
    uint64_t byte = bytes_get(in, 1);
    value |= (unsigned __int128)(byte & 127) << shift;
    if (byte < 128) {
      if (byte == 0 && shift > 0) in->failed = true;
      return value;
    }
  }
  in->failed = true; /* longer than anything that is written here */
  return 0;
}
static inline __int128 bytes_get_signed(struct bytes_reader *in) {
  unsigned __int128 doubled = bytes_get_varint(in);
  return doubled & 1 ? ~(__int128)(doubled >> 1) : (__int128)(doubled >> 1);
}

static inline double bytes_get_double(struct bytes_reader *in) {
  uint64_t raw = bytes_get(in, 8);
  double value;
  memcpy(&value, &raw, sizeof value);
  return value;
}

#endif
