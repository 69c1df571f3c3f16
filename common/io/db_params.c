#include "io/db_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* PostgreSQL refuses fields over 1 GiB; nothing of ours comes near. */
static const size_t db_value_max_bytes = 256U << 20;

static size_t value_size(const struct db_value *value) {
  if (value->kind == DB_VALUE_TEXT) return strlen(value->bytes);
  return value->kind == DB_VALUE_BYTES ? value->len : 0;
}

static void pack(struct db_params *params, int i, const struct db_value *value, char **memory) {
  char *number = params->numbers[i];
  switch (value->kind) {
  case DB_VALUE_NULL:
    return;
  case DB_VALUE_INT:
    snprintf(number, sizeof(params->numbers[i]), "%lld", (long long)value->integer);
    break;
  case DB_VALUE_REAL:
    snprintf(number, sizeof(params->numbers[i]), "%.17g", value->real);
    break;
  case DB_VALUE_BOOL:
    snprintf(number, sizeof(params->numbers[i]), "%s", value->integer ? "t" : "f");
    break;
  case DB_VALUE_TEXT:
  case DB_VALUE_BYTES: {
    size_t size = value_size(value);
    params->lengths[i] = (int)size;
    params->formats[i] = value->kind == DB_VALUE_BYTES;
    params->values[i] = size ? value->bytes : "";
    if (!*memory) return;
    if (size) memcpy(*memory, value->bytes, size);
    params->values[i] = *memory;
    *memory += size + 1;
    return;
  }
  }
  params->values[i] = number;
}

bool db_params_init(struct db_params *params, size_t count, const struct db_value *values, bool copy, struct err *err) {
  *params = (struct db_params){0};
  if (count > DB_PARAMS_MAX) return err_set(err, ERR_LIMIT, "more than %d parameters", DB_PARAMS_MAX);
  size_t total = 0;
  for (size_t i = 0; i < count; i++) {
    size_t size = value_size(&values[i]);
    if (size > db_value_max_bytes)
      return err_set(err, ERR_LIMIT, "parameter %zu has %zu bytes, more than %zu", i + 1, size, db_value_max_bytes);
    total += size + 1;
  }
  params->count = (int)count;
  if (copy && count) params->memory = mem_alloc(total);
  char *memory = params->memory;
  for (size_t i = 0; i < count; i++) pack(params, (int)i, &values[i], &memory);
  return true;
}

void db_params_fini(struct db_params *params) {
  mem_free(params->memory);
  params->memory = NULL;
}

void db_add_text_array(struct strbuf *out, const char *const *items, size_t count) {
  strbuf_putc(out, '{');
  for (size_t i = 0; i < count; i++) {
    strbuf_puts(out, i ? ",\"" : "\"");
    for (const char *p = items[i]; *p; p++) {
      if (*p == '"' || *p == '\\') strbuf_putc(out, '\\');
      strbuf_putc(out, *p);
    }
    strbuf_putc(out, '"');
  }
  strbuf_putc(out, '}');
}

PGconn *db_connect(const char *url, const char *name, bool start_only, const char *connect_timeout_s) {
  /* What stands before `dbname` may be overridden by the URL. */
  const char *keywords[] = {"fallback_application_name", "connect_timeout", "dbname", "client_encoding", NULL};
  const char *values[] = {name ? name : "orch", connect_timeout_s, url, "UTF8", NULL};
  /* Times in results are the same everywhere, whatever the server's default. libpq reads this when it connects. */
  setenv("PGTZ", "UTC", 0);
  return start_only ? PQconnectStartParams(keywords, values, 1) : PQconnectdbParams(keywords, values, 1);
}

static const char *option_value(const PQconninfoOption *options, const char *keyword) {
  for (const PQconninfoOption *o = options; o->keyword; o++)
    if (strcmp(o->keyword, keyword) == 0) return o->val && *o->val ? o->val : NULL;
  return NULL;
}

static void add_keyword(struct strbuf *out, const char *keyword, const char *value) {
  strbuf_printf(out, "%s%s='", out->len ? " " : "", keyword);
  for (const char *c = value; *c; c++) {
    if (*c == '\'' || *c == '\\') strbuf_putc(out, '\\');
    strbuf_putc(out, *c);
  }
  strbuf_putc(out, '\'');
}

bool db_url_with_options(const char *url, const char *options, struct strbuf *out, struct err *err) {
  PQconninfoOption *all = PQconninfoParse(url, NULL); /* libpq's own words may quote the password */
  if (!all) return err_set(err, ERR_INVALID, "the database URL cannot be read");
  for (const PQconninfoOption *o = all; o->keyword; o++)
    if (o->val && *o->val && strcmp(o->keyword, "options") != 0) add_keyword(out, o->keyword, o->val);
  add_keyword(out, "options", options);
  PQconninfoFree(all);
  return true;
}

void db_describe_url(const char *url, struct strbuf *out) {
  PQconninfoOption *options = PQconninfoParse(url, NULL);
  if (!options) {
    strbuf_puts(out, "a malformed database URL");
    return;
  }
  const char *host = option_value(options, "host"), *port = option_value(options, "port");
  const char *dbname = option_value(options, "dbname");
  if (!host) host = option_value(options, "hostaddr");
  strbuf_printf(out, "%s%s%s%s%s", host ? host : "local socket", port ? ":" : "", port ? port : "", dbname ? "/" : "",
                dbname ? dbname : "");
  PQconninfoFree(options);
}
