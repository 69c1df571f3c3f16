#include "stats/category.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "stats/hash.h"

#define PREFIX_MAX 47
enum { BLOOM_PROBES = 7, BLOOM_BITS_MAX = CATEGORY_BLOOM_BYTES * 8 };

size_t category_value_of(const char *text, size_t len, char ret_value[CATEGORY_VALUE_MAX + 1]) {
  const char *nul = len ? memchr(text, 0, len) : NULL;
  if (len <= CATEGORY_VALUE_MAX && !nul) {
    if (len) memcpy(ret_value, text, len);
    ret_value[len] = 0;
    return len;
  }
  size_t keep = nul ? (size_t)(nul - text) : len;
  if (keep > PREFIX_MAX) {
    keep = PREFIX_MAX;
    while (keep > PREFIX_MAX - 4 && ((unsigned char)text[keep] & 0xC0) == 0x80) keep--; /* no half character */
  }
  memcpy(ret_value, text, keep);
  int more =
      snprintf(ret_value + keep, CATEGORY_VALUE_MAX + 1 - keep, "~%016llx", (unsigned long long)hash_bytes(text, len));
  return keep + (size_t)more;
}

/* ---- the dictionary ---- */

void category_dict_index(struct category_dict *dict) {
  memset(dict->slots, 0, sizeof dict->slots);
  for (uint32_t i = 0; i < dict->n; i++) {
    dict->hashes[i] = hash_bytes(dict->values[i].text, dict->values[i].len);
    uint64_t at = dict->hashes[i];
    while (dict->slots[at % CATEGORY_SLOTS]) at++;
    dict->slots[at % CATEGORY_SLOTS] = (uint8_t)(i + 1);
  }
}

bool category_dict_equal(const struct category_dict *a, const struct category_dict *b) {
  if (a->n != b->n || a->bloom_bits != b->bloom_bits || memcmp(a->bloom, b->bloom, a->bloom_bits / 8) != 0)
    return false;
  for (uint32_t i = 0; i < a->n; i++)
    if (a->values[i].len != b->values[i].len || memcmp(a->values[i].text, b->values[i].text, a->values[i].len) != 0)
      return false;
  return true;
}

/* The index of a value, or -1. The table is at most a quarter full, so there is always an empty slot to stop at. */
static int dict_find(const struct category_dict *dict, const char *value, size_t len, uint64_t hash) {
  for (uint64_t at = hash;; at++) {
    unsigned slot = dict->slots[at % CATEGORY_SLOTS];
    if (slot == 0) return -1;
    if (dict->hashes[slot - 1] == hash && dict->values[slot - 1].len == len &&
        memcmp(dict->values[slot - 1].text, value, len) == 0)
      return (int)slot - 1;
  }
}

/* Probe j is bit (a + j b) mod bits of a power of two, so a filter folds in halves without losing a value. */
static uint32_t bloom_bit(uint64_t hash, int j, uint32_t bits) {
  uint32_t a = (uint32_t)hash, b = (uint32_t)(hash >> 32) | 1;
  return (a + (uint32_t)j * b) & (bits - 1);
}

uint32_t category_bloom_bits(size_t n_values) {
  uint32_t bits = 64;
  if (n_values == 0) return 0;
  while (bits < BLOOM_BITS_MAX && bits < 10 * n_values) bits *= 2;
  return bits;
}

void category_bloom_add(uint8_t bloom[CATEGORY_BLOOM_BYTES], uint64_t hash) {
  for (int j = 0; j < BLOOM_PROBES; j++) {
    uint32_t bit = bloom_bit(hash, j, BLOOM_BITS_MAX);
    bloom[bit / 8] |= (uint8_t)(1u << (bit % 8));
  }
}

void category_bloom_fold(const uint8_t full[CATEGORY_BLOOM_BYTES], uint32_t bits, uint8_t ret[CATEGORY_BLOOM_BYTES]) {
  memset(ret, 0, CATEGORY_BLOOM_BYTES);
  if (bits == 0) return;
  for (uint32_t i = 0; i < CATEGORY_BLOOM_BYTES; i++) ret[i % (bits / 8)] |= full[i];
}

static bool bloom_has(const struct category_dict *dict, uint64_t hash) {
  if (dict->bloom_bits == 0) return false;
  for (int j = 0; j < BLOOM_PROBES; j++) {
    uint32_t bit = bloom_bit(hash, j, dict->bloom_bits);
    if (!(dict->bloom[bit / 8] >> (bit % 8) & 1)) return false;
  }
  return true;
}

double category_unseen_error(const struct category_dict *dict) {
  if (dict->bloom_bits == 0) return 0;
  unsigned set = 0;
  for (uint32_t i = 0; i < dict->bloom_bits / 8; i++) set += (unsigned)__builtin_popcount(dict->bloom[i]);
  return pow((double)set / dict->bloom_bits, BLOOM_PROBES);
}

/* ---- counting ---- */

void category_init(struct category *sketch, const struct category_dict *dict) {
  *sketch = (struct category){.dict = *dict};
}

void category_add(struct category *s, const char *text, size_t len) {
  char made[CATEGORY_VALUE_MAX + 1];
  if (len > CATEGORY_VALUE_MAX || (len && memchr(text, 0, len))) {
    len = category_value_of(text, len, made);
    text = made;
  }
  uint64_t hash = hash_bytes(text, len);
  distinct_add(&s->distinct, hash);
  int index = dict_find(&s->dict, text, len, hash);
  s->n++;
  if (index >= 0)
    s->count[index]++;
  else if (bloom_has(&s->dict, hash))
    s->other++;
  else
    s->unseen++;
}

void category_add_cell(struct category *s, struct cell cell) {
  char text[CATEGORY_NUMBER_SIZE];
  if (cell.kind == CELL_NULL) {
    s->n++;
    s->null++;
    return;
  }
  if (cell.kind == CELL_BAD && !cell.text) {
    s->n++;
    s->bad++;
    return;
  }
  s->numbers += cell.kind == CELL_NUMBER;
  if (!cell.text) {
    cell.len = category_number_text(cell.number, text);
    cell.text = text;
  }
  category_add(s, cell.text, cell.len);
}

size_t category_number_text(double number, char ret_text[CATEGORY_NUMBER_SIZE]) {
  if (isnan(number)) return (size_t)snprintf(ret_text, CATEGORY_NUMBER_SIZE, "nan");
  if (isinf(number)) return (size_t)snprintf(ret_text, CATEGORY_NUMBER_SIZE, number > 0 ? "inf" : "-inf");
  if (number == rint(number) && fabs(number) < 1e15)
    return (size_t)snprintf(ret_text, CATEGORY_NUMBER_SIZE, "%lld", (long long)number);
  /* The fewest digits that read back as the same number. The decimal point is a comma in some locales: put it right. */
  int len = 0;
  for (int digits = 15; digits <= 17; digits++) {
    double back;
    len = snprintf(ret_text, CATEGORY_NUMBER_SIZE, "%.*g", digits, number);
    for (char *c = ret_text; *c; c++)
      if (*c == ',') *c = '.';
    if (number_parse(ret_text, (size_t)len, &back) && back == number) break;
  }
  return (size_t)len;
}

bool category_merge(struct category *into, const struct category *from, struct err *err) {
  if (!category_dict_equal(&into->dict, &from->dict))
    return err_set(err, ERR_INVALID, "sketches of different dictionaries cannot be merged");
  /* Every other count is at most n. */
  if (into->n > UINT64_MAX - from->n) return err_set(err, ERR_LIMIT, "sketch counts would overflow");
  into->n += from->n;
  into->null += from->null;
  into->bad += from->bad;
  into->numbers += from->numbers;
  into->other += from->other;
  into->unseen += from->unseen;
  for (uint32_t i = 0; i < into->dict.n; i++) into->count[i] += from->count[i];
  distinct_merge(&into->distinct, &from->distinct);
  return true;
}

uint64_t category_missing(const struct category *s) {
  return s->null + s->bad;
}

uint64_t category_present(const struct category *s) {
  return s->n - category_missing(s);
}

size_t category_groups(const struct category *s, uint64_t ret_counts[CATEGORY_GROUPS_MAX]) {
  memcpy(ret_counts, s->count, s->dict.n * sizeof ret_counts[0]);
  ret_counts[s->dict.n] = s->other;
  ret_counts[s->dict.n + 1] = s->unseen;
  return s->dict.n + 2;
}
