/* Categorical sketches: how often each text occurs, in about 14 KB however many texts there are.
 *
 * The dictionary comes from a reference: its up to 128 most frequent values, most frequent first (equal counts: in byte
 * order). Every window that is compared with it counts on the same dictionary, and two sketches of one dictionary merge
 * by addition. A value outside the dictionary is `other` when the reference had it too and `unseen` when not. Which of
 * the two is told by a Bloom filter over the reference's other values, of at least ten bits a value up to 16384 bits:
 * wrong in about 1 % of the unseen values up to 1,600 other values and more beyond (category_unseen_error() says how
 * often), always in the one direction of calling an unseen value `other`. With 128 distinct values or fewer there is no
 * filter and no error.
 *
 * A value has at most 64 bytes. Of a longer one (or one with a NUL byte) the first up to 47 bytes, a "~" and the 16 hex
 * digits of its hash are kept, so that long values stay distinct. */
#ifndef ORCH_STATS_CATEGORY_H
#define ORCH_STATS_CATEGORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "stats/distinct.h"
#include "stats/number.h"

#define CATEGORY_KEPT_MAX 128
#define CATEGORY_VALUE_MAX 64
#define CATEGORY_BLOOM_BYTES 2048
/* Kept values, then `other`, then `unseen`: the order of category_groups(). */
#define CATEGORY_GROUPS_MAX (CATEGORY_KEPT_MAX + 2)
#define CATEGORY_SLOTS 512
/* Bytes of the longest encoding. */
#define CATEGORY_ENCODED_MAX                                                                                           \
  (16 + CATEGORY_BLOOM_BYTES + (1 + CATEGORY_VALUE_MAX + 8) * CATEGORY_KEPT_MAX + 8 * 8 + DISTINCT_ENCODED_MAX)

struct category_value {
  uint8_t len;
  char text[CATEGORY_VALUE_MAX + 1]; /* as bytes of the source, without NUL inside, NUL at the end */
};

/* The dictionary. Plain data. */
struct category_dict {
  uint32_t n; /* kept values */
  struct category_value values[CATEGORY_KEPT_MAX];
  uint64_t hashes[CATEGORY_KEPT_MAX]; /* of the texts */
  uint32_t bloom_bits;                /* 0, or a power of two of 64 .. 16384 */
  uint8_t bloom[CATEGORY_BLOOM_BYTES];
  uint8_t slots[CATEGORY_SLOTS]; /* where a hash is found; follows from the values */
};

/* Plain data. Every cell is counted in exactly one of null, bad, count[], other and unseen. */
struct category {
  struct category_dict dict;
  uint64_t n; /* cells seen, of every kind */
  uint64_t null;
  uint64_t bad;     /* neither text nor number: an object or array of JSON */
  uint64_t numbers; /* values that read as a number; they are counted as values too */
  uint64_t count[CATEGORY_KEPT_MAX];
  uint64_t other, unseen;
  struct distinct distinct; /* of all values */
  /* Of a reference: how many values occurred exactly once. `once` / present is the chance that the next value drawn
   * without drift is an unseen one (Good 1953); an estimate when `slack` is not 0. */
  uint64_t once;
  uint64_t slack; /* of a reference: each count may be this much too low, which is then in `other` */
};

/* An empty sketch on a copy of `dict`. */
void category_init(struct category *sketch, const struct category_dict *dict);
/* The value under which a text is counted (see above); returns its length. */
size_t category_value_of(const char *text, size_t len, char ret_value[CATEGORY_VALUE_MAX + 1]);

/* Counts one text (it may be empty: that is a value too), or one cell: a text as it is, a number without text (of JSON)
 * as its shortest decimal form, an integer without fraction. Never fails. */
void category_add(struct category *sketch, const char *text, size_t len);
void category_add_cell(struct category *sketch, struct cell cell);

bool category_dict_equal(const struct category_dict *a, const struct category_dict *b);
/* Adds `from` to `into`: exactly, whatever the order (`once` and `slack` of `into` stay: they belong to a reference).
 * Refuses with ERR_INVALID when the dictionaries differ and ERR_LIMIT when a count would overflow; `into` is then
 * unchanged. */
bool category_merge(struct category *into, const struct category *from, struct err *err) ORCH_MUST_CHECK;

/* Cells that carry a value, and those that do not (null and bad). */
uint64_t category_present(const struct category *sketch);
uint64_t category_missing(const struct category *sketch);
/* The counts over kept values, other and unseen; returns their number, dict.n + 2. */
size_t category_groups(const struct category *sketch, uint64_t ret_counts[CATEGORY_GROUPS_MAX]);
/* The chance that an unseen value is taken for one of the reference's others: share of set bits to the power of 7. */
double category_unseen_error(const struct category_dict *dict);

/* Building a reference from a stream, in bounded memory: 2048 distinct values are counted at a time. Up to that many
 * the counts are exact. Beyond, the median count is taken off all and what falls to 0 is dropped (Misra and Gries 1982;
 * in batches as Anderson et al. 2017, arXiv:1705.07001): a count is never too high, and too low by at most `slack`,
 * which is at most n / 1024; so whatever makes more than 0.1 % of the rows is found. */
#define CATEGORY_BUILD_MAX 2048
struct category_builder;
struct category_builder *category_builder_new(void);
void category_builder_free(struct category_builder *builder); /* NULL is fine */
void category_builder_add(struct category_builder *builder, const char *text, size_t len);
void category_builder_add_cell(struct category_builder *builder, struct cell cell);
uint64_t category_builder_rows(const struct category_builder *builder);
/* The reference's sketch; the builder may take more afterwards. */
void category_builder_finish(struct category_builder *builder, struct category *ret);

/* Appends the binary form (kind 2, version 1, little endian); the same sketch gives the same bytes on every machine. */
void category_encode(const struct category *sketch, struct strbuf *out);
/* Reads one encoding from the front of `bytes`, checking every promise above (ERR_INVALID otherwise, never a crash);
 * `ret_used` gets its length. */
bool category_decode(struct category *ret, const void *bytes, size_t len, size_t *ret_used,
                     struct err *err) ORCH_MUST_CHECK;

/* For category_build.c and category_codec.c. */
#define CATEGORY_NUMBER_SIZE 40
size_t category_number_text(double number, char ret_text[CATEGORY_NUMBER_SIZE]); /* see category_add_cell() */
void category_dict_index(struct category_dict *dict);                            /* hashes and slots from the values */
uint32_t category_bloom_bits(size_t n_values);                                   /* how many bits for so many values */
void category_bloom_add(uint8_t bloom[CATEGORY_BLOOM_BYTES], uint64_t hash);     /* at the full 16384 bits */
/* Folds a filter of 16384 bits to `bits`: the same as if it had been made with them. */
void category_bloom_fold(const uint8_t full[CATEGORY_BLOOM_BYTES], uint32_t bits, uint8_t ret[CATEGORY_BLOOM_BYTES]);

#endif
