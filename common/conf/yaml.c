#include "conf/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

struct builder {
  yaml_parser_t parser;
  struct arena *arena;
  struct problems *problems;
  const char *text;
  size_t len;
  size_t nodes;
};

static bool too_much(struct builder *b, yaml_mark_t mark, const char *what, size_t max) {
  problems_add(b->problems, (unsigned)mark.line + 1, (unsigned)mark.column + 1, "%s, expected at most %zu", what, max);
  return false;
}

/* libyaml gives a byte offset instead of a mark for what is no UTF-8. */
static void add_reader_error(struct builder *b) {
  size_t end = b->parser.problem_offset < b->len ? b->parser.problem_offset : b->len;
  unsigned line = 1, column = 1;
  for (size_t i = 0; i < end; i++) {
    column = b->text[i] == '\n' ? 1 : column + 1;
    if (b->text[i] == '\n') line++;
  }
  problems_add(b->problems, line, column, "bytes that are no text, expected UTF-8 without control characters (%s)",
               b->parser.problem != NULL ? b->parser.problem : "unreadable");
}

static bool next_event(struct builder *b, yaml_event_t *event) {
  if (yaml_parser_parse(&b->parser, event) != 0) return true;
  const yaml_parser_t *p = &b->parser;
  if (p->error == YAML_READER_ERROR) {
    add_reader_error(b);
  } else if (p->error == YAML_MEMORY_ERROR) {
    problems_add(b->problems, 0, 0, "no memory to read the file");
  } else {
    problems_add(b->problems, (unsigned)p->problem_mark.line + 1, (unsigned)p->problem_mark.column + 1,
                 "no valid YAML: %s%s%s", p->problem != NULL ? p->problem : "unreadable", p->context != NULL ? " " : "",
                 p->context != NULL ? p->context : "");
  }
  return false;
}

static void refuse(struct builder *b, yaml_mark_t mark, const char *what) {
  problems_add(b->problems, (unsigned)mark.line + 1, (unsigned)mark.column + 1, "%s", what);
}

static void refuse_decorations(struct builder *b, yaml_mark_t mark, const yaml_char_t *anchor, const yaml_char_t *tag) {
  if (anchor != NULL) refuse(b, mark, "an anchor (&name) is refused, expected the value itself");
  if (tag != NULL) refuse(b, mark, "a tag (!type) is refused, expected the value itself");
}

static struct yaml_node *new_node(struct builder *b, enum yaml_kind kind, yaml_mark_t mark) {
  if (++b->nodes > YAML_TREE_NODES_MAX) {
    too_much(b, mark, "too many values", YAML_TREE_NODES_MAX);
    return NULL;
  }
  struct yaml_node *node = arena_alloc(b->arena, sizeof *node);
  if (node == NULL) {
    refuse(b, mark, "too much text for one file");
    return NULL;
  }
  node->kind = kind;
  node->line = (unsigned)mark.line + 1;
  node->column = (unsigned)mark.column + 1;
  return node;
}

static struct yaml_node *build_scalar(struct builder *b, const yaml_event_t *event) {
  struct yaml_node *node = new_node(b, YAML_TREE_SCALAR, event->start_mark);
  if (node == NULL) return NULL;
  refuse_decorations(b, event->start_mark, event->data.scalar.anchor, event->data.scalar.tag);
  const char *value = (const char *)event->data.scalar.value;
  size_t len = event->data.scalar.length;
  if (memchr(value, '\0', len) != NULL) refuse(b, event->start_mark, "a NUL character is refused, expected text");
  node->text = arena_strndup(b->arena, value, len);
  node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
  if (node->text == NULL) {
    refuse(b, event->start_mark, "too much text for one file");
    return NULL;
  }
  return node;
}

static void append(struct yaml_node *parent, struct yaml_node *child) {
  if (parent->last != NULL) parent->last->next = child;
  if (parent->first == NULL) parent->first = child;
  parent->last = child;
  parent->count++;
}

static struct yaml_node *build(struct builder *b, yaml_event_t *event, unsigned depth);

static struct yaml_node *build_list(struct builder *b, const yaml_event_t *start, unsigned depth) {
  struct yaml_node *list = new_node(b, YAML_TREE_LIST, start->start_mark);
  if (list == NULL) return NULL;
  refuse_decorations(b, start->start_mark, start->data.sequence_start.anchor, start->data.sequence_start.tag);
  for (;;) {
    yaml_event_t event;
    if (!next_event(b, &event)) return NULL;
    if (event.type == YAML_SEQUENCE_END_EVENT) {
      yaml_event_delete(&event);
      return list;
    }
    struct yaml_node *item = build(b, &event, depth + 1);
    yaml_event_delete(&event);
    if (item == NULL) return NULL;
    append(list, item);
  }
}

/* False once there are too many keys: looking for one given twice takes the square of their number. */
static bool add_member(struct builder *b, struct yaml_node *map, const struct yaml_node *key, struct yaml_node *value) {
  if (map->count == YAML_TREE_KEYS_MAX) {
    problems_add(b->problems, key->line, key->column, "too many keys in one map, expected at most %d",
                 YAML_TREE_KEYS_MAX);
    return false;
  }
  const char *name = key->text != NULL ? key->text : "";
  if (key->kind != YAML_TREE_SCALAR) {
    problems_add(b->problems, key->line, key->column, "a list or map as a key, expected a plain word");
  }
  for (const struct yaml_node *other = map->first; other != NULL; other = other->next) {
    if (key->kind != YAML_TREE_SCALAR || strcmp(other->key, name) != 0) continue;
    problems_add(b->problems, key->line, key->column, "'%.60s' is given twice, first in line %u", name,
                 other->key_line);
    break;
  }
  value->key = name;
  value->key_line = key->line;
  value->key_column = key->column;
  append(map, value);
  return true;
}

static struct yaml_node *build_map(struct builder *b, const yaml_event_t *start, unsigned depth) {
  struct yaml_node *map = new_node(b, YAML_TREE_MAP, start->start_mark), *key = NULL;
  if (map == NULL) return NULL;
  refuse_decorations(b, start->start_mark, start->data.mapping_start.anchor, start->data.mapping_start.tag);
  for (;;) {
    yaml_event_t event;
    if (!next_event(b, &event)) return NULL;
    if (event.type == YAML_MAPPING_END_EVENT) {
      yaml_event_delete(&event);
      return map;
    }
    struct yaml_node *node = build(b, &event, depth + 1);
    yaml_event_delete(&event);
    if (node == NULL) return NULL;
    if (key == NULL) {
      key = node;
    } else {
      if (!add_member(b, map, key, node)) return NULL;
      key = NULL;
    }
  }
}

/* Recursion is bounded by YAML_TREE_DEPTH_MAX. */
static struct yaml_node *build(struct builder *b, yaml_event_t *event, unsigned depth) {
  if (depth > YAML_TREE_DEPTH_MAX) {
    too_much(b, event->start_mark, "too deeply nested", YAML_TREE_DEPTH_MAX);
    return NULL;
  }
  switch (event->type) {
  case YAML_SCALAR_EVENT:
    return build_scalar(b, event);
  case YAML_SEQUENCE_START_EVENT:
    return build_list(b, event, depth);
  case YAML_MAPPING_START_EVENT:
    return build_map(b, event, depth);
  case YAML_ALIAS_EVENT: {
    refuse(b, event->start_mark, "an alias (*name) is refused, expected the value itself");
    struct yaml_node *node = new_node(b, YAML_TREE_SCALAR, event->start_mark);
    if (node != NULL) node->text = "";
    return node;
  }
  default:
    refuse(b, event->start_mark, "something other than a value, expected a map, a list or text");
    return NULL;
  }
}

static bool check_document_start(struct builder *b, const yaml_event_t *event, unsigned documents) {
  if (documents > 1) {
    refuse(b, event->start_mark, "a second document, expected one document in a file");
    return false;
  }
  if (event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end) {
    refuse(b, event->start_mark, "a %TAG directive is refused, expected values without tags");
  }
  return true;
}

static struct yaml_node *build_stream(struct builder *b) {
  struct yaml_node *root = NULL;
  for (unsigned documents = 0;;) {
    yaml_event_t event;
    if (!next_event(b, &event)) return NULL;
    yaml_event_type_t type = event.type;
    bool fine = true;
    if (type == YAML_DOCUMENT_START_EVENT) {
      fine = check_document_start(b, &event, ++documents);
    } else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_END_EVENT && type != YAML_STREAM_END_EVENT) {
      root = build(b, &event, 1);
      fine = root != NULL;
    }
    yaml_event_delete(&event);
    if (!fine) return NULL;
    if (type == YAML_STREAM_END_EVENT) return root;
  }
}

struct yaml_node *yaml_tree_read(const char *text, size_t len, struct arena *arena, struct problems *problems) {
  if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark, as some editors write it */
    text += 3;
    len -= 3;
  }
  struct builder b = {.arena = arena, .problems = problems, .text = text, .len = len};
  if (len > YAML_TREE_BYTES_MAX) {
    problems_add(problems, 0, 0, "%zu bytes, expected at most %zu", len, YAML_TREE_BYTES_MAX);
    return NULL;
  }
  if (yaml_parser_initialize(&b.parser) == 0) {
    problems_add(problems, 0, 0, "no memory to read the file");
    return NULL;
  }
  yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
  size_t before = problems->count;
  struct yaml_node *root = build_stream(&b);
  yaml_parser_delete(&b.parser);
  if (root == NULL && problems->count == before && problems->dropped == 0) {
    problems_add(problems, 1, 1, "an empty file, expected a map of keys");
  }
  return root;
}

const struct yaml_node *yaml_tree_get(const struct yaml_node *map, const char *key) {
  if (map == NULL || map->kind != YAML_TREE_MAP) return NULL;
  for (const struct yaml_node *member = map->first; member != NULL; member = member->next) {
    if (strcmp(member->key, key) == 0) return member;
  }
  return NULL;
}

static bool read_all(int fd, const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err) {
  struct stat info;
  if (fstat(fd, &info) != 0) return err_errno(err, errno, "cannot look at %s", path);
  if (!S_ISREG(info.st_mode)) return err_set(err, ERR_INVALID, "%s is no regular file", path);
  if (info.st_size > (off_t)max) return err_set(err, ERR_LIMIT, "%s has more than %zu bytes", path, max);
  size_t size = (size_t)info.st_size, len = 0;
  char *text = mem_alloc(size + 1);
  while (len < size) {
    ssize_t got = read(fd, text + len, size - len);
    if (got == 0) break;
    if (got > 0) len += (size_t)got;
    if (got < 0 && errno != EINTR) {
      mem_free(text);
      return err_errno(err, errno, "cannot read %s", path);
    }
  }
  text[len] = '\0';
  *ret_text = text;
  *ret_len = len;
  return true;
}

bool yaml_tree_read_file(const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err) {
  /* O_NONBLOCK: opening a FIFO must not hang; it is refused right after. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return err_set(err, ERR_NOT_FOUND, "there is no file %s", path);
  if (fd < 0) return err_errno(err, errno, "cannot open %s", path);
  bool fine = read_all(fd, path, max, ret_text, ret_len, err);
  close(fd);
  return fine;
}
