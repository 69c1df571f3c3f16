/* orch apply [DIR…]: everything is checked first, then the server's file and the pipelines are stored one by one. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "cli/cli_files.h"
#include "cli/verbs.h"
#include "conf/bundle.h"
#include "conf/canonical.h"
#include "conf/gitinfo.h"
#include "io/store.h"

#define FILES_MAX 100

struct apply {
  struct cli *cli;
  const char *actor;
  struct store *store;
  json_t *results; /* what --json prints */
};

static bool to_store(void *arg, const void *bytes, size_t len, struct err *err) {
  store_writer_add(arg, bytes, len); /* its errors are kept until the commit */
  return true;
}

static bool store_bundle(struct apply *a, const char *folder, struct bundle_info *ret, struct err *err) {
  if (a->store == NULL) a->store = store_open(cli_store_location(a->cli), err);
  if (a->store == NULL) return false;
  struct store_writer *writer = store_writer_new(a->store, STORE_NO_LIMIT);
  if (!bundle_pack(folder, to_store, writer, ret, err)) {
    store_writer_discard(writer);
    return err_prefix(err, "%.200s", folder);
  }
  struct store_ref ref;
  if (!store_writer_commit(writer, &ref, err)) return false;
  if (strcmp(ref.digest, ret->digest) != 0) return err_set(err, ERR_INTERNAL, "store and bundle disagree on a digest");
  return true;
}

/* A revision is its YAML and its code: the digest over the bundle's digest, a newline and the file's bytes. */
static void revision_digest(const struct cli_file *file, const char *bundle, char out[DIGEST_TEXT_SIZE]) {
  uint8_t bytes[DIGEST_BYTES];
  struct digest_state *state = digest_new();
  digest_add(state, bundle, strlen(bundle));
  digest_add(state, "\n", 1);
  digest_add(state, file->text, file->len);
  digest_finish(state, bytes);
  digest_to_text(bytes, out);
}

static void say_pipeline(struct apply *a, const json_t *answer, const struct bundle_info *bundle,
                         const struct gitinfo *git) {
  struct cli *cli = a->cli;
  char size[UNITS_TEXT_SIZE];
  const char *name = cli_member(cli, answer, "pipeline");
  const char *digest = cli_digest(cli, json_string_value(json_object_get(answer, "digest")));
  if (!json_is_true(json_object_get(answer, "changed"))) {
    cli_printf("%s: unchanged (%s)\n", name, digest);
    return;
  }
  units_format_size(bundle->bytes, size);
  cli_printf("%s: %s revision %s (%u files, %s", name, cli_paint(cli, CLI_GREEN, "applied"), digest, bundle->files,
             size);
  if (git->commit[0] != '\0') cli_printf(", commit %.10s%s", git->commit, git->dirty ? " with changes" : "");
  cli_printf(")\n");
  if (json_is_integer(json_object_get(answer, "regated"))) {
    cli_printf("  the policy changed: votes given so far are void, gate %s waits anew\n",
               cli_member(cli, answer, "regated"));
  }
}

static bool apply_pipeline(struct apply *a, const struct cli_file *file, struct err *err) {
  struct bundle_info bundle;
  struct gitinfo git;
  char digest[DIGEST_TEXT_SIZE];
  json_t *answer = NULL;
  if (!store_bundle(a, file->folder, &bundle, err)) return false;
  gitinfo_read(file->folder, &git);
  revision_digest(file, bundle.digest, digest);
  CLEANUP(mem_free_p) char *spec = canonical_text(file->document);
  CLEANUP(mem_free_p) char *yaml = mem_strndup(file->text, file->len);
  bool known = git.commit[0] != '\0';
  struct db_value values[] = {db_text(spec),
                              db_text(yaml),
                              db_text(digest),
                              db_text(bundle.digest),
                              db_text(known ? git.commit : NULL),
                              known ? db_bool(git.dirty) : db_null(),
                              db_text(a->actor)};
  if (!cli_call(a->cli, "select orch.pipeline_apply($1::jsonb, $2, $3, $4, $5, $6::boolean, $7)", ARRAY_LEN(values),
                values, &answer, err)) {
    return err_prefix(err, "%.100s", file->path);
  }
  if (!a->cli->json) say_pipeline(a, answer, &bundle, &git);
  json_array_append_new(a->results, answer);
  return true;
}

static bool apply_server(struct apply *a, const struct cli_file *file, struct err *err) {
  json_t *answer = NULL;
  CLEANUP(mem_free_p) char *config = canonical_text(file->document);
  struct db_value values[] = {db_text(config), db_text(a->actor)};
  if (!cli_call(a->cli, "select orch.server_apply($1::jsonb, $2)", ARRAY_LEN(values), values, &answer, err)) {
    return err_prefix(err, "%.100s", file->path);
  }
  const json_t *stuck = json_object_get(answer, "stuck");
  if (!a->cli->json) {
    cli_printf("%s: %s (reviewers: %s)\n", cli_safe(a->cli, file->path),
               json_is_true(json_object_get(answer, "changed")) ? cli_paint(a->cli, CLI_GREEN, "applied") : "unchanged",
               cli_member(a->cli, answer, "reviewers"));
    if (json_array_size(stuck) > 0) {
      cli_printf("  nobody can satisfy these open gates any more: %s\n", cli_join(a->cli, stuck));
    }
  }
  json_array_append_new(a->results, answer);
  return true;
}

/* The server's file comes first: pipelines are held against its reviewers. */
static bool gather(struct cli *cli, struct cli_file *files, size_t *count, struct err *err) {
  if (!cli_file_server(cli, &files[0], err)) return false;
  *count = 1;
  for (int i = 0; i < cli->argc; i++) {
    if (*count == FILES_MAX) return err_set(err, ERR_LIMIT, "more than %d files at once", FILES_MAX);
    if (!cli_file_read(cli, cli->argv[i], &files[*count], err)) return false;
    ++*count;
    if (!files[*count - 1].is_server) continue;
    cli_file_fini(&files[0]); /* named outright: that one, and not the one lying here */
    files[0] = files[--*count];
    files[*count] = (struct cli_file){0}; /* moved, not copied */
    files[0].problems.file = files[0].path;
    cli_file_parse(&files[0], NULL);
  }
  if (*count == 1 && files[0].path == NULL) {
    err_set(err, ERR_USAGE, "nothing to apply: no folder was named and there is no orch.yaml here");
    return err_hint(err, "orch apply pipelines/NAME");
  }
  return true;
}

static bool check_all(struct cli_file *files, size_t count) {
  bool fine = files[0].path == NULL || files[0].document != NULL;
  if (!fine) cli_file_complain(&files[0]);
  for (size_t i = 1; i < count; i++) {
    cli_file_parse(&files[i], files[0].document);
    if (files[i].document == NULL) cli_file_complain(&files[i]);
    fine = fine && files[i].document != NULL;
  }
  return fine;
}

static bool apply_all(struct apply *a, struct cli_file *files, size_t count, struct err *err) {
  if (!cli_actor(a->cli, "admin", &a->actor, err)) return false;
  if (files[0].path != NULL && !apply_server(a, &files[0], err)) return false;
  for (size_t i = 1; i < count; i++) {
    if (!apply_pipeline(a, &files[i], err)) return false;
  }
  return true;
}

static bool apply_run(struct cli *cli, struct err *err) {
  struct cli_file *files = mem_calloc(FILES_MAX, sizeof *files);
  struct apply a = {.cli = cli, .results = json_array()};
  size_t count = 0;
  bool fine = gather(cli, files, &count, err);
  if (fine && !check_all(files, count)) {
    cli->exit_code = err_exit_code(ERR_INVALID);
    fprintf(stderr, "orch: nothing was applied\n");
  } else if (fine) {
    fine = apply_all(&a, files, count, err);
  }
  if (fine && cli->json && cli->exit_code == 0) {
    json_t *document = json_pack("{s:O}", "applied", a.results);
    cli_print_json(cli, document);
    json_decref(document);
  }
  json_decref(a.results);
  store_close(a.store);
  for (size_t i = 0; i < FILES_MAX; i++) cli_file_fini(&files[i]);
  mem_free(files);
  return fine;
}

const struct cli_verb verb_apply = {
    .name = "apply",
    .group = CLI_GROUP_PIPELINE,
    .summary = "Store pipelines and the server's file as what is in force",
    .usage = "apply [FOLDER...]",
    .help = "Checks everything that is named, and the server's orch.yaml when there is one\n"
            "here or --config names it; if all is fine it is stored. A pipeline becomes an\n"
            "immutable revision: its YAML and the code beside it as a bundle, named by its\n"
            "digest, with the git commit. Workers run the bundle, never this folder. The\n"
            "same bytes again change nothing. What .orchignore names is left out.\n"
            "\n"
            "A changed gate policy voids the votes that were given under the old one.",
    .examples = "orch apply pipelines/housing\norch apply orch.yaml\norch apply pipelines/* --json",
    .max_args = -1,
    .run = apply_run,
};
