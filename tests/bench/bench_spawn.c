/* From a committed job to a running process, beside a bare uv_spawn of the same program.
 *
 *     bench_spawn child FILE           what the step runs: writes the moment it started (CLOCK_REALTIME, ns) to FILE
 *     bench_spawn bare FILE N          uv_spawn the child N times; prints one latency in ms a line
 *     bench_spawn jobs FILE N URL PIPELINE   orch.proposal_create N times against a running worker; the same
 *
 * A latency of `jobs` counts from the moment the call that enqueued the job returned, so from its commit. */
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int child(const char *file) {
  long long started = now_ns();
  char temp[4096], text[32];
  snprintf(temp, sizeof temp, "%s.%ld", file, (long)getpid());
  int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  int len = snprintf(text, sizeof text, "%lld\n", started);
  return fd < 0 || write(fd, text, (size_t)len) != len || close(fd) || rename(temp, file);
}

/* Waits for the child's word; a minute at most. */
static long long started_ns(const char *file) {
  for (int i = 0; i < 60000; i++) {
    char text[32] = "";
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    if (len > 0) {
      unlink(file);
      return strtoll(text, NULL, 10);
    }
    usleep(1000);
  }
  fprintf(stderr, "no process started within a minute\n");
  exit(1);
}

static void on_child_exit(uv_process_t *process, int64_t status, int signal_number) {
  uv_close((uv_handle_t *)process, NULL);
}

static int bare(const char *self, const char *file, int n) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  for (int i = 0; i < n; i++) {
    uv_process_t process;
    char path[4096], mode[] = "child", name[4096];
    snprintf(path, sizeof path, "%s", self);
    snprintf(name, sizeof name, "%s", file);
    char *args[] = {path, mode, name, NULL};
    uv_process_options_t options = {.file = path, .args = args, .exit_cb = on_child_exit};
    long long begin = now_ns();
    if (uv_spawn(&loop, &process, &options)) return 1;
    uv_run(&loop, UV_RUN_DEFAULT);
    printf("%.3f\n", (double)(started_ns(file) - begin) / 1e6);
  }
  return 0;
}

static int jobs(const char *file, int n, const char *url, const char *pipeline) {
  PGconn *db = PQconnectdb(url);
  const char *const values[] = {pipeline};
  for (int i = -3; i < n; i++) { /* the first ones warm up */
    PGresult *result =
        PQexecParams(db, "select orch.proposal_create($1, 'bench', 'cancel_and_replace', 'user:bench', null, null)", 1,
                     NULL, values, NULL, NULL, 0);
    long long begin = now_ns();
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
      fprintf(stderr, "%s", PQerrorMessage(db));
      return 1;
    }
    PQclear(result);
    double ms = (double)(started_ns(file) - begin) / 1e6;
    if (i >= 0) printf("%.3f\n", ms);
    usleep(150000); /* the worker hands in and is idle again */
  }
  PQfinish(db);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "child")) return child(argv[2]);
  if (argc == 4 && !strcmp(argv[1], "bare")) return bare(argv[0], argv[2], (int)strtol(argv[3], NULL, 10));
  if (argc == 6 && !strcmp(argv[1], "jobs")) {
    return jobs(argv[2], (int)strtol(argv[3], NULL, 10), argv[4], argv[5]);
  }
  fprintf(stderr, "usage: bench_spawn child FILE | bare FILE N | jobs FILE N URL PIPELINE\n");
  return 2;
}
