"""Recomputes what data/README.md, the example and its demo rest on, and fails when a number is not as stated.

    /usr/bin/python3 facts.py
"""
import math
import os
from bisect import bisect_left

os.environ.setdefault("OMP_NUM_THREADS", "1")

import housing
import numpy
from sklearn.ensemble import HistGradientBoostingClassifier

SETTINGS = {"window_years": 3, "holdout_months": 6, "price": 120000}
ROWS = housing.read_rows(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "txhousing.csv"))


def expect(what, value, stated):
    print(f"{what}: {value:.3f}")
    if not math.isclose(value, stated, abs_tol=0.0006):
        raise SystemExit(f"{what} is {value:.4f}, stated as {stated}")


def of_years(first, last):
    return [row for row in ROWS if first <= row["time"] // 12 <= last]


def fit(rows):
    model = HistGradientBoostingClassifier(max_iter=60, max_depth=4, learning_rate=0.1, early_stopping=False,
                                           random_state=7)
    return model.fit(housing.features(rows), housing.labels(rows, SETTINGS))


def accuracy(model, rows):
    return float(model.score(housing.features(rows), housing.labels(rows, SETTINGS)))


def column(rows, name):
    return [row["features"][housing.FEATURES.index(name)] for row in rows]


def missing(rows, name):
    values = column(rows, name)
    return sum(value != value for value in values) / len(values)


def psi(reference, now):
    """Population stability index over the reference's deciles, shares floored at 1e-4."""
    reference, now = ([value for value in values if value == value] for values in (reference, now))
    edges = sorted(set(numpy.quantile(reference, [i / 10 for i in range(1, 10)])))

    def shares(values):
        counts = [0] * (len(edges) + 1)
        for value in values:
            counts[bisect_left(edges, value)] += 1
        return [max(count / len(values), 1e-4) for count in counts]

    return sum((q - p) * math.log(q / p) for p, q in zip(shares(reference), shares(now)))


def as_of(text, champion=None):
    os.environ["ORCH_AS_OF"] = text
    train, holdout = housing.window(ROWS, SETTINGS)
    model = fit(train)
    return model, accuracy(model, holdout), champion and accuracy(champion, holdout)


print("A model of 2000-2002, left alone")
frozen = fit(of_years(2000, 2002))
for year, stated in ((2003, 0.830), (2007, 0.678), (2010, 0.522), (2015, 0.332)):
    expect(f"  accuracy in {year}", accuracy(frozen, of_years(year, year)), stated)

print("Inventory")
for year, stated in ((2000, 0.024), (2006, 0.317), (2011, 0.005)):
    expect(f"  missing in {year}", missing(of_years(year, year), "inventory"), stated)
for year, stated in ((2003, 0.38), (2010, 1.35)):
    value = psi(column(of_years(2000, 2002), "inventory"), column(of_years(year, year), "inventory"))
    expect(f"  PSI of {year} against 2000-2002", round(value, 2), stated)

print("The retrainings of the demo, on the same hold-out (champion, then candidate)")
first, score, _ = as_of("2003-01-01T00:00:00Z")
expect("  2003-01 first version", score, 0.854)
second, score, old = as_of("2004-02-01T00:00:00Z", first)
expect("  2004-02 champion", old, 0.786)
expect("  2004-02 candidate", score, 0.866)
third, score, old = as_of("2008-02-01T00:00:00Z", second)
expect("  2008-02 champion", old, 0.693)
expect("  2008-02 candidate", score, 0.761)
