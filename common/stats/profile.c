#include "stats/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "stats/bytes.h"

#define MAGIC "ORCHPROF"
enum { VERSION = 1 };

void profile_free(struct profile *profile) {
  if (!profile) return;
  mem_free(profile->columns);
  mem_free(profile);
}

const struct sketch *profile_find(const struct profile *profile, const char *name) {
  for (size_t i = 0; i < profile->n_columns; i++)
    if (strcmp(profile->columns[i].name, name) == 0) return &profile->columns[i].sketch;
  return NULL;
}

void profile_encode(const struct profile *profile, struct strbuf *out) {
  strbuf_add(out, MAGIC, 8);
  bytes_put(out, VERSION, 2);
  bytes_put(out, 0, 2);
  bytes_put(out, profile->n_columns, 4);
  bytes_put(out, profile->rows, 8);
  for (size_t i = 0; i < profile->n_columns; i++) {
    size_t len = strlen(profile->columns[i].name);
    bytes_put(out, len, 2);
    strbuf_add(out, profile->columns[i].name, len);
    sketch_encode(&profile->columns[i].sketch, out);
  }
}

static bool decode_column(struct profile *profile, struct bytes_reader *in, struct err *err) {
  struct profile_column *column = &profile->columns[profile->n_columns];
  size_t len = bytes_get(in, 2), used;
  if (in->failed || len > in->left) return err_set(err, ERR_INVALID, "a profile is cut short");
  if (len == 0 || len > PROFILE_NAME_MAX || memchr(in->at, 0, len))
    return err_set(err, ERR_INVALID, "a profile with an impossible column name");
  memcpy(column->name, in->at, len);
  in->at += len;
  in->left -= len;
  if (profile_find(profile, column->name))
    return err_set(err, ERR_INVALID, "a profile with column \"%s\" twice", column->name);
  if (!sketch_decode(&column->sketch, in->at, in->left, &used, err))
    return err_prefix(err, "column \"%s\"", column->name);
  in->at += used;
  in->left -= used;
  profile->n_columns++;
  return true;
}

struct profile *profile_decode(const void *bytes, size_t len, struct err *err) {
  struct bytes_reader in = {.at = bytes, .left = len};
  if (len > PROFILE_ENCODED_MAX) {
    err_set(err, ERR_LIMIT, "a profile of %zu bytes; at most %d are taken", len, PROFILE_ENCODED_MAX);
    return NULL;
  }
  if (len < 24 || memcmp(bytes, MAGIC, 8) != 0) {
    err_set(err, ERR_INVALID, "these bytes are no profile");
    return NULL;
  }
  in.at += 8;
  in.left -= 8;
  uint64_t version = bytes_get(&in, 2), zero = bytes_get(&in, 2), n = bytes_get(&in, 4), rows = bytes_get(&in, 8);
  if (version != VERSION || zero) {
    err_set(err, ERR_INVALID, "a profile of version %u, which is not known here", (unsigned)version);
    return NULL;
  }
  if (n > PROFILE_COLUMNS_MAX) {
    err_set(err, ERR_LIMIT, "a profile of %u columns; at most %d are taken", (unsigned)n, PROFILE_COLUMNS_MAX);
    return NULL;
  }
  struct profile *profile = mem_alloc(sizeof *profile);
  profile->rows = rows;
  profile->columns = mem_calloc(n ? n : 1, sizeof profile->columns[0]);
  for (uint64_t i = 0; i < n; i++)
    if (!decode_column(profile, &in, err)) goto fail;
  if (in.left) {
    err_set(err, ERR_INVALID, "a profile with %zu bytes behind its end", in.left);
    goto fail;
  }
  return profile;
fail:
  profile_free(profile);
  return NULL;
}
