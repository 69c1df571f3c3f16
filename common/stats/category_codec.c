/* The binary form of a categorical sketch:
 *   u8 kind (2 = categorical), u8 version (1), u16 n_values, u16 bloom_bits, u16 zero, u8 bloom[bloom_bits / 8],
 *   n_values times (u8 len, text), u64 n, null, bad, numbers, other, unseen, once, slack, u64 count[n_values],
 *   the distinct count */
#include <string.h>

#include "stats/bytes.h"
#include "stats/category.h"

enum { KIND_CATEGORICAL = 2, VERSION = 1 };

void category_encode(const struct category *s, struct strbuf *out) {
  bytes_put(out, KIND_CATEGORICAL, 1);
  bytes_put(out, VERSION, 1);
  bytes_put(out, s->dict.n, 2);
  bytes_put(out, s->dict.bloom_bits, 2);
  bytes_put(out, 0, 2);
  strbuf_add(out, s->dict.bloom, s->dict.bloom_bits / 8);
  for (uint32_t i = 0; i < s->dict.n; i++) {
    bytes_put(out, s->dict.values[i].len, 1);
    strbuf_add(out, s->dict.values[i].text, s->dict.values[i].len);
  }
  const uint64_t counts[] = {s->n, s->null, s->bad, s->numbers, s->other, s->unseen, s->once, s->slack};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) bytes_put(out, counts[i], 8);
  for (uint32_t i = 0; i < s->dict.n; i++) bytes_put(out, s->count[i], 8);
  distinct_encode(&s->distinct, out);
}

static bool decode_values(struct category_dict *dict, struct bytes_reader *in, struct err *err) {
  for (uint32_t i = 0; i < dict->n; i++) {
    struct category_value *value = &dict->values[i];
    uint64_t len = bytes_get(in, 1);
    if (in->failed || len > in->left) return err_set(err, ERR_INVALID, "a sketch is cut short");
    if (len > CATEGORY_VALUE_MAX || (len && memchr(in->at, 0, len)))
      return err_set(err, ERR_INVALID, "a sketch with an impossible value");
    value->len = (uint8_t)len;
    memcpy(value->text, in->at, len);
    in->at += len;
    in->left -= len;
  }
  category_dict_index(dict);
  for (uint32_t i = 0; i < dict->n; i++)
    for (uint32_t j = 0; j < i; j++)
      if (dict->hashes[i] == dict->hashes[j] && strcmp(dict->values[i].text, dict->values[j].text) == 0)
        return err_set(err, ERR_INVALID, "a sketch with one value twice");
  return true;
}

static bool decode_dict(struct category_dict *dict, struct bytes_reader *in, struct err *err) {
  uint64_t kind = bytes_get(in, 1), version = bytes_get(in, 1), n = bytes_get(in, 2), bits = bytes_get(in, 2),
           zero = bytes_get(in, 2);
  if (in->failed) return err_set(err, ERR_INVALID, "a sketch is cut short");
  if (kind != KIND_CATEGORICAL || version != VERSION)
    return err_set(err, ERR_INVALID, "a sketch of kind %u version %u, which is not known here", (unsigned)kind,
                   (unsigned)version);
  bool power = bits == 0 || (bits >= 64 && bits <= sizeof dict->bloom * 8 && (bits & (bits - 1)) == 0);
  if (n > CATEGORY_KEPT_MAX || !power || zero) return err_set(err, ERR_INVALID, "a sketch with an impossible head");
  if (bits / 8 > in->left) return err_set(err, ERR_INVALID, "a sketch is cut short");
  dict->n = (uint32_t)n;
  dict->bloom_bits = (uint32_t)bits;
  memcpy(dict->bloom, in->at, bits / 8);
  in->at += bits / 8;
  in->left -= bits / 8;
  return decode_values(dict, in, err);
}

static bool decode_counts(struct category *s, struct bytes_reader *in, struct err *err) {
  uint64_t *const parts[] = {&s->null, &s->bad, &s->numbers, &s->other, &s->unseen, &s->once, &s->slack};
  s->n = bytes_get(in, 8);
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) *parts[i] = bytes_get(in, 8);
  for (uint32_t i = 0; i < s->dict.n; i++) s->count[i] = bytes_get(in, 8);
  if (in->failed) return err_set(err, ERR_INVALID, "a sketch is cut short");
  uint64_t left = s->n;
  const uint64_t whole[] = {s->null, s->bad, s->other, s->unseen};
  bool sound = true;
  for (size_t i = 0; sound && i < sizeof whole / sizeof whole[0]; i++) {
    sound = whole[i] <= left;
    if (sound) left -= whole[i];
  }
  for (uint32_t i = 0; sound && i < s->dict.n; i++) {
    sound = s->count[i] <= left;
    if (sound) left -= s->count[i];
  }
  if (!sound || left != 0) return err_set(err, ERR_INVALID, "a sketch whose counts do not add up");
  uint64_t present = category_present(s);
  if (s->numbers > present || s->once > present || s->slack > s->n)
    return err_set(err, ERR_INVALID, "a sketch whose counts do not add up");
  return true;
}

bool category_decode(struct category *ret, const void *bytes, size_t len, size_t *ret_used, struct err *err) {
  struct bytes_reader in = {.at = bytes, .left = len};
  struct category s = {0};
  size_t used;
  if (!decode_dict(&s.dict, &in, err) || !decode_counts(&s, &in, err)) return false;
  if (!distinct_decode(&s.distinct, in.at, in.left, &used, err)) return false;
  *ret = s;
  *ret_used = len - in.left + used;
  return true;
}
