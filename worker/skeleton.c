#include "skeleton.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static bool make(const char *folder, struct err *err) {
  static const char *const names[] = {"", "bundle", "data", "input", "output", "home", "tmp"};
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s%s%s", folder, *names[i] ? "/" : "", names[i]);
    if (mkdir(path, 0755) != 0) return err_errno(err, errno, "cannot make the folder %s", path);
  }
  return true;
}

static void unmake(const char *folder) {
  static const char *const names[] = {"/bundle", "/data", "/input", "/output", "/home", "/tmp", ""};
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    CLEANUP(mem_free_p) char *path = mem_printf("%s%s", folder, names[i]);
    (void)rmdir(path);
  }
}

/* Only a complete set gets the name under which it is taken. */
void skeleton_prepare(const char *work_folder) {
  struct err ignored = {0};
  CLEANUP(mem_free_p) char *spare = mem_printf("%s/spare", work_folder);
  CLEANUP(mem_free_p)
  char *partial = mem_printf("%s/0-%ld", work_folder, (long)getpid()); /* named so that a sweep finds it */
  ;
  if (access(spare, F_OK) == 0) return;
  unmake(partial); /* what a killed process of this number has left */
  if (!make(partial, &ignored) || rename(partial, spare) != 0) unmake(partial);
}

bool skeleton_take(const char *work_folder, const char *folder, struct err *err) {
  CLEANUP(mem_free_p) char *spare = mem_printf("%s/spare", work_folder);
  if (access(folder, F_OK) != 0 && rename(spare, folder) == 0) return true;
  return make(folder, err);
}
