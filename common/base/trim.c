/* Giving memory back: see mem_trim(). */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

struct mapping {
  unsigned long long start, end;
  bool clean; /* of a file, never writable now, and (as far as read) without a page that differs from the file */
};

/* "7f01c000-7f02e000 r--p 00000000 fe:00 1234   /usr/lib/libc.so.6" */
static bool parse_head(const char *line, struct mapping *ret) {
  char *at;
  struct mapping mapping = {0};
  mapping.start = strtoull(line, &at, 16);
  if (at == line || *at != '-') return false;
  const char *end = at + 1;
  mapping.end = strtoull(end, &at, 16);
  if (at == end || at[0] != ' ' || strlen(at) < 6) return false;
  mapping.clean = at[1] == 'r' && at[2] == '-' && at[4] == 'p' && strchr(at, '/') != NULL;
  *ret = mapping;
  return true;
}

/* "Private_Dirty:        12 kB": a page that was written, by relocation for one, must not be lost. */
static bool says_dirty(const char *line) {
  static const char *const keys[] = {"Private_Dirty:", "Shared_Dirty:", "Anonymous:", "Swap:", "Locked:"};
  for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
    size_t len = strlen(keys[i]);
    if (strncmp(line, keys[i], len) == 0) return strtoull(line + len, NULL, 10) != 0;
  }
  return false;
}

static void drop(const struct mapping *mapping) {
  union {
    unsigned long long number;
    void *pointer;
  } start = {.number = mapping->start};
  /* A refusal changes nothing: the pages just stay. */
  if (mapping->clean && madvise(start.pointer, (size_t)(mapping->end - mapping->start), MADV_DONTNEED) != 0) return;
}

void mem_trim(void) {
  malloc_trim(0);
  FILE *file = fopen("/proc/self/smaps", "re");
  if (!file) return;
  char *line = NULL;
  size_t size = 0;
  struct mapping current = {0}, next;
  while (getline(&line, &size, file) > 0) {
    if (parse_head(line, &next)) {
      drop(&current);
      current = next;
    } else if (says_dirty(line)) {
      current.clean = false;
    }
  }
  drop(&current);
  free(line);
  fclose(file);
}
