/* What does not need the loop: headers of an answer, and which addresses are public. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/fetch.h"
#include "io/fetch_private.h"

const char *fetch_header(const struct fetch_response *response, const char *name) {
  struct curl_header *header = NULL;
  CURL *easy = fetch_call_easy(response->call);
  if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK) return NULL;
  if (header->index + 1 < header->amount &&
      curl_easy_header(easy, name, header->amount - 1, CURLH_HEADER, -1, &header) != CURLHE_OK)
    return NULL;
  return header->value;
}

int64_t fetch_parse_retry_after_ms(const char *text, int64_t now_s) {
  static const int64_t day_s = 24 * 3600;
  if (!text || !*text) return -1;
  int64_t seconds;
  if (strspn(text, "0123456789") == strlen(text)) {
    seconds = strlen(text) > 9 ? day_s : strtoll(text, NULL, 10);
  } else {
    time_t at = curl_getdate(text, NULL);
    if (at == -1) return -1;
    seconds = (int64_t)at - now_s;
    if (seconds < 0) seconds = 0;
  }
  return 1000 * (seconds > day_s ? day_s : seconds);
}

int64_t fetch_retry_after_ms(const struct fetch_response *response) {
  return fetch_parse_retry_after_ms(fetch_header(response, "Retry-After"), clock_wall_us() / 1000000);
}

struct block {
  uint8_t bytes[16];
  unsigned bits;
};

static bool in_block(const uint8_t *address, const struct block *block) {
  unsigned whole = block->bits / 8, rest = block->bits % 8;
  if (memcmp(address, block->bytes, whole) != 0) return false;
  uint8_t mask = (uint8_t)(0xff00 >> rest);
  return rest == 0 || (address[whole] & mask) == (block->bytes[whole] & mask);
}

/* IANA's special-purpose address registries (RFC 6890 and its updates). */
static const struct block not_public_v4[] = {
    {{0}, 8},
    {{10}, 8},
    {{100, 64}, 10},
    {{127}, 8},
    {{169, 254}, 16},
    {{172, 16}, 12},
    {{192, 0, 0}, 24},
    {{192, 0, 2}, 24},
    {{192, 88, 99}, 24},
    {{192, 168}, 16},
    {{198, 18}, 15},
    {{198, 51, 100}, 24},
    {{203, 0, 113}, 24},
    {{224}, 4},
    {{240}, 4},
};
/* Of IPv6 only 2000::/3 is handed out; the blocks below it are special all the same. */
static const struct block public_v6 = {{0x20}, 3};
static const struct block not_public_v6[] = {
    {{0x20, 0x01, 0x00}, 23},       /* protocol assignments, Teredo, ORCHID */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x20, 0x02}, 16},             /* 6to4: carries any IPv4 address */
    {{0x3f, 0xff, 0x00}, 20},       /* documentation */
};

static bool v4_is_public(const uint8_t *address) {
  for (size_t i = 0; i < ARRAY_LEN(not_public_v4); i++)
    if (in_block(address, &not_public_v4[i])) return false;
  return true;
}

bool fetch_address_is_public(void *arg, const struct sockaddr *address) {
  (void)arg;
  if (address->sa_family == AF_INET) {
    struct sockaddr_in in;
    memcpy(&in, address, sizeof(in));
    return v4_is_public((const uint8_t *)&in.sin_addr);
  }
  if (address->sa_family != AF_INET6) return false;
  struct sockaddr_in6 in6;
  memcpy(&in6, address, sizeof(in6));
  const uint8_t *bytes = in6.sin6_addr.s6_addr;
  if (!in_block(bytes, &public_v6)) return false;
  for (size_t i = 0; i < ARRAY_LEN(not_public_v6); i++)
    if (in_block(bytes, &not_public_v6[i])) return false;
  return true;
}
