/* The bump arenas of mem.h. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISONS 1
#endif
#endif
#ifdef ARENA_POISONS
#include <sanitizer/asan_interface.h>
#define POISON(ptr, len) __asan_poison_memory_region((ptr), (len))
#define UNPOISON(ptr, len) __asan_unpoison_memory_region((ptr), (len))
#define RED_ZONE 16
#else
#define POISON(ptr, len) ((void)(ptr), (void)(len))
#define UNPOISON(ptr, len) ((void)(ptr), (void)(len))
#define RED_ZONE 0
#endif

#define ALIGNMENT 16
#define FIRST_BLOCK 1024
#define LARGEST_BLOCK (64 * 1024)

struct arena_block {
  struct arena_block *next;
  size_t size;
  size_t used;
  _Alignas(ALIGNMENT) char data[];
};

void arena_init(struct arena *arena, size_t max_bytes) {
  *arena = (struct arena){.max = max_bytes};
}

static void block_free(struct arena_block *block) {
  UNPOISON(block->data, block->size);
  mem_free(block);
}

void arena_fini(struct arena *arena) {
  while (arena->blocks) {
    struct arena_block *next = arena->blocks->next;
    block_free(arena->blocks);
    arena->blocks = next;
  }
  arena->used = 0;
}

/* Keeps the newest block, so that an arena used in a loop stops asking malloc. */
void arena_reset(struct arena *arena) {
  struct arena_block *keep = arena->blocks;
  if (keep) {
    arena->blocks = keep->next;
    arena_fini(arena);
    keep->next = NULL;
    keep->used = 0;
    POISON(keep->data, keep->size);
    arena->blocks = keep;
  }
  arena->used = 0;
  arena->failed = false;
}

static struct arena_block *block_add(struct arena *arena, size_t need) {
  size_t size = arena->blocks ? arena->blocks->size * 2 : FIRST_BLOCK;
  if (size > LARGEST_BLOCK) size = LARGEST_BLOCK;
  if (size < need) size = need;
  struct arena_block *block = calloc(1, sizeof *block + size);
  if (!block) return NULL;
  *block = (struct arena_block){.next = arena->blocks, .size = size};
  POISON(block->data, size);
  arena->blocks = block;
  return block;
}

void *arena_alloc(struct arena *arena, size_t size) {
  size_t room = arena->max - arena->used; /* used <= max always */
  size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (arena->failed || size > room || rounded < size || rounded > SIZE_MAX / 2) {
    arena->failed = true;
    return NULL;
  }
  size_t need = rounded + RED_ZONE;
  struct arena_block *block = arena->blocks;
  if (!block || block->size - block->used < need) block = block_add(arena, need);
  if (!block) {
    arena->failed = true;
    return NULL;
  }
  char *ptr = block->data + block->used;
  block->used += need;
  arena->used += rounded < room ? rounded : room;
  UNPOISON(ptr, size);
  memset(ptr, 0, size);
  return ptr;
}

char *arena_strndup(struct arena *arena, const char *text, size_t len) {
  len = strnlen(text, len);
  char *copy = arena_alloc(arena, len + 1);
  if (copy) memcpy(copy, text, len);
  return copy;
}

char *arena_strdup(struct arena *arena, const char *text) {
  return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  va_list again;
  va_copy(again, args);
  int len = vsnprintf(NULL, 0, fmt, args);
  char *text = len < 0 ? NULL : arena_alloc(arena, (size_t)len + 1);
  if (text) vsnprintf(text, (size_t)len + 1, fmt, again);
  va_end(again);
  va_end(args);
  return text;
}
