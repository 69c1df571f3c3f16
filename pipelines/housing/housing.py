"""What training and evaluation share: which rows may be used, and as what.

Time runs in months. As of a moment T the figures of every month that ended by then are known, so the usable rows are
those before T's month. Of these the last `window_years` are the window, and its last `holdout_months` are kept from
training and used to compare models:

    |<------------- window_years ------------->|
    |  training rows              |  hold-out  | T = ORCH_AS_OF

Both models are judged on the same hold-out. It lies after every row that either model was trained on: the candidate's
training ends where the hold-out begins, and the champion was trained as of an earlier moment. (Asked for as of a moment
less than `holdout_months` after the champion's, evaluate.py refuses: the champion has then seen part of the hold-out.)
City and median price are no features, so a model cannot recall the answer of the month before.
"""
import csv
import json
import os
from datetime import datetime, timezone

FEATURES = ("month", "sales", "listings", "inventory")


def config():
    with open(os.environ["ORCH_CONFIG"], encoding="utf-8") as file:
        return json.load(file)


def number(text):
    return float(text) if text else float("nan")


def read_rows(path):
    """Every row that has a label, oldest first; a missing feature is NaN, which the trees handle."""
    rows = []
    with open(path, encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if line["median"]:
                rows.append({"city": line["city"], "time": int(line["year"]) * 12 + int(line["month"]) - 1,
                             "median": float(line["median"]), "features": [number(line[name]) for name in FEATURES]})
    rows.sort(key=lambda row: (row["time"], row["city"]))
    return rows


def as_of_month(rows):
    """The first month that is not known yet; never later than the data."""
    moment = datetime.fromisoformat(os.environ["ORCH_AS_OF"].replace("Z", "+00:00")).astimezone(timezone.utc)
    return min(moment.year * 12 + moment.month - 1, rows[-1]["time"] + 1)


def month_name(time):
    return f"{time // 12}-{time % 12 + 1:02d}"


def window(rows, settings):
    """(training rows, hold-out rows) as of ORCH_AS_OF."""
    end = as_of_month(rows)
    split = end - settings["holdout_months"]
    begin = end - 12 * settings["window_years"]
    train = [row for row in rows if begin <= row["time"] < split]
    holdout = [row for row in rows if split <= row["time"] < end]
    if not train or not holdout:
        raise SystemExit(f"no data from {month_name(begin)} to {month_name(end - 1)}: "
                         f"the file has {month_name(rows[0]['time'])} to {month_name(rows[-1]['time'])}")
    return train, holdout


def features(rows):
    return [row["features"] for row in rows]


def labels(rows, settings):
    return [int(row["median"] >= settings["price"]) for row in rows]
