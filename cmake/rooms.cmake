# A room is a folder of .c files that becomes one static library. Arrows point one way, as docs/architecture.md says:
# what a room may include is exactly what it links.
function(orch_room name folder)
  cmake_parse_arguments(ROOM "" "" "NEEDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c ${CMAKE_SOURCE_DIR}/${folder}/exec/*.c)
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC orch_flags ${ROOM_NEEDS})
endfunction()

orch_room(orch_base common/base NEEDS PkgConfig::CRYPTO)
target_include_directories(orch_base PUBLIC ${CMAKE_SOURCE_DIR}/common)
orch_room(orch_stats common/stats NEEDS orch_base m)
# The same values give the same sketch on every machine, also where multiply and add could be one instruction.
target_compile_options(orch_stats PRIVATE -ffp-contract=off)
orch_room(orch_conf common/conf NEEDS orch_base PkgConfig::YAML PkgConfig::JANSSON PkgConfig::ARCHIVE)
orch_room(orch_io common/io NEEDS orch_base PkgConfig::UV PkgConfig::PQ PkgConfig::CURL PkgConfig::JANSSON)
target_sources(orch_io PRIVATE ${ORCH_SCHEMA_C})

foreach(room chat trigger rollout)
  orch_room(orch_${room} orchestrator/${room} NEEDS orch_io orch_conf orch_stats)
  target_include_directories(orch_${room} PUBLIC ${CMAKE_SOURCE_DIR}/orchestrator)
endforeach()
target_link_libraries(orch_trigger PUBLIC PkgConfig::ZLIB)
# Pages are documents in, HTML out: no database, no socket.
orch_room(orch_pages orchestrator/pages NEEDS orch_base PkgConfig::JANSSON m)
target_sources(orch_pages PRIVATE ${ORCH_PAGES_C})
target_include_directories(orch_pages PUBLIC ${CMAKE_SOURCE_DIR}/orchestrator)
orch_room(orch_serve orchestrator/serve NEEDS orch_chat orch_trigger orch_rollout orch_pages PkgConfig::MHD)

orch_room(orch_worker worker NEEDS orch_io orch_conf orch_stats)
target_include_directories(orch_worker PUBLIC ${CMAKE_SOURCE_DIR}/worker)

file(GLOB cli_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/orchestrator/cli/*.c)
add_executable(orch ${cli_sources})
target_link_libraries(orch PRIVATE orch_serve orch_worker PkgConfig::SMARTCOLS)
