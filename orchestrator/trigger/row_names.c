#include <string.h>

#include "base/mem.h"
#include "trigger/row_private.h"

/* FNV-1a. Nobody gains by collisions: with at most OBSERVE_COLUMNS_MAX names in 64 KiB the worst row costs a
 * millisecond. */
static uint32_t hash_of(uint32_t hash, const char *bytes, size_t len) {
  for (size_t i = 0; i < len; i++) hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
  return hash;
}
#define HASH_START 2166136261u

static uint32_t spread(uint32_t hash) {
  return hash ^ (hash >> 15);
}

/* ---- who wants what ---- */

static struct row_wish *find_wish(const struct row_names *names, uint32_t hash, const char *name, size_t len) {
  for (size_t slot = spread(hash);; slot++) {
    uint32_t index = names->wish_table[slot & (names->wish_slots - 1)];
    if (index == 0) return NULL;
    struct row_wish *wish = &names->wishes[index - 1];
    if (wish->hash == hash && wish->len == len && memcmp(wish->name, name, len) == 0) return wish;
  }
}

static struct row_wish *wish_for(struct row_names *names, const char *name) {
  size_t len = strlen(name);
  uint32_t hash = hash_of(HASH_START, name, len);
  struct row_wish *wish = find_wish(names, hash, name, len);
  if (wish) return wish;
  wish = &names->wishes[names->n_wishes++];
  *wish = (struct row_wish){mem_strdup(name), len, hash, ROW_WANTED_NONE, ROW_WANTED_NONE};
  size_t slot = spread(hash);
  while (names->wish_table[slot & (names->wish_slots - 1)]) slot++;
  names->wish_table[slot & (names->wish_slots - 1)] = (uint32_t)names->n_wishes;
  return wish;
}

void row_names_init(struct row_names *names, const char *const *wanted, size_t n, const char *const reserved[ROW_KEYS],
                    int *ret_also) {
  names->wishes = mem_calloc(n + ROW_KEYS, sizeof names->wishes[0]);
  for (names->wish_slots = 16; names->wish_slots < 2 * (n + ROW_KEYS);) names->wish_slots *= 2;
  names->wish_table = mem_calloc(names->wish_slots, sizeof names->wish_table[0]);
  for (size_t i = 0; i < n; i++) {
    struct row_wish *wish = wish_for(names, wanted[i]);
    ret_also[i] = wish->wanted;
    wish->wanted = (int)i;
  }
  for (int i = 0; i < ROW_KEYS; i++)
    if (reserved[i]) wish_for(names, reserved[i])->reserved = i;
}

void row_names_fini(struct row_names *names) {
  for (size_t i = 0; i < names->n_wishes; i++) mem_free((char *)(uintptr_t)names->wishes[i].name);
  mem_free(names->wishes);
  mem_free(names->wish_table);
  mem_free(names->seen);
  mem_free(names->text);
}

/* ---- the row's own names ---- */

void row_names_start(struct row_names *names) {
  names->next = 0;
  names->hashed = false;
}

static const char *text_of(const struct row_names *names, const struct row_name *name) {
  return names->text + name->at;
}

/* NULL, or the same name when it is in the table already. */
static const struct row_name *insert(struct row_names *names, uint32_t index) {
  const struct row_name *name = &names->seen[index];
  for (uint32_t slot = spread(name->hash);; slot++) {
    uint32_t at = slot % ROW_SLOTS;
    if (names->slots[at].generation != names->generation) {
      names->slots[at].generation = names->generation;
      names->slots[at].index = index;
      return NULL;
    }
    const struct row_name *other = &names->seen[names->slots[at].index];
    if (other->hash == name->hash && other->place.scope == name->place.scope && other->len == name->len &&
        memcmp(text_of(names, other), text_of(names, name), name->len) == 0)
      return other;
  }
}

/* From here on the row is another than the one before: what is left of that one is forgotten. */
static void start_table(struct row_names *names) {
  names->n_seen = names->next;
  names->text_len = names->next ? names->seen[names->next - 1].at + names->seen[names->next - 1].len : 0;
  names->hashed = true;
  if (++names->generation == 0) { /* wrapped: old marks would look new */
    memset(names->slots, 0, sizeof names->slots);
    names->generation = 1;
  }
  for (uint32_t i = 0; i < names->n_seen; i++) ORCH_ASSERT(!insert(names, i));
}

static bool same(const struct row_names *names, const struct row_name *name, struct row_place place, const char *key,
                 size_t len) {
  return name->place.scope == place.scope && name->place.opener == place.opener && name->len - name->tail == len &&
         memcmp(text_of(names, name) + name->tail, key, len) == 0;
}

/* Room for one more name of so many bytes. */
static void make_room(struct row_names *names, size_t bytes) {
  if (names->next == names->seen_size) {
    names->seen_size = names->seen_size ? 2 * names->seen_size : 64;
    names->seen = mem_realloc(names->seen, names->seen_size * sizeof names->seen[0]);
  }
  while (names->text_len + bytes > names->text_size) {
    names->text_size = names->text_size ? 2 * names->text_size : 4096;
    names->text = mem_realloc(names->text, names->text_size);
  }
  ORCH_ASSERT(names->next < OBSERVE_COLUMNS_MAX && names->text_len + bytes <= ROW_TEXT_MAX);
}

/* Appends the key with its whole name; it counts only once the caller raises n_seen. */
static struct row_name *learn(struct row_names *names, struct row_place place, const char *key, size_t len) {
  make_room(names, len + (place.opener != ROW_NO_OPENER ? names->seen[place.opener].len + 1 : 0));
  struct row_name *name = &names->seen[names->next];
  uint32_t hash = HASH_START;
  *name = (struct row_name){.place = place, .at = (uint32_t)names->text_len};
  if (place.opener != ROW_NO_OPENER) {
    const struct row_name *opener = &names->seen[place.opener];
    name->tail = opener->len + 1;
    memcpy(names->text + name->at, text_of(names, opener), opener->len);
    names->text[name->at + opener->len] = '.';
    hash = hash_of(opener->hash, ".", 1);
  }
  name->len = name->tail + (uint32_t)len;
  memcpy(names->text + name->at + name->tail, key, len);
  names->text_len = name->at + name->len;
  name->hash = hash_of(hash, key, len);
  const struct row_wish *wish = place.scope == 0 ? find_wish(names, name->hash, text_of(names, name), name->len) : NULL;
  name->wanted = wish ? wish->wanted : ROW_WANTED_NONE;
  name->reserved = wish ? wish->reserved : ROW_WANTED_NONE;
  return name;
}

const struct row_name *row_names_next(struct row_names *names, struct row_place place, const char *key, size_t len,
                                      struct err *err) {
  if (!names->hashed && names->next < names->n_seen && same(names, &names->seen[names->next], place, key, len))
    return &names->seen[names->next++];
  if (len == 0) {
    err_set(err, ERR_INVALID, "a column without a name");
    return NULL;
  }
  if (len > OBSERVE_NAME_MAX) {
    err_set(err, ERR_LIMIT, "a column name of more than %d bytes", OBSERVE_NAME_MAX);
    return NULL;
  }
  if (names->next == OBSERVE_COLUMNS_MAX) {
    err_set(err, ERR_LIMIT, "more than %d columns", OBSERVE_COLUMNS_MAX);
    return NULL;
  }
  if (!names->hashed) start_table(names);
  struct row_name *name = learn(names, place, key, len);
  const struct row_name *other = insert(names, names->next);
  if (other) {
    err_set(err, ERR_INVALID, "duplicate column \"%.*s\"%s", (int)(name->len > 100 ? 100 : name->len),
            text_of(names, name), other->tail == name->tail ? "" : ": as one key and inside an object");
    return NULL;
  }
  names->n_seen = ++names->next;
  return name;
}
