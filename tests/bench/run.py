#!/usr/bin/python3
"""Measures what docs/performance.md reports, and writes its table. Called by scripts/bench.

Every number is the median of ROUNDS (5) rounds; where a peer or a floor exists both are measured in turn within the same
round, because this kind of machine is noisy and only ratios within one run mean something.

    tests/bench/run.py [--rounds N] [--only spawn,callback,rollback,memory,queue,stats,monitors,drift,ingest] [--write]
"""
import argparse
import datetime
import json
import os
import platform
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("ORCH_BUILD", os.path.join(TOP, "build/release"))
os.environ.setdefault("ORCH_BIN", os.path.join(BUILD, "orch"))
sys.path.insert(0, os.path.join(TOP, "tests/e2e"))
import bench_drift  # noqa: E402  pylint: disable=wrong-import-position
import kit  # noqa: E402  pylint: disable=wrong-import-position
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench_monitors  # noqa: E402  pylint: disable=wrong-import-position

SPAWN = os.path.join(BUILD, "tests/bench/bench_spawn")
INGEST = os.path.join(BUILD, "tests/bench/bench_ingest")
CALLBACK = os.path.join(BUILD, "tests/bench/bench_callback")
rows = []  # (what, ours, beside, target, met)


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def report(what, ours, beside, target, met):
    rows.append((what, ours, beside, target, "-" if target == "-" else "yes" if met else "no"))
    say(f"{what}: {ours}; {beside}; target {target}: {'met' if met else 'NOT MET'}")


def median(values):
    return statistics.median(values)


def run(*args, **kw):
    return subprocess.run(args, check=True, capture_output=True, text=True, **kw).stdout


def rss_mb(process):
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


# ---------------------------------------------------------------- from a committed job to a running process

def bench_spawn(rounds):
    with kit.World(pipelines=()) as w:
        marker = os.path.join(w.dir, "started")
        folder = os.path.join(w.dir, "pipelines", "probe")
        os.makedirs(folder)
        text = kit.PIPELINE.format(name="probe").replace("[/bin/sh, train.sh]", json.dumps([SPAWN, "child", marker]))
        for name, content in (("pipeline.yaml", text), ("evaluate.sh", kit.EVALUATE), ("rows.csv", "x\n1\n")):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(content)
        w.orch("apply", "pipelines/probe")
        w.worker()
        kit.wait_for("the worker", lambda: w.sql("select 1 from orch.worker where state = 'active'"))
        bare, jobs = [], []
        for number in range(rounds):
            bare.append(median([float(x) for x in run(SPAWN, "bare", marker, "40").split()]))
            jobs.append(median([float(x) for x in run(SPAWN, "jobs", marker, "40", w.url("orch"), "probe").split()]))
            say(f"  round {number + 1}: bare uv_spawn {bare[-1]:.2f} ms, job {jobs[-1]:.2f} ms")
    extra = median([j - b for j, b in zip(jobs, bare)])
    report("job committed -> training process started, p50", f"{median(jobs):.2f} ms", f"bare `uv_spawn` {median(bare):.2f} ms",
           "within 5 ms of it", extra <= 5)


# ---------------------------------------------------------------- signed callback -> committed decision -> 200

PREPARE = """
do $$
declare
  v_worker bigint := (orch.worker_register('bench', 'here', 1, '{{}}', 64, 1 << 30, 0, 64, 600000) ->> 'worker')::bigint;
  v_spec   jsonb := (select spec from orch.revision order by id limit 1);
  g        orch.job_grant;
begin
  for i in {first} .. {last} loop
    perform orch.pipeline_apply(jsonb_set(v_spec, '{{pipeline}}', to_jsonb('bench-' || i)), 'bench ' || i,
      'sha256:' || encode(sha256(('bench ' || i)::bytea), 'hex'), 'sha256:' || repeat('0', 64), null, null, 'user:bench');
    perform orch.proposal_create('bench-' || i, 'bench', 'keep', 'user:bench', null, null);
  end loop;
  for turn in 1 .. 2 loop
    loop
      exit when not exists (select from orch.job where state = 'queued');
      for g in select * from orch.job_claim(v_worker, 1000, null) loop
        perform orch.job_finish(v_worker, g.job, g.lease, 'succeeded', case when g.role = 'evaluate' then '{{"metrics": {{"accuracy": 0.9}}}}'
          else jsonb_build_object('output', 'sha256:' || encode(sha256(g.job::text::bytea), 'hex')) end);
      end loop;
    end loop;
  end loop;
  perform orch.worker_stop(v_worker);
end $$
"""


def bench_callback(rounds, rate=500, seconds=5):
    with kit.World() as w:
        w.sql("alter system set max_wal_size = '4GB'")
        # Deployments of thousands of artifacts that do not exist would measure something else: nobody claims them.
        w.sql("create or replace function orch.deployment_claim(p_owner text, p_lease_ms bigint) returns table (id bigint, lease bigint, kind text, "
              "pipeline text, version int, artifact text, driver jsonb, generation bigint) language sql as 'select null::bigint, "
              "null::bigint, null::text, null::text, null::int, null::text, null::jsonb, null::bigint where false'")
        w.serve()
        p99, p50, rates, failed = [], [], [], 0
        for number in range(rounds + 1):  # the first warms up
            n = rate * (seconds if number else 1)
            first = number * 100000
            w.sql(PREPARE.format(first=first, last=first + n - 1))
            w.sql("analyze")
            gates = "\n".join(w.sql("select id || ' ' || digest from orch.gate where state = 'open' order by id")) + "\n"
            out = json.loads(subprocess.run([CALLBACK, f"http://127.0.0.1:{w.port}/v1/callbacks/webhook", kit.WEBHOOK_SECRET, str(rate)],
                                            input=gates, capture_output=True, text=True, check=False).stdout)
            if number == 0:
                continue
            say(f"  round {number}: {out}")
            p50.append(out["p50_ms"])
            p99.append(out["p99_ms"])
            rates.append(out["per_second"])
            failed += out["failed"]
        decided = int(w.sql("select count(*) from orch.decision")[0])
        say(f"  {decided} decisions in the database, {failed} failed")
    report(f"signed callback -> committed decision -> 200, {rate}/s, p99", f"{median(p99):.1f} ms (p50 {median(p50):.1f} ms)",
           f"{median(rates):.0f}/s achieved", "under 20 ms", median(p99) < 20 and failed == 0)


# ---------------------------------------------------------------- monitors

def bench_monitors_cpu(rounds):
    args = bench_monitors.arguments(["--rounds", str(min(rounds, 3))])
    serve, postgres = bench_monitors.cores(args, bench_monitors.measure(args, say))
    report("10,000 pipelines x 3 monitors, one window of 200 rows a minute each", f"{serve + postgres:.2f} cores",
           f"`orch serve` {serve:.2f}, PostgreSQL {postgres:.2f}", "under 0.5", serve + postgres < 0.5)


# ---------------------------------------------------------------- rollback, memory

def bench_rollback(rounds):
    took = []
    with kit.World() as w:
        w.serve()
        w.worker()
        w.promote()
        for number in range(rounds + 1):
            w.promote()
            begin = time.monotonic()
            w.orch("rollback", "quick", "--reason", "bench")
            if number:
                took.append((time.monotonic() - begin) * 1000)
            w.orch("release", "quick")
    report("`orch rollback`, whole process", f"{median(took):.0f} ms", f"slowest {max(took):.0f} ms", "under 150 ms", median(took) < 150)


def bench_memory(rounds):
    """After a story of several trainings, observations and decisions; scripts/demo --keep shows the same with its own."""
    serve_mb, worker_mb = [], []
    for _ in range(rounds):
        with kit.World() as w:
            server, worker = w.serve(), w.worker()
            token = w.token("feeder", "observe")
            for _ in range(3):
                w.promote()
                for shift in (0, 700):
                    body = "".join(json.dumps({"x": (i * 7919) % 1000 + shift}) + "\n" for i in range(2000))
                    w.http("POST", "/v1/pipelines/quick/observations", body,
                           {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {token}"})
                time.sleep(1.2)
            w.orch("rollback", "quick", "--reason", "bench")
            time.sleep(1)
            serve_mb.append(rss_mb(server))
            worker_mb.append(rss_mb(worker))
            for process in (server, worker):
                process.send_signal(signal.SIGTERM)
                process.wait(20)
    report("resident memory of `orch serve` after a story", f"{median(serve_mb):.1f} MB", "", "under 20 MB", median(serve_mb) < 20)
    report("resident memory of `orch worker` after a story", f"{median(worker_mb):.1f} MB", "", "under 12 MB", median(worker_mb) < 12)


# ---------------------------------------------------------------- rows over HTTP, durable

def cpu_s(parent):
    """Of a process, its children and those that have ended."""
    ticks = 0
    for entry in os.scandir("/proc"):
        try:
            with open(f"/proc/{int(entry.name)}/stat", encoding="utf-8") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except (ValueError, OSError):
            continue
        if int(entry.name) == parent:
            ticks += sum(int(x) for x in fields[11:15])
        elif int(fields[1]) == parent:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def wide_rows(path, rows=4000):
    """Training rows with the columns that bench_ingest sends, so that a drift monitor judges all of them."""
    dice = random.Random(20260105)
    with open(path, "w", encoding="utf-8") as f:
        f.write("city," + ",".join(f"column_{i}" for i in range(18)) + "\n")
        for _ in range(rows):
            numbers = ",".join(f"{dice.random() * 1e4:.{6 if i % 3 else 16}g}" for i in range(18))
            f.write(dice.choice(["Dallas", "Houston", "Austin", "El Paso", "San Antonio"]) + "," + numbers + "\n")


def ask_health(port, seconds, every=0.005):
    """Milliseconds from when each request was due: a server that does not answer cannot hide it."""
    took = []
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        due = time.monotonic()
        end = due + seconds
        while due < end:
            time.sleep(max(0.0, due - time.monotonic()))
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n")
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += s.recv(4096)
            took.append((time.monotonic() - due) * 1000)
            due += every
    return sorted(took)


def bench_long_bodies(rounds, seconds=4):
    """What somebody else waits while four connections send bodies of 8 MiB, one after another."""
    with kit.World(pipelines=("quick",)) as w:
        w.sql("alter system set max_wal_size = '8GB'")
        w.sql("select pg_reload_conf()")
        w.serve()
        token = w.token("feeder", "observe")
        p50, p99, rates = [], [], []
        for number in range(rounds):
            feeder = subprocess.Popen([INGEST, str(w.port), token, "quick", "4", "18000", str(seconds + 1)], stdout=subprocess.PIPE, text=True)
            time.sleep(0.5)
            took = ask_health(w.port, seconds)
            out = json.loads(feeder.communicate()[0])
            w.sql("truncate orch.observation_batch")
            p50.append(median(took))
            p99.append(took[len(took) * 99 // 100])
            rates.append(out["rows_per_s"])
            say(f"  round {number + 1}: {out}, health check p50 {p50[-1]:.1f} ms, p99 {p99[-1]:.1f} ms, slowest {took[-1]:.1f} ms")
    report("a health check beside a stream of bodies of 8 MiB, p99", f"{median(p99):.1f} ms (p50 {median(p50):.1f} ms)",
           f"{median(rates):,.0f} rows/s come in", "-", True)


def bench_ingest(rounds, seconds=4, connections=8, batch=500):
    """`orch serve` on the first core; PostgreSQL and the generator on the others. Every row counted was answered 202."""
    cores = sorted(os.sched_getaffinity(0))
    rest = cores[1:] or cores
    bench_long_bodies(rounds)
    with kit.World(pipelines=("quick",)) as w:
        wide_rows(os.path.join(w.dir, "pipelines", "quick", "rows.csv"))
        w.orch("apply", "pipelines/quick")
        w.sql("alter system set max_wal_size = '8GB'")
        w.sql("select pg_reload_conf()")
        with open(os.path.join(w.pg_data, "postmaster.pid"), encoding="utf-8") as f:
            postmaster = int(f.readline())
        os.sched_setaffinity(postmaster, rest)  # its children inherit it
        server = w.serve()
        os.sched_setaffinity(server.pid, cores[:1])
        token = w.token("feeder", "observe")

        def measure(what, *more):
            rates, load, judged, costs = [], [], [], []
            for number in range(rounds + 1):  # the first warms up
                before, pg_before, windows = cpu_s(server.pid), cpu_s(postmaster), closed()
                out = json.loads(run(INGEST, str(w.port), token, "quick", str(connections), str(batch), str(seconds if number else 1), *more,
                                     preexec_fn=lambda: os.sched_setaffinity(0, rest)))
                used, pg_used = cpu_s(server.pid) - before, cpu_s(postmaster) - pg_before
                windows = (closed() - windows) / out["seconds"]
                if not w.sql("select 1 from orch.monitor where active and version_id is not null and stream = 'rows'"):
                    w.sql("truncate orch.observation_batch, orch.prediction")
                if number:
                    n = out["requests"] * batch
                    say(f"  {what}, round {number}: {out}, {windows:,.0f} rows/s judged, CPU of a row: server {used / n * 1e6:.1f} us, "
                        f"PostgreSQL {pg_used / n * 1e6:.1f} us")
                    rates.append(out["rows_per_s"])
                    load.append(used / out["seconds"])
                    costs.append((used / n * 1e6, pg_used / n * 1e6))
                    judged.append(windows)
            beside = (f"server busy {median(load):.0%}; CPU of a row: {median(c[0] for c in costs):.1f} us there, "
                      f"{median(c[1] for c in costs):.1f} us in PostgreSQL")
            return median(rates), beside, median(judged)

        def closed():
            return int(w.sql("select coalesce(sum(rows), 0) from orch.monitor_window")[0])

        rate, beside, _ = measure("rows")
        report("rows of 20 columns over HTTP, durable, server on one core", f"{rate:,.0f} rows/s", beside,
               "at least 60,000", rate >= 60000)
        worker = w.worker()
        w.promote()
        kit.kill9(worker)
        w.add_monitor("quick", "{name: wide, kind: drift, window: 5000 rows}")
        w.sql("update orch.monitor set active = name = 'wide'")
        rate, beside, judged = measure("rows, with a window of every 5000")
        report("the same while a drift monitor judges 19 columns of every 5,000 rows", f"{rate:,.0f} rows/s",
               f"{judged:,.0f} rows/s judged; {beside}", "at least 60,000", rate >= 60000)
        w.add_monitor("quick", "{name: truth, kind: performance, metric: accuracy, min: 0.01, window: 100000 labels}")
        w.sql("update orch.monitor set active = name = 'truth'")
        rate, beside, _ = measure("rows whose predictions are kept", "ids")
        report("the same without it, predictions kept for labels", f"{rate:,.0f} rows/s", beside, "-", True)


# ---------------------------------------------------------------- the queue beside its peers

def bench_queue(rounds):
    out = os.path.join(TOP, "build/bench/queue.json")
    subprocess.run([os.path.join(TOP, "tests/bench/queue_side_by_side.sh"), str(rounds), out], check=True)
    with open(out, encoding="utf-8") as f:
        document = json.load(f)
    m = document["medians"]
    one, two = "drain batch=1 procs=1 conns=4", "drain batch=500 procs="
    peer = "graphile-worker drain batch=1 procs=1"

    def jobs(key):
        return m[key]["jobs_s"]

    def row(what, ours, beside, name, target, least=None, most=None):
        ratio = jobs(ours) / jobs(beside)
        report(what, f"{jobs(ours):,.0f} jobs/s", f"{name} {jobs(beside):,.0f}: {ratio:.2f} times", target,
               (least is None or ratio >= least) and (most is None or ratio <= most))

    for processes in (1, 2):
        row(f"batched drain, {processes} process{'es' if processes > 1 else ''}, history kept", f"orch {two}{processes} conns=2",
            f"graphile-worker {two}{processes}", "graphile-worker", "at least 1", least=1)
    row("one at a time, 4 connections", f"orch {one}", peer, "graphile-worker, 24 at once,", "at least 1.3", least=1.3)
    row("the same, beside a bare statement without history", f"orch {one}", f"floor {one}", "bare statement", "-")
    row("the same with 1,000,000 finished", f"orch {one} fill=finished", f"orch {one}", "without", "flat", least=0.9)
    row("the same with 1,000,000 for later", f"orch {one} fill=later", f"orch {one}", "without", "flat", least=0.9)
    ours, floor = m["orch latency"]["p50_ms"], m["floor latency"]["p50_ms"]
    report("enqueue -> claimed, idle, p50", f"{ours:.2f} ms", f"bare libpq {floor:.2f} ms: {ours / floor:.2f} times", "at most 1.5",
           ours / floor <= 1.5)


# ---------------------------------------------------------------- two files of a million rows

def drift_report(rounds):
    """Both ways in which numbers are written: rounded, and in full as a data frame writes them. One seed a run, printed."""
    seed = int(time.time())
    for digits, words in (("short", "rounded numbers"), ("full", "numbers of 17 digits")):
        m = bench_drift.compare(1000000, max(5, rounds), max(2, rounds // 2), seed, digits, say)
        report(f"`orch drift`, two files of 1,000,000 rows x 20 columns, {words}", f"{m['orch_s']:.2f} s, {m['orch_mb']:.0f} MB",
               f"pandas, scipy, numpy {m['peer_s']:.1f} s, {m['peer_mb']:.0f} MB: {m['ratio']:.0f} times", "at least 50 times, under 64 MB",
               m["ratio"] >= 50 and m["orch_mb"] < 64)


# ---------------------------------------------------------------- statistics, from memory

def bench_stats(rounds):
    """bench_stats is a median of seven rounds by itself, in processor time of one thread; here the median of several runs."""
    program = os.path.join(BUILD, "tests/bench/bench_stats")
    runs = [dict(re.findall(r"^ *([^:\n]+): +([\d.]+)", run(program), re.M)) for _ in range(rounds)]

    def number(name):
        return median([float(values[name]) for values in runs])

    values, judging = number("sketch ingest, 20 columns"), number("all measures on 20 columns")
    report("sketch ingest, 20 numeric columns from memory, one core", f"{values:.0f} million values/s", "", "at least 60 million", values >= 60)
    report("all measures and the decision, 20 columns", f"{judging:.0f} us", "", "under 200 us", judging < 200)


def write_table(rounds):
    """Rows that were measured take the place of those of the same name; the others stay, with the day of theirs."""
    path = os.path.join(TOP, "docs/performance.md")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    begin, end = "<!-- table: scripts/bench -->\n", "<!-- end of table -->"
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")), "?")
    head, rest = text.split(begin)
    old, tail = rest.split(end)
    today = str(datetime.date.today())
    kept = {}
    for line in old.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 6 and cells[0] != "what":
            kept[cells[0]] = cells
    for row in rows:
        kept[row[0]] = [*row, today]
    table = [f"On {platform.node()}: {cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; medians of {rounds} rounds.", "",
             "| what | orch | beside it | target | met | measured |", "|---|---|---|---|---|---|"]
    table += ["| " + " | ".join(cells) + " |" for cells in kept.values()]
    with open(path, "w", encoding="utf-8") as f:
        f.write(head + begin + "\n" + "\n".join(table) + "\n\n" + end + tail)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="spawn,callback,rollback,memory,queue,stats,monitors,drift,ingest")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    say(f"{platform.node()}: {os.cpu_count()} cores, {args.rounds} rounds")
    for name in args.only.split(","):
        say(name)
        {"spawn": bench_spawn, "callback": bench_callback, "rollback": bench_rollback, "memory": bench_memory,
         "queue": bench_queue, "stats": bench_stats, "monitors": bench_monitors_cpu, "drift": drift_report, "ingest": bench_ingest}[name](args.rounds)
    if args.write:
        write_table(args.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
