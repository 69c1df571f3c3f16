#include "serve/ready.h"

#include <string.h>

#include "io/schema_embedded.h"

#define READY_MAGIC 0x52454459u

struct ready_one {
  uint32_t magic;
  struct db_request request;
  void (*then)(void *arg, const struct err *err);
  void *arg;
};

bool ready_compare(const char *applied, struct err *err) {
  unsigned i = 0;
  for (const char *line = applied; *line; i++) {
    size_t len = strcspn(line, "\n");
    if (i >= schema_migrations_count) {
      err_set(err, ERR_REFUSED, "the database is newer than this server: it has migration %.*s", (int)len, line);
      return err_hint(err, "upgrade this server");
    }
    if (strlen(schema_migrations[i].name) != len || memcmp(schema_migrations[i].name, line, len) != 0) {
      err_set(err, ERR_REFUSED, "the database has migration %.*s where this server knows %s", (int)len, line,
              schema_migrations[i].name);
      return err_hint(err, "run a server of the same release");
    }
    line += len;
    if (*line) line++;
  }
  if (i == schema_migrations_count) return true;
  err_set(err, ERR_REFUSED, "the database lacks migration %s", schema_migrations[i].name);
  return err_hint(err, "run: orch migrate");
}

static void on_asked(void *arg, struct db_result *result, const struct err *err) {
  struct ready_one *one = arg;
  MAGIC_CHECK(one, READY_MAGIC);
  struct ready_one copy = *one;
  struct err why = {0};
  one->magic = 0;
  mem_free(one);
  if (err && (strcmp(err->sqlstate, "42883") == 0 || strcmp(err->sqlstate, "3F000") == 0)) {
    err_set(&why, ERR_REFUSED, "the database has not been set up for this release");
    err_hint(&why, "run: orch migrate");
    err = &why;
  }
  const char *applied = result ? db_get_document(result) : NULL;
  if (!err && !ready_compare(applied ? applied : "", &why)) err = &why;
  copy.then(copy.arg, err);
}

void ready_ask(struct serve *serve, void (*then)(void *arg, const struct err *err), void *arg) {
  struct ready_one *one = mem_alloc(sizeof(*one));
  *one = (struct ready_one){.magic = READY_MAGIC, .then = then, .arg = arg};
  one->request.timeout_ms = 3000;
  one->request.repeatable = true;
  db_query(serve->db, &one->request, "select orch.migrations_applied()", 0, NULL, on_asked, one);
}
