"""Monitors on the command line: listed over all pipelines, shown with their numbers, watched as sparklines."""

import json
import math
import os
import random
import re
import subprocess
import time
import unittest

import kit

MONITORS = """\
monitors:
  - {name: inputs, kind: drift, columns: [x], window: 200 rows, importance: {x: 2}}
  - {name: accuracy, kind: performance, metric: accuracy, min: 0.75, window: 200 labels, for: 2 of 3}
  - {name: slow, kind: latency, max: 50ms, window: 5m, warmup: 2h}
  - {name: silence, kind: volume, silence: 30m}
  - {name: moving, kind: latency, max: 50ms, window: 5m}
  - name: unpaid
    kind: sql
    url_env: WAREHOUSE_URL
    query: |
      select region, count(*)
        from unpaid group by 1
    above: 10
    for: 10m
"""


def drift_result(number, psi, verdict):
    return {"monitor": "inputs", "kind": "drift", "champion": 1, "number": number, "rows": 200, "verdict": verdict,
            "held": False, "summary": f"x: PSI {psi} \x1b[31m", "value": psi, "threshold": 0.2,
            "columns": [{"name": "x", "kind": "numeric", "verdict": verdict, "hit": psi > 0.2, "since_row": 600, "why": "moved up",
                         "psi": psi, "ks": {"statistic": 0.31, "bound": 0.33, "p_value": 1e-9}, "p_adjusted": 2e-9, "direction": "up",
                         "missing": {"ref": 0.0, "now": 0.125, "z": 1, "p_value": 0.5}, "n_now": 175,
                         "quantiles": {"levels": [0.1, 0.5, 0.9], "ref": [1, 500, 900], "now": [2, 750, 990]}}]}


class MonitorsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        config = {**kit.CONFIG, "warehouses": ["WAREHOUSE_URL"]}
        cls.world = cls.enterClassContext(kit.World(config)) if hasattr(cls, "enterClassContext") else kit.World(config).__enter__()
        if not hasattr(cls, "enterClassContext"):
            cls.addClassCleanup(cls.world.__exit__)
        path = os.path.join(cls.world.dir, "pipelines/quick/pipeline.yaml")
        text = re.sub(r"monitors:\n( .*\n)+", MONITORS, kit.read(path))
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        cls.world.orch("apply", "pipelines/quick")
        for number, (psi, verdict) in enumerate([(0.02, "ok"), (0.03, "ok"), (0.21, "ok"), (0.4, "drift"), (0.9, "drift")], 1):
            cls.close("inputs", number, drift_result(number, psi, verdict), verdict)
        cls.close("accuracy", 1, {"kind": "performance", "metric": "accuracy", "value": 0.81, "threshold": 0.75, "reference": 0.83,
                                  "labels": 200, "labels_missing": 0.25, "detector": {"name": "adwin", "drift": True, "row": 77},
                                  "summary": "fine"}, "ok")
        cls.world.sql("insert into orch.signal (pipeline_id, source, kind, fingerprint, status, title, detail, first_at, last_at, as_of, disposition) "
                      "select id, 'monitor:inputs', 'drift', 'inputs/drift', 'firing', E'x moved \x1b[31m', '{}', now(), now(), now(), 'recorded' "
                      "from orch.pipeline where name = 'quick'")

    @classmethod
    def close(cls, monitor, number, result, verdict):
        """A closed window, as the evaluation of a monitor records it."""
        text = json.dumps(result).replace("'", "''")
        cls.world.sql(
            "insert into orch.monitor_window (monitor_id, number, from_row, to_row, rows, verdict, result, closed_at) "
            f"select id, {number}, {200 * number - 200}, {200 * number}, 200, '{verdict}', '{text}', "
            f"now() - interval '{60 - 10 * number} minutes' from orch.monitor where name = '{monitor}'")
        cls.world.sql(f"update orch.monitor set number = {number}, latest = '{text}' where name = '{monitor}'")

    def test_list(self):
        monitors = self.world.orch_json("monitor", "list")["monitors"]
        self.assertEqual([m["monitor"] for m in monitors], ["inputs", "accuracy", "slow", "silence", "moving", "unpaid"])
        latest = monitors[0]["latest"]
        self.assertEqual((latest["verdict"], latest["value"], latest["number"], latest["to_row"]), ("drift", 0.9, 5, 1000))
        self.assertNotIn("columns", latest)
        self.assertTrue(monitors[0]["firing"])
        self.assertIsNone(monitors[2]["latest"])
        self.assertEqual(len(self.world.orch_json("monitor", "list", "quick", "--verdict", "drift")["monitors"]), 1)
        self.assertEqual(len(self.world.orch_json("monitor", "list", "--verdict", "fault")["monitors"]), 0)
        page = self.world.orch_json("monitor", "list", "--limit", "4")
        rest = self.world.orch_json("monitor", "list", "--limit", "4", "--after", str(page["next"]))
        self.assertEqual([m["monitor"] for m in rest["monitors"]], ["moving", "unpaid"])
        self.assertIsNone(rest["next"])
        text = self.world.orch("monitor", "list").stdout
        for words in ("x: PSI from 0.2", "accuracy under 0.75", "p99 over 50 ms", "no rows for 30 m", "200 labels",
                      "5: rows 800 to 999", "none yet", "select region, count(*) from unpaid group by 1 over 10 for 10 m"):
            self.assertIn(words, text)
        self.assertEqual(self.world.orch("monitor", "list", "nope", check=False).returncode, 3)
        self.assertEqual(self.world.orch("monitor", "list", "--verdict", "bad", check=False).returncode, 2)

    def test_show(self):
        text = self.world.orch("monitor", "show", "quick", "inputs").stdout
        for words in ("quick/inputs  drift", "when 2 of the last 3 windows are hits", "a retraining is proposed", "500 to 750",
                      "0.0 % to 12.5 %", "2e-09", "moved up", "rows 800 to 999", "rows 0 to 199", r"PSI 0.9 \x1b[31m"):
            self.assertIn(words, text)
        self.assertNotIn("\x1b", text)
        text = self.world.orch("monitor", "show", "quick", "accuracy").stdout
        for words in ("0.81; at its evaluation 0.83", "25.0 %", "adwin: the error changed at row 77"):
            self.assertIn(words, text)
        text = self.world.orch("monitor", "show", "quick", "slow").stdout
        self.assertIn("No window has closed yet", text)
        self.assertIn("2 h after a promotion", text)
        document = self.world.orch_json("monitor", "show", "quick", "inputs")
        self.assertEqual(document["monitor"], "inputs")
        self.assertEqual(document["spec"]["importance"], {"x": 2.0})
        done = self.world.orch("monitor", "show", "quick", "input", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("inputs", done.stderr)
        self.assertEqual(self.world.orch("monitor", "show", "quick", check=False).returncode, 2)
        self.assertEqual(self.world.orch("monitor", "shwo", "quick", "inputs", check=False).returncode, 2)

    # ---- orch check: false alarms and warnings

    def check(self, monitors, *words):
        """What `orch check` says of a pipeline with these monitors, as text and as the document."""
        folder = os.path.join(self.world.dir, "checked", "quick")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "pipeline.yaml"), "w", encoding="utf-8") as f:
            f.write(re.sub(r"monitors:\n( .*\n)+", "monitors:\n" + "".join(f"  - {m}\n" for m in monitors),
                           kit.PIPELINE.format(name="quick")))
        for name in ("train.sh", "evaluate.sh", "rows.csv"):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write("x\n1\n")
        text = self.world.orch("check", folder, *words).stdout  # warnings fail nothing
        return text, self.world.orch_json("check", folder, *words)["files"][-1]["false_alarms"]

    def test_check_tells_false_alarms(self):
        quiet = "{name: quiet, kind: drift, columns: [x], window: 500 rows}"
        loud = "{name: loud, kind: drift, columns: [x], window: 500 rows, psi: 0.01, p_value: 0.05, for: 1 of 1}"
        text, document = self.check([quiet], "--rows-per-day", "12000")
        self.assertLess(document["per_month"], 0.001)
        self.assertEqual(document["monitors"][0]["windows_per_month"], 720)
        self.assertEqual(document["warnings"], [])
        self.assertIn("< 0.001", text)
        self.assertNotIn("warning", text)
        # Every window is a test at 5 %: 36 of 720 windows, for one column.
        text, document = self.check([quiet, loud], "--rows-per-day", "12000")
        self.assertAlmostEqual(document["monitors"][1]["per_month"], 36, delta=6)
        self.assertAlmostEqual(document["per_month"], document["monitors"][1]["per_month"], places=3)
        self.assertRegex(text, "warning: expect about 3[0-9] false alarms a month")
        self.assertIn("come from monitor 'loud': with ", text)
        self.assertEqual(document["rows_per_day"], 12000)
        text, document = self.check([quiet])
        self.assertIsNone(document["rows_per_day"])
        self.assertEqual(document["monitors"][0]["windows_per_month"], 720)
        self.assertIn("a window by rows is an hour", text)

    def test_check_has_a_line_for_every_monitor(self):
        monitors = ["{name: a, kind: drift, columns: [x], window: 500 rows}",
                    "{name: b, kind: performance, metric: accuracy, min: 0.75, window: 200 labels, detector: adwin}",
                    "{name: c, kind: performance, metric: rmse, max: 3, window: 7d, detector: page_hinkley}",
                    "{name: d, kind: estimated_performance, min: 0.75, window: 200 rows, for: 1 of 1}",
                    "{name: e, kind: quality, columns: [x], window: 30m, type_share: none, rows: {min: 5}}",
                    "{name: f, kind: latency, max: 50ms, window: 500 rows}",
                    "{name: g, kind: volume, silence: 10s}",
                    "{name: h, kind: schedule, cron: \"0 3 * * 1 Europe/Berlin\"}",
                    "{name: i, kind: schedule, cron: \"*/15 * 1 * *\"}",
                    "{name: j, kind: sql, url_env: WAREHOUSE_URL, query: select 1, above: 7}"]
        with open(os.path.join(self.world.dir, "metrics.json"), "w", encoding="utf-8") as f:
            f.write('{"accuracy": 0.8}')
        text, document = self.check(monitors, "--metrics", os.path.join(self.world.dir, "metrics.json"), "--rows-per-day", "12000")
        lines = {(m["monitor"], m["part"]): m for m in document["monitors"]}
        self.assertEqual([(m["monitor"], m["part"], m["is"]) for m in document["monitors"]], [
            ("a", None, "expected"), ("b", "min", "expected"), ("b", "adwin", "at_most"), ("c", "max", "unknown"),
            ("c", "page_hinkley", "unknown"), ("d", None, "at_most"), ("e", None, "at_most"), ("f", None, "unknown"),
            ("g", None, "unknown"), ("h", None, "planned"), ("i", None, "planned"), ("j", None, "unknown")])
        # Fewer than 150 of 200 right when each is right with 0.8; 2 of 3 such windows; 60 windows a day.
        hit = sum(math.comb(200, k) * 0.8 ** k * 0.2 ** (200 - k) for k in range(150))
        self.assertAlmostEqual(lines["b", "min"]["per_month"], 1800 * hit * (1 - (1 - hit) ** 2), places=6)
        self.assertAlmostEqual(lines["d", None]["per_month"], 1800 * hit, places=6)
        self.assertAlmostEqual(lines["b", "adwin"]["per_month"], 360000 * 0.002 / 32, places=6)
        self.assertAlmostEqual(lines["b", "adwin"]["per_million_rows"], 62.5, places=6)
        # Two checks of one column: ten points of 250 rows against 2,500 that hold half of it.
        self.assertAlmostEqual(lines["e", None]["per_month"], 2 * 1440 * 0.5 * min(
            0.001, math.erfc(0.1 / (0.5 * math.sqrt(1 / 250 + 1 / 2500)) / math.sqrt(2))), places=6)
        self.assertAlmostEqual(lines["h", None]["per_month"], 365.2425 / 7 / 12, places=9)
        self.assertEqual(lines["i", None]["per_month"], 96)
        self.assertAlmostEqual(document["per_month"], lines["a", None]["per_month"] + lines["b", "min"]["per_month"], places=6)
        self.assertAlmostEqual(document["at_most_more"], sum(m["per_month"] for m in document["monitors"] if m["is"] == "at_most"), places=6)
        self.assertEqual((document["unknown"], round(document["planned"])), (5, 100))
        for m in document["monitors"]:
            self.assertEqual(m["per_month"] is None, m["is"] == "unknown", m)
            self.assertTrue(m["why"], m)
        for name in ("c", "f"):
            self.assertIn("orch monitor backtest quick --data FILE", next(m["why"] for m in document["monitors"] if m["monitor"] == name))
        self.assertIn("traffic", lines["e", None]["why"])
        self.assertRegex(text, r"b \(adwin\) +performance +1800 +200 +<= 22 +ADWIN's bound")
        self.assertRegex(text, r"h +schedule +- +- +- +fires by plan, 4.35 times a month")
        self.assertIn("by the bounds (<=) at most", text)
        self.assertTrue(any("monitor 'g' alarms after 10 s, and at 12000 rows a day one comes every 7 s" in w for w in document["warnings"]),
                        document["warnings"])

    def test_check_takes_the_accuracy_of_the_checks(self):
        """kit's pipeline lets an accuracy of 0.5 go live."""
        _, document = self.check(["{name: a, kind: performance, metric: accuracy, min: 0.4, window: 200 labels, for: 1 of 1}",
                                  "{name: b, kind: performance, metric: accuracy, min: 0.75, window: 200 labels}"])
        least, over = document["monitors"]
        hit = sum(math.comb(200, k) * 0.5 ** 200 for k in range(80))
        self.assertEqual(least["is"], "at_most")
        self.assertAlmostEqual(least["per_month"], 720 * hit, places=6)
        self.assertAlmostEqual(least["per_million_rows"], hit / 200 * 1e6, places=4)
        self.assertIn("in 1,000,000 labels", least["why"])
        self.assertEqual((over["is"], over["per_month"]), ("unknown", None))
        self.assertIn("--metrics metrics.json", over["why"])
        with open(os.path.join(self.world.dir, "metrics.json"), "w", encoding="utf-8") as f:
            f.write('{"accuracy": 0.7}')
        path = os.path.join(self.world.dir, "metrics.json")
        _, document = self.check(["{name: b, kind: performance, metric: accuracy, min: 0.75, window: 200 labels}"], "--metrics", path)
        self.assertTrue(any("it will nearly always fire" in w for w in document["warnings"]), document["warnings"])
        for text in ("[1]", "{", ""):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            done = self.world.orch("check", "pipelines/quick", "--metrics", path, check=False)
            self.assertEqual((done.returncode, "--metrics" in done.stderr), (2, True), done.stderr)

    def test_check_counts_a_profile(self):
        path = os.path.join(self.world.dir, "profile.csv")
        with open(path, "w", encoding="utf-8") as f:
            f.write("price,city,month,prediction\n" + "".join(f"{i * 37 % 101},c{i % 5},{i % 12},{i % 2}\n" for i in range(800)))
        text, document = self.check(["{name: all, kind: drift, window: 200 rows}"], "--profile", path)
        self.assertEqual((document["monitors"][0]["columns"], document["monitors"][0]["reference_rows"]), (3, 800))
        self.assertIn("monitor 'all' watches 'month': what looks like a calendar", text)
        self.assertNotIn("ten windows", text)
        self.assertEqual(self.world.orch("check", "pipelines/quick", "--profile", "/nonexistent", check=False).returncode, 1)

    def test_check_warns_of_small_windows(self):
        warnings = self.check(["{name: a, kind: drift, columns: [x], window: 50 rows, min_rows: 20}",
                               "{name: b, kind: latency, max: 50ms, window: 200 rows}",
                               "{name: c, kind: performance, metric: accuracy, min: 0.75, window: 100 labels}",
                               "{name: d, kind: drift, columns: [x], window: 5m}",
                               "{name: e, kind: latency, max: 50ms, window: 500 rows}",
                               "{name: f, kind: performance, metric: accuracy, min: 0.75, window: 300 labels}"],
                              "--rows-per-day", "5000")[1]["warnings"]
        self.assertEqual([re.search("monitor '(.)'", w).group(1) for w in warnings], ["a", "b", "c", "d"])
        self.assertIn("chance alone makes a PSI of about 0.2", warnings[0])
        self.assertIn("expected at least 500 rows", warnings[1])
        self.assertIn("known to within 0.085: expected at least 289", warnings[2])
        self.assertIn("about 17 rows a window, under its 'min_rows' of 200", warnings[3])

    def test_backtest_takes_rows_of_any_version(self):
        """A history goes over many versions; with --champion those of others are canaries."""
        self.check(["{name: inputs, kind: drift, columns: [x], window: 400 rows}"])
        files = [os.path.join(self.world.dir, name) for name in ("train.csv", "history.csv")]
        with open(files[0], "w", encoding="utf-8") as f:
            f.write("x\n" + "".join(f"{i * 7919 % 1000}\n" for i in range(2000)))
        with open(files[1], "w", encoding="utf-8") as f:
            f.write("x,version\n" + "".join(f"{i * 7919 % 1000 + (600 if i % 2 and i >= 400 else 0)},{i % 2 + 3}\n" for i in range(1600)))
        words = ["monitor", "backtest", "--file", "checked/quick", "--reference", files[0], "--data", files[1]]
        inputs = self.world.orch_json(*words)["monitors"][0]
        self.assertEqual([e["signal"] for e in inputs["episodes"]], ["drift"])
        self.assertEqual((inputs["verdicts"]["ok"], inputs["verdicts"]["drift"]), (2, 2))
        inputs = self.world.orch_json(*words, "--champion", "3")["monitors"][0]
        self.assertEqual(([e["signal"] for e in inputs["episodes"]], inputs["verdicts"]["ok"]), (["canary"], 4))
        self.assertIn("version 4 differs from the champion (version 3)", self.world.orch(*words, "--champion", "3").stdout)
        self.assertEqual(self.world.orch(*words, "--champion", "none", check=False).returncode, 2)

    def test_watch_draws_sparklines(self):
        text = self.world.screen("signals", "quick", "--watch", until="x moved", env={"NO_COLOR": "1"})
        line = next(line for line in text.splitlines() if line.lstrip().startswith("inputs"))
        self.assertRegex(line, "inputs +drift +▁▁▂▄█ +0.9 / 0.2 +drift +2 windows, 20 m")
        line = next(line for line in text.splitlines() if line.lstrip().startswith("accuracy"))
        self.assertRegex(line, "accuracy +performance +█ +0.81 / 0.75 +ok +1 window, 50 m")
        self.assertRegex(text, "slow +latency +no window yet")
        self.assertRegex(text, "silence +volume +nothing yet")
        self.assertIn(r"drift  ", text)
        self.assertIn(r"recorded: x moved \x1b[31m", text)
        self.assertNotIn("\x1b[3", text)

    def test_watch_in_colour_and_in_ascii(self):
        text = self.world.screen("signals", "quick", "--watch", until="x moved")
        self.assertIn("\x1b[33m█\x1b[0m", text)
        self.assertIn("\x1b[32m▁\x1b[0m", text)
        text = self.world.screen("signals", "quick", "--watch", until="x moved", env={"NO_COLOR": "1", "LC_ALL": "C"})
        self.assertRegex(text, r"inputs +drift +__\.:# +0\.9 / 0\.2")

    def test_watch_fits_the_screen(self):
        for columns in (80, 60, 40):
            text = self.world.screen("signals", "quick", "--watch", until="x moved", env={"NO_COLOR": "1"}, columns=columns)
            self.assertIn("▁▁▂▄█", text)
            lines = re.sub("\x1b\\[[A-Z]", "", text).replace("^C", "").splitlines()
            self.assertLessEqual(max(len(line) for line in lines), columns, f"{columns} columns: {text}")
        # Of what is longer than the screen the beginning stays in sight, and nothing scrolls away.
        for words in (("signals", "quick"), ("status",)):
            text = self.world.screen(*words, "--watch", until="more line", env={"NO_COLOR": "1"}, columns=60, rows=8)
            first = text.split("\x1b[H\x1b[J")[1].replace("^C", "")
            self.assertLessEqual(first.count("\n"), 7, text)
            self.assertRegex(first, r"\d+ more lines?")

    def test_watch_without_a_terminal_tells_changes(self):
        with subprocess.Popen([kit.ORCH, "signals", "quick", "--watch", "--json"], cwd=self.world.dir, env=self.world.env,
                              stdout=subprocess.PIPE, text=True) as process:
            try:
                first = self.document(process.stdout)
                self.assertEqual([m["monitor"] for m in first["monitors"]], ["accuracy", "inputs", "moving", "silence", "slow", "unpaid"])
                self.assertEqual(first["signals"][0]["kind"], "drift")
                self.close("moving", 1, {"kind": "latency", "value": 41, "threshold": 50, "summary": "fine"}, "ok")
                second = self.document(process.stdout)
                self.assertEqual(second["monitors"][2]["windows"][0]["verdict"], "ok")
            finally:
                process.kill()

    @staticmethod
    def document(stream):
        """The next document of a stream of pretty ones."""
        text = ""
        for line in stream:
            text += line
            if line == "}\n":
                return json.loads(text)
        raise AssertionError("the output ended: " + text)

    def test_watch_usage(self):
        for words in (["signals", "--watch"], ["signals", "quick", "--watch", "--status", "firing"]):
            self.assertEqual(self.world.orch(*words, check=False).returncode, 2)
        self.assertEqual(self.world.orch("signals", "nope", "--watch", check=False).returncode, 3)


LIVE = """\
monitors:
  - {name: all, kind: drift, window: 200 rows, then: tell, importance: {x: 3}}
  - {name: data, kind: quality, window: 200 rows}
  - {name: accuracy, kind: performance, metric: accuracy, min: 0.75, window: 200 labels, detector: adwin}
  - {name: guess, kind: estimated_performance, min: 0.75, window: 200 rows}
  - {name: slow, kind: latency, max: 1ms, quantile: 0.9, window: 200 rows, for: 1 of 1}
  - {name: silence, kind: volume, silence: 30m}
  - {name: weekly, kind: schedule, cron: "0 3 * * 1 Europe/Berlin"}
"""


class LiveMonitorsTest(unittest.TestCase):
    """What real windows of a live model look like in the terminal."""

    def row(self, number, shift):
        score = min(0.99, max(0.01, self.random.betavariate(2, 1)))
        return {"id": f"r{number}", "x": round(self.random.gauss(100 + shift, 10), 3),
                "city": self.random.choice("cdxy" if shift else "abcd"), "prediction": int(score > 0.5), "score": round(score, 3),
                "latency_ms": round(self.random.expovariate(1 / 20), 2)}

    def send(self, world, name, lines, *words):
        path = os.path.join(world.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(line) + "\n" for line in lines)
        world.orch("observe", "quick", path, *words)

    def test_every_kind(self):
        self.random = random.Random(1)
        with kit.World() as world:
            folder = os.path.join(world.dir, "pipelines/quick")
            text = re.sub(r"monitors:\n( .*\n)+", LIVE, kit.read(os.path.join(folder, "pipeline.yaml")))
            with open(os.path.join(folder, "pipeline.yaml"), "w", encoding="utf-8") as f:
                f.write(text)
            with open(os.path.join(folder, "rows.csv"), "w", encoding="utf-8") as f:
                f.write("x,city,prediction,score\n")
                f.writelines("{x},{city},{prediction},{score}\n".format(**self.row(i, 0)) for i in range(2000))
            world.orch("apply", "pipelines/quick")
            world.serve()
            world.worker()
            world.promote()
            for batch, shift in enumerate((0, 20, 20)):
                rows = [self.row(200 * batch + i, shift) for i in range(200)]
                self.send(world, "rows.ndjson", rows)
                wrong = 0.4 if shift else 0.1
                self.send(world, "labels.ndjson", [{"id": r["id"], "label": r["prediction"] ^ int(self.random.random() < wrong)}
                                                   for r in rows], "--labels")

            def closed():
                monitors = world.orch_json("monitor", "list")["monitors"]
                return all((m["latest"] or {}).get("number") == 3 for m in monitors[:5]) and monitors
            monitors = kit.wait_for("three windows of every monitor", closed, 60)
            self.assertEqual([(m["monitor"], m["latest"] and m["latest"]["verdict"]) for m in monitors],
                             [("all", "drift"), ("data", "fault"), ("accuracy", "alarm"), ("guess", monitors[3]["latest"]["verdict"]),
                              ("slow", "alarm"), ("silence", None), ("weekly", None)])
            for monitor, words in {
                    "all": ["drift in 2 of the last 3 windows", "every column: PSI from 0.2", "< 1e-16", "categories", "compares with version 1"],
                    "data": ["at each window that is a hit", "Broken", "unseen"],
                    "accuracy": ["at its evaluation 0.9", "no label yet 0.0 %", "200 labels"],
                    "guess": ["estimated accuracy", "people are told"],
                    "slow": ["p50 ", "; each within ", "p90 over 1 ms"],
                    "silence": ["no rows for 30 m", "looks next   in 29 m"],
                    "weekly": ["0 3 * * 1 Europe/Berlin", "looks next   in "]}.items():
                shown = world.orch("monitor", "show", "quick", monitor).stdout
                for word in words:
                    self.assertIn(word, shown)
            shown = world.orch("monitor", "show", "quick", "all").stdout
            self.assertLess(shown.index("\nx  "), shown.index("\ncity  "), "three times as important")
            self.assertNotIn("compares with", world.orch("monitor", "show", "quick", "weekly").stdout)
            self.assertIn("accuracy  performance", world.orch("pipelines", "quick").stdout)


if __name__ == "__main__":
    unittest.main()
