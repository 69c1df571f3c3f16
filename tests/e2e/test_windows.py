"""Windows by time over rows that come by HTTP, late ones among them, and silence: what closes when, and what is said."""
import datetime
import json
import unittest

import kit

HOUR = datetime.timedelta(hours=1)
MINUTE = datetime.timedelta(minutes=1)
# Windows of an hour that begin two days ago: the rows' own times move them on, so that nobody waits for an hour.
START = datetime.datetime.now(datetime.timezone.utc).replace(minute=0, second=0, microsecond=0) - 48 * HOUR

HOURLY = "{name: hourly, kind: drift, columns: [x], window: 1h, lateness: 10m, min_rows: 100, for: 2 of 3}"
CLOCKED = "{name: clocked, kind: latency, max: 50ms, window: 5s, lateness: 0s, min_rows: 20, for: 1 of 1}"
BESIDE = "{name: inputs, kind: drift, columns: [x], window: 400 rows, for: 2 of 2}"
WARMING = "{name: inputs, kind: drift, columns: [x], window: 200 rows, for: 2 of 3, warmup: 300 rows}"
SILENCE = "{name: silence, kind: volume, silence: 10s}"


def stamp(at):
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class WindowsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = kit.World(pipelines=("quick", "quiet", "clocked", "canary", "new"))
        cls.world.__enter__()
        cls.addClassCleanup(cls.world.__exit__)
        for pipeline, monitor in (("quick", HOURLY), ("quiet", SILENCE), ("clocked", CLOCKED), ("canary", BESIDE), ("new", WARMING)):
            cls.world.set_monitors(pipeline, [monitor])
        cls.token = cls.world.token("feeder", "observe")
        # Two servers: whichever claims a window closes it, and the other does not.
        cls.world.serve()
        cls.world.serve(wait=False, env={"ORCH_LISTEN": f"127.0.0.1:{kit.free_port()}"})
        cls.world.worker()
        for pipeline in ("quick", "quiet", "clocked", "canary", "new"):
            cls.world.promote(pipeline)

    def post(self, pipeline, rows):
        body = "".join(json.dumps(row) + "\n" for row in rows)
        status, answer, _ = self.world.http("POST", f"/v1/pipelines/{pipeline}/observations", body, {
            "Authorization": "Bearer " + self.token, "Content-Type": "application/x-ndjson"})
        self.assertEqual((status, answer.get("rejected_count")), (202, 0), answer)
        return answer

    def hour(self, number, n, shift=0, first=0, last=60):
        """n rows spread over minutes [first, last) of an hour, with x as in training, or moved up."""
        begin = START + number * HOUR + first * MINUTE
        return [{"x": (i * 7919 + number) % 1000 + shift, "at": stamp(begin + i * (last - first) * MINUTE / n)} for i in range(n)]

    def monitor(self, pipeline, name):
        return self.world.orch_json("monitor", "show", pipeline, name)

    def windows(self, pipeline, name):
        """Oldest first."""
        return self.monitor(pipeline, name)["windows"][::-1]

    def wait_windows(self, pipeline, name, n):
        return kit.wait_for(f"{n} windows of {name} (there are {len(self.windows(pipeline, name))})",
                            lambda: len(self.windows(pipeline, name)) >= n and self.windows(pipeline, name), 30)

    def signals(self, pipeline, kind):
        return [s for s in self.world.orch_json("signals", pipeline)["signals"] if s["kind"] == kind]

    def test_by_time_with_late_rows(self):
        w = self.world
        self.post("quick", self.hour(0, 300))
        # The next hour has begun: rows of the first one still come, and count, until its lateness is over.
        self.post("quick", self.hour(1, 20, first=0, last=9))
        self.post("quick", self.hour(0, 7, first=30, last=50))
        self.assertEqual(self.windows("quick", "hourly"), [])
        self.post("quick", self.hour(1, 280, shift=600, first=10))
        first = self.wait_windows("quick", "hourly", 1)[0]
        self.assertEqual((first["rows"], first["verdict"], first["from_at"], first["to_at"]),
                         (307, "ok", stamp(START), stamp(START + HOUR)))
        self.assertEqual(self.monitor("quick", "hourly")["latest"]["late"], 0)
        # Rows for a window that is closed: the next result counts them, nobody judges them.
        self.post("quick", self.hour(0, 11, shift=600))
        self.post("quick", self.hour(2, 1, first=11, last=12))
        second = self.wait_windows("quick", "hourly", 2)[1]
        self.assertEqual((second["rows"], second["from_at"]), (300, stamp(START + HOUR)))
        latest = self.monitor("quick", "hourly")["latest"]
        self.assertEqual((latest["late"], latest["verdict"], latest["columns"][0]["hit"]), (11, "ok", True), "one hit is not enough")
        self.assertEqual(self.signals("quick", "drift"), [])
        # Hours 3 to 5 have no row: they are passed over, and nothing is said of them.
        self.post("quick", self.hour(2, 300, shift=600))
        self.post("quick", self.hour(6, 200))
        third = self.wait_windows("quick", "hourly", 3)[2]
        self.assertEqual((third["rows"], third["verdict"], third["from_at"]), (301, "drift", stamp(START + 2 * HOUR)))
        self.assertEqual(self.monitor("quick", "hourly")["latest"]["late"], 0, "counted once")
        signal = self.signals("quick", "drift")[0]
        self.assertEqual((signal["source"], signal["status"], signal["count"]), ("monitor:hourly", "firing", 1))
        self.assertIn(signal["disposition"], ("proposed", "folded"))
        detail = signal["detail"]
        self.assertEqual((detail["since_at"][:16], detail["window"]["rows"]), (stamp(START + HOUR)[:16], 301))
        proposal = signal["proposal"]
        self.assertEqual(w.sql(f"select orch.rfc3339(as_of) from orch.proposal where id = {proposal}"),
                         [stamp(START + 3 * HOUR - 12 * datetime.timedelta(seconds=1))], "its newest row")
        # Rows of the window that has just been judged: it does not open again.
        self.post("quick", self.hour(2, 50))
        self.post("quick", self.hour(7, 1, first=11, last=12))
        fourth = self.wait_windows("quick", "hourly", 4)[3]
        self.assertEqual((fourth["from_at"], fourth["rows"]), (stamp(START + 6 * HOUR), 200))
        self.assertEqual(self.monitor("quick", "hourly")["latest"]["late"], 50)
        # Two hours at once, of which the second may still get rows: only the first closes.
        self.post("quick", self.hour(7, 100) + self.hour(8, 100) + self.hour(9, 1, first=5, last=6))
        self.wait_windows("quick", "hourly", 5)
        self.post("quick", self.hour(8, 20))
        self.post("quick", self.hour(9, 1, first=11, last=12))
        self.assertEqual([x["rows"] for x in self.wait_windows("quick", "hourly", 6)[4:]], [101, 120])
        self.assertEqual(self.monitor("quick", "hourly")["latest"]["late"], 0)
        self.assertEqual([x["number"] for x in self.windows("quick", "hourly")], [1, 2, 3, 4, 5, 6])
        text = w.http("GET", "/metrics")[1]
        self.assertIn("orch_windows_late_rows_total", text)

    def test_the_clock_closes_when_no_row_comes(self):
        """Ten seconds without a row: the newest window is complete by the clock."""
        self.post("clocked", [{"latency_ms": 80} for _ in range(40)])
        window = self.wait_windows("clocked", "clocked", 1)[0]
        self.assertEqual((window["rows"], window["verdict"]), (40, "alarm"))
        signal = self.signals("clocked", "latency")[0]
        self.assertEqual((signal["disposition"], signal["status"]), ("recorded", "firing"))

    def test_a_canary_that_differs_is_told(self):
        """Rows of version 2, in turns with the champion's: people hear that they differ, once, and nothing is retrained."""
        def window(shift, other=2):
            return [{"x": (i * 7919) % 1000 + (shift if i % 2 else 0), "version": other if i % 2 else 1} for i in range(400)]
        self.post("canary", window(0) + window(600) + window(600) + window(600))
        windows = self.wait_windows("canary", "inputs", 4)
        self.assertEqual([x["verdict"] for x in windows], ["ok"] * 4, "the champion's own rows are as in training")
        self.assertIn("version 2 differs from the champion in x", windows[-1]["summary"])
        signal = self.signals("canary", "canary")[0]
        self.assertEqual((signal["fingerprint"], signal["status"], signal["disposition"], signal["proposal"], signal["count"]),
                         ("inputs/canary/2", "firing", "recorded", None, 2))
        self.assertRegex(signal["title"], r"^version 2 differs from the champion \(version 1\): x \(PSI [0-9.]+\), since row 400$")
        self.assertEqual(len(self.signals("canary", "canary")), 1)
        # It is taken away: two windows without a row of it end it.
        self.post("canary", window(0, other=1) + window(0, other=1))
        self.wait_windows("canary", "inputs", 6)
        self.assertEqual([s["status"] for s in self.signals("canary", "canary")], ["resolved"])
        told = self.world.sql("select type || ' ' || (data ->> 'title') from orch.event where data ->> 'kind' = 'canary' order by id")
        self.assertEqual([x.split()[0] for x in told], ["signal.alarm", "signal.alarm_resolved"])
        shown = self.world.orch("signals", "canary", "--kind", "canary").stdout
        self.assertIn("version 2 differs", shown)
        self.assertEqual(self.world.sql("select count(*) from orch.proposal q join orch.pipeline p on p.id = q.pipeline_id "
                                        "where p.name = 'canary'"), ["1"])

    def test_a_new_model_is_given_time(self):
        """Windows that begin in the first 300 rows after a promotion are shown and not judged, and count for nothing; a rule that
        is new while the model is live needs no such time."""
        w = self.world

        def verdicts(n):
            return [x["verdict"] for x in self.wait_windows("new", "inputs", n)]

        def rows(windows, shift):
            self.post("new", [{"x": (i * 7919) % 1000 + shift} for i in range(200 * windows)])
        rows(3, 600)
        self.assertEqual(verdicts(3), ["warming", "warming", "ok"], "windows from rows 0, 200 and 400")
        self.assertIn("the model is new", self.windows("new", "inputs")[1]["summary"])
        self.assertEqual(self.signals("new", "drift"), [], "one judged window of three")
        w.promote("new", reason="another one")
        rows(3, 0)
        self.assertEqual(verdicts(6)[3:], ["warming", "warming", "ok"], "counted from the new promotion")
        rows(2, 600)
        verdicts(8)
        self.assertEqual(len(self.signals("new", "drift")), 1, "two of the last three")
        # The rule changes under the live model.
        w.set_monitors("new", [WARMING.replace("for: 2 of 3", "for: 1 of 1")])
        rows(1, 0)
        self.assertEqual(verdicts(9)[8:], ["ok"])
        self.assertEqual([s["status"] for s in self.signals("new", "drift")], ["resolved"])

    def test_silence(self):
        self.post("quiet", [{"x": 1}])
        was = len(self.signals("quiet", "volume"))
        signal = kit.wait_for("silence to be told", lambda: next(
            (s for s in self.signals("quiet", "volume")[:1] if s["status"] == "firing"), None), 40)
        self.assertEqual((signal["disposition"], signal["proposal"], signal["source"]), ("recorded", None, "monitor:silence"))
        self.assertIn("no rows for more than 10 s", signal["title"])
        self.post("quiet", [{"x": 1}])
        kit.wait_for("the silence to be over", lambda: all(s["status"] == "resolved" for s in self.signals("quiet", "volume")), 40)
        self.assertLessEqual(len(self.signals("quiet", "volume")), was + 1)
        kinds = self.world.sql("select type from orch.event where data ->> 'kind' = 'volume' order by id desc limit 2")
        self.assertEqual(kinds, ["signal.alarm_resolved", "signal.alarm"])
        self.assertEqual(self.world.sql("select count(*) from orch.proposal q join orch.pipeline p on p.id = q.pipeline_id "
                                        "where p.name = 'quiet'"), ["1"], "silence retrains nothing")


if __name__ == "__main__":
    unittest.main()
