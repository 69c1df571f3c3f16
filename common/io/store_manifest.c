/* A tree's manifest: one JSON object, written in one way only, so that equal trees have equal digests. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "io/store_private.h"

#define MANIFEST_KIND "orch-tree"

struct store_entry *store_list_add(struct store_list *list, const char *path) {
  if (list->count == list->room) {
    list->room = list->room ? list->room * 2 : 16;
    list->items = mem_realloc(list->items, list->room * sizeof *list->items);
  }
  struct store_entry *entry = &list->items[list->count++];
  *entry = (struct store_entry){.path = mem_strdup(path)};
  return entry;
}

static int by_path(const void *a, const void *b) {
  const struct store_entry *left = a, *right = b;
  return strcmp(left->path, right->path);
}

void store_list_sort(struct store_list *list) {
  if (list->count) qsort(list->items, list->count, sizeof *list->items, by_path);
}

void store_list_fini(struct store_list *list) {
  for (size_t i = 0; i < list->count; i++) mem_free(list->items[i].path);
  mem_free(list->items);
  *list = (struct store_list){0};
}

char *store_manifest_text(const struct store_list *list) {
  struct strbuf text;
  strbuf_init(&text, SIZE_MAX - 1); /* bounded by the cap on files and the cap on a path */
  strbuf_puts(&text, "{\"files\":[");
  for (size_t i = 0; i < list->count; i++) {
    const struct store_entry *entry = &list->items[i];
    strbuf_printf(&text, "%s{\"digest\":\"%s\",\"mode\":\"%s\",\"path\":", i ? "," : "", entry->digest,
                  entry->executable ? "0755" : "0644");
    strbuf_add_json(&text, entry->path);
    strbuf_printf(&text, ",\"size\":%lld}", (long long)entry->size);
  }
  strbuf_puts(&text, "],\"kind\":\"" MANIFEST_KIND "\",\"version\":1}");
  return strbuf_take(&text);
}

/* Relative, normal, and nothing that could leave the folder. */
static bool path_is_sound(const char *path) {
  if (!path || !*path || strlen(path) > STORE_PATH_MAX) return false;
  for (const char *at = path;;) {
    size_t len = strcspn(at, "/");
    if (len == 0 || (len == 1 && at[0] == '.') || (len == 2 && at[0] == '.' && at[1] == '.')) return false;
    if (!at[len]) return true;
    at += len + 1;
  }
}

static bool take_entry(const json_t *item, struct store_list *list) {
  const char *path = json_string_value(json_object_get(item, "path"));
  const char *mode = json_string_value(json_object_get(item, "mode"));
  const char *digest = json_string_value(json_object_get(item, "digest"));
  const json_t *size = json_object_get(item, "size");
  if (!path_is_sound(path) || !mode || !digest_is_text(digest) || !json_is_integer(size)) return false;
  if (json_integer_value(size) < 0 || (strcmp(mode, "0644") != 0 && strcmp(mode, "0755") != 0)) return false;
  if (list->count && strcmp(list->items[list->count - 1].path, path) >= 0) return false; /* sorted, none twice */
  struct store_entry *entry = store_list_add(list, path);
  memcpy(entry->digest, digest, sizeof entry->digest);
  entry->size = json_integer_value(size);
  entry->executable = strcmp(mode, "0755") == 0;
  return true;
}

static bool take_all(const json_t *root, struct store_list *list) {
  const char *kind = json_string_value(json_object_get(root, "kind"));
  const json_t *files = json_object_get(root, "files"), *item;
  if (!kind || strcmp(kind, MANIFEST_KIND) != 0 || !json_is_array(files)) return false;
  if (json_integer_value(json_object_get(root, "version")) != 1) return false;
  size_t i;
  json_array_foreach(files, i, item) {
    if (i >= 10 * STORE_FILES_DEFAULT || !take_entry(item, list)) return false;
  }
  return true;
}

bool store_manifest_read(struct store *store, const char *digest, struct store_list *list, struct err *err) {
  CLEANUP(mem_free_p) char *text = NULL;
  size_t len;
  if (!store_read(store, digest, STORE_MANIFEST_MAX, &text, &len, err)) return false;
  json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
  bool fine = root && take_all(root, list);
  json_decref(root);
  if (!fine) {
    store_list_fini(list);
    return err_set(err, ERR_INVALID, "%s is not the manifest of a tree", digest);
  }
  return true;
}
