#include "io/db_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

struct db_result {
  unsigned count;
  PGresult *pg;
};

struct db_result *db_result_new(PGresult *pg) {
  struct db_result *result = mem_alloc(sizeof(*result));
  result->count = 1;
  result->pg = pg;
  return result;
}

struct db_result *db_result_ref(struct db_result *result) {
  ORCH_ASSERT(result->count > 0);
  result->count++;
  return result;
}

void db_result_unref(struct db_result *result) {
  if (!result) return;
  ORCH_ASSERT(result->count > 0);
  if (--result->count > 0) return;
  PQclear(result->pg);
  mem_free(result);
}

int db_rows(const struct db_result *result) {
  return PQntuples(result->pg);
}

int db_columns(const struct db_result *result) {
  return PQnfields(result->pg);
}

int db_column(const struct db_result *result, const char *name) {
  for (int i = 0; i < PQnfields(result->pg); i++)
    if (strcmp(PQfname(result->pg, i), name) == 0) return i;
  return -1;
}

static void cell_must_exist(const struct db_result *result, int row, int column) {
  ORCH_ASSERT(row >= 0 && row < PQntuples(result->pg));
  ORCH_ASSERT(column >= 0 && column < PQnfields(result->pg));
}

bool db_is_null(const struct db_result *result, int row, int column) {
  cell_must_exist(result, row, column);
  return PQgetisnull(result->pg, row, column) != 0;
}

const char *db_get_text(const struct db_result *result, int row, int column) {
  return db_is_null(result, row, column) ? NULL : PQgetvalue(result->pg, row, column);
}

size_t db_get_len(const struct db_result *result, int row, int column) {
  cell_must_exist(result, row, column);
  return (size_t)PQgetlength(result->pg, row, column);
}

/* A smallint, integer or bigint in network order. */
static int64_t binary_i64(const struct db_result *result, int row, int column, int64_t otherwise) {
  size_t len = db_get_len(result, row, column);
  if (db_is_null(result, row, column) || (len != 2 && len != 4 && len != 8)) return otherwise;
  const unsigned char *at = (const unsigned char *)PQgetvalue(result->pg, row, column);
  uint64_t value = at[0] & 0x80 ? UINT64_MAX : 0;
  for (size_t i = 0; i < len; i++) value = value << 8 | at[i];
  return (int64_t)value;
}

int64_t db_get_i64(const struct db_result *result, int row, int column, int64_t otherwise) {
  if (PQfformat(result->pg, column) == 1) return binary_i64(result, row, column, otherwise);
  const char *text = db_get_text(result, row, column);
  if (!text || !*text) return otherwise;
  char *end = NULL;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  return errno || *end ? otherwise : (int64_t)value;
}

bool db_get_bool(const struct db_result *result, int row, int column) {
  const char *text = db_get_text(result, row, column);
  return text && text[0] == 't';
}

bool db_see_bytes(const struct db_result *result, int row, int column, const uint8_t **ret_bytes, size_t *ret_len) {
  if (PQfformat(result->pg, column) != 1 || db_is_null(result, row, column)) return false;
  *ret_bytes = (const uint8_t *)PQgetvalue(result->pg, row, column);
  *ret_len = db_get_len(result, row, column);
  return true;
}

bool db_get_bytes(const struct db_result *result, int row, int column, uint8_t **ret_bytes, size_t *ret_len) {
  const uint8_t *seen;
  if (db_see_bytes(result, row, column, &seen, ret_len)) {
    *ret_bytes = mem_alloc(*ret_len + 1);
    memcpy(*ret_bytes, seen, *ret_len);
    return true;
  }
  const char *text = db_get_text(result, row, column);
  if (!text) return false;
  size_t len = db_get_len(result, row, column);
  if (len < 2 || text[0] != '\\' || text[1] != 'x' || len % 2) return false;
  uint8_t *bytes = mem_alloc((len - 2) / 2 + 1);
  size_t got = 0;
  if (!digest_unhex(text + 2, len - 2, bytes, (len - 2) / 2, &got)) {
    mem_free(bytes);
    return false;
  }
  *ret_bytes = bytes;
  *ret_len = got;
  return true;
}

const char *db_get_document(const struct db_result *result) {
  return db_rows(result) > 0 && db_columns(result) > 0 ? db_get_text(result, 0, 0) : NULL;
}

/* ---- errors ---- */

static const struct {
  const char *prefix;
  enum err_code code;
} sqlstate_codes[] = {
    {"OR001", ERR_NOT_FOUND}, {"OR002", ERR_REFUSED}, {"OR003", ERR_INVALID}, {"OR004", ERR_LEASE_LOST},
    {"OR005", ERR_CONFLICT},  {"OR006", ERR_DENIED},  {"OR007", ERR_LIMIT},   {"OR008", ERR_DENIED},
    {"57014", ERR_TIMEOUT},   {"57P04", ERR_DB},      {"57P05", ERR_DB_DOWN}, {"57P", ERR_DB_DOWN},
    {"08", ERR_DB_DOWN},      {"53300", ERR_DB_DOWN}, {"53100", ERR_DB_DOWN},
};

bool db_err_is_full(const struct err *err) {
  return strcmp(err->sqlstate, "53100") == 0;
}

enum err_code db_err_from_sqlstate(const char *sqlstate) {
  for (size_t i = 0; sqlstate && i < ARRAY_LEN(sqlstate_codes); i++)
    if (strncmp(sqlstate, sqlstate_codes[i].prefix, strlen(sqlstate_codes[i].prefix)) == 0)
      return sqlstate_codes[i].code;
  return ERR_DB;
}

/* libpq's messages end in newlines and may have several lines (one per host tried). */
static void one_line(const char *text, char *out, size_t size) {
  size_t used = 0;
  for (const char *p = text; *p && used + 3 < size; p++) {
    if (*p != '\n') {
      out[used++] = *p == '\t' || *p == '\r' ? ' ' : *p;
      continue;
    }
    while (p[1] == '\n' || p[1] == '\t' || p[1] == ' ') p++;
    if (!p[1]) break;
    out[used++] = ';';
    out[used++] = ' ';
  }
  out[used] = '\0';
}

bool db_err_from_result(struct err *err, const PGresult *pg) {
  const char *sqlstate = PQresultErrorField(pg, PG_DIAG_SQLSTATE);
  const char *message = PQresultErrorField(pg, PG_DIAG_MESSAGE_PRIMARY);
  const char *hint = PQresultErrorField(pg, PG_DIAG_MESSAGE_HINT);
  const char *detail = PQresultErrorField(pg, PG_DIAG_MESSAGE_DETAIL);
  if (!sqlstate) { /* made up by libpq itself: the connection broke */
    char line[400];
    one_line(PQresultErrorMessage(pg), line, sizeof(line));
    return err_set(err, ERR_DB_DOWN, "the connection to the database broke: %s", line);
  }
  enum err_code code = db_err_from_sqlstate(sqlstate);
  char line[400], more[240];
  one_line(message ? message : "no message", line, sizeof(line));
  one_line(detail ? detail : "", more, sizeof(more));
  bool ours = strncmp(sqlstate, "OR", 2) == 0;
  if (ours)
    err_set(err, code, "%s", line);
  else if (code == ERR_TIMEOUT)
    err_set(err, code, "the database did not answer in time: %s", line);
  else
    err_set(err, code, "database: %s%s%s", line, *more ? ": " : "", more);
  if (err) snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", sqlstate);
  if (hint && *hint) {
    one_line(hint, more, sizeof(more));
    err_hint(err, "%s", more);
  }
  return false;
}

bool db_err_from_conn(struct err *err, const PGconn *pg, const char *what) {
  char line[400];
  one_line(pg ? PQerrorMessage(pg) : "", line, sizeof(line));
  return err_set(err, ERR_DB_DOWN, "%s%s%s", what, *line ? ": " : "", line);
}
