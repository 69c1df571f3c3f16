/* Inside of the fetch module, for its files and its tests. */
#ifndef ORCH_IO_FETCH_PRIVATE_H
#define ORCH_IO_FETCH_PRIVATE_H

#include <stdint.h>

struct fetch_call;
void *fetch_call_easy(const struct fetch_call *call);
/* Seconds or an HTTP date, as Retry-After has it; at most a day; -1 when malformed. */
int64_t fetch_parse_retry_after_ms(const char *text, int64_t now_s);

#endif
