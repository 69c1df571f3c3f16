#!/usr/bin/python3
"""What 10,000 pipelines with three monitors each cost, at one window a minute: CPU of `orch serve` and of PostgreSQL.

Pipelines, versions and profiles are copied in the database from one that was really promoted; each has a drift, a quality
and a latency monitor. A round stores one minute of rows for all of them while the server is stopped (SIGSTOP), so that
storing is not measured, and then lets the server judge the whole burst. CPU is what the kernel says in /proc/PID/stat:
the server's, and that of all PostgreSQL processes together (backends, WAL writer, checkpointer, autovacuum). CPU seconds of a
round / 60 = cores that the monitors keep busy.

    tests/bench/bench_monitors.py [--pipelines N] [--rounds N] [--rows N] [--columns N]
"""
import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
os.environ.setdefault("ORCH_BIN", os.path.join(os.environ.get("ORCH_BUILD", os.path.join(TOP, "build/release")), "orch"))
sys.path.insert(0, os.path.join(TOP, "tests/e2e"))
import kit  # noqa: E402  pylint: disable=wrong-import-position

TICKS = os.sysconf("SC_CLK_TCK")

# Rows of the tables as they are, without the triggers and functions that would make ten thousand promotions of them.
COPY = """
begin;
set local session_replication_role = replica;
create temp table base on commit drop as select * from orch.pipeline where name = 'quick';
create temp table copies on commit drop as select n, nextval(pg_get_serial_sequence('orch.pipeline', 'id')) as pipeline_id,
  nextval(pg_get_serial_sequence('orch.version', 'id')) as version_id from generate_series(1, {n}) n;
insert into orch.pipeline overriding system value
  select (jsonb_populate_record(b, jsonb_build_object('id', c.pipeline_id, 'name', 'copy-' || c.n, 'champion_id', c.version_id))).* from copies c, base b;
insert into orch.version overriding system value
  select (jsonb_populate_record(v, jsonb_build_object('id', c.version_id, 'pipeline_id', c.pipeline_id))).*
  from copies c, base b join orch.version v on v.id = b.champion_id;
insert into orch.observation_stream (pipeline_id, stream) select c.pipeline_id, s from copies c, unnest(array['rows', 'labels']) s;
insert into orch.monitor (pipeline_id, name, kind, spec, version_id, window_rows)
  select c.pipeline_id, m ->> 'name', m ->> 'kind', m, c.version_id, {rows} from copies c, jsonb_array_elements('{monitors}') m;
commit;
"""
# One minute of rows for everybody: one batch a pipeline, of one of the bodies.
FEED = """
begin;
with s as (update orch.observation_stream o set next_row = next_row + {rows}, last_at = now(), newest_at = now()
  from orch.pipeline p where p.id = o.pipeline_id and p.name like 'copy-%' and o.stream = 'rows' returning o.pipeline_id, o.next_row - {rows} as first_row)
insert into orch.observation_batch (pipeline_id, stream, first_row, n_rows, received_at, body, min_at, max_at)
  select s.pipeline_id, 'rows', s.first_row, {rows}, now(), b.body, now(), now() from s join bench_body b on b.n = s.pipeline_id % {bodies};
update orch.monitor m set due_at = clock_timestamp() from orch.pipeline p where p.id = m.pipeline_id and p.name like 'copy-%';
notify orch_serve;
commit;
"""


def ticks_of(pid, children=False):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(int(x) for x in fields[11:15 if children else 13])


def postgres_ticks(postmaster):
    """All of PostgreSQL: the processes there are, and those that the postmaster has seen end."""
    total = ticks_of(postmaster, children=True)
    with open(f"/proc/{postmaster}/task/{postmaster}/children", encoding="utf-8") as f:
        for pid in f.read().split():
            try:
                total += ticks_of(int(pid))
            except OSError:
                pass
    return total


def body(rows, columns, seed):
    dice = random.Random(seed)
    lines = [json.dumps({**{f"x{c}": round(dice.gauss(c, 1 + c / 10), 4) for c in range(columns)}, "latency_ms": round(dice.expovariate(1 / 40), 2)})
             for _ in range(rows)]
    return "\n".join(lines) + "\n"


def profile_csv(columns):
    dice = random.Random(1)
    names = [f"x{c}" for c in range(columns)]
    return "\n".join([",".join(names)] + [",".join(f"{dice.gauss(c, 1 + c / 10):.4f}" for c in range(columns)) for _ in range(2000)]) + "\n"


def prepare(w, args):
    with open(os.path.join(w.dir, "pipelines/quick/rows.csv"), "w", encoding="utf-8") as f:
        f.write(profile_csv(args.columns))
    w.orch("apply", "pipelines/quick")
    server, worker = w.serve(), w.worker()
    w.promote()
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    monitors = [
        {"name": "inputs", "kind": "drift", "then": "propose", "columns": [], "window": {"rows": args.rows}, "min_rows": args.rows, "psi": 0.2,
         "p_value": 0.001, "null_jump": 0.1, "importance": {}, "for": {"hits": 2, "of": 3}},
        {"name": "sound", "kind": "quality", "then": "tell", "columns": [], "window": {"rows": args.rows}, "min_rows": 20, "null_jump": 0.1,
         "type_share": 0.05, "out_of_range": 0.1, "unseen": 0.1, "duplicates": None, "constant": True, "sorted": False, "for": {"hits": 1, "of": 1}},
        {"name": "speed", "kind": "latency", "then": "tell", "window": {"rows": args.rows}, "min_rows": 100, "quantile": 0.99, "max_ms": 1000,
         "for": {"hits": 2, "of": 3}}]
    w.sql("alter system set max_wal_size = '4GB'")
    w.sql("select pg_reload_conf()")
    os.kill(server.pid, signal.SIGSTOP)
    w.sql(COPY.format(n=args.pipelines, rows=args.rows, monitors=json.dumps(monitors)))
    path = os.path.join(w.dir, "bodies.sql")
    with open(path, "w", encoding="utf-8") as f:
        f.write("create table bench_body (n bigint primary key, body bytea);\nalter table bench_body alter body set storage external;\n")
        for n in range(args.bodies):
            f.write(f"insert into bench_body values ({n}, convert_to($b${body(args.rows, args.columns, n)}$b$, 'UTF8'));\n")
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", w.url("orch"), "-f", path], check=True)
    w.sql("vacuum analyze")
    return server


def measure(args, say=print):
    """-> [{"serve", "postgres", "wall", "windows"}] a round, CPU in seconds."""
    results = []
    with kit.World() as w:
        server = prepare(w, args)
        with open(os.path.join(w.pg_data, "postmaster.pid"), encoding="utf-8") as f:
            postmaster = int(f.readline())
        want = 0
        for number in range(args.rounds + 1):  # the first warms up
            w.sql("checkpoint")
            w.sql(FEED.format(rows=args.rows, bodies=args.bodies))
            want += 3 * args.pipelines
            serve, postgres, begin = ticks_of(server.pid), postgres_ticks(postmaster), time.monotonic()
            os.kill(server.pid, signal.SIGCONT)
            kit.wait_for("all windows", lambda: w.sql(
                f"select 1 where (select sum(number) from orch.monitor where window_rows = {args.rows} and version_id <> 1) >= {want}"), 600, 0.5)
            wall = time.monotonic() - begin
            serve, postgres = ticks_of(server.pid) - serve, postgres_ticks(postmaster) - postgres
            os.kill(server.pid, signal.SIGSTOP)
            verdicts = ", ".join(w.sql("select count(*) || ' ' || verdict from orch.monitor_window group by verdict order by 1"))
            result = {"serve": serve / TICKS, "postgres": postgres / TICKS, "wall": wall, "windows": 3 * args.pipelines}
            say(f"  round {number}{' (warms up)' if number == 0 else ''}: {result['windows']} windows in {wall:.1f} s, CPU serve {result['serve']:.1f} s, "
                f"PostgreSQL {result['postgres']:.1f} s: {(result['serve'] + result['postgres']) / 60:.2f} cores at one window a minute ({verdicts})")
            if number:
                results.append(result)
        os.kill(server.pid, signal.SIGCONT)
    return results


def arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--bodies", type=int, default=64)
    return parser.parse_args(argv)


def cores(args, results):
    """-> cores of serve and of PostgreSQL per 10,000 pipelines at one window a minute, medians."""
    scale = 10000 / args.pipelines / 60
    return statistics.median(r["serve"] for r in results) * scale, statistics.median(r["postgres"] for r in results) * scale


def main():
    args = arguments()
    results = measure(args)
    serve, postgres = cores(args, results)
    print(f"{args.pipelines} pipelines x 3 monitors, {args.rows} rows x {args.columns} columns a window; per 10,000 at one window a minute: "
          f"serve {serve:.2f} cores, PostgreSQL {postgres:.2f} cores, together {serve + postgres:.2f}")


if __name__ == "__main__":
    main()
