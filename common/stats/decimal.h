/* Decimals to doubles, many at once, correctly rounded: a mantissa of up to 19 digits and how many of them stand behind
 * the full stop.
 *
 * value = mantissa / 10^fraction. Where both fit 53 bits one division gives the right double (Clinger 1990). Otherwise
 * the mantissa is taken as a sum of two doubles; the quotient of the larger one is put right by its exact remainder
 * (fused multiply-add) and by the smaller one. That leaves an error of some 2^-50 of the correction; where so much
 * could change the rounding, the decimal is read again by number_parse(). Processors with AVX2 and FMA do four at a
 * time, the others one by one: the same bits. */
#ifndef ORCH_STATS_DECIMAL_H
#define ORCH_STATS_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

#define DECIMAL_DIGITS_MAX 19   /* of a mantissa: 10^19 - 1 fits 64 bits */
#define DECIMAL_FRACTION_MAX 22 /* 10^22 is the last exact power */
/* A code is the number of digits behind the full stop, or one of: */
#define DECIMAL_WHOLE 32 /* there is no full stop (the same as 0) */
#define DECIMAL_READY 64 /* the bits are a double's already, with its sign */
/* plus, for a negative number (not with DECIMAL_READY): */
#define DECIMAL_NEGATIVE 128

/* Turns n mantissas into the bits of doubles, in place. `widest` is at least the largest of the mantissas (or all bits
 * of them or-ed together). */
void decimal_convert(uint64_t *bits, const uint8_t *codes, size_t n, uint64_t widest);

#endif
