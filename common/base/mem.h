/* Memory: small allocations that never fail, and arenas with a cap for everything sized by input.
 *
 * Crash-only: when the machine has no memory for a small object the process says so and aborts; PostgreSQL holds all
 * state and another process carries on. What an outsider can make large must come from an arena or a strbuf, both of
 * which have a cap and report ERR_LIMIT instead. See docs/decisions/0002-memory.md. */
#ifndef ORCH_BASE_MEM_H
#define ORCH_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory; aborts when there is none. Free with mem_free(). */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull)); /* aborts on overflow too */
void *mem_realloc(void *old, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *mem_strndup(const char *text, size_t len) __attribute__((malloc, returns_nonnull));
char *mem_printf(const char *fmt, ...) __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));
void mem_free(void *ptr); /* NULL is fine */
/* Overwrites before freeing; for secrets. NULL is fine. */
void mem_free_secret(char *text);

/* Gives back what is not needed while idle: free heap pages, and pages of code and constants that only start-up or a
 * rare task touched (they are clean copies of files and come back by themselves when needed). Takes a few milliseconds:
 * for daemons with nothing to do. */
void mem_trim(void);

/* Magic numbers: the first member of a struct that is passed through a `void *`; checked on the way back. */
#define MAGIC_CHECK(ptr, value)                                                                                        \
  do {                                                                                                                 \
    if ((ptr) == NULL || (ptr)->magic != (value)) mem_magic_failed(#ptr, __FILE__, __LINE__);                          \
  } while (0)
_Noreturn void mem_magic_failed(const char *what, const char *file, int line);

/* Paired assertions that stay in release builds; for what must hold or state would be corrupted. */
#define ORCH_ASSERT(cond)                                                                                              \
  do {                                                                                                                 \
    if (!(cond)) mem_assert_failed(#cond, __FILE__, __LINE__);                                                         \
  } while (0)
_Noreturn void mem_assert_failed(const char *what, const char *file, int line);

/* A bump arena: one per request or flow, freed as a whole. Freed bytes are poisoned under sanitizers. */
struct arena_block;
struct arena {
  struct arena_block *blocks;
  size_t used; /* bytes handed out */
  size_t max;  /* cap in bytes */
  bool failed; /* sticky: some allocation exceeded the cap */
};
void arena_init(struct arena *arena, size_t max_bytes);
void arena_fini(struct arena *arena);
void arena_reset(struct arena *arena);
/* Zeroed, aligned for any type; NULL once the cap is passed (and `failed` stays set). */
void *arena_alloc(struct arena *arena, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t len);
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Cleanup attributes: `CLEANUP(mem_free_p) char *name = NULL;` */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
static inline void mem_free_p(void *slot) {
  mem_free(*(void **)slot);
}
static inline void arena_fini_p(struct arena *arena) {
  arena_fini(arena);
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
