#include "conf/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 1024
#define ARENA_MAX ((size_t)1 << 20)

void problems_init(struct problems *problems, const char *file) {
  *problems = (struct problems){.file = file};
  arena_init(&problems->arena, ARENA_MAX);
}

void problems_fini(struct problems *problems) {
  arena_fini(&problems->arena);
}

void problems_add(struct problems *problems, unsigned line, unsigned column, const char *fmt, ...) {
  if (problems->count == PROBLEMS_MAX) {
    problems->dropped++;
    return;
  }
  char text[TEXT_MAX];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  const char *kept = arena_strdup(&problems->arena, text);
  problems->list[problems->count++] = (struct problem){line, column, kept != NULL ? kept : "(no room to say what)"};
}

/* By place; what stands at the same place keeps its order, since qsort gets the addresses as the last resort. */
static int by_place(const void *a, const void *b) {
  const struct problem *x = *(const struct problem *const *)a, *y = *(const struct problem *const *)b;
  if (x->line != y->line) return x->line < y->line ? -1 : 1;
  if (x->column != y->column) return x->column < y->column ? -1 : 1;
  return x < y ? -1 : x > y;
}

void problems_print(struct problems *problems, struct strbuf *out) {
  const struct problem *order[PROBLEMS_MAX];
  for (size_t i = 0; i < problems->count; i++) order[i] = &problems->list[i];
  if (problems->count > 1) qsort(order, problems->count, sizeof order[0], by_place);
  for (size_t i = 0; i < problems->count; i++) {
    strbuf_add_terminal(out, problems->file);
    if (order[i]->line > 0) strbuf_printf(out, ":%u:%u", order[i]->line, order[i]->column);
    strbuf_puts(out, ": ");
    strbuf_add_terminal(out, order[i]->text);
    strbuf_putc(out, '\n');
  }
  if (problems->dropped > 0) {
    strbuf_add_terminal(out, problems->file);
    strbuf_printf(out, ": and %zu more\n", problems->dropped);
  }
}
