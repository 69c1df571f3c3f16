"""Trains one candidate; see housing.py for which rows it may see."""
import csv
import json
import os
import pickle

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a few hundred rows: threads would only wait for each other

import housing
from sklearn.ensemble import HistGradientBoostingClassifier

settings = housing.config()
rows = housing.read_rows(os.environ["ORCH_DATA_SALES"])
train, holdout = housing.window(rows, settings)
print(f"training on {len(train)} rows, {housing.month_name(train[0]['time'])} to "
      f"{housing.month_name(train[-1]['time'])}", flush=True)
print("orch:progress 0.2 data read", flush=True)

model = HistGradientBoostingClassifier(max_iter=60, max_depth=4, learning_rate=0.1, early_stopping=False,
                                       random_state=int(os.environ["ORCH_SEED"]) % 2**32)
x, y = housing.features(train), housing.labels(train, settings)
model.fit(x, y)
print("orch:progress 0.9 model fitted", flush=True)

output = os.environ["ORCH_OUTPUT"]
with open(os.path.join(output, "model.pkl"), "wb") as file:
    pickle.dump({"model": model, "trained_until": train[-1]["time"]}, file, protocol=4)
with open(os.path.join(output, "metrics.json"), "w", encoding="utf-8") as file:
    json.dump({"accuracy_in_training": round(float(model.score(x, y)), 4), "training_rows": len(train),
               "share_at_or_over_price": round(sum(y) / len(y), 4)}, file, indent=1)
# What monitors compare live inputs with: all inputs of the window, the hold-out included. They are what the model was
# accepted for, and say nothing about labels.
with open(os.path.join(output, "profile.csv"), "w", encoding="utf-8", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(housing.FEATURES)
    for values in housing.features(train + holdout):
        writer.writerow(["" if value != value else f"{value:g}" for value in values])
