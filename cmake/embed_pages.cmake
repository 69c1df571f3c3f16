# Run at build time by embed.cmake: SOURCE is orchestrator/pages/, OUT the C file.
include(${CMAKE_CURRENT_LIST_DIR}/embed_hex.cmake)
embed_hex(${SOURCE}/style.css style style_length)
embed_hex(${SOURCE}/icon.svg icon icon_length)
file(WRITE ${OUT} "/* Made by cmake/embed_pages.cmake from orchestrator/pages/. */
#include \"pages/static.h\"

static const unsigned char style[] = {\n${style}0x00};
static const unsigned char icon[] = {\n${icon}0x00};
extern const struct page_file page_files[];
const struct page_file page_files[] = {
  {\"style.css\", \"text/css; charset=utf-8\", (const char *)style, ${style_length}},
  {\"icon.svg\", \"image/svg+xml\", (const char *)icon, ${icon_length}},
  {0, 0, 0, 0}};
")
