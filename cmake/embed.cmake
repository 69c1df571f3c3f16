# The SQL below schema/ becomes part of the binary: `orch migrate` needs no files.
# Writes a C table of {name, bytes, length} for migrations and functions, in name order.
set(ORCH_SCHEMA_C ${CMAKE_BINARY_DIR}/generated/schema_embedded.c)
file(GLOB ORCH_SCHEMA_SQL CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/schema/migrations/*.sql ${CMAKE_SOURCE_DIR}/schema/functions/*.sql)
add_custom_command(
  OUTPUT ${ORCH_SCHEMA_C}
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR}/schema -DOUT=${ORCH_SCHEMA_C}
          -P ${CMAKE_SOURCE_DIR}/cmake/embed_script.cmake
  DEPENDS ${ORCH_SCHEMA_SQL} ${CMAKE_SOURCE_DIR}/cmake/embed_script.cmake ${CMAKE_SOURCE_DIR}/cmake/embed_hex.cmake
  COMMENT "Embedding schema/")

# So do the pages' style sheet and icon.
set(ORCH_PAGES_C ${CMAKE_BINARY_DIR}/generated/pages_embedded.c)
add_custom_command(
  OUTPUT ${ORCH_PAGES_C}
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR}/orchestrator/pages -DOUT=${ORCH_PAGES_C}
          -P ${CMAKE_SOURCE_DIR}/cmake/embed_pages.cmake
  DEPENDS ${CMAKE_SOURCE_DIR}/orchestrator/pages/style.css ${CMAKE_SOURCE_DIR}/orchestrator/pages/icon.svg
          ${CMAKE_SOURCE_DIR}/cmake/embed_pages.cmake ${CMAKE_SOURCE_DIR}/cmake/embed_hex.cmake
  COMMENT "Embedding the pages' files")
