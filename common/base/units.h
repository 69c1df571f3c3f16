/* Durations and sizes as people write them: "30s 5m 2h 7d" and "512MiB 2GiB". */
#ifndef ORCH_BASE_UNITS_H
#define ORCH_BASE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One number and one unit (ms, s, m, h, d); no fraction, no sign; false when malformed, without unit or over 10 years.
 */
bool units_parse_duration_ms(const char *text, int64_t *ret_ms);
/* One number and one unit (B, KiB, MiB, GiB, TiB); false when malformed, without unit or over 2^53. */
bool units_parse_size_bytes(const char *text, int64_t *ret_bytes);

#define UNITS_TEXT_SIZE 32
/* For people: "950 ms", "42 s", "5 m 10 s", "2 h 5 m", "3 d 4 h". */
void units_format_duration(int64_t ms, char out[UNITS_TEXT_SIZE]);
/* For people: "512 B", "1.4 MiB". */
void units_format_size(int64_t bytes, char out[UNITS_TEXT_SIZE]);

/* A measured number for people, to four digits where it has a fraction: "0.04213", "6.25", "41000", "123456789"; with
 * an exponent from 10^9 on and below 0.0001. */
void units_format_number(double value, char out[UNITS_TEXT_SIZE]);

#endif
