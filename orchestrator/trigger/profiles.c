#include "trigger/profiles.h"

#include <sys/types.h>

#include "base/clock.h"
#include "base/mem.h"

struct profiles {
  size_t n, size, bytes;
  struct {
    int64_t version_id;
    struct profile *profile;
    size_t bytes;
  } * items;
};

struct profiles *profiles_new(void) {
  return mem_alloc(sizeof(struct profiles));
}

void profiles_free(struct profiles *p) {
  if (!p) return;
  for (size_t i = 0; i < p->n; i++) profile_free(p->items[i].profile);
  mem_free(p->items);
  mem_free(p);
}

static ssize_t place_of(const struct profiles *p, int64_t version_id) {
  for (size_t i = 0; i < p->n; i++)
    if (p->items[i].version_id == version_id) return (ssize_t)i;
  return -1;
}

const struct profile *profiles_find(const struct profiles *p, int64_t version_id) {
  ssize_t at = place_of(p, version_id);
  return at < 0 ? NULL : p->items[at].profile;
}

bool profiles_known(const struct profiles *p, int64_t version_id) {
  return place_of(p, version_id) >= 0;
}

void profiles_add(struct profiles *p, int64_t version_id, struct profile *profile) {
  if (p->n == p->size) {
    p->size = p->size ? 2 * p->size : 64;
    p->items = mem_realloc(p->items, p->size * sizeof p->items[0]);
  }
  size_t bytes = 64;
  for (size_t i = 0; profile && i < profile->n_columns; i++)
    bytes += sizeof profile->columns[0] + (profile->columns[i].category ? sizeof *profile->columns[i].category : 0);
  p->items[p->n].version_id = version_id;
  p->items[p->n].profile = profile;
  p->items[p->n++].bytes = bytes;
  p->bytes += bytes;
}

void profiles_shrink(struct profiles *p) {
  while (p->bytes > PROFILES_BYTES_MAX && p->n > 0) {
    size_t at = (size_t)(clock_random_u64() % p->n);
    profile_free(p->items[at].profile);
    p->bytes -= p->items[at].bytes;
    p->items[at] = p->items[--p->n];
  }
}
