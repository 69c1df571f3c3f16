"""Judges the model in ORCH_MODEL on the hold-out; orch runs this once for the candidate and once for the champion."""
import json
import os
import pickle
from collections import defaultdict

os.environ.setdefault("OMP_NUM_THREADS", "1")

import housing

settings = housing.config()
rows = housing.read_rows(os.environ["ORCH_DATA_SALES"])
_, holdout = housing.window(rows, settings)
# A pickle runs code when read: orch hands over only artifacts that it made itself and checked by digest.
with open(os.path.join(os.environ["ORCH_MODEL"], "model.pkl"), "rb") as file:
    saved = pickle.load(file)
if saved["trained_until"] >= holdout[0]["time"]:
    raise SystemExit(f"this model has seen data up to {housing.month_name(saved['trained_until'])}, but the hold-out "
                     f"begins in {housing.month_name(holdout[0]['time'])}: wait for newer data, or propose with a "
                     "later as-of")

truth = housing.labels(holdout, settings)
right = [int(a == b) for a, b in zip(saved["model"].predict(housing.features(holdout)), truth)]


def market(row):
    """Small, medium or large by the houses sold in the month."""
    sold = row["features"][housing.FEATURES.index("sales")]
    return "small" if sold < 100 else "medium" if sold < 400 else "large"


def by(key):
    groups = defaultdict(list)
    for row, hit in zip(holdout, right):
        groups[key(row)].append(hit)
    return {name: {"accuracy": round(sum(hits) / len(hits), 4), "rows": len(hits)}
            for name, hits in sorted(groups.items())}


metrics = {"accuracy": round(sum(right) / len(right), 4), "rows": len(right),
           "slices": {"market": by(market), "city": by(lambda row: row["city"])}}
with open(os.path.join(os.environ["ORCH_OUTPUT"], "metrics.json"), "w", encoding="utf-8") as file:
    json.dump(metrics, file, indent=1)
print(f"accuracy {metrics['accuracy']} on {len(right)} rows, {housing.month_name(holdout[0]['time'])} to "
      f"{housing.month_name(holdout[-1]['time'])}")
