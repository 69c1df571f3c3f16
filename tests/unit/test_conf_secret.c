/* Secrets: from a variable, from a file, and the ways in which there is none. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/secret.h"

#define NAME "ORCH_TEST_SECRET"

static int clear(void **state) {
  unsetenv(NAME);
  unsetenv(NAME "_FILE");
  return 0;
}

static void write_file(char *path, const char *text, size_t len) {
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, len), (ssize_t)len);
  close(fd);
  setenv(NAME "_FILE", path, 1);
}

static void expect_error(enum err_code code) {
  struct err err = {0};
  assert_null(secret_get(NAME, &err));
  assert_int_equal(err.code, code);
  assert_null(strstr(err.text, "hunter2"));
}

static void from_the_variable(void **state) {
  struct err err = {0};
  setenv(NAME, "hunter2hunter2 \n", 1);
  assert_true(secret_is_set(NAME));
  char *secret = secret_get(NAME, &err);
  assert_string_equal(secret, "hunter2hunter2");
  mem_free_secret(secret);
}

static void from_a_file(void **state) {
  struct err err = {0};
  char path[] = "/tmp/orch-secret-XXXXXX";
  write_file(path, "hunter2\nhunter3\n", 16);
  char *secret = secret_get(NAME, &err);
  assert_string_equal(secret, "hunter2\nhunter3");
  mem_free_secret(secret);
  setenv(NAME, "hunter2", 1);
  expect_error(ERR_INVALID); /* which one is meant? */
  unlink(path);
}

static void there_is_none(void **state) {
  struct err err = {0};
  assert_false(secret_is_set(NAME));
  expect_error(ERR_NOT_FOUND);
  setenv(NAME, " \n", 1);
  expect_error(ERR_NOT_FOUND);
  unsetenv(NAME);
  setenv(NAME "_FILE", "/nonexistent/hunter", 1);
  expect_error(ERR_IO);
  assert_null(secret_get("PATH=", &err));
  assert_int_equal(err.code, ERR_INVALID);
  assert_null(secret_get("lower", &err));
}

static void too_long(void **state) {
  CLEANUP(mem_free_p) char *text = mem_alloc(SECRET_BYTES_MAX + 2);
  memset(text, 'x', SECRET_BYTES_MAX + 1);
  setenv(NAME, text, 1);
  expect_error(ERR_LIMIT);
  unsetenv(NAME);
  char path[] = "/tmp/orch-secret-XXXXXX";
  write_file(path, text, SECRET_BYTES_MAX + 1);
  expect_error(ERR_LIMIT);
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(from_the_variable, clear),
      cmocka_unit_test_setup(from_a_file, clear),
      cmocka_unit_test_setup(there_is_none, clear),
      cmocka_unit_test_setup(too_long, clear),
  };
  return cmocka_run_group_tests_name("conf_secret", tests, NULL, NULL);
}
