# Warnings are errors, with gcc and with clang.
add_library(orch_flags INTERFACE)
target_compile_definitions(orch_flags INTERFACE _GNU_SOURCE ORCH_VERSION="${PROJECT_VERSION}")
target_compile_options(orch_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual
  -Wwrite-strings -Wformat=2 -Wvla -Wundef -Wno-unused-parameter -Wno-missing-field-initializers
  -fno-common -fno-omit-frame-pointer
  $<$<C_COMPILER_ID:GNU>:-Wlogical-op -Wduplicated-cond -Wno-format-truncation -Wno-format-nonliteral>
  $<$<C_COMPILER_ID:Clang>:-Wno-format-nonliteral -Wno-gnu-zero-variadic-macro-arguments>)

if(ORCH_SANITIZE)
  # gcc's flow analysis loses its way in instrumented code; the other presets keep the warning.
  target_compile_options(orch_flags INTERFACE $<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_compile_options(orch_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  target_link_options(orch_flags INTERFACE -fsanitize=address,undefined)
endif()
if(ORCH_FUZZ)
  target_compile_options(orch_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(ORCH_COVERAGE)
  target_compile_options(orch_flags INTERFACE --coverage -O0)
  target_link_options(orch_flags INTERFACE --coverage)
endif()
if(ORCH_HARDEN)
  target_compile_definitions(orch_flags INTERFACE _FORTIFY_SOURCE=2)
  target_compile_options(orch_flags INTERFACE -fstack-protector-strong -fstack-clash-protection -fPIE
    $<$<BOOL:${CMAKE_SYSTEM_PROCESSOR}>:$<$<STREQUAL:${CMAKE_SYSTEM_PROCESSOR},x86_64>:-fcf-protection>>)
  target_link_options(orch_flags INTERFACE -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()

find_package(PkgConfig REQUIRED)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(PQ REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(MHD REQUIRED IMPORTED_TARGET libmicrohttpd>=0.9.75)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.88)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.14)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto>=3.0)
pkg_check_modules(ARCHIVE REQUIRED IMPORTED_TARGET libarchive)
pkg_check_modules(SMARTCOLS REQUIRED IMPORTED_TARGET smartcols)
