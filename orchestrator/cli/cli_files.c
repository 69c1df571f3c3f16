#include "cli/cli_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/pipeline.h"
#include "conf/server.h"
#include "conf/yaml.h"

/* A file with reviewers and no steps is the server's, whatever its name. */
static bool looks_like_server(const char *text, size_t len) {
  struct arena arena;
  struct problems unheard;
  arena_init(&arena, (size_t)8 << 20);
  problems_init(&unheard, "");
  const struct yaml_node *root = yaml_tree_read(text, len, &arena, &unheard);
  static const char *const own[] = {"reviewers", "callbacks", "webhooks", "chat"};
  bool server = false;
  for (size_t i = 0; i < ARRAY_LEN(own); i++) server = server || yaml_tree_get(root, own[i]) != NULL;
  server = server && yaml_tree_get(root, "pipeline") == NULL && yaml_tree_get(root, "steps") == NULL;
  problems_fini(&unheard);
  arena_fini(&arena);
  return server;
}

bool cli_file_read(struct cli *cli, const char *word, struct cli_file *ret, struct err *err) {
  struct stat info;
  const char *path = word;
  if (stat(word, &info) == 0 && S_ISDIR(info.st_mode)) {
    size_t len = strlen(word);
    path = arena_printf(&cli->arena, "%s%spipeline.yaml", word, len > 0 && word[len - 1] == '/' ? "" : "/");
  }
  struct cli_file file = {.path = path};
  if (path == NULL) return err_set(err, ERR_LIMIT, "too many files");
  if (!yaml_tree_read_file(path, YAML_TREE_BYTES_MAX, &file.text, &file.len, err)) {
    return err->code == ERR_NOT_FOUND && path != word ? err_hint(err, "a pipeline's folder holds a pipeline.yaml")
                                                      : false;
  }
  const char *slash = strrchr(path, '/');
  file.folder = slash == NULL ? "." : slash == path ? "/" : arena_strndup(&cli->arena, path, (size_t)(slash - path));
  file.is_server = looks_like_server(file.text, file.len);
  problems_init(&file.problems, path);
  *ret = file;
  return true;
}

void cli_file_parse(struct cli_file *file, const json_t *server) {
  struct pipeline_options options = {.folder = file->folder, .server = server};
  file->document = file->is_server ? server_parse(file->text, file->len, &file->problems)
                                   : pipeline_parse(file->text, file->len, &options, &file->problems);
}

void cli_file_fini(struct cli_file *file) {
  if (file->path == NULL) return;
  json_decref(file->document);
  problems_fini(&file->problems);
  mem_free(file->text);
  *file = (struct cli_file){0};
}

bool cli_file_server(struct cli *cli, struct cli_file *ret, struct err *err) {
  const char *path = cli->config != NULL ? cli->config : "orch.yaml";
  struct cli_file file = {0};
  if (!cli_file_read(cli, path, &file, err)) {
    if (cli->config != NULL || err->code != ERR_NOT_FOUND) return false;
    *err = (struct err){0};
    *ret = (struct cli_file){0};
    return true;
  }
  file.is_server = true;
  cli_file_parse(&file, NULL);
  *ret = file;
  return true;
}

void cli_file_complain(struct cli_file *file) {
  struct strbuf lines;
  strbuf_init(&lines, (size_t)1 << 20);
  problems_print(&file->problems, &lines);
  fputs(strbuf_text(&lines), stderr);
  strbuf_fini(&lines);
}

bool cli_profile_csv(const char *path, const char *what, struct profile **ret, struct err *err) {
  static char chunk[1 << 16];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return err_errno(err, errno, "%s %s", what, path);
  struct profile_csv *csv = profile_csv_new();
  ssize_t got;
  bool fine = true;
  while (fine && (got = read(fd, chunk, sizeof chunk)) != 0) {
    fine = got > 0 ? profile_csv_feed(csv, chunk, (size_t)got, err) : err_errno(err, errno, "cannot be read");
  }
  struct profile *profile = fine ? profile_csv_finish(csv, err) : NULL;
  profile_csv_free(csv);
  close(fd);
  if (profile == NULL) return err_prefix(err, "%s %s", what, path);
  *ret = profile;
  return true;
}
