/* Rows over HTTP as fast as the server takes them: every request waits for its 202, so every row counted is durable.
 *
 *     bench_ingest PORT TOKEN PIPELINE CONNECTIONS ROWS SECONDS [ids]
 *
 * Bodies are built before the clock starts, sent over plain sockets, and the same few again and again: what is measured
 * is the server and its database, not this program. A row has 20 columns: an id (with `ids` a new one each, a
 * prediction and a score), a city and numbers as Python prints them. Prints one JSON object. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"

#define COLUMNS 20
#define BODIES 4
#define ID_DIGITS 12
#define THREADS_MAX 64

struct feeder {
  pthread_t thread;
  int number, port, rows;
  const char *token, *pipeline;
  bool ids;
  int64_t end_us;
  uint64_t next_id;
  struct strbuf requests[BODIES];
  size_t body_at[BODIES];
  long long requests_done, failed;
  double slowest_ms;
};

static uint64_t dice;
static double uniform(void) {
  dice = dice * 6364136223846793005u + 1442695040888963407u;
  return (double)(dice >> 11) / 9007199254740992.0;
}

static void build_row(struct strbuf *out, bool ids) {
  static const char *const cities[] = {"Dallas", "Houston", "Austin", "El Paso", "San Antonio"};
  strbuf_printf(out, "{\"id\":\"%0*d\",\"city\":\"%s\"", ID_DIGITS, 0, cities[(int)(uniform() * 5)]);
  int numbers = COLUMNS - 2;
  if (ids) {
    strbuf_printf(out, ",\"prediction\":\"%s\",\"score\":%.4f", uniform() < 0.5 ? "yes" : "no", uniform());
    numbers -= 2;
  }
  for (int i = 0; i < numbers; i++) strbuf_printf(out, ",\"column_%d\":%.*g", i, i % 3 ? 6 : 16, uniform() * 1e4);
  strbuf_puts(out, "}\n");
}

static void build(struct feeder *f) {
  for (int i = 0; i < BODIES; i++) {
    struct strbuf body;
    strbuf_init(&body, 64 << 20);
    for (int row = 0; row < f->rows; row++) build_row(&body, f->ids);
    strbuf_init(&f->requests[i], 64 << 20);
    strbuf_printf(&f->requests[i],
                  "POST /v1/pipelines/%s/observations HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n"
                  "Content-Type: application/x-ndjson\r\nContent-Length: %zu\r\n\r\n",
                  f->pipeline, f->token, body.len);
    f->body_at[i] = f->requests[i].len;
    strbuf_add(&f->requests[i], body.data, body.len);
    ORCH_ASSERT(!f->requests[i].failed);
    strbuf_fini(&body);
  }
}

/* New ids where the old ones stood. */
static void stamp_ids(struct feeder *f, int which) {
  char *at = f->requests[which].data + f->body_at[which];
  for (int row = 0; row < f->rows; row++) {
    char id[ID_DIGITS + 1];
    snprintf(id, sizeof id, "%02d%010llu", f->number, (unsigned long long)f->next_id++);
    memcpy(at + strlen("{\"id\":\""), id, ID_DIGITS);
    at = strchr(at, '\n') + 1;
  }
}

static int dial(int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  ORCH_ASSERT(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
  return fd;
}

static bool send_all(int fd, const char *bytes, size_t len) {
  for (size_t at = 0; at < len;) {
    ssize_t n = send(fd, bytes + at, len - at, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += (size_t)n;
  }
  return true;
}

/* Reads one whole answer; its status. */
static int read_answer(int fd) {
  char text[8192];
  size_t len = 0;
  for (;;) {
    ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
    if (n <= 0) return 0;
    len += (size_t)n;
    text[len] = 0;
    const char *body = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "content-length:");
    if (body && length && len >= (size_t)(body + 4 - text) + strtoul(length + 15, NULL, 10)) break;
    if (len == sizeof text - 1) return 0;
  }
  int status = (int)strtol(text + 9, NULL, 10);
  if (status != 202) fprintf(stderr, "%s\n", text);
  return status;
}

static void *feed(void *arg) {
  struct feeder *f = arg;
  int fd = dial(f->port);
  for (int turn = 0; clock_mono_us() < f->end_us; turn++) {
    int which = turn % BODIES;
    if (f->ids) stamp_ids(f, which);
    int64_t began = clock_mono_us();
    bool fine = send_all(fd, f->requests[which].data, f->requests[which].len) && read_answer(fd) == 202;
    double ms = (double)(clock_mono_us() - began) / 1000;
    if (ms > f->slowest_ms) f->slowest_ms = ms;
    if (fine) {
      f->requests_done++;
    } else {
      f->failed++;
      close(fd);
      fd = dial(f->port);
    }
  }
  close(fd);
  return NULL;
}

int main(int argc, char **argv) {
  static struct feeder feeders[THREADS_MAX];
  if (argc < 7) {
    fprintf(stderr, "usage: bench_ingest PORT TOKEN PIPELINE CONNECTIONS ROWS SECONDS [ids]\n");
    return 2;
  }
  int connections = (int)strtol(argv[4], NULL, 10), seconds = (int)strtol(argv[6], NULL, 10);
  ORCH_ASSERT(connections > 0 && connections <= THREADS_MAX);
  dice = 20260105;
  for (int i = 0; i < connections; i++) {
    feeders[i] = (struct feeder){.number = i,
                                 .port = (int)strtol(argv[1], NULL, 10),
                                 .token = argv[2],
                                 .pipeline = argv[3],
                                 .rows = (int)strtol(argv[5], NULL, 10),
                                 .ids = argc > 7,
                                 .next_id = (uint64_t)clock_wall_us() % 1000000000u};
    build(&feeders[i]);
  }
  int64_t began = clock_mono_us();
  for (int i = 0; i < connections; i++) {
    feeders[i].end_us = began + (int64_t)seconds * 1000000;
    ORCH_ASSERT(pthread_create(&feeders[i].thread, NULL, feed, &feeders[i]) == 0);
  }
  long long requests = 0, failed = 0;
  double slowest = 0;
  for (int i = 0; i < connections; i++) {
    pthread_join(feeders[i].thread, NULL);
    requests += feeders[i].requests_done;
    failed += feeders[i].failed;
    if (feeders[i].slowest_ms > slowest) slowest = feeders[i].slowest_ms;
  }
  double took = (double)(clock_mono_us() - began) / 1e6;
  double row_bytes = (double)(feeders[0].requests[0].len - feeders[0].body_at[0]) / feeders[0].rows;
  printf("{\"rows_per_s\": %.0f, \"requests\": %lld, \"failed\": %lld, \"seconds\": %.2f, \"row_bytes\": %.0f, "
         "\"slowest_ms\": %.1f}\n",
         (double)(requests * feeders[0].rows) / took, requests, failed, took, row_bytes, slowest);
  return failed ? 1 : 0;
}
