/* io/store: what goes in comes out, what was damaged is refused, what a crash left does no harm. */
#include "cm.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/store.h"

static char base[64];
static struct store *store;

#define AT(name) at_path(name)
static const char *at_path(const char *name) {
  static char paths[8][512];
  static unsigned next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", base, name);
  return path;
}

static void write_file(const char *name, const char *text, unsigned mode) {
  int fd = open(AT(name), O_WRONLY | O_CREAT | O_TRUNC, mode);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  assert_int_equal(fchmod(fd, mode), 0);
  close(fd);
}

static char *read_text(const char *path) {
  static char text[4096];
  int fd = open(path, O_RDONLY);
  if (fd < 0) return NULL;
  ssize_t len = read(fd, text, sizeof text - 1);
  close(fd);
  text[len < 0 ? 0 : len] = 0;
  return text;
}

static int count_files(const char *path) {
  int count = 0;
  DIR *dir = opendir(path);
  assert_non_null(dir);
  for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) count += entry->d_name[0] != '.';
  closedir(dir);
  return count;
}

static void damage(const char *digest) {
  char *path = store_object_path(store, digest);
  assert_int_equal(chmod(path, 0644), 0);
  int fd = open(path, O_WRONLY);
  assert_int_equal(pwrite(fd, "X", 1, 0), 1);
  close(fd);
  mem_free(path);
}

static int setup(void **state) {
  struct err err = {0};
  snprintf(base, sizeof base, "/tmp/orch-test-store-XXXXXX");
  assert_non_null(mkdtemp(base));
  store = store_open(AT("deep/store"), &err);
  assert_non_null(store);
  return 0;
}

static int teardown(void **state) {
  struct err err = {0};
  store_close(store);
  assert_true(store_remove_folder(base, &err));
  assert_int_not_equal(access(base, F_OK), 0);
  return 0;
}

#define ABC "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void objects_come_back(void **state) {
  struct err err = {0};
  struct store_ref ref;
  assert_false(store_has(store, ABC, NULL));
  assert_true(store_put_bytes(store, "abc", 3, &ref, &err));
  assert_string_equal(ref.digest, ABC);
  assert_int_equal(ref.size, 3);
  int64_t size = 0;
  assert_true(store_has(store, ABC, &size));
  assert_int_equal(size, 3);
  char *path = store_object_path(store, ABC);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0444);
  assert_non_null(strstr(path, "/sha256/ba/7816bf8f"));
  mem_free(path);
  char *bytes;
  size_t len;
  assert_true(store_read(store, ABC, 3, &bytes, &len, &err));
  assert_int_equal(len, 3);
  assert_string_equal(bytes, "abc");
  mem_free(bytes);
  assert_false(store_read(store, ABC, 2, &bytes, &len, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  assert_true(store_put_bytes(store, "", 0, &ref, &err));
  assert_true(store_read(store, ref.digest, 0, &bytes, &len, &err));
  assert_int_equal(len, 0);
  mem_free(bytes);
  assert_int_equal(count_files(AT("deep/store/tmp")), 0);
}

static void large_objects_by_pieces(void **state) {
  struct err err = {0};
  struct store_ref pieces, file;
  struct store_writer *writer = store_writer_new(store, STORE_NO_LIMIT);
  FILE *out = fopen(AT("large"), "w");
  for (int i = 0; i < 100000; i++) {
    char line[32];
    int len = snprintf(line, sizeof line, "line %d\n", i);
    store_writer_add(writer, line, (size_t)len);
    fputs(line, out);
  }
  fclose(out);
  assert_true(store_writer_commit(writer, &pieces, &err));
  assert_true(store_put_file(store, AT("large"), STORE_NO_LIMIT, &file, &err));
  assert_string_equal(pieces.digest, file.digest);
  assert_int_equal(pieces.size, file.size);
  assert_true(store_verify(store, file.digest, &err));
  assert_true(store_get_file(store, file.digest, AT("copy"), 0444, &err));
  assert_true(store_put_file(store, AT("copy"), STORE_NO_LIMIT, &pieces, &err));
  assert_string_equal(pieces.digest, file.digest);
  assert_false(store_get_file(store, file.digest, AT("copy"), 0444, &err)); /* is there already */
}

static void what_is_refused(void **state) {
  struct err err = {0};
  struct store_ref ref = {.size = 7};
  write_file("ten", "0123456789", 0644);
  assert_false(store_put_file(store, AT("ten"), 9, &ref, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  assert_int_equal(ref.size, 7);
  assert_int_equal(count_files(AT("deep/store/tmp")), 0);
  assert_false(store_put_file(store, AT("absent"), 9, &ref, &err));
  assert_int_equal(err.code, ERR_NOT_FOUND);
  assert_false(store_put_file(store, base, 9, &ref, &err));
  assert_int_equal(err.code, ERR_INVALID);
  assert_false(store_verify(store, "sha256:../../etc/passwd", &err));
  assert_int_equal(err.code, ERR_INVALID);
  assert_false(store_verify(store, ABC, &err));
  assert_int_equal(err.code, ERR_NOT_FOUND);
  assert_null(store_open("s3://bucket/path", &err));
  assert_int_equal(err.code, ERR_USAGE);
  assert_null(store_open("", &err));
  write_file("file", "", 0644);
  assert_null(store_open(AT("file"), &err));
  struct store_writer *writer = store_writer_new(store, 100);
  store_writer_add(writer, "x", 1);
  assert_int_equal(count_files(AT("deep/store/tmp")), 1);
  store_writer_discard(writer);
  store_writer_discard(NULL);
  assert_int_equal(count_files(AT("deep/store/tmp")), 0);
}

static void damage_is_found_and_healed(void **state) {
  struct err err = {0};
  struct store_ref ref;
  char *bytes = NULL;
  assert_true(store_put_bytes(store, "abc", 3, &ref, &err));
  damage(ABC);
  assert_false(store_read(store, ABC, 100, &bytes, NULL, &err));
  assert_non_null(strstr(err.text, "corrupt"));
  assert_false(store_verify(store, ABC, &err));
  assert_false(store_get_file(store, ABC, AT("out"), 0444, &err));
  assert_int_not_equal(access(AT("out"), F_OK), 0);
  assert_true(store_put_bytes(store, "abc", 3, &ref, &err)); /* the same bytes again heal it */
  assert_true(store_verify(store, ABC, &err));
  char *path = store_object_path(store, ABC);
  assert_int_equal(chmod(path, 0644), 0);
  assert_int_equal(truncate(path, 2), 0); /* as after a crash without the sync */
  mem_free(path);
  assert_false(store_verify(store, ABC, &err));
}

static void crash_leftovers_are_swept_when_old(void **state) {
  struct err err = {0};
  write_file("deep/store/tmp/1-old", "half", 0600);
  write_file("deep/store/tmp/1-new", "half", 0600);
  write_file("deep/store/logs/1-2.log", "lost", 0600);
  write_file("deep/store/logs/3-4.log", "running", 0600);
  struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
  assert_int_equal(utimensat(AT_FDCWD, AT("deep/store/logs/1-2.log"), times, 0), 0);
  assert_int_equal(utimensat(AT_FDCWD, AT("deep/store/tmp/1-old"), times, 0), 0);
  struct store *again = store_open(AT("deep/store"), &err);
  assert_non_null(again);
  store_close(again);
  assert_int_not_equal(access(AT("deep/store/tmp/1-old"), F_OK), 0);
  assert_int_equal(access(AT("deep/store/tmp/1-new"), F_OK), 0);
  assert_int_not_equal(access(AT("deep/store/logs/1-2.log"), F_OK), 0);
  assert_int_equal(access(AT("deep/store/logs/3-4.log"), F_OK), 0);
}

static void a_killed_writer_leaves_no_object(void **state) {
  struct err err = {0};
  pid_t pid = fork();
  if (pid == 0) {
    struct store_writer *writer = store_writer_new(store, STORE_NO_LIMIT);
    store_writer_add(writer, "abc", 3);
    _exit(0); /* before the commit */
  }
  waitpid(pid, NULL, 0);
  assert_int_equal(count_files(AT("deep/store/tmp")), 1);
  assert_false(store_has(store, ABC, NULL));
  struct store_ref ref;
  assert_true(store_put_bytes(store, "abc", 3, &ref, &err));
  assert_true(store_verify(store, ABC, &err));
}

static void make_folder(const char *name) {
  assert_int_equal(mkdir(AT(name), 0755), 0);
}

static void make_tree(void) {
  make_folder("tree");
  make_folder("tree/b");
  make_folder("tree/b/empty");
  write_file("tree/b/run.sh", "#!/bin/sh\n", 0755);
  write_file("tree/a", "aaa", 0644);
  write_file("tree/b.txt", "text", 0600);
  assert_int_equal(symlink("../a", AT("tree/b/link")), 0);
}

static void trees_come_back(void **state) {
  struct err err = {0};
  struct store_ref ref, again;
  make_tree();
  assert_true(store_put_tree(store, AT("tree"), NULL, &ref, &err));
  assert_int_equal(ref.size, 3 + 3 + 4 + 10);
  char *manifest;
  assert_true(store_read(store, ref.digest, 10000, &manifest, NULL, &err));
  assert_non_null(strstr(manifest,
                         "{\"files\":[{\"digest\":\"sha256:9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09"
                         "af107ee8f0\",\"mode\":\"0644\",\"path\":\"a\",\"size\":3},"));
  mem_free(manifest);
  assert_true(store_verify_tree(store, ref.digest, &err));
  assert_true(store_get_tree(store, ref.digest, AT("out"), &err));
  assert_string_equal(read_text(AT("out/b/link")), "aaa");
  struct stat st;
  assert_int_equal(lstat(AT("out/b/link"), &st), 0);
  assert_int_equal(st.st_mode, S_IFREG | 0444);
  assert_int_equal(lstat(AT("out/b/run.sh"), &st), 0);
  assert_int_equal(st.st_mode, S_IFREG | 0555);
  assert_true(store_compare_tree(store, ref.digest, AT("out"), &err));
  assert_true(store_sync_folder(AT("out"), &err));
  assert_true(store_put_tree(store, AT("out"), NULL, &again, &err));
  assert_string_equal(ref.digest, again.digest);
  assert_false(store_get_tree(store, ref.digest, AT("out"), &err)); /* is there already */
  make_folder("there");
  assert_false(store_get_tree(store, ref.digest, AT("there"), &err)); /* even when it is empty */
  assert_int_equal(count_files(base), 4);                             /* deep, tree, out, there: nothing partial */
}

static void compare_tells_differences(void **state) {
  struct err err = {0};
  struct store_ref ref;
  make_tree();
  assert_true(store_put_tree(store, AT("tree"), NULL, &ref, &err));
  assert_false(store_compare_tree(store, ref.digest, AT("tree"), &err)); /* the link became a file of its own */
  assert_non_null(strstr(err.text, "symbolic link"));
  assert_int_equal(unlink(AT("tree/b/link")), 0);
  assert_true(store_put_tree(store, AT("tree"), NULL, &ref, &err));
  assert_true(store_compare_tree(store, ref.digest, AT("tree"), &err));
  write_file("tree/more", "", 0644);
  assert_false(store_compare_tree(store, ref.digest, AT("tree"), &err));
  assert_int_equal(err.code, ERR_REFUSED);
  assert_int_equal(unlink(AT("tree/more")), 0);
  write_file("tree/a", "aab", 0644);
  assert_false(store_compare_tree(store, ref.digest, AT("tree"), &err));
  assert_non_null(strstr(err.text, "was changed"));
  write_file("tree/a", "aaa", 0755);
  assert_false(store_compare_tree(store, ref.digest, AT("tree"), &err));
  write_file("tree/a", "aaa", 0644);
  assert_int_equal(unlink(AT("tree/b.txt")), 0);
  assert_false(store_compare_tree(store, ref.digest, AT("tree"), &err));
  assert_non_null(strstr(err.text, "missing"));
}

static void damaged_trees_are_refused(void **state) {
  struct err err = {0};
  struct store_ref ref;
  make_tree();
  assert_true(store_put_tree(store, AT("tree"), NULL, &ref, &err));
  damage("sha256:9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0"); /* the file `a` */
  assert_false(store_verify_tree(store, ref.digest, &err));
  assert_false(store_get_tree(store, ref.digest, AT("out"), &err));
  assert_int_equal(count_files(base), 2); /* deep, tree */
  assert_true(store_put_tree(store, AT("tree"), NULL, &ref, &err));
  damage(ref.digest);
  assert_false(store_get_tree(store, ref.digest, AT("out"), &err));
}

static void refuse_tree(enum err_code code) {
  struct err err = {0};
  struct store_ref ref;
  assert_false(store_put_tree(store, AT("tree"), NULL, &ref, &err));
  assert_int_equal(err.code, code);
}

static void odd_folders_are_refused(void **state) {
  struct err err = {0};
  struct store_ref ref;
  make_tree();
  assert_int_equal(symlink("/etc/passwd", AT("tree/x")), 0);
  refuse_tree(ERR_INVALID);
  unlink(AT("tree/x"));
  assert_int_equal(symlink("../tree2", AT("tree/x")), 0); /* shares the prefix only */
  write_file("tree2", "", 0644);
  refuse_tree(ERR_INVALID);
  unlink(AT("tree/x"));
  assert_int_equal(symlink("b", AT("tree/x")), 0);
  refuse_tree(ERR_INVALID);
  unlink(AT("tree/x"));
  assert_int_equal(symlink("x", AT("tree/x")), 0);
  refuse_tree(ERR_INVALID);
  unlink(AT("tree/x"));
  assert_int_equal(mkfifo(AT("tree/x"), 0600), 0);
  refuse_tree(ERR_INVALID);
  unlink(AT("tree/x"));
  write_file("tree/\xff", "", 0644);
  refuse_tree(ERR_INVALID);
  unlink(AT("tree/\xff"));
  struct store_limits few = {.files = 3}, small = {.bytes = 19}, fits = {.files = 4, .bytes = 20};
  assert_false(store_put_tree(store, AT("tree"), &few, &ref, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  assert_false(store_put_tree(store, AT("tree"), &small, &ref, &err));
  assert_int_equal(err.code, ERR_LIMIT);
  assert_true(store_put_tree(store, AT("tree"), &fits, &ref, &err));
}

static void refuse_manifest(const char *text) {
  struct err err = {0};
  struct store_ref ref;
  assert_true(store_put_bytes(store, text, strlen(text), &ref, &err));
  assert_false(store_get_tree(store, ref.digest, AT("out"), &err));
  assert_int_equal(err.code, ERR_INVALID);
}

#define ENTRY(path) "{\"digest\":\"" ABC "\",\"mode\":\"0644\",\"path\":\"" path "\",\"size\":3}"
#define MANIFEST(files) "{\"files\":[" files "],\"kind\":\"orch-tree\",\"version\":1}"

static void forged_manifests_are_refused(void **state) {
  struct err err = {0};
  struct store_ref ref;
  assert_true(store_put_bytes(store, "abc", 3, &ref, &err));
  const char *good = MANIFEST(ENTRY("a") "," ENTRY("b/c"));
  assert_true(store_put_bytes(store, good, strlen(good), &ref, &err));
  assert_true(store_get_tree(store, ref.digest, AT("good"), &err));
  refuse_manifest("");
  refuse_manifest("[]");
  refuse_manifest("{\"files\":[],\"kind\":\"else\",\"version\":1}");
  refuse_manifest("{\"files\":[],\"kind\":\"orch-tree\",\"version\":2}");
  refuse_manifest(MANIFEST(ENTRY("../a")));
  refuse_manifest(MANIFEST(ENTRY("/a")));
  refuse_manifest(MANIFEST(ENTRY("a/../../b")));
  refuse_manifest(MANIFEST(ENTRY("a//b")));
  refuse_manifest(MANIFEST(ENTRY("a/")));
  refuse_manifest(MANIFEST(ENTRY("")));
  refuse_manifest(MANIFEST(ENTRY("b") "," ENTRY("a")));
  refuse_manifest(MANIFEST(ENTRY("a") "," ENTRY("a")));
  refuse_manifest(MANIFEST("7"));
  const char *clash = MANIFEST(ENTRY("a") "," ENTRY("a/b")); /* a file and a folder of one name */
  assert_true(store_put_bytes(store, clash, strlen(clash), &ref, &err));
  assert_false(store_get_tree(store, ref.digest, AT("out"), &err));
  assert_int_not_equal(access(AT("out"), F_OK), 0);
}

static void *put_many(void *arg) {
  struct err err = {0};
  struct store_ref ref;
  for (int i = 0; i < 50; i++) {
    char text[32];
    int len = snprintf(text, sizeof text, "shared %d", i);
    if (!store_put_bytes(store, text, (size_t)len, &ref, &err) || !store_verify(store, ref.digest, &err)) return arg;
  }
  return NULL;
}

static void several_threads_write_the_same(void **state) {
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, put_many, base), 0);
  for (int i = 0; i < 4; i++) {
    void *failed = base;
    pthread_join(threads[i], &failed);
    assert_null(failed);
  }
  assert_int_equal(count_files(AT("deep/store/tmp")), 0);
}

static void removing_never_follows_links(void **state) {
  struct err err = {0};
  make_tree();
  make_folder("outside");
  write_file("outside/keep", "", 0644);
  assert_int_equal(symlink("../outside", AT("tree/out")), 0);
  assert_int_equal(chmod(AT("tree/b"), 0500), 0);
  assert_true(store_remove_folder(AT("tree"), &err));
  assert_int_equal(access(AT("outside/keep"), F_OK), 0);
  assert_int_not_equal(access(AT("tree"), F_OK), 0);
  assert_true(store_remove_folder(AT("tree"), &err)); /* not there: fine */
}

static void log_paths_name_job_and_lease(void **state) {
  char *path = store_log_path(store, 12, 345);
  assert_non_null(strstr(path, "/deep/store/logs/12-345.log"));
  assert_true(strncmp(path, store_folder(store), strlen(store_folder(store))) == 0);
  mem_free(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(objects_come_back),
      TEST(large_objects_by_pieces),
      TEST(what_is_refused),
      TEST(damage_is_found_and_healed),
      TEST(crash_leftovers_are_swept_when_old),
      TEST(a_killed_writer_leaves_no_object),
      TEST(trees_come_back),
      TEST(compare_tells_differences),
      TEST(damaged_trees_are_refused),
      TEST(odd_folders_are_refused),
      TEST(forged_manifests_are_refused),
      TEST(several_threads_write_the_same),
      TEST(removing_never_follows_links),
      TEST(log_paths_name_job_and_lease),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
