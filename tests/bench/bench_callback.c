/* Latency of a signed decision: request sent -> decision committed -> 200, at a fixed rate (open loop).
 *
 *     bench_callback URL SECRET RATE < GATES        one line "GATE DIGEST" a request, each gate decided once
 *
 * Requests leave on a schedule that does not wait for answers, and latency counts from the scheduled moment, so a
 * server that falls behind cannot hide it. Prints one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "chat/sign.h"
#include "io/fetch.h"

#define REQUESTS_MAX 100000

struct shot {
  struct bench *bench;
  long long gate;
  char digest[80];
  int64_t due_us;
};

struct bench {
  uv_loop_t loop;
  uv_timer_t timer;
  struct fetch *fetch;
  const char *url;
  struct sign_keys keys;
  struct shot *shots;
  double *latency_ms;
  size_t count, sent, answered, failed;
  int64_t start_us, gap_us;
};

static void on_answer(void *arg, const struct fetch_response *response, const struct err *err) {
  struct shot *shot = arg;
  struct bench *bench = shot->bench;
  bench->latency_ms[bench->answered++] = (double)(clock_mono_us() - shot->due_us) / 1e3;
  if (!response || response->status != 200) {
    if (bench->failed++ == 0) {
      fprintf(stderr, "first failure: %s\n", response ? response->body : err->text);
    }
  }
  if (bench->answered == bench->count) uv_stop(&bench->loop);
}

static void send_one(struct bench *bench, struct shot *shot) {
  char id[64], stamp[32];
  snprintf(id, sizeof id, "msg_bench_%lld_%016llx", shot->gate, (unsigned long long)clock_random_u64());
  long long now_s = (long long)(clock_wall_us() / 1000000);
  snprintf(stamp, sizeof stamp, "%lld", now_s);
  CLEANUP(strbuf_fini_p) struct strbuf body;
  strbuf_init(&body, 4096);
  strbuf_printf(&body,
                "{\"type\":\"gate.decision\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"data\":{\"gate\":%lld,"
                "\"verdict\":\"approve\",\"reviewer\":\"dana\",\"comment\":\"bench\",\"digest\":\"%s\"}}",
                shot->gate, shot->digest);
  CLEANUP(strbuf_fini_p) struct strbuf signature;
  strbuf_init(&signature, SIGN_HEADER_MAX);
  struct err err = {0};
  if (!sign_webhook(&bench->keys, id, now_s, strbuf_text(&body), body.len, &signature, &err)) {
    fprintf(stderr, "%s\n", err.text);
    exit(1);
  }
  char *header_id = mem_printf("webhook-id: %s", id);
  char *header_stamp = mem_printf("webhook-timestamp: %s", stamp);
  char *header_signature = mem_printf("webhook-signature: %s", strbuf_text(&signature));
  const char *const headers[] = {"Content-Type: application/json", header_id, header_stamp, header_signature, NULL};
  struct fetch_request request = {.method = "POST",
                                  .url = bench->url,
                                  .headers = headers,
                                  .body = strbuf_text(&body),
                                  .body_len = body.len,
                                  .private_ok = true};
  fetch_start(bench->fetch, &request, on_answer, shot);
  mem_free(header_id);
  mem_free(header_stamp);
  mem_free(header_signature);
}

static void on_tick(uv_timer_t *timer) {
  struct bench *bench = timer->data;
  int64_t now_us = clock_mono_us();
  while (bench->sent < bench->count && bench->start_us + (int64_t)bench->sent * bench->gap_us <= now_us) {
    struct shot *shot = &bench->shots[bench->sent];
    shot->due_us = bench->start_us + (int64_t)bench->sent * bench->gap_us;
    bench->sent++;
    send_one(bench, shot);
  }
  if (bench->sent == bench->count) uv_timer_stop(timer);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void read_gates(struct bench *bench) {
  char line[256];
  bench->shots = mem_calloc(REQUESTS_MAX, sizeof *bench->shots);
  while (bench->count < REQUESTS_MAX && fgets(line, sizeof line, stdin)) {
    struct shot *shot = &bench->shots[bench->count];
    char *rest = NULL;
    shot->gate = strtoll(line, &rest, 10);
    if (rest == line || *rest != ' ') continue;
    rest[strcspn(rest, "\n")] = '\0';
    snprintf(shot->digest, sizeof shot->digest, "%s", rest + 1);
    shot->bench = bench;
    bench->count++;
  }
}

int main(int argc, char **argv) {
  if (argc != 4 || strtol(argv[3], NULL, 10) < 1) {
    fprintf(stderr, "usage: bench_callback URL SECRET RATE < GATES\n");
    return 2;
  }
  struct bench bench = {.url = argv[1], .gap_us = 1000000 / strtol(argv[3], NULL, 10)};
  struct err err = {0};
  if (!sign_keys_webhook(&bench.keys, argv[2], &err)) {
    fprintf(stderr, "%s\n", err.text);
    return 2;
  }
  read_gates(&bench);
  if (bench.count == 0) {
    fprintf(stderr, "no gates on standard input\n");
    return 2;
  }
  bench.latency_ms = mem_calloc(bench.count, sizeof *bench.latency_ms);
  uv_loop_init(&bench.loop);
  bench.fetch = fetch_new(&bench.loop, &(struct fetch_options){.calls_max = 1000});
  uv_timer_init(&bench.loop, &bench.timer);
  bench.timer.data = &bench;
  bench.start_us = clock_mono_us() + 10000;
  uv_timer_start(&bench.timer, on_tick, 10, 1);
  uv_run(&bench.loop, UV_RUN_DEFAULT);
  double seconds = (double)(clock_mono_us() - bench.start_us) / 1e6;
  size_t n = bench.count;
  qsort(bench.latency_ms, n, sizeof *bench.latency_ms, compare);
  printf("{\"n\": %zu, \"failed\": %zu, \"per_second\": %.1f, \"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, "
         "\"max_ms\": %.3f}\n",
         n, bench.failed, (double)n / seconds, bench.latency_ms[n / 2], bench.latency_ms[n * 9 / 10],
         bench.latency_ms[n * 99 / 100], bench.latency_ms[n - 1]);
  return bench.failed > 0;
}
