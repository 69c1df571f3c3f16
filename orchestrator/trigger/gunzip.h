/* A gzip body unpacked into bounded memory: what comes from outside says how long it is only while it is read. */
#ifndef ORCH_TRIGGER_GUNZIP_H
#define ORCH_TRIGGER_GUNZIP_H

#include <stddef.h>

#include "base/error.h"
#include "base/strbuf.h"

/* Appends what `bytes` (one gzip member or several, RFC 1952) unpack to. Stops at out->max: ERR_LIMIT. ERR_INVALID when
 * it is no gzip, is cut short, fails its checksum or has something behind it. Never holds more than out->max bytes. */
bool gunzip(const void *bytes, size_t len, struct strbuf *out, struct err *err) ORCH_MUST_CHECK;

#endif
