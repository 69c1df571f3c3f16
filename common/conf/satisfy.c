#include "conf/satisfy.h"

#include <stdbool.h>
#include <string.h>

struct matching {
  const char *groups[SATISFY_VOTES_MAX]; /* one slot per wanted vote */
  int voter[SATISFY_VOTES_MAX];          /* the person who fills it, or -1 */
  unsigned slots;
  const json_t *people;
};

static bool is_member(const json_t *person, const char *group) {
  size_t i;
  json_t *name;
  json_array_foreach(json_object_get(person, "groups"), i, name) {
    if (strcmp(json_string_value(name), group) == 0) return true;
  }
  return false;
}

unsigned satisfy_members(const json_t *reviewers, const char *group) {
  unsigned count = 0;
  for (size_t i = 0; i < json_array_size(reviewers); i++) count += is_member(json_array_get(reviewers, i), group);
  return count;
}

/* Finds a slot for the person, moving others when they have another one. Depth is bounded by the slots. */
static bool place(struct matching *m, int person, bool *seen) {
  const json_t *who = json_array_get(m->people, (size_t)person);
  for (unsigned slot = 0; slot < m->slots; slot++) {
    if (seen[slot] || !is_member(who, m->groups[slot])) continue;
    seen[slot] = true;
    if (m->voter[slot] < 0 || place(m, m->voter[slot], seen)) {
      m->voter[slot] = person;
      return true;
    }
  }
  return false;
}

unsigned satisfy_votes(const json_t *require, const json_t *reviewers) {
  struct matching m = {.people = reviewers};
  size_t i;
  json_t *rule;
  json_array_foreach(require, i, rule) {
    json_int_t approvals = json_integer_value(json_object_get(rule, "approvals"));
    for (json_int_t k = 0; k < approvals && m.slots < SATISFY_VOTES_MAX; k++) {
      m.voter[m.slots] = -1;
      m.groups[m.slots++] = json_string_value(json_object_get(rule, "group"));
    }
  }
  size_t people = json_array_size(reviewers);
  unsigned placed = 0;
  for (size_t person = 0; person < people && person < SATISFY_PEOPLE_MAX; person++) {
    bool seen[SATISFY_VOTES_MAX] = {0};
    placed += place(&m, (int)person, seen);
  }
  return placed;
}
