/* What every cmocka program needs first, in the order that cmocka wants. */
#ifndef ORCH_TESTS_UNIT_CM_H
#define ORCH_TESTS_UNIT_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
