/* The files beside the pages: style sheet and icon, part of the binary. */
#ifndef ORCH_PAGES_STATIC_H
#define ORCH_PAGES_STATIC_H

#include <stddef.h>

struct page_file {
  const char *name; /* "style.css" */
  const char *type; /* for Content-Type */
  const char *bytes;
  size_t len;
};
/* NULL: there is none of that name. */
const struct page_file *page_file_find(const char *name);
/* Sixteen hex digits that change when a file does. Pages name the files as /static/NAME?v=VERSION, so that a browser
 * may keep what it has. */
const char *page_files_version(void);

#endif
