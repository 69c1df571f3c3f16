/* Building a categorical reference: counts of up to CATEGORY_BUILD_MAX values at a time, the rest by Misra and Gries.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/category.h"
#include "stats/hash.h"

struct entry {
  uint64_t hash, count;
  struct category_value value;
};

struct category_builder {
  uint64_t n, null, bad, numbers, slack;
  struct distinct distinct;
  uint8_t bloom[CATEGORY_BLOOM_BYTES]; /* of the values that were dropped, at full size */
  struct entry *entries;
  size_t n_entries, size; /* `size`: a power of two, at most CATEGORY_BUILD_MAX */
  uint16_t *slots;        /* 2 * size, index + 1; at most half full */
};

static void reindex(struct category_builder *b) {
  memset(b->slots, 0, 2 * b->size * sizeof b->slots[0]);
  for (size_t i = 0; i < b->n_entries; i++) {
    uint64_t at = b->entries[i].hash;
    while (b->slots[at & (2 * b->size - 1)]) at++;
    b->slots[at & (2 * b->size - 1)] = (uint16_t)(i + 1);
  }
}

static void grow(struct category_builder *b, size_t size) {
  b->size = size;
  b->entries = mem_realloc(b->entries, size * sizeof b->entries[0]);
  b->slots = mem_realloc(b->slots, 2 * size * sizeof b->slots[0]);
  reindex(b);
}

struct category_builder *category_builder_new(void) {
  struct category_builder *b = mem_alloc(sizeof *b);
  grow(b, 64);
  return b;
}

void category_builder_free(struct category_builder *b) {
  if (!b) return;
  mem_free(b->entries);
  mem_free(b->slots);
  mem_free(b);
}

static int compare_counts(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* Takes the median count off every entry; at least half of them go. */
static void purge(struct category_builder *b) {
  uint64_t *counts = mem_calloc(b->n_entries, sizeof counts[0]);
  for (size_t i = 0; i < b->n_entries; i++) counts[i] = b->entries[i].count;
  qsort(counts, b->n_entries, sizeof counts[0], compare_counts);
  uint64_t median = counts[b->n_entries / 2];
  mem_free(counts);
  size_t left = 0;
  for (size_t i = 0; i < b->n_entries; i++) {
    if (b->entries[i].count <= median) {
      category_bloom_add(b->bloom, b->entries[i].hash);
      continue;
    }
    b->entries[left] = b->entries[i];
    b->entries[left++].count -= median;
  }
  b->n_entries = left;
  b->slack += median;
  reindex(b);
}

void category_builder_add(struct category_builder *b, const char *text, size_t len) {
  char made[CATEGORY_VALUE_MAX + 1];
  if (len > CATEGORY_VALUE_MAX || (len && memchr(text, 0, len))) {
    len = category_value_of(text, len, made);
    text = made;
  }
  uint64_t hash = hash_bytes(text, len), at = hash;
  b->n++;
  for (;; at++) {
    unsigned slot = b->slots[at & (2 * b->size - 1)];
    if (slot == 0) break;
    struct entry *entry = &b->entries[slot - 1];
    if (entry->hash != hash || entry->value.len != len || memcmp(entry->value.text, text, len) != 0) continue;
    entry->count++;
    return;
  }
  distinct_add(&b->distinct, hash);
  if (b->n_entries == b->size) {
    if (b->size < CATEGORY_BUILD_MAX)
      grow(b, b->size * 2);
    else
      purge(b);
    for (at = hash; b->slots[at & (2 * b->size - 1)];) at++;
  }
  struct entry *entry = &b->entries[b->n_entries++];
  *entry = (struct entry){.hash = hash, .count = 1, .value = {.len = (uint8_t)len}};
  if (len) memcpy(entry->value.text, text, len);
  b->slots[at & (2 * b->size - 1)] = (uint16_t)b->n_entries;
}

void category_builder_add_cell(struct category_builder *b, struct cell cell) {
  char text[CATEGORY_NUMBER_SIZE];
  if (cell.kind == CELL_NULL) {
    b->n++;
    b->null++;
    return;
  }
  if (cell.kind == CELL_BAD && !cell.text) {
    b->n++;
    b->bad++;
    return;
  }
  b->numbers += cell.kind == CELL_NUMBER;
  if (!cell.text) {
    cell.len = category_number_text(cell.number, text);
    cell.text = text;
  }
  category_builder_add(b, cell.text, cell.len);
}

uint64_t category_builder_rows(const struct category_builder *b) {
  return b->n;
}

static int by_rank(const void *a, const void *b) {
  const struct entry *x = *(const struct entry *const *)a, *y = *(const struct entry *const *)b;
  if (x->count != y->count) return x->count < y->count ? 1 : -1;
  return strcmp(x->value.text, y->value.text);
}

/* Values that occurred once. Dropped values are not known one by one: all distinct values less those counted more than
 * once is the most that it can be. */
static uint64_t once_of(const struct category_builder *b) {
  uint64_t once = 0;
  for (size_t i = 0; i < b->n_entries; i++) once += b->entries[i].count == 1;
  if (b->slack == 0) return once;
  double most = distinct_estimate(&b->distinct) - (double)(b->n_entries - once);
  return most > 0 ? (uint64_t)fmin(rint(most), (double)(b->n - b->null - b->bad)) : 0;
}

void category_builder_finish(struct category_builder *b, struct category *ret) {
  struct entry **order = mem_calloc(b->n_entries + 1, sizeof order[0]);
  for (size_t i = 0; i < b->n_entries; i++) order[i] = &b->entries[i];
  qsort(order, b->n_entries, sizeof order[0], by_rank);
  *ret = (struct category){.n = b->n,
                           .null = b->null,
                           .bad = b->bad,
                           .numbers = b->numbers,
                           .distinct = b->distinct,
                           .once = once_of(b),
                           .slack = b->slack};
  size_t kept = b->n_entries < CATEGORY_KEPT_MAX ? b->n_entries : CATEGORY_KEPT_MAX;
  ret->dict.n = (uint32_t)kept;
  ret->other = category_present(ret);
  for (size_t i = 0; i < kept; i++) {
    ret->dict.values[i] = order[i]->value;
    ret->count[i] = order[i]->count;
    ret->other -= order[i]->count;
  }
  uint8_t full[CATEGORY_BLOOM_BYTES];
  memcpy(full, b->bloom, sizeof full);
  for (size_t i = kept; i < b->n_entries; i++) category_bloom_add(full, order[i]->hash);
  size_t others = b->slack ? CATEGORY_BLOOM_BYTES * 8 : b->n_entries - kept;
  ret->dict.bloom_bits = category_bloom_bits(others);
  category_bloom_fold(full, ret->dict.bloom_bits, ret->dict.bloom);
  category_dict_index(&ret->dict);
  mem_free(order);
}
