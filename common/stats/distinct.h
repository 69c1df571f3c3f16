/* How many distinct values there were, in 2 KB however many they are: HyperLogLog.
 *
 * 2^11 registers; the top 11 bits of a 64-bit hash choose one, which keeps the largest number of leading zeros plus one
 * of the other 53 bits (Flajolet, Fusy, Gandouet, Meunier 2007). The estimate is Ertl's improved raw estimator ("New
 * cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284, algorithm 6):
 *   m^2 / (2 ln 2) / (m sigma(c[0]/m) + sum_{k=1}^{q} c[k] 2^-k + m tau(1 - c[q+1]/m) 2^-q),
 * c[k] = registers with value k. It needs no table of bias corrections: its bias is below its noise from 0 to 10^15.
 * Standard error 1.04 / sqrt(2048) = 2.3 %; less for small counts: up to 20 exact or one
 * off, 100 with a standard error of 1.5. */
#ifndef ORCH_STATS_DISTINCT_H
#define ORCH_STATS_DISTINCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"

#define DISTINCT_BITS 11
#define DISTINCT_REGISTERS (1 << DISTINCT_BITS)
/* Bytes of the longest encoding: six bits a register. */
#define DISTINCT_ENCODED_MAX (4 + DISTINCT_REGISTERS * 6 / 8)

/* Plain data; all zero is the empty one. */
struct distinct {
  uint8_t registers[DISTINCT_REGISTERS]; /* 0 .. 54 */
};

/* Notes a value by its hash (hash_bytes() or another one whose bits are all well mixed). */
static inline void distinct_add(struct distinct *d, uint64_t hash) {
  uint64_t rest = hash << DISTINCT_BITS;
  uint8_t rank = rest ? (uint8_t)(__builtin_clzll(rest) + 1) : 64 - DISTINCT_BITS + 1;
  uint8_t *reg = &d->registers[hash >> (64 - DISTINCT_BITS)];
  if (rank > *reg) *reg = rank;
}
/* The union: the larger of each register, so the order of merging does not matter and repeats count once. */
void distinct_merge(struct distinct *into, const struct distinct *from);
double distinct_estimate(const struct distinct *d);

/* Appends the binary form: u16 number of registers that are set; when at most 512 are, (u16 index, u8 rank) each in
 * ascending order, else six bits a register, low bits first. The same sketch gives the same bytes everywhere. */
void distinct_encode(const struct distinct *d, struct strbuf *out);
/* Reads one from the front of `bytes`; ERR_INVALID for anything that distinct_encode() would not have written. */
bool distinct_decode(struct distinct *ret, const void *bytes, size_t len, size_t *ret_used,
                     struct err *err) ORCH_MUST_CHECK;

#endif
