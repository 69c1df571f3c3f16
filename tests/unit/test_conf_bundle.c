/* conf/bundle: the same files give the same bytes, what must not travel is refused, and a hostile tar stays inside. */
#include "cm.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "conf/bundle.h"
#include "conf/gitinfo.h"
#include "io/store.h"

static char base[64];

static const char *at(const char *name) {
  static char paths[8][512];
  static unsigned next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", base, name);
  return path;
}

static void put(const char *name, const char *text, unsigned mode) {
  char path[512];
  snprintf(path, sizeof path, "%s", at(name));
  for (char *slash = path + strlen(base) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
    *slash = '\0';
    (void)mkdir(path, 0755);
    *slash = '/';
  }
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
  assert_int_equal(fchmod(fd, mode), 0);
  close(fd);
}

static int setup(void **state) {
  snprintf(base, sizeof base, "/tmp/orch-bundle-XXXXXX");
  return mkdtemp(base) != NULL ? 0 : -1;
}
static int teardown(void **state) {
  struct err err = {0};
  return store_remove_folder(base, &err) ? 0 : -1;
}

static bool keep(void *arg, const void *bytes, size_t len, struct err *err) {
  strbuf_add(arg, bytes, len);
  return true;
}

static struct bundle_info pack(const char *folder, struct strbuf *out) {
  struct err err = {0};
  struct bundle_info info;
  if (!bundle_pack(at(folder), out != NULL ? keep : NULL, out, &info, &err)) fail_msg("%s", err.text);
  return info;
}

static enum err_code pack_fails(const char *folder, char *text) {
  struct err err = {0};
  struct bundle_info info = {.files = 77};
  assert_false(bundle_pack(at(folder), NULL, NULL, &info, &err));
  assert_int_equal(info.files, 77);
  snprintf(text, sizeof err.text, "%s", err.text);
  return err.code;
}

static void fill(const char *folder, bool other_order) {
  const char *names[] = {"pipeline.yaml", "lib/a.py", "lib-b.py", "data/x.csv"};
  for (int i = 0; i < 4; i++) {
    char name[128];
    snprintf(name, sizeof name, "%s/%s", folder, names[other_order ? 3 - i : i]);
    put(name, names[other_order ? 3 - i : i], other_order ? 0600 : 0644);
  }
  char name[128];
  snprintf(name, sizeof name, "%s/run.sh", folder);
  put(name, "#!/bin/sh\n", other_order ? 0700 : 0755);
}

static void test_same_files_same_bytes(void **state) {
  fill("a", false);
  fill("b", true);
  put("b/__pycache__/x.pyc", "cache", 0644);
  put("b/.git/HEAD", "ref", 0644);
  struct utimbuf old = {1000, 1000};
  assert_int_equal(utime(at("b/lib/a.py"), &old), 0);
  struct bundle_info a = pack("a", NULL), b = pack("b", NULL);
  assert_string_equal(a.digest, b.digest);
  assert_int_equal(a.files, 5);
  assert_true(digest_is_text(a.digest));
  put("b/lib/a.py", "other", 0644);
  assert_string_not_equal(a.digest, pack("b", NULL).digest);
  put("b/lib/a.py", "lib/a.py", 0755); /* executable now: another bundle */
  assert_string_not_equal(a.digest, pack("b", NULL).digest);
}

static void test_round_trip(void **state) {
  fill("a", false);
  assert_int_equal(symlink("../lib-b.py", at("a/lib/link.py")), 0);
  struct strbuf tar;
  strbuf_init(&tar, (size_t)1 << 24);
  struct bundle_info info = pack("a", &tar);
  uint8_t bytes[DIGEST_BYTES];
  char digest[DIGEST_TEXT_SIZE];
  digest_bytes(tar.data, tar.len, bytes);
  digest_to_text(bytes, digest);
  assert_string_equal(digest, info.digest);
  assert_int_equal(info.bytes, tar.len);
  FILE *file = fopen(at("x.tar"), "w+");
  assert_int_equal(fwrite(tar.data, 1, tar.len, file), tar.len);
  rewind(file);
  assert_int_equal(mkdir(at("out"), 0755), 0);
  struct err err = {0};
  if (!bundle_extract(fileno(file), at("out"), &err)) fail_msg("%s", err.text);
  fclose(file);
  strbuf_fini(&tar);
  assert_string_equal(pack("out", NULL).digest, info.digest);
  struct stat status;
  assert_int_equal(stat(at("out/run.sh"), &status), 0);
  assert_int_equal(status.st_mode & 0777, 0755);
  assert_int_equal(stat(at("out/lib/link.py"), &status), 0);
}

static void test_ignore(void **state) {
  fill("a", false);
  put("a/.orchignore", "# what steps do not need\n*.csv\nlib/\n/run.sh  \n", 0644);
  struct bundle_info info = pack("a", NULL);
  assert_int_equal(info.files, 3); /* pipeline.yaml, lib-b.py, .orchignore */
  struct err err = {0};
  bool left_out = false;
  static const struct {
    const char *path;
    bool left_out;
  } cases[] = {{"data/x.csv", true},  {"lib/a.py", true}, {"lib-b.py", false},        {"run.sh", true},
               {"sub/run.sh", false}, {"a.pyc", true},    {".git/config", true},      {"sub/lib/deep/a.py", true},
               {"csv", false},        {"lib", false},     {"sub/__pycache__/x", true}};
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    assert_true(bundle_leaves_out(at("a"), cases[i].path, &left_out, &err));
    if (left_out != cases[i].left_out) fail_msg("%s: %d", cases[i].path, left_out);
  }
  char text[512];
  put("a/.orchignore", "*.csv\n!keep.csv\n", 0644);
  assert_int_equal(pack_fails("a", text), ERR_INVALID);
  assert_non_null(strstr(text, ".orchignore:2"));
}

static void test_refusals(void **state) {
  char text[512];
  fill("a", false);
  static const char *const targets[] = {"/etc/passwd", "../../x", "missing", "lib/../../b", ".."};
  fill("b", false);
  put("x", "outside", 0644);
  for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
    assert_int_equal(symlink(targets[i], at("a/link")), 0);
    assert_int_equal(pack_fails("a", text), ERR_INVALID);
    assert_non_null(strstr(text, "link"));
    assert_int_equal(unlink(at("a/link")), 0);
  }
  assert_int_equal(mkfifo(at("a/pipe"), 0600), 0);
  assert_int_equal(pack_fails("a", text), ERR_INVALID);
  assert_int_equal(unlink(at("a/pipe")), 0);
  put("a/huge", "", 0644);
  assert_int_equal(truncate(at("a/huge"), BUNDLE_BYTES_MAX), 0);
  assert_int_equal(pack_fails("a", text), ERR_LIMIT);
  put("a/.orchignore", "huge\n", 0644);
  (void)pack("a", NULL);
  assert_int_equal(pack_fails("no-such-folder", text), ERR_IO);
}

struct hostile {
  const char *path, *link;
  mode_t type;
};

static bool extract(const struct hostile *entries, size_t count, struct err *err) {
  struct archive *tar = archive_write_new();
  archive_write_set_format_pax(tar);
  archive_write_open_filename(tar, at("hostile.tar"));
  for (size_t i = 0; i < count; i++) {
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, entries[i].path);
    archive_entry_set_filetype(entry, entries[i].type != 0 ? entries[i].type : AE_IFREG);
    archive_entry_set_perm(entry, 04777);
    if (entries[i].type == AE_IFLNK) archive_entry_set_symlink(entry, entries[i].link);
    if (entries[i].type == 0 && entries[i].link != NULL) archive_entry_set_hardlink(entry, entries[i].link);
    bool content = entries[i].type == 0 && entries[i].link == NULL;
    archive_entry_set_size(entry, content ? 4 : 0);
    assert_int_equal(archive_write_header(tar, entry), ARCHIVE_OK);
    if (content) assert_int_equal(archive_write_data(tar, "evil", 4), 4);
    archive_entry_free(entry);
  }
  archive_write_free(tar);
  assert_true(store_remove_folder(at("in"), err));
  assert_int_equal(mkdir(at("in"), 0755), 0);
  int fd = open(at("hostile.tar"), O_RDONLY);
  bool fine = bundle_extract(fd, at("in"), err);
  close(fd);
  return fine;
}

static void test_hostile_archives(void **state) {
  static const struct hostile cases[][2] = {
      {{"/tmp/orch-evil"}},
      {{"../evil"}},
      {{"a/../../evil"}},
      {{"a/./b"}},
      {{"l", "/tmp", AE_IFLNK}},
      {{"l", "..", AE_IFLNK}},
      {{"a/l", "../..", AE_IFLNK}},
      {{"d", ".", AE_IFLNK}, {"d/evil"}}, /* stays inside, but writing through a link is refused */
      {{"x"}, {"x"}},
      {{"x"}, {"y", "x"}}, /* a hard link */
      {{"pipe", NULL, AE_IFIFO}},
      {{"dev", NULL, AE_IFCHR}},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct err err = {0};
    if (extract(cases[i], cases[i][1].path != NULL ? 2 : 1, &err)) fail_msg("case %zu was let in", i);
    assert_true(err.code == ERR_INVALID || err.code == ERR_IO || err.code == ERR_INTERNAL);
    assert_true(access("/tmp/orch-evil", F_OK) != 0 && access(at("evil"), F_OK) != 0);
    assert_true(access(at("in/evil"), F_OK) != 0);
  }
  struct err err = {0};
  static const struct hostile fine[] = {{"d", NULL, AE_IFDIR}, {"d/x"}};
  if (!extract(fine, 2, &err)) fail_msg("%s", err.text);
  struct stat status;
  assert_int_equal(stat(at("in/d/x"), &status), 0);
  assert_int_equal(status.st_mode & 07777, 0755); /* no set-user-id comes out of a bundle */
}

static void test_damaged(void **state) {
  struct err err = {0};
  fill("a", false);
  struct strbuf tar;
  strbuf_init(&tar, (size_t)1 << 24);
  (void)pack("a", &tar);
  put("t.tar", "", 0644);
  for (size_t cut = 100; cut < 3000; cut += 450) {
    FILE *file = fopen(at("t.tar"), "w+");
    assert_int_equal(fwrite(tar.data, 1, cut, file), cut);
    rewind(file);
    assert_true(store_remove_folder(at("in"), &err));
    assert_int_equal(mkdir(at("in"), 0755), 0);
    assert_false(bundle_extract(fileno(file), at("in"), &err));
    fclose(file);
  }
  strbuf_fini(&tar);
}

static void test_no_repository(void **state) {
  struct gitinfo info = {.commit = "x"};
  fill("a", false);
  gitinfo_read(at("a"), &info);
  assert_string_equal(info.commit, "");
  assert_false(info.dirty);
}

int main(void) {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_same_files_same_bytes), TEST(test_round_trip), TEST(test_ignore),        TEST(test_refusals),
      TEST(test_hostile_archives),      TEST(test_damaged),    TEST(test_no_repository),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
