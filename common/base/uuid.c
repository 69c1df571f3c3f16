#include "base/uuid.h"

#include <stdint.h>

#include "base/clock.h"
#include "base/digest.h"

void uuid_v7(char out[UUID_TEXT_SIZE]) {
  uint8_t bytes[16];
  clock_random(bytes, sizeof bytes);
  uint64_t ms = (uint64_t)(clock_wall_us() / 1000);
  for (int i = 0; i < 6; i++) bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
  bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x70);
  bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
  char hex[33];
  digest_hex(bytes, sizeof bytes, hex);
  for (int from = 0, to = 0; from < 32; from++) {
    if (from == 8 || from == 12 || from == 16 || from == 20) out[to++] = '-';
    out[to++] = hex[from];
  }
  out[UUID_TEXT_SIZE - 1] = 0;
}
