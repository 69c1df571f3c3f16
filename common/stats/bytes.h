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

static inline double bytes_get_double(struct bytes_reader *in) {
  uint64_t raw = bytes_get(in, 8);
  double value;
  memcpy(&value, &raw, sizeof value);
  return value;
}

#endif
