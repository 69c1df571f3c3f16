#!/usr/bin/python3
"""Every kind of monitor on one live model, through the real binary: labels that come weeks late, slow answers, broken data,
predictions that shift, and what each of them leads to; windows shared by two servers; a backtest that needs no database."""
import json
import os
import random
import unittest

import kit

MONITORS = """\
  - {name: inputs, kind: drift, columns: [x], window: 100 rows, min_rows: 100}
  - {name: outputs, kind: prediction_drift, window: 100 rows, min_rows: 100, for: 1 of 1}
  - {name: sound, kind: quality, columns: [x], window: 100 rows}
  - {name: speed, kind: latency, quantile: 0.99, max: 200ms, window: 100 rows, for: 1 of 1}
  - {name: truth, kind: performance, metric: accuracy, min: 0.8, window: 100 labels, min_rows: 50, for: 1 of 1}
"""


def rows(first, n, missing=0, slow=False, positive=0.5, day="2026-01-05"):
    dice = random.Random(first)
    for i in range(first, first + n):
        yes = dice.random() < positive
        row = {"id": f"r{i}", "at": f"{day}T09:00:00Z", "prediction": int(yes), "score": round(0.5 + 0.4 * dice.random() * (1 if yes else -1), 3),
               "latency_ms": 900 if slow and i % 10 == 0 else round(20 + 30 * dice.random(), 1)}
        if dice.random() >= missing:
            row["x"] = dice.randrange(1000)
        yield row


class Monitors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = w = kit.World().__enter__()
        cls.addClassCleanup(w.__exit__)
        folder = os.path.join(w.dir, "pipelines", "quick")
        path = os.path.join(folder, "pipeline.yaml")
        text = kit.read(path)
        text = text.replace("  - {name: inputs, kind: drift, columns: [x], window: 200 rows}\n", MONITORS)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        training = list(rows(10 ** 6, 1000))
        with open(os.path.join(folder, "rows.csv"), "w", encoding="utf-8") as f:
            f.write("x,prediction,score\n" + "".join(f"{r['x']},{r['prediction']},{r['score']}\n" for r in training))
        w.orch("apply", "pipelines/quick")
        w.serve()
        w.serve(env={"ORCH_LISTEN": f"127.0.0.1:{kit.free_port()}"})  # a second server: windows are shared, none twice
        w.worker()
        w.promote()
        cls.sent = 0

    def send(self, n, **how):
        w, cls = self.world, type(self)
        path = os.path.join(w.dir, "batch.ndjson")
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(r) + "\n" for r in rows(cls.sent, n, **how))
        w.orch("observe", "quick", path)
        first, cls.sent = cls.sent, cls.sent + n
        kit.wait_for("the windows", lambda: w.sql(f"select 1 where (select count(*) from orch.monitor_window w join orch.monitor m on m.id = w.monitor_id "
                                                  f"where m.stream = 'rows') >= {4 * (cls.sent // 100)}"), 40)
        return list(rows(first, n, **how))

    def label(self, batch, wrong):
        w = self.world
        path = os.path.join(w.dir, "labels.ndjson")
        with open(path, "w", encoding="utf-8") as f:
            for i, r in enumerate(batch):
                f.write(json.dumps({"id": r["id"], "label": 1 - r["prediction"] if wrong and i % wrong == 0 else r["prediction"]}) + "\n")
        w.orch("observe", "quick", path, "--labels")

    def signals(self, kind):
        return [s for s in self.world.orch_json("signals", "quick")["signals"] if s["kind"] == kind]

    def monitor(self, name):
        return next(m for m in self.world.orch_json("pipelines", "quick")["monitors"] if m["monitor"] == name)

    def test_1_quiet(self):
        type(self).first = self.send(400)
        for name in ("inputs", "outputs", "sound", "speed"):
            monitor = self.monitor(name)
            self.assertEqual(["ok"] * 4, [x["verdict"] for x in monitor["windows"]], monitor["latest"])
            self.assertEqual([400, 300, 200, 100], [x["to_row"] for x in monitor["windows"]])
        self.assertEqual(0.01, self.monitor("speed")["latest"]["error_bound"])

    def test_2_labels_come_weeks_late(self):
        self.label(self.first[:250], 10)
        kit.wait_for("two windows of labels", lambda: len(self.monitor("truth")["windows"]) == 2)
        latest = self.monitor("truth")["latest"]
        self.assertEqual("ok", latest["verdict"])
        self.assertAlmostEqual(0.9, latest["value"], 2)
        self.assertEqual(0.9, latest["reference"])
        self.assertEqual(100, latest["labels"])
        self.assertEqual(0, latest["labels_missing"])
        self.label(self.first[300:400], 2)
        kit.wait_for("the performance signal", lambda: self.signals("performance"))
        [signal] = self.signals("performance")
        self.assertIn("accuracy is", signal["title"])
        self.assertEqual("proposed", signal["disposition"], signal)
        latest = self.monitor("truth")["latest"]
        self.assertEqual("alarm", latest["verdict"])
        self.assertGreater(latest["labels_missing"], 0)
        self.assertIn("of the labels are still missing", latest["summary"])

    def test_3_slow(self):
        self.send(100, slow=True)
        kit.wait_for("the latency signal", lambda: self.signals("latency"))
        [signal] = self.signals("latency")
        self.assertEqual(("firing", "recorded", None), (signal["status"], signal["disposition"], signal["proposal"]))
        self.assertIn("latency p99 is", signal["title"])
        self.send(100)
        kit.wait_for("its end", lambda: self.signals("latency")[0]["status"] == "resolved")

    def test_4_broken_data_before_drift(self):
        [proposal] = [s["proposal"] for s in self.signals("performance")]
        self.world.orch("cancel", str(proposal), "--reason", "nothing under way to fold into")
        self.send(100, missing=0.5, positive=0.95)
        kit.wait_for("the fault", lambda: len(self.signals("data_fault")) == 2)
        self.assertEqual({"monitor:inputs", "monitor:sound"}, {s["source"] for s in self.signals("data_fault")})
        self.assertEqual({None}, {s["proposal"] for s in self.signals("data_fault")})
        kit.wait_for("the shifted predictions", lambda: self.signals("prediction_drift"))
        [shift] = self.signals("prediction_drift")
        self.assertEqual("held", shift["disposition"], shift)
        self.assertEqual("missing", self.monitor("sound")["latest"]["faults"][0]["check"])

    def test_5_each_window_once(self):
        w = self.world
        self.assertEqual(["0"], w.sql("select count(*) from orch.monitor_window a join orch.monitor_window b on a.monitor_id = b.monitor_id and "
                                      "a.number < b.number and a.from_row < b.to_row and b.from_row < a.to_row"))
        self.assertEqual(["0"], w.sql("select count(*) from orch.monitor m where number <> (select count(*) from orch.monitor_window where monitor_id = m.id)"))

    def test_6_backtest(self):
        w = self.world
        path = os.path.join(w.dir, "history.ndjson")
        with open(path, "w", encoding="utf-8") as f:
            for i in range(5):
                f.writelines(json.dumps(r) + "\n" for r in rows(10000 + 100 * i, 100, slow=i == 3, day=f"2026-02-0{i + 1}"))
        before = w.sql("select sum(next_row) from orch.observation_stream")
        live = w.orch_json("monitor", "backtest", "quick", "--data", path)
        self.assertEqual(500, live["rows"])
        speed = next(m for m in live["monitors"] if m["monitor"] == "speed")
        self.assertEqual(["latency"], [e["signal"] for e in speed["episodes"]])
        self.assertEqual(300, speed["episodes"][0]["since_row"])
        self.assertEqual("2026-02-05T09:00:00.000Z", speed["episodes"][0]["ended"]["to_at"])
        self.assertEqual(before, w.sql("select sum(next_row) from orch.observation_stream"), "nothing is stored")
        alone = ("monitor", "backtest", "--file", "pipelines/quick", "--reference", "pipelines/quick/rows.csv", "--data", path)
        nowhere = {"ORCH_DATABASE_URL": "postgresql:///none?host=/nowhere"}
        self.assertEqual([m["verdicts"] for m in live["monitors"]], [m["verdicts"] for m in w.orch_json(*alone, env=nowhere)["monitors"]])
        self.assertIn("latency p99 is", w.orch(*alone, env=nowhere).stdout)
        part = w.orch_json(*alone, "--from", "2026-02-02", "--to", "2026-02-04", env=nowhere)
        self.assertEqual((200, 300), (part["rows"], part["outside"]))
        self.assertEqual(2, w.orch("monitor", "backtest", "quick", check=False).returncode)
        self.assertEqual(1 + 2, w.orch("monitor", "backtest", "nope", "--data", path, check=False).returncode)


if __name__ == "__main__":
    unittest.main()
