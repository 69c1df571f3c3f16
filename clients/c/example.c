/* Reads rows from standard input, one JSON object a line, and tells orch; lines that begin with "label ID VALUE" are
 * labels. Build: cc -o example example.c -lcurl -lpthread (with -DORCH_CLIENT_GZIP -lz to compress) */
#define _POSIX_C_SOURCE 200809L
#define ORCH_CLIENT_IMPLEMENTATION
#include "orch_client.h"

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: example URL PIPELINE [RETRY_MS] < ROWS    (the token: ORCH_TOKEN)\n");
    return 2;
  }
  struct orch_client_options options = {.url = argv[1], .pipeline = argv[2], .token = getenv("ORCH_TOKEN")};
  if (argc > 3) options.retry_ms = strtol(argv[3], NULL, 10);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  struct orch_client *orch = orch_client_new(&options);
  if (!orch) {
    fprintf(stderr, "example: no client (is ORCH_TOKEN set?)\n");
    return 1;
  }
  char *line = NULL;
  size_t size = 0;
  for (ssize_t n; (n = getline(&line, &size, stdin)) > 0;) {
    if (line[n - 1] == '\n') line[--n] = 0;
    char *id = strncmp(line, "label ", 6) == 0 ? line + 6 : NULL, *label = id ? strchr(id, ' ') : NULL;
    if (label) *label++ = 0;
    if (label)
      orch_client_label(orch, id, label, NULL);
    else
      orch_client_json(orch, line, (size_t)n);
  }
  free(line);
  struct orch_row row;
  orch_row_begin(&row);
  orch_row_text(&row, "id", "last \"one\"\n");
  orch_row_number(&row, "features.income", 3.25);
  orch_row_number(&row, "ratio", NAN);
  orch_row_bool(&row, "new", true);
  orch_row_null(&row, "city");
  orch_client_row(orch, &row);
  bool flushed = orch_client_flush(orch, 5000);
  struct orch_client_stats stats;
  orch_client_get_stats(orch, &stats);
  printf("{\"flushed\":%s,\"queued\":%llu,\"sent\":%llu,\"refused\":%llu,\"dropped\":%llu,\"retries\":%llu,\"waiting\":"
         "%llu}\n",
         flushed ? "true" : "false", stats.queued, stats.sent, stats.refused, stats.dropped, stats.retries,
         stats.waiting);
  if (stats.last_error[0]) fprintf(stderr, "example: %s\n", stats.last_error);
  bool all = orch_client_close(orch, 1000);
  curl_global_cleanup();
  return all ? 0 : 1;
}
