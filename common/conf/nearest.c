#include "conf/nearest.h"

#include <string.h>

#define WORD_MAX 63

static unsigned min3(unsigned a, unsigned b, unsigned c) {
  unsigned least = a < b ? a : b;
  return least < c ? least : c;
}

/* Optimal string alignment distance; both words at most WORD_MAX bytes. */
static unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len) {
  unsigned rows[3][WORD_MAX + 1];
  for (size_t j = 0; j <= b_len; j++) rows[0][j] = (unsigned)j;
  for (size_t i = 1; i <= a_len; i++) {
    unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
    row[0] = (unsigned)i;
    for (size_t j = 1; j <= b_len; j++) {
      row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && second[j - 2] + 1 < row[j]) {
        row[j] = second[j - 2] + 1;
      }
    }
  }
  return rows[a_len % 3][b_len];
}

const char *nearest_word(const char *word, const char *const *known) {
  if (word == NULL) return NULL;
  size_t len = strlen(word);
  const char *best = NULL;
  unsigned best_distance = WORD_MAX;
  if (len == 0 || len > WORD_MAX) return NULL;
  for (; *known != NULL; known++) {
    size_t known_len = strlen(*known);
    if (known_len > WORD_MAX) continue;
    size_t longer = len > known_len ? len : known_len;
    unsigned allowed = longer < 3 ? 1 : (unsigned)(longer / 3);
    unsigned distance = edit_distance(word, len, *known, known_len);
    if (distance <= allowed && distance < best_distance) {
      best = *known;
      best_distance = distance;
    }
  }
  return best;
}
