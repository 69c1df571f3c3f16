/* Decimals to doubles: the same bits as strtod(), whatever the block holds and wherever a decimal stands in it. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "drift_data.h"
#include "stats/decimal.h"

#define BLOCK 1024

struct block {
  uint64_t mantissas[BLOCK], bits[BLOCK], widest;
  uint8_t codes[BLOCK];
  size_t n;
};

static void block_add(struct block *b, uint64_t mantissa, unsigned code) {
  assert_in_range(b->n, 0, BLOCK - 1);
  if (!(code & DECIMAL_READY)) b->widest |= mantissa;
  b->bits[b->n] = b->mantissas[b->n] = mantissa;
  b->codes[b->n++] = (uint8_t)code;
}

static void block_check(struct block *b) {
  decimal_convert(b->bits, b->codes, b->n, b->widest);
  for (size_t i = 0; i < b->n; i++) {
    char text[64];
    unsigned fraction = b->codes[i] & 63;
    uint64_t expected = b->mantissas[i];
    snprintf(text, sizeof text, "%s%" PRIu64 "e-%u", b->codes[i] & DECIMAL_NEGATIVE ? "-" : "", b->mantissas[i],
             fraction == DECIMAL_WHOLE ? 0 : fraction);
    double value = strtod(text, NULL);
    if (!(b->codes[i] & DECIMAL_READY)) memcpy(&expected, &value, sizeof value);
    if (b->bits[i] != expected)
      fail_msg("%s at %zu of %zu: %016" PRIx64 " instead of %016" PRIx64, text, i, b->n, b->bits[i], expected);
  }
  *b = (struct block){0};
}

static uint64_t random_mantissa(uint64_t *random) {
  uint64_t bits = test_random(random), m;
  switch (test_random(random) % 4) {
  case 0: /* any length */
    m = bits >> (bits % 64);
    break;
  case 1: /* around 2^53, where a single division stops being exact */
    m = (1ull << 53) - 8 + bits % 16;
    break;
  case 2: /* between two doubles, or right beside the middle */
    m = ((1ull << 53) + bits % (1ull << 53)) << (bits >> 60 & 7);
    m += (1ull << (bits >> 60 & 7)) / 2 + test_random(random) % 3 - 1;
    break;
  default: /* as a double is written with 17 digits */
    m = 10000000000000000 + bits % 90000000000000000;
  }
  return m % 10000000000000000000u;
}

static void random_blocks(void **state) {
  uint64_t random = (uint64_t)time(NULL);
  const char *given = getenv("ORCH_TEST_SEED");
  if (given) random = strtoull(given, NULL, 10);
  print_message("ORCH_TEST_SEED=%" PRIu64 "\n", random);
  static struct block b;
  for (int round = 0; round < 400; round++) {
    size_t n = test_random(&random) % (round % 2 ? BLOCK : 12) + 1;
    bool narrow = round % 3 == 0;
    for (size_t i = 0; i < n; i++) {
      uint64_t pick = test_random(&random), m = random_mantissa(&random);
      unsigned fraction = pick % 5 == 0 ? DECIMAL_WHOLE : (unsigned)(pick >> 8) % (DECIMAL_FRACTION_MAX + 1);
      double ready = pick % 2 ? NAN : -1.5e300;
      if (narrow) m &= (1ull << 53) - 1;
      if (pick % 17 == 0) {
        memcpy(&m, &ready, sizeof m);
        block_add(&b, m, DECIMAL_READY);
      } else {
        block_add(&b, m, fraction | (pick >> 32 & 1 ? DECIMAL_NEGATIVE : 0));
      }
    }
    block_check(&b);
  }
}

/* The inverse of `a` modulo the odd number m. */
static uint64_t inverse(uint64_t a, uint64_t m) {
  __int128 r0 = m, r1 = a % m, t0 = 0, t1 = 1;
  while (r1 != 0) {
    __int128 q = r0 / r1, r2 = r0 - q * r1, t2 = t0 - q * t1;
    r0 = r1, r1 = r2, t0 = t1, t1 = t2;
  }
  assert_true(r0 == 1);
  return (uint64_t)(t0 < 0 ? t0 + m : t0);
}

/* Decimals as near as can be to the middle between two doubles, from above and below: m / 10^f = (odd +- tiny) * 2^e
 * where 2^k m = odd * 5^f +- 1 and `odd` has 54 bits. */
static void nearest_to_the_middle(void **state) {
  static struct block b;
  uint64_t five = 1;
  int found = 0;
  for (unsigned f = 1; f <= DECIMAL_FRACTION_MAX; f++) {
    five *= 5;
    for (unsigned k = 1; k < 45; k++)
      for (int above = 0; above <= 1; above++) {
        uint64_t first = inverse((1ull << k) % five, five), m = above ? first : five - first;
        /* All solutions are m + t * 5^f; take some that give 54 bits. */
        unsigned __int128 low = ((unsigned __int128)1 << 53) * five >> k, most = UINT64_C(9999999999999999999);
        if (low > most) continue;
        uint64_t t = (uint64_t)(low / five) + 1;
        for (int i = 0; i < 3 && t + (uint64_t)i <= (most - m) / five; i++) {
          unsigned __int128 odd = (((unsigned __int128)(m + (t + (uint64_t)i) * five) << k) + (above ? -1 : 1)) / five;
          if (odd >> 54 != 0 || odd >> 53 == 0 || odd % 2 == 0) continue;
          block_add(&b, m + (t + (uint64_t)i) * five, f);
          found++;
          if (b.n == BLOCK) block_check(&b);
        }
      }
  }
  block_check(&b);
  assert_in_range(found, 500, 100000);
}

/* The bits of a ready one taken for a mantissa would be in doubt often: they must not make others wrong, nor slow. */
static void known_decimals(void **state) {
  static struct block b;
  static const uint64_t mantissas[] = {0,
                                       1,
                                       5,
                                       10,
                                       9007199254740991,
                                       9007199254740992,
                                       9007199254740993,
                                       9007199254740995,
                                       18014398509481989,
                                       9999999999999999999u,
                                       1000000000000000000,
                                       12345678901234567,
                                       22250738585072014,
                                       17976931348623157};
  for (size_t i = 0; i < ARRAY_LEN(mantissas); i++)
    for (unsigned fraction = 0; fraction <= DECIMAL_FRACTION_MAX; fraction++)
      for (unsigned negative = 0; negative <= DECIMAL_NEGATIVE; negative += DECIMAL_NEGATIVE)
        block_add(&b, mantissas[i], fraction | negative);
  block_check(&b);
  decimal_convert(NULL, NULL, 0, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_blocks), cmocka_unit_test(nearest_to_the_middle),
                                     cmocka_unit_test(known_decimals)};
  return cmocka_run_group_tests_name("decimal", tests, NULL, NULL);
}
