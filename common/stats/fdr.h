/* Many tests at once: Benjamini-Hochberg's control of the false discovery rate.
 *
 * Sorted p(1) <= ... <= p(m); adjusted p(i) = min over j >= i of p(j) m / j, at most 1. Rejecting where the adjusted p
 * is at most q keeps the expected share of false ones among the rejected at q (tests independent or positively
 * dependent), which is the same as taking the largest i with p(i) <= i q / m. Without drift in any column it is also
 * the chance of any rejection at all. Source: Benjamini and Hochberg, J. R. Stat. Soc. B 57, 1995. */
#ifndef ORCH_STATS_FDR_H
#define ORCH_STATS_FDR_H

#include <stddef.h>

/* `ret` may be `p` itself. NaN is no test: it stays NaN and does not count in m. */
void fdr_adjust(const double *p, size_t n, double *ret);

#endif
