#include "trigger/gunzip.h"

#include <stdint.h>
#include <zlib.h>

#include "base/mem.h"

#define CHUNK ((size_t)64 * 1024)
#define GUNZIP_BYTES_MAX (1 << 30) /* zlib counts in 32 bits */

static bool unpack(z_stream *z, struct strbuf *out, struct err *err) {
  char *chunk = mem_alloc(CHUNK);
  int code = Z_OK;
  bool fine = true;
  while (fine) {
    z->next_out = (unsigned char *)chunk;
    z->avail_out = CHUNK;
    code = inflate(z, Z_NO_FLUSH);
    strbuf_add(out, chunk, CHUNK - z->avail_out);
    if (out->failed)
      fine = err_set(err, ERR_LIMIT, "the body unpacks to more than %zu bytes, send smaller batches", out->max);
    else if (code == Z_STREAM_END && z->avail_in == 0)
      break;
    else if (code == Z_STREAM_END)
      fine = inflateReset(z) == Z_OK || err_set(err, ERR_INVALID, "the body is no gzip"); /* the next member */
    else if (code == Z_BUF_ERROR || (code == Z_OK && z->avail_in == 0 && z->avail_out > 0))
      fine = err_set(err, ERR_INVALID, "the gzip body is cut short");
    else if (code != Z_OK)
      fine = err_set(err, ERR_INVALID, "the body is no gzip: %s", z->msg ? z->msg : "not understood");
  }
  mem_free(chunk);
  return fine;
}

bool gunzip(const void *bytes, size_t len, struct strbuf *out, struct err *err) {
  z_stream z = {.next_in = (unsigned char *)(uintptr_t)bytes, .avail_in = (unsigned)len};
  if (len > GUNZIP_BYTES_MAX) return err_set(err, ERR_LIMIT, "a gzip body of more than %d bytes", GUNZIP_BYTES_MAX);
  if (inflateInit2(&z, 15 + 16) != Z_OK) return err_set(err, ERR_INTERNAL, "zlib does not start");
  bool fine = unpack(&z, out, err);
  inflateEnd(&z);
  return fine;
}
