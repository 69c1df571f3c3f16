/* Profiles of champions that were read before, within a bound of memory: servers judge the same pipelines again and
 * again. */
#ifndef ORCH_TRIGGER_PROFILES_H
#define ORCH_TRIGGER_PROFILES_H

#include <stdbool.h>
#include <stdint.h>

#include "stats/profile.h"

#define PROFILES_BYTES_MAX (64 * 1024 * 1024)

struct profiles;
struct profiles *profiles_new(void);
void profiles_free(struct profiles *profiles); /* NULL is fine */
/* NULL when it is not here. Valid until profiles_shrink(). */
const struct profile *profiles_find(const struct profiles *profiles, int64_t version_id);
/* Takes the profile over; NULL remembers that the version has none that can be read. */
void profiles_add(struct profiles *profiles, int64_t version_id, struct profile *profile);
bool profiles_known(const struct profiles *profiles, int64_t version_id);
/* Lets profiles go until there are at most PROFILES_BYTES_MAX: any of them, since a server goes through its pipelines
 * in circles, where the oldest is the one needed next. */
void profiles_shrink(struct profiles *profiles);

#endif
