#!/usr/bin/python3
"""`orch drift` beside Python on the same two CSV files: read, then KS, Wasserstein and decile PSI of every column.

The peer is what a notebook does: pandas.read_csv (its C parser), scipy's ks_2samp and wasserstein_distance, PSI by
numpy over the reference's deciles. Each side is one whole process, start-up included, with its wall time and peak
resident memory. The peer is measured in turn with orch.

    tests/bench/bench_drift.py [--rows N] [--rounds N] [--peer-rounds N] [--digits short|full] [--seed N]
"""
import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
ORCH = os.environ.get("ORCH_BIN", os.path.join(TOP, "build/release/orch"))
COLUMNS = 20

PEER = r"""
import sys
import numpy as np
import pandas as pd
from scipy.stats import ks_2samp, wasserstein_distance

ref, cur = pd.read_csv(sys.argv[1]), pd.read_csv(sys.argv[2])
for name in ref.columns:
    p, q = ref[name].dropna().to_numpy(float), cur[name].dropna().to_numpy(float)
    ks = ks_2samp(p, q)
    distance = wasserstein_distance(p, q) / p.std()
    edges = np.unique(np.quantile(p, np.arange(1, 10) / 10))
    a = np.maximum(np.bincount(np.searchsorted(edges, p), minlength=len(edges) + 1) / len(p), 1e-4)
    b = np.maximum(np.bincount(np.searchsorted(edges, q), minlength=len(edges) + 1) / len(q), 1e-4)
    print(name, ks.statistic, ks.pvalue, distance, np.sum((b - a) * np.log(b / a)))
"""


def make_file(path, rows, seed, digits, drifted):
    """Twenty numeric columns as they occur: bells, prices, counts, shares, heavy tails, some with missing values."""
    import numpy as np
    import pandas as pd
    rng = np.random.default_rng([seed, int(drifted)])
    shift = 0.15 if drifted else 0
    columns = {}
    for i in range(COLUMNS):
        kind, moved = i % 5, shift if i % 2 else 0
        if kind == 0:
            values, decimals = rng.normal(10 + i + moved, 1, rows), 4
        elif kind == 1:
            values, decimals = rng.lognormal(5 + moved, 1, rows), 2
        elif kind == 2:
            values, decimals = rng.poisson(40 + i + 5 * moved, rows), 0
        elif kind == 3:
            values, decimals = rng.random(rows) ** (1 + moved), 6
        else:
            values, decimals = rng.standard_t(3, rows) + moved, 3
        if kind != 2 and digits == "short":
            values = np.round(values, decimals)
        if i % 7 == 3:
            values = np.where(rng.random(rows) < 0.01, np.nan, values)
        columns[f"column_{i}"] = values
    with open(path + ".new", "w", encoding="ascii") as f:
        for at in range(0, rows, 100000):  # in pieces: the text of a whole column is large
            pd.DataFrame({k: v[at:at + 100000] for k, v in columns.items()}).to_csv(f, index=False, header=at == 0)
    os.rename(path + ".new", path)


def files(rows, seed, digits):
    folder = os.path.join(TOP, "build/bench", f"drift-{rows}-{digits}-{seed}")
    os.makedirs(folder, exist_ok=True)
    paths = []
    for drifted in (False, True):
        path = os.path.join(folder, "cur.csv" if drifted else "ref.csv")
        if not os.path.exists(path):
            # In a process of its own: the peak of a child counts from the size of the process that started it.
            maker = multiprocessing.Process(target=make_file, args=(path, rows, seed, digits, drifted))
            maker.start()
            maker.join()
            if maker.exitcode:
                sys.exit("the files could not be made")
        with open(path, "rb") as f:  # both sides find the files in memory
            while f.read(1 << 24):
                pass
        paths.append(path)
    return paths


def measure(*command):
    """Runs one process: its output, seconds, and peak resident MB. wait4() reports this child's peak alone."""
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        out = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{command[0]} ended with {child.returncode}")
    return out, time.monotonic() - begin, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def worst_difference(peer_text, document):
    """How far orch's numbers are from the peer's, over the columns: KS absolutely, Wasserstein and PSI relatively."""
    ours = {c["name"]: c for c in document["columns"]}
    worst = [0.0, 0.0, 0.0]
    for line in peer_text.splitlines():
        name, ks, _, distance, psi = line.split()
        c = ours[name]
        worst[0] = max(worst[0], abs(c["ks"]["statistic"] - float(ks)))
        if float(distance) > 0.05:
            worst[1] = max(worst[1], abs(c["wasserstein_normed"] / float(distance) - 1))
        if float(psi) > 0.001:
            worst[2] = max(worst[2], abs(c["psi"] / float(psi) - 1))
    return worst


def compare(rows, rounds, peer_rounds, seed, digits, say=print):
    """{"orch_s", "orch_mb", "peer_s", "peer_mb", "ratio", "differences"}: medians of the rounds."""
    paths = files(rows, seed, digits)
    size = sum(os.path.getsize(p) for p in paths) / 1e6
    say(f"drift: {rows} rows x {COLUMNS} columns, {digits} numbers, {size:.0f} MB in two files, seed {seed}")
    ours, peers, ours_mb, peers_mb, ratios, differences = [], [], [], [], [], None
    per_peer = -(-rounds // peer_rounds)
    for number in range(peer_rounds):
        text, seconds, mb, cpu = measure("/usr/bin/python3", "-c", PEER, *paths)
        peers.append(seconds)
        peers_mb.append(mb)
        say(f"  round {number + 1}: python {seconds:.1f} s ({cpu:.1f} s of processor), {mb:.0f} MB")
        for _ in range(per_peer):
            out, took, mb, cpu = measure(ORCH, "drift", *paths, "--json")
            ours.append(took)
            ours_mb.append(mb)
            ratios.append(seconds / took)
            say(f"           orch {took:.3f} s ({cpu:.3f} s of processor), {mb:.1f} MB: {seconds / took:.1f} times")
        differences = worst_difference(text, json.loads(out))
    say(f"  worst difference over the columns: KS {differences[0]:.4f}, Wasserstein {100 * differences[1]:.2f} %, "
        f"PSI {100 * differences[2]:.2f} %")
    return {"orch_s": statistics.median(ours), "orch_mb": max(ours_mb), "peer_s": statistics.median(peers),
            "peer_mb": max(peers_mb), "ratio": statistics.median(ratios), "differences": differences}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--rounds", type=int, default=6, help="of orch, spread over the peer's rounds")
    parser.add_argument("--peer-rounds", type=int, default=2)
    parser.add_argument("--digits", choices=("short", "full"), default="short")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--peer-only", action="store_true")
    args = parser.parse_args()
    if args.peer_only:
        out, seconds, mb, _ = measure("/usr/bin/python3", "-c", PEER, *files(args.rows, args.seed, args.digits))
        print(out + f"{seconds:.2f} s, {mb:.0f} MB")
        return
    m = compare(args.rows, args.rounds, args.peer_rounds, args.seed, args.digits)
    print(f"python {m['peer_s']:.1f} s and {m['peer_mb']:.0f} MB; orch {m['orch_s']:.3f} s and {m['orch_mb']:.1f} MB: "
          f"{m['ratio']:.1f} times")


if __name__ == "__main__":
    main()
